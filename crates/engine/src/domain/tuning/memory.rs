//! Limits of memory and swap (`virsh memtune`).

use super::super::record::Domain;
use super::LiveSide;
use super::writes::Writes;
use crate::engine::Engine;
use crate::typed::{Kind, Params, Value, validate};
use diag::{ErrorDomain, VirError};
use host::cgroup::{Controller, MachineGroup, Part};
use model::domain::Domain as Definition;
use model::domain::scalar::Kib;
use model::domain::tune::MemTune;
use plan::limits::{Memory, UNLIMITED};
use std::sync::Arc;

const NOT_MOUNTED: &str = "cgroup memory controller is not mounted";

const KEYS: &[(&str, Kind)] = &[
    ("hard_limit", Kind::ULLong),
    ("soft_limit", Kind::ULLong),
    ("swap_hard_limit", Kind::ULLong),
];

impl Engine {
    /// How many limits of memory there are to ask for.
    pub const MEMORY_PARAMETERS: usize = KEYS.len();

    /// The limits of memory in KiB: what the kernel holds for a running guest, what the definition
    /// says otherwise.
    ///
    /// # Errors
    /// When there is no such side, or the host lacks the controller.
    pub fn memory_parameters(&self, domain: &Domain, flags: u32) -> Result<Params, VirError> {
        self.privileged("Memory tuning")?;
        let pid = domain.snapshot().live.as_ref().map(|live| live.pid);
        self.with_side(domain, flags, |definition, live| {
            let kernel = match pid {
                Some(pid) if live => Some(self.group_of(pid, Controller::Memory, NOT_MOUNTED)?),
                _ => None,
            };
            let value = |what| match &kernel {
                Some((group, v2)) => held(group, what, *v2),
                None => field(definition, what).unwrap_or(UNLIMITED),
            };
            Ok(Memory::ALL.map(|what| (what.name().to_owned(), value(what).into())).to_vec())
        })
    }

    /// Sets limits of memory, in KiB.
    ///
    /// # Errors
    /// More memory than memory with swap, the kernel's refusal, and those of the flags.
    pub async fn set_memory_parameters(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        params: Params,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        validate(&params, KEYS)?;
        self.privileged("Memory tuning")?;
        let (job, affect) = self.job_for(domain, flags, "memtune", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            let mut sides = engine.sides(&domain, affect)?;
            let mut writes = match &sides.live {
                Some(live) => Some(Writes::of(&engine, live, Controller::Memory, NOT_MOUNTED)?),
                None => None,
            };
            if let Some(live) = &mut sides.live {
                change(&mut live.definition, &params)?;
            }
            if let Some(config) = &mut sides.config {
                change(config, &params)?;
            }
            if let (Some(writes), Some(live)) = (&mut writes, &sides.live) {
                for limit in ordered(live, writes, &params) {
                    writes.plan(Part::Machine, &limit)?;
                }
            }
            engine.keep_limits(&domain, sides, writes).await
        })
        .await
    }
}

fn field(definition: &Definition, what: Memory) -> Option<u64> {
    let tune = definition.mem_tune.as_ref()?;
    let field = match what {
        Memory::Hard => &tune.hard_limit,
        Memory::Soft => &tune.soft_limit,
        Memory::SwapHard => &tune.swap_hard_limit,
    };
    field.as_ref().map(|kib| kib.0)
}

fn given(params: &[(String, Value)], what: Memory) -> Option<u64> {
    params.iter().find(|(name, _)| name == what.name())?.1.as_u64()
}

