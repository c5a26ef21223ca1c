//! I/O threads, made, changed and removed (`virsh iothreadadd`, `iothreadset`, `iothreaddel`).

use super::super::power::execute;
use super::super::record::Domain;
use super::LiveSide;
use crate::domain::hardware::block::disks;
use crate::domain::hardware::threads;
use crate::domain::hardware::vcpus::{common_set, io_thread_ids, io_thread_thread, thread_names};
use crate::domain::start::limits;
use crate::engine::Engine;
use crate::typed::{Kind, Params, Value, validate};
use diag::{ErrorDomain, VirError};
use host::cgroup::Part;
use model::domain::Domain as Definition;
use model::domain::tune::{IoThread, IoThreadIds, IoThreadPoll};
use qmp::cmd;
use std::sync::Arc;

const KEYS: &[(&str, Kind)] = &[
    ("poll_max_ns", Kind::ULLong),
    ("poll_grow", Kind::UInt),
    ("poll_shrink", Kind::UInt),
    ("thread_pool_min", Kind::Int),
    ("thread_pool_max", Kind::Int),
];

impl Engine {
    /// Makes an I/O thread.
    ///
    /// # Errors
    /// An id that is taken or 0, QEMU's refusal, and those of the flags.
    pub async fn add_io_thread(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        id: u32,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        if id == 0 {
            return Err(VirError::invalid_arg("invalid value of 0 for iothread_id"));
        }
        let (job, affect) = self.job_for(domain, flags, "iothreadadd", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            let mut sides = engine.sides(&domain, affect)?;
            let live = sides.live.as_ref().map(|live| &live.definition);
            for definition in live.into_iter().chain(&sides.config) {
                if io_thread_ids(definition).contains(&id) {
                    return Err(VirError::invalid_arg(format!(
                        "an IOThread is already using iothread_id '{id}'"
                    ))
                    .from_domain(ErrorDomain::DOMAIN));
                }
            }
            if let Some(config) = &mut sides.config {
                add(config, id);
            }
            if let Some(live) = &mut sides.live {
                execute(&live.vm, cmd::object_add(properties(id))).await?;
                add(&mut live.definition, id);
                if let Err(error) = engine.place(live, id) {
                    discard(live, id).await;
                    return Err(error);
                }
            }
            let vm = sides.live.as_ref().map(|live| Arc::clone(&live.vm));
            let kept = engine.keep(&domain, sides).await;
            if let (Err(_), Some(vm)) = (&kept, &vm)
                && let Err(error) = execute(vm, cmd::object_del(&format!("iothread{id}"))).await
            {
                tracing::warn!(%error, id, "an I/O thread was not removed again");
            }
            kept
        })
        .await
    }

    /// Gives a new thread the place and the limits that the definition has for it.
    pub(super) fn place(&self, live: &LiveSide, id: u32) -> Result<(), VirError> {
        let pid = live.pid();
        let thread = io_thread_thread(&thread_names(pid), id)
            .ok_or_else(|| VirError::internal(format!("QEMU has no thread 'iothread{id}'")))?;
        limits::limit_plugged(self, pid, &live.definition, Part::IoThread(id), thread)?;
        // Else it runs where the thread that made it may.
        let cpus = common_set(&live.definition).unwrap_or_else(|| self.host_cpus());
        threads::set_affinity(thread, &cpus.to_string())
    }

    /// Removes an I/O thread.
    ///
    /// # Errors
    /// When there is none or a device uses it; QEMU's refusal, and those of the flags.
    pub async fn remove_io_thread(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        id: u32,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        if id == 0 {
            return Err(VirError::invalid_arg("invalid value of 0 for iothread_id"));
        }
        let (job, affect) = self.job_for(domain, flags, "iothreaddel", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            let mut sides = engine.sides(&domain, affect)?;
            let live = sides.live.as_ref().map(|live| &live.definition);
            for definition in live.into_iter().chain(&sides.config) {
                removable(definition, id)?;
            }
            if let Some(config) = &mut sides.config {
                remove(config, id);
            }
            let mut gone = None;
            if let Some(live) = &mut sides.live {
                execute(&live.vm, cmd::object_del(&format!("iothread{id}"))).await?;
                gone = Some((Arc::clone(&live.vm), live.definition.clone()));
                remove(&mut live.definition, id);
                let group = engine.cgroups.as_ref().and_then(|all| all.machine_of(live.pid()));
                // Its thread ends by itself; the group goes with the guest's otherwise.
                let _ = group.map(|group| group.remove(Part::IoThread(id)));
            }
            let kept = engine.keep(&domain, sides).await;
            if let (Err(_), Some((vm, definition))) = (&kept, gone) {
                let again = LiveSide { vm, definition };
                let made = execute(&again.vm, cmd::object_add(properties(id))).await;
                if let Err(error) = made.and_then(|_| engine.place(&again, id)) {
                    tracing::warn!(%error, id, "an I/O thread was not made again");
                }
            }
            kept
        })
        .await
    }

    /// Sets how an I/O thread polls, and the size of its pool.
    ///
    /// # Errors
    /// When there is none, values that cannot be, QEMU's refusal, and those of the flags.
    pub async fn set_io_thread(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        id: u32,
        params: Params,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        if id == 0 {
            return Err(VirError::invalid_arg("invalid value of 0 for iothread_id"));
        }
        validate(&params, KEYS)?;
        check(&params)?;
        let (job, affect) = self.job_for(domain, flags, "iothreadset", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            let mut sides = engine.sides(&domain, affect)?;
            if let Some(config) = &mut sides.config {
                change(config, id, &params)?;
            }
            let mut before = Vec::new();
            if let Some(live) = &mut sides.live {
                change(&mut live.definition, id, &params)?;
                for (name, value) in &params {
                    if let Value::Int(number) = value
                        && *number < 0
                    {
                        return Err(VirError::invalid_state(format!(
                            "{name} ({number}) must be equal to or greater than 0 for live change"
                        )));
                    }
                }
                before = apply(live, id, &params).await?;
            }
            let vm = sides.live.as_ref().map(|live| Arc::clone(&live.vm));
            let kept = engine.keep(&domain, sides).await;
            if let (Err(_), Some(vm)) = (&kept, &vm) {
                restore(vm, id, before).await;
            }
            kept
        })
        .await
    }
}

