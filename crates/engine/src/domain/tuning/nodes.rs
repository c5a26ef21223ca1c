//! Memory nodes of the host (`virsh numatune`).

use super::super::record::Domain;
use super::LiveSide;
use super::writes::Writes;
use crate::domain::hardware::vcpus::{io_thread_ids, online_vcpus, to_model};
use crate::engine::Engine;
use crate::typed::{Kind, Params, Value, validate};
use diag::{ErrorDomain, VirError};
use host::cgroup::{Controller, Part};
use model::domain::Domain as Definition;
use model::domain::scalar::CpuSet;
use model::domain::tune::{NumaMemory, NumaMode, VcpuPlacement};
use plan::limits::Settings;
use std::sync::Arc;

const NOT_MOUNTED: &str = "cgroup cpuset controller is not mounted";

const KEYS: &[(&str, Kind)] = &[("numa_mode", Kind::Int), ("numa_nodeset", Kind::Text)];

/// Modes by their numbers (`virDomainNumatuneMemMode`).
const MODES: [NumaMode; 4] =
    [NumaMode::Strict, NumaMode::Preferred, NumaMode::Interleave, NumaMode::Restrictive];

/// What a client asks for.
struct Wanted {
    mode: Option<NumaMode>,
    nodes: Option<CpuSet>,
}

impl Engine {
    /// How many parameters of memory nodes there are to ask for.
    pub const NUMA_PARAMETERS: usize = KEYS.len();

    /// Mode and nodes of a domain's memory.
    ///
    /// # Errors
    /// When there is no such side.
    pub fn numa_parameters(&self, domain: &Domain, flags: u32) -> Result<Params, VirError> {
        self.with_side(domain, flags, |definition, _| {
            let memory = memory(definition);
            let mode = memory.and_then(|memory| memory.mode).unwrap_or_default();
            let number = MODES.iter().position(|other| *other == mode).unwrap_or(0);
            let nodes = memory.and_then(|memory| memory.nodeset.as_ref());
            let nodes = nodes.map(CpuSet::to_string).unwrap_or_default();
            Ok(vec![
                ("numa_mode".to_owned(), i32::try_from(number).unwrap_or(0).into()),
                ("numa_nodeset".to_owned(), nodes.into()),
            ])
        })
    }

    /// Sets mode and nodes of a domain's memory.
    ///
    /// # Errors
    /// What a running guest cannot change, nodes that the host lacks, and those of the flags.
    pub async fn set_numa_parameters(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        params: Params,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        validate(&params, KEYS)?;
        let wanted = wanted(&params)?;
        let (job, affect) = self.job_for(domain, flags, "numatune", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            let mut sides = engine.sides(&domain, affect)?;
            let mut writes = None;
            if let Some(live) = &mut sides.live {
                engine.privileged("NUMA tuning")?;
                let mut groups = Writes::of(&engine, live, Controller::Cpuset, NOT_MOUNTED)?;
                if engine.change_live_nodes(&wanted, &mut live.definition)? {
                    plan(&mut groups, live)?;
                    writes = Some(groups);
                }
            }
            if let Some(config) = &mut sides.config {
                set(config, &wanted)?;
            }
            engine.keep_limits(&domain, sides, writes).await
        })
        .await
    }

    /// Changes a running guest's definition; whether its control groups have to follow.
    fn change_live_nodes(
        &self,
        wanted: &Wanted,
        definition: &mut Definition,
    ) -> Result<bool, VirError> {
        let current = memory(definition).map(|memory| memory.mode.unwrap_or_default());
        if let (Some(mode), Some(current)) = (wanted.mode, current)
            && mode != current
        {
            return Err(VirError::invalid_state("can't change numatune mode for running domain"));
        }
        if wanted.mode == Some(NumaMode::Strict) {
            // QEMU bound the memory when it allocated it.
            let nodes = memory(definition).and_then(|memory| memory.nodeset.as_ref());
            if nodes != wanted.nodes.as_ref() {
                return Err(VirError::invalid_state(
                    "can't change nodeset for strict mode for running domain",
                ));
            }
            return Ok(false);
        }
        if let Some(nodes) = &wanted.nodes {
            if current.is_some_and(|mode| mode != NumaMode::Restrictive) {
                return Err(VirError::invalid_state(
                    "change of nodeset for running domain requires restrictive numa mode",
                ));
            }
            let there = self.memory_nodes();
            if let Some(node) = nodes.iter().find(|node| !there.contains(node)) {
                return Err(VirError::config(format!("NUMA node {node} is unavailable")));
            }
        }
        set(definition, wanted)?;
        Ok(wanted.nodes.is_some()
            && memory(definition).and_then(|memory| memory.mode) == Some(NumaMode::Restrictive))
    }

    /// The host's memory nodes.
    fn memory_nodes(&self) -> Vec<u32> {
        let text = std::fs::read_to_string("/sys/devices/system/node/online").unwrap_or_default();
        let set = text.trim().parse::<units::CpuSet>();
        // A kernel without NUMA has one node.
        set.map_or_else(
            |_| vec![0],
            |set| set.iter().filter_map(|node| u32::try_from(node).ok()).collect(),
        )
    }
}