fn change(definition: &mut Definition, params: &[(String, Value)]) -> Result<(), VirError> {
    let new = |what| given(params, what).or(field(definition, what)).unwrap_or(UNLIMITED);
    let touched =
        [Memory::Hard, Memory::SwapHard].iter().any(|what| given(params, *what).is_some());
    let (hard, swap) = (new(Memory::Hard), new(Memory::SwapHard));
    if touched && hard.min(UNLIMITED) > swap {
        return Err(VirError::invalid_arg(
            "memory hard_limit tunable value must be lower than or equal to swap_hard_limit",
        )
        .from_domain(ErrorDomain::DOMAIN));
    }
    let tune = definition.mem_tune.get_or_insert_with(MemTune::default);
    for what in Memory::ALL {
        let Some(kib) = given(params, what) else { continue };
        let field = match what {
            Memory::Hard => &mut tune.hard_limit,
            Memory::Soft => &mut tune.soft_limit,
            Memory::SwapHard => &mut tune.swap_hard_limit,
        };
        *field = (kib > 0 && kib < UNLIMITED).then_some(Kib(kib));
    }
    if *tune == MemTune::default() {
        definition.mem_tune = None;
    }
    Ok(())
}

/// The limits to write, in an order that the kernel takes: memory with swap is never less than
/// memory.
fn ordered(
    live: &LiveSide,
    writes: &Writes,
    params: &[(String, Value)],
) -> Vec<plan::limits::Limit> {
    let v2 = writes.v2(Controller::Memory);
    let hard = field(&live.definition, Memory::Hard);
    let raises = given(params, Memory::SwapHard)
        .is_some_and(|kib| kib > held(&writes.group, Memory::SwapHard, v2));
    let order = if raises {
        [Memory::SwapHard, Memory::Hard, Memory::Soft]
    } else {
        [Memory::Hard, Memory::Soft, Memory::SwapHard]
    };
    order.into_iter().filter_map(|what| Some(what.limit(given(params, what)?, hard, v2))).collect()
}

/// What the kernel holds, in KiB. A kernel that does not count swap does not limit it.
fn held(group: &MachineGroup, what: Memory, v2: bool) -> u64 {
    let read = |what: Memory| {
        let file = what.files(v2).first().copied().unwrap_or_default();
        let text = group.get(Part::Machine, Controller::Memory, file).ok()?;
        text.parse::<u64>().ok()
    };
    kib_of(what, v2, read)
}

fn kib_of(what: Memory, v2: bool, read: impl Fn(Memory) -> Option<u64>) -> u64 {
    // Pages are the kernel's unit: "no limit" is the largest number of whole pages.
    let most = UNLIMITED - 3;
    let Some(bytes) = read(what) else { return UNLIMITED };
    let mut kib = bytes / 1024;
    if v2 && what == Memory::SwapHard {
        kib = kib.saturating_add(read(Memory::Hard).unwrap_or(0) / 1024);
    }
    if kib >= most { UNLIMITED } else { kib }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, u64)]) -> Params {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
    }

    #[test]
    fn swap_includes_memory() {
        let mut definition = Definition::default();
        let mut set = |pairs: &[(&str, u64)]| change(&mut definition, &params(pairs)).is_ok();
        assert!(set(&[("hard_limit", 1000)]));
        assert!(!set(&[("swap_hard_limit", 900)]));
        assert!(set(&[("swap_hard_limit", 1000), ("soft_limit", 7)]));
        assert!(!set(&[("hard_limit", UNLIMITED)]));
        assert!(set(&[("soft_limit", UNLIMITED)]));
        assert!(set(&[("hard_limit", UNLIMITED), ("swap_hard_limit", u64::MAX)]));
        assert_eq!(definition.mem_tune, None);
    }

    #[test]
    fn the_kernels_numbers() {
        let check = |what, v2, read: &dyn Fn(Memory) -> Option<u64>, expected| {
            assert_eq!(kib_of(what, v2, read), expected);
        };
        check(Memory::Hard, false, &|_| Some(9_223_372_036_854_771_712), UNLIMITED);
        check(Memory::Hard, false, &|_| Some(4096), 4);
        check(Memory::SwapHard, false, &|_| None, UNLIMITED);
        check(Memory::SwapHard, true, &|_| Some(4096), 8);
    }
}
