//! Network interfaces.

use diag::ErrorCode;

use super::Faults;
use crate::domain::devices::Devices;
use crate::domain::devices::interface::InterfaceType;

pub(super) fn check(dev: &Devices, out: &mut Faults) {
    for x in &dev.interfaces {
        if let Some(m) = &x.mac
            && m.address.is_multicast()
        {
            out.xml(
                "domain.mac-multicast",
                format!("expected unicast mac address, found multicast '{}'", m.address),
            );
        }
        if let Some(m) = &x.model
            && !m.kind.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
        {
            out.code(
                "domain.nic-model",
                ErrorCode::INVALID_ARG,
                "Model name contains invalid characters",
            );
        }
        let needs = match x.kind {
            InterfaceType::Bridge => x.source.as_ref().and_then(|s| s.bridge.as_ref()).is_none(),
            InterfaceType::Network => x.source.as_ref().and_then(|s| s.network.as_ref()).is_none(),
            InterfaceType::Direct | InterfaceType::Vdpa => {
                x.source.as_ref().and_then(|s| s.dev.as_ref()).is_none()
            }
            InterfaceType::Vhostuser | InterfaceType::Hostdev => x.source.is_none(),
            _ => false,
        };
        if needs {
            out.xml(
                "domain.nic-source",
                format!("interface type='{}' requires a 'source' element", x.kind.as_str()),
            );
        }
        if let Some(v) = &x.driver {
            for (name, size) in
                [("rx_queue_size", v.rx_queue_size), ("tx_queue_size", v.tx_queue_size)]
            {
                if size.is_some_and(|s| !s.is_power_of_two()) {
                    out.unsupported(
                        "domain.nic-queue-size",
                        format!("{name} has to be a power of two"),
                    );
                }
            }
        }
        if !x.routes.is_empty() && x.kind != InterfaceType::Ethernet {
            out.unsupported(
                "domain.nic-route",
                "Invalid attempt to set network interface guest-side IP route, not supported by QEMU",
            );
        }
    }
}
