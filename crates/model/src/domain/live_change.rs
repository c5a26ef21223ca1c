//! Which differences between two configurations a running guest could take.
//!
//! The answer says whether there is a call that does it (`setvcpus`, `update-device`,
//! `attach-device`, `schedinfo` and the like), as libvirt 11.3's QEMU driver allows it; whether the
//! guest then plays along is another matter. Found by asking libvirt with a running guest.

use xml::{Difference, Element};

/// When a changed configuration takes effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub enum LiveChange {
    /// A running guest can take it.
    Live,
    /// The guest has it when it starts the next time.
    NextStart,
    /// It makes another domain of it: no definition of this one can have it.
    Never,
}

impl LiveChange {
    /// The word that reports use.
    pub fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::NextStart => "next start",
            Self::Never => "never",
        }
    }
}

/// Paths outside of `<devices>` that a running guest can take, with all that lies below them.
const LIVE: &[&str] = &[
    "title",
    "description",
    "metadata",
    // setmem
    "currentMemory",
    // setvcpus, setvcpu
    "vcpu/@current",
    "vcpus/vcpu/@enabled",
    "vcpus/vcpu/@order",
    // iothreadadd, iothreaddel, iothreadset
    "iothreads",
    "iothreadids",
    // schedinfo, vcpupin, emulatorpin, iothreadpin
    "cputune/shares",
    "cputune/period",
    "cputune/quota",
    "cputune/global_period",
    "cputune/global_quota",
    "cputune/emulator_period",
    "cputune/emulator_quota",
    "cputune/iothread_period",
    "cputune/iothread_quota",
    "cputune/vcpupin",
    "cputune/emulatorpin",
    "cputune/iothreadpin",
    // memtune, blkiotune, numatune, perf
    "memtune/hard_limit",
    "memtune/soft_limit",
    "memtune/swap_hard_limit",
    "blkiotune",
    "numatune/memory/@nodeset",
    "perf",
    // set-lifecycle-action
    "on_poweroff",
    "on_reboot",
    "on_crash",
];

/// Parts of a device that `update-device`, or a call of its own, changes while the guest runs.
const LIVE_PARTS: &[(&str, &[&str])] = &[
    ("disk", &["source/@startupPolicy", "@snapshot", "iotune"]),
    (
        "interface",
        &[
            "source/@network",
            "source/@portgroup",
            "source/@bridge",
            "link",
            "bandwidth",
            "filterref",
            "coalesce",
            "vlan",
            "@trustGuestRxFilters",
        ],
    ),
    ("graphics", &["@passwd", "@passwdValidTo", "@connected"]),
    ("memballoon", &["stats"]),
    ("memory", &["target/requested"]),
];

/// When the difference between two `<domain>` documents takes effect. It comes from
/// [`xml::compare`] on their roots.
pub fn live_change(difference: &Difference<'_>) -> LiveChange {
    let path = plain(&difference.change.path);
    if path == "uuid/text()" || path == "name/text()" || path == "uuid" || path == "name" {
        return LiveChange::Never;
    }
    let live = match path.strip_prefix("devices/") {
        Some(inside) => device(inside, difference),
        None => LIVE.iter().any(|p| below(&path, p)),
    };
    if live { LiveChange::Live } else { LiveChange::NextStart }
}

/// The path without the conditions on its steps.
fn plain(path: &str) -> String {
    let (mut out, mut depth, mut quote) = (String::with_capacity(path.len()), 0_usize, None);
    for c in path.chars() {
        match (c, quote) {
            (c, Some(q)) if c == q => quote = None,
            (_, Some(_)) => {}
            ('[', None) => depth += 1,
            (']', None) => depth = depth.saturating_sub(1),
            ('\'' | '"', None) if depth > 0 => quote = Some(c),
            (c, None) if depth == 0 => out.push(c),
            _ => {}
        }
    }
    out
}

/// `path` is `prefix` or lies in it.
fn below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn device(inside: &str, difference: &Difference<'_>) -> bool {
    // The root, <devices>, the device.
    let Some(el) = difference.within.get(2) else { return false };
    let (kind, part) = match inside.split_once('/') {
        Some((kind, part)) => (kind, part),
        None => return pluggable(*el),
    };
    let removable = kind == "disk" && matches!(el.attr("device"), Some("cdrom" | "floppy"));
    // The medium: what the drive is stays.
    if removable && (below(part, "source") || part == "driver/@type" || part == "@type") {
        return true;
    }
    LIVE_PARTS.iter().any(|(name, parts)| *name == kind && parts.iter().any(|p| below(part, p)))
}

