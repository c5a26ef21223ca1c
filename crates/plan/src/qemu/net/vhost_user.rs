//! Interfaces whose packets another process or a device of the host moves: vhost-user and vDPA.

use super::super::build::{Build, Props};
use super::super::chardev::{Backend, Socket, SocketAddress, reconnect};
use crate::step::{Access, Action, Step};
use model::domain::devices::interface::*;

impl Build<'_> {
    /// A vhost-user socket and the network behind it.
    pub(super) fn vhost_user_net(
        &mut self,
        nic: &Interface,
        alias: &str,
        queues: Option<u32>,
    ) -> Option<Props> {
        let source = nic.source.clone().unwrap_or_default();
        let passt = nic.backend.as_ref().is_some_and(|b| b.kind == Some(NetBackendType::Passt));
        let chardev = format!("char{alias}");
        let socket = if passt {
            let path = self.passt_process(nic, alias, true);
            Socket { reconnect: Some(5), ..Socket::connect(SocketAddress::Unix(path)) }
        } else {
            let socket =
                Socket::connect(SocketAddress::Unix(source.path.clone().unwrap_or_default()));
            if source.mode.as_deref() == Some("server") {
                // QEMU waits for the process behind it.
                Socket { server: true, ..socket }
            } else {
                Socket { reconnect: reconnect(source.reconnect.as_ref()), ..socket }
            }
        };
        self.chardev_option(&chardev, &Backend::Socket(socket), None);
        Some(
            Props::default()
                .set("type", "vhost-user")
                .set("chardev", chardev)
                .opt("queues", queues),
        )
    }

    /// A vDPA device, opened by us.
    pub(super) fn vdpa_net(
        &mut self,
        nic: &Interface,
        alias: &str,
        element: &str,
        queues: Option<u32>,
    ) -> Option<Props> {
        self.need("netdev.vhost-vdpa", element);
        let path = nic.source.as_ref().and_then(|source| source.dev.clone()).unwrap_or_default();
        let open = Action::OpenFile { path, access: Access::ReadWrite, create_append: false };
        let name = format!("{alias}-vdpa");
        self.steps.push(Step::new(open).yields(name.clone()));
        let set = self.fdset(&name, &name);
        Some(Props::default().set("type", "vhost-vdpa").set("vhostdev", set).opt("queues", queues))
    }
}
