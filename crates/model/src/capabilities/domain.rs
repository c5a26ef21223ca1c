//! `virsh domcapabilities`: what a guest of one emulator, machine and accelerator may have.

use super::cpu::X86Map;
use super::firmware::{Firmware, FirmwareMapping};
use super::host::HostFacts;
use super::hypervisor_cpu::{host_model, offered_models};
use super::qemu::{Accel, AccelCaps, CpuDefinition, QemuCaps};
use super::text::Out;
use crate::cpu::set_deprecated;
use crate::domain::cpu::{CpuFallback, CpuFeaturePolicy};
use std::collections::BTreeSet;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The emulator.
    pub caps: &'a QemuCaps,
    /// Machine name or alias; `None`: the default one.
    pub machine: Option<&'a str>,
    /// Guest architecture.
    pub arch: &'a str,
    /// Accelerator.
    pub accel: Accel,
    /// Apple's hypervisor takes the place of `accel`, whose machines and models it shares.
    pub hvf: bool,
    /// The host's model is told without the features that will go away.
    pub without_deprecated: bool,
    /// Installed firmware.
    pub firmware: &'a [Firmware],
    /// Images that the daemon's settings list as loaders; they take the place of those of the
    /// installed firmware.
    pub loaders: Option<&'a [String]>,
    /// Images that are listed where no installed firmware fits.
    pub default_loaders: &'a [String],
}

/// The machine does not exist for this emulator and accelerator; its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownMachine(pub String);

