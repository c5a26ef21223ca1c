//! What every file of types needs.

pub use super::address::Address;
pub use super::alias::{Alias, DeviceAcpi, DeviceBoot, Rom, VirtioDriver};
pub use super::opaque::Opaque;
pub use super::scalar::{AnyBase, Bytes, CpuSet, Hex, Kib, MacAddr, Uuid};
pub use diag::ErrorCode;
pub use xml::{OnOff, RawElement, Xml, XmlEnum, YesNo};
