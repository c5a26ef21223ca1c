//! Bringing a backup in line with the disks of its domain.

use diag::VirError;
use xml::YesNo;

use super::{Backup, BackupDisk, BackupDisks, BackupMode, DiskMode, Store, StoreType};
use crate::domain::devices::disk::{Disk, StorageType};
use crate::moment;

impl Backup {
    /// The disks it speaks of.
    pub fn disks(&self) -> &[BackupDisk] {
        self.disks.as_ref().map_or(&[], |disks| &disks.disks)
    }

    /// Speaks of every disk of the domain, gives each a place to be copied to (its image's name with
    /// a suffix, where none is given), and says how much is copied. Without a list every disk that
    /// can be written is copied; with one, those listed.
    ///
    /// # Errors
    /// Disks that do not fit; libvirt's code and words.
    pub fn align(&mut self, domain: &[Disk], suffix: &str) -> Result<(), VirError> {
        if domain.is_empty() {
            let message = "domain must have at least one disk to perform backup";
            return Err(VirError::config(message));
        }
        let mut disks = self.disks.take().unwrap_or_default().disks;
        let all = disks.is_empty();
        let mut listed = vec![false; domain.len()];
        for disk in &mut disks {
            let found = domain.iter().position(|own| own.target.dev == disk.name);
            let (Some(at), Some(own)) = (found, found.and_then(|at| domain.get(at))) else {
                return Err(VirError::config(format!("no disk named '{}'", disk.name)));
            };
            if listed.get(at) == Some(&true) {
                return Err(VirError::config(format!("disk '{}' specified twice", disk.name)));
            }
            listed[at] = true;
            if disk.backup == YesNo::Yes {
                self.mode.place(disk, own, suffix)?;
            }
        }
        for (own, _) in domain.iter().zip(&listed).filter(|(_, listed)| !**listed) {
            let mut disk = BackupDisk::left_out(own.target.dev.clone());
            if all && !moment::is_empty(own) && !own.readonly {
                disk.backup = YesNo::Yes;
                self.mode.place(&mut disk, own, suffix)?;
            }
            disks.push(disk);
        }
        for disk in disks.iter_mut().filter(|disk| disk.backup == YesNo::Yes) {
            if disk.backupmode != Some(DiskMode::Full) && disk.incremental.is_none() {
                disk.incremental.clone_from(&self.incremental);
            }
            if disk.backupmode == Some(DiskMode::Incremental) && disk.incremental.is_none() {
                let message =
                    format!("disk '{}' has no checkpoint to be incremental to", disk.name);
                return Err(VirError::config(message));
            }
            let mode = match disk.incremental {
                Some(_) => DiskMode::Incremental,
                None => DiskMode::Full,
            };
            disk.backupmode = Some(mode);
        }
        self.disks = Some(BackupDisks { disks });
        Ok(())
    }
}

impl BackupMode {
    /// Gives a disk's copy a place.
    fn place(self, disk: &mut BackupDisk, own: &Disk, suffix: &str) -> Result<(), VirError> {
        if moment::is_empty(own) {
            return Err(VirError::config(format!("disk '{}' has no media", disk.name)));
        }
        let store = match self {
            Self::Pull => &mut disk.scratch,
            Self::Push => &mut disk.target,
        };
        if store.is_none() {
            let path = moment::source_path(own).filter(|_| own.kind == StorageType::File);
            let Some(path) = path.filter(|_| disk.kind != Some(StoreType::Block)) else {
                let message = format!("refusing to generate file name for disk '{}'", disk.name);
                return Err(VirError::config(message));
            };
            *store = Some(Store { file: Some(format!("{path}.{suffix}")), ..Store::default() });
        }
        disk.kind.get_or_insert(StoreType::File);
        Ok(())
    }
}
