//! The host's side of a character device, as one value: `-chardev` in its flat form, and the
//! arguments of `chardev-add` (which newer emulators take for `-chardev`, too).

use super::super::build::comma;
use crate::props::Props;
use serde_json::{Value, json};

/// Where a socket is.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::qemu) enum SocketAddress {
    /// A descriptor that is handed over (the text stands for its number).
    Fd(String),
    /// A path.
    Unix(String),
    /// Host and port.
    Inet {
        /// Name or address.
        host: String,
        /// Port or service.
        port: String,
    },
}

/// A stream socket.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::qemu) struct Socket {
    /// Where it is.
    pub(in crate::qemu) address: SocketAddress,
    /// QEMU listens.
    pub(in crate::qemu) server: bool,
    /// QEMU starts without waiting for a client.
    pub(in crate::qemu) no_wait: bool,
    /// The telnet protocol.
    pub(in crate::qemu) telnet: bool,
    /// Seconds between attempts to connect again.
    pub(in crate::qemu) reconnect: Option<u32>,
    /// Name of the TLS credentials.
    pub(in crate::qemu) tls: Option<String>,
}

impl Socket {
    /// A connection to an address.
    pub(in crate::qemu) fn connect(address: SocketAddress) -> Self {
        Self { address, server: false, no_wait: false, telnet: false, reconnect: None, tls: None }
    }

    /// A server that QEMU does not wait for clients of.
    pub(in crate::qemu) fn listen(address: SocketAddress) -> Self {
        Self { server: true, no_wait: true, ..Self::connect(address) }
    }
}

/// A kind of back end.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::qemu) enum Backend {
    /// Nothing.
    Null,
    /// A text screen of QEMU's display.
    Vc,
    /// A pseudo-terminal.
    Pty,
    /// QEMU's own input and output.
    Stdio,
    /// A serial device of the host.
    Serial(String),
    /// A parallel port of the host.
    Parallel(String),
    /// A pair of named pipes.
    Pipe(String),
    /// A file to append to.
    File(String),
    /// Datagrams: the other side, and our own where it is fixed.
    Udp {
        /// Host and port of the other side.
        remote: (String, String),
        /// Host and port of ours.
        local: Option<(String, String)>,
    },
    /// A socket.
    Socket(Socket),
    /// A channel of SPICE with this name.
    Spicevmc(String),
    /// A port of SPICE with this name.
    Spiceport(String),
    /// QEMU's own agent of the clipboard and the mouse.
    Vdagent {
        /// Share the clipboard.
        clipboard: Option<bool>,
        /// Pass the mouse.
        mouse: Option<bool>,
    },
    /// A channel on D-Bus with this name.
    Dbus(String),
}

fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

impl Backend {
    /// The flat form, without a log. `milliseconds`: reconnection is told in these.
    pub(in crate::qemu) fn flat(&self, id: &str, milliseconds: bool) -> String {
        match self {
            Self::Null => format!("null,id={id}"),
            Self::Vc => format!("vc,id={id}"),
            Self::Pty => format!("pty,id={id}"),
            Self::Stdio => format!("stdio,id={id}"),
            Self::Serial(path) => format!("serial,id={id},path={}", comma(path)),
            Self::Parallel(path) => format!("parallel,id={id},path={}", comma(path)),
            Self::Pipe(path) => format!("pipe,id={id},path={}", comma(path)),
            Self::File(path) => format!("file,id={id},path={},append=on", comma(path)),
            Self::Udp { remote, local } => {
                let (host, port) = local.clone().unwrap_or((String::new(), "0".into()));
                format!(
                    "udp,id={id},host={},port={},localaddr={},localport={}",
                    comma(&remote.0),
                    comma(&remote.1),
                    comma(&host),
                    comma(&port)
                )
            }
            Self::Socket(socket) => {
                let mut out = format!("socket,id={id}");
                out.push_str(&match &socket.address {
                    SocketAddress::Fd(fd) => format!(",fd={fd}"),
                    SocketAddress::Unix(path) => format!(",path={}", comma(path)),
                    SocketAddress::Inet { host, port } => {
                        format!(",host={},port={}", comma(host), comma(port))
                    }
                });
                if socket.telnet {
                    out.push_str(",telnet=on");
                }
                if socket.server {
                    out.push_str(",server=on");
                }
                if socket.no_wait {
                    out.push_str(",wait=off");
                }
                match socket.reconnect {
                    Some(seconds) if milliseconds => {
                        out.push_str(&format!(",reconnect-ms={}", u64::from(seconds) * 1000));
                    }
                    Some(seconds) => out.push_str(&format!(",reconnect={seconds}")),
                    None => {}
                }
                if let Some(tls) = &socket.tls {
                    out.push_str(&format!(",tls-creds={tls}"));
                }
                out
            }
            Self::Spicevmc(name) => format!("spicevmc,id={id},name={}", comma(name)),
            Self::Spiceport(name) => format!("spiceport,id={id},name={}", comma(name)),
            Self::Vdagent { clipboard, mouse } => {
                let mut out = format!("qemu-vdagent,id={id},name=vdagent");
                for (key, value) in [("clipboard", clipboard), ("mouse", mouse)] {
                    if let Some(on) = value {
                        out.push_str(&format!(",{key}={}", on_off(*on)));
                    }
                }
                out
            }
            Self::Dbus(name) => format!("dbus,id={id},name={}", comma(name)),
        }
    }

