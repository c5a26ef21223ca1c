//! What the kind of an interface cannot have, in libvirt's words where it has some.

use super::super::build::Build;
use model::domain::devices::interface::*;

impl Build<'_> {
    /// Notes what stands in the way of an interface.
    pub(super) fn check_interface(&mut self, nic: &Interface) {
        let kind = nic.kind;
        let passt = nic.backend.as_ref().is_some_and(|b| b.kind == Some(NetBackendType::Passt));
        if nic.script.is_some() && kind != InterfaceType::Ethernet {
            let text = format!("scripts are not supported on interfaces of type {}", kind.as_str());
            self.fail("qemu.interface-script", text);
        }
        if !nic.ips.is_empty() && kind != InterfaceType::User && !passt {
            self.fail("qemu.interface-ip", "Invalid attempt to set network interface guest-side IP address info, not supported by QEMU");
        }
        if !nic.port_forwards.is_empty() && !passt {
            self.fail("qemu.interface-forward", "The <portForward> element can only be used with the 'passt' backend of interface type='user' or type='vhostuser'");
        }
        let tap = matches!(
            kind,
            InterfaceType::Network
                | InterfaceType::Bridge
                | InterfaceType::Ethernet
                | InterfaceType::Vhostuser
        );
        if nic.mtu.is_some() && !tap {
            let text =
                format!("setting MTU on interface type {} is not supported yet", kind.as_str());
            self.fail("qemu.interface-mtu", text);
        }
    }
}
