//! What libvirtd wants to find in the status file about a guest's disks, to go on with them: the
//! names of their nodes, and of their drives in QEMU's tree. (Observed of libvirtd 11.3.)

use super::throttle::{self, drive_id, filters};
use model::domain::Domain;
use model::domain::devices::disk::{Disk, DiskSource};
use model::domain::opaque::Opaque;
use std::collections::BTreeSet;

/// Notes the names of those nodes that were `made`, where nothing is noted yet.
pub(crate) fn note_nodes(domain: &mut Domain, made: &BTreeSet<String>) {
    for disk in domain.devices.iter_mut().flat_map(|devices| &mut devices.disks) {
        if disk.private_data.is_none() {
            disk.private_data = drive(disk, made);
        }
        let index = disk.source.as_ref().and_then(|source| source.index);
        note(disk.source.as_mut(), index, made);
        let mut below = disk.backing_store.as_deref_mut();
        while let Some(image) = below {
            let index = image.index;
            note(image.source.as_mut(), index, made);
            below = image.backing_store.as_deref_mut();
        }
    }
}

fn note(source: Option<&mut DiskSource>, index: Option<u32>, made: &BTreeSet<String>) {
    let (Some(source), Some(index)) = (source, index) else { return };
    if let Some(data) = source.data_store.as_deref_mut().and_then(|data| data.source.as_mut()) {
        let index = data.index;
        note(Some(data), index, made);
    }
    let named = [
        ("storage", format!("libvirt-{index}-storage")),
        ("slice-storage", format!("libvirt-{index}-slice-sto")),
        ("format", format!("libvirt-{index}-format")),
    ];
    let there = named.into_iter().filter(|(_, name)| made.contains(name));
    let names: String = there.map(|(kind, name)| node(kind, &name)).collect();
    if source.private_data.is_none() && !names.is_empty() {
        let text = format!("<privateData><nodenames>{names}</nodenames></privateData>");
        source.private_data = Opaque::from_text(&text);
    }
}

/// The drive's own: its place in QEMU's tree, the filter that copies what it reads, and those that
/// limit it.
fn drive(disk: &Disk, made: &BTreeSet<String>) -> Option<Opaque> {
    let place = escaped(&drive_id(disk)?);
    let copies = format!("libvirt-CoR-{}", disk.target.dev);
    let mut named = match made.contains(&copies) {
        true => node("copyOnRead", &copies),
        false => String::new(),
    };
    for (filter, name) in filters(disk).zip(throttle::filter_nodes(disk)) {
        if made.contains(&name) {
            let (name, group) = (escaped(&name), escaped(&filter.group));
            named += &format!("<nodename type='throttle-filter' name='{name}' group='{group}'/>");
        }
    }
    if !named.is_empty() {
        named = format!("<nodenames>{named}</nodenames>");
    }
    Opaque::from_text(&format!("<privateData><qom name='{place}'/>{named}</privateData>"))
}

/// The nodes of a disk's filters as they are noted, the lowest first.
pub(super) fn filter_nodes(disk: &Disk) -> Vec<String> {
    let noted = disk.private_data.iter().flat_map(|noted| noted.0.elements());
    let names = noted.filter(|part| part.name == "nodenames").flat_map(|part| part.elements());
    let filters = names.filter(|name| name.attr("type") == Some("throttle-filter"));
    filters.filter_map(|name| name.attr("name").map(str::to_owned)).collect()
}

fn node(kind: &str, name: &str) -> String {
    format!("<nodename type='{kind}' name='{}'/>", escaped(name))
}

fn escaped(text: &str) -> String {
    let mut out = String::new();
    xml::escape_into(text, &mut out);
    out
}
