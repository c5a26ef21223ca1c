//! Name, CPUs, machine, firmware, features, tuning.

use std::collections::HashSet;

use diag::ErrorCode;
use xml::{OnOff, YesNo};

use super::Faults;
use crate::domain::Domain;
use crate::domain::cpu::{CpuCacheMode, CpuMode, PhysAddrMode};
use crate::domain::defaults::Machine;
use crate::domain::devices::input::InputBus;
use crate::domain::os::{FirmwareFeatureName, FirmwareKind, LoaderType};
use crate::domain::tune::{NumaMode, VcpuPlacement};

pub(super) fn check(d: &Domain, m: &Machine, out: &mut Faults) {
    name(d, out);
    vcpus(d, out);
    firmware(d, m, out);
    features(d, m, out);
    cpu(d, out);
    numa(d, out);
    tune(d, out);
    if let Some(t) = &d.title
        && t.contains('\n')
    {
        out.xml("domain.title", "Domain title can't contain newlines");
    }
    sysinfo(d, out);
    let bios = d.os.as_ref().and_then(|os| os.bios.as_ref());
    let serials = d.devices.as_ref().map_or(0, |devices| devices.serials.len());
    if bios.is_some_and(|bios| bios.use_serial == Some(YesNo::Yes)) && serials == 0 {
        out.xml("domain.bios-serial", "need at least one serial port to use BIOS serial output");
    }
}

fn name(d: &Domain, out: &mut Faults) {
    if d.name.is_empty() {
        out.code("domain.name-missing", ErrorCode::NO_NAME, "missing name information");
    }
    if d.name.contains('\n') {
        out.detail("domain.name-char", "invalid char in name: \n");
    }
    if d.name.contains('/') {
        out.xml("domain.name-slash", format!("name {} cannot contain '/'", d.name));
    }
    if d.name == "." || d.name == ".." {
        out.xml("domain.name-dot", format!("name {} cannot be '.' or '..'", d.name));
    }
}

fn vcpus(d: &Domain, out: &mut Faults) {
    let Some(v) = &d.vcpu else { return };
    if v.maximum == 0 {
        // What libvirt says, though there may be no <numa> at all.
        out.internal("domain.vcpu-zero", "CPU IDs in <numa> exceed the <vcpu> count");
        out.hint("Give <vcpu> a number of 1 or more.");
    }
    if v.current.is_some_and(|c| c > v.maximum) {
        out.unsupported(
            "domain.vcpu-current",
            "maximum vCPU count must not be less than current vCPU count",
        );
    }
    if v.current == Some(0) {
        out.unsupported("domain.vcpu-zero", "vcpu 0 can't be offline");
        out.hint("Give the attribute 'current' of <vcpu> a number of 1 or more.");
    }
    let mut seen = Vec::new();
    for p in d.cpu_tune.iter().flat_map(|t| &t.vcpu_pins) {
        if seen.contains(&p.vcpu) {
            out.internal("domain.vcpupin", format!("duplicate vcpupin for vcpu '{}'", p.vcpu));
        }
        seen.push(p.vcpu);
    }
}

