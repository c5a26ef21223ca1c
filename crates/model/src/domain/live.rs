//! What only a running guest has, and taking it away.

use super::Domain;
use super::devices::chardev::{CharSource, CharType, Serial};
use super::devices::disk::{BackingStore, DiskSource};
use super::devices::graphics::{GraphicsType, ListenType};
use super::devices::interface::InterfaceType;
use xml::YesNo;

/// Device names that the user chose start with this; all others belong to the running guest.
pub const USER_ALIAS_PREFIX: &str = "ua-";

/// Prefixes of names that the daemon gives to the host's end of an interface.
const GENERATED_TAPS: [&str; 4] = ["vnet", "vif", "macvtap", "macvlan"];

/// Whether a domain carries state that only status files show.
pub(super) fn has_private(d: &Domain) -> bool {
    if d.clock.as_ref().is_some_and(|clock| clock.adjustment0.is_some()) {
        return true;
    }
    let Some(dev) = d.devices.as_ref() else { return false };
    dev.disks.iter().any(|x| {
        x.private_data.is_some()
            || x.mirror.is_some()
            || x.source.as_ref().is_some_and(keeps_private)
            || x.backing_store.is_some()
    }) || dev.interfaces.iter().any(|x| x.actual.is_some())
        || dev.graphics.iter().any(|x| {
            x.websocket_generated.is_some()
                || x.listens.iter().any(|l| l.from_config.is_some() || l.auto_generated.is_some())
        })
        || [&dev.serials, &dev.parallels, &dev.consoles, &dev.channels]
            .into_iter()
            .flatten()
            .map(|c| &c.source)
            .chain(dev.redirdevs.iter().map(|r| &r.source))
            .any(|s| s.sources.iter().any(|e| e.tls_from_config.is_some()))
        || dev.hostdevs.iter().any(|x| {
            x.source.as_ref().is_some_and(|s| s.private_data.is_some() || s.orig_states.is_some())
        })
}

/// Takes away the state that only status files show.
pub(super) fn strip_private(d: &mut Domain) {
    if let Some(clock) = d.clock.as_mut() {
        clock.adjustment0 = None;
    }
    let dev = d.devices_mut();
    for x in &mut dev.disks {
        x.private_data = None;
        x.disk_secrets_placement = None;
        if let Some(s) = x.source.as_mut() {
            without_private(s);
            if s.actual_type.take().is_some() {
                // What the volume is; clients see its pool and name.
                super::canonical::keep_fields_of(s, x.kind);
            }
        }
        strip_chain(x.backing_store.as_deref_mut());
        if let Some(m) = x.mirror.as_mut() {
            let kind = m.kind.unwrap_or_default();
            if let Some(s) = m.source.as_mut() {
                without_private(s);
                if s.actual_type.take().is_some() {
                    super::canonical::keep_fields_of(s, kind);
                }
            }
            strip_chain(m.backing_store.as_deref_mut());
        }
    }
    for x in &mut dev.interfaces {
        x.actual = None;
    }
    for x in &mut dev.graphics {
        x.websocket_generated = None;
        for l in &mut x.listens {
            l.from_config = None;
            l.auto_generated = None;
        }
    }
    let chardevs = [&mut dev.serials, &mut dev.parallels, &mut dev.consoles, &mut dev.channels];
    let chardevs = chardevs.into_iter().flatten().map(|c| &mut c.source);
    for source in chardevs.chain(dev.redirdevs.iter_mut().map(|r| &mut r.source)) {
        for e in &mut source.sources {
            e.tls_from_config = None;
        }
    }
    for x in &mut dev.hostdevs {
        if let Some(s) = x.source.as_mut() {
            s.orig_states = None;
            s.private_data = None;
        }
    }
}

fn strip_chain(mut next: Option<&mut BackingStore>) {
    while let Some(b) = next {
        if let Some(s) = b.source.as_mut() {
            without_private(s);
        }
        next = b.backing_store.as_deref_mut();
    }
}

fn keeps_private(source: &DiskSource) -> bool {
    source.private_data.is_some()
        || source.actual_type.is_some()
        || source.tls_from_config.is_some()
}

/// Takes it away from an image, and from the file that holds its bytes.
fn without_private(source: &mut DiskSource) {
    source.private_data = None;
    source.tls_from_config = None;
    if let Some(data) = source.data_store.as_mut().and_then(|data| data.source.as_mut()) {
        data.private_data = None;
    }
}

