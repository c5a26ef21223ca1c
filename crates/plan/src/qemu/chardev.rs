//! Character devices: host sides (`-chardev`) and guest sides.

use super::build::{Build, Props, Switch, comma, fd_mark};
use super::words::{Address, YesNo};
use crate::step::{Access, Action, QmpCommand, ResultName, Step};
use model::domain::Domain;
use model::domain::devices::chardev::*;
use model::domain::devices::controller::ControllerType;
use serde_json::json;

/// Gives unix channels without a path the one that libvirt would choose.
pub(super) fn choose_paths(domain: &mut Domain, channel_dir: &str, short_name: &str) {
    let Some(devices) = domain.devices.as_mut() else {
        return;
    };
    let lists = [
        &mut devices.serials,
        &mut devices.parallels,
        &mut devices.consoles,
        &mut devices.channels,
    ];
    for source in lists.into_iter().flatten().map(|device| &mut device.source) {
        if source.kind == CharType::Tcp {
            for end in source.sources.iter_mut().filter(|end| end.tls.is_none()) {
                end.tls = Some(YesNo::No);
                end.tls_from_config = Some("1".into());
            }
        }
    }
    for channel in &mut devices.channels {
        let source = &mut channel.source;
        if source.kind != CharType::Unix || source.sources.iter().any(|s| s.path.is_some()) {
            continue;
        }
        let name = channel.target.as_ref().and_then(|target| target.name.as_deref());
        let path = match name {
            Some(name) => format!("{channel_dir}/{short_name}/{name}"),
            None => format!("{channel_dir}/{short_name}"),
        };
        source.sources.truncate(1);
        match source.sources.first_mut() {
            Some(first) => {
                first.path = Some(path);
                first.mode.get_or_insert(SocketMode::Bind);
            }
            None => source.sources.push(CharSourceElement {
                mode: Some(SocketMode::Bind),
                path: Some(path),
                ..CharSourceElement::default()
            }),
        }
    }
}

