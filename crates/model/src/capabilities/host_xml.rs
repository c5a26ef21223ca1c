//! `virsh capabilities`: what the host is, and which guests it can run.

use super::cpu::{CpuKind, X86Map, decode, from_cpuid};
use super::host::{CacheBank, HostFacts};
use super::qemu::{Accel, QemuCaps};
use super::resctrl::{Resctrl, short_size};
use super::text::Out;

/// A security model and the labels it gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecModel {
    /// `none`, `dac`, `apparmor`, `selinux`.
    pub model: String,
    /// Domain of interpretation.
    pub doi: String,
    /// Virtualisation type and base label.
    pub base_labels: Vec<(String, String)>,
}

impl SecModel {
    /// The model `none`.
    pub fn none() -> Self {
        Self { model: "none".into(), doi: "0".into(), base_labels: Vec::new() }
    }

    /// Plain ownership by user and group.
    pub fn dac(uid: u32, gid: u32) -> Self {
        let label = format!("+{uid}:+{gid}");
        Self {
            model: "dac".into(),
            doi: "0".into(),
            base_labels: vec![("kvm".into(), label.clone()), ("qemu".into(), label)],
        }
    }
}

/// The guests one emulator can run.
#[derive(Clone, Copy, Debug)]
pub struct GuestCaps<'a> {
    /// Guest architecture (a 64-bit emulator may run 32-bit guests too).
    pub arch: &'a str,
    /// The emulator's capabilities.
    pub caps: &'a QemuCaps,
}

/// Word size of an architecture.
fn word_size(arch: &str) -> &'static str {
    // libvirt counts sh4eb among those of 64 bits, and clients see what it says.
    match arch {
        "i686" | "armv6l" | "armv7l" | "mips" | "mipsel" | "ppc" | "riscv32" | "sparc" | "sh4"
        | "m68k" | "lm32" | "cris" | "microblaze" | "microblazeel" | "xtensa" | "xtensaeb"
        | "unicore32" | "s390" => "32",
        _ => "64",
    }
}

/// The whole `<capabilities>` document.
pub fn capabilities_xml(host: &HostFacts, secmodels: &[SecModel], guests: &[GuestCaps]) -> String {
    let mut out = Out::default();
    out.element("capabilities", &[], |out| {
        out.blank();
        out.element("host", &[], |out| write_host(out, host, secmodels));
        out.blank();
        for guest in guests {
            write_guest(out, guest, host);
            out.blank();
        }
    });
    out.finish()
}

/// The `<cpu>` of the host block, as a document of its own.
pub fn host_cpu_xml(host: &HostFacts) -> String {
    let mut out = Out::default();
    out.element("cpu", &[], |out| write_cpu(out, host));
    out.finish()
}

fn write_host(out: &mut Out, host: &HostFacts, secmodels: &[SecModel]) {
    if !host.uuid.is_empty() {
        out.leaf("uuid", &[], &host.uuid);
    }
    out.element("cpu", &[], |out| write_cpu(out, host));
    out.element("power_management", &[], |out| {
        for (on, name) in [
            (host.power.suspend_mem, "suspend_mem"),
            (host.power.suspend_disk, "suspend_disk"),
            (host.power.suspend_hybrid, "suspend_hybrid"),
        ] {
            if on {
                out.empty(name, &[]);
            }
        }
    });
    out.empty("iommu", &[("support", yes_no(host.iommu))]);
    if let Some(migration) = &host.migration {
        out.block("migration_features", |out| {
            if migration.live {
                out.empty("live", &[]);
            }
            if !migration.transports.is_empty() {
                out.element("uri_transports", &[], |out| {
                    for name in &migration.transports {
                        out.leaf("uri_transport", &[], name);
                    }
                });
            }
        });
    }
    if !host.cells.is_empty() {
        write_topology(out, host);
    }
    if !host.caches.is_empty() {
        out.element("cache", &[], |out| {
            for bank in &host.caches {
                write_bank(out, bank, host.resctrl.as_ref());
            }
            if let Some(resctrl) = &host.resctrl {
                resctrl.write_cache_monitor(out);
            }
        });
    }
    if let Some(resctrl) = &host.resctrl {
        resctrl.write_bandwidth(out, &host.caches);
    }
    for model in secmodels {
        out.element("secmodel", &[], |out| {
            out.leaf("model", &[], &model.model);
            out.leaf("doi", &[], &model.doi);
            for (kind, label) in &model.base_labels {
                out.leaf("baselabel", &[("type", kind)], label);
            }
        });
    }
}