/// Takes away everything that only a running guest has, so that the configuration remains.
pub fn strip(d: &mut Domain) {
    d.id = None;
    super::walk::for_each_info(d, &mut |info| {
        if let Some(a) = info.alias.as_ref()
            && !a.name.starts_with(USER_ALIAS_PREFIX)
        {
            *info.alias = None;
        }
    });
    let dev = &mut d.devices_mut();
    for disk in &mut dev.disks {
        disk.mirror = None;
        let mut source = disk.source.as_mut();
        let mut next = disk.backing_store.as_mut();
        while let Some(s) = source.take() {
            s.seclabels.retain(|l| l.label_skip != Some(YesNo::Yes));
            s.index = None;
            if s.tls_from_config == Some(1) {
                s.tls = None;
            }
            if s.actual_type.take().is_some() {
                s.file = None;
                s.dev = None;
            }
            without_private(s);
            if let Some(data) = s.data_store.as_mut().and_then(|data| data.source.as_mut()) {
                data.index = None;
            }
            if let Some(b) = next {
                b.index = None;
                source = b.source.as_mut();
                next = b.backing_store.as_mut();
            } else {
                next = None;
            }
        }
        if let Some(b) = disk.backing_store.as_mut() {
            b.index = None;
        }
    }
    for i in &mut dev.interfaces {
        if let Some(t) = i.target.as_mut()
            && let Some(name) = &t.dev
            && t.managed != Some(YesNo::No)
            && GENERATED_TAPS.iter().any(|p| {
                name.strip_prefix(p)
                    .is_some_and(|n| !n.is_empty() && n.bytes().all(|c| c.is_ascii_digit()))
            })
        {
            t.dev = None;
        }
        if i.target.as_ref().is_some_and(|t| t.dev.is_none() && t.managed.is_none()) {
            i.target = None;
        }
        if let Some(s) = i.source.as_mut() {
            s.mac_table_manager = None;
            if i.kind == InterfaceType::Network {
                s.port_id = None;
                s.bridge = None;
                s.dev = None;
                s.mode = None;
                s.device_address = None;
            }
        }
        if let Some(m) = i.mac.as_mut() {
            m.current_address = None;
        }
    }
    let chars: [&mut Vec<Serial>; 4] =
        [&mut dev.serials, &mut dev.parallels, &mut dev.consoles, &mut dev.channels];
    for c in chars.into_iter().flatten() {
        strip_source(&mut c.source);
        for e in &mut c.source.sources {
            e.seclabels.retain(|l| l.label_skip != Some(YesNo::Yes));
        }
        if let Some(t) = c.target.as_mut() {
            t.state = None;
        }
    }
    for r in &mut dev.redirdevs {
        strip_source(&mut r.source);
    }
    for g in &mut dev.graphics {
        if matches!(g.kind, GraphicsType::Vnc | GraphicsType::Spice | GraphicsType::Rdp) {
            if g.auto_port == Some(YesNo::Yes) {
                g.port = match g.kind {
                    GraphicsType::Spice => None,
                    GraphicsType::Rdp => Some(0),
                    _ => Some(-1),
                };
                g.tls_port = None;
            }
            if g.websocket_generated == Some(YesNo::Yes) {
                g.websocket = Some(-1);
            }
        }
        g.websocket_generated = None;
        for l in &mut g.listens {
            if l.from_config == Some(1) {
                l.address = None;
                g.listen = None;
            }
            if l.kind == ListenType::Network {
                l.address = None;
            }
            if l.auto_generated == Some(YesNo::Yes) {
                l.socket = None;
                g.socket = None;
            }
            l.from_config = None;
            l.auto_generated = None;
        }
    }
    for h in &mut dev.hostdevs {
        if let Some(s) = h.source.as_mut() {
            s.missing = None;
        }
    }
    for m in &mut dev.memories {
        m.target.current = None;
    }
    for l in &mut d.seclabels {
        if l.kind == super::seclabel::SeclabelType::Dynamic {
            l.label = None;
        }
        l.image_label = None;
    }
    strip_private(d);
}

/// Gives the images of backing chains their numbers again, and static labels that of their images:
/// both are shown in either form of a running guest.
pub(super) fn keep_for_both(from: &Domain, to: &mut Domain) {
    for (a, b) in from.seclabels.iter().zip(&mut to.seclabels) {
        if a.kind == super::seclabel::SeclabelType::Static {
            b.image_label.clone_from(&a.image_label);
        }
    }
    let from = from.devices.iter().flat_map(|v| &v.disks);
    for (a, b) in from.zip(to.devices.iter_mut().flat_map(|v| &mut v.disks)) {
        let (mut a, mut b) = (a.backing_store.as_deref(), b.backing_store.as_deref_mut());
        while let (Some(x), Some(y)) = (a, b) {
            y.index = x.index;
            (a, b) = (x.backing_store.as_deref(), y.backing_store.as_deref_mut());
        }
    }
}

/// Paths of pseudo-terminals are chosen anew at each start.
fn strip_source(s: &mut CharSource) {
    s.tty = None;
    if s.kind == CharType::Pty {
        for e in &mut s.sources {
            e.path = None;
        }
        s.sources.retain(|e| !e.seclabels.is_empty());
    }
    for e in &mut s.sources {
        if e.tls_from_config.take().is_some_and(|from| from == "1") {
            e.tls = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::domain::{FormatFlags, ParseOptions, format, parse};

    #[test]
    fn names_of_nodes_stay_in_status_files() {
        let private = "<privateData><nodenames><nodename type='storage' name='n'/></nodenames>\
                       </privateData>";
        let text = format!(
            "<domain type='qemu' id='1'><name>a</name><memory>1</memory><os><type>hvm</type></os>\
             <devices><disk type='file'><driver name='qemu' type='qcow2'/>\
             <source file='/x' index='1'><dataStore type='file'><format type='raw'/>\
             <source file='/d' index='2'>{private}</source></dataStore>{private}</source>\
             <target dev='vda' bus='virtio'/></disk></devices></domain>"
        );
        let parsed = parse(&text, ParseOptions { live: true });
        let domain = parsed.domain.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics));
        for (live, index) in
            [(true, "<source file='/d' index='2'/>"), (false, "<source file='/d'/>")]
        {
            let flags = FormatFlags { live, secure: false, migratable: false };
            let shown = format(&domain, flags);
            assert!(shown.contains(index), "{shown}");
            assert!(!shown.contains("privateData"), "{shown}");
        }
    }
}
