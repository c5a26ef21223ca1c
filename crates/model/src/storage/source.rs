//! Where a pool's storage comes from.

use xml::{Xml, XmlEnum, YesNo};

use crate::nodedev::PciPlace;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Host {
    /// Name or address.
    #[xml(attr)]
    pub name: Option<String>,
    /// Port, when not the usual one.
    #[xml(attr)]
    pub port: Option<i32>,
}

/// A device, or an iSCSI target's name.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Device {
    /// Path or name.
    #[xml(attr)]
    pub path: Option<String>,
    /// Whether partitions of multipath devices have a `p` before their number.
    #[xml(attr)]
    pub part_separator: Option<YesNo>,
    /// Unused ranges, which are found out and not kept.
    #[xml(with = free_extents)]
    pub free_extents: (),
}

/// Extents that libvirt reads over.
mod free_extents {
    use xml::{Content, Element, Reader, Schema, Writer};
    pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<()> {
        for extent in cx.children(el, "freeExtent") {
            cx.use_subtree(extent);
        }
        Some(())
    }
    pub fn write_attrs(_: &(), _: &mut Writer) {}
    pub fn write_children(_: &(), _: &mut Writer) {}
    pub fn schema() -> Schema {
        Schema::new().child("freeExtent".into(), false, true, Content::Raw)
    }
}

/// Something with a path.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct DirPath {
    /// The path.
    #[xml(attr)]
    pub path: Option<String>,
}

/// Something with a name.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Named {
    /// The name.
    #[xml(attr)]
    pub name: Option<String>,
}

/// Something with a type.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Typed {
    /// The type.
    #[xml(attr, name = "type")]
    pub kind: Option<String>,
}

/// Something with a version.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Versioned {
    /// The version.
    #[xml(attr)]
    pub ver: Option<String>,
}

/// Who we are to an iSCSI target.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Initiator {
    /// Our iSCSI qualified name.
    #[xml(child)]
    pub iqn: Option<Named>,
}

/// How an adapter is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum AdapterType {
    /// By its host number or PCI address.
    #[xml(name = "scsi_host")]
    ScsiHost,
    /// By world-wide names.
    #[xml(name = "fc_host")]
    FcHost,
}

/// A SCSI host adapter.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Adapter {
    /// How it is named.
    #[xml(attr, name = "type")]
    pub kind: Option<AdapterType>,
    /// `hostN`.
    #[xml(attr)]
    pub name: Option<String>,
    /// The adapter that a virtual one is made on.
    #[xml(attr)]
    pub parent: Option<String>,
    /// The same by node name.
    #[xml(attr)]
    pub parent_wwnn: Option<String>,
    /// The same by port name.
    #[xml(attr)]
    pub parent_wwpn: Option<String>,
    /// The same by fabric name.
    #[xml(attr)]
    pub parent_fabric_wwn: Option<String>,
    /// Whether the virtual adapter goes with the pool.
    #[xml(attr)]
    pub managed: Option<YesNo>,
    /// Node name.
    #[xml(attr)]
    pub wwnn: Option<String>,
    /// Port name.
    #[xml(attr)]
    pub wwpn: Option<String>,
    /// The adapter by its parent's place.
    #[xml(child, name = "parentaddr")]
    pub parent_addr: Option<ParentAddr>,
}

/// The PCI device an adapter belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct ParentAddr {
    /// Distinguishes adapters of one device.
    #[xml(attr)]
    pub unique_id: Option<u32>,
    /// The device.
    #[xml(child)]
    pub address: Option<PciPlace>,
}

/// Who we are to a server.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Auth {
    /// `chap` or `ceph`.
    #[xml(attr, name = "type")]
    pub kind: Option<String>,
    /// User.
    #[xml(attr)]
    pub username: Option<String>,
    /// The password's secret.
    #[xml(child)]
    pub secret: Option<AuthSecret>,
}

/// Names a secret.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct AuthSecret {
    /// Kind, kept as it is given.
    #[xml(attr, name = "type")]
    pub kind: Option<String>,
    /// Its UUID.
    #[xml(attr)]
    pub uuid: Option<String>,
    /// Or its usage.
    #[xml(attr)]
    pub usage: Option<String>,
}

/// Where the storage comes from. Which parts count depends on the pool's type.
#[derive(Clone, Debug, PartialEq, Eq, Default, Xml)]
pub struct Source {
    /// Servers.
    #[xml(child, name = "host")]
    pub hosts: Vec<Host>,
    /// Devices.
    #[xml(child, name = "device")]
    pub devices: Vec<Device>,
    /// A folder on the server.
    #[xml(child)]
    pub dir: Option<DirPath>,
    /// A SCSI adapter.
    #[xml(child)]
    pub adapter: Option<Adapter>,
    /// Name of the volume group, Ceph pool and so on.
    #[xml(child_text)]
    pub name: Option<String>,
    /// Our name to the server.
    #[xml(child)]
    pub initiator: Option<Initiator>,
    /// Format of the source.
    #[xml(child)]
    pub format: Option<Typed>,
    /// Who we are to the server.
    #[xml(child)]
    pub auth: Option<Auth>,
    /// Version of the protocol.
    #[xml(child)]
    pub protocol: Option<Versioned>,
    /// Maker of the storage.
    #[xml(child)]
    pub vendor: Option<Named>,
    /// Name its maker gave it.
    #[xml(child)]
    pub product: Option<Named>,
}
