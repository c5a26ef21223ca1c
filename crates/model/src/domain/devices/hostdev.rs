//! Devices of the host given to the guest.

use super::disk::{DiskAuth, Initiator, NetworkHost};
use super::interface::Teaming;
use crate::domain::prelude::*;

/// How it is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum HostdevMode {
    /// `subsystem`.
    #[default]
    Subsystem,
    /// `capabilities`.
    Capabilities,
}

/// Kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum HostdevType {
    /// `usb`.
    #[default]
    Usb,
    /// `pci`.
    Pci,
    /// `scsi`.
    Scsi,
    /// `scsi_host`.
    #[xml(name = "scsi_host")]
    ScsiHost,
    /// `mdev`.
    Mdev,
    /// `storage`.
    Storage,
    /// `misc`.
    Misc,
    /// `net`.
    Net,
}

/// One host device.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Hostdev {
    /// Attribute `mode`.
    #[xml(attr, default)]
    pub mode: HostdevMode,
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: Option<HostdevType>,
    /// Whether it is taken from its driver and given back.
    #[xml(attr, lenient)]
    pub managed: Option<YesNo>,
    /// Attribute `sgio`.
    #[xml(attr)]
    pub sgio: Option<super::disk::SgIo>,
    /// Attribute `rawio`.
    #[xml(attr)]
    pub rawio: Option<YesNo>,
    /// Attribute `model`.
    #[xml(attr, one_of = &[
        "vfio-pci",
        "vfio-ccw",
        "vfio-ap",
        "virtio",
        "virtio-transitional",
        "virtio-non-transitional",
    ])]
    pub model: Option<String>,
    /// Attribute `display`.
    #[xml(attr)]
    pub display: Option<OnOff>,
    /// Attribute `ramfb`.
    #[xml(attr)]
    pub ramfb: Option<OnOff>,
    /// Element `<driver>`.
    #[xml(child)]
    pub driver: Option<HostdevDriver>,
    /// Element `<source>`.
    #[xml(child)]
    pub source: Option<HostdevSource>,
    /// Element `<ip>`.
    #[xml(child, name = "ip")]
    pub ips: Vec<super::interface::IpAddress>,
    /// Element `<route>`.
    #[xml(child, name = "route")]
    pub routes: Vec<super::interface::Route>,
    /// Element `<teaming>`.
    #[xml(child)]
    pub teaming: Option<Teaming>,
    /// Presence of `<readonly/>`.
    #[xml(flag)]
    pub readonly: bool,
    /// Presence of `<shareable/>`.
    #[xml(flag)]
    pub shareable: bool,
    /// Element `<boot>`.
    #[xml(child)]
    pub boot: Option<DeviceBoot>,
    /// Element `<alias>`.
    #[xml(child, needs = "name")]
    pub alias: Option<Alias>,
    /// Element `<rom>`.
    #[xml(child, empty_absent)]
    pub rom: Option<Rom>,
    /// Element `<acpi>`.
    #[xml(child, empty_absent)]
    pub acpi: Option<DeviceAcpi>,
    /// Element `<address>`.
    #[xml(child)]
    pub address: Option<Address>,
}

/// What drives a device of the host while a guest has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum HostdevDriverName {
    /// `kvm`: no longer there.
    Kvm,
    /// `vfio`.
    Vfio,
    /// `xen`.
    Xen,
}

/// Driver of a device of the host.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct HostdevDriver {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: Option<HostdevDriverName>,
    /// Attribute `model`.
    #[xml(attr)]
    pub model: Option<String>,
}

/// Which device.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct HostdevSource {
    /// Attribute `protocol`.
    #[xml(attr)]
    pub protocol: Option<String>,
    /// Attribute `name`.
    #[xml(attr)]
    pub name: Option<String>,
    /// Attribute `wwpn`.
    #[xml(attr)]
    pub wwpn: Option<String>,
    /// Attribute `startupPolicy`.
    #[xml(attr, name = "startupPolicy")]
    pub startup_policy: Option<super::disk::StartupPolicy>,
    /// Attribute `guestReset`.
    #[xml(attr, name = "guestReset", one_of = &["off", "uninitialized", "on"])]
    pub guest_reset: Option<String>,
    /// Attribute `missing`.
    #[xml(attr, live_only)]
    pub missing: Option<YesNo>,
    /// Attribute `writeFiltering`.
    #[xml(attr, name = "writeFiltering")]
    pub write_filtering: Option<YesNo>,
    /// Element `<host>`.
    #[xml(child, name = "host")]
    pub hosts: Vec<NetworkHost>,
    /// Element `<adapter>`.
    #[xml(child)]
    pub adapter: Option<super::disk::NamedRef>,
    /// Element `<vendor>`.
    #[xml(child)]
    pub vendor: Option<IdRef>,
    /// Element `<product>`.
    #[xml(child)]
    pub product: Option<IdRef>,
    /// Element `<address>`.
    #[xml(child)]
    pub address: Option<SourceAddress>,
    /// Element `<block>`.
    #[xml(child_text)]
    pub block: Option<String>,
    /// Element `<char>`.
    #[xml(child_text)]
    pub char: Option<String>,
    /// Element `<interface>`.
    #[xml(child_text)]
    pub interface: Option<String>,
    /// The daemon's own state; only in status files.
    #[xml(child, name = "privateData", live_only)]
    pub private_data: Option<Opaque>,
    /// Element `<auth>`.
    #[xml(child)]
    pub auth: Option<DiskAuth>,
    /// Element `<initiator>`.
    #[xml(child, empty_absent)]
    pub initiator: Option<Initiator>,
    /// State to restore; only in status files.
    #[xml(child, name = "origstates", live_only)]
    pub orig_states: Option<Opaque>,
}

/// A numeric identity.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct IdRef {
    /// Attribute `id`.
    #[xml(attr)]
    pub id: Hex<4>,
}

/// A USB device by its place.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct HostUsbAddress {
    /// Attribute `bus`.
    #[xml(attr)]
    pub bus: AnyBase,
    /// Attribute `device`.
    #[xml(attr)]
    pub device: AnyBase,
}

/// Address on the host; fields by kind.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct SourceAddress {
    /// Attribute `domain`.
    #[xml(attr)]
    pub domain: Option<Hex<4>>,
    /// Attribute `bus`.
    #[xml(attr)]
    pub bus: Option<String>,
    /// Attribute `slot`.
    #[xml(attr)]
    pub slot: Option<Hex<2>>,
    /// Attribute `function`.
    #[xml(attr)]
    pub function: Option<Hex<1>>,
    /// Attribute `device`.
    #[xml(attr)]
    pub device: Option<AnyBase>,
    /// Attribute `port`.
    #[xml(attr)]
    pub port: Option<String>,
    /// Attribute `target`.
    #[xml(attr)]
    pub target: Option<u32>,
    /// Attribute `unit`.
    #[xml(attr)]
    pub unit: Option<u32>,
    /// Attribute `uuid`.
    #[xml(attr)]
    pub uuid: Option<Uuid>,
}
