//! Character devices: of every kind of host side just what that kind has.

use crate::domain::devices::Devices;
use crate::domain::devices::chardev::{
    CharPort, CharProtocol, CharSource, CharSourceElement, CharType,
};

/// Drops what a kind of host side has no use for, and what says nothing.
pub(super) fn canonicalize(dev: &mut Devices) {
    for c in [&mut dev.serials, &mut dev.parallels, &mut dev.consoles, &mut dev.channels]
        .into_iter()
        .flatten()
    {
        if let Some(target) = &mut c.target {
            target.port = target.port.filter(|port| *port != CharPort::NONE);
        }
        let CharSource { kind, sources, protocol, .. } = &mut c.source;
        source(*kind, sources, protocol, true);
    }
    for r in &mut dev.redirdevs {
        let CharSource { kind, sources, protocol, .. } = &mut r.source;
        source(*kind, sources, protocol, false);
    }
    for s in &mut dev.smartcards {
        if let Some(kind) = s.source.kind {
            source(kind, &mut s.source.sources, &mut s.source.protocol, false);
        }
    }
    for r in &mut dev.rngs {
        if let Some(kind) = r.backend.source.kind {
            let s = &mut r.backend.source;
            source(kind, &mut s.sources, &mut s.protocol, false);
        }
    }
}

/// `labelled`: whether devices of this element have labels of their own.
fn source(
    kind: CharType,
    sources: &mut Vec<CharSourceElement>,
    protocol: &mut Option<CharProtocol>,
    labelled: bool,
) {
    use CharType::*;
    for s in sources.iter_mut() {
        let had = std::mem::take(s);
        let network = matches!(kind, Tcp | Udp);
        *s = CharSourceElement {
            mode: had.mode.filter(|_| network || kind == Unix),
            path: had.path.filter(|_| matches!(kind, Dev | File | Pipe | Unix | Pty)),
            host: had.host.filter(|_| network),
            service: had.service.filter(|_| network),
            tls: had.tls.filter(|_| kind == Tcp),
            tls_from_config: had.tls_from_config.filter(|_| kind == Tcp),
            append: had.append.filter(|_| kind == File),
            channel: had.channel.filter(|_| matches!(kind, Spiceport | Dbus)),
            master: had.master.filter(|_| kind == Nmdm),
            slave: had.slave.filter(|_| kind == Nmdm),
            reconnect: had.reconnect.filter(|_| matches!(kind, Tcp | Unix)),
            clipboard: had.clipboard.filter(|_| kind == QemuVdagent),
            mouse: had.mouse.filter(|_| kind == QemuVdagent),
            seclabels: if labelled && matches!(kind, Dev | File | Pipe | Unix | Pty) {
                had.seclabels
            } else {
                Vec::new()
            },
        };
        super::interfaces::seclabels(&mut s.seclabels);
    }
    let has_source = !matches!(kind, Null | Vc | Stdio | Pty | Spicevmc | QemuVdagent);
    sources.retain(|s| has_source || *s != CharSourceElement::default());
    if kind != Tcp {
        *protocol = None;
    }
}