fn properties(id: u32) -> serde_json::Map<String, qmp::Value> {
    let mut properties = serde_json::Map::new();
    properties.insert("qom-type".to_owned(), "iothread".into());
    properties.insert("id".to_owned(), format!("iothread{id}").into());
    properties
}

async fn discard(live: &LiveSide, id: u32) {
    if let Err(error) = execute(&live.vm, cmd::object_del(&format!("iothread{id}"))).await {
        tracing::warn!(%error, id, "an I/O thread was not removed again");
    }
}

/// The threads one by one, also where the definition has only their number.
pub(super) fn listed(definition: &mut Definition) -> &mut Vec<IoThread> {
    let ids = io_thread_ids(definition);
    let list = &mut definition.io_thread_ids.get_or_insert_with(IoThreadIds::default).threads;
    if list.is_empty() {
        list.extend(ids.into_iter().map(|id| IoThread { id, ..IoThread::default() }));
    }
    list
}

fn counted(definition: &mut Definition) {
    let count = definition.io_thread_ids.as_ref().map_or(0, |ids| ids.threads.len());
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    if count == 0 {
        definition.io_thread_ids = None;
    }
    definition.io_threads = (count > 0).then_some(count);
}

/// Makes a definition tell of these threads; those that it did not tell of.
pub(super) fn become_those(definition: &mut Definition, there: &[u32]) -> Vec<u32> {
    let told = io_thread_ids(definition);
    for id in told.iter().filter(|id| !there.contains(id)) {
        remove(definition, *id);
    }
    let new: Vec<u32> = there.iter().copied().filter(|id| !told.contains(id)).collect();
    new.iter().for_each(|id| add(definition, *id));
    new
}

