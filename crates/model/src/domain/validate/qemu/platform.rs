//! Machine, firmware, features, clock, lifecycle, tuning.

use diag::ErrorCode;
use xml::{OnOff, YesNo};

use super::super::Faults;
use crate::domain::Domain;
use crate::domain::VirtType;
use crate::domain::clock::{TickPolicy, Timer, TimerName, TimerTrack};
use crate::domain::defaults::Machine;
use crate::domain::defaults::memory::UNLIMITED;
use crate::domain::devices::input::InputBus;
use crate::domain::lifecycle::LifecycleAction;
use crate::domain::os::{FirmwareKind, LoaderType};
use crate::domain::sysinfo::SysinfoType;

pub(super) fn check(d: &Domain, m: &Machine, out: &mut Faults) {
    firmware(d, m, out);
    features(d, m, out);
    vcpus(d, out);
    clock(d, m, out);
    lifecycle(d, out);
    sysinfo(d, out);
    if d.bootloader.is_some() {
        out.unsupported("domain.bootloader", "bootloader is not supported by QEMU");
    }
    if d.mem_tune.as_ref().is_some_and(|t| t.min_guarantee.is_some()) {
        out.unsupported("domain.memtune", "Parameter 'min_guarantee' not supported by QEMU.");
    }
    too_large(d, out);
    let allocates = d
        .cpu_tune
        .as_ref()
        .is_some_and(|t| !t.cache_tunes.is_empty() || !t.memory_tunes.is_empty());
    if d.kind != VirtType::Kvm && allocates {
        // libvirt's words for either.
        out.unsupported("domain.cachetune", "cachetune is only supported for KVM domains");
    }
    if m.is_pseries() {
        granularity(d, out);
    }
    for e in d.qemu_commandline.iter().flat_map(|c| &c.envs) {
        let first = e.name.bytes().next();
        if first.is_none_or(|c| !c.is_ascii_alphabetic() && c != b'_') {
            out.internal(
                "domain.qemu-environment",
                "Invalid environment name, it must begin with a letter or underscore",
            );
        } else if !e.name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_') {
            out.internal(
                "domain.qemu-environment",
                "Invalid environment name, it must contain only alphanumerics and underscore",
            );
        }
    }
}

/// Limits of memory beyond what counts as none.
fn too_large(d: &Domain, out: &mut Faults) {
    let Some(tune) = &d.mem_tune else { return };
    let limits = [tune.hard_limit, tune.soft_limit, tune.min_guarantee, tune.swap_hard_limit];
    for limit in limits.into_iter().flatten().filter(|limit| limit.0 > UNLIMITED) {
        out.code("domain.memtune", ErrorCode::OVERFLOW, format!("value too large: {}", limit.0));
    }
}

/// Which virtual CPUs are there from the start.
fn vcpus(d: &Domain, out: &mut Faults) {
    let Some(list) = &d.vcpus else { return };
    let mut ordered = 0;
    for e in &list.list {
        if e.id == 0 && e.enabled == YesNo::No {
            out.unsupported("domain.vcpu-offline", "vcpu 0 can't be offline");
        }
        if e.id == 0 && e.hotpluggable == Some(YesNo::Yes) {
            out.unsupported("domain.vcpu-hotplug", "vcpu0 can't be hotpluggable");
        }
        if e.id == 0 && e.order.is_some_and(|order| order > 1) {
            out.unsupported("domain.vcpu-order", "vcpu0 must be enabled first");
        }
        if e.id != 0 && e.enabled == YesNo::No && e.hotpluggable == Some(YesNo::No) {
            out.unsupported(
                "domain.vcpu-hotplug",
                format!("vcpu '{}' is both offline and not hotpluggable", e.id),
            );
        }
        ordered += usize::from(e.order.is_some());
    }
    let enabled = list.list.iter().filter(|e| e.enabled == YesNo::Yes).count();
    if ordered > 0 && ordered < enabled {
        out.unsupported("domain.vcpu-order", "all vcpus must have either set or unset order");
    }
}

/// On pSeries virtual CPUs come and go by whole cores.
fn granularity(d: &Domain, out: &mut Faults) {
    let threads = d.cpu.as_ref().and_then(|c| c.topology.as_ref()).map_or(1, |t| t.threads);
    let Some(v) = &d.vcpu else { return };
    if threads <= 1 {
        return;
    }
    let current = v.current.unwrap_or(v.maximum);
    if !current.is_multiple_of(threads) {
        out.unsupported(
            "domain.vcpu-granularity",
            format!("vCPUs count must be a multiple of the vCPU hotplug granularity ({threads})"),
        );
    }
}

