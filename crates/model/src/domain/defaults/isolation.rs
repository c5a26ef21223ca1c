//! Which host devices may share a PCI bus.
//!
//! On pSeries every PCI root is an IOMMU domain of its own: devices of different host IOMMU groups
//! must sit on different roots.

use units::PciAddress;

use super::context::DefaultsContext;
use super::pci_flags::Dev;
use crate::domain::devices::Devices;
use crate::domain::devices::hostdev::HostdevType;
use crate::domain::devices::interface::HostAddress;

/// The isolation group of a device: 0 for whatever is emulated.
pub(super) fn group(dev: &Devices, which: Dev, ctx: &DefaultsContext<'_>) -> u32 {
    let host = match which {
        Dev::Hostdev(i) => hostdev(dev, i),
        Dev::Interface(i) => interface(dev, i),
        _ => None,
    };
    host.and_then(|address| (ctx.iommu_group)(&address)).map_or(0, |group| group.saturating_add(1))
}

fn hostdev(dev: &Devices, i: usize) -> Option<PciAddress> {
    let h = dev.hostdevs.get(i).filter(|h| h.kind == Some(HostdevType::Pci))?;
    let a = h.source.as_ref()?.address.as_ref()?;
    let bus = <crate::domain::scalar::Hex<2> as xml::XmlValue>::parse(a.bus.as_deref()?).ok()?;
    let [slot, function] = [a.slot.unwrap_or_default().0, a.function.unwrap_or_default().0];
    place(a.domain.unwrap_or_default().0, [bus.0, slot, function])
}

fn interface(dev: &Devices, i: usize) -> Option<PciAddress> {
    match dev.interfaces.get(i)?.source.as_ref()?.device_address.as_ref()? {
        HostAddress::Pci(a) => place(a.domain.0, [a.bus.0, a.slot.0, a.function.0]),
        _ => None,
    }
}

/// Nothing of the host is where the numbers are too big.
fn place(domain: u64, [bus, slot, function]: [u64; 3]) -> Option<PciAddress> {
    let byte = |number: u64| u8::try_from(number).ok();
    PciAddress::new(domain.try_into().ok()?, byte(bus)?, byte(slot)?, byte(function)?)
}
