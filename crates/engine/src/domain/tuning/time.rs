//! Processor time: shares, periods, quotas (`virsh schedinfo`).

use super::super::record::Domain;
use super::writes::Writes;
use super::{LiveSide, told};
use crate::domain::hardware::vcpus::{io_thread_ids, online_vcpus};
use crate::domain::start::limits;
use crate::engine::Engine;
use crate::events::DomainEvent;
use crate::typed::{Kind, Params, Value, validate};
use diag::{ErrorDomain, VirError};
use host::cgroup::{Controller, Part};
use model::domain::Domain as Definition;
use model::domain::tune::CpuTune;
use plan::limits::{Settings, TimeOf};
use std::ops::RangeInclusive;
use std::sync::Arc;

const NOT_MOUNTED: &str = "cgroup CPU controller is not mounted";

/// The bounds of periods and quotas in microseconds.
const PERIODS: RangeInclusive<i128> = 1000..=1_000_000;
const QUOTAS: RangeInclusive<i128> = 1000..=17_592_186_044_415;

/// The bounds of shares, in version 1 and 2.
const SHARES: RangeInclusive<u64> = 2..=262_144;
const WEIGHTS: RangeInclusive<u64> = 1..=10_000;

/// libvirt's names, in the order in which it gives them.
const KEYS: &[(&str, Kind)] = &[
    ("cpu_shares", Kind::ULLong),
    ("vcpu_period", Kind::ULLong),
    ("vcpu_quota", Kind::LLong),
    ("emulator_period", Kind::ULLong),
    ("emulator_quota", Kind::LLong),
    ("global_period", Kind::ULLong),
    ("global_quota", Kind::LLong),
    ("iothread_period", Kind::ULLong),
    ("iothread_quota", Kind::LLong),
];

/// In the order of [`KEYS`].
const PARTS: [TimeOf; 4] = [TimeOf::Vcpu, TimeOf::Emulator, TimeOf::Global, TimeOf::IoThread];

impl Engine {
    /// How many parameters of processor time a domain has.
    ///
    /// # Errors
    /// In a session; for a running guest without its control group.
    pub fn scheduler_parameter_count(&self, domain: &Domain) -> Result<usize, VirError> {
        self.privileged("CPU tuning")?;
        if let Some(live) = &domain.snapshot().live {
            self.group_of(live.pid, Controller::Cpu, NOT_MOUNTED)?;
        }
        Ok(KEYS.len())
    }

    /// The parameters of processor time: what the kernel holds for a running guest, what the
    /// definition says otherwise (0: not set).
    ///
    /// # Errors
    /// When there is no such side, or the host lacks the controller.
    pub fn scheduler_parameters(&self, domain: &Domain, flags: u32) -> Result<Params, VirError> {
        self.privileged("CPU tuning")?;
        let pid = domain.snapshot().live.as_ref().map(|live| live.pid);
        self.with_side(domain, flags, |definition, live| match pid {
            Some(pid) if live => self.live_parameters(pid, definition),
            _ => Ok(stored(definition)),
        })
    }

    fn live_parameters(&self, pid: u32, definition: &Definition) -> Result<Params, VirError> {
        let (group, v2) = self.group_of(pid, Controller::Cpu, NOT_MOUNTED)?;
        let get = |part, file: &str| group.get(part, Controller::Cpu, file).ok();
        let shares = if v2 { "cpu.weight" } else { "cpu.shares" };
        let shares = get(Part::Machine, shares).and_then(|text| text.parse::<u64>().ok());
        let mut params = vec![("cpu_shares".to_owned(), shares.unwrap_or(0).into())];
        for time in PARTS {
            let part = match time {
                TimeOf::Global => Some(Part::Machine),
                TimeOf::Emulator => Some(Part::Emulator),
                TimeOf::Vcpu => online_vcpus(definition).first().copied().map(Part::Vcpu),
                TimeOf::IoThread => io_thread_ids(definition).first().copied().map(Part::IoThread),
            };
            let read = |file: &str| part.and_then(|part| get(part, file));
            let (period, quota) = if v2 {
                bandwidth_v2(&read("cpu.max").unwrap_or_default())
            } else {
                (
                    read("cpu.cfs_period_us").and_then(|text| text.parse().ok()),
                    read("cpu.cfs_quota_us").and_then(|text| text.parse().ok()),
                )
            };
            let prefix = time.prefix();
            // Threads that nobody limits have no group of their own: the kernel's defaults.
            params.push((format!("{prefix}_period"), period.unwrap_or(100_000_u64).into()));
            params.push((format!("{prefix}_quota"), quota.unwrap_or(-1_i64).into()));
        }
        Ok(params)
    }

