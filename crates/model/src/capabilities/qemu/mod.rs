//! What one QEMU binary can do, as data: made from its QMP answers, kept in a cache file.

mod answers;
mod cache;
mod complete;
mod flags;
mod schema;
#[cfg(test)]
mod tests;
mod transcript;

pub use cache::{CacheError, CacheKey};
pub use complete::{Complete, complete};
pub use flags::known as known_flag;
pub use transcript::{Exchange, ProbeKind, cpu_commands, parse_transcript, probe_commands};

use answers::Answers;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// A machine type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Machine {
    /// Full name, `pc-q35-10.0`.
    pub name: String,
    /// Short name that means this one, `q35`.
    pub alias: Option<String>,
    /// Most virtual CPUs; 0 where QEMU does not say.
    pub max_cpus: u32,
    /// CPUs can be plugged.
    pub hotplug_cpus: bool,
    /// The machine used when none is named.
    pub is_default: bool,
    /// QOM type of the default CPU.
    pub default_cpu_type: Option<String>,
    /// `numa-mem-supported`: NUMA memory may be given as plain sizes.
    pub numa_mem_supported: bool,
    /// Id of the default memory backend, `pc.ram`.
    pub default_ram_id: Option<String>,
    /// Will go away.
    pub deprecated: bool,
    /// Whether the machine has ACPI; `None` where QEMU does not say.
    pub acpi: Option<bool>,
}

/// A CPU model of the binary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct CpuDefinition {
    /// Name for `-cpu`.
    pub name: String,
    /// QOM type.
    pub typename: String,
    /// Runs here without missing features; `None` where QEMU does not say.
    pub usable: Option<bool>,
    /// Features (QEMU's names) that are missing here.
    pub blockers: Vec<String>,
    /// The versioned model this name stands for.
    pub alias_of: Option<String>,
    /// Will go away.
    pub deprecated: bool,
}

/// A value of a CPU property.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum CpuPropValue {
    /// On or off.
    Bool(bool),
    /// A number.
    Number(i64),
    /// A text.
    Text(String),
}

/// A property of the expanded host model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CpuProp {
    /// QEMU's name.
    pub name: String,
    /// Its value when nothing holds back unmigratable features.
    pub value: CpuPropValue,
    /// Stays on when only migratable features are allowed; `None` where QEMU does not tell apart.
    pub migratable: Option<bool>,
}

/// The host's CPU as QEMU would show it to a guest (model `host` under KVM, `max` under TCG).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
pub struct HostModel {
    /// Model the properties stand on, `base`.
    pub model: String,
    /// The properties, in QEMU's order.
    pub props: Vec<CpuProp>,
    /// Features that will go away (s390x): a guest without them can move to newer machines.
    #[serde(default)]
    pub deprecated: Vec<String>,
}

/// What depends on the accelerator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, Default)]
pub struct AccelCaps {
    /// Machine types, the default one first.
    pub machines: Vec<Machine>,
    /// CPU models, in QEMU's order.
    pub cpus: Vec<CpuDefinition>,
    /// The expanded host model.
    pub host_model: Option<HostModel>,
}

/// A GIC version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gic {
    /// 2 or 3.
    pub version: u8,
    /// KVM has it.
    pub kernel: bool,
    /// QEMU emulates it.
    pub emulated: bool,
}

/// AMD SEV of the host, as QEMU reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sev {
    /// Position of the C-bit.
    pub cbitpos: u32,
    /// Physical address bits lost.
    pub reduced_phys_bits: u32,
    /// Platform Diffie-Hellman key, base64.
    pub pdh: String,
    /// Certificate chain, base64.
    pub cert_chain: String,
    /// Id of the first CPU, base64.
    pub cpu0_id: String,
}

/// Intel SGX of the host, as QEMU reports it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sgx {
    /// Flexible launch control.
    pub flc: bool,
    /// First generation.
    pub sgx1: bool,
    /// Second generation.
    pub sgx2: bool,
    /// Node and size in bytes of each section.
    pub sections: Vec<(u32, u64)>,
}

/// An accelerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Accel {
    /// Hardware virtualisation by Linux.
    Kvm,
    /// Emulation.
    Tcg,
}

