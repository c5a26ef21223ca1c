//! Host devices.

use std::collections::HashSet;

use super::super::Faults;
use crate::domain::address;
use crate::domain::devices::Devices;
use crate::domain::devices::disk::SgIo;
use crate::domain::devices::hostdev::{Hostdev, HostdevMode, HostdevSource, HostdevType};
use crate::domain::devices::interface::TeamingType;

pub(super) fn check(dev: &Devices, out: &mut Faults) {
    let mut seen = HashSet::new();
    for h in &dev.hostdevs {
        if h.kind.is_none() {
            out.xml(
                "domain.hostdev-type",
                "Missing required attribute 'type' in element 'hostdev'",
            );
            continue;
        }
        let Some(s) = &h.source else {
            out.xml("domain.hostdev-source", "Missing <source> element in hostdev device");
            continue;
        };
        // Sources are the same when all their fields are.
        if !seen.insert(format!("{:?} {s:?}", h.kind)) {
            out.xml(
                "domain.hostdev-duplicate",
                "Hostdev already exists in the domain configuration",
            );
        }
        if h.mode == HostdevMode::Subsystem {
            match h.kind {
                Some(HostdevType::Pci) => pci(h, s, out),
                Some(HostdevType::Usb) => usb(s, out),
                Some(HostdevType::Scsi) => scsi(h, s, out),
                Some(HostdevType::ScsiHost) => scsi_host(h, s, out),
                Some(HostdevType::Mdev) => mdev(h, s, out),
                _ => {}
            }
        }
        if h.kind != Some(HostdevType::Scsi) {
            if h.rawio.is_some() {
                out.xml("domain.hostdev-rawio", "rawio is only supported for scsi host device");
            }
            if h.sgio.is_some() {
                out.xml("domain.hostdev-sgio", "sgio is only supported for scsi host device");
            }
        }
        if h.model.is_some() && !matches!(h.kind, Some(HostdevType::Mdev | HostdevType::ScsiHost)) {
            out.xml(
                "domain.hostdev-model",
                "'model' attribute in <hostdev> is only supported when type='pci'",
            );
        }
        if let Some(t) = &h.teaming
            && (t.kind != TeamingType::Transient || t.persistent.is_none())
        {
            out.unsupported(
                "domain.hostdev-teaming",
                "teaming hostdev devices must have type='transient'",
            );
        }
    }
}

fn wrong_address(h: &Hostdev, wanted: &[&str]) -> bool {
    h.address.as_ref().is_some_and(|a| !wanted.contains(&address::kind(a)))
}

fn pci(h: &Hostdev, s: &HostdevSource, out: &mut Faults) {
    if wrong_address(h, &["pci", "unassigned"]) {
        out.internal(
            "domain.hostdev-address",
            "PCI host devices must use 'pci' or 'unassigned' address type",
        );
    }
    let Some(a) = &s.address else {
        out.internal("domain.hostdev-source", "missing PCI address of the host device");
        return;
    };
    let hex = |text: &str| <crate::domain::scalar::Hex<2> as xml::XmlValue>::parse(text).ok();
    if let Some(bad) = a.bus.as_deref().filter(|bus| hex(bus).is_none()) {
        out.xml(
            "domain.hostdev-address",
            format!(
                "Invalid value for attribute 'bus' in element 'address': '{bad}'. Expected \
                 non-negative integer value"
            ),
        );
    }
    let bus = a.bus.as_deref().and_then(hex).map_or(0, |b| b.0);
    let slot = a.slot.map_or(0, |s| s.0);
    if bus > 0xff {
        out.xml(
            "domain.pci-range",
            format!("Invalid PCI address bus='0x{bus:x}', must be <= 0xFF"),
        );
    }
    if slot > 0x1f {
        out.xml(
            "domain.pci-range",
            format!("Invalid PCI address slot='0x{slot:x}', must be <= 0x1F"),
        );
    }
    if let Some(function) = a.function.filter(|f| f.0 > 7) {
        out.xml(
            "domain.pci-range",
            format!("Invalid PCI address function=0x{:x}, must be <= 7", function.0),
        );
    }
}

fn usb(s: &HostdevSource, out: &mut Faults) {
    let bus = s.address.as_ref().and_then(|a| a.bus.as_deref());
    if let Some(bad) =
        bus.filter(|b| <crate::domain::scalar::AnyBase as xml::XmlValue>::parse(b).is_err())
    {
        out.xml(
            "domain.hostdev-usb",
            format!(
                "Invalid value for attribute 'bus' in element 'address': '{bad}'. Expected non-negative integer value"
            ),
        );
    }
    match (&s.vendor, &s.product, &s.address) {
        (None, None, None) => {
            out.internal("domain.hostdev-usb", "missing vendor or address of the USB device");
        }
        (None, Some(_), None) => out.internal("domain.hostdev-usb", "missing vendor"),
        (Some(_), None, None) => out.internal("domain.hostdev-usb", "missing product"),
        (_, _, Some(a)) if a.device.is_none() && a.port.is_none() => out
            .xml("domain.hostdev-usb", "Missing required attribute 'device' in element 'address'"),
        (_, _, Some(a)) if a.bus.is_none() => {
            out.xml("domain.hostdev-usb", "Missing required attribute 'bus' in element 'address'")
        }
        _ => {}
    }
    // A product may be number zero.
    for (name, id) in [("vendor", &s.vendor)] {
        if id.as_ref().is_some_and(|id| id.id.0 == 0) {
            out.xml(
                "domain.hostdev-usb",
                format!(
                    "Invalid value for attribute 'id' in element '{name}': Zero is not permitted"
                ),
            );
        }
    }
}