fn firmware(d: &Domain, m: &Machine, out: &mut Faults) {
    let Some(os) = &d.os else { return };
    let acpi = d.features.as_ref().is_some_and(|f| f.acpi);
    let loader = os.loader.as_ref();
    let flash = loader.and_then(|l| l.kind) == Some(LoaderType::Pflash);
    let efi = flash || os.firmware == Some(FirmwareKind::Efi);
    if efi && !acpi && m.is_x86() {
        out.unsupported("domain.uefi-acpi", "UEFI requires ACPI on this architecture");
    }
    if acpi && !efi && m.arch == "aarch64" {
        out.unsupported("domain.uefi-acpi", "ACPI requires UEFI on this architecture");
    }
    if loader.and_then(|l| l.secure) == Some(YesNo::Yes) {
        let smm = d.features.as_ref().and_then(|f| f.smm.as_ref()).and_then(|s| s.state);
        if !m.is_q35() {
            out.unsupported(
                "domain.secure-boot",
                "Secure boot is supported with q35 machine types only",
            );
        } else if m.arch != "x86_64" {
            out.unsupported(
                "domain.secure-boot",
                "Secure boot is supported for x86_64 architecture only",
            );
        } else if os.firmware.is_none() && smm != Some(OnOff::On) {
            out.unsupported("domain.secure-boot", "Secure boot requires SMM feature enabled");
        }
    }
    let timeout = os.bios.as_ref().and_then(|b| b.reboot_timeout);
    if timeout.is_some_and(|t| !(-1..=65535).contains(&t)) {
        out.unsupported(
            "domain.reboot-timeout",
            "invalid value for rebootTimeout, must be in range [-1,65535]",
        );
    }
    if os.bootmenu.as_ref().and_then(|b| b.timeout).is_some_and(|t| t > 65535) {
        out.unsupported(
            "domain.boot-menu",
            "invalid value for boot menu timeout, must be in range [0,65535]",
        );
    }
    let serials = d.devices.as_ref().map_or(0, |devices| devices.serials.len());
    if os.bios.as_ref().is_some_and(|b| b.use_serial == Some(YesNo::Yes))
        && serials == 0
        && m.is_x86()
    {
        out.xml("domain.bios-serial", "need at least one serial port to use BIOS serial output");
    }
}

fn clock(d: &Domain, m: &Machine, out: &mut Faults) {
    let Some(c) = &d.clock else { return };
    for t in &c.timers {
        let name = t.name.as_str();
        if let Some(setting) = foreign_setting(t) {
            out.unsupported(
                "domain.timer-setting",
                format!("timer {name} doesn't support setting of timer {setting}"),
            );
        }
        let elsewhere = match t.name {
            TimerName::Tsc
            | TimerName::Kvmclock
            | TimerName::Hypervclock
            | TimerName::Hpet
            | TimerName::Pit => {
                !m.is_x86()
                    && t.present != Some(YesNo::No)
                    && t.name != TimerName::Pit
                    && t.name != TimerName::Hpet
            }
            TimerName::Armvtimer => !m.is_arm() || d.kind != VirtType::Kvm,
            _ => false,
        };
        if elsewhere {
            out.unsupported(
                "domain.timer",
                format!(
                    "Configuring the '{name}' timer is not supported for virtType={} arch={} machine={} guests",
                    d.kind.as_str(),
                    m.arch,
                    m.name
                ),
            );
        }
        if t.name == TimerName::Hpet && t.present == Some(YesNo::Yes) && !m.is_x86() {
            out.unsupported("domain.timer", "hpet timer is not supported by this architecture");
        }
        let policy = t.tick_policy.map_or("", |p| p.as_str());
        match (t.name, t.tick_policy) {
            (TimerName::Platform, _) => {
                out.unsupported("domain.timer", format!("unsupported timer type (name) '{name}'"))
            }
            (TimerName::Rtc, Some(TickPolicy::Merge | TickPolicy::Discard)) => out.unsupported(
                "domain.timer",
                format!("unsupported rtc timer tickpolicy '{policy}'"),
            ),
            (TimerName::Pit, Some(TickPolicy::Merge)) => {
                out.unsupported("domain.timer", format!("unsupported pit tickpolicy '{policy}'"));
            }
            _ => {}
        }
        if t.name == TimerName::Rtc && matches!(t.track, Some(TimerTrack::Boot)) {
            out.unsupported("domain.timer", "unsupported rtc timer track 'boot'");
        }
    }
}

/// A setting that a timer of this name cannot have.
fn foreign_setting(timer: &Timer) -> Option<&'static str> {
    use TimerName::{Hypervclock, Kvmclock, Platform, Rtc, Tsc};
    if matches!(timer.name, Kvmclock | Hypervclock) && timer.tick_policy.is_some() {
        return Some("tickpolicy");
    }
    if timer.name != Tsc && timer.frequency.is_some() {
        return Some("frequency");
    }
    if timer.name != Tsc && timer.mode.is_some() {
        return Some("mode");
    }
    let tracks = matches!(timer.name, Platform | Rtc);
    (!tracks && timer.track.is_some()).then_some("track")
}

