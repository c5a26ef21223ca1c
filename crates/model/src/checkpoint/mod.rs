//! Domain checkpoints: points in time from which an incremental backup can start.
//!
//! Libvirt checks these documents against `domaincheckpoint.rng` in any case, so here too everything
//! that is not known is a fault.
//!
//! Sources: the schema, formatcheckpoint.html, and answers of libvirt 11.3.

#[cfg(test)]
mod tests;

use diag::{Diagnostic, ErrorCode, VirError};
use xml::{Element, Parsed, Reader, WriteOptions, Xml, XmlEnum};

use crate::domain::Inside;
use crate::domain::defaults::DefaultsContext;
use crate::domain::devices::disk::Disk;
use crate::moment::{self, Parent, domain_inside};
use crate::object::{self, fault};

/// A checkpoint.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Checkpoint {
    /// Its name, unique for the domain; made of the time when there is none.
    #[xml(child_text)]
    pub name: Option<String>,
    /// Text for humans.
    #[xml(child_text)]
    pub description: Option<String>,
    /// The checkpoint before it.
    #[xml(child)]
    pub parent: Option<Parent>,
    /// When it was made, seconds since 1970.
    #[xml(child_text, name = "creationTime")]
    pub creation_time: Option<i64>,
    /// What it covers.
    #[xml(child)]
    pub disks: Option<CheckpointDisks>,
    /// The domain as it was.
    #[xml(with = domain_inside)]
    pub domain: Inside,
}

/// Disks of a checkpoint.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CheckpointDisks {
    /// Each of them.
    #[xml(child, name = "disk")]
    pub disks: Vec<CheckpointDisk>,
}

/// A disk of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct CheckpointDisk {
    /// Its name in the guest, or (when read) the path of its image.
    #[xml(attr)]
    pub name: String,
    /// Whether changes to it are noted.
    #[xml(attr, default = CheckpointMode::Bitmap)]
    pub checkpoint: CheckpointMode,
    /// Name of the bitmap in which they are.
    #[xml(attr)]
    pub bitmap: Option<String>,
    /// Bytes changed since; found out, never read.
    #[xml(with = size_attr)]
    pub size: Option<u64>,
}

/// How a disk takes part in a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum CheckpointMode {
    /// It does not.
    No,
    /// Changes are noted in a bitmap.
    Bitmap,
}

/// A size that is only written.
mod size_attr {
    use xml::{Element, Reader, Schema, Writer, XmlValue};
    pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<Option<u64>> {
        cx.attr_optional::<u64>(el, "size").map(|_| None)
    }
    pub fn write_attrs(size: &Option<u64>, w: &mut Writer) {
        if let Some(size) = size {
            w.attr("size", size);
        }
    }
    pub fn write_children(_: &Option<u64>, _: &mut Writer) {}
    pub fn schema() -> Schema {
        Schema::new().attr("size", false, <u64 as XmlValue>::kind())
    }
}

/// How a document is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsing {
    /// It describes a checkpoint that was there before: name, time, parent and domain count.
    pub redefine: bool,
}

/// What a checkpoint that was there before must have.
const REQUIRED: &[moment::Required] = &[
    ("name", ErrorCode::XML_ERROR, "a redefined checkpoint must have a name"),
    ("creationTime", ErrorCode::INTERNAL_ERROR, "missing creationTime from existing checkpoint"),
];

/// Reads a `<domaincheckpoint>` document.
pub fn parse(text: &str, parsing: Parsing) -> Parsed<Checkpoint> {
    object::with_rest(text, &REST, |text| read(text, parsing))
}

/// What a checkpoint is without some of its parts.
const REST: object::Rest =
    object::Rest { attrs: &[], children: &[], asks: &[("checkpoint.name", &[])] };

fn read(text: &str, parsing: Parsing) -> Parsed<Checkpoint> {
    let refine = |root: Element<'_>, d: &mut diag::Diagnostic| {
        if object::path_to(root, d).get(1).is_some_and(|el| el.is("domain", None)) {
            Inside::refine(d);
        } else {
            object::against_schema(d);
        }
    };
    let complete = |checkpoint: &mut Checkpoint, el: Element<'_>, cx: &mut Reader| {
        complete(checkpoint, parsing, el, cx);
    };
    let mut parsed = object::read(text, "domaincheckpoint", refine, complete);
    // What libvirt asks for first is said first, but after what its schema has to say.
    if parsing.redefine {
        moment::require(text, &mut parsed, REQUIRED);
    }
    parsed.diagnostics.sort_by_key(|d| d.code != ErrorCode::XML_INVALID_SCHEMA);
    parsed
}

/// Writes a `<domaincheckpoint>` document.
pub fn format(checkpoint: &Checkpoint, options: &WriteOptions) -> String {
    xml::write(checkpoint, "domaincheckpoint", options)
}