/// The device can come to a running guest, and leave it.
fn pluggable(el: Element<'_>) -> bool {
    let target = |attr: &str| el.child("target").and_then(|t| t.attr(attr));
    match el.name() {
        "disk" => {
            matches!(target("bus"), Some("virtio" | "scsi" | "usb"))
                && el.attr("device") != Some("floppy")
        }
        "interface" | "hostdev" | "redirdev" | "rng" | "shmem" | "vsock" | "lease" => true,
        "memory" => !matches!(el.attr("model"), Some("sgx-epc")),
        "watchdog" => matches!(el.attr("model"), Some("i6300esb" | "ib700" | "diag288")),
        "input" => matches!(el.attr("bus"), Some("usb" | "virtio")),
        "controller" => matches!(el.attr("type"), Some("scsi" | "virtio-serial")),
        "filesystem" => el.child("driver").and_then(|d| d.attr("type")) == Some("virtiofs"),
        "channel" => target("type") == Some("virtio"),
        "console" => matches!(target("type"), Some("virtio")),
        "serial" => matches!(target("type"), Some("usb-serial" | "pci-serial")),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `old` and `new` are contents of a `<domain>`.
    fn check(old: &str, new: &str, expected: &[(&str, LiveChange)]) {
        let whole = |inner: &str| format!("<domain>{inner}</domain>");
        let (old, new) = (whole(old), whole(new));
        let (a, b) = (xml::Document::parse(&old).unwrap(), xml::Document::parse(&new).unwrap());
        let by_target = |e: Element<'_>| {
            e.child("target")?.attr("dev").map(|dev| format!("target/@dev='{dev}'"))
        };
        let found: Vec<_> = xml::compare(a.root(), b.root(), &by_target)
            .iter()
            .map(|d| (d.change.path.clone(), live_change(d)))
            .collect();
        let found: Vec<_> = found.iter().map(|(p, l)| (p.as_str(), *l)).collect();
        assert_eq!(found, expected, "{old} -> {new}");
    }

    use LiveChange::{Live, Never, NextStart};

    #[test]
    fn settings_of_the_whole_guest() {
        check(
            "<name>a</name><uuid>1</uuid><vcpu current='1'>4</vcpu><on_crash>destroy</on_crash>",
            "<name>b</name><uuid>2</uuid><vcpu current='2'>8</vcpu><on_crash>preserve</on_crash>",
            &[
                ("name/text()", Never),
                ("uuid/text()", Never),
                ("vcpu/@current", Live),
                ("vcpu/text()", NextStart),
                ("on_crash/text()", Live),
            ],
        );
        check(
            "<memory>1</memory><currentMemory>1</currentMemory><cputune><shares>1</shares></cputune>",
            "<memory>2</memory><currentMemory>2</currentMemory><cputune>\
             <vcpusched vcpus='0' scheduler='rr'/></cputune>",
            &[
                ("memory/text()", NextStart),
                ("currentMemory/text()", Live),
                ("cputune/shares", Live),
                ("cputune/vcpusched", NextStart),
            ],
        );
    }

    #[test]
    fn media_change_and_disks_do_not() {
        let disk = |device: &str, bus: &str, inner: &str| {
            format!(
                "<devices><disk type='file' device='{device}'><target dev='sda' bus='{bus}'/>\
                 {inner}</disk></devices>"
            )
        };
        let (a, b) = ("<source file='a'/>", "<source file='b'/>");
        let source = "devices/disk/source/@file";
        check(&disk("cdrom", "sata", a), &disk("cdrom", "sata", b), &[(source, Live)]);
        check(&disk("disk", "virtio", a), &disk("disk", "virtio", b), &[(source, NextStart)]);
        let driver = "<driver cache='none'/>";
        check(
            &disk("disk", "virtio", ""),
            &disk("disk", "virtio", driver),
            &[("devices/disk/driver", NextStart)],
        );
        let gone = "devices/disk[target/@dev='sda']";
        check(&disk("disk", "virtio", a), "<devices/>", &[(gone, Live)]);
        check(&disk("disk", "sata", a), "<devices/>", &[(gone, NextStart)]);
        check(&disk("cdrom", "sata", a), "<devices/>", &[(gone, NextStart)]);
        check("<devices/>", &disk("disk", "scsi", a), &[(gone, Live)]);
    }

    #[test]
    fn devices_by_their_bus_and_parts() {
        let devices = |inner: &str| format!("<devices>{inner}</devices>");
        for (old, new, path, expected) in [
            ("", "<input type='tablet' bus='usb'/>", "devices/input", Live),
            ("", "<input type='mouse' bus='ps2'/>", "devices/input", NextStart),
            ("", "<video/>", "devices/video", NextStart),
            ("", "<controller type='usb'/>", "devices/controller", NextStart),
            ("<rng/>", "", "devices/rng", Live),
            (
                "<graphics type='vnc'/>",
                "<graphics type='vnc' passwd='x'/>",
                "devices/graphics/@passwd",
                Live,
            ),
            (
                "<graphics type='vnc'/>",
                "<graphics type='vnc' keymap='de'/>",
                "devices/graphics/@keymap",
                NextStart,
            ),
            (
                "<interface type='network'/>",
                "<interface type='network'><link state='down'/></interface>",
                "devices/interface/link",
                Live,
            ),
        ] {
            check(&devices(old), &devices(new), &[(path, expected)]);
        }
    }
}