    /// The arguments of `chardev-add`; `log` is the file that all output is written to, too.
    pub(in crate::qemu) fn props(&self, id: &str, milliseconds: bool, log: Option<&str>) -> Props {
        let none = Props::default;
        let (kind, data) = match self {
            Self::Null => ("null", none()),
            Self::Vc => ("vc", none()),
            Self::Pty => ("pty", none()),
            Self::Stdio => ("stdio", none()),
            Self::Serial(path) => ("serial", none().set("device", path.clone())),
            Self::Parallel(path) => ("parallel", none().set("device", path.clone())),
            Self::Pipe(path) => ("pipe", none().set("device", path.clone())),
            Self::File(path) => ("file", none().set("out", path.clone()).set("append", true)),
            Self::Udp { remote, local } => {
                let remote = inet(&remote.0, &remote.1);
                let local = local.as_ref().map(|(host, port)| inet(host, port));
                ("udp", none().set("remote", remote).opt("local", local))
            }
            Self::Socket(socket) => ("socket", socket.data(milliseconds)),
            Self::Spicevmc(name) => ("spicevmc", none().set("type", name.clone())),
            Self::Spiceport(name) => ("spiceport", none().set("fqdn", name.clone())),
            Self::Vdagent { clipboard, mouse } => {
                ("qemu-vdagent", none().opt("clipboard", *clipboard).opt("mouse", *mouse))
            }
            Self::Dbus(name) => ("dbus", none().set("name", name.clone())),
        };
        let data = match log {
            Some(log) => data.set("logfile", log).set("logappend", true),
            None => data,
        };
        let backend = Props::default().set("type", kind).set("data", data);
        Props::default().set("id", id).set("backend", backend)
    }
}

impl Socket {
    fn data(&self, milliseconds: bool) -> Props {
        let mut data = Props::default();
        data = match &self.address {
            SocketAddress::Fd(fd) => data.set("addr", json!({"type": "fd", "data": {"str": fd}})),
            SocketAddress::Unix(path) => {
                data.set("addr", json!({"type": "unix", "data": {"path": path}}))
            }
            SocketAddress::Inet { host, port } => {
                data.set("addr", inet(host, port)).set("telnet", self.telnet)
            }
        };
        data = data.set("server", self.server);
        if self.no_wait {
            data = data.set("wait", false);
        }
        data = match self.reconnect {
            Some(seconds) if milliseconds => data.set("reconnect-ms", u64::from(seconds) * 1000),
            Some(seconds) => data.set("reconnect", seconds),
            None => data,
        };
        data.opt("tls-creds", self.tls.clone())
    }
}

fn inet(host: &str, port: &str) -> Value {
    json!({"type": "inet", "data": {"host": host, "port": port}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(backend: &Backend, flat: &str, json: &str) {
        assert_eq!(backend.flat("c", true), flat);
        assert_eq!(backend.props("c", true, None).to_string(), json);
    }

    #[test]
    fn both_forms_say_the_same() {
        check(
            &Backend::Socket(Socket {
                reconnect: Some(3),
                telnet: true,
                tls: Some("t".into()),
                ..Socket::connect(SocketAddress::Inet { host: "h".into(), port: "1".into() })
            }),
            "socket,id=c,host=h,port=1,telnet=on,reconnect-ms=3000,tls-creds=t",
            r#"{"id":"c","backend":{"type":"socket","data":{"addr":{"type":"inet","data":{"host":"h","port":"1"}},"telnet":true,"server":false,"reconnect-ms":3000,"tls-creds":"t"}}}"#,
        );
        check(
            &Backend::Socket(Socket::listen(SocketAddress::Unix("/a,b".into()))),
            "socket,id=c,path=/a,,b,server=on,wait=off",
            r#"{"id":"c","backend":{"type":"socket","data":{"addr":{"type":"unix","data":{"path":"/a,b"}},"server":true,"wait":false}}}"#,
        );
        check(
            &Backend::Udp { remote: ("h".into(), "1".into()), local: None },
            "udp,id=c,host=h,port=1,localaddr=,localport=0",
            r#"{"id":"c","backend":{"type":"udp","data":{"remote":{"type":"inet","data":{"host":"h","port":"1"}}}}}"#,
        );
    }
}
