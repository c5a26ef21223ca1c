//! Merging of equal memory pages by the kernel (KSM): its settings and counters in sysfs.

use crate::domain::stored::store::os_words;
use diag::{ErrorCode, ErrorDomain, VirError};
use std::path::Path;

/// Where the kernel shows it.
const FOLDER: &str = "/sys/kernel/mm/ksm";

/// libvirt's name, the kernel's, whether it is a wide counter, whether it can be set. In libvirt's
/// order.
const ENTRIES: &[(&str, &str, bool, bool)] = &[
    ("shm_pages_to_scan", "pages_to_scan", false, true),
    ("shm_sleep_millisecs", "sleep_millisecs", false, true),
    ("shm_pages_shared", "pages_shared", true, false),
    ("shm_pages_sharing", "pages_sharing", true, false),
    ("shm_pages_unshared", "pages_unshared", true, false),
    ("shm_pages_volatile", "pages_volatile", true, false),
    ("shm_full_scans", "full_scans", true, false),
    ("shm_merge_across_nodes", "merge_across_nodes", false, true),
];

/// A value in the width that libvirt gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// A setting.
    UInt(u32),
    /// A counter.
    ULLong(u64),
}

/// What there is of libvirt's memory parameters, by its names; nothing on kernels without KSM.
pub fn read() -> Vec<(&'static str, Value)> {
    ENTRIES
        .iter()
        .filter_map(|(name, file, wide, _)| {
            let text = std::fs::read_to_string(Path::new(FOLDER).join(file)).ok()?;
            let value = if *wide {
                Value::ULLong(text.trim().parse().ok()?)
            } else {
                Value::UInt(text.trim().parse().ok()?)
            };
            Some((*name, value))
        })
        .collect()
}

/// Sets parameters by libvirt's names. All names are checked before the first is set.
///
/// # Errors
/// A name that is none or cannot be set, or the kernel's refusal.
pub fn write(changes: &[(&str, u32)]) -> Result<(), VirError> {
    let mut writes = Vec::new();
    for (name, value) in changes {
        let entry = ENTRIES.iter().find(|(known, _, _, settable)| known == name && *settable);
        let Some((_, file, _, _)) = entry else {
            return Err(VirError::new(
                ErrorCode::ARGUMENT_UNSUPPORTED,
                format!("parameter '{name}' not supported"),
            )
            .from_domain(ErrorDomain::NONE));
        };
        let path = Path::new(FOLDER).join(file);
        if !path.exists() {
            return Err(VirError::new(
                ErrorCode::OPERATION_UNSUPPORTED,
                format!("Parameter '{file}' is not supported by this kernel"),
            )
            .from_domain(ErrorDomain::NONE));
        }
        writes.push((*name, path, *value));
    }
    for (name, path, value) in writes {
        std::fs::write(&path, value.to_string()).map_err(|error| {
            VirError::new(
                ErrorCode::SYSTEM_ERROR,
                format!("failed to set {name}: {}", os_words(&error)),
            )
            .from_domain(ErrorDomain::NONE)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_unknown_names_are_refused() {
        for name in ["shm_pages_shared", "foo", ""] {
            let error = write(&[(name, 1)]).expect_err(name);
            assert_eq!(error.code, ErrorCode::ARGUMENT_UNSUPPORTED, "{name}");
        }
    }
}
