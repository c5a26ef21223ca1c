//! The tables in which the firmware tells of the computer: `<sysinfo>`.

use diag::ErrorDomain;

use super::rule::{Checker, text};
use crate::domain::sysinfo::{Sysinfo, SysinfoBlock};

/// A kind of table: entries by name, and the name that a fault gives them.
type Entries = &'static [(&'static str, &'static str)];

const BIOS: Entries = &[
    ("vendor", "BIOS vendor"),
    ("version", "BIOS version"),
    ("date", "BIOS date"),
    ("release", "BIOS release"),
];
const SYSTEM: Entries = &[
    ("manufacturer", "system vendor"),
    ("product", "system product"),
    ("version", "system version"),
    ("serial", "system serial"),
    ("uuid", "system uuid"),
    ("sku", "system sku"),
    ("family", "system family"),
];
const BASE_BOARD: Entries = &[
    ("manufacturer", "base board vendor"),
    ("product", "base board product"),
    ("version", "base board version"),
    ("serial", "base board serial"),
    ("asset", "base board asset"),
    ("location", "base board location"),
];
const CHASSIS: Entries = &[
    ("manufacturer", "chassis vendor"),
    ("version", "chassis version"),
    ("serial", "chassis serial"),
    ("asset", "chassis asset"),
    ("sku", "chassis sku"),
];

/// Compares them in their order. What the host puts through (`fwcfg`) and free texts of the maker
/// are no part of the machine.
pub(super) fn check(a: &[Sysinfo], b: &[Sysinfo], cx: &mut Checker) {
    let says = "Target domain count of sysinfo does not match source";
    if !cx.compare(|| "sysinfo".to_owned(), says, a.len(), b.len()) {
        return;
    }
    let reporter = std::mem::replace(&mut cx.domain, ErrorDomain::SYSINFO);
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        let path = format!("sysinfo[{}]", i + 1);
        let says = "Target sysinfo {target} does not match source {source}";
        if !cx.compare(|| format!("{path}/@type"), says, x.kind, y.kind) {
            continue;
        }
        let absent = "Target sysinfo does not match source";
        block(cx, &format!("{path}/bios"), absent, BIOS, (&x.bios, &y.bios));
        block(cx, &format!("{path}/system"), absent, SYSTEM, (&x.system, &y.system));
        boards(cx, &path, &x.base_boards, &y.base_boards);
        let absent = "Target chassis does not match source";
        block(cx, &format!("{path}/chassis"), absent, CHASSIS, (&x.chassis, &y.chassis));
    }
    cx.domain = reporter;
}

fn boards(cx: &mut Checker, path: &str, a: &[SysinfoBlock], b: &[SysinfoBlock]) {
    let path = format!("{path}/baseBoard");
    let says = "Target sysinfo base board count '{target}' does not match source '{source}'";
    cx.lists(&path, says, a, b, |cx, path, x, y| entries(cx, path, BASE_BOARD, x, y));
}

fn block(
    cx: &mut Checker,
    path: &str,
    absent: &str,
    names: Entries,
    pair: (&Option<SysinfoBlock>, &Option<SysinfoBlock>),
) {
    match pair {
        (Some(x), Some(y)) => entries(cx, path, names, x, y),
        (x, y) => {
            let there = |b: &Option<SysinfoBlock>| if b.is_some() { "given" } else { "none" };
            cx.compare(|| path.to_owned(), absent, there(x), there(y));
        }
    }
}

fn entries(cx: &mut Checker, path: &str, names: Entries, a: &SysinfoBlock, b: &SysinfoBlock) {
    for (name, told) in names {
        let value = |block: &SysinfoBlock| {
            text(block.entries.iter().find(|e| e.name == *name).map(|e| e.value.as_str()))
        };
        let says = format!("Target sysinfo {told} {{target}} does not match source {{source}}");
        cx.compare(|| format!("{path}/entry[@name='{name}']"), &says, value(a), value(b));
    }
}
