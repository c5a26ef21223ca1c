//! Secrets: what a passphrase or key is for. The value itself never stands in the XML.
//!
//! Sources: `secret.rng`, formatsecret.html, and answers of libvirt 11.3.

use diag::ErrorCode;
use units::Uuid;
use xml::{Parsed, WriteOptions, Xml, YesNo};

use crate::object::{self, Rule};

/// A secret without its value.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
#[xml(open)]
pub struct Secret {
    /// Kept in memory only.
    #[xml(attr, empty_absent, default = YesNo::No)]
    pub ephemeral: YesNo,
    /// Its value is never handed out.
    #[xml(attr, empty_absent, default = YesNo::No)]
    pub private: YesNo,
    /// Its UUID; one is made when there is none.
    #[xml(child_text)]
    pub uuid: Option<Uuid>,
    /// Text for humans.
    #[xml(child_text)]
    pub description: Option<String>,
    /// What it opens.
    #[xml(child)]
    pub usage: Option<Usage>,
}

/// What a secret opens.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
#[xml(tag = "type")]
pub enum Usage {
    /// Nothing in particular; the same as no usage at all.
    None,
    /// An encrypted volume.
    Volume(VolumeUsage),
    /// A Ceph cluster.
    Ceph(NamedUsage),
    /// An iSCSI target.
    Iscsi(TargetUsage),
    /// A TLS private key.
    Tls(NamedUsage),
    /// The state of an emulated TPM.
    Vtpm(NamedUsage),
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct VolumeUsage {
    /// Its path.
    #[xml(child_text)]
    pub volume: String,
}

/// Something with a name that others refer to.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct NamedUsage {
    /// The name.
    #[xml(child_text)]
    pub name: String,
}

/// A target.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct TargetUsage {
    /// Its name, as others refer to it.
    #[xml(child_text)]
    pub target: String,
}

impl Usage {
    /// The name by which the secret is found; empty without a usage.
    pub fn id(&self) -> &str {
        match self {
            Self::None => "",
            Self::Volume(usage) => &usage.volume,
            Self::Ceph(usage) | Self::Tls(usage) | Self::Vtpm(usage) => &usage.name,
            Self::Iscsi(usage) => &usage.target,
        }
    }

    /// The number of `virSecretUsageType`.
    pub fn number(&self) -> i32 {
        match self {
            Self::None => 0,
            Self::Volume(_) => 1,
            Self::Ceph(_) => 2,
            Self::Iscsi(_) => 3,
            Self::Tls(_) => 4,
            Self::Vtpm(_) => 5,
        }
    }
}

const RULES: &[Rule] = &[
    ("secret@ephemeral", ErrorCode::XML_ERROR, "invalid value of 'ephemeral'"),
    ("secret@private", ErrorCode::XML_ERROR, "invalid value of 'private'"),
    ("uuid", ErrorCode::INTERNAL_ERROR, "malformed uuid element"),
    (
        "!usage/volume",
        ErrorCode::INTERNAL_ERROR,
        "volume usage specified, but volume path is missing",
    ),
    ("!usage/target", ErrorCode::INTERNAL_ERROR, "iSCSI usage specified, but target is missing"),
];

/// Reads a `<secret>` document.
pub fn parse(text: &str) -> Parsed<Secret> {
    let refine = |root: xml::Element<'_>, d: &mut diag::Diagnostic| {
        object::refine(d, RULES, "");
        if object::Fault::of(d).is_some_and(|fault| fault.key == "!usage/name") {
            let kind = match root.child("usage").and_then(|usage| usage.attr("type")) {
                Some("tls") => "TLS",
                Some("vtpm") => "vTPM",
                _ => "Ceph",
            };
            d.code = ErrorCode::INTERNAL_ERROR;
            d.message = format!("{kind} usage specified, but name is missing");
        }
    };
    object::read(text, "secret", refine, |secret: &mut Secret, _, _| {
        secret.usage = secret.usage.take().filter(|usage| *usage != Usage::None);
    })
}

/// Writes a `<secret>` document.
pub fn format(secret: &Secret, options: &WriteOptions) -> String {
    xml::write(secret, "secret", options)
}

/// Reads arbitrary bytes; what was written must be read again, and to the same value.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(secret) = parse(text).value {
        let written = format(&secret, &WriteOptions::default());
        assert_eq!(parse(&written).value.as_ref(), Some(&secret), "{written}");
    }
}

#[cfg(test)]
mod tests;
