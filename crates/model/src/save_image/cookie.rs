//! What a saved guest's definition does not say but its memory relies on.

use super::ImageFault;
use crate::domain::cpu::Cpu;

use diag::Severity;
use xml::{WriteOptions, Xml};

/// The cookie of an image of a saved guest.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct SaveCookie {
    /// The CPU that the guest really had, where its definition is less precise.
    #[xml(child)]
    pub cpu: Option<Cpu>,
    /// Presence of `<slirpHelper/>`: user networks were not QEMU's own.
    #[xml(flag, name = "slirpHelper")]
    pub slirp_helper: bool,
}

impl SaveCookie {
    /// Reads a cookie.
    ///
    /// # Errors
    /// In words, when it is none.
    pub fn parse(text: &str) -> Result<Self, ImageFault> {
        let parsed = xml::read_str::<Self>(text, "cookie");
        let fault = parsed.diagnostics.iter().find(|d| d.severity == Severity::Error);
        match (parsed.value, fault) {
            (Some(cookie), None) => Ok(cookie),
            (_, Some(fault)) => Err(ImageFault::Cookie(fault.message.clone())),
            (None, None) => Err(ImageFault::Cookie("it is no cookie".to_owned())),
        }
    }

    /// The cookie as text.
    pub fn format(&self) -> String {
        let options = WriteOptions { live: true, secure: true, migratable: false, indent: 0 };
        xml::write(self, "cookie", &options)
    }
}
