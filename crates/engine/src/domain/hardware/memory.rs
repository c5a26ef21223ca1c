//! Memory of a domain: how much there is, how much the guest uses, and changing it.

use crate::domain::affect::running;
use crate::domain::power::monitor_error;
use crate::domain::record::Domain;
use crate::domain::vm::{self, Vm};
use crate::engine::Engine;
use diag::{ErrorDomain, VirError};
use model::domain::Domain as Definition;
use model::domain::devices::memballoon::{BalloonModel, BalloonStats, MemBalloon};
use model::domain::scalar::Kib;
use qmp::{Value, cmd};
use std::sync::Arc;
use std::time::Duration;

/// `VIR_DOMAIN_MEM_MAXIMUM`.
pub const MEM_MAXIMUM: u32 = 4;

/// How long a question for statistics may take.
const STATS_DEADLINE: Duration = Duration::from_secs(5);

/// libvirt's names of the balloon's statistics, its number for them (`virDomainMemoryStatTags`),
/// QEMU's names, and what QEMU's number is divided by. In libvirt's order.
const GUEST_STATS: &[(&str, i32, &str, u64)] = &[
    ("swap_in", 0, "stat-swap-in", 1024),
    ("swap_out", 1, "stat-swap-out", 1024),
    ("major_fault", 2, "stat-major-faults", 1),
    ("minor_fault", 3, "stat-minor-faults", 1),
    ("unused", 4, "stat-free-memory", 1024),
    ("available", 5, "stat-total-memory", 1024),
    ("usable", 8, "stat-available-memory", 1024),
    ("last-update", 9, "", 1),
    ("disk_caches", 10, "stat-disk-caches", 1024),
    ("hugetlb_pgalloc", 11, "stat-htlb-pgalloc", 1),
    ("hugetlb_pgfail", 12, "stat-htlb-pgfail", 1),
];

/// `VIR_DOMAIN_MEMORY_STAT_ACTUAL_BALLOON` and `…_RSS`.
const ACTUAL: i32 = 6;
const RSS: i32 = 7;

/// One number about a guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryStat {
    /// libvirt's number for it.
    pub tag: i32,
    /// libvirt's name for it in bulk statistics.
    pub name: &'static str,
    /// KiB, a count, or seconds since 1970.
    pub value: u64,
}

impl Engine {
    /// Sets how much memory a domain has (KiB), or with [`MEM_MAXIMUM`] how much it may have.
    ///
    /// # Errors
    /// More than the maximum, a running guest without a balloon, and those of the flags.
    pub async fn set_memory(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        kib: u64,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        if kib == 0 {
            return Err(VirError::invalid_arg("memory in virDomainSetMemory must not be zero")
                .from_domain(ErrorDomain::DOMAIN));
        }
        let (job, affect) = self.job_for(domain, flags, "setmem", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            if flags & MEM_MAXIMUM != 0 {
                if affect.live {
                    return Err(VirError::invalid_state(
                        "cannot resize the maximum memory on an active domain",
                    ));
                }
                return engine
                    .modify_config_later(&domain, move |definition| set_maximum(definition, kib))
                    .await;
            }
            let snapshot = domain.snapshot();
            let maxima = [
                (affect.live, snapshot.live.as_ref().map(|_| snapshot.summary().memory_max_kib)),
                (affect.config, snapshot.config.as_ref().map(|c| c.summary.memory_max_kib)),
            ];
            for (wanted, maximum) in maxima {
                if wanted && maximum.is_some_and(|maximum| kib > maximum) {
                    return Err(VirError::invalid_arg("cannot set memory higher than max memory"));
                }
            }
            if affect.live {
                let vm = running(&domain)?;
                let has_balloon =
                    snapshot.live.as_ref().is_some_and(|live| balloon(&live.definition).is_some());
                if !has_balloon {
                    return Err(no_balloon());
                }
                vm.monitor
                    .execute(cmd::balloon(kib.saturating_mul(1024)))
                    .await
                    .map_err(|error| monitor_error(&error))?;
            }
            if affect.config {
                engine
                    .modify_config_later(&domain, move |definition| {
                        definition.current_memory = Some(Kib(kib));
                        Ok(())
                    })
                    .await?;
            }
            Ok(())
        })
        .await
    }

    /// Numbers about a running guest's memory. Asks QEMU, never waits for the guest.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn memory_stats(&self, domain: &Domain) -> Result<Vec<MemoryStat>, VirError> {
        let vm = running(domain)?;
        let mut stats = Vec::new();
        let snapshot = domain.snapshot();
        let alias = snapshot.live.as_ref().and_then(|live| {
            let balloon = balloon(&live.definition)?;
            balloon.alias.as_ref().map(|alias| alias.name.clone())
        });
        if let Some(alias) = alias {
            // What the guest took of memory devices is none of the balloon's.
            let live = snapshot.live.as_ref();
            let beside = live.map_or(0, |live| vm::memory::taken(&live.definition));
            let kib = snapshot.summary().memory_kib.saturating_sub(beside);
            stats.push(MemoryStat { tag: ACTUAL, name: "actual", value: kib });
            stats.extend(guest_stats(&vm, &alias).await);
        }
        if let Some(bytes) = host::process::resident_memory(vm.process.pid()) {
            stats.push(MemoryStat { tag: RSS, name: "rss", value: bytes / 1024 });
        }
        Ok(stats)
    }

    /// Sets how often the balloon asks the guest for numbers, in seconds; 0 never.
    ///
    /// # Errors
    /// A domain without a virtio balloon, and those of the flags.
    pub async fn set_memory_stats_period(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        period: u32,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let (job, affect) = self.job_for(domain, flags, "dommemstat", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            if affect.live {
                let vm = running(&domain)?;
                let alias = domain
                    .snapshot()
                    .live
                    .as_ref()
                    .and_then(|live| balloon(&live.definition)?.alias.clone())
                    .ok_or_else(balloon_missing)?;
                let path = peripheral(&alias.name);
                vm.monitor
                    .execute(cmd::qom_set(&path, "guest-stats-polling-interval", period))
                    .await
                    .map_err(|error| monitor_error(&error))?;
                engine.modify_live(&domain, |definition| set_period(definition, period)).await?;
            }
            if affect.config {
                engine
                    .modify_config_later(&domain, move |definition| set_period(definition, period))
                    .await?;
            }
            Ok(())
        })
        .await
    }
}

