//! Domain snapshots: the state of disks, and perhaps of memory, to return to.
//!
//! Sources: `domainsnapshot.rng`, formatsnapshot.html, and answers of libvirt 11.3.

mod align;
mod disk;
#[cfg(test)]
mod tests;

use diag::{Diagnostic, ErrorCode, VirError};
use xml::{Element, Parsed, Reader, WriteOptions, Xml, XmlEnum};

use crate::domain::Inside;
use crate::domain::defaults::DefaultsContext;
use crate::domain::devices::disk::SnapshotMode;
use crate::domain::opaque::Opaque;
use crate::moment::{self, Parent, domain_inside};
use crate::object::{self, Rule, fault};

pub use disk::{SnapshotDisk, SnapshotDriver};

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Snapshot {
    /// Its name, unique for the domain; made of the time when there is none.
    #[xml(child_text)]
    pub name: Option<String>,
    /// Text for humans.
    #[xml(child_text)]
    pub description: Option<String>,
    /// What the guest was doing.
    #[xml(child_text)]
    pub state: Option<State>,
    /// The snapshot before it.
    #[xml(child)]
    pub parent: Option<Parent>,
    /// When it was made, seconds since 1970.
    #[xml(child_text, name = "creationTime")]
    pub creation_time: Option<i64>,
    /// What became of the memory.
    #[xml(child)]
    pub memory: Option<Memory>,
    /// What became of the disks.
    #[xml(child)]
    pub disks: Option<SnapshotDisks>,
    /// Overlays that stand for the disks since the domain went back to this snapshot.
    #[xml(child, name = "revertDisks")]
    pub revert_disks: Option<SnapshotDisks>,
    /// The domain as it was.
    #[xml(with = domain_inside)]
    pub domain: Inside,
    /// The definition it had for its next start, where that was another.
    #[xml(with = inactive_inside)]
    pub inactive_domain: Inside,
    /// Private data with which the memory is restored.
    #[xml(child)]
    pub cookie: Option<Opaque>,
    /// Whether it is the one the domain stands on; in the daemon's own form only.
    #[xml(child_text, live_only)]
    pub active: Option<u32>,
}

/// What a guest was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum State {
    /// It ran.
    Running,
    /// It waited for something.
    Blocked,
    /// It was paused.
    Paused,
    /// It was shutting down.
    Shutdown,
    /// It was off.
    Shutoff,
    /// It had crashed.
    Crashed,
    /// It slept.
    Pmsuspended,
    /// It ran, and only its disks were taken.
    DiskSnapshot,
}

/// What became of the memory.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Memory {
    /// Where it went.
    #[xml(attr)]
    pub snapshot: Option<SnapshotMode>,
    /// The file it went to.
    #[xml(attr)]
    pub file: Option<String>,
}

/// What became of the disks.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct SnapshotDisks {
    /// Of each of them.
    #[xml(child, name = "disk")]
    pub disks: Vec<SnapshotDisk>,
}

/// `<inactiveDomain>`.
mod inactive_inside {
    use crate::domain::Inside;
    use xml::{Element, Reader, Schema, Writer};
    pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<Inside> {
        Inside::read(el, cx, "inactiveDomain")
    }
    pub fn write_attrs(_: &Inside, _: &mut Writer) {}
    pub fn write_children(inside: &Inside, w: &mut Writer) {
        inside.write(w, "inactiveDomain");
    }
    pub fn schema() -> Schema {
        Inside::schema("inactiveDomain")
    }
}

/// How a document is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsing {
    /// It describes a snapshot that was there before: state, time, parent and domain count.
    pub redefine: bool,
    /// It is the daemon's own form.
    pub internal: bool,
}

const RULES: &[Rule] = &[
    ("state", ErrorCode::CONFIG_UNSUPPORTED, "Invalid state '{}' in domain snapshot XML"),
    ("creationTime", ErrorCode::INTERNAL_ERROR, "missing creationTime from existing snapshot"),
    ("!disk@name", ErrorCode::INTERNAL_ERROR, "missing name from disk snapshot element"),
    (
        "max_size",
        ErrorCode::XML_ERROR,
        "Invalid value '{}' for element or attribute './driver/metadata_cache/max_size'",
    ),
];

