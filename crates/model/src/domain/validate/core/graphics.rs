//! Displays.

use xml::YesNo;

use super::super::Faults;
use crate::domain::devices::Devices;
use crate::domain::devices::graphics::{ConnectedAction, Graphics, GraphicsType, ListenType};

pub(super) fn check(dev: &Devices, out: &mut Faults) {
    for g in &dev.graphics {
        listens(g, out);
        if g.gl.as_ref().is_some_and(|gl| gl.enable.is_none())
            && matches!(g.kind, GraphicsType::Sdl | GraphicsType::Spice | GraphicsType::Dbus)
        {
            out.xml("domain.graphics-gl", "Missing required attribute 'enable' in element 'gl'");
        }
        password(g, out);
        if g.kind == GraphicsType::Dbus && g.p2p == Some(YesNo::Yes) && g.address.is_some() {
            out.xml("domain.graphics-dbus", "D-Bus p2p with an address is not supported");
        }
    }
}

/// What goes with a password is looked at only where there is one.
fn password(g: &Graphics, out: &mut Faults) {
    if g.passwd.is_none() {
        return;
    }
    if let Some(to) = g.passwd_valid_to.as_ref().filter(|to| !is_time(to)) {
        out.internal(
            "domain.graphics-password",
            format!("cannot parse password validity time '{to}', expect YYYY-MM-DDTHH:MM:SS"),
        );
    }
    let keeps = g.connected.is_none_or(|connected| connected == ConnectedAction::Keep);
    if g.kind == GraphicsType::Vnc && !keeps {
        out.unsupported("domain.graphics-connected", "VNC supports connected='keep' only");
    }
}

/// `YYYY-MM-DDTHH:MM:SS`.
fn is_time(text: &str) -> bool {
    let shape = b"0000-00-00T00:00:00";
    text.len() == shape.len()
        && text.bytes().zip(shape).all(
            |(c, s)| {
                if *s == b'0' { c.is_ascii_digit() } else { c == *s }
            },
        )
}

fn listens(g: &Graphics, out: &mut Faults) {
    let Some(first) = g.listens.first() else { return };
    if let (Some(a), ListenType::Address) = (&g.listen, first.kind)
        && let Some(b) = &first.address
        && a != b
    {
        out.unsupported(
            "domain.graphics-listen",
            format!(
                "graphics 'listen' attribute '{a}' must match 'address' attribute of first listen element (found '{b}')"
            ),
        );
    }
    if let (Some(a), ListenType::Socket) = (&g.socket, first.kind)
        && let Some(b) = &first.socket
        && a != b
    {
        out.xml(
            "domain.graphics-listen",
            format!(
                "graphics 'socket' attribute '{a}' must match 'socket' attribute of first listen element (found '{b}')"
            ),
        );
    }
    for l in &g.listens {
        let kind = l.kind.as_str();
        for (name, there, wanted) in [
            (
                "address",
                l.address.is_some(),
                matches!(l.kind, ListenType::Address | ListenType::Network),
            ),
            ("network", l.network.is_some(), l.kind == ListenType::Network),
            ("socket", l.socket.is_some(), l.kind == ListenType::Socket),
        ] {
            if there && !wanted {
                out.xml(
                    "domain.graphics-listen",
                    format!("'{name}' attribute is valid only for listen type '{name}'"),
                );
            }
        }
        if l.kind == ListenType::Network && l.network.is_none() {
            out.xml(
                "domain.graphics-listen",
                format!("'network' attribute is required for listen type '{kind}'"),
            );
        }
    }
}
