//! Questions about CPUs: names of models, comparisons, baselines.

mod asked;

use crate::engine::Engine;
use crate::guest_kinds::{DomainCapsQuery, GuestKind};
use diag::{ErrorCode, ErrorDomain, VirError};
use model::capabilities::host_cpu_xml;
use model::capabilities::hypervisor_cpu::{host_model, known_models};
use model::capabilities::qemu::Accel;
use model::cpu::{self, Comparison, Family, any_model, model_name, x86};
use model::domain::ARCHITECTURES;
use model::domain::cpu::{Cpu, CpuFallback, CpuMode};

/// What comparing two CPUs is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct CompareOptions {
    /// An unfit CPU is an error, which tells the reason.
    pub fail_incompatible: bool,
    /// Content that has no meaning is refused.
    pub validate: bool,
}

/// What a baseline is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct BaselineOptions {
    /// All features of the model are written out.
    pub expand: bool,
    /// Only features that survive migration.
    pub migratable: bool,
}

/// A comparison as clients get it (`virCPUCompareResult`).
fn result(found: Comparison, options: CompareOptions) -> Result<i32, VirError> {
    match found {
        Comparison::Identical => Ok(1),
        Comparison::Superset => Ok(2),
        Comparison::Incompatible(reason) if options.fail_incompatible => {
            Err(VirError::new(ErrorCode::CPU_INCOMPATIBLE, reason).from_domain(ErrorDomain::CPU))
        }
        Comparison::Incompatible(_) => Ok(0),
    }
}

fn read(xml: &str, options: CompareOptions) -> Result<Cpu, VirError> {
    let read = if options.validate { cpu::read_valid(xml) } else { cpu::read(xml) };
    read.map_err(|error| error.of_text(xml))
}

fn read_list(xmls: &[String]) -> Result<Vec<Cpu>, VirError> {
    xmls.iter().map(|xml| cpu::read(xml).map_err(|error| error.of_text(xml))).collect()
}

fn finished(mut found: Cpu, arch: &str, options: BaselineOptions) -> Result<String, VirError> {
    if matches!(Family::of(arch), Ok(Family::X86)) {
        x86::drop_unknown_to_qemu(&mut found);
    }
    if options.expand {
        cpu::expand(arch, &mut found)?;
    }
    Ok(cpu::write(&found))
}

fn not_for(what: &str, arch: &str) -> VirError {
    let message = format!("{what} is not supported for arch {arch}");
    VirError::new(ErrorCode::OPERATION_UNSUPPORTED, message)
}

impl Engine {
    /// The CPU models of an architecture; none where any name is accepted.
    ///
    /// # Errors
    /// When nothing is known of the architecture.
    pub fn cpu_model_names(&self, arch: &str) -> Result<Vec<String>, VirError> {
        if !ARCHITECTURES.contains(&arch) {
            return Err(VirError::invalid_arg(format!("cannot find architecture {arch}")));
        }
        let names = cpu::models(arch)?.unwrap_or_default();
        Ok(names.into_iter().map(str::to_owned).collect())
    }

    /// The host's own CPU.
    fn host_cpu(&self) -> Result<Cpu, VirError> {
        cpu::read(&host_cpu_xml(&self.facts)).map_err(|_| {
            let message = "unknown host CPU";
            VirError::new(ErrorCode::CPU_INCOMPATIBLE, message).from_domain(ErrorDomain::CPU)
        })
    }

    /// Compares the host's CPU with a described one: 0 unfit, 1 identical, 2 the host has more.
    ///
    /// # Errors
    /// When the description is wrong, or (if so asked) the host's CPU does not fit.
    pub fn compare_cpu(&self, xml: &str, options: CompareOptions) -> Result<i32, VirError> {
        let wanted = read(xml, options)?;
        result(cpu::compare(&self.facts.arch, &self.host_cpu()?, &wanted)?, options)
    }

    /// The CPU that all given hosts can offer to guests.
    ///
    /// # Errors
    /// When a description is wrong, or the hosts have nothing in common.
    pub fn baseline_cpu(
        &self,
        xmls: &[String],
        options: BaselineOptions,
    ) -> Result<String, VirError> {
        let read = |xml: &String| cpu::read_host(xml).map_err(|error| error.of_text(xml));
        let cpus = xmls.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        let first = cpus.first().and_then(|cpu| cpu.arch.clone());
        let arch = first.ok_or_else(|| VirError::invalid_arg("no CPUs given"))?;
        let found = cpu::baseline(&arch, &cpus, options.migratable, &any_model)?;
        finished(found, &arch, options)
    }

    /// Compares what a hypervisor can offer on this host with a described CPU.
    ///
    /// # Errors
    /// When the description is wrong, there is no such kind of guest, or (if so asked) the
    /// hypervisor cannot offer it.
    pub fn compare_hypervisor_cpu(
        &self,
        query: &DomainCapsQuery,
        xml: &str,
        options: CompareOptions,
    ) -> Result<i32, VirError> {
        let kind = self.guest_kind(query)?;
        kind.check_machine()?;
        let host = self.offered(&kind)?;
        let wanted = || read(xml, options);
        let wanted = match Family::of(&kind.arch) {
            Ok(Family::X86 | Family::Ppc64) => wanted()?,
            Ok(Family::S390) => {
                return result(self.ask_comparison(&kind, &host, &wanted()?)?, options);
            }
            _ => return Err(not_for("comparing with the hypervisor CPU", &kind.arch)),
        };
        let found = match said(&kind, &wanted)? {
            Said::Usable => Comparison::Superset,
            Said::Blocked(blockers) => x86::compare_unusable(&host, &wanted, &blockers)?,
            Said::Nothing => cpu::compare(&kind.arch, &host, &wanted)?,
        };
        result(found, options)
    }

