//! PCI addresses.

use std::fmt;
use std::str::FromStr;

use crate::ParseError;

/// Where a PCI function sits. Parsed from and printed as `0000:00:1f.2`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub struct PciAddress {
    /// Segment, 16 bits (wider ones exist for emulated bridges).
    pub domain: u32,
    /// Bus, 0 to 255.
    pub bus: u8,
    /// Slot, 0 to 31.
    pub slot: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

impl PciAddress {
    /// The address, if slot and function are in range.
    pub fn new(domain: u32, bus: u8, slot: u8, function: u8) -> Option<Self> {
        (slot < 32 && function < 8).then_some(Self { domain, bus, slot, function })
    }

    /// The name libvirt gives the node device: `pci_0000_00_1f_2`.
    pub fn nodedev_name(&self) -> String {
        format!("pci_{:04x}_{:02x}_{:02x}_{:x}", self.domain, self.bus, self.slot, self.function)
    }
}

impl FromStr for PciAddress {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = ParseError { expected: "a PCI address like 0000:00:1f.2" };
        let hex = |t: Option<&str>, len: usize| {
            t.filter(|t| (1..=len).contains(&t.len()) && t.bytes().all(|c| c.is_ascii_hexdigit()))
                .and_then(|t| u32::from_str_radix(t, 16).ok())
                .ok_or(error)
        };
        let (rest, function) = text.rsplit_once('.').ok_or(error)?;
        let mut groups = rest.split(':');
        let (domain, bus, slot) =
            (hex(groups.next(), 8)?, hex(groups.next(), 2)?, hex(groups.next(), 2)?);
        if groups.next().is_some() {
            return Err(error);
        }
        Self::new(domain, bus as u8, slot as u8, hex(Some(function), 1)? as u8).ok_or(error)
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.slot, self.function)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_prints() {
        for (text, expected) in [
            ("0000:00:1f.2", Some("0000:00:1f.2")),
            ("10000:e1:00.0", Some("10000:e1:00.0")),
            ("0:0:1.0", Some("0000:00:01.0")),
            ("0000:00:20.0", None),
            ("0000:00:1f.8", None),
            ("00:1f.2", None),
            ("0000:00:1f", None),
        ] {
            let got = text.parse::<PciAddress>().ok().map(|a| a.to_string());
            assert_eq!(got.as_deref(), expected, "{text}");
        }
        assert_eq!(
            PciAddress::new(0, 0, 0x1f, 2).map(|a| a.nodedev_name()).as_deref(),
            Some("pci_0000_00_1f_2")
        );
    }
}
