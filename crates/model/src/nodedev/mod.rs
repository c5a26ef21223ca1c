//! Node devices: what the host is made of, and mediated devices that are made on it.
//!
//! The XML is mostly written by the daemon, from what the host shows; it is read when a device is
//! created or defined. [`parse`] reads what such a document may say; `path`, `devnode` and `driver`
//! belong to a device that is there and are written for a live one only.
//!
//! Sources: `nodedev.rng`, formatnode.html, and answers of libvirt 11.3.

mod capability;
mod ccw;
mod children;
mod mdev;
pub mod mdevctl;
mod net;
mod pci;
mod scsi;
mod storage;
#[cfg(test)]
mod tests;
mod usb;
mod words;

use diag::ErrorCode;
use xml::{Element, Parsed, Reader, WriteOptions, Writer, Xml, XmlEnum};

use crate::object::{self, fault};

pub use capability::{
    ApCard, ApMatrix, ApQueue, Capability, Drm, DrmType, Firmware, Hardware, MatrixCapability,
    System, Vdpa,
};
pub use ccw::{
    Ccw, CcwAddress, CcwGroup, CcwMember, CcwState, Css, CssCapability, GroupCapability,
    GroupMember, Member, Members, Qeth,
};
pub use mdev::{Mdev, MdevAttr, MdevConfig, MdevType, MdevTypes};
pub use net::{Feature, FeatureName, Net, NetCapability};
pub use pci::{
    Express, ExpressLink, Identity, IommuGroup, LinkSpeed, LinkValidity, Numa, Pci, PciCapability,
    PciClass, PciPlace, PhysFunction, VirtFunctions, Vpd, VpdAccess, VpdField, VpdFields,
};
pub use scsi::{
    FcHost, RemotePort, Scsi, ScsiGeneric, ScsiHost, ScsiHostCapability, ScsiTarget,
    TargetCapability, VportOps,
};
pub use storage::{Blocks, Medium, Storage, StorageCapability};
pub use usb::{UsbDevice, UsbInterface};

/// A device of the host.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct Device {
    /// Its name, unique on the host; never empty after [`parse`].
    #[xml(child_text, default)]
    pub name: String,
    /// Its folder in sysfs.
    #[xml(child_text, live_only)]
    pub path: Option<String>,
    /// Its files in `/dev`: the node itself, then links to it.
    #[xml(child, name = "devnode", live_only)]
    pub devnodes: Vec<DevNode>,
    /// The device it belongs to.
    #[xml(with = parent_element)]
    pub parent: Option<Parent>,
    /// The kernel's driver; found out, never configured.
    #[xml(child, live_only)]
    pub driver: Option<Driver>,
    /// What it is and can do; at least one.
    #[xml(child, name = "capability")]
    pub capabilities: Vec<Capability>,
}

/// A file in `/dev`.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct DevNode {
    /// The node or a link to it.
    #[xml(attr, name = "type")]
    pub kind: DevNodeType,
    /// Its path.
    #[xml(text, default)]
    pub path: String,
}

/// What a file in `/dev` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, XmlEnum)]
pub enum DevNodeType {
    /// The device node.
    Dev,
    /// A link to it.
    Link,
}

/// The device another belongs to, by name or (to make a virtual HBA) by its world-wide names.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Parent {
    /// Name of the device.
    pub name: Option<String>,
    /// Node name of an HBA.
    pub wwnn: Option<String>,
    /// Port name of an HBA.
    pub wwpn: Option<String>,
    /// Name of the fabric an HBA is on.
    pub fabric_wwn: Option<String>,
}

/// The kernel's driver.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Driver {
    /// Its name.
    #[xml(child_text)]
    pub name: Option<String>,
}

/// `<parent>`: the names of an HBA are read and never written.
mod parent_element {
    use super::Parent;
    use xml::{Content, Element, Reader, Schema, ValueKind, Writer};

    pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<Option<Parent>> {
        let Some(child) = cx.child(el, "parent") else { return Some(None) };
        let parent = Parent {
            wwnn: cx.attr_optional(child, "wwnn")?,
            wwpn: cx.attr_optional(child, "wwpn")?,
            fabric_wwn: cx.attr_optional(child, "fabric_wwn")?,
            name: cx.text_optional(child)?,
        };
        Some(Some(parent).filter(|parent| *parent != Parent::default()))
    }
    pub fn write_attrs(_: &Option<Parent>, _: &mut Writer) {}
    pub fn write_children(parent: &Option<Parent>, w: &mut Writer) {
        if let Some(name) = parent.as_ref().and_then(|parent| parent.name.as_ref()) {
            w.child_text("parent", name);
        }
    }
    pub fn schema() -> Schema {
        fn inner() -> Schema {
            let text = ValueKind::Text;
            let schema = Schema::new().attr("wwnn", false, text).attr("wwpn", false, text);
            schema.attr("fabric_wwn", false, text).text(text)
        }
        Schema::new().child("parent".into(), false, false, Content::Element(inner))
    }
}

