//! Block devices.

use diag::ErrorCode;
use xml::{Content, Element, Reader, Schema, ValueKind, Writer, Xml};

use super::children::sub_capabilities;
use crate::object::fault;

/// A block device.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct Storage {
    /// Path of its node.
    #[xml(child_text)]
    pub block: String,
    /// What it is attached by.
    #[xml(child_text)]
    pub bus: Option<String>,
    /// What it is, such as `disk`.
    #[xml(child_text)]
    pub drive_type: Option<String>,
    /// Its model.
    #[xml(child_text)]
    pub model: Option<String>,
    /// Who made it.
    #[xml(child_text)]
    pub vendor: Option<String>,
    /// Its serial number.
    #[xml(child_text)]
    pub serial: Option<String>,
    /// Size in bytes, of a device whose medium stays.
    #[xml(child_text)]
    pub size: Option<u64>,
    /// Its blocks, of a device whose medium stays; found out, never read.
    #[xml(with = blocks)]
    pub blocks: Option<Blocks>,
    /// What it can do: removable first.
    #[xml(with = storage_capabilities)]
    pub capabilities: Vec<StorageCapability>,
}

/// Blocks of a medium.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocks {
    /// Size of one, bytes.
    pub logical_block_size: u64,
    /// How many there are.
    pub num_blocks: u64,
}

/// What a block device can do.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(tag = "type")]
pub enum StorageCapability {
    /// Its medium can be taken out.
    Removable(Medium),
    /// It can be unplugged.
    Hotpluggable,
}

sub_capabilities!(storage_capabilities, StorageCapability, Refused);

/// A medium that can be taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Medium {
    /// Whether there is one.
    pub available: bool,
    /// Its size in bytes.
    pub size: u64,
    /// Its label.
    pub label: Option<String>,
    /// Its blocks; found out, never read.
    pub blocks: Option<Blocks>,
}

impl Xml for Medium {
    fn read(el: Element<'_>, cx: &mut Reader) -> Option<Self> {
        let available =
            cx.child(el, "media_available").is_some_and(|child| child.string_value() == "1");
        let size = cx.child_text_required::<u64>(el, "media_size".into());
        let label = cx.child_text_optional::<String>(el, "media_label".into());
        blocks::read(el, cx);
        Some(Self { available, size: size?, label: label?, blocks: None })
    }
    fn write_attrs(&self, _: &mut Writer) {}
    fn write_children(&self, w: &mut Writer) {
        w.child_text("media_available", &u32::from(self.available));
        w.child_text("media_size", &self.size);
        if let Some(label) = &self.label {
            w.child_text("media_label", label);
        }
        blocks::write_children(&self.blocks, w);
    }
    fn schema() -> Schema {
        let number = || Content::Text(<u64 as xml::XmlValue>::kind());
        Schema::new()
            .child("media_available".into(), false, false, number())
            .child("media_size".into(), true, false, number())
            .child("media_label".into(), false, false, Content::Text(ValueKind::Text))
            .merge(blocks::schema())
    }
}

mod blocks {
    use super::{Blocks, Content, Element, Reader, Schema, Writer};
    const NAMES: [&str; 2] = ["logical_block_size", "num_blocks"];
    pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<Option<Blocks>> {
        for name in NAMES {
            for child in cx.children(el, name) {
                cx.use_subtree(child);
            }
        }
        Some(None)
    }
    pub fn write_attrs(_: &Option<Blocks>, _: &mut Writer) {}
    pub fn write_children(blocks: &Option<Blocks>, w: &mut Writer) {
        let Some(blocks) = blocks else { return };
        if blocks.logical_block_size > 0 {
            w.child_text(NAMES[0], &blocks.logical_block_size);
        }
        if blocks.num_blocks > 0 {
            w.child_text(NAMES[1], &blocks.num_blocks);
        }
    }
    pub fn schema() -> Schema {
        let number = || Content::Text(<u64 as xml::XmlValue>::kind());
        Schema::new().child(NAMES[0].into(), false, false, number()).child(
            NAMES[1].into(),
            false,
            false,
            number(),
        )
    }
}

impl Storage {
    /// The medium, when it can be taken out.
    pub fn medium_mut(&mut self) -> Option<&mut Medium> {
        self.capabilities.iter_mut().find_map(|capability| match capability {
            StorageCapability::Removable(medium) => Some(medium),
            StorageCapability::Hotpluggable => None,
        })
    }

    /// Fills in the blocks, given the size of one for a medium that can be taken out (`true`) and
    /// for one that stays.
    pub fn measure(&mut self, block_size: impl Fn(bool) -> u64) {
        let blocks = |size: u64, block: u64| {
            Some(Blocks { logical_block_size: block, num_blocks: size.checked_div(block)? })
        };
        let staying = self.size;
        match self.medium_mut() {
            Some(medium) => {
                medium.blocks =
                    if medium.available { blocks(medium.size, block_size(true)) } else { None };
            }
            None => self.blocks = staying.and_then(|size| blocks(size, block_size(false))),
        }
    }

    pub(super) fn complete(&mut self, name: &str, el: Element<'_>, cx: &mut Reader) {
        self.capabilities.sort_by_key(|c| *c == StorageCapability::Hotpluggable);
        self.capabilities.dedup_by_key(|c| c.tag());
        if self.medium_mut().is_some() {
            self.size = None;
        } else if self.size.is_none() {
            let message = format!("no size supplied for '{name}'");
            fault(cx, el, "nodedev.size", ErrorCode::INTERNAL_ERROR, message);
        }
    }
}
