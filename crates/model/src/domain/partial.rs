//! Faults of the checks in a document that also has faults of the mapping.
//!
//! A value that cannot be read leaves no domain, so defaults and checks have nothing to look at.
//! Whoever corrects such a document would meet the rest of its faults only afterwards. So the
//! elements at fault are left out, the others are completed and checked, and of what comes out only
//! those faults are kept that stand whatever the left-out elements were meant to say.

use diag::{Diagnostic, Severity};
use xml::{Document, Element};

use super::defaults::{self, DefaultsContext};
use super::validate::MOST_FAULTS;
use super::{Domain, ParseOptions, VirtType, text, validate, validate_core};

/// Longer documents are made by programs; they get the faults of the mapping alone.
const LONGEST: usize = 256 * 1024;

/// Everything about the threads of disks and controllers.
const THREADS: &[&str] = &["iothreads", "iothreadids"];

/// Rules about one element by itself, or about two elements that are both there: (start of the
/// names, rest of the names). What is left out cannot make them fail.
const OF_THEIR_OWN: &[(&str, &[&str])] = &[
    ("domain.", &["name-char", "name-slash", "name-dot", "title", "idmap", "perf", "seclabel"]),
    ("domain.", &["fibre-channel", "keywrap", "dirty-ring", "alias", "acpi-index", "boot-order"]),
    ("domain.", &["mac-multicast", "port-forward", "rom", "rng-egd", "smartcard", "redirfilter"]),
    ("domain.", &["acpi-table", "pci-range", "vsock-cid", "crypto", "sound-codec", "memtune"]),
    ("domain.", &["balloon-count", "device-count", "panic-duplicate", "tpm-count", "tpm-source"]),
    ("domain.", &["bootloader", "qemu-environment", "reboot-timeout", "boot-menu", "fwcfg"]),
    (
        "domain.",
        &["iothread-id", "throttle-group", "usb-none", "usb-ports", "pstore-size", "iommu-driver"],
    ),
    ("domain.", &["hugepages", "memory-block", "sysinfo-date", "audio-settings", "input-evdev"]),
    ("domain.hyperv-", &["spinlocks", "vendor"]),
    ("domain.clock-", &["timezone", "start", "adjustment"]),
    ("domain.timer-", &["setting"]),
    ("domain.cpu-", &["feature", "migratable", "vendor-id", "vendor", "phys-bits", "cache"]),
    ("domain.numa-", &["cells", "distance"]),
    ("domain.cputune-", &["period", "quota"]),
    ("domain.disk-", &["duplicate-target", "duplicate-wwn", "rawio", "sgio", "tray", "target"]),
    ("domain.disk-", &["partition", "encryption", "lun", "error-policy", "auth", "startup"]),
    ("domain.disk-", &["reservations", "backing", "source", "nvme", "host", "cookie", "seclabel"]),
    ("domain.disk-", &["vhostuser", "cdrom", "usb-empty", "removable", "transient", "driver"]),
    ("domain.disk-", &["data-store"]),
    ("domain.", &["unassigned-address"]),
    ("domain.disk-", &["format", "io", "discard", "metadata-cache", "serial", "dir", "protocol"]),
    ("domain.nic-", &["model", "source", "reconnect", "virtualport", "host-side", "bandwidth"]),
    (
        "domain.nic-",
        &["ip", "route", "queue-size", "target", "mtu", "coalesce", "isolated", "host-route"],
    ),
    ("domain.nic-", &["backend"]),
    ("domain.char-", &["spicevmc", "source", "reconnect", "protocol"]),
    ("domain.hostdev-", &["type", "source", "rawio", "sgio", "model", "teaming", "address"]),
    ("domain.hostdev-", &["usb", "iscsi", "scsi", "vhost", "boot", "mdev", "mode"]),
    ("domain.graphics-", &["audio", "password", "connected", "dbus", "listen", "type"]),
    ("domain.shmem-", &["name", "msi", "size", "model", "server"]),
    (
        "domain.filesystem-",
        &["driver", "target", "source", "type", "limit", "access", "mode", "twice"],
    ),
    ("domain.video-", &["resolution", "memory", "heads", "vram"]),
];