impl Build<'_> {
    /// `-chardev` for a source; its id is `char` and the device's name.
    pub(super) fn chardev(&mut self, source: &CharSource, alias: &str, element: &str) -> String {
        let id = format!("char{alias}");
        let first = source.sources.first().cloned().unwrap_or_default();
        let path = first.path.clone().unwrap_or_default();
        let head = |kind: &str| format!("{kind},id={id}");
        let mut out = match source.kind {
            CharType::Null => head("null"),
            CharType::Vc => head("vc"),
            CharType::Stdio => head("stdio"),
            CharType::Pty => {
                self.ask_ptys();
                head("pty")
            }
            CharType::Dev => {
                self.grant(&path, Access::ReadWrite, false, element);
                let kind = if alias.starts_with("parallel") { "parallel" } else { "serial" };
                format!("{},path={}", head(kind), comma(&path))
            }
            CharType::Pipe => {
                self.grant(&path, Access::ReadWrite, false, element);
                format!("{},path={}", head("pipe"), comma(&path))
            }
            CharType::File => {
                let append = first.append.is_some_and(Switch::on);
                let set = self.opened(&path, &format!("{alias}-source"), append);
                format!("{},path={set},append=on", head("file"))
            }
            CharType::Udp => self.udp(source, &head("udp")),
            CharType::Tcp => {
                if first.tls.is_some_and(Switch::on) {
                    self.fail("qemu.chardev", format!("{element}: TLS is not supported yet"));
                }
                let telnet = matches!(
                    source.protocol.as_ref().map(|protocol| protocol.kind),
                    Some(ProtocolType::Telnet | ProtocolType::Telnets)
                );
                let mut out = format!(
                    "{},host={},port={}",
                    head("socket"),
                    comma(first.host.as_deref().unwrap_or_default()),
                    comma(first.service.as_deref().unwrap_or_default())
                );
                if telnet {
                    out.push_str(",telnet=on");
                }
                if matches!(first.mode, Some(SocketMode::Bind | SocketMode::Server)) {
                    out.push_str(",server=on,wait=off");
                }
                self.reconnect(&first, &mut out);
                out
            }
            CharType::Unix => {
                if matches!(first.mode, Some(SocketMode::Connect | SocketMode::Client)) {
                    let mut out = format!("{},path={}", head("socket"), comma(&path));
                    self.reconnect(&first, &mut out);
                    out
                } else {
                    let name = format!("{id}.fd");
                    if let Some((dir, _)) = path.rsplit_once('/')
                        && dir.starts_with(&self.set.channel_dir)
                    {
                        self.channel_dir(dir);
                    }
                    self.listen(&name, &path);
                    format!("{},fd={},server=on,wait=off", head("socket"), fd_mark(&name))
                }
            }
            CharType::Spicevmc => {
                self.need("spice", element);
                let name = match () {
                    () if alias.starts_with("redir") => "usbredir",
                    () if alias.starts_with("smartcard") => "smartcard",
                    () => "vdagent",
                };
                format!("{},name={name}", head("spicevmc"))
            }
            CharType::Spiceport => {
                self.need("spice", element);
                let name = first.channel.as_deref().unwrap_or_default();
                format!("{},name={}", head("spiceport"), comma(name))
            }
            CharType::QemuVdagent => {
                self.need("chardev.qemu-vdagent", element);
                let mut out = format!("{},name=vdagent", head("qemu-vdagent"));
                if let Some(clipboard) = &first.clipboard {
                    out.push_str(&format!(",clipboard={}", clipboard.copypaste.word()));
                }
                if let Some(mouse) = &first.mouse {
                    let on = mouse.mode == MouseMode::Client;
                    out.push_str(if on { ",mouse=on" } else { ",mouse=off" });
                }
                out
            }
            CharType::Dbus => {
                self.need("display-dbus", element);
                let name = first.channel.clone().unwrap_or_else(|| "org.qemu.usbredir".into());
                format!("{},name={}", head("dbus"), comma(&name))
            }
            CharType::Nmdm => {
                self.fail(
                    "qemu.chardev",
                    format!("{element}: type 'nmdm' is not supported by QEMU on Linux"),
                );
                return id;
            }
        };
        if let Some(log) = &source.log {
            let append = log.append.is_none_or(Switch::on);
            let set = self.opened(&log.file, &format!("{alias}-log"), append);
            out.push_str(&format!(",logfile={set},logappend=on"));
        }
        self.opt("-chardev", &out);
        id
    }

    /// A log or output file, opened by us: a descriptor set.
    fn opened(&mut self, path: &str, name: &str, append: bool) -> String {
        if !append {
            // Starting over: the file is emptied first.
            self.steps.push(Step::new(Action::WriteFile {
                path: path.to_string(),
                mode: 0o600,
                owner: None,
                content: crate::step::Content::Bytes(Vec::new()),
            }));
        }
        let step = Step::new(Action::OpenFile {
            path: path.to_string(),
            access: Access::ReadWrite,
            create_append: true,
        });
        self.steps.push(step.yields(name));
        self.fdset(name, name)
    }

    /// The directory of a guest's channel sockets.
    fn channel_dir(&mut self, dir: &str) {
        use crate::step::Undo;
        let done =
            |step: &Step| matches!(&step.action, Action::MakeDir { path, .. } if path == dir);
        if self.steps.iter().any(done) {
            return;
        }
        let step =
            Step::new(Action::MakeDir { path: dir.to_string(), mode: 0o750, owner: self.ids() });
        self.steps.push(step.undone_by(Undo::RemoveTree(dir.to_string())));
    }

    fn reconnect(&mut self, source: &CharSourceElement, out: &mut String) {
        let Some(reconnect) = &source.reconnect else {
            return;
        };
        let seconds = match reconnect.enabled {
            Some(YesNo::Yes) => reconnect.timeout.unwrap_or(0),
            Some(YesNo::No) => 0,
            None => return,
        };
        self.reconnect_option(seconds, out);
    }

    /// `reconnect` of a socket, in the unit this emulator takes.
    pub(super) fn reconnect_option(&mut self, seconds: u32, out: &mut String) {
        if self.has("chardev-reconnect-miliseconds") {
            out.push_str(&format!(",reconnect-ms={}", u64::from(seconds) * 1000));
        } else {
            out.push_str(&format!(",reconnect={seconds}"));
        }
    }

    fn udp(&mut self, source: &CharSource, head: &str) -> String {
        let side = |mode: SocketMode| source.sources.iter().find(|s| s.mode == Some(mode));
        let remote = side(SocketMode::Connect).cloned().unwrap_or_default();
        let local = side(SocketMode::Bind).cloned().unwrap_or_default();
        let word = |text: &Option<String>| comma(text.as_deref().unwrap_or_default());
        let port = local.service.clone().unwrap_or_else(|| "0".into());
        format!(
            "{head},host={},port={},localaddr={},localport={}",
            word(&remote.host),
            word(&remote.service),
            word(&local.host),
            comma(&port)
        )
    }

    /// Asks once for the paths of pseudo-terminals.
    fn ask_ptys(&mut self) {
        let name = ResultName::new("qmp.chardev");
        if !self.commands.iter().any(|command| command.result.as_ref() == Some(&name)) {
            self.commands.push(QmpCommand {
                result: Some(name),
                json: r#"{"execute":"query-chardev"}"#.into(),
                secret: false,
            });
        }
    }

    /// Serial ports.
    pub(super) fn serials(&mut self) {
        for serial in &self.dev.serials {
            let alias = self.alias(&serial.alias, "<serial>");
            let chardev = self.chardev(&serial.source, &alias, "<serial>");
            let target = serial.target.clone().unwrap_or_default();
            let model = target.model.as_ref().map(|model| model.name.as_str());
            let driver = match (model, target.kind) {
                (
                    Some(
                        model @ ("isa-serial" | "pci-serial" | "usb-serial" | "isa-debugcon"
                        | "sclpconsole" | "sclplmconsole" | "spapr-vty"),
                    ),
                    _,
                ) => model,
                (Some("16550a" | "pl011"), _) => {
                    // Part of the board: it takes the next `-serial`.
                    self.opt("-serial", &format!("chardev:{chardev}"));
                    continue;
                }
                (None, None | Some(CharTargetType::IsaSerial)) => "isa-serial",
                (None, Some(CharTargetType::PciSerial)) => "pci-serial",
                (None, Some(CharTargetType::UsbSerial)) => "usb-serial",
                (model, kind) => {
                    self.fail(
                        "qemu.serial",
                        format!("<serial> target {kind:?} model {model:?} is not supported"),
                    );
                    continue;
                }
            };
            let mut props = Props::device(driver).set("chardev", chardev).set("id", alias);
            if driver == "isa-serial" {
                props = props.set("index", target.port.unwrap_or(0));
            }
            let place = self.place(&serial.address, "<serial>");
            self.device(props.extend(place));
        }
    }

    /// Parallel ports.
    pub(super) fn parallels(&mut self) {
        for parallel in &self.dev.parallels {
            let alias = self.alias(&parallel.alias, "<parallel>");
            let chardev = self.chardev(&parallel.source, &alias, "<parallel>");
            self.device(Props::device("isa-parallel").set("chardev", chardev).set("id", alias));
        }
    }

    /// Channels.
    pub(super) fn channels(&mut self) {
        for channel in &self.dev.channels {
            let alias = self.alias(&channel.alias, "<channel>");
            let target = channel.target.clone().unwrap_or_default();
            let chardev = self.chardev(&channel.source, &alias, "<channel>");
            match target.kind {
                Some(CharTargetType::Guestfwd) => {
                    let address = target.address.as_deref().unwrap_or_default();
                    let port = target.port.unwrap_or(0);
                    let text = format!("tcp:{address}:{port}-chardev:{chardev}");
                    let props = Props::default()
                        .set("type", "user")
                        .set("guestfwd", json!([{"str": text}]))
                        .set("id", alias);
                    self.netdev(props);
                }
                Some(CharTargetType::Virtio) => {
                    self.virtio_port("virtserialport", channel, &alias, chardev, &target);
                }
                other => {
                    self.fail(
                        "qemu.channel",
                        format!("<channel> target type {other:?} is not supported"),
                    );
                }
            }
        }
    }

    /// Consoles other than the one that mirrors the first serial port.
    pub(super) fn consoles(&mut self) {
        for console in &self.dev.consoles {
            let target = console.target.clone().unwrap_or_default();
            match target.kind {
                Some(CharTargetType::Virtio) => {
                    let alias = self.alias(&console.alias, "<console>");
                    let chardev = self.chardev(&console.source, &alias, "<console>");
                    self.virtio_port("virtconsole", console, &alias, chardev, &target);
                }
                None | Some(CharTargetType::Serial) => {}
                Some(CharTargetType::Sclp | CharTargetType::Sclplm) => {
                    let driver = if target.kind == Some(CharTargetType::Sclp) {
                        "sclpconsole"
                    } else {
                        "sclplmconsole"
                    };
                    let alias = self.alias(&console.alias, "<console>");
                    let chardev = self.chardev(&console.source, &alias, "<console>");
                    self.device(Props::device(driver).set("chardev", chardev).set("id", alias));
                }
                Some(other) => {
                    self.fail(
                        "qemu.console",
                        format!("<console> target type {other:?} is not supported"),
                    );
                }
            }
        }
    }

    fn virtio_port(
        &mut self,
        driver: &str,
        device: &Serial,
        alias: &str,
        chardev: String,
        target: &CharTarget,
    ) {
        let mut props = Props::device(driver);
        if let Some(Address::VirtioSerial(place)) = &device.address {
            let bus = match self.controller(ControllerType::VirtioSerial, place.controller) {
                Some(name) => format!("{name}.{}", place.bus),
                None => format!("virtio-serial{}.{}", place.controller, place.bus),
            };
            props = props.set("bus", bus).opt("nr", place.port);
        }
        props = props.set("chardev", chardev).set("id", alias);
        if driver == "virtserialport" {
            let spice = device.source.kind == CharType::Spicevmc;
            let name = target.name.clone().or(spice.then(|| "com.redhat.spice.0".into()));
            props = props.opt("name", name);
        }
        self.device(props);
    }
}