fn complete(checkpoint: &mut Checkpoint, parsing: Parsing, el: Element<'_>, cx: &mut Reader) {
    let known = |name: &str| {
        let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
        name.bytes().all(allowed) && !name.starts_with('.')
    };
    let parent = checkpoint.parent.as_ref().and_then(|parent| parent.name.as_deref());
    for name in [checkpoint.name.as_deref(), parent].into_iter().flatten() {
        if !known(name) {
            let message = format!("'{name}' is no name of a checkpoint");
            fault(cx, el, "checkpoint.name", ErrorCode::XML_INVALID_SCHEMA, message);
        }
    }
    if checkpoint.creation_time.is_some_and(|time| time < 0) {
        let message = "Invalid value for element 'creationTime': it is before 1970";
        let at = el.child("creationTime").unwrap_or(el);
        fault(cx, at, "checkpoint.time", ErrorCode::XML_INVALID_SCHEMA, message);
    }
    if let (Some(list), Some(el)) = (&checkpoint.disks, el.child("disks"))
        && list.disks.is_empty()
    {
        let message = "Missing required element 'disk' in element 'disks'";
        fault(cx, el, "checkpoint.disks", ErrorCode::XML_INVALID_SCHEMA, message);
    }
    let disks = el.child("disks").into_iter().flat_map(|disks| disks.children());
    for (disk, el) in checkpoint.disks.iter().flat_map(|disks| &disks.disks).zip(disks) {
        if !object::is_disk_name(&disk.name) && !object::is_absolute_path(&disk.name) {
            let message = format!("'{}' is neither a disk nor a path", disk.name);
            fault(cx, el, "checkpoint.disk", ErrorCode::XML_INVALID_SCHEMA, message);
        }
        if disk.checkpoint == CheckpointMode::No && disk.bitmap.is_some() {
            let message = "a disk that is left out has no bitmap";
            fault(cx, el, "checkpoint.disk", ErrorCode::XML_INVALID_SCHEMA, message);
        }
    }
    if !parsing.redefine {
        checkpoint.parent = None;
        checkpoint.creation_time = None;
        checkpoint.domain = Inside::None;
    }
}

impl Checkpoint {
    /// The disks it speaks of.
    pub fn disks(&self) -> &[CheckpointDisk] {
        self.disks.as_ref().map_or(&[], |disks| &disks.disks)
    }

    /// Fills in what the definition inside leaves open; see [`Inside::complete`].
    pub fn complete_domains(&mut self, ctx: &mut DefaultsContext<'_>) -> Vec<Diagnostic> {
        self.domain.complete(ctx)
    }

    /// Gives a new checkpoint its time and parent, and a name where it has none.
    pub fn create(&mut self, now: i64, parent: Option<&str>) {
        self.creation_time = Some(now);
        self.name.get_or_insert_with(|| now.to_string());
        self.parent = parent.map(Parent::named);
    }

    /// Names the bitmaps of disks that have none after the checkpoint.
    pub fn name_bitmaps(&mut self) {
        for disk in self.disks.iter_mut().flat_map(|disks| &mut disks.disks) {
            if disk.checkpoint == CheckpointMode::Bitmap && disk.bitmap.is_none() {
                disk.bitmap.clone_from(&self.name);
            }
        }
    }

    /// Brings the disks of a checkpoint that was there before in line with those that the domain had
    /// then. A document without the domain is taken as it is.
    ///
    /// # Errors
    /// As for [`Checkpoint::align`].
    pub fn align_redefined(&mut self) -> Result<(), VirError> {
        moment::check_parent(self.name.as_deref(), self.parent.as_ref())?;
        let Some(domain) = self.domain.full() else {
            self.name_bitmaps();
            return Ok(());
        };
        let disks = domain.devices.as_ref().map(|devices| devices.disks.clone());
        self.align(&disks.unwrap_or_default())
    }

    /// Brings the disks in line with the domain's: by their names in the guest, in its order, all of
    /// them. Without a list every disk that can be written takes part; with one, those listed.
    ///
    /// # Errors
    /// Disks that do not fit; libvirt's code and words.
    pub fn align(&mut self, domain: &[Disk]) -> Result<(), VirError> {
        if domain.is_empty() {
            let message = "domain must have at least one disk to perform checkpoints";
            return Err(VirError::config(message));
        }
        let given = self.disks.take().unwrap_or_default().disks;
        let all = given.is_empty();
        let usable = |own: &Disk| !moment::is_empty(own) && !own.readonly;
        let fits = |disk: &CheckpointDisk, own: &Disk| {
            if disk.checkpoint == CheckpointMode::Bitmap && !usable(own) {
                let message = format!("disk '{}' is empty or readonly", own.target.dev);
                return Err(VirError::config(message));
            }
            Ok(())
        };
        let mut places = moment::place(domain, given, |disk| &disk.name, fits, "checkpoint")?;
        let mut disks = Vec::with_capacity(domain.len());
        for (own, place) in domain.iter().zip(&mut places) {
            let name = own.target.dev.clone();
            let checkpoint =
                if all && usable(own) { CheckpointMode::Bitmap } else { CheckpointMode::No };
            disks.push(match place.take() {
                Some(found) => CheckpointDisk { name, ..found },
                None => CheckpointDisk { name, checkpoint, bitmap: None, size: None },
            });
        }
        self.disks = Some(CheckpointDisks { disks });
        self.name_bitmaps();
        Ok(())
    }
}

/// Reads arbitrary bytes; what was written must be read again, and to the same value.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for redefine in [false, true] {
        let parsing = Parsing { redefine };
        let Some(mut checkpoint) = parse(text, parsing).value else { continue };
        let disks = checkpoint.domain.full().and_then(|d| d.devices.as_ref());
        let disks = disks.map(|devices| devices.disks.clone()).unwrap_or_default();
        let _ = checkpoint.align(&disks);
        checkpoint.domain = Inside::None;
        let written = format(&checkpoint, &WriteOptions::default());
        assert_eq!(parse(&written, parsing).value.as_ref(), Some(&checkpoint), "{written}");
    }
}