fn lifecycle(d: &Domain, out: &mut Faults) {
    use LifecycleAction::*;
    let (off, reboot) = (d.on_poweroff, d.on_reboot);
    for (event, action) in [("poweroff", off), ("reboot", reboot)] {
        let Some(a) = action.filter(|a| matches!(a, CoredumpDestroy | CoredumpRestart)) else {
            continue;
        };
        out.unsupported(
            "domain.lifecycle",
            format!("Lifecycle event '{event}' doesn't support '{}' action", a.as_str()),
        );
    }
    if off == Some(Preserve) || reboot == Some(Preserve) {
        out.unsupported(
            "domain.lifecycle",
            "qemu driver doesn't support the 'preserve' action for 'on_reboot'/'on_poweroff'",
        );
    }
    if [off, reboot, d.on_crash].contains(&Some(RenameRestart)) {
        out.unsupported(
            "domain.lifecycle",
            "qemu driver doesn't support the 'rename-restart' action for 'on_reboot'/'on_poweroff'/'on_crash'",
        );
    }
    if let Some(text) = crate::domain::lifecycle::conflict(off, reboot) {
        out.unsupported("domain.lifecycle", text);
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
    if f.apic.as_ref().is_some_and(|apic| apic.eoi.is_some()) && !m.is_x86() {
        out.unsupported(
            "domain.feature-machine",
            format!(
                "The 'eoi' attribute of the 'apic' feature is not supported for architecture '{}' or machine type '{}'",
                m.arch, m.name
            ),
        );
    }
    if f.hpt.as_ref().is_some_and(|hpt| *hpt != Default::default()) && !m.is_pseries() {
        refuse(out, "hpt");
    }
    if off(&f.htm) && !m.is_pseries() {
        refuse(out, "htm");
    }
    if off(&f.nested_hv) && !m.is_pseries() {
        refuse(out, "nested-hv");
    }
    if off(&f.ccf_assist) && !m.is_pseries() {
        refuse(out, "ccf-assist");
    }
    for (name, there) in
        [("cfpc", f.cfpc.is_some()), ("sbbc", f.sbbc.is_some()), ("ibs", f.ibs.is_some())]
    {
        if there && !m.is_pseries() {
            refuse(out, name);
        }
    }
    if f.ras.is_some() && !m.is_arm_virt() {
        out.unsupported("domain.ras", "ras feature is only supported with ARM Virt machines");
    }
    if f.aia.is_some() && !m.is_riscv_virt() {
        out.unsupported("domain.aia", "aia feature is only supported with RISC-V Virt machines");
    }
    if f.gic.is_some() && !m.is_arm_virt() {
        refuse(out, "gic");
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
    let blocks = f.tcg.as_ref().and_then(|t| t.tb_cache.as_ref());
    if blocks.is_some_and(|cache| !cache.size.is_multiple_of(1024)) {
        out.unsupported("domain.tb-cache", "tb-cache size must be an integer multiple of MiB");
    }
    let ps2_off = f.ps2.as_ref().is_some_and(|s| s.state == OnOff::Off);
    let ps2_input = d.devices.iter().flat_map(|v| &v.inputs).any(|i| i.bus == Some(InputBus::Ps2));
    if ps2_off && ps2_input {
        out.unsupported("domain.ps2", "ps2 bus inputs require the ps2 feature not to be disabled");
    }
}

fn sysinfo(d: &Domain, out: &mut Faults) {
    for s in &d.sysinfo {
        if s.kind == SysinfoType::Fwcfg {
            for e in &s.entries {
                if e.file.is_none() && e.value.is_none() {
                    out.xml(
                        "domain.fwcfg",
                        "Firmware entry must have either value or 'file' attribute",
                    );
                }
                if !e.name.starts_with("opt/") {
                    out.unsupported("domain.fwcfg", "Invalid firmware name");
                }
                if e.name.starts_with("opt/ovmf/") || e.name.starts_with("opt/org.qemu/") {
                    out.unsupported("domain.fwcfg", "That firmware name is reserved");
                }
            }
        }
        for e in s.bios.iter().flat_map(|b| &b.entries) {
            if e.name == "date" && !is_bios_date(&e.value) {
                out.detail("domain.sysinfo-date", "Invalid BIOS 'date' format");
            }
        }
        for e in s.system.iter().flat_map(|b| &b.entries) {
            if e.name != "uuid" {
                continue;
            }
            let Ok(uuid) = e.value.parse::<units::Uuid>() else {
                out.detail("domain.sysinfo-uuid", "malformed <sysinfo> uuid element");
                continue;
            };
            if Some(uuid) != d.uuid {
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
