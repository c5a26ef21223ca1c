//! Random number generators.

use super::disk::DiskModel;
use crate::domain::prelude::*;

/// Where entropy comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum RngBackendModel {
    /// `random`.
    #[default]
    Random,
    /// `egd`.
    Egd,
    /// `builtin`.
    Builtin,
}

/// One generator.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(check = Rng::check)]
pub struct Rng {
    /// Attribute `model`.
    #[xml(attr)]
    pub model: DiskModel,
    /// Element `<rate>`.
    #[xml(child, needs_text = "bytes", empty_absent)]
    pub rate: Option<RngRate>,
    /// Element `<backend>`.
    #[xml(child)]
    pub backend: RngBackend,
    /// Element `<driver>`.
    #[xml(child, empty_absent)]
    pub driver: Option<VirtioDriver>,
    /// Element `<alias>`.
    #[xml(child, needs = "name")]
    pub alias: Option<Alias>,
    /// Element `<acpi>`.
    #[xml(child, empty_absent)]
    pub acpi: Option<DeviceAcpi>,
    /// Element `<address>`.
    #[xml(child)]
    pub address: Option<Address>,
}

impl Rng {
    fn check(&mut self, el: xml::Element<'_>, cx: &mut xml::Reader) {
        if let Some(second) = el.children().filter(|c| c.name() == "backend").nth(1) {
            let words = "only one RNG backend is supported";
            cx.error("domain.rng", ErrorCode::XML_ERROR, second.name_span(), words, Vec::new());
        }
    }
}

/// Limit, bytes in milliseconds.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct RngRate {
    /// Attribute `bytes`.
    #[xml(attr, fault = (ErrorCode::XML_ERROR, "invalid RNG rate bytes value"))]
    pub bytes: u32,
    /// Attribute `period`.
    #[xml(attr, empty_absent, zero_absent, fault = (ErrorCode::XML_ERROR, "invalid RNG rate period value"))]
    pub period: Option<u32>,
}

/// Source of entropy.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct RngBackend {
    /// Attribute `model`.
    #[xml(attr)]
    pub model: RngBackendModel,
    /// source
    #[xml(flatten)]
    pub source: super::smartcard::PassthroughSource,
    /// Device file of `random`.
    #[xml(text)]
    pub device: Option<String>,
}