fn firmware(d: &Domain, m: &Machine, out: &mut Faults) {
    let Some(os) = &d.os else { return };
    let acpi = d.features.as_ref().is_some_and(|f| f.acpi);
    let stateless = os.loader.as_ref().and_then(|l| l.stateless) == Some(YesNo::Yes);
    let pflash = os.loader.as_ref().and_then(|l| l.kind) == Some(LoaderType::Pflash);
    let feature = |name: FirmwareFeatureName| {
        os.firmware_info
            .iter()
            .flat_map(|f| &f.features)
            .find(|f| f.name == name)
            .map(|f| f.enabled.is_set())
    };
    match os.firmware {
        None => {
            if os.firmware_info.is_some() {
                out.detail(
                    "domain.firmware-features",
                    "cannot use feature-based firmware autoselection when firmware autoselection is disabled",
                );
            }
            let no_path = os.loader.as_ref().is_none_or(|l| l.path.is_none());
            if (os.loader.is_some() || os.nvram.is_some()) && no_path && d.launch_security.is_none()
            {
                out.detail(
                    "domain.loader-path",
                    "no loader path specified and firmware auto selection disabled",
                );
            }
        }
        Some(kind) => {
            if feature(FirmwareFeatureName::EnrolledKeys) == Some(true)
                && feature(FirmwareFeatureName::SecureBoot) == Some(false)
            {
                out.detail(
                    "domain.firmware-features",
                    "firmware feature 'enrolled-keys' cannot be enabled when firmware feature 'secure-boot' is disabled",
                );
            }
            if kind == FirmwareKind::Bios && os.nvram.is_some() {
                out.detail("domain.firmware-nvram", "firmware type 'bios' does not support nvram");
            }
            if kind == FirmwareKind::Bios
                && os.loader.as_ref().and_then(|l| l.stateless) == Some(YesNo::No)
            {
                out.detail("domain.firmware-nvram", "Only EFI firmware permits NVRAM");
            }
        }
    }
    if stateless && let Some(n) = &os.nvram {
        if n.template.is_some() {
            out.detail(
                "domain.nvram-stateless",
                "NVRAM template is not permitted when loader is stateless",
            );
        } else {
            out.detail("domain.nvram-stateless", "NVRAM is not permitted when loader is stateless");
        }
    }
    let efi = pflash || os.firmware == Some(FirmwareKind::Efi);
    if efi && !acpi && (m.is_x86() || m.is_arm()) {
        out.unsupported("domain.uefi-acpi", "UEFI requires ACPI on this architecture");
    }
    if let Some(l) = &os.loader
        && l.secure == Some(YesNo::Yes)
        && l.kind == Some(LoaderType::Pflash)
        && !m.is_q35()
    {
        out.unsupported(
            "domain.secure-boot",
            "Secure boot is supported with q35 machine types only",
        );
    }
    if let Some(t) = os.bios.as_ref().and_then(|b| b.reboot_timeout)
        && !(-1..=65535).contains(&t)
    {
        out.xml(
            "domain.reboot-timeout",
            format!("invalid value for rebootTimeout, must be in range [-1,65535]: {t}"),
        );
    }
}

fn features(d: &Domain, m: &Machine, out: &mut Faults) {
    let Some(f) = &d.features else { return };
    let refuse = |out: &mut Faults, name: &str| {
        out.unsupported(
            "domain.feature-machine",
            format!(
                "The '{name}' feature is not supported for architecture '{}' or machine type '{}'",
                m.arch, m.name
            ),
        );
    };
    let off = |s: &Option<crate::domain::features::State>| {
        s.as_ref().is_some_and(|s| s.state == OnOff::On)
    };
    if f.hpt.is_some() && !m.is_pseries() {
        refuse(out, "hpt");
    }
    if off(&f.htm) && !m.is_pseries() {
        refuse(out, "htm");
    }
    if off(&f.nested_hv) && !m.is_pseries() {
        refuse(out, "nested-hv");
    }
    if f.gic.is_some() && !m.is_arm_virt() {
        refuse(out, "gic");
    }
    if f.smm.is_some() && !m.is_x86() {
        refuse(out, "smm");
    }
    if let Some(t) = f.smm.as_ref().and_then(|s| s.tseg.as_ref()) {
        if !m.is_q35() {
            out.unsupported("domain.tseg", "SMM TSEG is only supported with q35 machine type");
        }
        let bytes = crate::domain::scalar::scale(t.size, t.unit.as_deref(), 1).unwrap_or(0);
        if !bytes.is_multiple_of(1 << 20) {
            out.unsupported("domain.tseg", "SMM TSEG size must be divisible by 1 MiB");
        }
    }
    let ps2_off = f.ps2.as_ref().is_some_and(|s| s.state == OnOff::Off);
    let ps2_input = d.devices.iter().flat_map(|v| &v.inputs).any(|i| i.bus == Some(InputBus::Ps2));
    if ps2_off && ps2_input {
        out.unsupported("domain.ps2", "ps2 bus inputs require the ps2 feature not to be disabled");
    }
    if let Some(s) = f.hyperv.as_ref().and_then(|h| h.spinlocks.as_ref())
        && s.retries.is_some_and(|r| r < 4095)
    {
        out.xml("domain.hyperv-spinlocks", "HyperV spinlock retry count must be at least 4095");
    }
    if let Some(v) = f.hyperv.as_ref().and_then(|h| h.vendor_id.as_ref())
        && v.value.as_ref().is_some_and(|v| v.len() > 12)
    {
        out.xml(
            "domain.hyperv-vendor",
            "HyperV vendor_id value must not be more than 12 characters.",
        );
    }
}

