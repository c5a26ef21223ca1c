//! What the source of a disk is made of: servers, credentials, encryption, reservations.

use super::*;

/// A server.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct NetworkHost {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: Option<String>,
    /// Attribute `port`.
    #[xml(attr)]
    pub port: Option<String>,
    /// Attribute `transport`.
    #[xml(attr)]
    pub transport: Option<NetworkTransport>,
    /// Attribute `socket`.
    #[xml(attr)]
    pub socket: Option<String>,
}

/// A name.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct NamedRef {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: String,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct FileRef {
    /// Attribute `file`.
    #[xml(attr)]
    pub file: String,
}

/// A path.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct PathRef {
    /// Attribute `path`.
    #[xml(attr)]
    pub path: String,
}

/// iSCSI initiator.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Initiator {
    /// Element `<iqn>`.
    #[xml(child, needs_text = "name")]
    pub iqn: Option<NamedRef>,
}

/// Verification of a server's certificate.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct SslVerify {
    /// Attribute `verify`.
    #[xml(attr)]
    pub verify: YesNo,
}

/// HTTP cookies.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Cookies {
    /// Element `<cookie>`.
    #[xml(child, name = "cookie")]
    pub cookies: Vec<Cookie>,
}

/// One cookie.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Cookie {
    /// Attribute `name`.
    #[xml(attr, empty_absent, missing = (ErrorCode::XML_ERROR, "missing cookie name"))]
    pub name: String,
    /// The text of the element.
    #[xml(text, default, skip_default)]
    pub value: String,
}

/// Read-ahead, bytes.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct ReadAhead {
    /// Attribute `size`.
    #[xml(attr, fault = (ErrorCode::XML_ERROR, "invalid readahead size or timeout"))]
    pub size: u64,
}

/// Timeout, seconds.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct SourceTimeout {
    /// Attribute `seconds`.
    #[xml(attr, fault = (ErrorCode::XML_ERROR, "invalid readahead size or timeout"))]
    pub seconds: u64,
}

/// Who we are to the server.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct SourceIdentity {
    /// Attribute `user`.
    #[xml(attr)]
    pub user: Option<String>,
    /// Attribute `group`.
    #[xml(attr)]
    pub group: Option<String>,
    /// Attribute `username`.
    #[xml(attr)]
    pub username: Option<String>,
    /// Attribute `keyfile`.
    #[xml(attr)]
    pub keyfile: Option<String>,
    /// Attribute `agentsock`.
    #[xml(attr)]
    pub agentsock: Option<String>,
}

/// Reconnection.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DiskReconnect {
    /// Attribute `delay`.
    #[xml(attr, zero_absent)]
    pub delay: Option<u32>,
    /// Attribute `enabled`.
    #[xml(attr)]
    pub enabled: Option<YesNo>,
    /// Attribute `timeout`.
    #[xml(attr)]
    pub timeout: Option<u32>,
}

/// Parts of the storage.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Slices {
    /// Element `<slice>`.
    #[xml(child, name = "slice")]
    pub slices: Vec<Slice>,
}

/// One part, bytes.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Slice {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: String,
    /// Attribute `offset`.
    #[xml(attr, empty_absent, fault = (ErrorCode::XML_ERROR, "malformed value '{}' of 'offset' attribute of slice"), missing = (ErrorCode::XML_ERROR, "missing offset or size attribute of slice"))]
    pub offset: u64,
    /// Attribute `size`.
    #[xml(attr, empty_absent, fault = (ErrorCode::XML_ERROR, "malformed value '{}' of 'size' attribute of slice"), missing = (ErrorCode::XML_ERROR, "missing offset or size attribute of slice"))]
    pub size: u64,
}

/// Credentials.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DiskAuth {
    /// Attribute `username`.
    #[xml(attr, missing = (ErrorCode::XML_ERROR, "missing username for auth"), empty_absent)]
    pub username: String,
    /// Element `<secret>`.
    #[xml(child)]
    pub secret: Option<AuthSecret>,
}

/// The secret, by uuid or usage.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct AuthSecret {
    /// Attribute `type`.
    #[xml(attr, name = "type", missing = (ErrorCode::CONFIG_UNSUPPORTED, "unknown secret type '<null>'"))]
    pub kind: String,
    /// Attribute `usage`.
    #[xml(attr)]
    pub usage: Option<String>,
    /// Attribute `uuid`.
    #[xml(attr, fault = (ErrorCode::XML_ERROR, "invalid secret uuid '{}'"))]
    pub uuid: Option<Uuid>,
}

/// Encryption of the image.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Encryption {
    /// Attribute `format`.
    #[xml(attr, missing = (ErrorCode::XML_ERROR, "unknown volume encryption format"))]
    pub format: String,
    /// Attribute `engine`.
    #[xml(attr, one_of = &["qemu", "librbd"])]
    pub engine: Option<String>,
    /// Element `<secret>`.
    #[xml(child, name = "secret")]
    pub secrets: Vec<EncryptionSecret>,
    /// Element `<cipher>`.
    #[xml(child)]
    pub cipher: Option<EncryptionCipher>,
    /// Element `<ivgen>`.
    #[xml(child)]
    pub ivgen: Option<EncryptionIvGen>,
}

/// The passphrase, by uuid or usage.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct EncryptionSecret {
    /// Attribute `type`.
    #[xml(attr, name = "type", missing = (ErrorCode::XML_ERROR, "unknown volume encryption secret type"))]
    pub kind: String,
    /// Attribute `usage`.
    #[xml(attr)]
    pub usage: Option<String>,
    /// Attribute `uuid`.
    #[xml(attr, fault = (ErrorCode::XML_ERROR, "invalid secret uuid '{}'"))]
    pub uuid: Option<Uuid>,
}

/// Cipher of a new image.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct EncryptionCipher {
    /// Attribute `name`; checked with the encryption.
    #[xml(attr, default)]
    pub name: String,
    /// Attribute `size`.
    #[xml(attr)]
    pub size: u32,
    /// Attribute `mode`.
    #[xml(attr)]
    pub mode: Option<String>,
    /// Attribute `hash`.
    #[xml(attr)]
    pub hash: Option<String>,
}

/// Initialization vectors of a new image.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct EncryptionIvGen {
    /// Attribute `name`; checked with the encryption.
    #[xml(attr, default)]
    pub name: String,
    /// Attribute `hash`.
    #[xml(attr)]
    pub hash: Option<String>,
}

/// SCSI persistent reservations.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct Reservations {
    /// Attribute `managed`.
    #[xml(attr)]
    pub managed: YesNo,
    /// Attribute `migration`.
    #[xml(attr)]
    pub migration: Option<YesNo>,
    /// Element `<source>`.
    #[xml(child)]
    pub source: Option<ReservationSource>,
}

/// Socket of the helper.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct ReservationSource {
    /// Attribute `type`.
    #[xml(attr, name = "type", missing = (ErrorCode::XML_ERROR, "missing connection type for <reservations/>"))]
    pub kind: String,
    /// Attribute `path`.
    #[xml(attr)]
    pub path: Option<String>,
    /// Attribute `mode`.
    #[xml(attr)]
    pub mode: Option<String>,
}