    /// Sets parameters of processor time.
    ///
    /// # Errors
    /// Unknown parameters, values out of range, the kernel's refusal, and those of the flags.
    pub async fn set_scheduler_parameters(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        params: Params,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        validate(&params, KEYS)?;
        self.privileged("CPU tuning")?;
        let (job, affect) = self.job_for(domain, flags, "schedinfo", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            let mut sides = engine.sides(&domain, affect)?;
            let v2 = engine.cgroups.as_ref().and_then(|all| all.is_v2(Controller::Cpu));
            if sides.live.is_some() && v2.is_none() {
                return Err(VirError::invalid_state(NOT_MOUNTED));
            }
            check(&params, sides.live.is_some(), v2 == Some(true))?;
            let mut writes = None;
            if let Some(live) = &mut sides.live {
                let mut made = Writes::of(&engine, live, Controller::Cpu, NOT_MOUNTED)?;
                change(&mut live.definition, &params);
                plan(&mut made, live, &params, &engine)?;
                writes = Some(made);
            }
            if let Some(config) = &mut sides.config {
                change(config, &params);
            }
            let is_live = sides.live.is_some();
            engine.keep_limits(&domain, sides, writes).await?;
            if is_live {
                engine.tell(&domain, DomainEvent::Tunable { params: told("cputune", &params) });
            }
            Ok(())
        })
        .await
    }
}

/// Refuses values out of range.
fn check(params: &[(String, Value)], live: bool, v2: bool) -> Result<(), VirError> {
    for (name, value) in params {
        let (number, range) = match value {
            Value::ULLong(shares) if name == "cpu_shares" => {
                if live {
                    check_shares(*shares, v2)?;
                }
                continue;
            }
            Value::ULLong(period) => (i128::from(*period), PERIODS),
            Value::LLong(quota) => (i128::from(*quota), QUOTAS),
            _ => continue,
        };
        // 0 leaves things as they are, less than that is "no limit".
        if number > 0 && !range.contains(&number) {
            return Err(VirError::invalid_arg(format!(
                "value of '{name}' is out of range [{}, {}]",
                range.start(),
                range.end()
            )));
        }
    }
    Ok(())
}

/// Refuses shares of processor time that the kernel would put into its range instead.
///
/// # Errors
/// When they are out of it.
pub(in crate::domain) fn check_shares(shares: u64, v2: bool) -> Result<(), VirError> {
    let range = if v2 { WEIGHTS } else { SHARES };
    if range.contains(&shares) {
        return Ok(());
    }
    let (least, most) = (range.start(), range.end());
    let detail = format!("shares '{shares}' must be in range [{least}, {most}]");
    Err(VirError::invalid_arg(detail).from_domain(ErrorDomain::CGROUP))
}

fn change(definition: &mut Definition, params: &[(String, Value)]) {
    let tune = definition.cpu_tune.get_or_insert_with(CpuTune::default);
    for (name, value) in params {
        match value {
            // A definition may say it; no start takes it.
            Value::ULLong(0) if name == "cpu_shares" => tune.shares = Some(0),
            Value::ULLong(0) | Value::LLong(0) => {}
            Value::ULLong(value) => {
                let field = match name.as_str() {
                    "cpu_shares" => &mut tune.shares,
                    "vcpu_period" => &mut tune.period,
                    "emulator_period" => &mut tune.emulator_period,
                    "global_period" => &mut tune.global_period,
                    _ => &mut tune.iothread_period,
                };
                *field = Some(*value);
            }
            Value::LLong(value) => {
                let field = match name.as_str() {
                    "vcpu_quota" => &mut tune.quota,
                    "emulator_quota" => &mut tune.emulator_quota,
                    "global_quota" => &mut tune.global_quota,
                    _ => &mut tune.iothread_quota,
                };
                *field = Some(*value);
            }
            _ => {}
        }
    }
    if *tune == CpuTune::default() {
        definition.cpu_tune = None;
    }
}

fn stored(definition: &Definition) -> Params {
    let tune = definition.cpu_tune.clone().unwrap_or_default();
    let pairs = [
        (tune.period, tune.quota),
        (tune.emulator_period, tune.emulator_quota),
        (tune.global_period, tune.global_quota),
        (tune.iothread_period, tune.iothread_quota),
    ];
    let values = pairs.into_iter().flat_map(|(period, quota)| {
        [Value::from(period.unwrap_or(0)), Value::from(quota.unwrap_or(0))]
    });
    let shares = std::iter::once(Value::from(tune.shares.unwrap_or(0)));
    KEYS.iter().map(|(name, _)| (*name).to_owned()).zip(shares.chain(values)).collect()
}

