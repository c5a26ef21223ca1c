//! Addresses of PCI devices, as networks and ports name them.

use std::fmt;

use xml::{Element, ErrorCode, Hex, Reader, Xml};

use crate::object::fault;

/// Where a PCI device sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Xml)]
#[xml(check = PciAddress::check)]
pub struct PciAddress {
    /// Domain.
    #[xml(attr, default)]
    pub domain: Hex<u32, 4>,
    /// Bus.
    #[xml(attr, default)]
    pub bus: Hex<u32, 2>,
    /// Slot, at most 31.
    #[xml(attr, default)]
    pub slot: Hex<u32, 2>,
    /// Function, at most 7.
    #[xml(attr, default)]
    pub function: Hex<u32, 1>,
}

impl PciAddress {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        for (name, value, most) in [
            ("domain", self.domain.0, 0xffff),
            ("bus", self.bus.0, 0xff),
            ("slot", self.slot.0, 0x1f),
            ("function", self.function.0, 7),
        ] {
            if value > most {
                let message = match name {
                    "function" => format!("Invalid PCI address {name}=0x{value:x}, must be <= 7"),
                    _ => format!("Invalid PCI address {name}='0x{value:x}', must be <= 0x{most:X}"),
                };
                fault(cx, el, "network.pci-address", ErrorCode::XML_ERROR, message);
            }
        }
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, slot, function } = self;
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", domain.0, bus.0, slot.0, function.0)
    }
}
