//! The value types of crate `units` as values in XML.

use units::{CpuSet, MacAddr, PciAddress, Uuid};

use crate::{ValueError, ValueKind, XmlValue};

macro_rules! by_text {
    ($($t:ty => $kind:literal)*) => {$(
        impl XmlValue for $t {
            fn parse(text: &str) -> Result<Self, ValueError> {
                text.parse().map_err(|e: units::ParseError| ValueError::expected(e.expected))
            }
            const ESCAPED: bool = false;

            fn write(&self, out: &mut String) {
                use std::fmt::Write as _;
                let _ = write!(out, "{self}");
            }
            fn kind() -> ValueKind {
                ValueKind::Named($kind)
            }
        }
    )*};
}

by_text! {
    Uuid => "UUID"
    MacAddr => "MAC address"
    CpuSet => "cpu set"
    PciAddress => "pci address"
}
