//! Network interfaces.

mod check;
mod connect;
mod device;
mod passt;
mod tap;
mod user;
mod vhost_user;

pub(super) use connect::{connected, name_host_devices};

use super::build::Build;
use crate::step::QmpCommand;
use diag::ErrorCode;
use model::domain::devices::interface::*;
use serde_json::json;

impl Build<'_> {
    /// All interfaces.
    pub(super) fn interfaces(&mut self) {
        let orders = self.boot_orders();
        for (position, nic) in self.each("devices/interface", &self.dev.interfaces).enumerate() {
            let boot = orders.interfaces.get(position).copied().flatten();
            self.interface(nic, boot);
        }
    }

    fn interface(&mut self, nic: &Interface, boot: Option<u32>) {
        let mac = nic.mac.as_ref().map_or(String::new(), |mac| mac.address.to_string());
        let element = format!("<interface> '{mac}'");
        let alias = self.alias(&nic.alias, &element);
        self.check_interface(nic);
        let model = nic.model.as_ref().map_or("", |model| model.kind.as_str());
        // A vDPA device is a virtio device whatever the guest is told.
        let virtio = model.starts_with("virtio");
        let driver = nic.driver.clone().unwrap_or_default();
        let queues = driver.queues.filter(|queues| *queues > 1 && virtio);
        let netdev = match nic.kind {
            // It is plugged in among the host's devices.
            InterfaceType::Hostdev => return,
            InterfaceType::User => self.user_net(nic, &alias, &element),
            InterfaceType::Bridge | InterfaceType::Ethernet | InterfaceType::Direct => {
                self.tap_net(nic, &alias, &element, virtio, queues)
            }
            InterfaceType::Server => self.socket_net(nic, "listen"),
            InterfaceType::Client => self.socket_net(nic, "connect"),
            InterfaceType::Mcast => self.socket_net(nic, "mcast"),
            InterfaceType::Udp => self.udp_net(nic),
            InterfaceType::Vhostuser => self.vhost_user_net(nic, &alias, queues),
            InterfaceType::Vdpa => self.vdpa_net(nic, &alias, &element, queues),
            InterfaceType::Network => {
                let name = nic.source.as_ref().and_then(|s| s.network.clone()).unwrap_or_default();
                let message = format!("no network with matching name '{name}'");
                self.fail_with("qemu.interface-network", ErrorCode::NO_NETWORK, message);
                if let Some(fault) = self.faults.last_mut() {
                    let hint = format!(
                        "{element}: virtual networks are not served yet; types 'user' and \
                         'bridge' need none"
                    );
                    fault.hints.push(hint);
                }
                return;
            }
            InterfaceType::Internal | InterfaceType::Null | InterfaceType::Vds => {
                let kind = nic.kind.as_str();
                let text =
                    format!("network device type '{kind}' is not supported by this hypervisor");
                self.fail("qemu.interface", text);
                return;
            }
        };
        let Some(netdev) = netdev else {
            return;
        };
        let id = format!("host{alias}");
        self.because("the host's side of the interface");
        self.netdev(netdev.set("id", id.clone()));
        self.device_net(nic, &driver, virtio, queues, id, &alias, boot, &element);
        if nic.link.as_ref().is_some_and(|link| link.state == LinkState::Down) {
            // The host's end stays up, as with libvirt: the guest sees its cable pulled.
            let text = json!({"execute": "set_link", "arguments": {"name": alias, "up": false}});
            self.commands.push(QmpCommand { result: None, json: text.to_string(), secret: false });
        }
    }
}
