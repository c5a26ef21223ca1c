//! What a stored definition has already when a device is to come to it.

use super::device::Device;
use super::error;
use super::find;
use super::support::is_serial_console;
use crate::domain::Domain;
use crate::domain::devices::controller::ControllerType;
use diag::{ErrorCode, VirError};

/// Refuses a device that a stored definition has already.
///
/// # Errors
/// libvirt's words for each kind.
pub fn refuse_duplicate(domain: &Domain, device: &Device) -> Result<(), VirError> {
    let Some(devices) = domain.devices.as_ref() else { return Ok(()) };
    if let Device::Console(console) = device
        && is_serial_console(console)
    {
        let text = "attaching serial console is not supported";
        return Err(error(ErrorCode::OPERATION_UNSUPPORTED, text));
    }
    let text = match device {
        Device::Disk(disk) => devices
            .disks
            .iter()
            .any(|there| there.target.dev == disk.target.dev)
            .then(|| format!("target {} already exists", disk.target.dev)),
        Device::Controller(controller) => {
            let there = |index: u32| {
                devices
                    .controllers
                    .iter()
                    .any(|there| there.kind == controller.kind && there.index == Some(index))
            };
            let taken = controller
                .index
                .filter(|index| controller.kind != ControllerType::Pci && there(*index));
            taken.map(|index| format!("controller index='{index}' already exists"))
        }
        Device::Filesystem(fs) => devices
            .filesystems
            .iter()
            .any(|there| there.target.dir == fs.target.dir)
            .then(|| "Target already exists".to_owned()),
        Device::Lease(lease) => devices
            .leases
            .iter()
            .any(|there| there.key == lease.key && there.lockspace == lease.lockspace)
            .then(|| {
                let space = lease.lockspace.clone();
                format!("Lease {} in lockspace {} already exists", lease.key, find::text(&space))
            }),
        Device::Hostdev(_) | Device::Shmem(_) | Device::Watchdog(_) => find::stored(domain, device)
            .is_ok()
            .then(|| "device is already in the domain configuration".to_owned()),
        Device::Serial(_) | Device::Parallel(_) | Device::Channel(_) => {
            find::same_chardev_target(devices, device).then(|| "chardev already exists".to_owned())
        }
        Device::Rng(_) | Device::Input(_) => None,
        Device::Vsock(_) => {
            (!devices.vsocks.is_empty()).then(|| "domain already has a vsock device".to_owned())
        }
        Device::Iommu(_) => {
            (!devices.iommus.is_empty()).then(|| "domain already has an iommu device".to_owned())
        }
        _ => None,
    };
    match text {
        Some(text) => Err(error(ErrorCode::OPERATION_INVALID, text)),
        None => Ok(()),
    }
}
