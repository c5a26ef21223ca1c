//! Mediated devices and the types of them that a device offers.

use units::Uuid;
use xml::{Content, Element, Reader, Schema, ValueKind, Writer, Xml};

/// Types of mediated devices a device can make.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct MdevTypes {
    /// The types.
    #[xml(child, name = "type")]
    pub types: Vec<MdevType>,
}

/// A type of mediated devices.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct MdevType {
    /// Its identifier.
    #[xml(attr)]
    pub id: String,
    /// Its name.
    #[xml(child_text)]
    pub name: Option<String>,
    /// How a guest drives it: `vfio-pci`, `vfio-ccw` or `vfio-ap`.
    #[xml(child_text, name = "deviceAPI")]
    pub device_api: String,
    /// How many more can be made.
    #[xml(child_text, name = "availableInstances")]
    pub available_instances: u32,
}

/// How a mediated device is made.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct MdevConfig {
    /// Its type.
    pub type_id: String,
    /// Attributes written after it is made, in this order.
    pub attrs: Vec<MdevAttr>,
}

/// An attribute of a mediated device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MdevAttr {
    /// Its name in sysfs.
    pub name: String,
    /// The value written.
    pub value: String,
}

/// A mediated device.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Mdev {
    /// How it is defined; written where the device's definition is asked for.
    pub defined: MdevConfig,
    /// How the running one was made; written where the device as it is is asked for.
    pub active: MdevConfig,
    /// Its UUID; the host chooses one when there is none.
    pub uuid: Option<Uuid>,
    /// Address of the device it is made on; found out, never read.
    pub parent_addr: Option<String>,
    /// Its IOMMU group; 0 when it has none.
    pub iommu_group: u32,
    /// Whether it is made when the host starts.
    pub autostart: bool,
}

impl Mdev {
    /// What was read is the definition; it is in force once the device is made.
    pub(super) fn complete(&mut self) {
        self.active = self.defined.clone();
    }
}

impl Xml for Mdev {
    fn read(el: Element<'_>, cx: &mut Reader) -> Option<Self> {
        let type_id = match cx.child(el, "type") {
            Some(child) => cx.attr_required::<String>(child, "id"),
            None => {
                cx.missing_child(el, "type");
                None
            }
        };
        let uuid = cx.child_text_optional::<Uuid>(el, "uuid".into());
        let group = match cx.child(el, "iommuGroup") {
            Some(child) => cx.attr_optional::<u32>(child, "number"),
            None => Some(None),
        };
        if let Some(address) = cx.child(el, "parent_addr") {
            cx.use_subtree(address);
        }
        let mut attrs = Vec::new();
        for child in cx.children(el, "attr") {
            let name = cx.attr_optional::<String>(child, "name")?;
            let value = cx.attr_optional::<String>(child, "value")?;
            if let (Some(name), Some(value)) = (name, value) {
                attrs.push(MdevAttr { name, value });
            } else {
                let message = "An attribute without name or value is left out";
                cx.warning("nodedev.attr", child.span(), message, Vec::new());
            }
        }
        Some(Self {
            defined: MdevConfig { type_id: type_id?, attrs },
            active: MdevConfig::default(),
            uuid: uuid?,
            parent_addr: None,
            iommu_group: group?.unwrap_or(0),
            autostart: false,
        })
    }

    fn write_attrs(&self, _: &mut Writer) {}

    fn write_children(&self, w: &mut Writer) {
        let config = if w.options().live { &self.active } else { &self.defined };
        w.start("type");
        w.attr_str("id", &config.type_id);
        w.end("type");
        if let Some(uuid) = &self.uuid {
            w.child_text("uuid", uuid);
        }
        if let Some(address) = &self.parent_addr {
            w.child_text("parent_addr", address);
        }
        w.start("iommuGroup");
        w.attr("number", &self.iommu_group);
        w.end("iommuGroup");
        for attr in &config.attrs {
            w.start("attr");
            w.attr_str("name", &attr.name);
            w.attr_str("value", &attr.value);
            w.end("attr");
        }
    }

    fn schema() -> Schema {
        fn with_id() -> Schema {
            Schema::new().attr("id", true, ValueKind::Text)
        }
        fn group() -> Schema {
            Schema::new().attr("number", false, <u32 as xml::XmlValue>::kind())
        }
        fn attr() -> Schema {
            let schema = Schema::new().attr("name", false, ValueKind::Text);
            schema.attr("value", false, ValueKind::Text)
        }
        Schema::new()
            .child("type".into(), true, false, Content::Element(with_id))
            .child("uuid".into(), false, false, Content::Text(ValueKind::Named("uuid")))
            .child("parent_addr".into(), false, false, Content::Text(ValueKind::Text))
            .child("iommuGroup".into(), false, false, Content::Element(group))
            .child("attr".into(), false, true, Content::Element(attr))
    }
}
