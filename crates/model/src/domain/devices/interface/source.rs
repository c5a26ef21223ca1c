//! What an interface is connected to.

use super::{IpAddress, LocalAddress, Route};
use crate::domain::address::PciAddress;
use crate::domain::devices::chardev::Reconnect;
use crate::domain::devices::hostdev::{HostUsbAddress, IdRef};
use crate::domain::prelude::*;
use xml::{ValueError, ValueKind, XmlValue};

/// Who keeps a bridge's table of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum MacTableManager {
    /// `kernel`.
    Kernel,
    /// `libvirt`.
    Libvirt,
}

/// A port of a virtual network, or of a distributed switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortId {
    /// Of a virtual network.
    Network(Uuid),
    /// Of a distributed switch.
    Switch(i64),
}

impl XmlValue for PortId {
    fn parse(text: &str) -> Result<Self, ValueError> {
        match text.trim_ascii().parse() {
            Ok(n) => Ok(Self::Switch(n)),
            Err(_) => <Uuid as XmlValue>::parse(text).map(Self::Network),
        }
    }
    fn write(&self, out: &mut String) {
        match self {
            Self::Network(uuid) => uuid.write(out),
            Self::Switch(n) => n.write(out),
        }
    }
    fn kind() -> ValueKind {
        ValueKind::Text
    }
}

/// Where a device of the host sits that serves as an interface.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(tag = "type")]
pub enum HostAddress {
    /// `type='pci'`.
    Pci(PciAddress),
    /// `type='usb'`.
    Usb(HostUsbAddress),
}

/// Reading and writing [`HostAddress`]: a kind that no interface has is a fault in libvirt's words.
mod host_address {
    use super::HostAddress;
    use xml::{Content, Element, ErrorCode, Reader, Schema, Writer, Xml};

    pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<Option<HostAddress>> {
        let Some(address) = cx.child(el, "address") else { return Some(None) };
        match address.attr_node("type") {
            None => {
                cx.use_subtree(address);
                Some(None)
            }
            Some(kind) if matches!(kind.value(), "pci" | "usb") => cx.element(address).map(Some),
            Some(kind) => {
                let message = format!("unknown host device source address type '{}'", kind.value());
                let code = ErrorCode::CONFIG_UNSUPPORTED;
                let hints = vec!["Possible values: pci, usb.".to_owned()];
                cx.error("domain.nic-source", code, kind.value_span(), message, hints);
                cx.use_subtree(address);
                None
            }
        }
    }
    pub fn write_attrs(_: &Option<HostAddress>, _: &mut Writer) {}
    pub fn write_children(address: &Option<HostAddress>, w: &mut Writer) {
        if let Some(address) = address {
            w.child("address", address);
        }
    }
    pub fn schema() -> Schema {
        let content = Content::Element(<HostAddress as Xml>::schema);
        Schema::new().child("address".into(), false, false, content)
    }
}

/// What it is connected to; fields by type.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct InterfaceSource {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: Option<String>,
    /// Attribute `path`.
    #[xml(attr)]
    pub path: Option<String>,
    /// Attribute `address`.
    #[xml(attr)]
    pub address: Option<String>,
    /// Attribute `port`.
    #[xml(attr, signed)]
    pub port: Option<u32>,
    /// Attribute `network`.
    #[xml(attr)]
    pub network: Option<String>,
    /// Distributed switch.
    #[xml(attr, name = "switchid")]
    pub switch_id: Option<Uuid>,
    /// A running guest's port of its network, or a port of the distributed switch.
    #[xml(attr, name = "portid", lenient)]
    pub port_id: Option<PortId>,
    /// Attribute `portgroup`.
    #[xml(attr)]
    pub portgroup: Option<String>,
    /// Port group of the distributed switch.
    #[xml(attr, name = "portgroupid")]
    pub port_group_id: Option<String>,
    /// Attribute `bridge`.
    #[xml(attr)]
    pub bridge: Option<String>,
    /// Who keeps the bridge's table of addresses; said of a running guest.
    #[xml(attr, name = "macTableManager", live_only)]
    pub mac_table_manager: Option<MacTableManager>,
    /// Attribute `name`.
    #[xml(attr)]
    pub name: Option<String>,
    /// Attribute `dev`.
    #[xml(attr)]
    pub dev: Option<String>,
    /// Attribute `mode`.
    #[xml(attr)]
    pub mode: Option<String>,
    /// Attribute `connectionid`.
    #[xml(attr, name = "connectionid")]
    pub connection_id: Option<u64>,
    /// Kind of a USB device of the host.
    #[xml(child)]
    pub vendor: Option<IdRef>,
    /// Element `<product>`.
    #[xml(child)]
    pub product: Option<IdRef>,
    /// Where a device of the host sits.
    #[xml(with = host_address)]
    pub device_address: Option<HostAddress>,
    /// Element `<local>`.
    #[xml(child)]
    pub local: Option<LocalAddress>,
    /// Element `<reconnect>`.
    #[xml(child, needs = "enabled")]
    pub reconnect: Option<Reconnect>,
    /// Element `<ip>`.
    #[xml(child, name = "ip")]
    pub ips: Vec<IpAddress>,
    /// Element `<route>`.
    #[xml(child, name = "route")]
    pub routes: Vec<Route>,
}