    /// The CPU that a hypervisor makes of the host's.
    fn offered(&self, kind: &GuestKind) -> Result<Cpu, VirError> {
        // Emulation of it has nothing of the host's.
        let foreign = kind.accel == Accel::Tcg && Family::of(&kind.arch) == Ok(Family::S390);
        let found = host_model(&kind.caps, kind.accel, &kind.arch, &self.facts, false);
        let found = found.filter(|_| !foreign);
        found.ok_or_else(|| {
            let emulator = &kind.emulator;
            let message = format!(
                "QEMU '{emulator}' does not support reporting CPU model for \
                                   virttype '{}'",
                accel_name(kind.accel)
            );
            VirError::new(ErrorCode::OPERATION_UNSUPPORTED, message)
        })
    }

    /// The CPU that a hypervisor can offer on all given hosts.
    ///
    /// # Errors
    /// When a description is wrong, there is no such kind of guest, or the hosts have nothing in
    /// common.
    pub fn baseline_hypervisor_cpu(
        &self,
        query: &DomainCapsQuery,
        xmls: &[String],
        options: BaselineOptions,
    ) -> Result<String, VirError> {
        // Unlike a comparison, this looks at the descriptions first.
        let cpus = read_list(xmls)?;
        let kind = self.guest_kind(query)?;
        kind.check_machine()?;
        let known = known_models(kind.caps.accel(kind.accel).ok_or_else(|| {
            VirError::internal("the emulator has told nothing of its CPU models")
        })?);
        let mut found = match Family::of(&kind.arch) {
            Ok(Family::X86) => {
                cpu::check_models(&cpus)?;
                // Where QEMU tells them apart, its word is what survives migration.
                let only = options.migratable.then(|| self.migratable_features(&kind)).flatten();
                let wanted = x86::Baseline { migratable: false, features: only.as_ref() };
                let mut found = x86::baseline(&cpus, &wanted, known)?;
                found.max_phys_addr = x86::common_address_limit(&cpus);
                found
            }
            // Which model is older, and what follows from what, QEMU alone knows.
            Ok(Family::S390) => {
                cpu::check_models(&cpus)?;
                let mut names = cpus.iter().filter_map(model_name);
                if let Some(name) = names.find(|name| known(name).is_none()) {
                    let message = format!("CPU model '{name}' not supported by hypervisor");
                    return Err(VirError::invalid_arg(message));
                }
                return Ok(cpu::write(&self.ask_baseline(&kind, &cpus, options.expand)?));
            }
            _ => return Err(not_for("computing baseline hypervisor CPU", &kind.arch)),
        };
        if let Some(model) = found.model.as_mut() {
            model.fallback = Some(CpuFallback::Forbid);
        }
        finished(found, &kind.arch, options)
    }

    /// Features that guests keep in migration; `None` under emulation, which
    /// does not depend on the host.
    fn migratable_features(&self, kind: &GuestKind) -> Option<x86::FeatureSet> {
        let kvm = kind.caps.accel(Accel::Kvm).filter(|_| kind.accel == Accel::Kvm)?;
        Some(x86::surviving(kvm.host_model.as_ref()?))
    }
}

fn accel_name(accel: Accel) -> &'static str {
    match accel {
        Accel::Kvm => "kvm",
        Accel::Tcg => "qemu",
    }
}

/// How the hypervisor's word about a model counts.
enum Said {
    /// It can offer the model as it is.
    Usable,
    /// It cannot, for the lack of these features; our data of the model are for finding the
    /// models of hosts alone.
    Blocked(Vec<String>),
    /// Our data decide.
    Nothing,
}

fn said(kind: &GuestKind, wanted: &Cpu) -> Result<Said, VirError> {
    if !matches!(Family::of(&kind.arch), Ok(Family::X86))
        || wanted.mode.is_some_and(|mode| mode != CpuMode::Custom)
        || wanted.arch.as_deref().is_some_and(|arch| !matches!(arch, "x86_64" | "i686"))
    {
        return Ok(Said::Nothing);
    }
    let definitions = kind.caps.accel(kind.accel).map_or(&[][..], |accel| &accel.cpus);
    let named = model_name(wanted);
    let definition = named.and_then(|name| definitions.iter().find(|cpu| cpu.name == name));
    let Some(definition) = definition else { return Ok(Said::Nothing) };
    if definition.usable == Some(true) && wanted.features.is_empty() {
        return Ok(Said::Usable);
    }
    let name = &definition.name;
    let model = x86::X86Map::get().model(name).ok_or_else(|| {
        VirError::invalid_arg(format!("unknown CPU model {name}")).from_domain(ErrorDomain::CPU)
    })?;
    Ok(if model.partial_compat || definition.usable.is_none() {
        Said::Nothing
    } else {
        Said::Blocked(definition.blockers.clone())
    })
}