/// What one QEMU binary can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QemuCaps {
    /// Path of the binary.
    pub emulator: String,
    /// `10.0.2` is (10, 0, 2).
    pub version: (u32, u32, u32),
    /// The packager's version text, `Debian 1:10.0.2+ds-1`.
    pub package: String,
    /// Emulated architecture by libvirt's name (`x86_64`, `i686`, `aarch64`, …).
    pub arch: String,
    /// Present under KVM; `None` where `/dev/kvm` does not work.
    pub kvm: Option<AccelCaps>,
    /// Under TCG.
    pub tcg: Option<AccelCaps>,
    /// Capability flags by libvirt's names.
    pub flags: BTreeSet<String>,
    /// QOM types the binary knows.
    pub types: BTreeSet<String>,
    /// Back ends that it was built with, by the command-line option that takes their names.
    #[serde(default)]
    pub backends: BTreeMap<String, BTreeSet<String>>,
    /// QMP commands it knows.
    pub commands: BTreeSet<String>,
    /// GIC versions (Arm).
    pub gic: Vec<Gic>,
    /// SEV.
    pub sev: Option<Sev>,
    /// SGX.
    pub sgx: Option<Sgx>,
    /// Hyper-V enlightenments by libvirt's names, where KVM was asked for them.
    pub hyperv: Option<Vec<String>>,
}

/// Why answers could not be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbeError {
    /// The command.
    pub command: String,
    /// What is wrong.
    pub detail: String,
}

impl std::fmt::Display for ProbeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QMP command '{}': {}", self.command, self.detail)
    }
}

impl std::error::Error for ProbeError {}

/// libvirt's name of an architecture that QEMU names `target`.
fn arch_from_target(target: &str) -> &str {
    match target {
        "i386" => "i686",
        "arm" => "armv7l",
        other => other,
    }
}

fn text(value: &Value, key: &str) -> Option<String> {
    value.get(key).and_then(Value::as_str).map(str::to_string)
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or(false)
}

