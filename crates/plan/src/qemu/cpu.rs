//! `-cpu`.

use super::build::{Build, Switch};
use super::words::OnOff;
use crate::step::{QmpCommand, ResultName};
use diag::ErrorCode;
use model::capabilities::cpu::X86Map;
use model::capabilities::qemu::Accel;
use model::domain::clock::{TickPolicy, TimerMode, TimerName};
use model::domain::cpu::*;
use model::domain::{Domain, VirtType};

/// A POWER architecture.
pub(super) fn is_power(arch: &str) -> bool {
    matches!(arch, "ppc64" | "ppc64le")
}

/// An architecture of Intel's family.
pub(super) fn is_x86(arch: &str) -> bool {
    matches!(arch, "x86_64" | "i686")
}

/// Where QEMU's object of the first virtual CPU is on x86.
const FIRST_CPU: &str = "/machine/unattached/device[0]";

/// Whether QEMU is asked which features the guest really got.
pub(super) fn is_reported(domain: &Domain, arch: &str) -> bool {
    let custom = domain.cpu.as_ref().filter(|cpu| cpu.mode == Some(CpuMode::Custom));
    let named = custom.and_then(|cpu| cpu.model.as_ref()).is_some_and(|model| model.name.is_some());
    is_x86(arch) && (named || !indispensable(domain).is_empty())
}

/// A feature without which a guest that asks for it is not started, whatever its CPU is checked for.
pub(super) struct Indispensable {
    /// Leaf and register of CPUID that show it, and the bit.
    leaf: u32,
    register: &'static str,
    bit: u32,
    /// What libvirt calls it.
    name: &'static str,
}

impl Indispensable {
    /// Whether QEMU's answer to `feature-words` has it.
    pub(super) fn is_in(&self, words: &serde_json::Value) -> bool {
        let number = |word: &serde_json::Value, key: &str| word.get(key)?.as_u64();
        words.as_array().into_iter().flatten().any(|word| {
            number(word, "cpuid-input-eax") == Some(u64::from(self.leaf))
                && word.get("cpuid-register").and_then(|name| name.as_str()) == Some(self.register)
                && number(word, "features").is_some_and(|bits| bits >> self.bit & 1 == 1)
        })
    }

    /// What a guest is told that does not get it.
    pub(super) fn refusal(&self) -> String {
        format!("host doesn't support {}", self.name)
    }
}

/// What this guest asks for of such features.
pub(super) fn indispensable(domain: &Domain) -> Vec<Indispensable> {
    let mut found = Vec::new();
    let spinlocks = domain.features.as_ref().and_then(|features| features.pvspinlock.as_ref());
    if spinlocks.is_some_and(|feature| feature.state == Some(OnOff::On)) {
        let name = "paravirtual spinlocks";
        found.push(Indispensable { leaf: 0x4000_0001, register: "EAX", bit: 7, name });
    }
    let features = domain.cpu.iter().flat_map(|cpu| &cpu.features);
    let mut wanted = features.filter(|feature| {
        matches!(feature.policy, None | Some(CpuFeaturePolicy::Require | CpuFeaturePolicy::Force))
    });
    if wanted.any(|feature| feature.name == "invtsc") {
        let name = "invariant TSC";
        found.push(Indispensable { leaf: 0x8000_0007, register: "EDX", bit: 8, name });
    }
    found
}

/// The questions about the features of the first virtual CPU; `observe` reads the answers.
pub(super) fn questions() -> [QmpCommand; 2] {
    [("qmp.cpu-features", "feature-words"), ("qmp.cpu-filtered", "filtered-features")].map(
        |(result, property)| QmpCommand {
            result: Some(ResultName::new(result)),
            json: serde_json::json!({"execute": "qom-get", "arguments": {
                "path": FIRST_CPU, "property": property,
            }})
            .to_string(),
            secret: false,
        },
    )
}

