//! Interfaces whose packets another process or a device of the host moves: vhost-user and vDPA.

use super::super::build::{Build, Props, comma};
use crate::step::{Access, Action, Step};
use model::domain::devices::interface::*;
use xml::YesNo;

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
        let (path, server, reconnect) = if passt {
            (self.passt_process(nic, alias, true), false, Some(5))
        } else {
            let reconnect =
                source.reconnect.as_ref().and_then(|reconnect| match reconnect.enabled {
                    Some(YesNo::Yes) => Some(reconnect.timeout.unwrap_or(0)),
                    Some(YesNo::No) => Some(0),
                    None => None,
                });
            let server = source.mode.as_deref() == Some("server");
            (source.path.clone().unwrap_or_default(), server, reconnect)
        };
        let mut out = format!("socket,id={chardev},path={}", comma(&path));
        if server {
            out.push_str(",server=on");
        } else if let Some(seconds) = reconnect {
            self.reconnect_option(seconds, &mut out);
        }
        self.opt("-chardev", &out);
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
