//! Disks served by another process over vhost-user.

use super::super::build::{Build, Props};
use super::super::chardev::{Backend, Socket, SocketAddress};
use model::domain::devices::disk::*;
use xml::YesNo;

impl Build<'_> {
    /// The socket and the device of a vhost-user disk.
    pub(super) fn vhost_user_blk(&mut self, disk: &Disk, element: &str, boot: Option<u32>) {
        self.need("vhost-user-blk", element);
        let id = self.alias(&disk.alias, element);
        let chardev = format!("chr-vu-{id}");
        let source = disk.source.clone().unwrap_or_default();
        let path = source.hosts.first().and_then(|host| host.socket.clone()).or(source.path);
        let socket = Socket {
            reconnect: source.reconnect.as_ref().and_then(|reconnect| match reconnect.enabled? {
                YesNo::Yes => Some(reconnect.timeout.unwrap_or(0)),
                YesNo::No => Some(0),
            }),
            ..Socket::connect(SocketAddress::Unix(path.unwrap_or_default()))
        };
        self.chardev_option(&chardev, &Backend::Socket(socket), None);
        let driver = disk.driver.clone().unwrap_or_default();
        let name = self.virtio_name("vhost-user-blk", &disk.address, disk.model);
        let mut props = Props::device(&name)
            .extend(Self::virtio_options(Some(&driver.virtio)))
            .opt("num-queues", driver.queues)
            .opt("queue-size", driver.queue_size);
        props = props.extend(self.place(&disk.address, element));
        if let Some(index) = disk.acpi.as_ref().and_then(|acpi| acpi.index) {
            props = props.set("acpi-index", index);
        }
        props = props.set("chardev", chardev).set("id", id).opt("bootindex", boot);
        self.device(props);
    }
}
