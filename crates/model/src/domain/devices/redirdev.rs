//! USB redirection.

use super::chardev::CharSource;
use crate::domain::prelude::*;
use xml::{Element, Reader};

/// Bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum RedirBus {
    /// `usb`.
    #[default]
    Usb,
}

/// One redirected device.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(check = RedirDev::check)]
pub struct RedirDev {
    /// Attribute `bus`.
    #[xml(attr, default)]
    pub bus: RedirBus,
    /// source
    #[xml(flatten)]
    pub source: CharSource,
    /// Element `<boot>`.
    #[xml(child)]
    pub boot: Option<DeviceBoot>,
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

impl RedirDev {
    /// Alone of all character devices it must say its type.
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        if el.attr("type").is_none() {
            let words = "missing type in redirdev";
            cx.error("domain.redirdev", ErrorCode::INTERNAL_ERROR, el.span(), words, Vec::new());
        }
    }
}

/// Which devices may be redirected.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct RedirFilter {
    /// Element `<usbdev>`.
    #[xml(child, name = "usbdev")]
    pub rules: Vec<RedirRule>,
}

/// One rule; absent means any.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct RedirRule {
    /// Attribute `class`.
    #[xml(attr)]
    pub class: Option<String>,
    /// Attribute `vendor`.
    #[xml(attr)]
    pub vendor: Option<String>,
    /// Attribute `product`.
    #[xml(attr)]
    pub product: Option<String>,
    /// Attribute `version`.
    #[xml(attr)]
    pub version: Option<String>,
    /// Attribute `allow`.
    #[xml(attr)]
    pub allow: YesNo,
}