/// What a snapshot that was there before must have.
const REQUIRED: &[moment::Required] = &[
    ("name", ErrorCode::XML_ERROR, "a redefined snapshot must have a name"),
    ("creationTime", ErrorCode::INTERNAL_ERROR, "missing creationTime from existing snapshot"),
    ("state", ErrorCode::XML_ERROR, "missing state from existing snapshot"),
];

/// Reads a `<domainsnapshot>` document.
pub fn parse(text: &str, parsing: Parsing) -> Parsed<Snapshot> {
    object::with_rest(text, &REST, |text| read(text, parsing))
}

/// What a snapshot is without some of its parts.
const REST: object::Rest = object::Rest {
    attrs: &[],
    children: &[],
    asks: &[("snapshot.memory", &["memory", "state"]), ("snapshot.active", &["active"])],
};

fn read(text: &str, parsing: Parsing) -> Parsed<Snapshot> {
    let refine = |root: Element<'_>, d: &mut diag::Diagnostic| {
        let path = object::path_to(root, d);
        let inside =
            path.get(1).is_some_and(|el| el.is("domain", None) || el.is("inactiveDomain", None));
        if inside { Inside::refine(d) } else { object::refine(d, RULES, "") }
    };
    let complete = |snapshot: &mut Snapshot, el: Element<'_>, cx: &mut Reader| {
        complete(snapshot, parsing, el, cx);
    };
    let mut parsed = object::read(text, "domainsnapshot", refine, complete);
    if parsing.redefine {
        moment::require(text, &mut parsed, REQUIRED);
    }
    parsed
}

/// Writes a `<domainsnapshot>` document; with `internal` the daemon's own form.
pub fn format(snapshot: &Snapshot, internal: bool, options: &WriteOptions) -> String {
    xml::write(snapshot, "domainsnapshot", &WriteOptions { live: internal, ..*options })
}

/// Whether a name can be that of a new snapshot: it becomes the name of a file.
///
/// # Errors
/// Why not; libvirt's code and words.
pub fn check_name(name: &str) -> Result<(), VirError> {
    let why = if name.contains('/') {
        "name can't contain '/'"
    } else if name.starts_with('.') {
        "name can't start with '.'"
    } else {
        return Ok(());
    };
    let message = format!("invalid snapshot name '{name}': {why}");
    Err(VirError::new(ErrorCode::XML_DETAIL, message).verbatim())
}

fn complete(snapshot: &mut Snapshot, parsing: Parsing, el: Element<'_>, cx: &mut Reader) {
    let x = ErrorCode::XML_ERROR;
    for (holder, list) in
        [("disks", &mut snapshot.disks), ("revertDisks", &mut snapshot.revert_disks)]
    {
        let holder = el.child(holder);
        let elements = holder.into_iter().flat_map(|e| e.children()).filter(|e| e.is("disk", None));
        for (disk, el) in list.iter_mut().flat_map(|list| &mut list.disks).zip(elements) {
            disk.complete(el, cx);
        }
        if list.as_ref().is_some_and(|list| list.disks.is_empty()) {
            *list = None;
        }
    }
    if !parsing.redefine {
        snapshot.state = None;
        snapshot.parent = None;
        snapshot.creation_time = None;
        snapshot.domain = Inside::None;
        snapshot.inactive_domain = Inside::None;
        snapshot.revert_disks = None;
        snapshot.cookie = None;
    }
    snapshot.parent = snapshot.parent.take().filter(|parent| parent.name.is_some());
    let at = el.child("memory").unwrap_or(el);
    if let Err(message) = snapshot.complete_memory(parsing.redefine) {
        fault(cx, at, "snapshot.memory", x, message);
    }
    if parsing.internal && snapshot.active.is_none() {
        fault(cx, el, "snapshot.active", x, "Could not find 'active' element");
    }
    if !parsing.internal {
        snapshot.active = None;
    }
}

impl Snapshot {
    /// Whether the guest did not run, or only its disks were taken.
    fn is_offline(&self) -> bool {
        matches!(self.state, Some(State::Shutoff | State::DiskSnapshot))
    }

