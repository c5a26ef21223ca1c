//! Smart card readers.

use crate::domain::prelude::*;

/// Where the card is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum SmartcardMode {
    /// `host`.
    #[default]
    Host,
    /// `host-certificates`.
    HostCertificates,
    /// `passthrough`.
    Passthrough,
}

/// One card.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Smartcard {
    /// Attribute `mode`.
    #[xml(attr)]
    pub mode: SmartcardMode,
    /// source
    #[xml(flatten)]
    pub source: PassthroughSource,
    /// Element `<certificate>`.
    #[xml(child_text, name = "certificate")]
    pub certificates: Vec<String>,
    /// Element `<database>`.
    #[xml(child_text)]
    pub database: Option<String>,
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

/// Character source that may be absent.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(check = PassthroughSource::check)]
pub struct PassthroughSource {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: Option<super::chardev::CharType>,
    /// Attribute `tty`.
    #[xml(attr, live_only)]
    pub tty: Option<String>,
    /// Element `<source>`.
    #[xml(child, name = "source")]
    pub sources: Vec<super::chardev::CharSourceElement>,
    /// Element `<protocol>`.
    #[xml(child)]
    pub protocol: Option<super::chardev::CharProtocol>,
    /// Element `<log>`.
    #[xml(child)]
    pub log: Option<super::chardev::CharLog>,
}

impl PassthroughSource {
    fn check(&mut self, el: xml::Element<'_>, r: &mut xml::Reader) {
        if let Some(kind) = self.kind {
            super::chardev::check_protocol(kind, &mut self.protocol, el, r);
        }
    }
}
