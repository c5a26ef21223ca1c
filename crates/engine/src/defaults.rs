//! What the defaults of a definition depend on, from what is known of the emulator.

use crate::domain::store::os_words;
use crate::engine::Engine;
use diag::{Diagnostic, ErrorCode, ErrorDomain, Severity, VirError};
use model::capabilities::qemu::{Accel, QemuCaps};
use model::domain::defaults::{self, DefaultsContext, DeviceSupport, MachineInfo};
use model::domain::os::OsTypeName;
use model::domain::{Domain as Definition, VirtType};
use std::fs::File;
use std::io::Read;
use std::sync::Arc;

/// The part of the context that is the same for all guests of one emulator and accelerator.
#[derive(Debug)]
pub(crate) struct EmulatorDefaults {
    machines: Vec<MachineInfo>,
    devices: DeviceSupport,
}

impl EmulatorDefaults {
    pub(crate) fn new(caps: &QemuCaps, accel: Accel) -> Self {
        let machines =
            caps.accel(accel).or_else(|| caps.accel(Accel::Tcg)).map_or_else(Vec::new, |accel| {
                accel
                    .machines
                    .iter()
                    .map(|machine| MachineInfo {
                        name: machine.name.clone(),
                        alias: machine.alias.clone(),
                        default_cpu: machine
                            .default_cpu_type
                            .as_deref()
                            .and_then(|kind| cpu_name(kind, &caps.arch)),
                        is_default: machine.is_default,
                    })
                    .collect()
            });
        Self { machines, devices: DeviceSupport::new(caps.flags.iter().cloned()) }
    }
}

/// The CPU model of a QOM type: `qemu64-x86_64-cpu` is `qemu64`.
fn cpu_name(kind: &str, arch: &str) -> Option<String> {
    let arch = match arch {
        "i686" => "i386",
        other => other,
    };
    let name = kind.strip_suffix("-cpu")?;
    let name = name.strip_suffix(&format!("-{arch}")).unwrap_or(name);
    Some(name.to_owned())
}

impl Engine {
    /// Fills in what a definition leaves open, as for a new domain.
    pub(crate) fn with_defaults(&self, mut written: Definition) -> Result<Definition, VirError> {
        let arch = written.os.as_ref().and_then(|os| os.kind.arch.clone());
        let named = written.devices.as_ref().and_then(|devices| devices.emulator.clone());
        let default = match &arch {
            Some(arch) => crate::caps::CapsStore::default_emulator(arch),
            None => self.default_emulator(),
        };
        if let Some(arch) = &arch
            && !ARCHITECTURES.contains(&arch.as_str())
        {
            return Err(VirError::config(format!("Unknown architecture {arch}"))
                .from_domain(ErrorDomain::DOMAIN));
        }
        let accel = if written.kind == VirtType::Kvm { Accel::Kvm } else { Accel::Tcg };
        let shared = match (named.as_deref(), default.as_deref()) {
            // One that is named must be there; without any, the definition stays as it is.
            (Some(emulator), _) => {
                self.caps.get(emulator)?;
                self.caps.defaults_for(emulator, accel)
            }
            (None, Some(emulator)) => self.caps.defaults_for(emulator, accel),
            (None, None) => None,
        };
        let nothing = EmulatorDefaults { machines: Vec::new(), devices: DeviceSupport::default() };
        let (machines, devices) = match &shared {
            Some(shared) => (&shared.machines, &shared.devices),
            None => (&nothing.machines, &nothing.devices),
        };
        let settings = defaults::Settings {
            lib_dir: self.layout.qemu_lib().display().to_string(),
            channel_dir: self.layout.qemu_run().join("channel").display().to_string(),
            vnc_allow_host_audio: self.settings.qemu.vnc_allow_host_audio,
            nographics_allow_host_audio: self.settings.qemu.nographics_allow_host_audio,
        };
        let mut source = File::open("/dev/urandom").map_err(|error| {
            VirError::internal(format!("no random bytes: {}", os_words(&error)))
        })?;
        let mut starved = false;
        let mut random = |buffer: &mut [u8]| starved |= source.read_exact(buffer).is_err();
        let mut context = DefaultsContext {
            host_arch: &self.facts.arch,
            emulator: default.as_deref(),
            machines,
            devices,
            settings: &settings,
            random: &mut random,
            abi_update: true,
        };
        let diagnostics = defaults::apply(&mut written, &mut context);
        if starved {
            return Err(VirError::internal("the kernel gave no random bytes"));
        }
        let mut diagnostics = diagnostics;
        diagnostics.extend(self.beyond_emulator(&written, accel));
        if shared.is_some() {
            diagnostics.extend(model::domain::validate_support(&written, devices));
        }
        crate::domain::refuse_faults(Some(written), &diagnostics, "")
    }
}

/// Architectures of guests, by libvirt's names (`virArch`).
const ARCHITECTURES: &[&str] = &[
    "alpha",
    "armv6l",
    "armv7l",
    "armv7b",
    "aarch64",
    "cris",
    "i686",
    "ia64",
    "itanium",
    "lm32",
    "loongarch64",
    "m68k",
    "microblaze",
    "microblazeel",
    "mips",
    "mipsel",
    "mips64",
    "mips64el",
    "openrisc",
    "or32",
    "parisc",
    "parisc64",
    "ppc",
    "ppc64",
    "ppc64le",
    "ppcemb",
    "riscv32",
    "riscv64",
    "s390",
    "s390x",
    "sh4",
    "sh4eb",
    "sparc",
    "sparc64",
    "unicore32",
    "x86_64",
    "xtensa",
    "xtensaeb",
];

impl Engine {
    /// What a definition asks for that its emulator never gives.
    fn beyond_emulator(&self, definition: &Definition, accel: Accel) -> Vec<Diagnostic> {
        let mut faults = Vec::new();
        let mut refuse = |rule, message: String| {
            faults.push(Diagnostic {
                rule,
                severity: Severity::Error,
                code: ErrorCode::CONFIG_UNSUPPORTED,
                span: None,
                message,
                hints: Vec::new(),
            });
        };
        let Some(os) = &definition.os else { return faults };
        let emulator = definition.devices.as_ref().and_then(|devices| devices.emulator.as_deref());
        let ours = matches!(definition.kind, VirtType::Qemu | VirtType::Kvm);
        if ours && os.kind.name != OsTypeName::Hvm {
            let (emulator, name) = (emulator.unwrap_or_default(), os.kind.name.as_str());
            refuse(
                "qemu.os-type",
                format!("Emulator '{emulator}' does not support os type '{name}'"),
            );
        }
        let Some(caps) = emulator.and_then(|emulator| self.caps.known(emulator)) else {
            return faults;
        };
        let machine = os.kind.machine.as_deref().and_then(|name| caps.machine(accel, name));
        let most = machine.map_or(0, |machine| machine.max_cpus);
        let wanted = definition.vcpu.as_ref().map_or(1, |vcpu| vcpu.maximum);
        if most > 0 && wanted > most {
            refuse(
                "qemu.max-vcpus",
                format!("Maximum CPUs greater than specified machine type limit {most}"),
            );
        }
        faults
    }
}

/// Shared form.
pub(crate) type SharedDefaults = Arc<EmulatorDefaults>;
