//! Memory shared between guests.

use super::build::{Build, Props, Switch};
use super::chardev::{Backend, Socket, SocketAddress};
use model::domain::devices::shmem::*;

impl Build<'_> {
    /// All shared memory devices.
    pub(super) fn shmems(&mut self) {
        for shmem in self.each("devices/shmem", &self.dev.shmems) {
            let element = format!("<shmem> '{}'", shmem.name);
            let id = self.alias(&shmem.alias, &element);
            match shmem.model.as_ref().map(|model| model.kind).unwrap_or_default() {
                ShmemModelName::IvshmemPlain => {
                    self.need("ivshmem-plain", &element);
                    let backend = format!("shmmem-{id}");
                    let object = Props::object("memory-backend-file", &backend)
                        .set("mem-path", format!("/dev/shm/{}", shmem.name))
                        .set("size", self.shmem_size(shmem))
                        .set("share", true);
                    self.object(object);
                    let master = shmem.role.map(|role| match role {
                        ShmemRole::Master => "on",
                        ShmemRole::Peer => "off",
                    });
                    let props = Props::device("ivshmem-plain")
                        .set("id", id)
                        .set("memdev", backend)
                        .opt("master", master);
                    let place = self.place(&shmem.address, &element);
                    self.device(props.extend(place));
                }
                ShmemModelName::IvshmemDoorbell => {
                    self.need("ivshmem-doorbell", &element);
                    let msi = shmem.msi.clone().unwrap_or_default();
                    let chardev = format!("char{id}");
                    let props = Props::device("ivshmem-doorbell")
                        .set("id", id)
                        .set("chardev", chardev.clone())
                        .opt("vectors", msi.vectors.filter(|vectors| *vectors > 0))
                        .set("ioeventfd", msi.ioeventfd.is_none_or(Switch::on));
                    let place = self.place(&shmem.address, &element);
                    self.device(props.extend(place));
                    let server = shmem.server.as_ref().and_then(|server| server.path.clone());
                    let path = server.unwrap_or_else(|| server_path(&shmem.name));
                    let socket = Socket::connect(SocketAddress::Unix(path));
                    self.chardev_option(&chardev, &Backend::Socket(socket), None);
                }
                ShmemModelName::Ivshmem => {
                    self.fail("qemu.shmem", "ivshmem device is no longer supported");
                }
            }
        }
    }

    /// Bytes of a shared memory; 4 MiB where the domain says nothing.
    fn shmem_size(&mut self, shmem: &Shmem) -> u64 {
        let Some(size) = &shmem.size else {
            return 4 << 20;
        };
        let limit = u64::MAX;
        units::scale(size.size, size.unit.as_deref(), 1 << 20, limit).unwrap_or_else(|error| {
            self.fail("qemu.shmem", format!("<shmem> '{}': {error}", shmem.name));
            0
        })
    }
}

/// The socket of a server that is not said to be elsewhere.
pub(super) fn server_path(name: &str) -> String {
    format!("/var/lib/libvirt/shmem-{name}-sock")
}
