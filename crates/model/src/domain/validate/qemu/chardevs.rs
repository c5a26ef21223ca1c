//! Character devices.

use super::super::Faults;
use super::super::core::chardevs::is_unsupported;
use crate::domain::address;
use crate::domain::defaults::Machine;
use crate::domain::devices::Devices;
use crate::domain::devices::chardev::{CharSource, CharTargetType, CharType, Serial};
use crate::domain::devices::graphics::GraphicsType;

pub(super) fn check(dev: &Devices, m: &Machine, out: &mut Faults) {
    let spice = dev.graphics.iter().any(|g| g.kind == GraphicsType::Spice);
    // The first console repeats the first serial port.
    let copy = usize::from(!dev.serials.is_empty()).min(dev.consoles.len());
    let consoles = dev.consoles.get(copy..).unwrap_or_default();
    let plain = dev.serials.iter().chain(&dev.parallels).chain(consoles).chain(&dev.channels);
    for s in plain.map(|c| &c.source).chain(dev.redirdevs.iter().map(|r| &r.source)) {
        source(s, spice, out);
    }
    for s in &dev.serials {
        serial(s, m, out);
    }
    for c in dev.consoles.iter().skip(1) {
        if c.target.as_ref().and_then(|t| t.kind) == Some(CharTargetType::Serial) {
            let text = "Only the first console can be a serial port";
            out.unsupported("domain.console-target", text);
        }
    }
    for c in consoles {
        let kind = c.target.as_ref().and_then(|t| t.kind);
        let foreign = matches!(
            kind,
            Some(
                CharTargetType::Xen
                    | CharTargetType::Uml
                    | CharTargetType::Lxc
                    | CharTargetType::Openvz
            )
        );
        if foreign {
            let name = kind.map_or("", |k| k.as_str());
            out.unsupported(
                "domain.console-target",
                format!("unsupported console target type {name}"),
            );
        }
        let elsewhere = matches!(kind, Some(CharTargetType::Sclp | CharTargetType::Sclplm));
        if elsewhere && !m.is_s390() {
            let name = kind.map_or("", |k| k.as_str());
            out.unsupported(
                "domain.console-target",
                format!("{name}console is not supported in this QEMU binary"),
            );
        }
    }
    for c in &dev.smartcards {
        if let Some(kind) = c.source.kind {
            without_spice(kind, spice, out);
        }
        if c.address.as_ref().is_some_and(|a| address::kind(a) != "ccid") {
            out.unsupported(
                "domain.smartcard-address",
                "Controllers must use the 'ccid' address type",
            );
        }
    }
    if dev.smartcards.len() > 1 {
        out.unsupported(
            "domain.smartcard-count",
            "this QEMU binary lacks multiple smartcard support",
        );
    }
}

fn source(s: &CharSource, spice: bool, out: &mut Faults) {
    let protocol = s.protocol.as_ref().and_then(|p| p.kind);
    if let Some(p) = protocol.filter(|p| is_unsupported(*p)) {
        out.unsupported(
            "domain.char-protocol",
            format!("tcp chardev protocol '{}' not supported", p.as_str()),
        );
    }
    without_spice(s.kind, spice, out);
}

/// What goes through the SPICE server needs one.
fn without_spice(kind: CharType, spice: bool, out: &mut Faults) {
    if matches!(kind, CharType::Spiceport | CharType::Spicevmc) && !spice {
        let name = kind.as_str();
        out.unsupported(
            "domain.char-spice",
            format!("chardev '{name}' not supported without spice graphics"),
        );
    }
}

/// The kind of port each model is.
const MODELS: [(&str, CharTargetType); 9] = [
    ("isa-serial", CharTargetType::IsaSerial),
    ("usb-serial", CharTargetType::UsbSerial),
    ("pci-serial", CharTargetType::PciSerial),
    ("spapr-vty", CharTargetType::SpaprVioSerial),
    ("pl011", CharTargetType::SystemSerial),
    ("16550a", CharTargetType::SystemSerial),
    ("sclpconsole", CharTargetType::SclpSerial),
    ("sclplmconsole", CharTargetType::SclpSerial),
    ("isa-debugcon", CharTargetType::IsaDebug),
];

fn serial(s: &Serial, m: &Machine, out: &mut Faults) {
    let Some(t) = &s.target else { return };
    let model = t.model.as_ref().map_or("", |m| m.name.as_str());
    match MODELS.iter().find(|(name, _)| *name == model) {
        None if !model.is_empty() => {
            out.unsupported(
                "domain.serial-model",
                format!("unknown target model '{model}' specified for character device"),
            );
            return;
        }
        Some((_, wanted)) if t.kind != Some(*wanted) => {
            out.unsupported(
                "domain.serial-model",
                format!("Target model '{model}' requires target type '{}'", wanted.as_str()),
            );
            return;
        }
        _ => {}
    }
    let Some(kind) = t.kind else { return };
    if kind == CharTargetType::IsaDebug && !m.is_x86() {
        let text = "isa-debug serial type only valid on x86 architecture";
        out.unsupported("domain.serial-machine", text);
        return;
    }
    let fits = match kind {
        // A board without such ports has no model for them, which only its start finds.
        _ if model.is_empty() => true,
        CharTargetType::IsaSerial | CharTargetType::IsaDebug => {
            m.is_x86() || matches!(m.arch.as_str(), "ppc64" | "ppc64le") && !m.is_pseries()
        }
        CharTargetType::SpaprVioSerial => m.is_pseries(),
        CharTargetType::SystemSerial if model == "pl011" => m.is_arm(),
        CharTargetType::SystemSerial => m.is_riscv() || m.is_loongarch(),
        CharTargetType::SclpSerial => m.is_s390(),
        _ => true,
    };
    if !fits {
        out.unsupported(
            "domain.serial-machine",
            format!(
                "Serial device with target type '{}' and target model '{model}' not compatible with guest architecture or machine type",
                kind.as_str()
            ),
        );
    }
    let Some(found) = s.address.as_ref().map(address::kind) else { return };
    let wanted = match kind {
        CharTargetType::UsbSerial => "usb",
        CharTargetType::PciSerial => "pci",
        CharTargetType::IsaSerial | CharTargetType::IsaDebug => "isa",
        CharTargetType::SpaprVioSerial => "spapr-vio",
        _ => return,
    };
    if found != wanted {
        let kind = kind.as_str();
        out.unsupported(
            "domain.serial-address",
            if wanted == "usb" {
                "usb-serial requires address of usb type".to_owned()
            } else {
                format!("Target type '{kind}' requires address type '{wanted}'")
            },
        );
    }
}
