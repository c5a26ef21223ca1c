//! Saving, restoring and dumping running guests.
//!
//! A guest's state goes from QEMU into a file by migration: the descriptor is QEMU's, or the end of
//! a pipe to whoever packs the stream or writes it past the page cache. The order of a save: a file
//! of another name, the guest stopped, its state, fsync, the file's own name, and only then QEMU's
//! end. What is under way is noted beside the status file, so that a daemon that takes over knows
//! whether to finish it or to let the guest run on ([`recover`]).

mod dump;
mod image;
mod managed;
mod note;
mod outgoing;
mod progress;
mod recover;
mod restore;
mod save_verb;
mod stream;
mod target;

pub use dump::DumpOptions;
pub(super) use dump::{auto_dump, watchdog_dump};
pub(super) use note::SaveNote;
pub use progress::{ActiveJob, JobNumbers, Jobs, Operation};
pub(super) use recover::{forget_unfinished, go_on};
pub(super) use restore::Incoming;
pub use restore::RestoreOptions;
pub use save_verb::SaveOptions;

use crate::settings::SaveSettings;
use diag::{ErrorCode, VirError};
use model::save_image::{ImageFault, SaveFormat};
use std::path::{Path, PathBuf};

/// The format for a save: the one asked for, else the daemon's. The program that it needs must be
/// there.
fn chosen_format(
    asked: Option<&str>,
    settings: &SaveSettings,
    path: &Path,
) -> Result<SaveFormat, VirError> {
    let format = match asked {
        Some(name) => SaveFormat::parse(name)
            .ok_or_else(|| VirError::failed(format!("Invalid image_format '{name}'")))?,
        None => settings.save_format,
    };
    if let Some(program) = plan::migration::packer(format)
        && program_file(program, path).is_none()
    {
        return Err(VirError::failed(
            "Compression program for save image format in configuration file isn't available",
        )
        .hint(format!("'{program}' is not installed")));
    }
    Ok(format)
}

/// The threads that read or write at once, checked; none for a stream.
fn checked_channels(asked: Option<i32>, format: SaveFormat) -> Result<Option<u32>, VirError> {
    let Some(asked) = asked else { return Ok(None) };
    if format != SaveFormat::Sparse {
        return Err(VirError::invalid_arg(
            "Parallel save is only supported with the 'sparse' save image format",
        ));
    }
    match u32::try_from(asked) {
        Ok(0) | Err(_) => {
            Err(VirError::invalid_arg("number of parallel save channels cannot be less than 1"))
        }
        Ok(channels) if channels > MOST_CHANNELS => Err(VirError::invalid_arg(format!(
            "number of parallel save channels cannot be more than {MOST_CHANNELS}"
        ))),
        Ok(channels) => Ok(Some(channels)),
    }
}

/// QEMU counts them in a byte.
const MOST_CHANNELS: u32 = 255;

/// Where a program is on the daemon's search path.
fn program_file(name: &str, path: &Path) -> Option<PathBuf> {
    let path = path.as_os_str();
    let default = std::ffi::OsStr::new("/usr/sbin:/usr/bin:/sbin:/bin");
    let path = if path.is_empty() { default } else { path };
    std::env::split_paths(path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// What is wrong with an image, as libvirt's error.
fn image_error(fault: &ImageFault) -> VirError {
    VirError::failed(fault.to_string())
}

/// libvirt's error for a file that the system refuses.
fn system_error(what: &str, path: &Path, error: &std::io::Error) -> VirError {
    let words = crate::domain::stored::store::os_words(error);
    VirError::new(
        ErrorCode::SYSTEM_ERROR,
        format!("Failed to {what} file '{}': {words}", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_for_sparse_images_and_few() {
        let text =
            |asked, format| checked_channels(Some(asked), format).map_err(|error| error.detail);
        assert_eq!(text(4, SaveFormat::Sparse), Ok(Some(4)));
        for (asked, format, expected) in [
            (2, SaveFormat::Raw, "only supported with the 'sparse'"),
            (0, SaveFormat::Sparse, "cannot be less than 1"),
            (-1, SaveFormat::Sparse, "cannot be less than 1"),
            (256, SaveFormat::Sparse, "cannot be more than 255"),
        ] {
            let error = text(asked, format).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn formats_are_known_and_their_programs_there() {
        let folder = tempfile::tempdir().expect("folder");
        std::fs::write(folder.path().join("xz"), "").expect("a program");
        let settings = SaveSettings { save_format: SaveFormat::Xz, ..SaveSettings::default() };
        let choose =
            |asked| chosen_format(asked, &settings, folder.path()).map_err(|error| error.detail);
        assert_eq!(choose(None), Ok(SaveFormat::Xz));
        assert_eq!(choose(Some("sparse")), Ok(SaveFormat::Sparse));
        assert_eq!(choose(Some("foo")).expect_err("none"), "Invalid image_format 'foo'");
        assert!(choose(Some("lzop")).expect_err("not there").contains("isn't available"));
    }
}
