//! The CPU a guest really gets: what the domain asks for, on this host, with this emulator.

use super::cpu::{is_power, is_x86};
use super::words::OnOff;
use diag::{Diagnostic, ErrorCode, Severity};
use model::capabilities::host::HostFacts;
use model::capabilities::qemu::{Accel, AccelCaps, CpuPropValue, HostModel, QemuCaps};
use model::cpu::x86::{self, CpuKind, X86Map, decode, from_host_model};
use model::cpu::{self, ArmMap, Comparison, CpuError, runs_natively};
use model::domain::cpu::{
    Cpu, CpuCheck, CpuFallback, CpuFeature, CpuFeaturePolicy, CpuMatch, CpuMode, CpuModel,
};
use model::domain::{Domain, VirtType};

/// Features that no emulator gives to guests, whatever the host has.
const NEVER_GUESTS: [&str; 5] = ["cmt", "mbm_total", "mbm_local", "osxsave", "ospke"];

fn fault(rule: &'static str, code: ErrorCode, message: String) -> Diagnostic {
    Diagnostic {
        rule,
        severity: Severity::Error,
        code,
        span: None,
        message,
        domain: None,
        hints: Vec::new(),
    }
}

fn unanswered(error: &CpuError) -> Diagnostic {
    fault("qemu.cpu", error.code(), error.to_string())
}

/// Makes the guest's CPU, in the live definition, depend on the host no more: `host-model` becomes
/// a model and features, optional features are decided, and a model the emulator lacks becomes
/// another one with the same features.
///
/// # Errors
/// The host's CPU is not known where it is asked for, or it is no place for this guest.
pub fn resolve(
    domain: &mut Domain,
    caps: &QemuCaps,
    facts: &HostFacts,
    accel: Accel,
) -> Result<(), Diagnostic> {
    decide(domain, caps, facts, accel)?;
    if let Some(cpu) = domain.cpu.as_mut().filter(|_| is_x86(&caps.arch)) {
        // Compared with the host's, but no emulator has heard of them.
        cpu.features.retain(|feature| !NEVER_GUESTS.contains(&feature.name.as_str()));
    }
    let own = caps.accel(accel).and_then(|own| own.host_model.as_ref());
    if let (Some(cpu), Some(own)) = (domain.cpu.as_mut(), own)
        && let Some(kept) = cpu.deprecated_features
        && cpu.model.as_ref().is_some_and(|model| model.name.is_some())
    {
        cpu::set_deprecated(cpu, &own.deprecated, kept == OnOff::On);
    }
    Ok(())
}