fn yes_no(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

fn write_bank(out: &mut Out, bank: &CacheBank, resctrl: Option<&Resctrl>) {
    let (size, unit) = short_size(bank.size);
    let [id, level, size] = [bank.id.to_string(), bank.level.to_string(), size.to_string()];
    let attrs = [
        ("id", &*id),
        ("level", &*level),
        ("type", &*bank.kind),
        ("size", &*size),
        ("unit", unit),
        ("cpus", &*bank.cpus),
    ];
    out.element("bank", &attrs, |out| {
        if let Some(resctrl) = resctrl {
            resctrl.write_controls(out, bank);
        }
    });
}

fn write_cpu(out: &mut Out, host: &HostFacts) {
    out.leaf("arch", &[], &host.arch);
    let cpu = &host.cpu;
    let x86 = matches!(host.arch.as_str(), "x86_64" | "i686") && !cpu.cpuid.is_empty();
    let facts = x86.then(|| from_cpuid(&cpu.cpuid, &cpu.msrs));
    let decoded = facts.as_ref().and_then(|f| decode(f, CpuKind::Host, |_| Some(&[])));
    if let Some(decoded) = &decoded {
        out.leaf("model", &[], decoded.model);
        if let Some(vendor) = decoded.vendor {
            out.leaf("vendor", &[], vendor);
        }
    }
    if let Some(version) = cpu.microcode {
        out.empty("microcode", &[("version", &version.to_string())]);
    }
    if let Some((family, model, stepping)) = facts.as_ref().and_then(|f| f.signature) {
        let [family, model, stepping] = [family, model, stepping].map(|n| n.to_string());
        let attrs = [("family", &*family), ("model", &*model), ("stepping", &*stepping)];
        out.empty("signature", &attrs);
    }
    if let Some((frequency, scaling)) = cpu.tsc {
        let frequency = frequency.to_string();
        let mut attrs = vec![("name", "tsc"), ("frequency", frequency.as_str())];
        if let Some(scaling) = scaling {
            attrs.push(("scaling", yes_no(scaling)));
        }
        out.empty("counter", &attrs);
    }
    if cpu.sockets > 0 {
        let counts = [
            ("sockets", cpu.sockets),
            ("dies", cpu.dies),
            ("clusters", cpu.clusters),
            ("cores", cpu.cores),
            ("threads", cpu.threads),
        ]
        .map(|(name, count)| (name, count.to_string()));
        out.empty("topology", &counts.each_ref().map(|(k, v)| (*k, v.as_str())));
    }
    if let Some(bits) = cpu.phys_bits {
        let mode = if cpu.phys_bits_emulated { "emulate" } else { "passthrough" };
        out.empty("maxphysaddr", &[("mode", mode), ("bits", &bits.to_string())]);
    }
    for name in decoded.iter().flat_map(|decoded| &decoded.require) {
        out.empty("feature", &[("name", name)]);
    }
    for size in &host.page_sizes_kib {
        out.empty("pages", &[("unit", "KiB"), ("size", &size.to_string())]);
    }
}

fn write_topology(out: &mut Out, host: &HostFacts) {
    out.element("topology", &[], |out| {
        out.element("cells", &[("num", &host.cells.len().to_string())], |out| {
            for cell in &host.cells {
                out.element("cell", &[("id", &cell.id.to_string())], |out| {
                    let kib = ("unit", "KiB");
                    out.leaf("memory", &[kib], &cell.memory_kib.to_string());
                    for (size, count) in &cell.pages {
                        let size = size.to_string();
                        out.leaf("pages", &[kib, ("size", &size)], &count.to_string());
                    }
                    if !cell.distances.is_empty() {
                        out.element("distances", &[], |out| {
                            for (id, value) in &cell.distances {
                                let (id, value) = (id.to_string(), value.to_string());
                                out.empty("sibling", &[("id", &id), ("value", &value)]);
                            }
                        });
                    }
                    out.element("cpus", &[("num", &cell.cpus.len().to_string())], |out| {
                        for cpu in &cell.cpus {
                            write_cell_cpu(out, cpu);
                        }
                    });
                });
            }
        });
    });
}

fn write_cell_cpu(out: &mut Out, cpu: &super::host::CellCpu) {
    let id = cpu.id.to_string();
    let Some((socket, die, cluster, core)) = cpu.place else {
        out.empty("cpu", &[("id", &id)]);
        return;
    };
    let [socket, die, cluster, core] = [socket, die, cluster, core].map(|n| n.to_string());
    let attrs = [
        ("id", &*id),
        ("socket_id", &*socket),
        ("die_id", &*die),
        ("cluster_id", &*cluster),
        ("core_id", &*core),
        ("siblings", &*cpu.siblings),
    ];
    out.empty("cpu", &attrs);
}

fn write_guest(out: &mut Out, guest: &GuestCaps, host: &HostFacts) {
    let caps = guest.caps;
    out.element("guest", &[], |out| {
        out.leaf("os_type", &[], "hvm");
        out.element("arch", &[("name", guest.arch)], |out| {
            out.leaf("wordsize", &[], word_size(guest.arch));
            out.leaf("emulator", &[], &caps.emulator);
            let machines = caps.accel(caps.best_accel()).map_or(&[][..], |a| &a.machines);
            for machine in machines {
                write_machine(out, None, &machine.name, machine);
                if let Some(alias) = &machine.alias {
                    write_machine(out, Some(&machine.name), alias, machine);
                }
            }
            if caps.accel(Accel::Tcg).is_some() {
                out.empty("domain", &[("type", "qemu")]);
            }
            if caps.accel(Accel::Kvm).is_some() && host.kvm_usable() {
                out.empty("domain", &[("type", "kvm")]);
            }
        });
        out.element("features", &[], |out| write_guest_features(out, guest.arch));
    });
}

fn write_machine(
    out: &mut Out,
    canonical: Option<&str>,
    name: &str,
    machine: &super::qemu::Machine,
) {
    let max_cpus = machine.max_cpus.to_string();
    let mut attrs = Vec::new();
    if let Some(canonical) = canonical {
        attrs.push(("canonical", canonical));
    }
    if machine.max_cpus > 0 {
        attrs.push(("maxCpus", max_cpus.as_str()));
    }
    if machine.deprecated {
        attrs.push(("deprecated", "yes"));
    }
    out.leaf("machine", &attrs, name);
}

fn write_guest_features(out: &mut Out, arch: &str) {
    let x86 = matches!(arch, "x86_64" | "i686");
    if arch == "i686" {
        out.empty("pae", &[]);
        out.empty("nonpae", &[]);
    }
    if x86 || matches!(arch, "aarch64" | "loongarch64") {
        out.empty("acpi", &[("default", "on"), ("toggle", "yes")]);
    }
    if x86 {
        out.empty("apic", &[("default", "on"), ("toggle", "no")]);
    }
    out.empty("cpuselection", &[]);
    out.empty("deviceboot", &[]);
    out.empty("disksnapshot", &[("default", "on"), ("toggle", "no")]);
    out.empty("externalSnapshot", &[]);
}

/// Whether the x86 CPU shows hardware virtualisation (`vmx` or `svm`).
pub fn shows_virtualisation(cpu: &super::host::HostCpu) -> bool {
    let map = X86Map::get();
    let facts = from_cpuid(&cpu.cpuid, &cpu.msrs);
    ["vmx", "svm"]
        .iter()
        .filter_map(|name| map.feature_index(name))
        .any(|index| facts.features.contains(index))
}
