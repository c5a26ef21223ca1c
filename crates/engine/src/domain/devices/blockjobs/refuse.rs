//! What a job of a disk's images stands in the way of.

use super::job::BlockJob;
use diag::{ErrorCode, VirError};
use model::domain::Domain as Definition;
use model::domain::devices::disk::{Disk, DiskBus, StorageType};

/// Refuses what cannot be done to a disk while a job works on its images.
///
/// # Errors
/// libvirt's: the disk has a job.
pub(in crate::domain) fn refuse_working(jobs: &[BlockJob], disk: &Disk) -> Result<(), VirError> {
    refuse_mirrored(disk)?;
    match jobs.iter().any(|job| job.disk == disk.target.dev) {
        true => Err(VirError::new(ErrorCode::OPERATION_UNSUPPORTED, working(disk))),
        false => Ok(()),
    }
}

/// The same for jobs with another image that the guest may go on with.
///
/// # Errors
/// As [`refuse_working`].
pub(in crate::domain) fn refuse_mirrored(disk: &Disk) -> Result<(), VirError> {
    match disk.mirror {
        Some(_) => Err(VirError::new(ErrorCode::BLOCK_COPY_ACTIVE, working(disk))),
        None => Ok(()),
    }
}

fn working(disk: &Disk) -> String {
    format!("disk '{}' already in active block job", disk.target.dev)
}

/// The place of the disk that a client names, if a job can work on its images.
///
/// # Errors
/// libvirt's: there is none, its kind has no jobs, or it has one.
pub(super) fn free_disk(
    definition: &Definition,
    jobs: &[BlockJob],
    name: &str,
) -> Result<usize, VirError> {
    let disk = crate::domain::hardware::block::named_disk(definition, name)?;
    let target = &disk.target.dev;
    let unsupported = if disk.kind == StorageType::Vhostuser {
        Some(format!("block jobs are not supported on vhostuser disk '{target}'"))
    } else if disk.transient.is_some() {
        Some(format!("block jobs are not supported on transient disk '{target}'"))
    } else if disk.target.bus == Some(DiskBus::Sd) {
        Some(format!("block jobs are not supported on disk '{target}' using bus 'sd'"))
    } else {
        None
    };
    if let Some(text) = unsupported {
        return Err(VirError::new(ErrorCode::OPERATION_UNSUPPORTED, text));
    }
    refuse_working(jobs, disk)?;
    let disks = definition.devices.as_ref().map_or(&[][..], |devices| &devices.disks);
    let place = disks.iter().position(|each| each.target.dev == *target);
    place.ok_or_else(|| VirError::internal("the disk is not there"))
}
