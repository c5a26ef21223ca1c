//! What all devices have in common: the place on the bus, the ACPI index, virtio's options.

use super::rule::{Checker, Rule, join, number, switch};
use crate::domain::address::{self, Address, DimmAddress};
use crate::domain::alias::{DeviceAcpi, VirtioDriver};

/// Options of virtio devices.
const VIRTIO: &[Rule<VirtioDriver>] = &[
    Rule {
        at: "driver/@iommu",
        says: "Target device iommu option '{target}' does not match source '{source}'",
        value: |v| switch(v.iommu).to_owned(),
    },
    Rule {
        at: "driver/@ats",
        says: "Target device ats option '{target}' does not match source '{source}'",
        value: |v| switch(v.ats).to_owned(),
    },
    Rule {
        at: "driver/@packed",
        says: "Target device packed option '{target}' does not match source '{source}'",
        value: |v| switch(v.packed).to_owned(),
    },
    Rule {
        at: "driver/@page_per_vq",
        says: "Target device page_per_vq option '{target}' does not match source '{source}'",
        value: |v| switch(v.page_per_vq).to_owned(),
    },
];

/// Where a memory module is.
const DIMM: &[Rule<DimmAddress>] = &[
    Rule {
        at: "address/@slot",
        says: "Target device dimm slot {target} does not match source {source}",
        value: |a| a.slot.to_string(),
    },
    Rule {
        at: "address/@base",
        says: "Target device dimm base address '{target}' does not match source '{source}'",
        value: |a| format!("{:x}", a.base.map_or(0, |h| h.0)),
    },
];

/// Compares the options of virtio; `None` is a device without the element that holds
/// them, which libvirt takes for a difference by itself.
pub(super) fn virtio(
    cx: &mut Checker,
    path: &str,
    source: Option<&VirtioDriver>,
    target: Option<&VirtioDriver>,
) {
    let none = VirtioDriver::default();
    if source.is_some() != target.is_some() {
        let shown = |v: Option<_>| if v.is_some() { "given" } else { "none" }.to_owned();
        let says = "Target device virtio options don't match the source";
        cx.add(join(path, "driver"), says, shown(source), shown(target));
        return;
    }
    cx.rules(path, VIRTIO, source.unwrap_or(&none), target.unwrap_or(&none));
}

/// The virtio options of a device whose `<driver>` holds others too; an empty element is none.
macro_rules! given {
    ($driver:expr) => {
        $driver.as_ref().filter(|d| **d != Default::default()).map(|d| &d.virtio)
    };
}
pub(super) use given;

/// Compares where a device is.
pub(super) fn place(
    cx: &mut Checker,
    path: &str,
    source: (&Option<Address>, &Option<DeviceAcpi>),
    target: (&Option<Address>, &Option<DeviceAcpi>),
) {
    let kind = |a: &Option<Address>| a.as_ref().map_or("none", address::kind);
    let same = cx.compare(
        || join(path, "address/@type"),
        "Target device address type {target} does not match source {source}",
        kind(source.0),
        kind(target.0),
    );
    if !same {
        return;
    }
    if let (Some(Address::Dimm(a)), Some(Address::Dimm(b))) = (source.0, target.0) {
        cx.rules(path, DIMM, a, b);
    } else if let (Some(a), Some(b)) = (source.0, target.0)
        && let (Some((says, a)), Some((_, b))) = (shown(a), shown(b))
    {
        cx.compare(|| join(path, "address"), says, a, b);
    }
    let index = |acpi: &Option<DeviceAcpi>| number(acpi.as_ref().and_then(|a| a.index));
    cx.compare(
        || join(path, "acpi/@index"),
        "Target ACPI index '{target}' does not match source '{source}'",
        index(source.1),
        index(target.1),
    );
}

/// What must stay of an address and how a change is told; `None` for the kinds that say nothing
/// the guest could see (libvirt lets a USB device change its port).
fn shown(address: &Address) -> Option<(&'static str, String)> {
    Some(match address {
        Address::Pci(a) => (
            "Target device PCI address {target} does not match source {source}",
            format!("{:04x}:{:02x}:{:02x}.{:x}", a.domain.0, a.bus.0, a.slot.0, a.function.0),
        ),
        Address::Drive(a) => (
            "Target device drive address {target} does not match source {source}",
            format!("{}:{}:{}", a.controller, a.bus, a.unit),
        ),
        Address::VirtioSerial(a) => (
            "Target device virtio serial address {target} does not match source {source}",
            format!("{}:{}:{}", a.controller, a.bus, a.port.unwrap_or(0)),
        ),
        Address::Ccid(a) => (
            "Target device ccid address {target} does not match source {source}",
            format!("{}:{}", a.controller, a.slot),
        ),
        Address::Ccw(a) => {
            let part = |p: Option<u64>| p.unwrap_or(0);
            let (cssid, ssid) = (part(a.cssid.map(|h| h.0)), part(a.ssid.map(|h| h.0)));
            (
                "Target device CCW address {target} does not match source {source}",
                format!("{cssid:x}.{ssid:x}.{:04x}", part(a.devno.map(|h| h.0))),
            )
        }
        Address::Isa(a) => (
            "Target device isa address {target} does not match source {source}",
            format!("{}:{}", a.iobase.map_or(0, |h| h.0), a.irq.map_or(0, |h| h.0)),
        ),
        _ => return None,
    })
}

/// A device with a place.
pub(super) trait Placed {
    /// Its address and ACPI index.
    fn place(&self) -> (&Option<Address>, &Option<DeviceAcpi>);
}

macro_rules! placed {
    ($($t:ty),* $(,)?) => {$(
        impl Placed for $t {
            fn place(&self) -> (&Option<Address>, &Option<DeviceAcpi>) {
                (&self.address, &self.acpi)
            }
        }
    )*};
}

use crate::domain::devices as dev;

placed!(
    dev::disk::Disk,
    dev::controller::Controller,
    dev::filesystem::Filesystem,
    dev::interface::Interface,
    dev::smartcard::Smartcard,
    dev::chardev::Serial,
    dev::input::Input,
    dev::tpm::Tpm,
    dev::sound::Sound,
    dev::video::Video,
    dev::hostdev::Hostdev,
    dev::redirdev::RedirDev,
    dev::hub::Hub,
    dev::watchdog::Watchdog,
    dev::memballoon::MemBalloon,
    dev::rng::Rng,
    dev::nvram::NvramDevice,
    dev::panic::Panic,
    dev::shmem::Shmem,
    dev::memory::MemoryDevice,
    dev::crypto::Crypto,
    dev::iommu::Iommu,
    dev::vsock::Vsock,
    dev::pstore::Pstore,
);
