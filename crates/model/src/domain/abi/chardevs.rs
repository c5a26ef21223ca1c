//! Serial ports, consoles, channels, redirected USB devices.

use super::address::{Placed, place};
use super::rule::{Checker, Rule, number, text};
use crate::domain::devices::Devices;
use crate::domain::devices::chardev::{CharTargetType, Serial};
use crate::domain::devices::redirdev::{RedirDev, RedirFilter, RedirRule};
use crate::domain::devices::smartcard::Smartcard;

const SERIAL: &[Rule<Serial>] = &[Rule {
    at: "target/@port",
    says: "Target serial port {target} does not match source {source}",
    value: port,
}];
const PARALLEL: &[Rule<Serial>] = &[Rule {
    at: "target/@port",
    says: "Target parallel port {target} does not match source {source}",
    value: port,
}];

const CHANNEL_TYPE: &[Rule<Serial>] = &[Rule {
    at: "target/@type",
    says: "Target channel type {target} does not match source {source}",
    value: |s| {
        s.target.as_ref().and_then(|t| t.kind).map_or("none", CharTargetType::as_str).to_owned()
    },
}];
const VIRTIO_CHANNEL: &[Rule<Serial>] = &[Rule {
    at: "target/@name",
    says: "Target channel name {target} does not match source {source}",
    value: |s| text(s.target.as_ref().and_then(|t| t.name.as_deref())),
}];
const GUESTFWD: &[Rule<Serial>] = &[Rule {
    at: "target/@address",
    says: "Target channel addr {target} does not match source {source}",
    value: |s| {
        let address = text(s.target.as_ref().and_then(|t| t.address.as_deref()));
        format!("{address}:{}", port(s))
    },
}];
const CONSOLE: &[Rule<Serial>] = &[Rule {
    at: "target/@type",
    says: "Target console type {target} does not match source {source}",
    value: |s| {
        s.target.as_ref().and_then(|t| t.kind).map_or("none", CharTargetType::as_str).to_owned()
    },
}];

const SMARTCARD: &[Rule<Smartcard>] = &[];

const REDIRDEV: &[Rule<RedirDev>] = &[
    Rule {
        at: "@bus",
        says: "Target redirected device bus {target} does not match source {source}",
        value: |r| r.bus.to_string(),
    },
    Rule {
        at: "@type",
        says: "Target redirected device source type {target} does not match source device source \
               type {source}",
        value: |r| r.source.kind.to_string(),
    },
];

const FILTER: &[Rule<RedirRule>] = &[
    Rule {
        at: "@class",
        says: "Target USB Class code does not match source",
        value: |r| number_or_any(r.class.as_deref()),
    },
    Rule {
        at: "@vendor",
        says: "Target USB vendor ID does not match source",
        value: |r| number_or_any(r.vendor.as_deref()),
    },
    Rule {
        at: "@product",
        says: "Target USB product ID does not match source",
        value: |r| number_or_any(r.product.as_deref()),
    },
    Rule {
        at: "@version",
        says: "Target USB version does not match source",
        value: |r| r.version.clone().unwrap_or_else(|| "-1".to_owned()),
    },
    Rule {
        at: "@allow",
        says: "Target USB allow '{target}' does not match source '{source}'",
        value: |r| r.allow.to_string(),
    },
];

/// An id in either notation; absent and -1 mean any.
fn number_or_any(id: Option<&str>) -> String {
    let id = id.unwrap_or("-1");
    let hex = id.strip_prefix("0x").or_else(|| id.strip_prefix("0X"));
    match hex.and_then(|h| u32::from_str_radix(h, 16).ok()) {
        Some(n) => n.to_string(),
        None => id.to_owned(),
    }
}

fn port(s: &Serial) -> String {
    number(s.target.as_ref().and_then(|t| t.port).map(|port| port.0))
}

/// Smart card readers and ports.
pub(super) fn ports(a: &Devices, b: &Devices, cx: &mut Checker) {
    let says = "Target domain smartcard count {target} does not match source {source}";
    cx.lists("devices/smartcard", says, &a.smartcards, &b.smartcards, |cx, path, x, y| {
        cx.rules(path, SMARTCARD, x, y);
        place(cx, path, x.place(), y.place());
    });
    let says = "Target domain serial port count {target} does not match source {source}";
    cx.lists("devices/serial", says, &a.serials, &b.serials, |cx, path, x, y| {
        cx.rules(path, SERIAL, x, y);
        place(cx, path, x.place(), y.place());
    });
    let says = "Target domain parallel port count {target} does not match source {source}";
    cx.lists("devices/parallel", says, &a.parallels, &b.parallels, |cx, path, x, y| {
        cx.rules(path, PARALLEL, x, y);
        place(cx, path, x.place(), y.place());
    });
    let says = "Target domain channel count {target} does not match source {source}";
    cx.lists("devices/channel", says, &a.channels, &b.channels, channel);
    let says = "Target domain console count {target} does not match source {source}";
    cx.lists("devices/console", says, &a.consoles, &b.consoles, |cx, path, x, y| {
        cx.rules(path, CONSOLE, x, y);
        place(cx, path, x.place(), y.place());
    });
}

fn channel(cx: &mut Checker, path: &str, a: &Serial, b: &Serial) {
    cx.rules(path, CHANNEL_TYPE, a, b);
    let kind = |s: &Serial| s.target.as_ref().and_then(|t| t.kind);
    if kind(a) != kind(b) {
        return;
    }
    match kind(a) {
        Some(CharTargetType::Virtio | CharTargetType::Xen) => cx.rules(path, VIRTIO_CHANNEL, a, b),
        Some(CharTargetType::Guestfwd) => cx.rules(path, GUESTFWD, a, b),
        _ => {}
    }
    place(cx, path, a.place(), b.place());
}

/// USB devices of a client.
pub(super) fn redirected(a: &Devices, b: &Devices, cx: &mut Checker) {
    let says = "Target domain redirected devices count {target} does not match source {source}";
    cx.lists("devices/redirdev", says, &a.redirdevs, &b.redirdevs, |cx, path, x, y| {
        cx.rules(path, REDIRDEV, x, y);
        place(cx, path, x.place(), y.place());
    });
}

/// Which of them are let through.
pub(super) fn filters(a: &Devices, b: &Devices, cx: &mut Checker) {
    let says = "Target domain USB redirection filter count {target} does not match source {source}";
    let each = |cx: &mut Checker, path: &str, x: &RedirFilter, y: &RedirFilter| {
        let says =
            "Target USB redirection filter rule count {target} does not match source {source}";
        let path = format!("{path}/usbdev");
        cx.lists(&path, says, &x.rules, &y.rules, |cx, path, x, y| cx.rules(path, FILTER, x, y));
    };
    cx.lists("devices/redirfilter", says, &a.redir_filters, &b.redir_filters, each);
}