fn cpu(d: &Domain, out: &mut Faults) {
    let Some(c) = &d.cpu else { return };
    let max = d.vcpu.as_ref().map_or(1, |v| v.maximum);
    if let Some(t) = &c.topology {
        let factors = [t.sockets, t.dies.unwrap_or(1), t.clusters.unwrap_or(1), t.cores, t.threads];
        if factors.contains(&0) {
            out.xml("domain.cpu-topology", "Invalid CPU topology");
        }
        let product: u64 = factors.iter().fold(1u64, |a, n| a.saturating_mul(u64::from(*n)));
        if product != u64::from(max) {
            out.unsupported("domain.cpu-topology", "CPU topology doesn't match maximum vcpu count");
        }
    }
    let mut features = HashSet::new();
    for f in &c.features {
        if !features.insert(f.name.as_str()) {
            out.xml(
                "domain.cpu-feature",
                format!("CPU feature '{}' specified more than once", f.name),
            );
        }
    }
    if let Some(cache) = &c.cache
        && cache.mode == CpuCacheMode::Passthrough
    {
        if !matches!(c.mode, Some(CpuMode::HostPassthrough | CpuMode::Maximum)) {
            out.unsupported(
                "domain.cpu-cache",
                "CPU cache mode 'passthrough' can only be used with 'host-passthrough' / 'maximum' CPUs",
            );
        }
        if cache.level.is_some() {
            out.unsupported(
                "domain.cpu-cache",
                "unsupported CPU cache level for mode 'passthrough'",
            );
        }
    }
    if let Some(a) = &c.max_phys_addr
        && a.mode == PhysAddrMode::Passthrough
        && a.bits.is_some()
    {
        out.unsupported(
            "domain.cpu-phys-bits",
            "CPU maximum physical address bits number specification cannot be used with mode='passthrough'",
        );
    }
}

fn numa(d: &Domain, out: &mut Faults) {
    let max = d.vcpu.as_ref().map_or(1, |v| v.maximum);
    if let Some(n) = d.cpu.as_ref().and_then(|c| c.numa.as_ref()) {
        for (i, c) in n.cells.iter().enumerate() {
            if c.id != Some(i as u32) {
                out.xml(
                    "domain.numa-cells",
                    "Exactly one 'cell' element per guest NUMA cell allowed, non-contiguous ranges or ranges not starting from 0 are not allowed",
                );
                break;
            }
        }
        for (i, c) in n.cells.iter().enumerate() {
            let Some(cpus) = &c.cpus else { continue };
            if n.cells.iter().take(i).filter_map(|x| x.cpus.as_ref()).any(|x| x.overlaps(cpus)) {
                out.unsupported("domain.numa-cpus", "NUMA cells have overlapping vCPU ids");
                break;
            }
        }
        let top = n.cells.iter().filter_map(|c| c.cpus.as_ref()?.max()).max();
        if top.is_some_and(|t| t >= max) {
            out.internal("domain.numa-cpus", "CPU IDs in <numa> exceed the <vcpu> count");
        }
        for c in &n.cells {
            for s in c.distances.iter().flat_map(|d| &d.siblings) {
                if s.id as usize >= n.cells.len() {
                    out.xml(
                        "domain.numa-distance",
                        format!(
                            "'sibling_id {}' does not refer to a valid cell within NUMA 'cell id {}'",
                            s.id,
                            c.id.unwrap_or(0)
                        ),
                    );
                }
            }
        }
    }
    let cells = d.cpu.as_ref().and_then(|c| c.numa.as_ref()).map_or(0, |n| n.cells.len());
    let Some(t) = &d.numa_tune else { return };
    if !t.nodes.is_empty() && cells == 0 {
        out.xml("domain.numatune", "Element 'memnode' is invalid without any guest NUMA cells");
    }
    if let Some(m) = &t.memory {
        if m.placement == Some(VcpuPlacement::Auto) && !t.nodes.is_empty() {
            out.unsupported(
                "domain.numatune",
                "Per-node binding is not compatible with automatic NUMA placement.",
            );
        }
        if m.placement != Some(VcpuPlacement::Auto)
            && m.nodeset.is_none()
            && m.mode != Some(NumaMode::Restrictive)
        {
            out.unsupported(
                "domain.numatune",
                "nodeset for NUMA memory tuning must be set if 'placement' is 'static'",
            );
        }
    }
}