fn add(definition: &mut Definition, id: u32) {
    listed(definition).push(IoThread { id, ..IoThread::default() });
    counted(definition);
}

fn remove(definition: &mut Definition, id: u32) {
    listed(definition).retain(|thread| thread.id != id);
    counted(definition);
    if let Some(tune) = &mut definition.cpu_tune {
        tune.iothread_pins.retain(|pin| pin.iothread != id);
        for sched in &mut tune.iothread_scheds {
            let mut rest = model::domain::scalar::CpuSet::default();
            sched.iothreads.iter().filter(|own| *own != id).for_each(|own| {
                rest.insert_range(own, own);
            });
            sched.iothreads = rest;
        }
        tune.iothread_scheds.retain(|sched| sched.iothreads.iter().next().is_some());
        if *tune == model::domain::tune::CpuTune::default() {
            definition.cpu_tune = None;
        }
    }
}

fn removable(definition: &Definition, id: u32) -> Result<(), VirError> {
    if !io_thread_ids(definition).contains(&id) {
        let text = format!("cannot find IOThread '{id}' in iothreadids list");
        return Err(VirError::invalid_arg(text).from_domain(ErrorDomain::DOMAIN));
    }
    let used = |what: String| {
        Err(VirError::invalid_arg(format!(
            "cannot remove IOThread {id} since it is being used by {what}"
        )))
    };
    for disk in disks(definition) {
        let Some(driver) = &disk.driver else { continue };
        let mapped = driver.iothreads.iter().flat_map(|all| &all.threads);
        if driver.iothread == Some(id) || mapped.into_iter().any(|thread| thread.id == id) {
            return used(format!("disk '{}'", disk.target.dev));
        }
    }
    let controllers = definition.devices.iter().flat_map(|devices| &devices.controllers);
    for controller in controllers {
        if controller.driver.as_ref().and_then(|driver| driver.iothread) == Some(id) {
            return used("controller".to_owned());
        }
    }
    Ok(())
}

fn check(params: &[(String, Value)]) -> Result<(), VirError> {
    for (name, value) in params {
        let Value::Int(number) = value else { continue };
        let fault = match name.as_str() {
            "thread_pool_min" if *number < -1 => "must be equal to or greater than -1",
            "thread_pool_max" if *number < -1 || *number == 0 => "must be a positive number or -1",
            _ => continue,
        };
        return Err(VirError::config(format!("{name} ({number}) {fault}")));
    }
    Ok(())
}

fn change(
    definition: &mut Definition,
    id: u32,
    params: &[(String, Value)],
) -> Result<(), VirError> {
    let unknown = || VirError::invalid_arg(format!("cannot find IOThread '{id}' in iothreadids"));
    let list = listed(definition);
    let thread = list.iter_mut().find(|thread| thread.id == id).ok_or_else(unknown)?;
    for (name, value) in params {
        match (name.as_str(), value) {
            ("thread_pool_min", Value::Int(number)) => {
                thread.thread_pool_min = Some(*number).filter(|number| *number >= 0);
            }
            ("thread_pool_max", Value::Int(number)) => {
                thread.thread_pool_max = Some(*number).filter(|number| *number >= 0);
            }
            (_, value) => {
                let Some(number) = value.as_u64() else { continue };
                let poll = thread.poll.get_or_insert_with(IoThreadPoll::default);
                let field = match name.as_str() {
                    "poll_max_ns" => &mut poll.max,
                    "poll_grow" => &mut poll.grow,
                    _ => &mut poll.shrink,
                };
                *field = Some(number);
            }
        }
    }
    if let (Some(least), Some(most)) = (thread.thread_pool_min, thread.thread_pool_max)
        && least > most
    {
        return Err(VirError::invalid_state(format!(
            "thread_pool_min ({least}) can't be greater than thread_pool_max ({most})"
        )));
    }
    Ok(())
}

