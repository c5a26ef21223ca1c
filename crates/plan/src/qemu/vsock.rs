//! Sockets between host and guest.

use super::build::{Build, Props, cid_mark, fd_mark};
use super::words::YesNo;
use crate::step::{Action, Step};

/// The kernel's side of the device.
const DEVICE: &str = "/dev/vhost-vsock";

impl Build<'_> {
    /// The vsock device. The kernel's half is opened and given its address before QEMU starts.
    pub(super) fn vsocks(&mut self) {
        for vsock in self.each("devices/vsock", &self.dev.vsocks) {
            self.need("vhost-vsock", "<vsock>");
            let id = self.alias(&vsock.alias, "<vsock>");
            let cid = vsock.cid.clone().unwrap_or_default();
            let fixed = cid.address.filter(|_| cid.auto != Some(YesNo::Yes));
            let name = format!("{id}.vsock");
            let open = Action::VhostVsock { path: DEVICE.into(), cid: fixed };
            self.steps.push(Step::new(open).yields(name.clone()));
            let driver = self.virtio_name("vhost-vsock", &vsock.address, vsock.model);
            let props = Props::device(&driver)
                .extend(Self::virtio_options(vsock.driver.as_ref()))
                .set("id", id);
            let props = match fixed {
                Some(cid) => props.set("guest-cid", cid),
                None => props.set("guest-cid", cid_mark(&name)),
            };
            let place = self.place(&vsock.address, "<vsock>");
            self.device(props.set("vhostfd", fd_mark(&name)).extend(place));
        }
    }
}
