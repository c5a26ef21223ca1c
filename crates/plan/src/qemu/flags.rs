//! `<qemu:capabilities>`: what the user says the emulator can and cannot do.

use diag::{Diagnostic, ErrorCode, Severity};
use model::capabilities::qemu::{QemuCaps, known_flag};
use model::domain::Domain;
use std::borrow::Cow;

/// The emulator's capabilities with what the domain adds and takes away.
///
/// # Errors
/// A flag that does not exist.
pub(super) fn adjusted<'a>(
    caps: &'a QemuCaps,
    domain: &Domain,
) -> Result<Cow<'a, QemuCaps>, Vec<Diagnostic>> {
    let Some(wanted) = &domain.qemu_capabilities else { return Ok(Cow::Borrowed(caps)) };
    let unknown = |name: &str| Diagnostic {
        rule: "qemu.capabilities",
        severity: Severity::Error,
        code: ErrorCode::INTERNAL_ERROR,
        span: None,
        message: format!("invalid qemu namespace capability '{name}'"),
        domain: None,
        hints: Vec::new(),
    };
    let mut all = wanted.added.iter().chain(&wanted.deleted);
    if let Some(flag) = all.find(|flag| known_flag(&flag.capability).is_none()) {
        return Err(vec![unknown(&flag.capability)]);
    }
    let mut caps = caps.clone();
    caps.flags.extend(wanted.added.iter().map(|flag| flag.capability.clone()));
    for flag in &wanted.deleted {
        caps.flags.remove(&flag.capability);
    }
    Ok(Cow::Owned(caps))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::recorded::caps;
    use model::domain::qemu_namespace::{QemuCapabilities, QemuCapability};

    fn domain(added: &[&str], deleted: &[&str]) -> Domain {
        let flags = |names: &[&str]| {
            let flag = |name: &&str| QemuCapability { capability: (*name).to_string() };
            names.iter().map(flag).collect()
        };
        Domain {
            qemu_capabilities: Some(QemuCapabilities {
                added: flags(added),
                deleted: flags(deleted),
            }),
            ..Domain::default()
        }
    }

    #[test]
    fn flags_come_and_go() {
        let caps = caps();
        assert!(caps.has("seccomp-sandbox") && !caps.has("zpci"));
        let domain = domain(&["zpci"], &["seccomp-sandbox"]);
        let changed = adjusted(&caps, &domain).unwrap();
        assert!(!changed.has("seccomp-sandbox") && changed.has("zpci"));
    }

    #[test]
    fn flags_that_do_not_exist_are_refused() {
        for domain in [domain(&["blah"], &[]), domain(&[], &["blah"])] {
            let faults = adjusted(&caps(), &domain).unwrap_err();
            assert_eq!(faults[0].message, "invalid qemu namespace capability 'blah'");
        }
    }
}
