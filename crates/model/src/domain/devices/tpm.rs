//! TPM devices.

use crate::domain::prelude::*;

/// Device the guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum TpmModel {
    /// `tpm-tis`.
    #[default]
    TpmTis,
    /// `tpm-crb`.
    TpmCrb,
    /// `tpm-spapr`.
    TpmSpapr,
    /// `spapr-tpm-proxy`.
    SpaprTpmProxy,
}

/// Who implements it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum TpmBackendType {
    /// `passthrough`.
    #[default]
    Passthrough,
    /// `emulator`.
    Emulator,
    /// `external`.
    External,
}

/// TPM version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum TpmVersion {
    /// `1.2`.
    #[xml(name = "1.2")]
    #[default]
    V12,
    /// `2.0`.
    #[xml(name = "2.0")]
    V20,
}

/// One TPM.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Tpm {
    /// Attribute `model`.
    #[xml(attr)]
    pub model: Option<TpmModel>,
    /// Element `<backend>`.
    #[xml(child)]
    pub backend: TpmBackend,
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

/// Its implementation.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct TpmBackend {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: TpmBackendType,
    /// Attribute `version`.
    #[xml(attr)]
    pub version: Option<TpmVersion>,
    /// Attribute `persistent_state`.
    #[xml(attr)]
    pub persistent_state: Option<YesNo>,
    /// Attribute `debug`.
    #[xml(attr)]
    pub debug: Option<u32>,
    /// Element `<device>`.
    #[xml(child)]
    pub device: Option<TpmDevice>,
    /// Element `<encryption>`.
    #[xml(child, needs_text = "secret")]
    pub encryption: Option<TpmEncryption>,
    /// Element `<active_pcr_banks>`.
    #[xml(child)]
    pub active_pcr_banks: Option<PcrBanks>,
    /// Element `<source>`.
    #[xml(child, needs = "type")]
    pub source: Option<TpmSource>,
    /// Element `<profile>`.
    #[xml(child)]
    pub profile: Option<TpmProfile>,
}

/// Device of the host.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct TpmDevice {
    /// Attribute `path`.
    #[xml(attr, empty_absent)]
    pub path: Option<String>,
}

/// Secret of the state.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct TpmEncryption {
    /// Attribute `secret`.
    #[xml(attr)]
    pub secret: Uuid,
}

/// PCR banks that are active.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(check = PcrBanks::check)]
pub struct PcrBanks {
    /// Presence of `<sha1/>`.
    #[xml(flag)]
    pub sha1: bool,
    /// Presence of `<sha256/>`.
    #[xml(flag)]
    pub sha256: bool,
    /// Presence of `<sha384/>`.
    #[xml(flag)]
    pub sha384: bool,
    /// Presence of `<sha512/>`.
    #[xml(flag)]
    pub sha512: bool,
}

impl PcrBanks {
    fn check(&mut self, el: xml::Element<'_>, r: &mut xml::Reader) {
        for c in el.children() {
            if !["sha1", "sha256", "sha384", "sha512"].contains(&c.name()) {
                r.use_subtree(c);
                let words = format!("Unsupported PCR banks '{}'", c.name());
                let code = ErrorCode::CONFIG_UNSUPPORTED;
                r.error("domain.tpm-bank", code, c.name_span(), words, Vec::new());
            }
        }
    }
}

/// State path or socket.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct TpmSource {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: String,
    /// Attribute `mode`.
    #[xml(attr)]
    pub mode: Option<SocketModeName>,
    /// Attribute `path`.
    #[xml(attr, missing = (ErrorCode::XML_ERROR, "missing TPM source path"))]
    pub path: String,
}

/// swtpm profile.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct TpmProfile {
    /// The profile to make a new one by; an existing one only has its name.
    #[xml(attr)]
    pub source: Option<String>,
    /// Attribute `removeDisabled`.
    #[xml(attr, name = "removeDisabled", one_of = &["check", "fips-host"])]
    pub remove_disabled: Option<String>,
    /// Attribute `name`.
    #[xml(attr)]
    pub name: Option<String>,
}

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum SocketModeName {
    /// `connect`.
    #[default]
    Connect,
    /// `bind`.
    Bind,
}
