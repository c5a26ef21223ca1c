//! Words of the domain model that every part uses.

pub(super) use model::domain::address::Address;
pub(super) use model::domain::alias::{Alias, DeviceBoot, VirtioDriver};
pub(super) use xml::{OnOff, YesNo};