fn memory(definition: &Definition) -> Option<&NumaMemory> {
    definition.numa_tune.as_ref()?.memory.as_ref()
}

fn wanted(params: &[(String, Value)]) -> Result<Wanted, VirError> {
    let mut wanted = Wanted { mode: None, nodes: None };
    for (_, value) in params {
        match value {
            Value::Int(number) => {
                let mode = usize::try_from(*number).ok().and_then(|index| MODES.get(index));
                wanted.mode = Some(*mode.ok_or_else(|| {
                    VirError::invalid_arg(format!("unsupported numatune mode: '{number}'"))
                })?);
            }
            Value::Text(text) => {
                let nodes = text.parse::<units::CpuSet>().ok().filter(|nodes| !nodes.is_empty());
                let nodes = nodes.as_ref().map(to_model);
                wanted.nodes = Some(nodes.ok_or_else(|| super::no_bitmap(text))?);
            }
            _ => {}
        }
    }
    Ok(wanted)
}

fn set(definition: &mut Definition, wanted: &Wanted) -> Result<(), VirError> {
    if wanted.mode.is_none() && wanted.nodes.is_none() {
        return Ok(());
    }
    let fixed = definition
        .vcpu
        .as_ref()
        .is_none_or(|vcpu| vcpu.placement.unwrap_or_default() == VcpuPlacement::Static);
    let mut memory = memory(definition).cloned().unwrap_or_default();
    memory.mode = wanted.mode.or(memory.mode).or(Some(NumaMode::Strict));
    if let Some(nodes) = &wanted.nodes {
        memory.nodeset = Some(nodes.clone());
        memory.placement = None;
    }
    let automatic = memory.placement == Some(VcpuPlacement::Auto);
    if memory.nodeset.is_none() && fixed && !automatic {
        return Err(VirError::config(
            "nodeset for NUMA memory tuning must be set if 'placement' is 'static'",
        )
        .from_domain(ErrorDomain::DOMAIN));
    }
    definition.numa_tune.get_or_insert_default().memory = Some(memory);
    Ok(())
}

/// Plans the nodes of the parts that have groups of their own.
fn plan(writes: &mut Writes, live: &LiveSide) -> Result<(), VirError> {
    let settings = plan::qemu::cgroup_settings(&live.definition);
    let Some(limit) = Settings(&settings).nodes() else { return Ok(()) };
    let vcpus = online_vcpus(&live.definition).into_iter().map(Part::Vcpu);
    let threads = io_thread_ids(&live.definition).into_iter().map(Part::IoThread);
    for part in [Part::Emulator].into_iter().chain(vcpus).chain(threads) {
        if writes.has(part, Controller::Cpuset, limit.files) {
            writes.plan(part, &limit)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_needed() {
        let set = |definition: &mut Definition, mode, nodes: Option<&str>| {
            let nodes = nodes.map(|text| to_model(&text.parse().expect("nodes")));
            super::set(definition, &Wanted { mode, nodes }).map_err(|error| error.detail)
        };
        let mut definition = Definition::default();
        let must = "nodeset for NUMA memory tuning must be set if 'placement' is 'static'";
        assert_eq!(set(&mut definition, Some(NumaMode::Interleave), None), Err(must.to_owned()));
        assert_eq!(definition.numa_tune, None);
        assert_eq!(set(&mut definition, None, Some("0")), Ok(()));
        assert_eq!(set(&mut definition, Some(NumaMode::Preferred), None), Ok(()));
        let memory = memory(&definition).expect("set");
        assert_eq!(memory.mode, Some(NumaMode::Preferred));
        assert_eq!(memory.nodeset.as_ref().map(CpuSet::to_string).as_deref(), Some("0"));
    }

    #[test]
    fn values_from_clients() {
        let check = |value: Value, expected: &str| {
            let error = wanted(&[("x".to_owned(), value)]).err().map(|error| error.detail);
            assert_eq!(error.as_deref(), Some(expected));
        };
        check(Value::Int(7), "unsupported numatune mode: '7'");
        check(Value::Int(-1), "unsupported numatune mode: '-1'");
        check("5-".into(), "Failed to parse bitmap '5-'");
        check("".into(), "Failed to parse bitmap ''");
    }
}