    fn complete_memory(&mut self, redefine: bool) -> Result<(), String> {
        let offline = redefine && self.is_offline();
        let Some(memory) = &mut self.memory else {
            if redefine {
                let mode = if offline { SnapshotMode::No } else { SnapshotMode::Internal };
                self.memory = Some(Memory { snapshot: Some(mode), file: None });
            }
            return Ok(());
        };
        match (memory.snapshot, &memory.file) {
            (None, None) => {
                let mode = if offline { SnapshotMode::No } else { SnapshotMode::Internal };
                memory.snapshot = Some(mode);
            }
            (None, Some(_)) => memory.snapshot = Some(SnapshotMode::External),
            (Some(SnapshotMode::External), None) => {
                return Err("external memory snapshots require a filename".to_owned());
            }
            (Some(SnapshotMode::External), Some(_)) => {}
            (Some(_), Some(file)) => {
                return Err(format!("memory filename '{file}' requires external snapshot"));
            }
            (Some(SnapshotMode::Manual), None) => {
                return Err("'manual' memory snapshot mode not supported".to_owned());
            }
            (Some(_), None) => {}
        }
        if offline && memory.snapshot != Some(SnapshotMode::No) {
            let message = "memory state cannot be saved with offline or disk-only snapshot";
            return Err(message.to_owned());
        }
        match &memory.file {
            Some(file) if !file.starts_with('/') => {
                Err(format!("memory snapshot file path ({file}) must be absolute"))
            }
            _ => Ok(()),
        }
    }

    /// The disks it speaks of.
    pub fn disks(&self) -> &[SnapshotDisk] {
        self.disks.as_ref().map_or(&[], |disks| &disks.disks)
    }

    /// Fills in what the definitions inside leave open; see [`Inside::complete`].
    pub fn complete_domains(&mut self, ctx: &mut DefaultsContext<'_>) -> Vec<Diagnostic> {
        let mut found = self.domain.complete(ctx);
        found.extend(self.inactive_domain.complete(ctx));
        found
    }

    /// Gives a new snapshot its time and parent, and a name where it has none.
    pub fn create(&mut self, now: i64, parent: Option<&str>) {
        self.creation_time = Some(now);
        self.name.get_or_insert_with(|| now.to_string());
        self.parent = parent.map(Parent::named);
    }

    /// Whether QEMU can have had a snapshot like this one, which is to be known again, of the domain
    /// with this UUID.
    ///
    /// # Errors
    /// Why not; libvirt's code and words.
    pub fn check_redefined(&self, uuid: &crate::domain::scalar::Uuid) -> Result<(), VirError> {
        match self.state {
            Some(State::Blocked) | None => {
                let state = self.state.map_or("nostate", State::as_str);
                return Err(VirError::internal(format!("Invalid domain state {state}")));
            }
            Some(State::Pmsuspended) => {
                let message = "qemu doesn't support taking snapshots of PMSUSPENDED guests";
                return Err(VirError::new(ErrorCode::OPERATION_UNSUPPORTED, message));
            }
            Some(_) => {}
        }
        moment::check_parent(self.name.as_deref(), self.parent.as_ref())?;
        let Some(domain) = self.domain.full() else {
            return Err(VirError::internal("missing domain in snapshot"));
        };
        if domain.uuid.as_ref() != Some(uuid) {
            let name = self.name.as_deref().unwrap_or_default();
            let message = format!("definition for snapshot {name} must use uuid {uuid}");
            return Err(VirError::invalid_arg(message));
        }
        Ok(())
    }

    /// Whether something of it lies outside the disks' images.
    pub fn is_external(&self) -> bool {
        let external = Some(SnapshotMode::External);
        self.memory.as_ref().is_some_and(|memory| memory.snapshot == external)
            || self.disks().iter().any(|disk| disk.snapshot == external)
    }
}

/// Reads arbitrary bytes; what was written must be read again, and be written as the same.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for (redefine, internal) in [(false, false), (true, false), (true, true)] {
        let parsing = Parsing { redefine, internal };
        let Some(mut snapshot) = parse(text, parsing).value else { continue };
        let disks = snapshot.domain.full().and_then(|d| d.devices.as_ref());
        let disks = disks.map(|devices| devices.disks.clone()).unwrap_or_default();
        let written = format(&snapshot, internal, &WriteOptions::default());
        assert!(!written.is_empty());
        let mut plain = snapshot.clone();
        plain.domain = Inside::None;
        plain.inactive_domain = Inside::None;
        plain.cookie = None;
        let write = |snapshot: &Snapshot| format(snapshot, internal, &WriteOptions::default());
        let written = write(&plain);
        assert_eq!(parse(&written, parsing).value.as_ref().map(write), Some(written));
        let _ = snapshot.align(&disks, SnapshotMode::External, false);
    }
}