impl Build<'_> {
    /// The CPU a POWER guest on the host's CPU is compatible with.
    pub(super) fn compatible_cpu(&self) -> Option<String> {
        let cpu = self.d.cpu.as_ref().filter(|cpu| cpu.mode == Some(CpuMode::HostModel))?;
        is_power(&self.arch).then(|| cpu.model.as_ref()?.name.clone())?
    }

    /// Name of the model when the domain names none.
    fn default_model(&self) -> Option<String> {
        let machine = self.caps.machine(self.accel, &self.machine)?;
        // Of Arm, QEMU names a model of emulation, which Apple's hypervisor cannot run.
        let foreign = self.d.kind == VirtType::Hvf && !matches!(&*self.arch, "x86_64" | "i686");
        if foreign || !model::domain::defaults::has_default_cpu(&self.arch) {
            return None;
        }
        self.caps.default_cpu(self.accel, machine).map(str::to_string)
    }

    /// `-cpu`, unless there is nothing to say.
    pub(super) fn cpu(&mut self) {
        let cpu = self.d.cpu.clone().unwrap_or_default();
        let kvm = self.accel == Accel::Kvm;
        let mut out = String::new();
        let model = cpu.model.as_ref().and_then(|model| model.name.clone());
        match cpu.mode {
            Some(CpuMode::HostPassthrough) => {
                if !kvm {
                    let message = format!(
                        "CPU mode 'host-passthrough' for {} qemu domain on {} host is not supported by hypervisor",
                        self.arch, self.host.arch
                    );
                    self.fail("qemu.cpu-mode", message);
                }
                out.push_str("host");
                if self.has("cpu.migratable") {
                    let on = cpu.migratable.is_none_or(Switch::on);
                    out.push_str(if on { ",migratable=on" } else { ",migratable=off" });
                }
            }
            Some(CpuMode::HostModel) if is_power(&self.arch) => out.push_str("host"),
            Some(CpuMode::Maximum) => {
                out.push_str("max");
                if let Some(migratable) = cpu.migratable.filter(|_| self.has("cpu.migratable")) {
                    out.push_str(&format!(",migratable={}", migratable.word()));
                }
            }
            _ => match model.or_else(|| self.default_model()) {
                Some(model) => {
                    self.check_model(&cpu, &model);
                    out.push_str(&model);
                }
                None => {
                    // Where nothing else is asked of the CPU, the emulator chooses.
                    self.cpu_timers(&mut out);
                    self.cpu_features(&mut out);
                    if !out.is_empty() {
                        let text = format!(
                            "CPU flags requested but can't determine default CPU for arch {}",
                            self.arch
                        );
                        self.fail("qemu.cpu-default", text);
                    }
                    return;
                }
            },
        }
        if let Some(vendor) = cpu.model.as_ref().and_then(|model| model.vendor_id.as_ref()) {
            out.push_str(&format!(",vendor={vendor}"));
        }
        let x86 = self.x86();
        for feature in &cpu.features {
            let name =
                if x86 { X86Map::get().qemu_name(&feature.name) } else { feature.name.as_str() };
            match feature.policy {
                Some(CpuFeaturePolicy::Disable | CpuFeaturePolicy::Forbid) => {
                    out.push_str(&format!(",{name}=off"));
                }
                // Decided on x86 only: elsewhere it is not asked for.
                Some(CpuFeaturePolicy::Optional) if !x86 => {}
                Some(CpuFeaturePolicy::Optional) => {
                    let word = if self.host_has(name) { "on" } else { "off" };
                    out.push_str(&format!(",{name}={word}"));
                }
                _ => out.push_str(&format!(",{name}=on")),
            }
        }
        self.cpu_timers(&mut out);
        self.cpu_features(&mut out);
        if let Some(cache) = &cpu.cache {
            let host = matches!(cpu.mode, Some(CpuMode::HostPassthrough | CpuMode::Maximum));
            match cache.mode {
                CpuCacheMode::Emulate => {
                    out.push_str(",l3-cache=on");
                    if host {
                        out.push_str(",host-cache-info=off");
                    }
                }
                CpuCacheMode::Passthrough => out.push_str(",host-cache-info=on,l3-cache=off"),
                CpuCacheMode::Disable => {
                    if host {
                        out.push_str(",host-cache-info=off");
                    }
                    out.push_str(",l3-cache=off");
                }
            }
        }
        if let Some(bits) = &cpu.max_phys_addr {
            match bits.mode {
                PhysAddrMode::Passthrough => {
                    out.push_str(",host-phys-bits=on");
                    if let Some(limit) = bits.limit {
                        out.push_str(&format!(",host-phys-bits-limit={limit}"));
                    }
                }
                PhysAddrMode::Emulate => {
                    if let Some(bits) = bits.bits {
                        out.push_str(&format!(",phys-bits={bits}"));
                    }
                }
            }
        }
        self.opt("-cpu", &out);
    }

    /// Whether the host model shows a feature (QEMU's name).
    fn host_has(&self, name: &str) -> bool {
        use model::capabilities::qemu::CpuPropValue;
        let model = self.caps.accel(self.accel).and_then(|accel| accel.host_model.as_ref());
        model.is_some_and(|model| {
            let mut props = model.props.iter();
            props.any(|prop| prop.name == name && prop.value == CpuPropValue::Bool(true))
        })
    }

    /// Refuses a model the emulator does not have.
    fn check_model(&mut self, cpu: &Cpu, model: &str) {
        let known = self.caps.accel(self.accel).map_or(&[][..], |accel| &accel.cpus);
        if known.is_empty() || known.iter().any(|known| known.name == model) {
            return;
        }
        let fallback = cpu.model.as_ref().and_then(|model| model.fallback);
        let (code, message) = match fallback {
            Some(CpuFallback::Forbid) => (
                ErrorCode::CONFIG_UNSUPPORTED,
                format!("CPU model {model} is not supported by hypervisor"),
            ),
            _ => (
                ErrorCode::NO_SUPPORT,
                format!("cannot translate CPU model {model} to a supported model"),
            ),
        };
        self.fail_with("qemu.cpu-model", code, message);
        let (major, minor, micro) = self.caps.version;
        let hint =
            format!("{} (version {major}.{minor}.{micro}) does not have it", self.caps.emulator);
        if let Some(fault) = self.faults.last_mut() {
            fault.hints.push(hint);
        }
    }

    /// Clock sources that are CPU properties.
    fn cpu_timers(&mut self, out: &mut String) {
        for timer in self.d.clock.iter().flat_map(|clock| &clock.timers) {
            match timer.name {
                TimerName::Kvmclock => {
                    if let Some(present) = timer.present {
                        out.push_str(&format!(",kvmclock={}", present.word()));
                    }
                }
                TimerName::Hypervclock if timer.present.is_some_and(Switch::on) => {
                    out.push_str(",hv-time=on");
                }
                TimerName::Tsc => {
                    if timer.mode == Some(TimerMode::Emulate) {
                        continue;
                    }
                    if let Some(frequency) = timer.frequency {
                        out.push_str(&format!(",tsc-frequency={frequency}"));
                    }
                }
                TimerName::Armvtimer => match timer.tick_policy {
                    Some(TickPolicy::Delay) => out.push_str(",kvm-no-adjvtime=off"),
                    Some(TickPolicy::Discard) => out.push_str(",kvm-no-adjvtime=on"),
                    _ => {}
                },
                _ => {}
            }
        }
    }

    /// Features of the domain that are CPU properties.
    fn cpu_features(&mut self, out: &mut String) {
        use model::domain::devices::panic::PanicModel;
        let features = self.features();
        if let Some(eoi) = features.apic.and_then(|apic| apic.eoi) {
            out.push_str(&format!(",kvm-pv-eoi={}", eoi.word()));
        }
        if let Some(state) = features.pvspinlock {
            let on = state.state.is_none_or(Switch::on);
            out.push_str(&format!(",kvm-pv-unhalt={}", if on { "on" } else { "off" }));
        }
        if let Some(hyperv) = &features.hyperv {
            self.hyperv(out, hyperv);
        }
        if self.dev.panics.iter().any(|panic| panic.model == Some(PanicModel::Hyperv)) {
            out.push_str(",hv-crash");
        }
        if let Some(kvm) = &features.kvm {
            let on = |state: &Option<model::domain::features::State>| {
                state.as_ref().is_some_and(|state| state.state == OnOff::On)
            };
            if on(&kvm.hidden) {
                out.push_str(",kvm=off");
            }
            if on(&kvm.hint_dedicated) {
                out.push_str(",kvm-hint-dedicated=on");
            }
            if on(&kvm.poll_control) {
                out.push_str(",kvm-poll-control=on");
            }
            let off = kvm.pv_ipi.as_ref().is_some_and(|state| state.state == OnOff::Off);
            if off {
                out.push_str(",kvm-pv-ipi=off");
            }
        }
        // The CPUs of POWER have none that could be switched.
        if let Some(state) = features.pmu.filter(|_| !is_power(&self.arch)) {
            let on = state.state.is_none_or(Switch::on);
            out.push_str(if on { ",pmu=on" } else { ",pmu=off" });
        }
    }

    /// Hyper-V enlightenments.
    fn hyperv(&mut self, out: &mut String, hyperv: &model::domain::features::HyperV) {
        use model::domain::features::{HyperVMode, State};
        if hyperv.mode == HyperVMode::Passthrough {
            out.push_str(",hv-passthrough=on");
            return;
        }
        if hyperv.mode == HyperVMode::HostModel {
            self.fail("qemu.hyperv", "<hyperv mode='host-model'> is not supported yet");
        }
        let mut simple = |name: &str, state: &Option<State>| {
            if state.as_ref().is_some_and(|state| state.state == OnOff::On) {
                out.push_str(&format!(",hv-{name}=on"));
            }
        };
        simple("relaxed", &hyperv.relaxed);
        simple("vapic", &hyperv.vapic);
        if let Some(spin) = hyperv.spinlocks.as_ref().filter(|spin| spin.state.on()) {
            out.push_str(&format!(",hv-spinlocks=0x{:x}", spin.retries.unwrap_or(0)));
        }
        let mut simple = |name: &str, state: &Option<State>| {
            if state.as_ref().is_some_and(|state| state.state == OnOff::On) {
                out.push_str(&format!(",hv-{name}=on"));
            }
        };
        simple("vpindex", &hyperv.vpindex);
        simple("runtime", &hyperv.runtime);
        simple("synic", &hyperv.synic);
        if let Some(timer) = hyperv.stimer.as_ref().filter(|timer| timer.state.on()) {
            out.push_str(",hv-stimer=on");
            if timer.direct.as_ref().is_some_and(|direct| direct.state.on()) {
                out.push_str(",hv-stimer-direct=on");
            }
        }
        if hyperv.reset.as_ref().is_some_and(|state| state.state.on()) {
            out.push_str(",hv-reset=on");
        }
        if let Some(vendor) = hyperv.vendor_id.as_ref().filter(|vendor| vendor.state.on()) {
            out.push_str(&format!(",hv-vendor-id={}", vendor.value.as_deref().unwrap_or_default()));
        }
        let mut simple = |name: &str, state: &Option<State>| {
            if state.as_ref().is_some_and(|state| state.state == OnOff::On) {
                out.push_str(&format!(",hv-{name}=on"));
            }
        };
        simple("frequencies", &hyperv.frequencies);
        simple("reenlightenment", &hyperv.reenlightenment);
        if let Some(flush) = hyperv.tlbflush.as_ref().filter(|flush| flush.state.on()) {
            out.push_str(",hv-tlbflush=on");
            if flush.direct.as_ref().is_some_and(|state| state.state.on()) {
                out.push_str(",hv-tlbflush-direct=on");
            }
            if flush.extended.as_ref().is_some_and(|state| state.state.on()) {
                out.push_str(",hv-tlbflush-ext=on");
            }
        }
        let mut simple = |name: &str, state: &Option<State>| {
            if state.as_ref().is_some_and(|state| state.state == OnOff::On) {
                out.push_str(&format!(",hv-{name}=on"));
            }
        };
        simple("ipi", &hyperv.ipi);
        simple("evmcs", &hyperv.evmcs);
        simple("avic", &hyperv.avic);
        simple("emsr-bitmap", &hyperv.emsr_bitmap);
        simple("xmm-input", &hyperv.xmm_input);
    }
}
