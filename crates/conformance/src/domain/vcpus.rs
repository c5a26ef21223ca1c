//! Virtual CPUs that come to a running domain and leave it.

use super::define::define;
use crate::answer::{Answer, either};
use crate::emulator;
use crate::request::Request;
use model::domain::hotplug::vcpus::{self, Entity};
use model::domain::scalar::CpuSet;
use model::domain::{FormatFlags, assign_aliases, format};
use serde_json::{Value, json};

/// The places for CPUs, lowest first, by the recorded answer.
fn entities(request: &Request<'_>) -> Result<Vec<Entity>, Answer> {
    let path = request.need("qmp")?;
    let text = std::fs::read_to_string(path).map_err(|error| Answer::wrong(error.to_string()))?;
    let messages = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let mut answers = messages.flatten().filter_map(|m| m.get("return").cloned());
    let list = answers.find_map(|answer| match answer {
        Value::Array(list) if list.iter().any(|item| item.get("vcpus-count").is_some()) => {
            Some(list)
        }
        _ => None,
    });
    // QEMU lists the highest first.
    let list = list.unwrap_or_default().into_iter().rev();
    Ok(list
        .map(|item| {
            let count = item.get("vcpus-count").and_then(Value::as_u64).unwrap_or(1);
            let path = item.get("qom-path").and_then(Value::as_str);
            Entity {
                vcpus: u32::try_from(count).unwrap_or(1),
                alias: None,
                present: path.is_some(),
                hotplugged: path.is_some_and(|path| path.starts_with("/machine/peripheral/")),
            }
        })
        .collect())
}

/// Both definitions after the change.
pub fn domain_vcpu_hotplug(request: &Request<'_>) -> Answer {
    either((|| {
        let caps = emulator::capabilities(request)?;
        let mut config = define(request, &caps)?;
        let mut live = config.clone();
        live.id = Some(7);
        assign_aliases(&mut live);
        let mut entities = entities(request)?;
        let mut order: Vec<Option<u32>> =
            (1..).zip(&entities).map(|(turn, entity)| entity.present.then_some(turn)).collect();
        let fixed: u32 = entities.iter().filter(|e| e.present).map(|e| e.vcpus).sum();
        let enable = request.flag("enable");
        let (chosen, wanted) = match request.value("count").as_u64() {
            Some(count) => {
                let count = u32::try_from(count).unwrap_or(u32::MAX);
                (vcpus::for_count(&entities, count)?, None)
            }
            None => {
                let list = CpuSet::parse(request.need("cpus")?);
                let list: Vec<u32> = list.iter().flat_map(CpuSet::iter).collect();
                (vec![vcpus::for_list(&entities, &list, enable)?], Some(list))
            }
        };
        for place in chosen {
            let next = order.iter().flatten().max().map_or(1, |last| last + 1);
            if let (Some(entity), Some(order)) = (entities.get_mut(place), order.get_mut(place)) {
                entity.present = !entity.present;
                entity.hotplugged = entity.present;
                *order = entity.present.then_some(next);
            }
        }
        vcpus::write_running(&mut live, &entities, &order);
        let count: u32 = entities.iter().filter(|e| e.present).map(|e| e.vcpus).sum();
        let is_on = |id: u32| match &wanted {
            Some(list) if list.contains(&id) => enable,
            Some(_) => id < fixed,
            None => id < count,
        };
        vcpus::write_stored(&mut config, is_on, |id| id < fixed);
        let flags = |live| FormatFlags { live, secure: true, migratable: false };
        Ok(Answer::Out(json!({
            "live": format(&live, flags(true)),
            "config": format(&config, flags(false)),
        })))
    })())
}
