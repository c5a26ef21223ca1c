//! Bringing a snapshot in line with the disks of its domain.

use diag::VirError;

use super::{Snapshot, SnapshotDisk, SnapshotDisks, State};
use crate::domain::devices::disk::{Disk, DiskSource, SnapshotMode, StorageType};
use crate::moment;

impl Snapshot {
    /// What a snapshot that was there before says of disks it does not speak of: the mode, and
    /// whether all disks must have it.
    pub fn redefined_mode(&self) -> (SnapshotMode, bool) {
        if self.state == Some(State::DiskSnapshot) || self.is_external() {
            (SnapshotMode::External, false)
        } else {
            (SnapshotMode::Internal, true)
        }
    }

    /// Speaks of every disk of the domain, by its name in the guest and in its order. Disks that are
    /// not listed get `default`, unless they are empty or the domain says something else; with
    /// `uniform` no disk may have another mode. New images get names made of the old ones.
    ///
    /// # Errors
    /// Disks that do not fit; libvirt's code and words.
    pub fn align(
        &mut self,
        domain: &[Disk],
        default: SnapshotMode,
        uniform: bool,
    ) -> Result<(), VirError> {
        let given = self.disks.take().unwrap_or_default().disks;
        let mut places = moment::place(domain, given, |disk| &disk.name, "snapshot")?;
        let mut disks = Vec::with_capacity(domain.len());
        for (own, place) in domain.iter().zip(&mut places) {
            let name = own.target.dev.clone();
            // What must not be written is not taken.
            let configured = own.snapshot.or(own.readonly.then_some(SnapshotMode::No));
            let mode =
                configured.filter(|mode| !uniform || *mode == SnapshotMode::No).unwrap_or(default);
            let listed = place.is_some();
            let mut disk = place.take().unwrap_or_default();
            disk.name = name;
            match disk.snapshot {
                Some(given) if uniform && given != default => {
                    let left_out = given == SnapshotMode::No;
                    if !(left_out && configured == Some(SnapshotMode::No)) {
                        let message =
                            format!("disk '{}' must use snapshot mode '{default}'", disk.name);
                        return Err(VirError::config(message));
                    }
                }
                Some(_) => {}
                None if !listed && moment::is_empty(own) => disk.snapshot = Some(SnapshotMode::No),
                None => disk.snapshot = Some(mode),
            }
            if let (Some(path), true) = (disk.path(), disk.snapshot != Some(SnapshotMode::External))
            {
                let message = format!(
                    "file '{path}' for disk '{}' requires use of external snapshot mode",
                    disk.name
                );
                return Err(VirError::config(message));
            }
            disks.push(disk);
        }
        let suffix = self.name.as_deref().unwrap_or_default();
        for at in 0..disks.len() {
            let Some((disk, own)) = disks.get(at).zip(domain.get(at)) else { continue };
            if disk.snapshot != Some(SnapshotMode::External) || disk.path().is_some() {
                continue;
            }
            let path = new_image(disk, own, suffix)?;
            let taken = disks.iter().find(|other| other.path() == Some(path.as_str()));
            if let Some(other) = taken {
                let message = format!(
                    "cannot generate external snapshot name for disk '{}': collision with disk '{}'",
                    disk.name, other.name
                );
                return Err(VirError::config(message));
            }
            if let Some(disk) = disks.get_mut(at) {
                disk.source = Some(DiskSource { file: Some(path), ..DiskSource::default() });
            }
        }
        self.disks = Some(SnapshotDisks { disks }).filter(|list| !list.disks.is_empty());
        Ok(())
    }
}

/// The path of a new image: that of the old one, the snapshot's name in place of the suffix.
fn new_image(disk: &SnapshotDisk, own: &Disk, suffix: &str) -> Result<String, VirError> {
    let name = &disk.name;
    if disk.kind != StorageType::File {
        return Err(VirError::config(format!(
            "cannot generate external snapshot name for disk '{name}' on a '{}' device",
            disk.kind
        )));
    }
    let Some(path) = moment::source_path(own) else {
        return Err(VirError::config(format!(
            "cannot generate external snapshot name for disk '{name}' without source"
        )));
    };
    if own.kind != StorageType::File {
        return Err(VirError::config(format!(
            "source for disk '{name}' is not a regular file; refusing to generate external \
             snapshot name"
        )));
    }
    let file = path.rfind('/').map_or(0, |slash| slash + 1);
    let stem = match path.get(file..).and_then(|name| name.rfind('.')) {
        Some(dot) => path.get(..file + dot).unwrap_or(path),
        None => path,
    };
    Ok(format!("{stem}.{suffix}"))
}