/// Rules that ask another element too: not kept when one of those named was left out.
const OF_OTHERS: &[(&str, &[&str])] = &[
    ("domain.os-type", &["os", "bootloader"]),
    ("domain.init", &["os", "domain"]),
    ("domain.channel-target", &["os"]),
    ("domain.timer-catchup", &["os"]),
    ("domain.vcpu-current", &["vcpu"]),
    ("domain.vcpu-offline", &["vcpu"]),
    ("domain.vcpu-id", &["vcpu"]),
    ("domain.vcpu-hotplug", &["vcpu"]),
    ("domain.vcpu-order", &["vcpu"]),
    ("domain.vcpupin", &["vcpu"]),
    ("domain.cpu-topology", &["vcpu", "vcpus"]),
    ("domain.numa-cpus", &["vcpu"]),
    ("domain.numatune", &["cpu"]),
    ("domain.iothreadpin", THREADS),
    ("domain.iothreadsched", THREADS),
    ("domain.disk-iothread", &["iothreads", "iothreadids", "os"]),
    ("domain.controller-iothread", &["iothreads", "iothreadids", "os"]),
    ("domain.disk-throttle", &["throttlegroups"]),
    ("domain.disk-bus", &["os"]),
    ("domain.disk-model", &["os"]),
    ("domain.disk-virtio", &["os"]),
    ("domain.disk-address", &["os"]),
    ("domain.disk-wwn", &["os"]),
    ("domain.disk-identity", &["os"]),
    ("domain.disk-rotation", &["os"]),
    ("domain.disk-rotation-rate", &["os"]),
    ("domain.disk-readonly", &["os"]),
    ("domain.disk-geometry", &["os"]),
    ("domain.disk-copy-on-read", &["os"]),
    ("domain.scsi-driver", &["os"]),
    ("domain.nic-teaming", &["os"]),
    ("domain.hostdev-display", &["graphics"]),
    ("domain.audio-id", &["audio"]),
    ("domain.video-primary", &["video"]),
    // Without the first card the next one would be taken for it.
    ("domain.video-secondary", &["video"]),
    ("domain.tpm-version", &["os"]),
    ("domain.input-bus", &["os"]),
    ("domain.watchdog-count", &["os"]),
    ("domain.watchdog-address", &["os"]),
    ("domain.shared-memory", &["memoryBacking", "cpu"]),
    ("domain.hugepages-node", &["cpu"]),
    ("domain.memory-device", &["maxMemory"]),
    ("domain.memory-maximum", &["maxMemory", "memory", "cpu"]),
    ("domain.memory-missing", &["maxMemory", "memory", "cpu"]),
    ("domain.memory-node", &["cpu"]),
    ("domain.memory-numa", &["cpu"]),
    ("domain.lifecycle", &["on_poweroff", "on_reboot", "on_crash"]),
    ("domain.ps2", &["features", "os"]),
    // A guest without a UUID gets one that is no other's.
    ("domain.sysinfo-uuid", &["uuid"]),
    ("domain.timer", &["os", "domain"]),
    ("domain.bios-serial", &["os", "serial", "console"]),
];

/// Whether a fault of this rule stands although the elements in `left_out` were not looked at.
fn stands(rule: &str, left_out: &[&str]) -> bool {
    let own = OF_THEIR_OWN
        .iter()
        .any(|(start, ends)| rule.strip_prefix(start).is_some_and(|end| ends.contains(&end)));
    let mut others = OF_OTHERS.iter().filter(|(name, _)| *name == rule);
    own || others.any(|(_, asked)| !asked.iter().any(|name| left_out.contains(name)))
}