/// What a device is without some of its parts.
const REST: object::Rest = object::Rest {
    attrs: &[],
    children: &[("name", "<name>unnamed</name>")],
    asks: &[
        ("nodedev.capability", &["capability"]),
        ("nodedev.no-parent", &["parent", "capability"]),
    ],
};

/// Reads a `<device>` document of a device there is.
pub fn parse(text: &str) -> Parsed<Device> {
    object::with_rest(text, &REST, read)
}

fn read(text: &str) -> Parsed<Device> {
    let refine = |root: Element<'_>, d: &mut diag::Diagnostic| {
        let name = root.child("name").map(|el| el.string_value().into_owned());
        words::refine(root, d, &name.unwrap_or_default());
    };
    object::read(text, "device", refine, |device: &mut Device, el, cx| {
        if device.name.is_empty() {
            fault(cx, el, "nodedev.name", ErrorCode::NO_NAME, "missing name information");
        } else {
            complete(device, el, cx, false);
        }
    })
}

/// What a device is called until it is there and has a name.
const NEW: &str = "new device";

/// Reads a `<device>` document of a device to be made or defined: it gets its name from the host,
/// and a virtual HBA its number and world-wide names.
pub fn parse_new(text: &str) -> Parsed<Device> {
    object::with_rest(text, &REST, read_new)
}

fn read_new(text: &str) -> Parsed<Device> {
    let refine = |root: Element<'_>, d: &mut diag::Diagnostic| words::refine(root, d, NEW);
    object::read(text, "device", refine, |device: &mut Device, el, cx| {
        device.name = NEW.to_owned();
        complete(device, el, cx, true);
        let mediated = device.capabilities.iter().any(|c| matches!(c, Capability::Mdev(_)));
        if mediated && device.parent.is_none() {
            let code = ErrorCode::CONFIG_UNSUPPORTED;
            fault(cx, el, "nodedev.no-parent", code, "missing parent device");
        }
    })
}

/// Writes a `<device>` document: the device as it is where `options.live` is set, its definition
/// otherwise.
pub fn format(device: &Device, options: &WriteOptions) -> String {
    let mut w = Writer::new(options);
    w.child("device", device);
    w.finish()
}

fn complete(device: &mut Device, el: Element<'_>, cx: &mut Reader, new: bool) {
    let pair = device.parent.as_ref().and_then(|parent| match (&parent.wwnn, &parent.wwpn) {
        (Some(wwnn), None) => Some(("wwnn", wwnn, "wwpn")),
        (None, Some(wwpn)) => Some(("wwpn", wwpn, "wwnn")),
        _ => None,
    });
    if let Some((given, value, missing)) = pair {
        let message =
            format!("when providing parent {given}='{value}', the {missing} must also be provided");
        fault(
            cx,
            el.child("parent").unwrap_or(el),
            "nodedev.parent",
            ErrorCode::XML_ERROR,
            message,
        );
    }
    // Of several nodes the last counts.
    let node = device.devnodes.iter().rfind(|node| node.kind == DevNodeType::Dev).cloned();
    device.devnodes.retain(|node| node.kind == DevNodeType::Link);
    device.devnodes.splice(0..0, node);
    device.driver = None;
    if device.capabilities.is_empty() {
        let message = format!("no device capabilities for '{}'", device.name);
        fault(cx, el, "nodedev.capability", ErrorCode::INTERNAL_ERROR, message);
    }
    let elements = el.children().filter(|child| child.is("capability", None));
    for (capability, el) in device.capabilities.iter_mut().zip(elements) {
        capability.complete(&device.name, el, cx, new);
    }
}

/// Reads arbitrary bytes as a device and as mdevctl's list; what was written must be read again,
/// and to the same value.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let live = WriteOptions { live: true, ..WriteOptions::default() };
    if let Some(mut device) = parse(text).value {
        if let Some(parent) = &mut device.parent {
            *parent = Parent { name: parent.name.take(), ..Parent::default() };
        }
        device.parent = device.parent.take().filter(|parent| parent.name.is_some());
        let written = format(&device, &live);
        assert_eq!(parse(&written).value.as_ref(), Some(&device), "{written}");
    }
    for device in mdevctl::parse_list(text, |_| None).unwrap_or_default() {
        let _ = format(&device, &live);
    }
}