/// Plans what the changed live definition says about the parts that `params` name.
fn plan(
    writes: &mut Writes,
    live: &LiveSide,
    params: &[(String, Value)],
    engine: &Engine,
) -> Result<(), VirError> {
    let set = |name: &str| {
        params
            .iter()
            .any(|(n, value)| n == name && !matches!(value, Value::ULLong(0) | Value::LLong(0)))
    };
    let settings = plan::qemu::cgroup_settings(&live.definition);
    let settings = Settings(&settings);
    let v2 = writes.v2(Controller::Cpu);
    if set("cpu_shares") {
        let limits = settings.shares(v2);
        limits.iter().try_for_each(|limit| writes.plan(Part::Machine, limit))?;
    }
    for time in PARTS {
        let prefix = time.prefix();
        let (period, quota) = (format!("{prefix}_period"), format!("{prefix}_quota"));
        if !(set(&period) || set(&quota)) {
            continue;
        }
        let wanted = |limit: &&plan::limits::Limit| {
            let file = limit.files.first().copied().unwrap_or_default();
            v2 || (file.contains("period") && set(&period))
                || (file.contains("quota") && set(&quota))
        };
        let limits = settings.bandwidth(time, v2);
        let limits: Vec<_> = limits.iter().filter(wanted).collect();
        let parts = match time {
            TimeOf::Global => vec![Part::Machine],
            TimeOf::Emulator => vec![Part::Emulator],
            TimeOf::Vcpu | TimeOf::IoThread => {
                limits::parts_of_threads(engine, &writes.group, live, time)?
            }
        };
        for part in parts {
            limits.iter().try_for_each(|limit| writes.plan(part, limit))?;
        }
    }
    Ok(())
}

/// Period and quota of a `cpu.max`: `max 100000`.
fn bandwidth_v2(text: &str) -> (Option<u64>, Option<i64>) {
    let mut words = text.split_ascii_whitespace();
    let quota = words.next().map(|quota| quota.parse().unwrap_or(-1));
    (words.next().and_then(|period| period.parse().ok()), quota)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused() {
        let case = |name: &str, value: Value, live, v2, expected: Option<&str>| {
            let error = check(&[(name.to_owned(), value)], live, v2).err().map(|e| e.detail);
            assert_eq!(error.as_deref(), expected, "{name}");
        };
        let shares = |value: u64| Value::ULLong(value);
        let range = Some("shares '1' must be in range [2, 262144]");
        case("cpu_shares", shares(1), true, false, range);
        case("cpu_shares", shares(1), true, true, None);
        case("cpu_shares", shares(1), false, false, None);
        let range = Some("shares '10001' must be in range [1, 10000]");
        case("cpu_shares", shares(10_001), true, true, range);
        let range = Some("value of 'vcpu_period' is out of range [1000, 1000000]");
        case("vcpu_period", Value::ULLong(999), false, false, range);
        let range = Some("value of 'global_quota' is out of range [1000, 17592186044415]");
        case("global_quota", Value::LLong(999), false, false, range);
        case("global_quota", Value::LLong(-7), false, false, None);
        case("global_quota", Value::LLong(0), false, false, None);
    }

    #[test]
    fn what_is_zero_is_not_set() {
        let mut definition = Definition::default();
        let zero = [("vcpu_quota".to_owned(), Value::LLong(0))];
        change(&mut definition, &zero);
        assert_eq!(definition.cpu_tune, None);
        let both = [
            ("vcpu_quota".to_owned(), Value::LLong(-1)),
            ("global_period".to_owned(), Value::ULLong(5000)),
        ];
        change(&mut definition, &both);
        change(&mut definition, &zero);
        let params = stored(&definition);
        let value = |name| params.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        assert_eq!(value("vcpu_quota"), Some(Value::LLong(-1)));
        assert_eq!(value("global_period"), Some(Value::ULLong(5000)));
        assert_eq!(value("cpu_shares"), Some(Value::ULLong(0)));
        assert_eq!(params.len(), KEYS.len());
        change(&mut definition, &[("cpu_shares".to_owned(), Value::ULLong(0))]);
        assert_eq!(definition.cpu_tune.and_then(|tune| tune.shares), Some(0));
    }

    #[test]
    fn limits_of_version_2() {
        assert_eq!(bandwidth_v2("max 100000"), (Some(100_000), Some(-1)));
        assert_eq!(bandwidth_v2("20000 50000"), (Some(50_000), Some(20_000)));
        assert_eq!(bandwidth_v2(""), (None, None));
    }
}