/// Appends the faults that the checks find in what the mapping could read. `found` are those of the
/// reading, by which libvirt's own answer is chosen: they stay first.
pub(super) fn check(text: &str, read: Option<Domain>, found: &mut Vec<Diagnostic>) {
    let room = MOST_FAULTS.saturating_sub(found.len());
    if room == 0 || text.len() > LONGEST {
        return;
    }
    let Ok(doc) = Document::parse(text) else { return };
    let Some((rest, left_out)) = without_faults(&doc, found) else { return };
    let mut more = Vec::new();
    // What was read whole, but breaks a rule of the form, needs no second reading.
    let domain = read.or_else(|| {
        let mut domain = xml::read_str::<Domain>(&rest, "domain").value?;
        text::settle(&mut domain, ParseOptions::default(), &mut more);
        Some(domain)
    });
    let Some(mut domain) = domain else { return };
    if matches!(domain.kind, VirtType::Qemu | VirtType::Kvm | VirtType::Hvf) {
        complete(&mut domain, defaults::apply, &mut more);
        more.extend(validate(&domain));
    } else {
        complete(&mut domain, defaults::apply_core, &mut more);
        more.extend(validate_core(&domain));
    }
    let new = |d: &Diagnostic| {
        d.severity == Severity::Error
            && stands(d.rule, &left_out)
            && !found.iter().any(|old| old.message == d.message)
    };
    more.retain(new);
    more.truncate(room);
    found.extend(more);
}

/// Fills in the defaults that depend on the document alone.
fn complete(
    domain: &mut Domain,
    apply: fn(&mut Domain, &mut DefaultsContext<'_>) -> Vec<Diagnostic>,
    faults: &mut Vec<Diagnostic>,
) {
    faults.extend(apply(
        domain,
        &mut DefaultsContext::without_emulator("x86_64", &mut |bytes| bytes.fill(0)),
    ));
}

/// A piece of the text, and what stands there instead.
type Cut<'a> = (usize, usize, &'a str);

/// The text without the elements at fault, and their names. What a domain cannot do without is
/// replaced by the plainest of its kind. `None` where the faults are not of single elements.
fn without_faults<'a>(
    doc: &'a Document<'a>,
    found: &[Diagnostic],
) -> Option<(String, Vec<&'a str>)> {
    let root = doc.root();
    let mut cuts: Vec<Cut<'_>> = Vec::new();
    let mut left_out = Vec::new();
    for d in found.iter().filter(|d| d.severity == Severity::Error) {
        if matches!(d.rule, "xml.root" | "xml.more") {
            return None;
        }
        // Rules of the form have no place; nothing is left out for them.
        if d.span.is_none() {
            continue;
        }
        match crate::object::path_to(root, d).as_slice() {
            [_] => cuts.extend(plain_root(root, &mut left_out)),
            [_, devices, device, ..] if devices.is("devices", None) => {
                cuts.push(whole(*device, ""));
                left_out.push(device.name());
            }
            [_, part, ..] => {
                let plain = match part.name() {
                    "os" => "<os><type>hvm</type></os>",
                    "name" => "<name>unnamed</name>",
                    _ => "",
                };
                cuts.push(whole(*part, plain));
                left_out.push(part.name());
            }
            [] => return None,
        }
    }
    cuts.sort_unstable();
    cuts.dedup();
    Some((crate::object::splice(doc.source(), cuts)?, left_out))
}

fn whole<'a>(el: Element<'_>, instead: &'a str) -> Cut<'a> {
    let span = el.full_span();
    (span.start, span.end, instead)
}

/// A type and a name for a domain whose own are wrong or missing.
fn plain_root(root: Element<'_>, left_out: &mut Vec<&str>) -> Vec<Cut<'static>> {
    let mut cuts = Vec::new();
    left_out.push("domain");
    match root.attr_node("type").map(|kind| kind.value_span()) {
        Some(span) => cuts.push((span.start, span.end, "qemu")),
        None => cuts.push((root.name_span().end, root.name_span().end, " type='qemu'")),
    }
    if root.child("name").is_none() {
        let end = root.span().end;
        cuts.push((end, end, "<name>unnamed</name>"));
    }
    cuts
}

#[cfg(test)]
mod tests;
