//! How a volume is encrypted.

use xml::{Element, Reader, Schema, Writer, Xml, XmlEnum};

/// Kind of encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum EncryptionFormat {
    /// Chosen by the driver.
    Default,
    /// qcow's own (obsolete).
    Qcow,
    /// LUKS version 1.
    Luks,
    /// LUKS version 2.
    Luks2,
    /// LUKS of either version.
    LuksAny,
}

/// Who decrypts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum EncryptionEngine {
    /// The emulator.
    Qemu,
    /// Ceph's library.
    Librbd,
}

/// Which key opens it.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct EncryptionSecret {
    /// `passphrase`; checked with the encryption.
    #[xml(attr, name = "type", default)]
    pub kind: String,
    /// The secret's UUID.
    #[xml(attr)]
    pub uuid: Option<String>,
    /// Or its usage.
    #[xml(attr)]
    pub usage: Option<String>,
}

impl EncryptionSecret {
    /// Checks it and brings the UUID into its usual form; libvirt's code and words for a fault.
    fn settle(&mut self) -> Result<(), (diag::ErrorCode, String)> {
        let fault = |words: &str| Err((diag::ErrorCode::XML_ERROR, words.to_owned()));
        match self.kind.as_str() {
            "" => return fault("unknown volume encryption secret type"),
            "passphrase" => {}
            other => {
                let message = format!("unknown volume encryption secret type {other}");
                return Err((diag::ErrorCode::CONFIG_UNSUPPORTED, message));
            }
        }
        match (&mut self.uuid, &self.usage) {
            (None, None) => fault("missing secret uuid or usage attribute"),
            (Some(_), Some(_)) => fault("either secret uuid or usage expected"),
            (Some(uuid), None) => match uuid.parse::<units::Uuid>() {
                Ok(parsed) => {
                    *uuid = parsed.to_string();
                    Ok(())
                }
                Err(_) => fault(&format!("invalid secret uuid '{uuid}'")),
            },
            (None, Some(_)) => Ok(()),
        }
    }
}

/// The cipher.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Cipher {
    /// Algorithm; checked with the encryption.
    #[xml(attr, default)]
    pub name: String,
    /// Key size in bits.
    #[xml(attr)]
    pub size: u32,
    /// Mode.
    #[xml(attr)]
    pub mode: Option<String>,
    /// Hash.
    #[xml(attr)]
    pub hash: Option<String>,
}

/// How initialisation vectors are made.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct IvGen {
    /// Algorithm; checked with the encryption.
    #[xml(attr, default)]
    pub name: String,
    /// Hash.
    #[xml(attr)]
    pub hash: Option<String>,
}

/// Encryption of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    /// Kind.
    pub format: EncryptionFormat,
    /// Who decrypts.
    pub engine: Option<EncryptionEngine>,
    /// Keys.
    pub secrets: Vec<EncryptionSecret>,
    /// Cipher.
    pub cipher: Option<Cipher>,
    /// Initialisation vectors.
    pub ivgen: Option<IvGen>,
}

impl Encryption {
    /// Encryption of this kind with nothing known about its keys, as found in an image.
    pub fn found(format: EncryptionFormat) -> Self {
        Self { format, engine: None, secrets: Vec::new(), cipher: None, ivgen: None }
    }
}

impl Xml for Encryption {
    fn read(el: Element<'_>, cx: &mut Reader) -> Option<Self> {
        let unsupported = diag::ErrorCode::CONFIG_UNSUPPORTED;
        let format = match cx.attr(el, "format") {
            None => {
                let (code, span) = (diag::ErrorCode::XML_ERROR, el.span());
                let message = "unknown volume encryption format";
                cx.error("storage.encryption", code, span, message, Vec::new());
                None
            }
            Some(attr) => {
                let found = attr.value().parse::<EncryptionFormat>().ok();
                if found.is_none() {
                    let message = format!("unknown volume encryption format type {}", attr.value());
                    let hints = xml::closest(
                        attr.value(),
                        EncryptionFormat::ALL.iter().map(|f| f.as_str()).collect::<Vec<_>>(),
                    )
                    .map(|name| format!("Did you mean '{name}'?"));
                    cx.error(
                        "storage.encryption",
                        unsupported,
                        attr.value_span(),
                        message,
                        hints.into_iter().collect(),
                    );
                }
                found
            }
        };
        let engine = cx.attr_optional::<EncryptionEngine>(el, "engine");
        let mut secrets = cx.child_list::<EncryptionSecret>(el, "secret".into());
        for secret in secrets.iter_mut().flatten() {
            if let Err((code, message)) = secret.settle() {
                cx.error("storage.secret", code, el.span(), message, Vec::new());
            }
        }
        let cipher = cx.child_optional::<Cipher>(el, "cipher".into());
        let ivgen = cx.child_optional::<IvGen>(el, "ivgen".into());
        let message = match (&cipher, &ivgen) {
            (Some(Some(cipher)), _) if cipher.name.is_empty() => {
                Some("cipher info missing 'name' attribute")
            }
            (Some(None), Some(Some(_))) => Some("ivgen element found, but cipher is missing"),
            (_, Some(Some(ivgen))) if ivgen.name.is_empty() => {
                Some("missing ivgen info name string")
            }
            _ => None,
        };
        if let Some(message) = message {
            cx.error("storage.cipher", diag::ErrorCode::XML_ERROR, el.span(), message, Vec::new());
        }
        Some(Self {
            format: format?,
            engine: engine?,
            secrets: secrets?,
            cipher: cipher?,
            ivgen: ivgen?,
        })
    }
    fn write_attrs(&self, w: &mut Writer) {
        w.attr_str("format", self.format.as_str());
        if let Some(engine) = &self.engine {
            w.attr("engine", engine);
        }
    }
    fn write_children(&self, w: &mut Writer) {
        for secret in &self.secrets {
            w.child("secret", secret);
        }
        if let Some(cipher) = &self.cipher {
            w.child("cipher", cipher);
        }
        if let Some(ivgen) = &self.ivgen {
            w.child("ivgen", ivgen);
        }
        if self.secrets.is_empty() && self.cipher.is_none() && self.ivgen.is_none() {
            // libvirt never writes this element in the short form; it stands on the third level.
            w.text_str("\n    ");
        }
    }
    fn schema() -> Schema {
        Schema::new()
            .attr("format", true, <EncryptionFormat as xml::XmlValue>::kind())
            .attr("engine", false, <EncryptionEngine as xml::XmlValue>::kind())
            .child("secret".into(), false, true, xml::Content::Element(EncryptionSecret::schema))
            .child("cipher".into(), false, false, xml::Content::Element(Cipher::schema))
            .child("ivgen".into(), false, false, xml::Content::Element(IvGen::schema))
    }
}
