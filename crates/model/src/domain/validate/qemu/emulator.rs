//! What a domain asks for that its emulator never gives.

use diag::Diagnostic;

use super::Faults;
use crate::capabilities::host::HostFacts;
use crate::capabilities::qemu::{Accel, QemuCaps};
use crate::domain::devices::graphics::GraphicsType;
use crate::domain::devices::tpm::TpmBackendType;
use crate::domain::os::OsTypeName;
use crate::domain::{Domain, VirtType};

/// Checks the kind of guest and the number of its CPUs. `caps` are those of the domain's emulator,
/// where they are known.
pub fn validate_emulator(d: &Domain, caps: Option<&QemuCaps>, accel: Accel) -> Vec<Diagnostic> {
    let mut out = Faults::of_qemu();
    let Some(os) = &d.os else { return out.list };
    let emulator = d.devices.as_ref().and_then(|devices| devices.emulator.as_deref());
    let emulator = emulator.or(caps.map(|caps| caps.emulator.as_str()));
    let ours = matches!(d.kind, VirtType::Qemu | VirtType::Kvm);
    let hvf = d.kind == VirtType::Hvf && caps.is_none_or(|caps| caps.has("hvf"));
    if !ours && !hvf {
        let (emulator, kind) = (emulator.unwrap_or_default(), d.kind.as_str());
        out.unsupported(
            "qemu.virt-type",
            format!("Emulator '{emulator}' does not support virt type '{kind}'"),
        );
    }
    if ours && os.kind.name != OsTypeName::Hvm {
        let (emulator, name) = (emulator.unwrap_or_default(), os.kind.name.as_str());
        out.unsupported(
            "qemu.os-type",
            format!("Emulator '{emulator}' does not support os type '{name}'"),
        );
    }
    let Some(caps) = caps else { return out.list };
    if let Some(arch) = os.kind.arch.as_deref()
        && !runs(&caps.arch, arch)
    {
        out.unsupported(
            "qemu.arch",
            format!("Emulator '{}' does not support arch '{arch}'", caps.emulator),
        );
    }
    let machine = os.kind.machine.as_deref().and_then(|name| caps.machine(accel, name));
    let acpi = d.features.as_ref().is_some_and(|features| features.acpi);
    if acpi && machine.is_some_and(|machine| machine.acpi == Some(false)) {
        let name = os.kind.machine.as_deref().unwrap_or_default();
        out.unsupported("qemu.acpi", format!("machine type '{name}' does not support ACPI"));
    }
    let most = machine.map_or(0, |machine| machine.max_cpus);
    let wanted = d.vcpu.as_ref().map_or(1, |vcpu| vcpu.maximum);
    if most > 0 && wanted > most {
        out.unsupported(
            "qemu.max-vcpus",
            format!("Maximum CPUs greater than specified machine type limit {most}"),
        );
    }
    out.list
}

/// Whether an emulator of one architecture runs guests of another: the smaller one of its family.
fn runs(emulator: &str, guest: &str) -> bool {
    emulator == guest
        || matches!(
            (emulator, guest),
            ("x86_64", "i686")
                | ("aarch64", "armv7l")
                | ("armv7l", "armv6l")
                | ("ppc64", "ppc64le")
                | ("ppc64le", "ppc64")
        )
}

/// Checks what only the host can tell.
pub fn validate_host(d: &Domain, facts: &HostFacts) -> Vec<Diagnostic> {
    let mut out = Faults::of_qemu();
    for t in d.devices.iter().flat_map(|v| &v.tpms) {
        let version = t.backend.version.map(|v| v.as_str());
        // Where no emulator is installed, the start says so.
        if t.backend.kind == TpmBackendType::Emulator
            && !facts.swtpm_versions.is_empty()
            && let Some(version) = version
            && !facts.swtpm_versions.iter().any(|v| v == version)
        {
            out.unsupported(
                "host.tpm-version",
                format!("TPM version '{version}' is not supported"),
            );
        }
    }
    out.list
}

/// Checks what the daemon's settings do not allow: `spice_tls` is whether SPICE may be encrypted.
pub fn validate_settings(d: &Domain, spice_tls: bool) -> Vec<Diagnostic> {
    let mut out = Faults::of_qemu();
    for g in d.devices.iter().flat_map(|v| &v.graphics) {
        let port = g.tls_port.is_some_and(|port| port > 0);
        if g.kind == GraphicsType::Spice && port && !spice_tls {
            out.unsupported(
                "host.spice-tls",
                "spice TLS port set in XML configuration, but TLS is disabled in qemu.conf",
            );
        }
    }
    out.list
}

/// Checks that the emulator has the machine type. Libvirt does so last, after all that the document
/// alone can tell.
pub fn validate_machine(d: &Domain, caps: &QemuCaps, accel: Accel) -> Vec<Diagnostic> {
    let mut out = Faults::of_qemu();
    let Some(name) = d.os.as_ref().and_then(|os| os.kind.machine.as_deref()) else {
        return out.list;
    };
    let knows_machines = [Accel::Tcg, Accel::Kvm]
        .into_iter()
        .any(|accel| caps.accel(accel).is_some_and(|caps| !caps.machines.is_empty()));
    if knows_machines && caps.machine(accel, name).is_none() {
        out.unsupported(
            "qemu.machine",
            format!("Emulator '{}' does not support machine type '{name}'", caps.emulator),
        );
    }
    out.list
}