fn decide(
    domain: &mut Domain,
    caps: &QemuCaps,
    facts: &HostFacts,
    accel: Accel,
) -> Result<(), Diagnostic> {
    let arch = domain.os.as_ref().and_then(|os| os.kind.arch.clone());
    let arch = arch.unwrap_or_else(|| caps.arch.clone());
    let kind = if domain.kind == VirtType::Kvm { "kvm" } else { "qemu" };
    let Some(cpu) = domain.cpu.as_mut() else { return Ok(()) };
    if cpu.mode == Some(CpuMode::Maximum) && !caps.has("cpu-max") {
        let text = "maximum CPU is not supported by QEMU binary";
        return Err(fault("qemu.cpu-mode", ErrorCode::CONFIG_UNSUPPORTED, text.to_owned()));
    }
    if !is_described(&arch) {
        let text = format!("'{arch}' architecture is not supported by CPU driver");
        return Err(fault("qemu.cpu-arch", ErrorCode::NO_SUPPORT, text));
    }
    known_features(&arch, cpu)?;
    let native = runs_natively(&facts.arch, &arch);
    if cpu.mode == Some(CpuMode::HostModel) && !native {
        return Err(no_host_model(&arch, kind, &facts.arch));
    }
    if cpu.deprecated_features.is_some() && !caps.has("query-cpu-model-expansion.deprecated-props")
    {
        let text = "toggling deprecated features for CPU model is unsupported";
        return Err(fault("qemu.cpu-deprecated", ErrorCode::CONFIG_UNSUPPORTED, text.to_owned()));
    }
    let named = cpu.model.as_ref().is_some_and(|model| model.name.is_some());
    match cpu.mode {
        Some(CpuMode::HostModel) => {}
        None | Some(CpuMode::Custom) if named => {}
        _ => return Ok(()),
    }
    let accel_caps = caps.accel(accel);
    let compared = cpu.check == Some(CpuCheck::Partial) && !usable_as_named(cpu, accel_caps);
    if compared && !native {
        let text = "unknown host CPU".to_owned();
        return Err(fault("qemu.cpu-incompatible", ErrorCode::CPU_INCOMPATIBLE, text));
    }
    let host = described(facts, &arch).or_else(|| emulated(accel_caps, &arch));
    let Some(host) = host else {
        // A custom CPU of a named model needs no host.
        if cpu.mode != Some(CpuMode::HostModel) || is_power(&arch) {
            return Ok(());
        }
        return Err(no_host_model(&arch, kind, &facts.arch));
    };
    if is_power(&arch) {
        // Only a compatibility mode has to fit; a model of its own is emulated or refused by KVM.
        return match cpu.mode {
            Some(CpuMode::HostModel) if named => suits(&arch, &host, cpu),
            _ => Ok(()),
        };
    }
    if is_x86(&arch) && matches!(cpu.check, Some(CpuCheck::Partial | CpuCheck::Full)) {
        refuse_forbidden(&arch, &host, cpu)?;
    }
    if compared {
        match blockers(&arch, cpu, accel_caps) {
            Some(blockers) => fits(&arch, x86::compare_unusable(&host, cpu, blockers))?,
            None => suits(&arch, &host, cpu)?,
        }
    }
    cpu::update(&arch, cpu, &host).map_err(|error| unanswered(&error))?;
    let models = accel_caps.map_or(&[][..], |caps| caps.cpus.as_slice());
    let known = |name: &str| {
        models.iter().find(|model| model.name == name).map(|model| model.blockers.as_slice())
    };
    if is_x86(&arch) {
        // Elsewhere no model can stand for another one.
        if !models.is_empty() {
            cpu::translate(&arch, cpu, &known).map_err(|error| unanswered(&error))?;
        }
        unsure_features(cpu);
        nameable_features(cpu, accel_caps.and_then(|caps| caps.host_model.as_ref()));
    }
    Ok(())
}

/// Architectures of which anything but the emulator's own choice of a CPU is understood.
fn is_described(arch: &str) -> bool {
    is_power(arch)
        || matches!(
            arch,
            "x86_64"
                | "i686"
                | "aarch64"
                | "armv7l"
                | "armv6l"
                | "s390x"
                | "s390"
                | "riscv64"
                | "riscv32"
                | "loongarch64"
        )
}

fn no_host_model(arch: &str, kind: &str, host: &str) -> Diagnostic {
    let text = format!(
        "CPU mode 'host-model' for {arch} {kind} domain on {host} host is not supported by \
         hypervisor"
    );
    fault("qemu.cpu-host-model", ErrorCode::CONFIG_UNSUPPORTED, text)
}

/// Is it just a model, of which the emulator itself says that it can be had here?
fn usable_as_named(cpu: &Cpu, caps: Option<&AccelCaps>) -> bool {
    let name = cpu.model.as_ref().and_then(|model| model.name.as_deref());
    let known = caps.iter().flat_map(|caps| &caps.cpus);
    cpu.features.is_empty()
        && known.into_iter().any(|model| Some(&*model.name) == name && model.usable == Some(true))
}

/// The features that keep the emulator from offering a model, where its word counts and not what our
/// data say of the model.
fn blockers<'a>(arch: &str, cpu: &Cpu, caps: Option<&'a AccelCaps>) -> Option<&'a [String]> {
    if !is_x86(arch) {
        return None;
    }
    let name = cpu.model.as_ref()?.name.as_deref()?;
    let own = X86Map::get().model(name).filter(|model| !model.partial_compat)?;
    let told = caps?.cpus.iter().find(|told| told.name == own.name)?;
    told.usable.is_some().then_some(told.blockers.as_slice())
}

