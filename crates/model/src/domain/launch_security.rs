//! Confidential guests and key wrapping.

use crate::domain::prelude::*;

/// Kind of protection.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(tag = "type")]
pub enum LaunchSecurity {
    /// `type='sev'`.
    Sev(Sev),
    /// `type='sev-snp'`.
    SevSnp(SevSnp),
    /// `type='s390-pv'`.
    S390Pv(S390Pv),
    /// `type='tdx'`.
    Tdx(Tdx),
}

/// AMD SEV.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Sev {
    /// Attribute `kernelHashes`.
    #[xml(attr, name = "kernelHashes")]
    pub kernel_hashes: Option<YesNo>,
    /// Element `<cbitpos>`.
    #[xml(child_text, name = "cbitpos")]
    pub cbit_pos: Option<u32>,
    /// Element `<reducedPhysBits>`.
    #[xml(child_text, name = "reducedPhysBits")]
    pub reduced_phys_bits: Option<u32>,
    /// Element `<policy>`.
    #[xml(child_text)]
    pub policy: Hex<4>,
    /// Element `<dhCert>`.
    #[xml(child_text, name = "dhCert")]
    pub dh_cert: Option<String>,
    /// Element `<session>`.
    #[xml(child_text)]
    pub session: Option<String>,
}

/// AMD SEV-SNP.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct SevSnp {
    /// Attribute `kernelHashes`.
    #[xml(attr, name = "kernelHashes")]
    pub kernel_hashes: Option<YesNo>,
    /// Attribute `authorKey`.
    #[xml(attr, name = "authorKey")]
    pub author_key: Option<YesNo>,
    /// Attribute `vcek`.
    #[xml(attr)]
    pub vcek: Option<YesNo>,
    /// Element `<cbitpos>`.
    #[xml(child_text, name = "cbitpos")]
    pub cbit_pos: Option<u32>,
    /// Element `<reducedPhysBits>`.
    #[xml(child_text, name = "reducedPhysBits")]
    pub reduced_phys_bits: Option<u32>,
    /// Element `<policy>`.
    #[xml(child_text)]
    pub policy: Hex<8>,
    /// Element `<guestVisibleWorkarounds>`.
    #[xml(child_text, name = "guestVisibleWorkarounds")]
    pub guest_visible_workarounds: Option<String>,
    /// Element `<idBlock>`.
    #[xml(child_text, name = "idBlock")]
    pub id_block: Option<String>,
    /// Element `<idAuth>`.
    #[xml(child_text, name = "idAuth")]
    pub id_auth: Option<String>,
    /// Element `<hostData>`.
    #[xml(child_text, name = "hostData")]
    pub host_data: Option<String>,
}

/// s390 protected virtualization.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct S390Pv {}

/// Intel TDX.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Tdx {
    /// Element `<policy>`.
    #[xml(child_text)]
    pub policy: Option<Hex<8>>,
    /// Element `<mrConfigId>`.
    #[xml(child_text, name = "mrConfigId")]
    pub mr_config_id: Option<String>,
    /// Element `<mrOwner>`.
    #[xml(child_text, name = "mrOwner")]
    pub mr_owner: Option<String>,
    /// Element `<mrOwnerConfig>`.
    #[xml(child_text, name = "mrOwnerConfig")]
    pub mr_owner_config: Option<String>,
    /// Element `<quoteGenerationService>`.
    #[xml(child, name = "quoteGenerationService")]
    pub quote_generation_service: Option<QuoteGenerationService>,
}

/// Where quotes are made.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct QuoteGenerationService {
    /// Attribute `path`.
    #[xml(attr)]
    pub path: Option<String>,
}

/// Key wrapping of s390.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct KeyWrap {
    /// Element `<cipher>`.
    #[xml(child, name = "cipher")]
    pub ciphers: Vec<KeyWrapCipher>,
}

/// Cipher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum KeyWrapName {
    /// `aes`.
    #[default]
    Aes,
    /// `dea`.
    Dea,
}

/// One cipher.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct KeyWrapCipher {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: KeyWrapName,
    /// Attribute `state`.
    #[xml(attr)]
    pub state: OnOff,
}