/// What the balloon knows of the guest's memory; nothing while it never answered.
pub(crate) async fn guest_stats(vm: &Vm, alias: &str) -> Vec<MemoryStat> {
    let question = cmd::qom_get(&peripheral(alias), "guest-stats");
    match vm.monitor.with_timeout(STATS_DEADLINE).execute(question).await {
        Ok(answer) => balloon_numbers(&answer),
        // A balloon that was never asked has none.
        Err(_) => Vec::new(),
    }
}

pub(crate) fn balloon_numbers(answer: &Value) -> Vec<MemoryStat> {
    GUEST_STATS
        .iter()
        .filter_map(|(name, tag, qemus, divisor)| {
            let value = if qemus.is_empty() {
                answer.get("last-update")?.as_u64()?
            } else {
                // What the guest does not tell is all ones.
                answer.get("stats")?.get(qemus)?.as_u64().filter(|value| *value != u64::MAX)?
            };
            Some(MemoryStat { tag: *tag, name, value: value / divisor })
        })
        .collect()
}

fn peripheral(alias: &str) -> String {
    format!("/machine/peripheral/{alias}")
}

/// The balloon, unless there is none.
pub(crate) fn balloon(definition: &Definition) -> Option<&MemBalloon> {
    let balloons = definition.devices.iter().flat_map(|devices| &devices.memballoons);
    balloons.into_iter().find(|balloon| balloon.model != BalloonModel::None)
}

fn set_maximum(definition: &mut Definition, kib: u64) -> Result<(), VirError> {
    if definition.cpu.as_ref().is_some_and(|cpu| cpu.numa.is_some()) {
        return Err(VirError::invalid_state(
            "initial memory size of a domain with NUMA nodes cannot be modified with this API",
        ));
    }
    definition.memory.get_or_insert_default().size = Kib(kib);
    if let Some(current) = &mut definition.current_memory {
        current.0 = current.0.min(kib);
    }
    Ok(())
}

fn set_period(definition: &mut Definition, period: u32) -> Result<(), VirError> {
    let balloons = &mut definition.devices_mut().memballoons;
    let Some(balloon) = balloons.iter_mut().find(|b| b.model != BalloonModel::None) else {
        return Err(balloon_missing());
    };
    balloon.stats = (period > 0).then_some(BalloonStats { period });
    Ok(())
}

fn balloon_missing() -> VirError {
    VirError::internal("No memory balloon device configured, can not set the collection period")
}

fn no_balloon() -> VirError {
    VirError::invalid_state(
        "Unable to change memory of active domain without the balloon device and guest OS balloon \
         driver",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_balloons_numbers_become_libvirts() {
        let answer = serde_json::json!({
            "last-update": 17,
            "stats": {
                "stat-free-memory": 2048, "stat-total-memory": u64::MAX,
                "stat-major-faults": 3, "stat-odd": 1,
            },
        });
        let stats: Vec<_> =
            balloon_numbers(&answer).into_iter().map(|stat| (stat.name, stat.value)).collect();
        assert_eq!(stats, [("major_fault", 3), ("unused", 2), ("last-update", 17)]);
        assert_eq!(balloon_numbers(&Value::Null), []);
    }

    #[test]
    fn no_balloon_has_no_period() {
        let refused = set_period(&mut Definition::default(), 3).map_err(|error| error.code);
        assert_eq!(refused, Err(diag::ErrorCode::INTERNAL_ERROR));
    }

    #[test]
    fn less_memory_at_most_means_less_now() {
        let mut definition = Definition { current_memory: Some(Kib(900)), ..Definition::default() };
        set_maximum(&mut definition, 800).expect("no nodes");
        assert_eq!(definition.current_memory, Some(Kib(800)));
        set_maximum(&mut definition, 1000).expect("no nodes");
        assert_eq!(definition.current_memory, Some(Kib(800)));
        assert_eq!(definition.memory.expect("set").size, Kib(1000));
    }
}