/// Refuses features that nobody knows on this architecture.
fn known_features(arch: &str, cpu: &Cpu) -> Result<(), Diagnostic> {
    let known = |name: &str| match arch {
        "x86_64" | "i686" => X86Map::get().feature_named(name).is_some(),
        "aarch64" | "armv7l" | "armv6l" => ArmMap::get().features.contains(&name),
        _ => true,
    };
    let unsure = |feature: &&CpuFeature| feature.policy == Some(CpuFeaturePolicy::Optional);
    if arch == "s390x"
        && let Some(other) = cpu.features.iter().find(unsure)
    {
        let name = &other.name;
        let text =
            format!("only cpu feature policies 'require' and 'disable' are supported for {name}");
        return Err(fault("qemu.cpu-feature", ErrorCode::CONFIG_UNSUPPORTED, text));
    }
    match cpu.features.iter().find(|feature| !known(&feature.name)) {
        None => Ok(()),
        Some(feature) => Err(fault(
            "qemu.cpu-feature",
            ErrorCode::CONFIG_UNSUPPORTED,
            format!("unknown CPU feature: {}", feature.name),
        )),
    }
}

/// Refuses a host that lacks what the guest must have.
fn suits(arch: &str, host: &Cpu, cpu: &Cpu) -> Result<(), Diagnostic> {
    fits(arch, cpu::compare(arch, host, cpu))
}

/// What the host has and the guest must not have.
fn refuse_forbidden(arch: &str, host: &Cpu, cpu: &Cpu) -> Result<(), Diagnostic> {
    let found = x86::forbidden(host, cpu).map_err(|error| unanswered(&error))?;
    let Some(name) = found else { return Ok(()) };
    let reason = format!("Host CPU provides forbidden feature '{name}'");
    fits(arch, Ok(Comparison::Incompatible(reason)))
}

fn fits(arch: &str, found: Result<Comparison, CpuError>) -> Result<(), Diagnostic> {
    match found {
        Ok(Comparison::Incompatible(reason)) => {
            let reason = match reason.as_str() {
                // There is but one reason on POWER, and libvirt does not say it.
                _ if is_power(arch) => String::new(),
                reason => reason.to_owned(),
            };
            let short = ErrorCode::CPU_INCOMPATIBLE.short_message();
            Err(fault(
                "qemu.cpu-incompatible",
                ErrorCode::CPU_INCOMPATIBLE,
                if reason.is_empty() { short.to_owned() } else { reason },
            ))
        }
        Ok(_) => Ok(()),
        Err(error) => Err(unanswered(&error)),
    }
}

/// The host's CPU where the facts describe it, without what never gets to guests.
fn described(facts: &HostFacts, arch: &str) -> Option<Cpu> {
    let host = facts.described_cpu.as_ref()?;
    let mut host = cpu::migratable(arch, host).ok()?;
    host.features.retain(|feature| !NEVER_GUESTS.contains(&feature.name.as_str()));
    Some(host)
}

/// The host's CPU as the emulator shows it.
fn emulated(caps: Option<&AccelCaps>, arch: &str) -> Option<Cpu> {
    let expanded = caps?.host_model.as_ref()?;
    match arch {
        "x86_64" | "i686" => {
            let known = |name: &str| {
                let models = &caps?.cpus;
                models.iter().find(|cpu| cpu.name == name).map(|cpu| cpu.blockers.as_slice())
            };
            let found = decode(&from_host_model(expanded, true), CpuKind::Guest, known)?;
            Some(found.guest(CpuFallback::Allow))
        }
        "s390x" | "s390" => Some(listed(expanded)),
        _ => None,
    }
}

