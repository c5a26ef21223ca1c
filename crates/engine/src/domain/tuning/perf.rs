//! Counters of the host's kernel for guests (`virsh perf`).

use super::super::record::Domain;
use crate::domain::stored::store::os_words;
use crate::engine::Engine;
use crate::typed::{Kind, Params, Value, validate};
use diag::{ErrorCode, ErrorDomain, VirError};
use model::domain::Domain as Definition;
use model::domain::lifecycle::{PERF_EVENTS, Perf, PerfEvent};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};

/// The counters that are running for one guest, by libvirt's names.
#[derive(Debug, Default)]
pub(in crate::domain) struct Counters(Mutex<BTreeMap<String, File>>);

impl Counters {
    /// Those of a guest that starts.
    ///
    /// # Errors
    /// This host cannot count one of its events.
    pub fn of_start(pid: u32, definition: &Definition) -> Result<Self, VirError> {
        let counters = Self::default();
        counted(definition).try_for_each(|name| counters.start(pid, name))?;
        Ok(counters)
    }

    /// Those of a guest that runs already. What the host cannot count is said in the log.
    pub fn of_running(pid: u32, definition: &Definition) -> Self {
        let counters = Self::default();
        for name in counted(definition) {
            if let Err(error) = counters.start(pid, name) {
                tracing::warn!(error = %error.detail, "an event is not counted");
            }
        }
        counters
    }

    /// Starts a counter, unless it runs.
    fn start(&self, pid: u32, name: &str) -> Result<(), VirError> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if running.contains_key(name) {
            return Ok(());
        }
        let Some((kind, config)) = kernels(name) else {
            return Err(VirError::new(
                ErrorCode::ARGUMENT_UNSUPPORTED,
                format!("unable to enable host cpu perf event for {name}"),
            )
            .from_domain(ErrorDomain::PERF));
        };
        let counter = host::process::count_events(pid, kind, config).map_err(|error| {
            let why = os_words(&error);
            VirError::new(
                ErrorCode::SYSTEM_ERROR,
                format!("unable to open host cpu perf event for {name}: {why}"),
            )
        })?;
        running.insert(name.to_owned(), counter.into());
        Ok(())
    }

    fn stop(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    fn runs(&self, name: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }

    /// What has been counted, in libvirt's order.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = |name: &&'static str| {
            let mut number = [0; 8];
            running.get_mut(*name)?.read_exact(&mut number).ok()?;
            Some((*name, u64::from_ne_bytes(number)))
        };
        PERF_EVENTS.iter().filter_map(count).collect()
    }
}

/// Type and number of a counter (`perf_type_id`, `perf_hw_id`, `perf_sw_ids`). Those of Intel's
/// cache monitoring are gone from the kernel.
fn kernels(name: &str) -> Option<(u32, u64)> {
    let place = PERF_EVENTS.iter().position(|event| *event == name)?;
    let hardware = PERF_EVENTS.iter().position(|event| *event == "cpu_cycles")?;
    let software = PERF_EVENTS.iter().position(|event| *event == "cpu_clock")?;
    let number = |first: usize| u64::try_from(place - first).ok();
    match place {
        place if place >= software => Some((1, number(software)?)),
        place if place >= hardware => Some((0, number(hardware)?)),
        _ => None,
    }
}

/// The events of a guest's definition that are to be counted, by name.
fn counted(definition: &Definition) -> impl Iterator<Item = &str> {
    let events = definition.perf.iter().flat_map(|perf| &perf.events);
    events.filter(|event| bool::from(event.enabled)).map(|event| event.name.as_str())
}

impl Engine {
    /// Has events counted, or no longer.
    ///
    /// # Errors
    /// Unknown events, those that this host does not count, and those of the flags.
    pub async fn set_perf_events(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        params: Params,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let known: Vec<_> = PERF_EVENTS.iter().map(|name| (*name, Kind::Bool)).collect();
        validate(&params, &known)?;
        let (job, affect) = self.job_for(domain, flags, "perf", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            let mut sides = engine.sides(&domain, affect)?;
            if let Some(config) = &mut sides.config {
                change(config, &params);
            }
            let mut started: Vec<String> = Vec::new();
            let vm = sides.live.as_ref().map(|live| Arc::clone(&live.vm));
            if let (Some(live), Some(vm)) = (&mut sides.live, &vm) {
                for name in wanted(&params, true) {
                    let new = !vm.counters.runs(name);
                    if let Err(error) = vm.counters.start(vm.process.pid(), name) {
                        started.iter().for_each(|name| vm.counters.stop(name));
                        return Err(error);
                    }
                    started.extend(new.then(|| name.to_owned()));
                }
                change(&mut live.definition, &params);
            }
            let kept = engine.keep(&domain, sides).await;
            if let Some(vm) = vm {
                match &kept {
                    // A counter that stops forgets: only once all is written down.
                    Ok(()) => wanted(&params, false).for_each(|name| vm.counters.stop(name)),
                    Err(_) => started.iter().for_each(|name| vm.counters.stop(name)),
                }
            }
            kept
        })
        .await
    }
}

fn wanted(params: &[(String, Value)], on: bool) -> impl Iterator<Item = &str> {
    params.iter().filter(move |(_, value)| *value == Value::Bool(on)).map(|(n, _)| n.as_str())
}

fn change(definition: &mut Definition, params: &[(String, Value)]) {
    let events = &mut definition.perf.get_or_insert_with(Perf::default).events;
    for (name, value) in params {
        let Value::Bool(on) = value else { continue };
        match events.iter_mut().find(|event| event.name == *name) {
            Some(event) => event.enabled = (*on).into(),
            None => events.push(PerfEvent { name: name.clone(), enabled: (*on).into() }),
        }
    }
    let place = |event: &PerfEvent| PERF_EVENTS.iter().position(|name| *name == event.name);
    events.sort_by_key(place);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_numbers() {
        for (name, expected) in [
            ("cmt", None),
            ("cpu_cycles", Some((0, 0))),
            ("ref_cpu_cycles", Some((0, 9))),
            ("cpu_clock", Some((1, 0))),
            ("page_faults", Some((1, 2))),
            ("emulation_faults", Some((1, 8))),
            ("other", None),
        ] {
            assert_eq!(kernels(name), expected, "{name}");
        }
    }

    #[test]
    fn events_stand_in_libvirts_order() {
        let mut definition = Definition::default();
        let set = |name: &str, on: bool| vec![(name.to_owned(), Value::Bool(on))];
        change(&mut definition, &set("page_faults", true));
        change(&mut definition, &set("cpu_clock", true));
        change(&mut definition, &set("page_faults", false));
        let events = definition.perf.expect("made").events;
        let shown: Vec<_> =
            events.iter().map(|event| (event.name.as_str(), bool::from(event.enabled))).collect();
        assert_eq!(shown, [("cpu_clock", true), ("page_faults", false)]);
    }
}
