//! Taps of bridges, macvtap devices, taps of the guest's own.

use super::super::build::{Build, Props, fd_mark};
use super::super::words::YesNo;
use crate::step::{Action, Step, Tap, TapKind, Undo};
use crate::{HostAddress, HostRoute, PortVlans, Traffic, coalesced_frames};
use model::capabilities::qemu::Accel;
use model::domain::devices::interface::*;

impl Build<'_> {
    pub(super) fn tap_net(
        &mut self,
        nic: &Interface,
        alias: &str,
        element: &str,
        virtio: bool,
        queues: Option<u32>,
    ) -> Option<Props> {
        let source = nic.source.clone().unwrap_or_default();
        let target = nic.target.clone().unwrap_or_default();
        let kind = match nic.kind {
            InterfaceType::Bridge => {
                let Some(bridge) = source.bridge.clone() else {
                    self.fail("qemu.interface", format!("{element}: <source> names no bridge"));
                    return None;
                };
                let isolated = nic.port.as_ref().is_some_and(|p| p.isolated == Some(YesNo::Yes));
                TapKind::Bridge { bridge, isolated }
            }
            InterfaceType::Direct => {
                let Some(lower) = source.dev.clone() else {
                    self.fail("qemu.interface", format!("{element}: <source> names no device"));
                    return None;
                };
                let mode = source.mode.clone().unwrap_or_else(|| "vepa".into());
                TapKind::Macvtap { lower, mode }
            }
            _ => TapKind::Ethernet {
                managed: target.managed != Some(YesNo::No),
                script: nic.script.as_ref().map(|script| script.path.clone()),
                down_script: nic.down_script.as_ref().map(|script| script.path.clone()),
            },
        };
        let count = queues.unwrap_or(1);
        let on_bridge = nic.kind == InterfaceType::Bridge;
        let step = Step::new(Action::Tap(Tap {
            kind,
            name: target.dev.clone(),
            mac: nic.mac.as_ref().map_or(String::new(), |mac| mac.address.to_string()),
            queues: count,
            vnet_hdr: virtio,
            mtu: nic.mtu.as_ref().and_then(|mtu| mtu.size),
            traffic: Traffic::of(nic.kind, nic.bandwidth.as_ref()).unwrap_or_default(),
            vlans: nic.vlan.as_ref().filter(|_| on_bridge).map(PortVlans::of),
            coalesce: coalesced_frames(nic.coalesce.as_ref()),
            addresses: HostAddress::all(&source),
            routes: HostRoute::all(&source),
            asks: asks(nic),
        }))
        .yields(alias);
        self.steps.push(step.undone_by(Undo::RemoveLink(crate::step::ResultName::new(alias))));
        let names = |prefix: &str| -> String {
            if count == 1 {
                return fd_mark(&format!("{alias}.{prefix}"));
            }
            let all: Vec<_> =
                (0..count).map(|n| fd_mark(&format!("{alias}.{prefix}{n}"))).collect();
            all.join(":")
        };
        let mut props = Props::default().set("type", "tap");
        props = props.set(if count == 1 { "fd" } else { "fds" }, names("fd"));
        let driver = nic.driver.clone().unwrap_or_default();
        let wanted = driver.name == Some(NetDriverName::Vhost);
        let refused = driver.name == Some(NetDriverName::Qemu);
        let device = nic
            .backend
            .as_ref()
            .and_then(|backend| backend.vhost.clone())
            .or_else(|| self.set.vhost_net.clone());
        let use_vhost = virtio && !refused;
        match device.filter(|_| use_vhost) {
            Some(path) => {
                let step = Step::new(Action::VhostNet { path, queues: count });
                self.steps.push(step.yields(format!("{alias}.vhost")));
                props = props.set("vhost", true);
                props =
                    props.set(if count == 1 { "vhostfd" } else { "vhostfds" }, names("vhostfd"));
            }
            // To a guest that the kernel does not run its help with frames is nothing to insist on.
            None if wanted && use_vhost && self.accel == Accel::Kvm => {
                self.fail(
                    "qemu.vhost-net",
                    "vhost-net was requested for an interface, but is unavailable",
                );
            }
            None => {}
        }
        Some(props.opt("sndbuf", nic.tune.as_ref().and_then(|tune| tune.sndbuf)))
    }
}

/// What is asked of the host's end that nobody does yet, by element.
fn asks(nic: &Interface) -> Vec<&'static str> {
    [
        (nic.filter_ref.is_some(), "<filterref>"),
        (nic.vlan.is_some() && nic.kind != InterfaceType::Bridge, "<vlan>"),
        (nic.virtual_port.is_some(), "<virtualport>"),
    ]
    .into_iter()
    .filter_map(|(used, what)| used.then_some(what))
    .collect()
}