fn tune(d: &Domain, out: &mut Faults) {
    let threads = d.io_threads.unwrap_or(0);
    let known = |id: u32| match &d.io_thread_ids {
        Some(t) => t.threads.iter().any(|t| t.id == id),
        None => id >= 1 && id <= threads,
    };
    if let Some(ids) = &d.io_thread_ids {
        let mut seen = HashSet::new();
        for t in &ids.threads {
            if t.id == 0 {
                out.xml(
                    "domain.iothread-id",
                    "Invalid value for attribute 'id' in element 'iothread': Zero is not permitted",
                );
            }
            if !seen.insert(t.id) {
                out.xml("domain.iothread-id", format!("duplicate iothread id '{}' found", t.id));
            }
        }
    }
    let Some(t) = &d.cpu_tune else { return };
    for (name, value) in [
        ("period", t.period),
        ("global_period", t.global_period),
        ("emulator_period", t.emulator_period),
        ("iothread_period", t.iothread_period),
    ] {
        if value.is_some_and(|v| v != 0 && !(1000..=1_000_000).contains(&v)) {
            out.unsupported(
                "domain.cputune-period",
                format!("Value of cputune '{name}' must be in range [1000, 1000000]"),
            );
        }
    }
    for (name, value) in [
        ("quota", t.quota),
        ("global_quota", t.global_quota),
        ("emulator_quota", t.emulator_quota),
        ("iothread_quota", t.iothread_quota),
    ] {
        if value.is_some_and(|v| v > 0 && !(1000..=17_592_186_044_415).contains(&v)) {
            out.unsupported(
                "domain.cputune-quota",
                format!("Value of cputune '{name}' must be in range [1000, 17592186044415]"),
            );
        }
    }
    for s in t.iothread_scheds.iter().flat_map(|s| s.iothreads.iter()) {
        if !known(s) {
            out.unsupported("domain.iothreadsched", format!("Cannot find 'iothread' : {s}"));
        }
    }
    for p in &t.iothread_pins {
        if !known(p.iothread) {
            out.xml("domain.iothreadpin", format!("Cannot find 'iothread' : {}", p.iothread));
        }
    }
}

fn sysinfo(d: &Domain, out: &mut Faults) {
    for s in &d.sysinfo {
        for e in s.bios.iter().flat_map(|b| &b.entries) {
            if e.name == "date" && !is_bios_date(&e.value) {
                out.detail("domain.sysinfo-date", "Invalid BIOS 'date' format");
            }
        }
        for e in s.system.iter().flat_map(|b| &b.entries) {
            let other = e.name == "uuid" && crate::domain::scalar::Uuid::parse(&e.value) != d.uuid;
            if other {
                out.detail("domain.sysinfo-uuid", "UUID mismatch between <uuid> and <sysinfo>");
            }
        }
    }
}

/// `mm/dd/yy` or `mm/dd/yyyy`.
fn is_bios_date(text: &str) -> bool {
    let mut parts = text.split('/').map(|p| (p.len(), p.parse::<u32>().ok()));
    let month = matches!(parts.next(), Some((1..=2, Some(1..=12))));
    let day = matches!(parts.next(), Some((1..=2, Some(1..=31))));
    let year = match parts.next() {
        Some((2, Some(_))) => true,
        Some((4, Some(y))) => (1900..=9999).contains(&y),
        _ => false,
    };
    month && day && year && parts.next().is_none()
}