fn number(value: &Value, key: &str) -> u32 {
    value.get(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Hyper-V enlightenments and the CPU property that shows each.
const HYPERV: &[(&str, &str)] = &[
    ("relaxed", "hv-relaxed"),
    ("vapic", "hv-vapic"),
    ("spinlocks", "hv-spinlocks"),
    ("vpindex", "hv-vpindex"),
    ("runtime", "hv-runtime"),
    ("synic", "hv-synic"),
    ("stimer", "hv-stimer"),
    ("reset", "hv-reset"),
    ("vendor_id", "hv-vendor-id"),
    ("frequencies", "hv-frequencies"),
    ("reenlightenment", "hv-reenlightenment"),
    ("tlbflush", "hv-tlbflush"),
    ("ipi", "hv-ipi"),
    ("evmcs", "hv-evmcs"),
    ("avic", "hv-avic"),
    ("emsr_bitmap", "hv-emsr-bitmap"),
    ("xmm_input", "hv-xmm-input"),
];

fn machines(reply: &Value, target: &str) -> Vec<Machine> {
    let mut machines: Vec<Machine> = Vec::new();
    for item in list(reply) {
        let Some(name) = text(item, "name").filter(|name| name != "none") else {
            continue;
        };
        let machine = Machine {
            name,
            alias: text(item, "alias"),
            max_cpus: number(item, "cpu-max"),
            hotplug_cpus: flag(item, "hotpluggable-cpus"),
            is_default: flag(item, "is-default"),
            default_cpu_type: text(item, "default-cpu-type"),
            numa_mem_supported: flag(item, "numa-mem-supported"),
            default_ram_id: text(item, "default-ram-id"),
            deprecated: flag(item, "deprecated"),
            acpi: item.get("acpi").and_then(Value::as_bool),
        };
        // libvirt lists the default machine first.
        if machine.is_default {
            machines.insert(0, machine);
        } else {
            machines.push(machine);
        }
    }
    // And the one that it prefers to QEMU's default before all.
    let preferred = preferred_machine(target);
    let named = |machine: &Machine| machine.alias.as_deref().unwrap_or(&machine.name) == preferred;
    if let Some(place) = machines.iter().position(named) {
        machines[..=place].rotate_right(1);
    }
    machines
}

/// The machine for guests that name none, where it is not QEMU's default: none has one on Arm and
/// RISC-V, or one that nobody wants. Empty for other architectures.
fn preferred_machine(arch: &str) -> &'static str {
    match arch {
        "aarch64" | "arm" | "armv7l" | "armv6l" | "riscv32" | "riscv64" | "loongarch64" => "virt",
        _ => "",
    }
}

/// libvirt's spelling of a CPU model's name. QEMU takes names of POWER models in either case and
/// lists them in lower case; libvirt knows them in upper case.
fn cpu_model_name(name: String, target: &str) -> String {
    const POWER: [&str; 5] = ["POWER6", "POWER7", "POWER8", "POWER9", "POWER10"];
    let known = POWER.iter().find(|known| target == "ppc64" && known.eq_ignore_ascii_case(&name));
    known.map_or(name, |known| (*known).to_string())
}

/// The CPU models of a reply to `query-cpu-definitions`, in QEMU's order; `target` is QEMU's name
/// of the architecture.
pub fn cpu_definitions(reply: &Value, target: &str) -> Vec<CpuDefinition> {
    list(reply)
        .iter()
        .filter_map(|item| {
            let mut blockers: Vec<String> = Vec::new();
            let missing = item.get("unavailable-features").and_then(Value::as_array);
            for name in missing.into_iter().flatten().filter_map(Value::as_str) {
                if !blockers.iter().any(|known| known == name) {
                    blockers.push(name.to_string());
                }
            }
            // A model that cannot run as such (not just for a missing feature) names its type.
            Some(CpuDefinition {
                name: cpu_model_name(text(item, "name")?, target),
                typename: text(item, "typename").unwrap_or_default(),
                usable: missing.map(|missing| missing.is_empty()),
                blockers,
                alias_of: text(item, "alias-of").filter(|name| !name.is_empty()),
                deprecated: flag(item, "deprecated"),
            })
        })
        .collect()
}

fn prop_value(value: &Value) -> Option<CpuPropValue> {
    match value {
        Value::Bool(on) => Some(CpuPropValue::Bool(*on)),
        Value::Number(number) => number.as_i64().map(CpuPropValue::Number),
        Value::String(text) => Some(CpuPropValue::Text(text.clone())),
        _ => None,
    }
}

impl HostModel {
    /// The model of a reply to `query-cpu-model-expansion`; `migratable` is that of the same
    /// question with unmigratable features held back, where it was asked.
    pub fn from_expansion(full: &Value, migratable: Option<&Value>) -> Option<Self> {
        let props = full
            .get("props")
            .and_then(Value::as_object)?
            .iter()
            .filter_map(|(key, value)| {
                let value = prop_value(value)?;
                let on = value == CpuPropValue::Bool(true);
                let kept = |model: &Value| model.get("props")?.get(key)?.as_bool();
                let kept = migratable.map(|model| kept(model) == Some(true));
                Some(CpuProp { name: key.clone(), migratable: kept.filter(|_| on), value })
            })
            .collect();
        Some(Self { model: text(full, "name")?, props, deprecated: Vec::new() })
    }
}

fn host_model(answers: &Answers, name: &str) -> Option<HostModel> {
    let find = |migratable: bool| {
        answers
            .expansions()
            .find(|(arguments, _)| {
                let model = arguments.get("model").unwrap_or(&Value::Null);
                let props = model.get("props");
                let hyperv = props.is_some_and(|p| p.get("hv-passthrough").is_some());
                let limited = props.is_none_or(|p| p.get("migratable").is_none());
                model.get("name").and_then(Value::as_str) == Some(name)
                    && !hyperv
                    && limited == migratable
            })
            .and_then(|(_, reply)| Some((reply.get("model")?, reply)))
    };
    let (found, reply) = match (find(false), find(true)) {
        (Some((full, reply)), migratable) => {
            let migratable = migratable.map_or(&Value::Null, |(model, _)| model);
            (HostModel::from_expansion(full, Some(migratable)), reply)
        }
        (None, only) => {
            let (model, reply) = only?;
            (HostModel::from_expansion(model, None), reply)
        }
    };
    let deprecated = list(reply.get("deprecated-props").unwrap_or(&Value::Null));
    let deprecated = deprecated.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    Some(HostModel { deprecated, ..found? })
}

/// Options that name a back end, and where the schema lists those of the binary.
const BACKENDS: &[(&str, &str)] = &[
    ("-audiodev", "query-audiodevs/ret/driver"),
    ("-blockdev", "blockdev-add/arg/driver"),
    ("-display", "query-display-options/ret/type"),
    ("-netdev", "netdev_add/arg/type"),
];

fn backends(answers: &Answers) -> BTreeMap<String, BTreeSet<String>> {
    let listed = BACKENDS.iter().map(|(option, path)| {
        let names: BTreeSet<String> = answers.schema.values(path).map(String::from).collect();
        ((*option).to_string(), names)
    });
    // What the schema does not say is not known.
    listed.filter(|(_, names)| !names.is_empty()).collect()
}

fn hyperv(answers: &Answers) -> Option<Vec<String>> {
    let props = answers.expansions().find_map(|(arguments, reply)| {
        let asked = arguments.get("model")?.get("props")?.get("hv-passthrough");
        asked.and(reply.get("model")?.get("props"))
    })?;
    let shown = HYPERV.iter().filter(|(_, prop)| match props.get(*prop) {
        Some(Value::Bool(on)) => *on,
        Some(Value::Number(n)) => n.as_u64().is_some_and(|n| n > 0),
        Some(Value::String(_)) => true,
        _ => false,
    });
    Some(shown.map(|(name, _)| name.to_string()).collect())
}

impl QemuCaps {
    /// Reads the answers to [`probe_commands`] and [`cpu_commands`] (in any order, more is fine):
    /// `primary` of a process with the best accelerator, `tcg` of a second one where the first
    /// had KVM.
    ///
    /// # Errors
    /// The version or the target is missing: the binary is not a QEMU we know how to drive.
    pub fn from_replies(
        emulator: &str,
        primary: &[Exchange],
        tcg: Option<&[Exchange]>,
    ) -> Result<Self, ProbeError> {
        let answers = Answers::new(primary);
        let missing = |command: &str, detail: &str| ProbeError {
            command: command.to_string(),
            detail: detail.to_string(),
        };
        let version = answers.reply("query-version");
        let numbers = version
            .get("qemu")
            .ok_or_else(|| missing("query-version", "no version in the reply"))?;
        let target = text(answers.reply("query-target"), "arch")
            .ok_or_else(|| missing("query-target", "no architecture in the reply"))?;
        let accel = |answers: &Answers, model: &str| AccelCaps {
            machines: machines(answers.reply("query-machines"), &target),
            cpus: cpu_definitions(answers.reply("query-cpu-definitions"), &target),
            // An accelerator that is no KVM knows the host's model alone.
            host_model: host_model(answers, model).or_else(|| host_model(answers, "host")),
        };
        let kvm = answers.kvm().then(|| accel(&answers, "host"));
        let tcg = match (&kvm, tcg) {
            (Some(_), Some(exchanges)) => Some(accel(&Answers::new(exchanges), "max")),
            (Some(_), None) => None,
            (None, _) => Some(accel(&answers, "max")),
        };
        let sgx = answers.reply("query-sgx-capabilities");
        let sev = answers.reply("query-sev-capabilities");
        Ok(Self {
            emulator: emulator.to_string(),
            version: (number(numbers, "major"), number(numbers, "minor"), number(numbers, "micro")),
            package: text(version, "package").unwrap_or_default(),
            arch: arch_from_target(&target).to_string(),
            hyperv: hyperv(&answers),
            kvm,
            tcg,
            flags: flags::derive(&answers).into_iter().map(String::from).collect(),
            types: answers.types.iter().map(|name| name.to_string()).collect(),
            backends: backends(&answers),
            commands: answers.schema.commands().map(String::from).collect(),
            gic: list(answers.reply("query-gic-capabilities"))
                .iter()
                .map(|item| Gic {
                    version: number(item, "version") as u8,
                    kernel: flag(item, "kernel"),
                    emulated: flag(item, "emulated"),
                })
                .collect(),
            sgx: flag(sgx, "sgx").then(|| Sgx {
                flc: flag(sgx, "flc"),
                sgx1: flag(sgx, "sgx1"),
                sgx2: flag(sgx, "sgx2"),
                sections: list(sgx.get("sections").unwrap_or(&Value::Null))
                    .iter()
                    .map(|s| {
                        (number(s, "node"), s.get("size").and_then(Value::as_u64).unwrap_or(0))
                    })
                    .collect(),
            }),
            sev: (!sev.is_null()).then(|| Sev {
                cbitpos: number(sev, "cbitpos"),
                reduced_phys_bits: number(sev, "reduced-phys-bits"),
                pdh: text(sev, "pdh").unwrap_or_default(),
                cert_chain: text(sev, "cert-chain").unwrap_or_default(),
                cpu0_id: text(sev, "cpu0-id").unwrap_or_default(),
            }),
        })
    }

    /// Whether the binary has the feature that libvirt calls `flag`.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }

    /// Its flags in libvirt's order, for `<qemuCaps>` of status files.
    pub fn flags_in_order(&self) -> impl Iterator<Item = &'static str> {
        flags::RULES.iter().map(|(name, _)| *name).filter(|name| self.flags.contains(*name))
    }

    /// The version as libvirt counts: 10.0.2 is 10000002.
    pub fn version_number(&self) -> u64 {
        let (major, minor, micro) = self.version;
        u64::from(major) * 1_000_000 + u64::from(minor) * 1_000 + u64::from(micro)
    }

    /// What the binary can do under this accelerator.
    pub fn accel(&self, accel: Accel) -> Option<&AccelCaps> {
        match accel {
            Accel::Kvm => self.kvm.as_ref(),
            Accel::Tcg => self.tcg.as_ref(),
        }
    }

    /// The accelerator the binary would be used with when nothing is asked for.
    pub fn best_accel(&self) -> Accel {
        if self.kvm.is_some() { Accel::Kvm } else { Accel::Tcg }
    }

    /// The capabilities without KVM, for hosts where KVM does not work although its device opens.
    pub fn without_kvm(&self) -> Self {
        let mut caps = self.clone();
        if caps.tcg.is_none() {
            caps.tcg = caps.kvm.take().map(|kvm| AccelCaps { host_model: None, ..kvm });
        }
        caps.kvm = None;
        caps.hyperv = None;
        for name in ["kvm", "sev-guest", "sev-snp-guest", "sgx-epc"] {
            caps.flags.remove(name);
        }
        caps.sev = None;
        caps.sgx = None;
        caps
    }

    /// The machine of this name or alias under `accel`.
    pub fn machine(&self, accel: Accel, name: &str) -> Option<&Machine> {
        let machines = self.machines(accel);
        machines
            .iter()
            .find(|m| m.name == name)
            .or_else(|| machines.iter().find(|m| m.alias.as_deref() == Some(name)))
    }

    /// The model a machine gets when the domain names none: the first one of the type that the
    /// machine names. `None` where no model is of this type.
    pub fn default_cpu(&self, accel: Accel, machine: &Machine) -> Option<&str> {
        let kind = machine.default_cpu_type.as_deref()?;
        let models = &self.accel(accel)?.cpus;
        let model = models.iter().find(|model| model.typename == kind)?;
        // Boards of Arm name a model that KVM cannot give on any host but that very CPU.
        let arm = matches!(self.arch.as_str(), "aarch64" | "armv7l" | "armv6l");
        let usable = !(arm && accel == Accel::Kvm) || matches!(&*model.name, "host" | "max");
        usable.then_some(model.name.as_str())
    }

    /// The machine types, under `accel` or else under the other one.
    fn machines(&self, accel: Accel) -> &[Machine] {
        let own = self.accel(accel).filter(|caps| !caps.machines.is_empty());
        let any = own.or(self.kvm.as_ref()).or(self.tcg.as_ref());
        any.map_or(&[], |caps| &caps.machines)
    }

    /// The machine that is used when the domain names none.
    pub fn default_machine(&self, accel: Accel) -> Option<&Machine> {
        let preferred = preferred_machine(&self.arch);
        let machines = self.machines(accel);
        self.machine(accel, preferred)
            .or_else(|| machines.iter().find(|m| m.is_default))
            .or_else(|| machines.first())
    }

    /// Shared form: capabilities are made once and read by many.
    pub fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }
}

/// A number that changes with the questions and the rules of this module, for the key of a cache
/// ([`CacheKey::writer`]): what other rules made of a binary's answers is no longer what we would.
pub fn rules_id() -> u64 {
    static ID: LazyLock<u64> = LazyLock::new(|| {
        let mut hasher = DefaultHasher::new();
        for kind in [ProbeKind::Primary, ProbeKind::TcgOnly] {
            format!("{:?}", probe_commands(kind)).hash(&mut hasher);
        }
        format!("{:?} {HYPERV:?} {BACKENDS:?}", flags::RULES).hash(&mut hasher);
        hasher.finish()
    });
    *ID
}

/// Feeds bytes to the readers of this module; for fuzz targets.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let conversations = parse_transcript(text);
    if let Some(primary) = conversations.first() {
        let _ = cpu_commands(primary);
        let tcg = conversations.get(1).map(Vec::as_slice);
        let _ = QemuCaps::from_replies("/usr/bin/qemu", primary, tcg);
    }
    let _ = QemuCaps::from_cache(text, &CacheKey::default());
}
