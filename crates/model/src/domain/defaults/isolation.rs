//! Which host devices may share a PCI bus.
//!
//! On pSeries every PCI root is an IOMMU domain of its own: devices of different host IOMMU groups
//! must sit on different roots.

use super::context::{DefaultsContext, HostPciAddress};
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

fn hostdev(dev: &Devices, i: usize) -> Option<HostPciAddress> {
    let h = dev.hostdevs.get(i).filter(|h| h.kind == Some(HostdevType::Pci))?;
    let a = h.source.as_ref()?.address.as_ref()?;
    let bus = <crate::domain::scalar::Hex<2> as xml::XmlValue>::parse(a.bus.as_deref()?).ok()?;
    Some(HostPciAddress {
        domain: a.domain.unwrap_or_default().0,
        bus: bus.0,
        slot: a.slot.unwrap_or_default().0,
        function: a.function.unwrap_or_default().0,
    })
}

fn interface(dev: &Devices, i: usize) -> Option<HostPciAddress> {
    match dev.interfaces.get(i)?.source.as_ref()?.device_address.as_ref()? {
        HostAddress::Pci(a) => Some(HostPciAddress {
            domain: a.domain.0,
            bus: a.bus.0,
            slot: a.slot.0,
            function: a.function.0,
        }),
        _ => None,
    }
}
