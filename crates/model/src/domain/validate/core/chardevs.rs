//! Character devices.

use xml::YesNo;

use super::super::Faults;
use crate::domain::devices::Devices;
use crate::domain::devices::chardev::{
    CharSourceElement, CharTargetType, CharType, ProtocolType, SocketMode,
};
use crate::domain::devices::smartcard::SmartcardMode;

pub(super) fn check(dev: &Devices, out: &mut Faults) {
    // The first console repeats the first serial port.
    let copy = usize::from(!dev.serials.is_empty()).min(dev.consoles.len());
    let consoles = dev.consoles.get(copy..).unwrap_or_default();
    for c in dev.serials.iter().chain(&dev.parallels).chain(consoles) {
        source(c.source.kind, &c.source.sources, false, out);
        if c.source.kind == CharType::Spicevmc {
            out.unsupported("domain.char-spicevmc", "spicevmc device type only supports virtio");
        }
    }
    for c in &dev.channels {
        let target = c.target.as_ref();
        let virtio = target.is_some_and(|t| t.kind == Some(CharTargetType::Virtio));
        source(c.source.kind, &c.source.sources, virtio, out);
        if c.source.kind == CharType::Spicevmc && !virtio {
            out.unsupported("domain.char-spicevmc", "spicevmc device type only supports virtio");
        }
        match target.and_then(|t| t.kind) {
            None if target.is_none() => {
                out.xml("domain.channel-target", "target type must be specified for channel device")
            }
            None => out.unsupported(
                "domain.channel-target",
                "unknown target type '(null)' specified for character device",
            ),
            Some(CharTargetType::Guestfwd) => {
                let address = target.and_then(|t| t.address.as_deref());
                if address.is_none() {
                    out.xml(
                        "domain.channel-target",
                        "guestfwd channel does not define a target address",
                    );
                }
                if let Some(bad) = address.filter(|a| a.parse::<core::net::IpAddr>().is_err()) {
                    out.code(
                        "domain.channel-target",
                        diag::ErrorCode::SYSTEM_ERROR,
                        format!("Cannot parse socket address '{bad}': Name or service not known"),
                    );
                }
                if address.is_some_and(|a| a.parse::<core::net::Ipv6Addr>().is_ok()) {
                    out.unsupported(
                        "domain.channel-target",
                        "guestfwd channel only supports IPv4 addresses",
                    );
                }
                if target.is_some_and(|t| t.port.is_none()) {
                    out.xml(
                        "domain.channel-target",
                        "Missing required attribute 'port' in element 'target'",
                    );
                }
            }
            _ => {}
        }
    }
    for r in &dev.redirdevs {
        source(r.source.kind, &r.source.sources, false, out);
    }
    for c in &dev.smartcards {
        smartcard(c, out);
    }
    for r in &dev.rngs {
        if let Some(kind) = r.backend.source.kind {
            source(kind, &r.backend.source.sources, false, out);
        } else if r.backend.model == crate::domain::devices::rng::RngBackendModel::Egd {
            out.xml("domain.rng-egd", "missing EGD backend type");
        }
    }
}

fn smartcard(c: &crate::domain::devices::smartcard::Smartcard, out: &mut Faults) {
    match c.mode {
        SmartcardMode::HostCertificates => {
            if c.certificates.len() != 3 {
                out.xml(
                    "domain.smartcard",
                    "host-certificates mode needs exactly three certificates",
                );
            }
            if let Some(d) = c.database.as_ref().filter(|d| !d.starts_with('/')) {
                out.xml("domain.smartcard", format!("expecting absolute path: {d}"));
            }
        }
        SmartcardMode::Passthrough => match c.source.kind {
            None => out.xml(
                "domain.smartcard",
                "passthrough mode requires a character device type attribute",
            ),
            Some(kind) => source(kind, &c.source.sources, false, out),
        },
        SmartcardMode::Host => {}
    }
}

fn source(kind: CharType, sources: &[CharSourceElement], virtio: bool, out: &mut Faults) {
    let first = sources.first();
    let missing = |what: &str, out: &mut Faults| {
        out.internal(
            "domain.char-source",
            format!("Missing source {what} attribute for char device"),
        );
    };
    let most = if kind == CharType::Udp { 2 } else { 1 };
    if sources.len() > most {
        out.xml(
            "domain.char-source",
            if most == 2 {
                "only two source elements are allowed for character device"
            } else {
                "only one source element is allowed for character device"
            },
        );
    }
    match kind {
        CharType::File | CharType::Dev | CharType::Pipe
            if first.and_then(|s| s.path.as_ref()).is_none() =>
        {
            missing("path", out);
        }
        CharType::Unix => {
            // The path of a channel is made up at the start.
            if !virtio && first.and_then(|s| s.path.as_ref()).is_none() {
                missing("path", out);
            }
            reconnect(first, out);
        }
        CharType::Tcp => {
            if first.and_then(|s| s.host.as_ref()).is_none() {
                missing("host", out);
            } else if first.and_then(|s| s.service.as_ref()).is_none() {
                missing("service", out);
            }
            reconnect(first, out);
        }
        CharType::Udp => {
            let connect = sources.iter().find(|s| s.mode != Some(SocketMode::Bind));
            if connect.and_then(|s| s.service.as_ref()).is_none() {
                missing("service", out);
            }
        }
        CharType::Spiceport | CharType::Dbus
            if first.and_then(|s| s.channel.as_ref()).is_none() =>
        {
            out.unsupported(
                "domain.char-source",
                "Missing source channel attribute for char device",
            );
        }
        CharType::Nmdm if first.is_none_or(|s| s.master.is_none() || s.slave.is_none()) => {
            out.internal(
                "domain.char-source",
                "Should define both master and slave path attributes for nmdm device",
            );
        }
        _ => {}
    }
}

fn reconnect(source: Option<&CharSourceElement>, out: &mut Faults) {
    let Some(s) = source else { return };
    let Some(r) = s.reconnect.as_ref().filter(|r| r.enabled == Some(YesNo::Yes)) else { return };
    if r.timeout.is_none() {
        out.xml(
            "domain.char-reconnect",
            "Missing required attribute 'timeout' in element 'reconnect'",
        );
    } else if r.timeout == Some(0) {
        out.code(
            "domain.char-reconnect",
            diag::ErrorCode::INVALID_ARG,
            "chardev reconnect source timeout cannot be '0'",
        );
    } else if s.mode.is_some_and(|m| m != SocketMode::Connect) {
        out.internal(
            "domain.char-reconnect",
            "chardev reconnect is possible only for connect mode",
        );
    }
}

/// Whether a protocol is one that the schema allows but no driver has.
pub(in super::super) fn is_unsupported(p: ProtocolType) -> bool {
    matches!(p, ProtocolType::Telnets | ProtocolType::Tls)
}
