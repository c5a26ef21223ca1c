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
        // What must not be written is not taken.
        let configured = |own: &Disk| own.snapshot.or(own.readonly.then_some(SnapshotMode::No));
        let left_out = |own: &Disk| configured(own) == Some(SnapshotMode::No);
        let usual =
            |own: &Disk| configured(own).filter(|_| !uniform || left_out(own)).unwrap_or(default);
        let fits = |disk: &SnapshotDisk, own: &Disk| {
            let name = &own.target.dev;
            let mode = disk.snapshot.unwrap_or_else(|| usual(own));
            let given = disk.snapshot.is_some_and(|mode| mode != default);
            if uniform && given && !(mode == SnapshotMode::No && left_out(own)) {
                let message = format!("disk '{name}' must use snapshot mode '{default}'");
                return Err(VirError::config(message));
            }
            if let (Some(path), true) = (disk.path(), mode != SnapshotMode::External) {
                let message = format!(
                    "file '{path}' for disk '{name}' requires use of external snapshot mode"
                );
                return Err(VirError::config(message));
            }
            Ok(())
        };
        let places = moment::place(domain, given, |disk| &disk.name, fits, "snapshot")?;
        let mut disks: Vec<SnapshotDisk> = Vec::with_capacity(domain.len());
        for (own, place) in domain.iter().zip(places) {
            let empty = place.is_none() && moment::is_empty(own);
            let mode = if empty { SnapshotMode::No } else { usual(own) };
            let mut disk = place.unwrap_or_default();
            disk.name.clone_from(&own.target.dev);
            disk.snapshot.get_or_insert(mode);
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
                disk.source.get_or_insert_with(DiskSource::default).file = Some(path);
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
