//! QEMU's firmware descriptors: JSON files that say what a firmware image is for.
//!
//! The engine reads the files (`/usr/share/qemu/firmware`, `/etc/qemu/firmware` and the user's
//! own, by file name, the more specific folder hiding the others); everything here is pure.

use serde_json::Value;

/// A firmware file and its format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareFile {
    /// Path.
    pub path: String,
    /// `raw` or `qcow2`.
    pub format: String,
}

/// How the firmware reaches the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirmwareMapping {
    /// Flash with a variable store.
    Split {
        /// The code.
        executable: FirmwareFile,
        /// What a guest's variable store starts as.
        nvram: FirmwareFile,
    },
    /// Flash that keeps code and variables in one file; every guest needs its own copy.
    Combined(FirmwareFile),
    /// Flash without variables.
    Stateless(FirmwareFile),
    /// Loaded as a ROM (`-bios`).
    Memory(String),
    /// Loaded as a kernel.
    Kernel(FirmwareFile),
}

/// A firmware descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firmware {
    /// The descriptor's file name.
    pub source: String,
    /// `uefi`, `bios`, …
    pub interfaces: Vec<String>,
    /// The files.
    pub mapping: FirmwareMapping,
    /// Architecture (QEMU's name) and machine patterns.
    pub targets: Vec<(String, Vec<String>)>,
    /// Features such as `secure-boot`.
    pub features: Vec<String>,
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let list = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter().filter_map(Value::as_str).map(String::from).collect()
}

/// Whether `text` matches a shell pattern of `*` and `?`.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    // Backtracks to the last star only, so the work is at most pattern × text.
    let (mut p, mut t, mut star) = (0, 0, None);
    while let Some(c) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(q) if q == c || *q == b'?' => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((star_p, star_t)) => {
                    p = star_p + 1;
                    t = star_t + 1;
                    star = Some((star_p, star_t + 1));
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_none_or(|rest| rest.iter().all(|c| *c == b'*'))
}

impl Firmware {
    /// Reads a descriptor; `source` is its file name.
    ///
    /// # Errors
    /// The text is not JSON of the documented shape.
    pub fn parse(source: &str, text: &str) -> Result<Self, String> {
        let root: Value = serde_json::from_str(text).map_err(|e| format!("{source}: {e}"))?;
        let missing = |what: &str| format!("{source}: no {what}");
        let mapping = root.get("mapping").ok_or_else(|| missing("mapping"))?;
        let name = |key: &str| mapping.get(key).and_then(Value::as_str);
        let file = |key: &str| -> Result<FirmwareFile, String> {
            let value = mapping.get(key).ok_or_else(|| missing(key))?;
            let text = |key: &str| value.get(key).and_then(Value::as_str).map(String::from);
            Ok(FirmwareFile {
                path: text("filename").ok_or_else(|| missing("filename"))?,
                format: text("format").unwrap_or_else(|| "raw".into()),
            })
        };
        let mapping = match name("device") {
            Some("flash") => match name("mode").unwrap_or("split") {
                "split" => FirmwareMapping::Split {
                    executable: file("executable")?,
                    nvram: file("nvram-template")?,
                },
                "combined" => FirmwareMapping::Combined(file("executable")?),
                "stateless" => FirmwareMapping::Stateless(file("executable")?),
                other => return Err(format!("{source}: unknown flash mode '{other}'")),
            },
            Some("memory") => {
                FirmwareMapping::Memory(name("filename").ok_or_else(|| missing("filename"))?.into())
            }
            Some("kernel") => FirmwareMapping::Kernel(FirmwareFile {
                path: name("filename").ok_or_else(|| missing("filename"))?.into(),
                format: "raw".into(),
            }),
            other => return Err(format!("{source}: unknown device '{other:?}'")),
        };
        let targets = root.get("targets").and_then(Value::as_array);
        Ok(Self {
            source: source.into(),
            interfaces: strings(root.get("interface-types")),
            mapping,
            targets: targets
                .into_iter()
                .flatten()
                .filter_map(|target| {
                    let arch = target.get("architecture")?.as_str()?.to_string();
                    Some((arch, strings(target.get("machines"))))
                })
                .collect(),
            features: strings(root.get("features")),
        })
    }

    /// Whether it fits a guest of this architecture (libvirt's name) and machine (full name).
    pub fn fits(&self, arch: &str, machine: &str) -> bool {
        let arch = match arch {
            "i686" => "i386",
            "armv7l" => "arm",
            other => other,
        };
        self.targets.iter().any(|(target, machines)| {
            target == arch
                && machines.iter().any(|pattern| matches(pattern.as_bytes(), machine.as_bytes()))
        })
    }

    /// Whether it has this feature.
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|known| known == feature)
    }

    /// Whether it offers this interface (`uefi`, `bios`).
    pub fn offers(&self, interface: &str) -> bool {
        self.interfaces.iter().any(|known| known == interface)
    }

    /// Path of the image a guest runs.
    pub fn executable(&self) -> &str {
        match &self.mapping {
            FirmwareMapping::Split { executable, .. }
            | FirmwareMapping::Combined(executable)
            | FirmwareMapping::Stateless(executable)
            | FirmwareMapping::Kernel(executable) => &executable.path,
            FirmwareMapping::Memory(path) => path,
        }
    }
}

/// Feeds bytes to the readers of descriptors, of firmware and of vhost-user devices; for fuzz
/// targets.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(firmware) = Firmware::parse("fuzz", text)
    {
        let _ = firmware.fits("x86_64", "pc-q35-10.0");
        // Patterns of the descriptor's author against names of the machine's.
        let _ = firmware.fits("x86_64", text);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = super::vhost_user::VhostUserBackend::parse(text);
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, text, expected) in [
            ("pc-q35-*", "pc-q35-10.0", true),
            ("pc-q35-*", "pc-i440fx-10.0", false),
            ("*", "", true),
            ("v?rt-*", "virt-9.2", true),
            ("a*b*c", "axxbxxb", false),
            ("a*b*c", "axxbxxc", true),
            ("virt", "virt-9", false),
        ] {
            let found = matches(pattern.as_bytes(), text.as_bytes());
            assert_eq!(found, expected, "{pattern} {text}");
        }
    }
}
