//! Networks that QEMU makes by itself: its own stack, and sockets between guests.

use super::super::build::{Build, Props};
use model::domain::devices::interface::*;

impl Build<'_> {
    pub(super) fn user_net(
        &mut self,
        nic: &Interface,
        alias: &str,
        element: &str,
    ) -> Option<Props> {
        let passt =
            nic.backend.as_ref().is_some_and(|backend| backend.kind == Some(NetBackendType::Passt));
        if passt {
            return self.passt(nic, alias, element);
        }
        self.need("netdev.user", element);
        let mut props = Props::default().set("type", "user");
        for ip in &nic.ips {
            let prefix = ip.prefix;
            if ip.family.as_deref() == Some("ipv6") || ip.address.contains(':') {
                props = props.set("ipv6-prefix", ip.address.clone()).opt("ipv6-prefixlen", prefix);
            } else {
                let net = match prefix {
                    Some(prefix) => format!("{}/{prefix}", ip.address),
                    None => ip.address.clone(),
                };
                props = props.set("net", net);
            }
        }
        Some(props)
    }

    pub(super) fn socket_net(&mut self, nic: &Interface, key: &str) -> Option<Props> {
        let source = nic.source.clone().unwrap_or_default();
        let address = source.address.unwrap_or_default();
        let port = source.port.unwrap_or(0);
        let props = Props::default().set("type", "socket");
        Some(props.set(key, format!("{address}:{port}")))
    }

    pub(super) fn udp_net(&mut self, nic: &Interface) -> Option<Props> {
        let source = nic.source.clone().unwrap_or_default();
        let address = source.address.unwrap_or_default();
        let port = source.port.unwrap_or(0);
        let mut props =
            Props::default().set("type", "socket").set("udp", format!("{address}:{port}"));
        if let Some(local) = &source.local {
            props = props.set("localaddr", format!("{}:{}", local.address, local.port));
        }
        Some(props)
    }
}
