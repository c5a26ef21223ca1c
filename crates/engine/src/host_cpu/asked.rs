//! Questions about CPUs that QEMU answers itself: those of s390x.

use crate::engine::Engine;
use crate::guest_kinds::GuestKind;
use diag::VirError;
use host::probe::Conversation;
use model::cpu::{Comparison, model_name};
use model::domain::cpu::{Cpu, CpuFeature, CpuFeaturePolicy, CpuModel};
use qmp::{Map, Value, json};

/// A CPU as QEMU's commands name it.
fn spelled(cpu: &Cpu) -> Value {
    let off = [Some(CpuFeaturePolicy::Disable), Some(CpuFeaturePolicy::Forbid)];
    let feature = |own: &CpuFeature| (own.name.clone(), Value::Bool(!off.contains(&own.policy)));
    let props: Map<String, Value> = cpu.features.iter().map(feature).collect();
    let name = model_name(cpu).unwrap_or_default();
    if props.is_empty() { json!({"name": name}) } else { json!({"name": name, "props": props}) }
}

/// A CPU that QEMU named.
fn read(model: &Value) -> Option<Cpu> {
    let name = model.get("name")?.as_str()?.to_owned();
    let props = model.get("props").and_then(Value::as_object).into_iter().flatten();
    let on = props.filter(|(_, value)| **value == Value::Bool(true));
    Some(Cpu {
        model: Some(CpuModel { name: Some(name), ..CpuModel::default() }),
        features: on.map(|(name, _)| CpuFeature { policy: None, name: name.clone() }).collect(),
        ..Cpu::default()
    })
}

/// One question of the conversation, and what is returned to it.
fn ask(
    conversation: &mut Conversation,
    command: &str,
    arguments: &Value,
) -> Result<Value, VirError> {
    let failed = |why: &dyn std::fmt::Display| {
        VirError::internal(format!("unable to execute QEMU command '{command}': {why}"))
    };
    let question = json!({"execute": command, "arguments": arguments});
    let answers = conversation.ask(&[question]).map_err(|error| failed(&error))?;
    let answer = answers.into_iter().next().unwrap_or(Value::Null);
    match (answer.get("return"), answer.get("error").and_then(|error| error.get("desc"))) {
        (Some(found), _) => Ok(found.clone()),
        (None, Some(why)) => Err(failed(&why.as_str().unwrap_or_default())),
        (None, None) => Err(failed(&"QEMU does not say why")),
    }
}

fn no_model() -> VirError {
    VirError::internal("QEMU answers without a CPU model")
}

/// Asks a question whose answer is a model.
fn ask_model(
    conversation: &mut Conversation,
    command: &str,
    arguments: &Value,
) -> Result<Value, VirError> {
    let answer = ask(conversation, command, arguments)?;
    answer.get("model").cloned().ok_or_else(no_model)
}

impl Engine {
    fn questions(&self, kind: &GuestKind) -> Result<Conversation, VirError> {
        self.caps.conversation(&kind.emulator, kind.accel).map_err(|error| {
            VirError::internal(format!("Failed to ask QEMU binary '{}': {error}", kind.emulator))
        })
    }

    /// The CPU that all of `cpus` can offer; `all`: every feature it has is told, not only those
    /// beyond its model.
    pub(super) fn ask_baseline(
        &self,
        kind: &GuestKind,
        cpus: &[Cpu],
        all: bool,
    ) -> Result<Cpu, VirError> {
        let mut qemu = self.questions(kind)?;
        let mut each = cpus.iter().map(spelled);
        let mut common = each.next().ok_or_else(no_model)?;
        for other in each {
            let both = json!({"modela": common, "modelb": other});
            common = ask_model(&mut qemu, "query-cpu-model-baseline", &both)?;
        }
        if all || cpus.len() == 1 {
            let wanted = json!({"type": if all { "full" } else { "static" }, "model": common});
            common = ask_model(&mut qemu, "query-cpu-model-expansion", &wanted)?;
        }
        let mut found = read(&common).ok_or_else(no_model)?;
        if all {
            found.features.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Ok(found)
    }

    /// How what the hypervisor offers compares with what is wanted.
    pub(super) fn ask_comparison(
        &self,
        kind: &GuestKind,
        host: &Cpu,
        wanted: &Cpu,
    ) -> Result<Comparison, VirError> {
        let both = json!({"modela": spelled(host), "modelb": spelled(wanted)});
        let answer = ask(&mut self.questions(kind)?, "query-cpu-model-comparison", &both)?;
        Ok(match answer.get("result").and_then(Value::as_str) {
            Some("identical") => Comparison::Identical,
            Some("superset") => Comparison::Superset,
            _ => {
                let name = model_name(wanted).unwrap_or_default();
                Comparison::Incompatible(format!("the hypervisor cannot offer CPU model '{name}'"))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_is_spelled_and_read_as_qemu_names_it() {
        let cpu = model::cpu::read(
            "<cpu match='exact'><model>z14</model><feature policy='disable' name='te'/>\
             <feature policy='require' name='msa6'/></cpu>",
        )
        .expect("a CPU");
        let said = json!({"name": "z14", "props": {"te": false, "msa6": true}});
        assert_eq!(spelled(&cpu), said);
        let read = read(&said).expect("a model");
        assert_eq!(
            model::cpu::write(&read),
            "<cpu>\n  <model>z14</model>\n  <feature name='msa6'/>\n</cpu>\n"
        );
    }
}