/// A model with its properties as the emulator lists them.
fn listed(expanded: &HostModel) -> Cpu {
    let features = expanded.props.iter().filter_map(|prop| match prop.value {
        CpuPropValue::Bool(on) => Some(CpuFeature {
            policy: Some(if on { CpuFeaturePolicy::Require } else { CpuFeaturePolicy::Disable }),
            name: prop.name.clone(),
        }),
        _ => None,
    });
    Cpu {
        mode: Some(CpuMode::Custom),
        matching: Some(CpuMatch::Exact),
        model: Some(CpuModel {
            fallback: Some(CpuFallback::Allow),
            vendor_id: None,
            name: Some(expanded.model.clone()),
        }),
        features: features.collect(),
        ..Cpu::default()
    }
}

/// Switches off what was in the model once and may still be, by the emulator's version: guests of
/// one model are alike everywhere.
fn unsure_features(cpu: &mut Cpu) {
    let map = X86Map::get();
    let name = cpu.model.as_ref().and_then(|model| model.name.as_deref());
    let Some(model) = name.and_then(|name| map.model(name)) else { return };
    let removed = model.removed.iter().filter_map(|index| map.features.get(index));
    let mut names: Vec<&str> = removed.map(|feature| feature.name).collect();
    names.sort_unstable();
    names.retain(|name| !cpu.features.iter().any(|feature| feature.name == *name));
    cpu.features.extend(names.into_iter().map(|name| CpuFeature {
        policy: Some(CpuFeaturePolicy::Disable),
        name: name.to_string(),
    }));
}

