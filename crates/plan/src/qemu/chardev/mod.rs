//! Character devices: host sides (`-chardev`) and guest sides.

mod backend;
mod channels;
mod paths;
mod ports;

pub(super) use backend::{Backend, Socket, SocketAddress};
pub(super) use paths::choose_paths;

use super::build::{Build, Switch, fd_mark};
use super::words::YesNo;
use crate::step::{Access, Action, QmpCommand, ResultName, Step};
use model::domain::devices::chardev::*;

impl Build<'_> {
    /// `-chardev` of a back end.
    pub(super) fn chardev_option(&mut self, id: &str, backend: &Backend, log: Option<&str>) {
        let milliseconds = self.has("chardev-reconnect-miliseconds");
        if self.hot.is_some() || self.has("chardev.json") {
            self.json("-chardev", backend.props(id, milliseconds, log));
            return;
        }
        let mut out = backend.flat(id, milliseconds);
        if let Some(log) = log {
            out.push_str(&format!(",logfile={log},logappend=on"));
        }
        self.opt("-chardev", &out);
    }

    /// `-chardev` for a source; its id is `char` and the device's name.
    pub(super) fn chardev(&mut self, source: &CharSource, alias: &str, element: &str) -> String {
        let id = format!("char{alias}");
        let Some(backend) = self.backend_of(source, alias, element) else {
            return id;
        };
        let log = source.log.as_ref().map(|log| {
            let append = log.append.is_none_or(Switch::on);
            self.opened(&log.file, &format!("{alias}-log"), append)
        });
        self.chardev_option(&id, &backend, log.as_deref());
        id
    }

    fn backend_of(&mut self, source: &CharSource, alias: &str, element: &str) -> Option<Backend> {
        let first = source.sources.first().cloned().unwrap_or_default();
        let path = first.path.clone().unwrap_or_default();
        Some(match source.kind {
            CharType::Null => Backend::Null,
            CharType::Vc => Backend::Vc,
            CharType::Stdio => Backend::Stdio,
            CharType::Pty => {
                self.ask_ptys();
                Backend::Pty
            }
            CharType::Dev => {
                self.grant(&path, Access::ReadWrite, false, element);
                if element == "<parallel>" {
                    Backend::Parallel(path)
                } else {
                    Backend::Serial(path)
                }
            }
            CharType::Pipe => {
                self.grant_pipe(&path, element);
                Backend::Pipe(path)
            }
            CharType::File => {
                let append = first.append.is_some_and(Switch::on);
                Backend::File(self.opened(&path, &format!("{alias}-source"), append))
            }
            CharType::Udp => udp(source),
            CharType::Tcp => self.tcp(source, &first, alias),
            CharType::Unix => self.unix(&first, path, alias),
            CharType::Spicevmc => {
                self.need("spice", element);
                Backend::Spicevmc(spice_channel(element).to_string())
            }
            CharType::Spiceport => {
                self.need("spice", element);
                Backend::Spiceport(first.channel.unwrap_or_default())
            }
            CharType::QemuVdagent => {
                self.need("chardev.qemu-vdagent", element);
                Backend::Vdagent {
                    clipboard: first.clipboard.as_ref().map(|clipboard| clipboard.copypaste.on()),
                    mouse: first.mouse.as_ref().map(|mouse| mouse.mode == MouseMode::Client),
                }
            }
            CharType::Dbus => {
                self.need("display-dbus", element);
                let name = first.channel.unwrap_or_else(|| "org.qemu.usbredir".into());
                Backend::Dbus(name)
            }
            CharType::Nmdm => {
                let text = format!("{element}: type 'nmdm' is not supported by QEMU on Linux");
                self.fail("qemu.chardev", text);
                return None;
            }
        })
    }

    /// Lends the pipe of a name, or the two that QEMU prefers to it.
    fn grant_pipe(&mut self, name: &str, element: &str) {
        if !self.found.pipe_pairs.contains(name) {
            return self.grant(name, Access::ReadWrite, false, element);
        }
        for end in ["in", "out"] {
            self.grant(&format!("{name}.{end}"), Access::ReadWrite, false, element);
        }
    }

    fn tcp(&mut self, source: &CharSource, first: &CharSourceElement, alias: &str) -> Backend {
        let server = is_server(first);
        let tls = first.tls.is_some_and(Switch::on).then(|| {
            let id = format!("objchar{alias}_tls0");
            let tls = self.set.chardev_tls.clone();
            self.tls_credentials(&id, &format!("char{alias}-secret0"), &tls, server);
            id
        });
        let address = SocketAddress::Inet {
            host: first.host.clone().unwrap_or_default(),
            port: first.service.clone().unwrap_or_default(),
        };
        let protocol = source.protocol.as_ref().and_then(|protocol| protocol.kind);
        let telnet = matches!(protocol, Some(ProtocolType::Telnet | ProtocolType::Telnets));
        let socket = if server { Socket::listen(address) } else { Socket::connect(address) };
        Backend::Socket(Socket {
            telnet,
            tls,
            reconnect: reconnect(first.reconnect.as_ref()),
            ..socket
        })
    }

    fn unix(&mut self, first: &CharSourceElement, path: String, alias: &str) -> Backend {
        if matches!(first.mode, Some(SocketMode::Connect | SocketMode::Client)) {
            let socket = Socket::connect(SocketAddress::Unix(path));
            return Backend::Socket(Socket {
                reconnect: reconnect(first.reconnect.as_ref()),
                ..socket
            });
        }
        let name = format!("char{alias}.fd");
        if let Some((dir, _)) = path.rsplit_once('/')
            && dir.starts_with(&self.set.channel_dir)
        {
            self.channel_dir(dir);
        }
        self.listen(&name, &path);
        Backend::Socket(Socket::listen(SocketAddress::Fd(fd_mark(&name))))
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

    /// Asks once for the paths of pseudo-terminals.
    fn ask_ptys(&mut self) {
        if self.hot.is_some() {
            // Adding one to a running guest answers with its path.
            return;
        }
        let name = ResultName::new("qmp.chardev");
        if !self.commands.iter().any(|command| command.result.as_ref() == Some(&name)) {
            self.commands.push(QmpCommand {
                result: Some(name),
                json: r#"{"execute":"query-chardev"}"#.into(),
                secret: false,
            });
        }
    }
}

/// Whether QEMU is the server.
fn is_server(source: &CharSourceElement) -> bool {
    matches!(source.mode, Some(SocketMode::Bind | SocketMode::Server))
}

/// Seconds until a connection is tried again; 0 is never.
pub(super) fn reconnect(reconnect: Option<&Reconnect>) -> Option<u32> {
    let reconnect = reconnect?;
    match reconnect.enabled? {
        YesNo::Yes => Some(reconnect.timeout.unwrap_or(0)),
        YesNo::No => Some(0),
    }
}

/// The channel of SPICE that a device uses.
fn spice_channel(element: &str) -> &'static str {
    match element {
        "<redirdev>" => "usbredir",
        "<smartcard>" => "smartcard",
        _ => "vdagent",
    }
}

fn udp(source: &CharSource) -> Backend {
    let side = |mode: SocketMode| source.sources.iter().find(|s| s.mode == Some(mode));
    let remote = side(SocketMode::Connect).cloned().unwrap_or_default();
    let local = side(SocketMode::Bind).map(|local| {
        let port = local.service.clone().unwrap_or_else(|| "0".into());
        (local.host.clone().unwrap_or_default(), port)
    });
    Backend::Udp {
        remote: (remote.host.unwrap_or_default(), remote.service.unwrap_or_default()),
        local,
    }
}
