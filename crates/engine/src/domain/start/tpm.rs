//! State of emulated TPMs, which outlives the guest's runs.

use diag::VirError;
use model::domain::Domain as Definition;
use model::domain::devices::tpm::TpmBackendType;
use plan::qemu::Settings;
use std::io::ErrorKind;
use std::path::Path;
use xml::YesNo;

/// What swtpm keeps in a folder of its own or of the administrator's.
const FILES: [&str; 6] = [
    "tpm-00.permall",
    "tpm-00.volatilestate",
    "tpm2-00.permall",
    "tpm2-00.volatilestate",
    "tpm2-00.savestate",
    ".lock",
];

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
    for tpm in tpms {
        let backend = &tpm.backend;
        if backend.kind != TpmBackendType::Emulator
            || !always && backend.persistent_state == Some(YesNo::Yes)
        {
            continue;
        }
        match (&backend.source, definition.uuid) {
            (Some(source), _) if source.kind == "file" => {
                remove(Path::new(&source.path), |path| std::fs::remove_file(path))?;
            }
            (Some(source), _) => forget_in(Path::new(&source.path))?,
            (None, Some(uuid)) => {
                let path = Path::new(&settings.swtpm_storage_dir).join(uuid.to_string());
                remove(&path, |path| std::fs::remove_dir_all(path))?;
            }
            (None, None) => {}
        }
    }
    Ok(())
}

/// Removes the state from a folder that the administrator named, and the folder when nothing else
/// is in it: what others keep there is not ours to delete, which libvirt does.
fn forget_in(folder: &Path) -> Result<(), VirError> {
    for name in FILES {
        remove(&folder.join(name), |path| std::fs::remove_file(path))?;
    }
    remove(folder, |path| match std::fs::remove_dir(path) {
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
        other => other,
    })
}

fn remove(path: &Path, how: impl Fn(&Path) -> std::io::Result<()>) -> Result<(), VirError> {
    match how(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(VirError::failed(format!(
            "failed to remove TPM state '{}': {}",
            path.display(),
            crate::domain::stored::store::os_words(&error)
        ))),
        _ => Ok(()),
    }
}