fn yes_no(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

/// `<enum name='…'>` with those values whose condition holds.
fn values(out: &mut Out, name: &str, values: &[(bool, &str)]) {
    out.element("enum", &[("name", name)], |out| {
        for (on, value) in values {
            if *on {
                out.leaf("value", &[], value);
            }
        }
    });
}

/// Element with `supported`, empty unless supported.
fn section(out: &mut Out, name: &str, on: bool, content: impl FnOnce(&mut Out)) {
    out.element(name, &[("supported", yes_no(on))], |out| {
        if on {
            content(out);
        }
    });
}

/// The `<domainCapabilities>` document.
///
/// # Errors
/// The machine is unknown.
pub fn domain_capabilities_xml(
    host: &HostFacts,
    request: &Request,
) -> Result<String, UnknownMachine> {
    let caps = request.caps;
    let accel = caps.accel(request.accel);
    let machine = match request.machine {
        Some(name) => caps.machine(request.accel, name),
        None => caps.default_machine(request.accel),
    };
    let machine_name = machine.map_or_else(
        || request.machine.unwrap_or_default().to_string(),
        |machine| machine.name.clone(),
    );
    if machine.is_none() && accel.is_some_and(|accel| !accel.machines.is_empty()) {
        return Err(UnknownMachine(machine_name));
    }
    let mut out = Out::default();
    let kvm = request.accel == Accel::Kvm;
    out.element("domainCapabilities", &[], |out| {
        out.leaf("path", &[], &caps.emulator);
        let kind = match request.accel {
            _ if request.hvf => "hvf",
            Accel::Kvm => "kvm",
            Accel::Tcg => "qemu",
        };
        out.leaf("domain", &[], kind);
        if !machine_name.is_empty() {
            out.leaf("machine", &[], &machine_name);
        }
        out.leaf("arch", &[], request.arch);
        let limit = host.kvm_max_vcpus.filter(|_| kvm).unwrap_or(u32::MAX);
        let own = caps.machine(request.accel, &machine_name).filter(|_| accel.is_some());
        if let Some(max) = own.map(|m| m.max_cpus).filter(|max| *max > 0) {
            out.empty("vcpu", &[("max", &max.min(limit).to_string())]);
        }
        out.empty("iothreads", &[("supported", "yes")]);
        write_os(out, request, &machine_name);
        out.element("cpu", &[], |out| write_cpu(out, host, request));
        section(out, "memoryBacking", true, |out| {
            values(
                out,
                "sourceType",
                &[(true, "file"), (true, "anonymous"), (caps.has("memory-backend-memfd"), "memfd")],
            );
        });
        out.element("devices", &[], |out| write_devices(out, host, request, &machine_name));
        out.element("features", &[], |out| write_features(out, host, request, &machine_name));
    });
    Ok(out.finish())
}

fn write_os(out: &mut Out, request: &Request, machine: &str) {
    let fitting: Vec<&Firmware> =
        request.firmware.iter().filter(|f| f.fits(request.arch, machine)).collect();
    section(out, "os", true, |out| {
        let offers = |interface| fitting.iter().any(|f| f.offers(interface));
        values(out, "firmware", &[(offers("bios"), "bios"), (offers("uefi"), "efi")]);
        section(out, "loader", true, |out| {
            // Only images that are shared by guests can be named as a loader.
            let shared = fitting
                .iter()
                .filter(|firmware| !matches!(firmware.mapping, FirmwareMapping::Kernel(_)))
                .map(|firmware| firmware.executable());
            let paths: Vec<&str> = match request.loaders {
                Some(loaders) => loaders.iter().map(String::as_str).collect(),
                None if fitting.is_empty() => {
                    request.default_loaders.iter().map(String::as_str).collect()
                }
                None => shared.collect(),
            };
            let mut listed = BTreeSet::new();
            for path in paths {
                if listed.insert(path) {
                    out.leaf("value", &[], path);
                }
            }
            values(out, "type", &[(true, "rom"), (true, "pflash")]);
            values(out, "readonly", &[(true, "yes"), (true, "no")]);
            // Secure boot needs SMM, which only this board has.
            let smm = machine == "q35" || machine.starts_with("pc-q35");
            let secure =
                smm && fitting.iter().any(|f| f.has("secure-boot") && f.has("requires-smm"));
            values(out, "secure", &[(secure, "yes"), (true, "no")]);
        });
    });
}

fn write_cpu(out: &mut Out, host: &HostFacts, request: &Request) {
    let caps = request.caps;
    let kvm = request.accel == Accel::Kvm;
    let x86 = matches!(request.arch, "x86_64" | "i686");
    let mode = |out: &mut Out, name: &str, on: bool, content: &mut dyn FnMut(&mut Out)| {
        out.element("mode", &[("name", name), ("supported", yes_no(on))], |out| {
            if on {
                content(out);
            }
        });
    };
    mode(out, "host-passthrough", kvm || request.hvf, &mut |out| {
        let migratable = caps.has("cpu.migratable");
        values(out, "hostPassthroughMigratable", &[(migratable, "on"), (true, "off")]);
    });
    mode(out, "maximum", caps.has("cpu-max"), &mut |out| {
        values(out, "maximumMigratable", &[(true, "on"), (true, "off")]);
    });
    let empty = AccelCaps::default();
    let accel = caps.accel(request.accel).unwrap_or(&empty);
    let mut model = host_model(caps, request.accel, request.arch, host, false);
    if let (true, Some(cpu), Some(own)) =
        (request.without_deprecated, model.as_mut(), &accel.host_model)
    {
        set_deprecated(cpu, &own.deprecated, false);
    }
    mode(out, "host-model", model.is_some(), &mut |out| {
        let Some((cpu, model)) = model.as_ref().and_then(|cpu| Some((cpu, cpu.model.as_ref()?)))
        else {
            return;
        };
        let replaced = model.fallback == Some(CpuFallback::Allow);
        let fallback = if replaced { "allow" } else { "forbid" };
        out.leaf("model", &[("fallback", fallback)], model.name.as_deref().unwrap_or_default());
        if let Some(vendor) = &cpu.vendor {
            out.leaf("vendor", &[], vendor);
        }
        if let Some(bits) = host.cpu.phys_bits.filter(|_| kvm) {
            out.empty("maxphysaddr", &[("mode", "passthrough"), ("limit", &bits.to_string())]);
        }
        for feature in &cpu.features {
            let disabled = feature.policy == Some(CpuFeaturePolicy::Disable);
            let policy = if disabled { "disable" } else { "require" };
            out.empty("feature", &[("policy", policy), ("name", &feature.name)]);
        }
    });
    let listed = offered_models(accel, request.arch);
    // Architectures that one company makes.
    let maker = matches!(request.arch, "s390x" | "ppc64" | "ppc64le").then_some("IBM");
    mode(out, "custom", !listed.is_empty(), &mut |out| {
        for cpu in &listed {
            write_model(out, cpu, x86, maker);
        }
    });
}

fn write_model(out: &mut Out, cpu: &CpuDefinition, x86: bool, maker: Option<&str>) {
    let map = X86Map::get();
    let vendor = map.model(&cpu.name).filter(|_| x86).and_then(|model| model.vendor);
    let vendor = vendor.or(maker.filter(|_| !matches!(cpu.name.as_str(), "max" | "qemu")));
    let usable = match cpu.usable {
        Some(on) => yes_no(on),
        None => "unknown",
    };
    let mut attrs = vec![("usable", usable)];
    if cpu.deprecated {
        attrs.push(("deprecated", "yes"));
    }
    attrs.push(("vendor", vendor.unwrap_or("unknown")));
    if let Some(canonical) =
        cpu.alias_of.as_deref().filter(|name| !x86 || map.model(name).is_some())
    {
        attrs.push(("canonical", canonical));
    }
    out.leaf("model", &attrs, &cpu.name);
    if cpu.usable == Some(false) && !cpu.blockers.is_empty() {
        let names: BTreeSet<&str> = cpu
            .blockers
            .iter()
            .map(|name| if x86 { map.libvirt_name(name) } else { name.as_str() })
            .collect();
        out.element("blockers", &[("model", &cpu.name)], |out| {
            for name in names {
                out.empty("feature", &[("name", name)]);
            }
        });
    }
}

fn write_devices(out: &mut Out, host: &HostFacts, request: &Request, machine: &str) {
    let caps = request.caps;
    let has = |flag: &str| caps.has(flag);
    let pseries = machine.starts_with("pseries");
    let x86 = matches!(request.arch, "x86_64" | "i686");
    let ide =
        machine.starts_with("pc-i440fx") || ["pc", "malta", "sun4u", "g3beige"].contains(&machine);
    // Boards without PCI have one kind of each virtio device.
    let pci = has("virtio-pci-non-transitional");
    let kinds_of = |virtio: bool| {
        let pci = virtio && pci;
        [(virtio, "virtio"), (pci, "virtio-transitional"), (pci, "virtio-non-transitional")]
    };
    section(out, "disk", true, |out| {
        let devices = [(true, "disk"), (true, "cdrom"), (!pseries, "floppy"), (true, "lun")];
        values(out, "diskDevice", &devices);
        values(
            out,
            "bus",
            &[
                (ide, "ide"),
                (!pseries, "fdc"),
                (true, "scsi"),
                (true, "virtio"),
                (has("usb-storage"), "usb"),
                (has("ich9-ahci"), "sata"),
            ],
        );
        values(out, "model", &kinds_of(true));
    });
    section(out, "graphics", true, |out| {
        values(
            out,
            "type",
            &[
                (has("sdl"), "sdl"),
                (has("vnc"), "vnc"),
                (has("display-dbus") && host.qemu_rdp, "rdp"),
                (has("spice"), "spice"),
                (has("egl-headless"), "egl-headless"),
                (has("display-dbus"), "dbus"),
            ],
        );
    });
    section(out, "video", true, |out| {
        values(
            out,
            "modelType",
            &[
                (has("VGA"), "vga"),
                (has("cirrus-vga"), "cirrus"),
                (has("vmware-svga"), "vmvga"),
                (has("qxl"), "qxl"),
                (has("virtio-gpu") || has("virtio-gpu-ccw"), "virtio"),
                (true, "none"),
                (has("bochs-display"), "bochs"),
                (has("ramfb"), "ramfb"),
            ],
        );
    });
    section(out, "hostdev", true, |out| {
        values(out, "mode", &[(true, "subsystem")]);
        let policies = ["default", "mandatory", "requisite", "optional"];
        values(out, "startupPolicy", &policies.map(|policy| (true, policy)));
        values(out, "subsysType", &[(has("usb-hub"), "usb"), (true, "pci"), (true, "scsi")]);
        values(out, "capsType", &[]);
        let vfio = host.vfio;
        values(out, "pciBackend", &[(vfio, "default"), (vfio, "vfio")]);
    });
    section(out, "rng", true, |out| {
        values(out, "model", &kinds_of(has("virtio-rng")));
        let models = [
            (has("rng-random"), "random"),
            (has("rng-egd"), "egd"),
            (has("rng-builtin"), "builtin"),
        ];
        values(out, "backendModel", &models);
    });
    section(out, "filesystem", true, |out| {
        let types = [(true, "path"), (true, "handle"), (has("vhost-user-fs"), "virtiofs")];
        values(out, "driverType", &types);
    });
    let tpm = ["tpm-tis", "tpm-crb", "tpm-spapr", "spapr-tpm-proxy"];
    section(out, "tpm", tpm.iter().any(|flag| has(flag)), |out| {
        values(out, "model", &tpm.map(|flag| (has(flag), flag)));
        let emulator = has("tpm-emulator") && !host.swtpm_versions.is_empty();
        let backends = [
            (has("tpm-passthrough"), "passthrough"),
            (emulator, "emulator"),
            (emulator, "external"),
        ];
        values(out, "backendModel", &backends);
        if emulator {
            let versions: Vec<_> = host.swtpm_versions.iter().map(|v| (true, &**v)).collect();
            values(out, "backendVersion", &versions);
        }
    });
    section(out, "redirdev", has("usb-redir"), |out| values(out, "bus", &[(true, "usb")]));
    section(out, "channel", true, |out| {
        let types = [(true, "pty"), (true, "unix"), (has("spice"), "spicevmc")];
        values(out, "type", &types);
    });
    section(out, "crypto", true, |out| {
        values(out, "model", &[(has("virtio-crypto"), "virtio")]);
        values(out, "type", &[(true, "qemu")]);
        let backends = [(true, "builtin"), (has("cryptodev-backend-lkcf"), "lkcf")];
        values(out, "backendModel", &backends);
    });
    section(out, "interface", true, |out| {
        values(out, "backendType", &[(true, "default"), (has("netdev.stream"), "passt")]);
    });
    let panic = [
        (has("pvpanic") && x86, "isa"),
        (x86, "hyperv"),
        (pseries, "pseries"),
        (request.arch == "s390x", "s390"),
        (has("pvpanic-pci"), "pvpanic"),
    ];
    section(out, "panic", panic.iter().any(|(on, _)| *on), |out| values(out, "model", &panic));
}

fn write_features(out: &mut Out, host: &HostFacts, request: &Request, machine: &str) {
    let caps = request.caps;
    let kvm = request.accel == Accel::Kvm;
    let x86 = matches!(request.arch, "x86_64" | "i686");
    let plain = |out: &mut Out, name: &str, on: bool| {
        out.empty(name, &[("supported", yes_no(on))]);
    };
    // Other boards of Arm have the interrupt controller that they were made with.
    let chooses = machine == "virt" || machine.starts_with("virt-");
    let gic: Vec<String> = caps
        .gic
        .iter()
        .filter(|_| chooses)
        .filter(|gic| if kvm { gic.kernel } else { gic.emulated && !request.hvf })
        .map(|gic| gic.version.to_string())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    section(out, "gic", !gic.is_empty(), |out| {
        let versions: Vec<_> = gic.iter().map(|version| (true, &**version)).collect();
        values(out, "version", &versions);
    });
    plain(out, "vmcoreinfo", caps.has("vmcoreinfo"));
    plain(out, "genid", caps.has("vmgenid"));
    plain(out, "backingStoreInput", true);
    plain(out, "backup", true);
    plain(out, "async-teardown", caps.has("run-with.async-teardown"));
    if request.arch == "s390x" {
        plain(out, "s390-pv", caps.has("s390-pv-guest") && caps.has("confidential-guest-support"));
    }
    // The smallest of the PCs has no keyboard controller.
    // The boards with a PS/2 controller of their own.
    let ps2 = x86 && !matches!(machine, "microvm" | "x-remote");
    plain(out, "ps2", ps2);
    section(out, "sev", caps.sev.is_some(), |out| {
        let Some(sev) = &caps.sev else { return };
        out.leaf("cbitpos", &[], &sev.cbitpos.to_string());
        out.leaf("reducedPhysBits", &[], &sev.reduced_phys_bits.to_string());
        // CPUID 8000001Fh: guests in all, and the first ASID that is not for SEV-ES.
        let [_, _, guests, first] =
            host.cpu.cpuid.get(&(0x8000_001f, 0)).copied().unwrap_or_default();
        let es = first.saturating_sub(1);
        out.leaf("maxGuests", &[], &guests.saturating_sub(es).to_string());
        out.leaf("maxESGuests", &[], &es.to_string());
        out.leaf("cpu0Id", &[], &sev.cpu0_id);
    });
    section(out, "sgx", caps.sgx.is_some(), |out| {
        let Some(sgx) = &caps.sgx else { return };
        out.leaf("flc", &[], yes_no(sgx.flc));
        out.leaf("sgx1", &[], yes_no(sgx.sgx1));
        out.leaf("sgx2", &[], yes_no(sgx.sgx2));
        let total: u64 = sgx.sections.iter().map(|(_, size)| size).sum();
        out.leaf("section_size", &[("unit", "KiB")], &(total / 1024).to_string());
        out.element("sections", &[], |out| {
            for (node, size) in &sgx.sections {
                let (node, size) = (node.to_string(), (size / 1024).to_string());
                out.empty("section", &[("node", &node), ("size", &size), ("unit", "KiB")]);
            }
        });
    });
    if let Some(features) = caps.hyperv.as_ref().filter(|list| x86 && !list.is_empty()) {
        section(out, "hyperv", true, |out| {
            let names: Vec<_> = features.iter().map(|name| (true, &**name)).collect();
            values(out, "features", &names);
        });
    }
    let security = [
        (caps.has("sev-guest"), "sev"),
        (caps.has("sev-snp-guest"), "sev-snp"),
        (request.arch == "s390x" && caps.has("s390-pv-guest"), "s390-pv"),
    ];
    let any = security.iter().any(|(on, _)| *on);
    section(out, "launchSecurity", any, |out| values(out, "sectype", &security));
}