/// Sets QEMU's properties one by one; what was set before one that is refused is taken back.
async fn apply(
    live: &LiveSide,
    id: u32,
    params: &[(String, Value)],
) -> Result<Vec<(String, qmp::Value)>, VirError> {
    let path = format!("/objects/iothread{id}");
    let number = |name: &str| -> Option<qmp::Value> {
        match &params.iter().find(|(own, _)| own == name)?.1 {
            Value::Int(number) => Some((*number).into()),
            value => value.as_u64().map(Into::into),
        }
    };
    let current = async |name: &str| {
        execute(&live.vm, cmd::qom_get(&path, name)).await.unwrap_or(qmp::Value::Null)
    };
    // A pool never has more threads at least than at most: the upper end moves first when it rises.
    let most = current("thread-pool-max").await.as_i64().unwrap_or(i64::MAX);
    let rises =
        number("thread_pool_max").and_then(|new| new.as_i64()).is_some_and(|new| new > most);
    let pool = if rises {
        ["thread_pool_max", "thread_pool_min"]
    } else {
        ["thread_pool_min", "thread_pool_max"]
    };
    let mut before = Vec::new();
    for name in ["poll_max_ns", "poll_grow", "poll_shrink"].into_iter().chain(pool) {
        let Some(value) = number(name) else { continue };
        let property = name.replace('_', "-");
        let old = current(&property).await;
        match execute(&live.vm, cmd::qom_set(&path, &property, value)).await {
            Ok(_) => before.push((property, old)),
            Err(error) => {
                restore(&live.vm, id, before).await;
                return Err(error);
            }
        }
    }
    Ok(before)
}

async fn restore(vm: &super::Vm, id: u32, before: Vec<(String, qmp::Value)>) {
    for (property, old) in before.into_iter().rev().filter(|(_, old)| !old.is_null()) {
        let path = format!("/objects/iothread{id}");
        if let Err(error) = execute(vm, cmd::qom_set(&path, &property, old)).await {
            tracing::warn!(%error, property, "a property was not taken back");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> Definition {
        Definition { io_threads: Some(2), ..Definition::default() }
    }

    #[test]
    fn threads_come_and_go() {
        let mut definition = two();
        add(&mut definition, 5);
        assert_eq!((io_thread_ids(&definition), definition.io_threads), (vec![1, 2, 5], Some(3)));
        remove(&mut definition, 1);
        assert_eq!((io_thread_ids(&definition), definition.io_threads), (vec![2, 5], Some(2)));
        remove(&mut definition, 2);
        remove(&mut definition, 5);
        assert_eq!(definition, Definition::default());
        assert!(removable(&two(), 3).is_err());
        assert!(removable(&two(), 2).is_ok());
    }

    #[test]
    fn a_pool_has_no_more_at_least_than_at_most() {
        let mut definition = two();
        let mut set = |id, pairs: &[(&str, i32)]| {
            let params: Params =
                pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
            check(&params)
                .and_then(|()| change(&mut definition, id, &params))
                .map_err(|error| error.detail)
        };
        let (least, most) = ("thread_pool_min", "thread_pool_max");
        assert_eq!(set(2, &[(least, 2), (most, 8)]), Ok(()));
        let fault = "thread_pool_min (9) can't be greater than thread_pool_max (8)";
        assert_eq!(set(2, &[(least, 9)]), Err(fault.to_owned()));
        let fault = "thread_pool_max (0) must be a positive number or -1";
        assert_eq!(set(2, &[(most, 0)]), Err(fault.to_owned()));
        assert_eq!(set(3, &[]), Err("cannot find IOThread '3' in iothreadids".to_owned()));
    }
}
