//! What the kind of an interface cannot have, in libvirt's words where it has some.

use super::super::build::Build;
use diag::ErrorCode;
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
        self.check_vlan(nic);
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

    /// VLANs are those of a bridge's port, or of a function that a card lends.
    fn check_vlan(&mut self, nic: &Interface) {
        let Some(vlan) = &nic.vlan else { return };
        let mode = nic.source.as_ref().and_then(|source| source.mode.as_deref());
        let lent = nic.kind == InterfaceType::Hostdev
            || nic.kind == InterfaceType::Direct && mode == Some("passthrough");
        if nic.kind != InterfaceType::Bridge && !lent {
            let mac = nic.mac.as_ref().map_or_else(String::new, |mac| mac.address.to_string());
            let text = format!("interface {mac} - vlan tag not supported for this connection type");
            self.fail("qemu.interface-vlan", text);
        } else if vlan.tags.iter().any(|tag| tag.id == 0) {
            let text = "vlanid out of range: 0";
            self.fail_with("qemu.interface-vlan", ErrorCode::WRITE_FAILED, text);
        }
    }
}
