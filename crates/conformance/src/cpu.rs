//! CPU models: comparing, baselines, decoding.

use crate::Operation;
use crate::answer::{Answer, either};
use crate::request::Request;
use model::capabilities::host::{HostCpu, HostFacts};
use model::capabilities::host_cpu_xml;
use model::capabilities::qemu::{CpuDefinition, HostModel, cpu_definitions};
use model::cpu::x86::{self, CpuKind, FeatureSet, from_cpuid, from_host_model};
use model::cpu::{self, Comparison, CpuError};
use model::domain::cpu::{Cpu, CpuFallback};
use serde_json::Value;
use std::collections::HashMap;

/// The operations of this area.
pub const OPERATIONS: &[Operation] = &[
    ("cpu-compare", compare),
    ("cpu-guest", guest),
    ("cpu-baseline", baseline),
    ("cpu-update", update),
    ("cpu-has-feature", has_feature),
    ("cpu-decode-cpuid", decode_cpuid),
    ("cpu-decode-qmp", decode_qmp),
    ("cpu-signature", signature),
    ("cpu-update-live", update_live),
    ("cpu-expand", expand),
];

fn refused(error: CpuError) -> Answer {
    Answer::Refused(error.into())
}

fn read(request: &Request<'_>, member: &str) -> Result<Cpu, Answer> {
    cpu::read(request.need(member)?).map_err(refused)
}

fn compare(request: &Request<'_>) -> Answer {
    either((|| {
        let (host, cpu) = (read(request, "host_cpu")?, read(request, "cpu")?);
        let found = cpu::compare(request.need("arch")?, &host, &cpu).map_err(refused)?;
        Ok(Answer::text(match found {
            Comparison::Identical => "identical",
            Comparison::Superset => "superset",
            Comparison::Incompatible(_) => "incompatible",
        }))
    })())
}

fn guest(request: &Request<'_>) -> Answer {
    either((|| {
        let arch = request.need("arch")?;
        let (host, mut guest) = (read(request, "host_cpu")?, read(request, "cpu")?);
        let models = request.value("models").is_array().then(|| request.list("models"));
        let known = |name: &str| -> Option<&[String]> {
            models.as_ref().is_none_or(|models| models.contains(&name)).then_some(&[])
        };
        if let Comparison::Incompatible(reason) =
            cpu::compare(arch, &host, &guest).map_err(refused)?
        {
            let code = diag::ErrorCode::CPU_INCOMPATIBLE;
            return Err(Answer::Refused(diag::VirError::new(code, reason)));
        }
        cpu::update(arch, &mut guest, &host).map_err(refused)?;
        cpu::translate(arch, &mut guest, &known).map_err(refused)?;
        Ok(Answer::text(cpu::write(&guest)))
    })())
}

fn baseline(request: &Request<'_>) -> Answer {
    either((|| {
        let arch = request.need("arch")?;
        let cpus = match request.str("cpus") {
            Some(text) => cpu::read_all(text).map_err(refused)?,
            None => vec![read(request, "cpu1")?, read(request, "cpu2")?],
        };
        let migratable = request.flag("migratable");
        let mut found = cpu::baseline(arch, &cpus, migratable, &cpu::any_model).map_err(refused)?;
        if request.flag("expand_features") {
            cpu::expand(arch, &mut found).map_err(refused)?;
        }
        Ok(Answer::text(cpu::write(&found)))
    })())
}

fn update(request: &Request<'_>) -> Answer {
    either((|| {
        let arch = request.need("arch")?;
        let (host, mut guest) = (read(request, "host_cpu")?, read(request, "cpu")?);
        let host = cpu::migratable(arch, &host).map_err(refused)?;
        cpu::update(arch, &mut guest, &host).map_err(refused)?;
        Ok(Answer::text(cpu::write(&guest)))
    })())
}

fn has_feature(request: &Request<'_>) -> Answer {
    either((|| {
        let host = read(request, "host_cpu")?;
        let (arch, feature) = (request.need("arch")?, request.need("feature")?);
        let has = cpu::has_feature(arch, &host, feature).map_err(refused)?;
        Ok(Answer::Out(Value::Bool(has)))
    })())
}

