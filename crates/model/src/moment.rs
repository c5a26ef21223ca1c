//! What snapshots, checkpoints and backups share: the one before, and disks that have to fit those
//! of the domain.

use std::collections::HashMap;

use diag::{Diagnostic, ErrorCode, Severity, VirError};
use xml::{Document, Parsed, Xml};

use crate::domain::devices::disk::{Disk, StorageType};
use crate::object;

/// The snapshot or checkpoint before another.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
pub struct Parent {
    /// Its name.
    #[xml(child_text)]
    pub name: Option<String>,
}

impl Parent {
    /// The one of this name.
    pub fn named(name: &str) -> Self {
        Self { name: Some(name.to_owned()) }
    }
}

/// A part that must be there: the element, and libvirt's code and words where it is not.
pub(crate) type Required = (&'static str, ErrorCode, &'static str);

/// Asks for parts that a document about something of old must have. Libvirt does so before it reads
/// the rest: of these faults there is one, and it comes first.
pub(crate) fn require<T>(text: &str, parsed: &mut Parsed<T>, parts: &[Required]) {
    let Ok(doc) = Document::parse(text) else { return };
    if parsed.diagnostics.iter().any(|d| d.rule == "xml.root") {
        return;
    }
    let names: Vec<&str> = parts.iter().map(|(name, ..)| *name).collect();
    object::sort(text, &mut parsed.diagnostics, &names, &[]);
    let root = doc.root();
    let empty = |name: &str| root.child(name).is_none_or(|el| el.string_value().is_empty());
    let Some((name, code, message)) = parts.iter().find(|(name, ..)| empty(name)) else { return };
    parsed.value = None;
    let missing = Diagnostic {
        rule: "moment.required",
        severity: Severity::Error,
        code: *code,
        span: Some(root.span()),
        message: (*message).to_owned(),
        domain: None,
        hints: vec![format!("Add <{name}> inside <{}>.", root.name())],
    };
    parsed.diagnostics.insert(0, missing);
}

/// `<domain>` inside such a document.
pub(crate) mod domain_inside {
    use crate::domain::Inside;
    use xml::{Element, Reader, Schema, Writer};
    pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<Inside> {
        Inside::read(el, cx, "domain")
    }
    pub fn write_attrs(_: &Inside, _: &mut Writer) {}
    pub fn write_children(inside: &Inside, w: &mut Writer) {
        inside.write(w, "domain");
    }
    pub fn schema() -> Schema {
        Inside::schema("domain")
    }
}

/// Whether what was there before can follow on its parent.
///
/// # Errors
/// It names itself; libvirt's code and words.
pub(crate) fn check_parent(name: Option<&str>, parent: Option<&Parent>) -> Result<(), VirError> {
    match parent.and_then(|parent| parent.name.as_deref()) {
        Some(parent) if Some(parent) == name => {
            Err(VirError::invalid_arg(format!("cannot set moment {parent} as its own parent")))
        }
        _ => Ok(()),
    }
}

/// The path of a disk's image, or what stands in its place for an image on the network.
pub(crate) fn source_path(disk: &Disk) -> Option<&str> {
    let source = disk.source.as_ref()?;
    let path = match disk.kind {
        StorageType::File => &source.file,
        StorageType::Block | StorageType::Vhostvdpa => &source.dev,
        StorageType::Dir => &source.dir,
        StorageType::Network => &source.name,
        StorageType::Volume => &source.volume,
        StorageType::Nvme | StorageType::Vhostuser => &source.path,
    };
    path.as_deref().filter(|path| !path.is_empty())
}

/// Whether a drive has no medium.
pub(crate) fn is_empty(disk: &Disk) -> bool {
    match disk.kind {
        StorageType::Network => disk.source.as_ref().is_none_or(|s| s.protocol.is_none()),
        StorageType::Nvme | StorageType::Vhostuser => disk.source.is_none(),
        _ => source_path(disk).is_none(),
    }
}

/// Puts what a document says of disks in the places of the domain's disks. A disk is found by its
/// name in the guest or by the path of its image; `check` says whether the two fit.
pub(crate) fn place<T>(
    domain: &[Disk],
    given: Vec<T>,
    name: impl Fn(&T) -> &str,
    check: impl Fn(&T, &Disk) -> Result<(), VirError>,
    what: &str,
) -> Result<Vec<Option<T>>, VirError> {
    if given.len() > domain.len() {
        let message = format!("too many disk {what} requests for domain");
        return Err(VirError::config(message));
    }
    let mut places: Vec<Option<T>> = std::iter::repeat_with(|| None).take(domain.len()).collect();
    // The first of those that share a name or an image.
    let last_first = || domain.iter().enumerate().rev();
    let names: HashMap<&str, usize> =
        last_first().map(|(i, disk)| (disk.target.dev.as_str(), i)).collect();
    let paths: HashMap<&str, usize> =
        last_first().filter_map(|(i, disk)| Some((source_path(disk)?, i))).collect();
    for one in given {
        let wanted = name(&one);
        let places_of = if wanted.starts_with('/') { &paths } else { &names };
        let found = places_of.get(wanted).copied();
        let found = found.and_then(|at| Some((places.get_mut(at)?, domain.get(at)?)));
        let Some((place, disk)) = found else {
            return Err(VirError::config(format!("no disk named '{wanted}'")));
        };
        if place.is_some() {
            let message = format!("disk '{}' specified twice", disk.target.dev);
            return Err(VirError::config(message));
        }
        check(&one, disk)?;
        *place = Some(one);
    }
    Ok(places)
}
