//! PCI devices.

use diag::ErrorCode;
use xml::{Element, Hex, Reader, ValueError, ValueKind, Xml, XmlEnum, XmlValue};

use super::children::sub_capabilities;
use super::mdev::MdevTypes;
use crate::object::fault;

/// A PCI device.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(open)]
pub struct Pci {
    /// Its class: class, subclass and programming interface, a byte each.
    #[xml(child_text)]
    pub class: Option<PciClass>,
    /// Domain.
    #[xml(child_text)]
    pub domain: u32,
    /// Bus.
    #[xml(child_text)]
    pub bus: u32,
    /// Slot.
    #[xml(child_text)]
    pub slot: u32,
    /// Function.
    #[xml(child_text)]
    pub function: u32,
    /// What it is.
    #[xml(with = product)]
    pub product: Identity,
    /// Who made it.
    #[xml(with = vendor)]
    pub vendor: Identity,
    /// What it can do.
    #[xml(with = pci_capabilities)]
    pub capabilities: Vec<PciCapability>,
    /// The devices that can only be given to a guest together.
    #[xml(child, name = "iommuGroup")]
    pub iommu_group: Option<IommuGroup>,
    /// The node of memory it is at.
    #[xml(child)]
    pub numa: Option<Numa>,
    /// Its PCI Express link.
    #[xml(child, name = "pci-express")]
    pub express: Option<Express>,
}

/// A class of PCI devices: 24 bits, written `0x` and six digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PciClass(pub u32);

impl XmlValue for PciClass {
    fn parse(text: &str) -> Result<Self, ValueError> {
        let digits = text.trim_ascii();
        let digits = digits.strip_prefix("0x").or(digits.strip_prefix("0X")).unwrap_or(digits);
        match u32::from_str_radix(digits, 16) {
            Ok(class) if class <= 0xff_ffff && !digits.starts_with('+') => Ok(Self(class)),
            _ => Err(ValueError::expected("a hexadecimal number of at most six digits")),
        }
    }
    fn write(&self, out: &mut String) {
        Hex::<u32, 6>(self.0).write(out);
    }
    fn kind() -> ValueKind {
        ValueKind::Hex { max: 0xff_ffff }
    }
}

/// A product or its maker: number and name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The number.
    pub id: Hex<u32, 4>,
    /// The name, where it is known.
    pub name: Option<String>,
}

macro_rules! identity {
    ($name:ident) => {
        mod $name {
            use super::Identity;
            use xml::{Element, Reader, Schema, Writer};
            const NAME: &str = stringify!($name);
            pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<Identity> {
                crate::nodedev::usb::read_identity(el, cx, NAME)
            }
            pub fn write_attrs(_: &Identity, _: &mut Writer) {}
            pub fn write_children(identity: &Identity, w: &mut Writer) {
                w.start(NAME);
                w.attr("id", &identity.id);
                if let Some(text) = &identity.name {
                    w.text_str(text);
                }
                w.end(NAME);
            }
            pub fn schema() -> Schema {
                crate::nodedev::usb::identity_schema(NAME)
            }
        }
    };
}
identity!(product);
identity!(vendor);

/// A PCI address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Xml)]
pub struct PciPlace {
    /// Domain.
    #[xml(attr, default)]
    pub domain: Hex<u32, 4>,
    /// Bus.
    #[xml(attr, default)]
    pub bus: Hex<u32, 2>,
    /// Slot.
    #[xml(attr, default)]
    pub slot: Hex<u32, 2>,
    /// Function.
    #[xml(attr, default)]
    pub function: Hex<u32, 1>,
}

impl PciPlace {
    /// The part that is out of bounds, its value and the greatest one. Libvirt does not look at the
    /// others.
    pub(crate) fn excess(&self) -> Option<(&'static str, u32, u32)> {
        [("bus", self.bus.0, 0xff), ("slot", self.slot.0, 0x1f)]
            .into_iter()
            .find(|(_, value, max)| value > max)
    }
}

