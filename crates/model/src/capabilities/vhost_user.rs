//! Descriptors of vhost-user back ends: JSON files that say which program serves a kind of device.
//!
//! They lie in `/etc/qemu/vhost-user` and `/usr/share/qemu/vhost-user`; a file hides its namesakes
//! in later folders, and an empty one hides them without a replacement.

use serde_json::Value;

/// A program that serves vhost-user devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VhostUserBackend {
    /// What it serves: `gpu`, `fs`, `input`, …
    pub kind: String,
    /// The program's path.
    pub binary: String,
}

impl VhostUserBackend {
    /// Reads a descriptor; `None` where it names no kind or program.
    pub fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let member = |name: &str| value.get(name)?.as_str().map(str::to_string);
        Some(Self { kind: member("type")?, binary: member("binary")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_names_kind_and_program() {
        let check = |text: &str, expected: Option<(&str, &str)>| {
            let found = VhostUserBackend::parse(text);
            let found = found.as_ref().map(|found| (found.kind.as_str(), found.binary.as_str()));
            assert_eq!(found, expected, "{text}");
        };
        check(r#"{"type": "gpu", "binary": "/x", "tags": []}"#, Some(("gpu", "/x")));
        check(r#"{"type": "gpu"}"#, None);
        check("", None);
        check("[", None);
    }
}
