//! Disks: `-blockdev` chains and the drives that show them.

mod check;
pub(in crate::qemu) mod device;
mod nodes;
mod number;
mod place;
pub(crate) mod private;
mod sd;
mod throttle;

pub use throttle::{drive_id, filter_nodes};
mod vhost_user;

pub(super) use nodes::{has_managed_reservations, secret_by};
pub(super) use number::{
    add_chain, add_data, descriptor_groups, images_numbered, nodes_of_descriptors, number_disk,
    number_images, resolve_volumes, restore_volumes,
};

use super::build::Build;
use crate::block::names_something;
use model::domain::devices::disk::*;
use xml::YesNo;

/// Whether there is a medium in the drive.
pub(super) fn has_source(disk: &Disk) -> bool {
    disk.source.as_ref().is_some_and(|source| names_something(disk.kind, source))
}

/// The disk's overlay shares its image with other guests: it is made and plugged in once QEMU runs.
fn is_plugged_later(disk: &Disk) -> bool {
    disk.transient.as_ref().is_some_and(|transient| transient.share_backing == Some(YesNo::Yes))
}

impl Build<'_> {
    /// All disks.
    pub(super) fn disks(&mut self) {
        let orders = self.boot_orders();
        if self.dev.disks.iter().any(|disk| disk.target.bus == Some(DiskBus::Fdc)) && !self.q35() {
            // The controller is part of the board.
            for (unit, letter) in [(0, 'A'), (1, 'B')] {
                if let Some(boot) = self.floppy_boot_index(unit) {
                    self.opt("-global", &format!("isa-fdc.bootindex{letter}={boot}"));
                }
            }
        }
        self.number_descriptors();
        for (position, disk) in self.each("devices/disk", &self.dev.disks).enumerate() {
            if is_plugged_later(disk) {
                continue;
            }
            let boot = orders.disks.get(position).copied().flatten();
            self.disk(disk, boot);
        }
    }

    fn disk(&mut self, disk: &Disk, boot: Option<u32>) {
        let element = format!("<disk> '{}'", disk.target.dev);
        self.check_disk(disk, &element);
        if disk.target.bus == Some(DiskBus::Sd) {
            self.sd_card(disk, &element);
            return;
        }
        if disk.kind == StorageType::Vhostuser {
            self.vhost_user_blk(disk, &element, boot);
            return;
        }
        let Some(top) = self.disk_nodes(disk, &element) else {
            return;
        };
        if let Some(props) = self.drive(disk, &element, top.as_deref(), boot) {
            self.because("the drive that shows the image to the guest");
            self.device(props);
        }
        self.iotune(disk);
    }
}