/// Leaves out features to be switched off that the emulator has never heard of: it would refuse
/// to hear of them.
fn nameable_features(cpu: &mut Cpu, expanded: Option<&HostModel>) {
    let Some(expanded) = expanded.filter(|expanded| !expanded.props.is_empty()) else { return };
    let map = X86Map::get();
    cpu.features.retain(|feature| {
        let off =
            matches!(feature.policy, Some(CpuFeaturePolicy::Disable | CpuFeaturePolicy::Forbid));
        let name = map.qemu_name(&feature.name);
        !off || expanded.props.iter().any(|prop| prop.name == name || prop.name == feature.name)
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::recorded::caps;

    fn cpu(model: &str, features: &[(&str, CpuFeaturePolicy)]) -> Cpu {
        let feature = |(name, policy): &(&str, CpuFeaturePolicy)| CpuFeature {
            policy: Some(*policy),
            name: (*name).to_string(),
        };
        Cpu {
            mode: Some(CpuMode::Custom),
            model: Some(CpuModel {
                fallback: None,
                vendor_id: None,
                name: Some(model.to_string()),
            }),
            features: features.iter().map(feature).collect(),
            ..Cpu::default()
        }
    }

    fn words(cpu: &Cpu) -> Vec<(&str, CpuFeaturePolicy)> {
        cpu.features.iter().map(|f| (f.name.as_str(), f.policy.unwrap())).collect()
    }

    #[test]
    fn what_a_model_lost_is_switched_off_by_name() {
        use CpuFeaturePolicy::{Disable, Require};
        let check = |model: &str, own: &[_], expected: &[_]| {
            let mut cpu = cpu(model, own);
            unsure_features(&mut cpu);
            assert_eq!(words(&cpu), expected, "{model}");
        };
        check("Icelake-Server", &[], &[("intel-pt", Disable), ("mpx", Disable)]);
        check("Icelake-Server", &[("mpx", Require)], &[("mpx", Require), ("intel-pt", Disable)]);
        check("EPYC", &[], &[("monitor", Disable)]);
        check("Nehalem", &[], &[]);
    }

    #[test]
    fn the_emulator_hears_of_no_feature_that_it_does_not_know() {
        use CpuFeaturePolicy::{Disable, Require};
        let prop = |name: &str| model::capabilities::qemu::CpuProp {
            name: name.to_string(),
            value: CpuPropValue::Bool(false),
            migratable: None,
        };
        let expanded = HostModel {
            model: "base".into(),
            props: vec![prop("vmx-pml")],
            ..HostModel::default()
        };
        let mut cpu =
            cpu("Nehalem", &[("cmt", Disable), ("vmx-pml", Disable), ("pconfig", Require)]);
        nameable_features(&mut cpu, Some(&expanded));
        assert_eq!(words(&cpu), [("vmx-pml", Disable), ("pconfig", Require)]);
    }

    #[test]
    fn what_no_guest_gets_is_asked_of_no_emulator() {
        let caps = caps();
        let facts = HostFacts { arch: "x86_64".into(), ..HostFacts::default() };
        for policy in [CpuFeaturePolicy::Require, CpuFeaturePolicy::Disable] {
            let mut domain = Domain {
                cpu: Some(cpu("qemu64", &[("cmt", policy), ("aes", policy), ("osxsave", policy)])),
                ..Domain::default()
            };
            resolve(&mut domain, &caps, &facts, Accel::Tcg).unwrap();
            assert_eq!(words(&domain.cpu.unwrap()), [("aes", policy)]);
        }
    }

    /// Of libvirtd 11.3: whichever comes first in the document, before what is missing.
    #[test]
    fn what_the_host_has_and_the_guest_must_not_refuses_the_start() {
        let caps = caps();
        let facts = HostFacts { arch: "x86_64".into(), ..HostFacts::default() };
        let resolved = |check, features: &[_]| {
            let mut cpu = cpu("qemu64", features);
            cpu.check = check;
            let mut domain = Domain { cpu: Some(cpu), ..Domain::default() };
            resolve(&mut domain, &caps, &facts, Accel::Tcg).map_err(|fault| fault.message)
        };
        use CpuFeaturePolicy::{Forbid, Require};
        let both = [("pcid", Require), ("erms", Forbid), ("monitor", Forbid)];
        for check in [CpuCheck::Partial, CpuCheck::Full] {
            let refused = resolved(Some(check), &both).expect_err("the host has it");
            assert!(refused.ends_with("Host CPU provides forbidden feature 'erms'"), "{refused}");
            assert_eq!(resolved(Some(check), &[("pcid", Forbid)]), Ok(()));
        }
        for check in [None, Some(CpuCheck::None)] {
            assert_eq!(resolved(check, &both), Ok(()));
        }
    }

    #[test]
    fn unknown_features_are_refused() {
        let check = |arch: &str, name: &str, known: bool| {
            let cpu = cpu("x", &[(name, CpuFeaturePolicy::Require)]);
            assert_eq!(known_features(arch, &cpu).is_ok(), known, "{arch} {name}");
        };
        check("x86_64", "aes", true);
        check("x86_64", "foo", false);
        check("aarch64", "sve", true);
        check("aarch64", "vmx", false);
        check("s390x", "anything", true);
        let optional = cpu("x", &[("te", CpuFeaturePolicy::Optional)]);
        let fault = known_features("s390x", &optional).unwrap_err();
        assert!(fault.message.ends_with("are supported for te"), "{}", fault.message);
    }

    #[test]
    fn a_host_of_another_kind_cannot_be_compared_with() {
        let facts = HostFacts { arch: "x86_64".into(), ..HostFacts::default() };
        let caps = caps();
        let check = |arch: &str, check: CpuCheck, expected: &str| {
            let xml = format!(
                "<domain type='qemu'><name>a</name><memory>1</memory><os><type arch='{arch}'>hvm\
                 </type></os></domain>"
            );
            let mut domain = model::domain::parse(&xml, Default::default()).domain.unwrap();
            domain.cpu = Some(Cpu { check: Some(check), ..cpu("some", &[]) });
            let found = decide(&mut domain, &caps, &facts, Accel::Tcg);
            let said = found.err().map_or(String::new(), |fault| fault.message);
            assert_eq!(said, expected, "{arch}");
        };
        let unknown = "unknown host CPU";
        check("s390x", CpuCheck::Partial, unknown);
        check("aarch64", CpuCheck::Partial, unknown);
        check("ppc64", CpuCheck::Partial, unknown);
        check("ppc64", CpuCheck::Full, "");
        check("aarch64", CpuCheck::None, "");
    }
}