fn scsi(h: &Hostdev, s: &HostdevSource, out: &mut Faults) {
    if h.sgio == Some(SgIo::Unfiltered) {
        out.unsupported("domain.hostdev-sgio", "unfiltered sgio is no longer supported");
    }
    if wrong_address(h, &["drive"]) {
        out.unsupported("domain.hostdev-address", "SCSI host device must use 'drive' address type");
    }
    match s.protocol.as_deref() {
        Some("iscsi") => {
            if s.name.is_none() {
                out.xml("domain.hostdev-iscsi", "missing iSCSI hostdev source path name");
            }
            if s.hosts.is_empty() {
                out.xml("domain.hostdev-iscsi", "missing the host address for the iSCSI hostdev");
            }
            if s.hosts.len() > 1 {
                out.xml(
                    "domain.hostdev-iscsi",
                    "only one source host address may be specified for the iSCSI hostdev",
                );
            }
            let secret = s.auth.as_ref().and_then(|a| a.secret.as_ref());
            if let Some(secret) = secret.filter(|secret| secret.kind != "iscsi") {
                out.internal(
                    "domain.hostdev-iscsi",
                    format!("hostdev invalid secret type '{}'", secret.kind),
                );
            }
        }
        Some("adapter") | None => {
            if s.adapter.as_ref().is_none_or(|adapter| adapter.name.is_empty()) {
                out.xml(
                    "domain.hostdev-scsi",
                    "'adapter' name must be specified for scsi hostdev source",
                );
            }
            let Some(a) = &s.address else {
                out.xml(
                    "domain.hostdev-scsi",
                    "'address' must be specified for scsi hostdev source",
                );
                return;
            };
            if let Some(bus) = a.bus.as_deref().filter(|b| b.parse::<u32>().is_err()) {
                out.xml(
                    "domain.hostdev-scsi",
                    format!(
                        "Invalid value for attribute 'bus' in element 'address': '{bus}'. Expected non-negative integer value"
                    ),
                );
            }
            for (name, there) in [
                ("bus", a.bus.is_some()),
                ("target", a.target.is_some()),
                ("unit", a.unit.is_some()),
            ] {
                if !there {
                    out.xml(
                        "domain.hostdev-scsi",
                        format!("Missing required attribute '{name}' in element 'address'"),
                    );
                }
            }
        }
        Some(other) => out.xml(
            "domain.hostdev-scsi",
            format!("Invalid value for attribute 'protocol' in element 'source': '{other}'."),
        ),
    }
}

fn scsi_host(h: &Hostdev, s: &HostdevSource, out: &mut Faults) {
    if wrong_address(h, &["pci", "ccw"]) {
        out.unsupported(
            "domain.hostdev-address",
            "SCSI_host host device must use 'pci' or 'ccw' address type",
        );
    }
    match s.protocol.as_deref() {
        Some("vhost") => {}
        Some(other) => out.xml(
            "domain.hostdev-vhost",
            format!("Invalid value for attribute 'protocol' in element 'source': '{other}'."),
        ),
        None => out.xml(
            "domain.hostdev-vhost",
            "Missing required attribute 'protocol' in element 'source'",
        ),
    }
    match s.wwpn.as_deref() {
        None => out.xml("domain.hostdev-vhost", "missing vhost-scsi hostdev source wwpn"),
        Some(wwpn) => {
            let digits = wwpn.strip_prefix("naa.").unwrap_or_default();
            if digits.len() != 16 || !digits.bytes().all(|c| c.is_ascii_hexdigit()) {
                out.xml("domain.hostdev-vhost", "malformed 'wwpn' value");
            }
        }
    }
    if h.boot.is_some() {
        out.unsupported(
            "domain.hostdev-boot",
            "booting from assigned devices is not supported by vhost SCSI devices",
        );
    }
}

fn mdev(h: &Hostdev, s: &HostdevSource, out: &mut Faults) {
    let model = h.model.as_deref().unwrap_or_default();
    if h.model.is_none() {
        out.xml("domain.hostdev-mdev", "Missing required attribute 'model' in element 'hostdev'");
    }
    let kind = h.address.as_ref().map(address::kind).filter(|kind| match model {
        "vfio-pci" => *kind != "pci",
        "vfio-ccw" => *kind != "ccw",
        _ => *kind == "drive",
    });
    if let Some(kind) = kind {
        out.xml(
            "domain.hostdev-address",
            format!("Unsupported address type '{kind}' with mediated device model '{model}'"),
        );
    }
    if s.address.is_none() {
        out.unsupported("domain.hostdev-mdev", "Missing <address> element");
    } else if s.address.as_ref().is_none_or(|a| a.uuid.is_none()) {
        out.unsupported("domain.hostdev-mdev", "Missing 'uuid' attribute for element <address>");
    }
}
