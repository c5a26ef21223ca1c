//! What a disk asks for that this emulator cannot give.

use super::super::build::Build;
use model::domain::devices::disk::*;

impl Build<'_> {
    /// Notes what stands in the way of a disk.
    pub(super) fn check_disk(&mut self, disk: &Disk, element: &str) {
        let driver = disk.driver.clone().unwrap_or_default();
        if driver.io == Some(IoMode::IoUring) {
            self.need("aio.io_uring", "<driver io='io_uring'>");
        }
        if driver.discard_no_unref.is_some() {
            self.need("qcow2-discard-no-unref", "<driver discard_no_unref>");
        }
        if driver.iothreads.is_some() {
            self.need("virtio-blk.iothread-mapping", "<driver><iothreads>");
        }
        if disk.kind == StorageType::Nvme {
            self.need("drive-nvme", element);
        }
        if disk.kind == StorageType::Vhostvdpa {
            self.need("virtio-blk-vhost-vdpa", element);
        }
        let source = disk.source.as_ref();
        if source.is_some_and(|source| source.reservations.is_some()) {
            self.need("pr-manager-helper", element);
        }
        let encryption = source.and_then(|source| source.encryption.as_deref());
        let encryption = encryption.or(disk.encryption.as_deref());
        let librbd = |encryption: &&Encryption| encryption.engine.as_deref() == Some("librbd");
        if let Some(encryption) = encryption.filter(librbd) {
            self.need("rbd-encryption", &format!("{element}: librbd encryption"));
            if encryption.secrets.len() > 1 {
                self.need("rbd-encryption-layering", &format!("{element}: layered encryption"));
            }
            if encryption.format == "luks-any" {
                self.need("rbd-encryption-luks-any", &format!("{element}: luks-any encryption"));
            }
        }
    }
}