/// What a PCI device can do. The order is that of libvirt's output.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(tag = "type")]
pub enum PciCapability {
    /// It is a virtual function; this is the real one.
    #[xml(name = "phys_function")]
    PhysFunction(PhysFunction),
    /// It has virtual functions.
    #[xml(name = "virt_functions")]
    VirtFunctions(VirtFunctions),
    /// It is a bridge to another bus.
    #[xml(name = "pci-bridge")]
    PciBridge,
    /// It is a bridge to a card bus.
    #[xml(name = "cardbus-bridge")]
    CardbusBridge,
    /// It can make mediated devices.
    #[xml(name = "mdev_types")]
    MdevTypes(MdevTypes),
    /// It has vital product data.
    Vpd(Vpd),
}

sub_capabilities!(pci_capabilities, PciCapability, Skipped);

impl PciCapability {
    fn rank(&self) -> u8 {
        match self {
            Self::PhysFunction(_) => 0,
            Self::VirtFunctions(_) => 1,
            Self::PciBridge | Self::CardbusBridge => 2,
            Self::MdevTypes(_) => 3,
            Self::Vpd(_) => 4,
        }
    }
}

/// The real function of a virtual one.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct PhysFunction {
    /// Its address.
    #[xml(child)]
    pub address: PciPlace,
}

/// Virtual functions of a device.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct VirtFunctions {
    /// How many there may be; 0 when that is not known.
    #[xml(attr, name = "maxCount", default, skip_default)]
    pub max_count: u32,
    /// Those there are.
    #[xml(child, name = "address")]
    pub addresses: Vec<PciPlace>,
}

/// Devices that can only be given to a guest together.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct IommuGroup {
    /// Number of the group.
    #[xml(attr)]
    pub number: u32,
    /// The devices in it.
    #[xml(child, name = "address")]
    pub addresses: Vec<PciPlace>,
}

/// The node of memory a device is at.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Numa {
    /// Its number.
    #[xml(attr)]
    pub node: Option<i32>,
}

/// PCI Express.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Express {
    /// What the link can do, and what it does.
    #[xml(with = links)]
    pub links: Vec<ExpressLink>,
}

/// A PCI Express link.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct ExpressLink {
    /// Capability or state.
    #[xml(attr)]
    pub validity: LinkValidity,
    /// Its port.
    #[xml(attr)]
    pub port: Option<i32>,
    /// Gigatransfers a second.
    #[xml(attr)]
    pub speed: Option<LinkSpeed>,
    /// Lanes.
    #[xml(attr)]
    pub width: u32,
}

/// What is told of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, XmlEnum)]
pub enum LinkValidity {
    /// What it can do.
    Cap,
    /// What it does.
    Sta,
}

/// Speed of a link in gigatransfers a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum LinkSpeed {
    /// First generation.
    #[xml(name = "2.5")]
    Gen1,
    /// Second generation.
    #[xml(name = "5")]
    Gen2,
    /// Third generation.
    #[xml(name = "8")]
    Gen3,
    /// Fourth generation.
    #[xml(name = "16")]
    Gen4,
    /// Fifth generation.
    #[xml(name = "32")]
    Gen5,
    /// Sixth generation.
    #[xml(name = "64")]
    Gen6,
}

/// The links: one of another validity is read over.
mod links {
    use super::{ExpressLink, LinkValidity};
    use xml::{Content, Element, Reader, Schema, Writer, Xml};
    pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<Vec<ExpressLink>> {
        let mut all = Some(Vec::new());
        for child in cx.children(el, "link") {
            let validity = child.attr("validity").and_then(|v| v.parse::<LinkValidity>().ok());
            if validity.is_none() {
                cx.use_subtree(child);
                let message = "A link that is neither 'cap' nor 'sta' is left out";
                cx.warning("nodedev.link", child.span(), message, Vec::new());
                continue;
            }
            match (cx.element::<ExpressLink>(child), &mut all) {
                (Some(link), Some(all)) => all.push(link),
                _ => all = None,
            }
        }
        all
    }
    pub fn write_attrs(_: &[ExpressLink], _: &mut Writer) {}
    pub fn write_children(all: &[ExpressLink], w: &mut Writer) {
        for link in all {
            w.child("link", link);
        }
    }
    pub fn schema() -> Schema {
        let content = Content::Element(<ExpressLink as Xml>::schema);
        Schema::new().child("link".into(), false, true, content)
    }
}

/// Vital product data.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Vpd {
    /// Name of the device.
    #[xml(child_text)]
    pub name: String,
    /// What else it says: first what cannot be changed.
    #[xml(child)]
    pub fields: Vec<VpdFields>,
}