/// CPUID leaves and model-specific registers of a `<cpudata>` document.
fn leaves(text: &str) -> Result<HostCpu, Answer> {
    let document = xml::Document::parse(text).map_err(|found| Answer::refused(found, text))?;
    let mut cpu = HostCpu::default();
    let mut leaves: HashMap<(u32, u32), [u32; 4]> = HashMap::new();
    for element in document.root().children() {
        let number = |name: &str| {
            let text = element.attr(name).unwrap_or("0");
            u32::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or(0)
        };
        let registers = ["eax", "ebx", "ecx", "edx"].map(number);
        match element.name() {
            "cpuid" => {
                leaves.insert((number("eax_in"), number("ecx_in")), registers);
            }
            "msr" => {
                let [low, _, _, high] = registers.map(u64::from);
                cpu.msrs.insert(number("index"), (high << 32) | low);
            }
            _ => {}
        }
    }
    cpu.cpuid = leaves;
    Ok(cpu)
}

/// What a recorded conversation says of the host's CPU: its model, and models with blockers.
struct Recorded {
    host: Option<HostModel>,
    models: Option<Vec<CpuDefinition>>,
}

fn recorded(text: &str) -> Recorded {
    let mut found = Recorded { host: None, models: None };
    for reply in serde_json::Deserializer::from_str(text).into_iter::<Value>().map_while(Result::ok)
    {
        match reply.get("return") {
            Some(list @ Value::Array(_)) => found.models = Some(cpu_definitions(list, "x86_64")),
            Some(reply) => {
                let model = reply.get("model");
                found.host = model.and_then(|model| HostModel::from_expansion(model, None));
            }
            None => {}
        }
    }
    found
}

impl Recorded {
    fn blockers(&self, name: &str) -> Option<&[String]> {
        match &self.models {
            Some(models) => {
                models.iter().find(|model| model.name == name).map(|m| m.blockers.as_slice())
            }
            None => Some(&[]),
        }
    }
}

fn guest_text(cpu: &x86::X86Cpu, said: &Recorded) -> Result<Answer, Answer> {
    let found = x86::decode(cpu, CpuKind::Guest, |name| said.blockers(name));
    let found = found.ok_or_else(|| refused(CpuError::NoModel))?;
    let cpu = found.guest(CpuFallback::Forbid);
    Ok(Answer::text(cpu::write(&cpu)))
}

fn decode_cpuid(request: &Request<'_>) -> Answer {
    either((|| {
        let cpu = leaves(request.need("cpuid")?)?;
        if request.str("type") == Some("host") {
            let arch = request.need("arch")?.to_owned();
            let host = HostFacts { arch, cpu, ..HostFacts::default() };
            return Ok(Answer::text(host_cpu_xml(&host)));
        }
        let said = recorded(request.str("qmp").unwrap_or_default());
        guest_text(&from_cpuid(&cpu.cpuid, &cpu.msrs), &said)
    })())
}

fn decode_qmp(request: &Request<'_>) -> Answer {
    either((|| {
        let said = recorded(request.need("qmp")?);
        let model = said.host.as_ref();
        let model = model.ok_or_else(|| Answer::wrong("no expansion of a CPU model"))?;
        guest_text(&from_host_model(model, false), &said)
    })())
}

fn signature(request: &Request<'_>) -> Answer {
    either((|| {
        let cpu = match request.str("cpuid") {
            Some(text) => {
                let cpu = leaves(text)?;
                from_cpuid(&cpu.cpuid, &cpu.msrs)
            }
            None => {
                let said = recorded(request.need("qmp")?);
                let model = said.host.as_ref();
                let model = model.ok_or_else(|| Answer::wrong("no expansion of a CPU model"))?;
                from_host_model(model, false)
            }
        };
        let signature = cpu.signature.ok_or_else(|| Answer::wrong("no signature"))?;
        Ok(Answer::text(x86::signature_of(signature)))
    })())
}

fn update_live(request: &Request<'_>) -> Answer {
    either((|| {
        let mut cpu = read(request, "cpu")?;
        let features = |member: &str| -> Result<FeatureSet, Answer> {
            let cpu = leaves(request.need(member)?)?;
            Ok(x86::features_of(&cpu.cpuid, &cpu.msrs))
        };
        let (enabled, disabled) = (features("enabled")?, features("disabled")?);
        x86::update_live(&mut cpu, &enabled, &disabled).map_err(refused)?;
        x86::expand(&mut cpu).map_err(refused)?;
        Ok(Answer::text(cpu::write(&cpu)))
    })())
}

fn expand(request: &Request<'_>) -> Answer {
    either((|| {
        let mut cpu = read(request, "cpu")?;
        cpu::expand(request.need("arch")?, &mut cpu).map_err(refused)?;
        Ok(Answer::text(cpu::write(&cpu)))
    })())
}
