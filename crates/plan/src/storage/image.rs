//! Images as qemu-img names them: format, encryption, options.

use diag::VirError;
use model::storage::{Encryption, EncryptionFormat, Volume, VolumeType};

/// A volume as an image.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// The volume; its path must be known.
    pub volume: &'a Volume,
    /// A file with the passphrase, where the volume is encrypted.
    pub secret_file: Option<&'a str>,
}

impl<'a> Image<'a> {
    /// A volume that is not encrypted.
    pub fn plain(volume: &'a Volume) -> Self {
        Self { volume, secret_file: None }
    }

    /// Path of the volume.
    pub(super) fn path(&self) -> &'a str {
        self.volume.target.path.as_deref().unwrap_or_default()
    }

    /// The format libvirt knows it by.
    pub(super) fn format(&self) -> &'a str {
        match (self.volume.kind, self.volume.target.format.as_deref()) {
            (VolumeType::Block, _) | (_, None | Some("iso")) => "raw",
            (_, Some(format)) => format,
        }
    }

    pub(super) fn encryption(&self) -> Option<&'a Encryption> {
        self.volume.target.encryption.as_ref()
    }

    pub(super) fn is_luks(&self) -> bool {
        self.encryption().is_some_and(|encryption| encryption.format == EncryptionFormat::Luks)
    }

    /// The format qemu-img knows it by: an encrypted raw image has one of its own.
    pub(super) fn driver(&self) -> &'a str {
        if self.is_luks() && self.format() == "raw" { "luks" } else { self.format() }
    }

    /// Where qemu-img's options for the encryption stand: in the image's own name space or in that
    /// of its format.
    fn prefix(&self) -> &'static str {
        if self.format() == "raw" { "" } else { "encrypt." }
    }

    /// Name of the object that holds the passphrase.
    fn secret_id(&self) -> String {
        format!("{}_encrypt0", self.volume.name)
    }

    /// The value of `--object` for the passphrase, where the image has one.
    pub(super) fn secret_object(&self) -> Option<String> {
        if !self.is_luks() {
            return None;
        }
        let (id, file) = (self.secret_id(), self.secret_file.unwrap_or_default());
        Some(format!("secret,id={},file={}", escape(&id), escape(file)))
    }

    /// Options that make a new image encrypted.
    pub(super) fn encryption_options(&self) -> Vec<String> {
        let Some(encryption) = self.encryption().filter(|_| self.is_luks()) else {
            return Vec::new();
        };
        let prefix = self.prefix();
        let mut options = Vec::new();
        if !prefix.is_empty() {
            options.push("encrypt.format=luks".to_owned());
        }
        let mut add = |name: &str, value: &str| {
            options.push(format!("{prefix}{name}={}", escape(value)));
        };
        add("key-secret", &self.secret_id());
        if let Some(cipher) = &encryption.cipher {
            add("cipher-alg", &format!("{}-{}", cipher.name, cipher.size));
            if let Some(mode) = &cipher.mode {
                add("cipher-mode", mode);
            }
            if let Some(hash) = &cipher.hash {
                add("hash-alg", hash);
            }
        }
        if let Some(ivgen) = &encryption.ivgen {
            add("ivgen-alg", &ivgen.name);
            if let Some(hash) = &ivgen.hash {
                add("ivgen-hash-alg", hash);
            }
        }
        options
    }

    /// The image for `--image-opts`.
    pub(super) fn image_options(&self) -> String {
        let mut text = format!("driver={},file.filename={}", self.driver(), escape(self.path()));
        if self.is_luks() {
            let (prefix, id) = (self.prefix(), self.secret_id());
            text.push_str(&format!(",{prefix}key-secret={}", escape(&id)));
        }
        text
    }

    /// Whether qemu-img can make an image encrypted this way.
    pub(super) fn check_encryption(&self) -> Result<(), VirError> {
        let Some(encryption) = self.encryption() else { return Ok(()) };
        let format = self.format();
        let old = matches!(encryption.format, EncryptionFormat::Qcow | EncryptionFormat::Default);
        match format {
            "raw" if encryption.format != EncryptionFormat::Luks => {
                return Err(VirError::internal("Only luks encryption is supported for raw files"));
            }
            "qcow" | "qcow2" if old => {
                let message = "creation of qcow2 encrypted image is not supported";
                return Err(VirError::config(message));
            }
            "raw" => {}
            "qcow2" if encryption.format == EncryptionFormat::Luks => {}
            "qcow2" => {
                let number = encryption.format as u32;
                let message = format!("unsupported volume encryption format {number}");
                return Err(VirError::config(message));
            }
            _ => {
                let message = format!("volume encryption unsupported with format {format}");
                return Err(VirError::config(message));
            }
        }
        if encryption.secrets.len() != 1 {
            return Err(VirError::invalid_arg(
                "A single <secret type='passphrase'...> element is expected in encryption \
                 description",
            ));
        }
        Ok(())
    }
}

/// A value in a list of options: commas are doubled.
fn escape(text: &str) -> String {
    text.replace(',', ",,")
}