/// Fields of vital product data.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
#[xml(open)]
pub struct VpdFields {
    /// Whether they can be changed.
    #[xml(attr)]
    pub access: VpdAccess,
    /// Level of changes.
    #[xml(child_text)]
    pub change_level: Option<String>,
    /// Number of the maker.
    #[xml(child_text)]
    pub manufacture_id: Option<String>,
    /// Number of the part.
    #[xml(child_text)]
    pub part_number: Option<String>,
    /// Its serial number.
    #[xml(child_text)]
    pub serial_number: Option<String>,
    /// Tag of its owner.
    #[xml(child_text)]
    pub asset_tag: Option<String>,
    /// Fields of the maker.
    #[xml(child, name = "vendor_field")]
    pub vendor_fields: Vec<VpdField>,
    /// Fields of the system.
    #[xml(child, name = "system_field")]
    pub system_fields: Vec<VpdField>,
}

/// Whether vital product data can be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, XmlEnum)]
pub enum VpdAccess {
    /// It cannot.
    Readonly,
    /// It can.
    Readwrite,
}

/// A numbered field of vital product data.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct VpdField {
    /// A digit or capital letter.
    #[xml(attr)]
    pub index: String,
    /// Its value.
    #[xml(text, default)]
    pub value: String,
}

impl VpdFields {
    fn settle(&mut self) {
        let index = |field: &VpdField| field.index.bytes().next().unwrap_or(b' ');
        let known = |c: u8| c.is_ascii_digit() || c.is_ascii_uppercase();
        self.vendor_fields.retain(|field| known(index(field)));
        if self.access == VpdAccess::Readonly {
            self.asset_tag = None;
            self.system_fields.clear();
            return;
        }
        self.change_level = None;
        self.manufacture_id = None;
        self.part_number = None;
        self.serial_number = None;
        // The system's field A is the asset tag.
        if let Some(at) = self.system_fields.iter().position(|field| index(field) == b'A') {
            self.asset_tag = Some(self.system_fields.remove(at).value);
        }
        self.system_fields.retain(|field| known(index(field)) && index(field) != b'A');
    }
}

impl Pci {
    pub(super) fn complete(&mut self, el: Element<'_>, cx: &mut Reader) {
        self.capabilities
            .retain(|c| !matches!(c, PciCapability::MdevTypes(t) if t.types.is_empty()));
        self.capabilities.sort_by_key(PciCapability::rank);
        self.capabilities.dedup_by_key(|c| c.rank());
        let places = self.capabilities.iter().flat_map(|capability| match capability {
            PciCapability::PhysFunction(function) => std::slice::from_ref(&function.address),
            PciCapability::VirtFunctions(functions) => &functions.addresses,
            _ => &[],
        });
        let group = self.iommu_group.iter().flat_map(|group| &group.addresses);
        for (what, value, max) in places.chain(group).filter_map(PciPlace::excess) {
            let message = format!("Invalid PCI address {what}='0x{value:x}', must be <= 0x{max:X}");
            fault(cx, el, "nodedev.address", ErrorCode::XML_ERROR, message);
        }
        self.iommu_group = self.iommu_group.take().filter(|group| !group.addresses.is_empty());
        self.numa = self.numa.take().filter(|numa| numa.node.is_some_and(|node| node >= 0));
        if let Some(express) = &mut self.express {
            express.links.sort_by_key(|link| link.validity);
            express.links.dedup_by_key(|link| link.validity);
            for link in &mut express.links {
                link.port = link.port.filter(|port| *port >= 0);
            }
        }
        for capability in &mut self.capabilities {
            let PciCapability::Vpd(vpd) = capability else { continue };
            for (kind, field) in vpd.fields.iter().flat_map(|fields| {
                let vendor = fields.vendor_fields.iter().map(|field| ("vendor_field", field));
                vendor.chain(fields.system_fields.iter().map(|field| ("system_field", field)))
            }) {
                if field.index.len() != 1 {
                    let message = format!("'{kind}' 'index' value '{}' malformed", field.index);
                    fault(cx, el, "nodedev.vpd", ErrorCode::XML_ERROR, message);
                }
            }
            vpd.fields.sort_by_key(|fields| fields.access);
            vpd.fields.dedup_by_key(|fields| fields.access);
            vpd.fields.iter_mut().for_each(VpdFields::settle);
        }
    }
}
