//! Network interfaces.

use super::build::{Build, Props, Switch, fd_mark};
use super::words::{Address, YesNo};
use crate::step::{Action, Arg, Helper, QmpCommand, Step, Tap, TapKind, Undo};
use model::domain::devices::disk::DiskModel;
use model::domain::devices::interface::*;
use serde_json::json;

impl Build<'_> {
    /// All interfaces.
    pub(super) fn interfaces(&mut self) {
        let orders = self.boot_orders();
        for (position, nic) in self.dev.interfaces.iter().enumerate() {
            let boot = orders.interfaces.get(position).copied().flatten();
            self.interface(nic, boot);
        }
    }

    fn interface(&mut self, nic: &Interface, boot: Option<u32>) {
        let mac = nic.mac.as_ref().map_or(String::new(), |mac| mac.address.to_string());
        let element = format!("<interface> '{mac}'");
        let alias = self.alias(&nic.alias, &element);
        self.refuse_interface(nic, &element);
        let model = nic.model.as_ref().map_or("", |model| model.kind.as_str());
        let virtio = model.starts_with("virtio");
        let driver = nic.driver.clone().unwrap_or_default();
        let queues = driver.queues.filter(|queues| *queues > 1 && virtio);
        let netdev = match nic.kind {
            InterfaceType::User => self.user_net(nic, &alias, &element),
            InterfaceType::Bridge | InterfaceType::Ethernet | InterfaceType::Direct => {
                self.tap_net(nic, &alias, &element, virtio, queues)
            }
            InterfaceType::Server => self.socket_net(nic, "listen"),
            InterfaceType::Client => self.socket_net(nic, "connect"),
            InterfaceType::Mcast => self.socket_net(nic, "mcast"),
            InterfaceType::Udp => self.udp_net(nic),
            InterfaceType::Network => {
                let name = nic.source.as_ref().and_then(|s| s.network.clone()).unwrap_or_default();
                self.fail("qemu.interface-network", format!("{element}: virtual networks are not available yet, so the interface cannot be connected to network '{name}'; use type 'user' or 'bridge'"));
                return;
            }
            other => {
                let kind = other.as_str();
                let text = format!("{element}: type '{kind}' is not supported yet");
                self.fail("qemu.interface", text);
                return;
            }
        };
        let Some(netdev) = netdev else {
            return;
        };
        let id = format!("host{alias}");
        self.netdev(netdev.set("id", id.clone()));
        self.device_net(nic, &driver, virtio, queues, id, &alias, boot, &element);
        if nic.link.as_ref().is_some_and(|link| link.state == LinkState::Down) {
            // The host's end stays up, as with libvirt: the guest sees its cable pulled.
            let text = json!({"execute": "set_link", "arguments": {"name": alias, "up": false}});
            self.commands.push(QmpCommand { result: None, json: text.to_string(), secret: false });
        }
    }

    /// What the kind of interface cannot have, in libvirt's words where it has some.
    fn refuse_interface(&mut self, nic: &Interface, element: &str) {
        let kind = nic.kind;
        let passt = nic.backend.as_ref().is_some_and(|b| b.kind == Some(NetBackendType::Passt));
        let source = nic.source.as_ref();
        let guest_rx = nic.trust_guest_rx_filters == Some(YesNo::Yes);
        for (used, what) in [
            (nic.filter_ref.is_some(), "<filterref>"),
            (nic.bandwidth.is_some(), "<bandwidth>"),
            (nic.vlan.is_some(), "<vlan>"),
            (nic.virtual_port.is_some(), "<virtualport>"),
            (nic.coalesce.is_some(), "<coalesce>"),
            (guest_rx, "trustGuestRxFilters='yes'"),
            (source.is_some_and(|s| !s.ips.is_empty()), "<ip> of the host's end"),
            (source.is_some_and(|s| !s.routes.is_empty()), "<route> of the host"),
        ] {
            if used {
                self.fail("qemu.interface", format!("{element}: {what} is not supported yet"));
            }
        }
        if nic.script.is_some() && kind != InterfaceType::Ethernet {
            let text = format!("scripts are not supported on interfaces of type {}", kind.as_str());
            self.fail("qemu.interface-script", text);
        }
        if !nic.ips.is_empty() && kind != InterfaceType::User {
            self.fail("qemu.interface-ip", "Invalid attempt to set network interface guest-side IP address info, not supported by QEMU");
        }
        if !nic.port_forwards.is_empty() && !passt {
            self.fail("qemu.interface-forward", "The <portForward> element can only be used with the 'passt' backend of interface type='user' or type='vhostuser'");
        }
        if nic.mtu.is_some() && !matches!(kind, InterfaceType::Bridge | InterfaceType::Ethernet) {
            let kind = kind.as_str();
            let text = format!("setting MTU on interface type {kind} is not supported yet");
            self.fail("qemu.interface-mtu", text);
        }
    }

    /// The guest's side.
    #[allow(clippy::too_many_arguments)]
    fn device_net(
        &mut self,
        nic: &Interface,
        driver: &InterfaceDriver,
        virtio: bool,
        queues: Option<u32>,
        netdev: String,
        alias: &str,
        boot: Option<u32>,
        element: &str,
    ) {
        let model = nic.model.as_ref().map_or("rtl8139", |model| model.kind.as_str());
        let flavour = match model {
            "virtio-transitional" => Some(DiskModel::VirtioTransitional),
            "virtio-non-transitional" => Some(DiskModel::VirtioNonTransitional),
            _ => None,
        };
        let name = if virtio {
            self.virtio_name("virtio-net", &nic.address, flavour)
        } else {
            model.to_string()
        };
        let mut props = Props::device(&name);
        if virtio {
            props = props.opt(
                "tx",
                driver.txmode.map(|mode| match mode {
                    TxMode::Iothread => "bh",
                    TxMode::Timer => "timer",
                }),
            );
            props =
                props.on_off("ioeventfd", driver.ioeventfd).on_off("event_idx", driver.event_idx);
            if let Some(host) = &driver.host {
                props = props
                    .on_off("csum", host.csum)
                    .on_off("gso", host.gso)
                    .on_off("host_tso4", host.tso4)
                    .on_off("host_tso6", host.tso6)
                    .on_off("host_ecn", host.ecn)
                    .on_off("host_ufo", host.ufo)
                    .on_off("mrg_rxbuf", host.mrg_rxbuf);
            }
            if let Some(guest) = &driver.guest {
                props = props
                    .on_off("guest_csum", guest.csum)
                    .on_off("guest_tso4", guest.tso4)
                    .on_off("guest_tso6", guest.tso6)
                    .on_off("guest_ecn", guest.ecn)
                    .on_off("guest_ufo", guest.ufo);
            }
            if let Some(queues) = queues {
                props = props.set("mq", true);
                if !matches!(nic.address, Some(Address::Ccw(_))) {
                    props = props.set("vectors", 2 * queues + 2);
                }
                props = props.on_off("rss", driver.rss).on_off("hash", driver.rss_hash_report);
            }
            props = props
                .opt("rx_queue_size", driver.rx_queue_size)
                .opt("tx_queue_size", driver.tx_queue_size)
                .opt("host_mtu", nic.mtu.as_ref().map(|mtu| mtu.size))
                .extend(Self::virtio_options(Some(&driver.virtio)));
            if nic.teaming.as_ref().is_some_and(|t| t.kind == TeamingType::Persistent) {
                props = props.set("failover", true);
            }
        }
        props = props
            .set("netdev", netdev)
            .set("id", alias)
            .opt("mac", nic.mac.as_ref().map(|mac| mac.address.to_string()))
            .opt("bootindex", boot)
            .opt("loadparm", self.load_parameter_of(nic.boot.as_ref()));
        props = props.extend(self.place(&nic.address, element));
        props = props.opt("acpi-index", nic.acpi.as_ref().and_then(|acpi| acpi.index));
        if let Some(rom) = &nic.rom {
            if rom.enabled == Some(YesNo::No) {
                props = props.set("romfile", "");
            } else {
                props = props.opt("rombar", rom.bar.map(|bar| u8::from(bar.on())));
                props = props.opt("romfile", rom.file.clone());
            }
        }
        self.device(props);
    }

    fn user_net(&mut self, nic: &Interface, alias: &str, element: &str) -> Option<Props> {
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

    /// passt: a process that gives the guest the host's own connections.
    fn passt(&mut self, nic: &Interface, alias: &str, element: &str) -> Option<Props> {
        self.need("netdev.stream", element);
        let base = format!("{}/passt/{}-{alias}", self.set.run_dir, self.short_name);
        let (socket, pid_file) = (format!("{base}.socket"), format!("{base}-passt.pid"));
        let mut args: Vec<String> =
            ["--one-off", "--socket", &socket, "--pid", &pid_file].map(String::from).into();
        let backend = nic.backend.clone().unwrap_or_default();
        if let Some(log) = &backend.log_file {
            args.extend(["--log-file".into(), log.clone()]);
        }
        if let Some(dev) = nic.source.as_ref().and_then(|source| source.dev.clone()) {
            args.extend(["--interface".into(), dev]);
        }
        for ip in &nic.ips {
            args.extend(["--address".into(), ip.address.clone()]);
            if let Some(prefix) = ip.prefix {
                args.extend(["--netmask".into(), prefix.to_string()]);
            }
        }
        for (option, value) in [("--hostname", &backend.hostname), ("--fqdn", &backend.fqdn)] {
            if let Some(value) = value {
                args.extend([option.into(), value.clone()]);
            }
        }
        for forward in &nic.port_forwards {
            args.push(if forward.proto == "udp" { "--udp-ports" } else { "--tcp-ports" }.into());
            args.push(forward_ports(forward));
        }
        let ids = self.ids();
        let dir = format!("{}/passt", self.set.run_dir);
        let folder = Step::new(Action::MakeDir { path: dir, mode: 0o755, owner: ids });
        self.steps.push(folder.undone_by(Undo::RemoveFile(socket.clone())));
        let helper = Helper {
            program: "passt".into(),
            args: args.into_iter().map(Arg::from).collect(),
            owner: ids,
            pid_file: Some(pid_file.clone()),
            socket: Some(socket.clone()),
            daemonizes: true,
            log: None,
            one_shot: false,
        };
        let step = Step::new(Action::Helper(helper)).undone_by(Undo::EndHelper { pid_file });
        self.steps.push(step);
        let mut props = Props::default()
            .set("type", "stream")
            .set("addr", json!({"type": "unix", "path": socket}))
            .set("server", false);
        if self.has("netdev-stream-reconnect-miliseconds") {
            props = props.set("reconnect-ms", 5000);
        } else if self.has("netdev.stream.reconnect") {
            props = props.set("reconnect", 5);
        }
        Some(props)
    }

    fn tap_net(
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
        let step = Step::new(Action::Tap(Tap {
            kind,
            name: target.dev.clone(),
            mac: nic.mac.as_ref().map_or(String::new(), |mac| mac.address.to_string()),
            queues: count,
            vnet_hdr: virtio,
            mtu: nic.mtu.as_ref().map(|mtu| mtu.size),
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
        // vhost needs the guest's memory in the kernel: only KVM guests gain from it.
        let kvm = self.accel == model::capabilities::qemu::Accel::Kvm;
        let refused = driver.name == Some(NetDriverName::Qemu);
        let device = nic
            .backend
            .as_ref()
            .and_then(|backend| backend.vhost.clone())
            .or_else(|| self.set.vhost_net.clone());
        let use_vhost = virtio && !refused && kvm;
        match device.filter(|_| use_vhost) {
            Some(path) => {
                let step = Step::new(Action::VhostNet { path, queues: count });
                self.steps.push(step.yields(format!("{alias}.vhost")));
                props = props.set("vhost", true);
                props =
                    props.set(if count == 1 { "vhostfd" } else { "vhostfds" }, names("vhostfd"));
            }
            None if wanted && use_vhost => {
                self.fail(
                    "qemu.vhost-net",
                    "vhost-net was requested for an interface, but is unavailable",
                );
            }
            None => {}
        }
        Some(props.opt("sndbuf", nic.tune.as_ref().and_then(|tune| tune.sndbuf)))
    }

    fn socket_net(&mut self, nic: &Interface, key: &str) -> Option<Props> {
        let source = nic.source.clone().unwrap_or_default();
        let address = source.address.unwrap_or_default();
        let port = source.port.unwrap_or(0);
        let props = Props::default().set("type", "socket");
        Some(props.set(key, format!("{address}:{port}")))
    }

    fn udp_net(&mut self, nic: &Interface) -> Option<Props> {
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

/// A port specification of passt: `ADDRESS%DEV/FIRST-LAST:TO-TO,~EXCLUDED`.
fn forward_ports(forward: &PortForward) -> String {
    let mut out = String::new();
    if let Some(address) = &forward.address {
        out.push_str(address);
    }
    if let Some(dev) = &forward.dev {
        out.push('%');
        out.push_str(dev);
    }
    if !out.is_empty() && !forward.ranges.is_empty() {
        out.push('/');
    }
    let mut ranges = Vec::new();
    for range in &forward.ranges {
        let mut text = String::new();
        if range.exclude == Some(YesNo::Yes) {
            text.push('~');
        }
        text.push_str(&range.start.to_string());
        if let Some(end) = range.end {
            text.push_str(&format!("-{end}"));
        }
        if let Some(to) = range.to {
            text.push_str(&format!(":{to}"));
            if let Some(end) = range.end {
                text.push_str(&format!("-{}", end - range.start.min(end) + to));
            }
        }
        ranges.push(text);
    }
    if ranges.is_empty() && out.is_empty() {
        return "all".into();
    }
    out.push_str(&ranges.join(","));
    out
}
