//! State of emulated TPMs, which outlives the guest's runs.

use diag::VirError;
use model::domain::Domain as Definition;
use model::domain::devices::tpm::TpmBackendType;
use plan::qemu::Settings;
use std::path::Path;
use xml::YesNo;

/// Removes the TPM state of a domain that is gone. What the definition wants to persist stays
/// unless `always`.
///
/// # Errors
/// When it cannot be removed; that there is none is no error.
pub(in crate::domain) fn forget(
    settings: &Settings,
    definition: &Definition,
    always: bool,
) -> Result<(), VirError> {
    let tpms = definition.devices.iter().flat_map(|devices| &devices.tpms);
    let ours = tpms.into_iter().any(|tpm| {
        tpm.backend.kind == TpmBackendType::Emulator
            && tpm.backend.source.is_none()
            && (always || tpm.backend.persistent_state != Some(YesNo::Yes))
    });
    let Some(uuid) = definition.uuid.filter(|_| ours) else { return Ok(()) };
    let path = Path::new(&settings.swtpm_storage_dir).join(uuid.to_string());
    match std::fs::remove_dir_all(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(VirError::failed(format!(
                "failed to remove TPM state '{}': {}",
                path.display(),
                crate::domain::stored::store::os_words(&error)
            )))
        }
        _ => Ok(()),
    }
}
