//! How many virtual CPUs a guest has, and which (`virsh setvcpus`, `setvcpu`).

use super::super::affect::{self, Affect, exclusive};
use super::super::power::{execute, monitor_error};
use super::super::record::Domain;
use super::Vm;
use crate::domain::hardware::threads::set_affinity;
use crate::domain::hardware::vcpus::{
    VCPU_GUEST, VCPU_HOTPLUGGABLE, VCPU_MAXIMUM, common_set, from_model, online_vcpus,
    thread_names, vcpu_thread,
};
use crate::domain::start::limits;
use crate::engine::Engine;
use crate::events::{DomainEvent, Event};
use diag::{ErrorCode, ErrorDomain, VirError};
use host::cgroup::Part;
use host::monitor::MonitorError;
use model::domain::Domain as Definition;
use model::domain::tune::{VcpuEntry, VcpuList};
use qmp::reply::HotpluggableCpu;
use qmp::{Value, cmd};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use xml::YesNo;

/// How long a guest may take to give a virtual CPU back.
const UNPLUG_PATIENCE: Duration = Duration::from_secs(5);

/// How long it is looked for after that, with nobody waiting.
const LATE: Duration = Duration::from_secs(300);

/// How often the definition and QEMU are looked at meanwhile.
const LOOK: Duration = Duration::from_millis(100);

impl Engine {
    /// Sets how many virtual CPUs there are, or with [`VCPU_MAXIMUM`] how many there may be.
    ///
    /// # Errors
    /// More than the maximum, a running guest's that cannot be changed, and those of the flags.
    pub async fn set_vcpus(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        count: u32,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        exclusive(
            flags,
            (VCPU_GUEST, "VIR_DOMAIN_VCPU_GUEST"),
            (affect::CONFIG, "VIR_DOMAIN_AFFECT_CONFIG"),
        )?;
        exclusive(
            flags,
            (VCPU_GUEST, "VIR_DOMAIN_VCPU_GUEST"),
            (VCPU_MAXIMUM, "VIR_DOMAIN_VCPU_MAXIMUM"),
        )?;
        if flags & VCPU_MAXIMUM != 0 && flags & affect::CONFIG == 0 {
            return Err(VirError::invalid_arg(
                "Flag 'VIR_DOMAIN_AFFECT_CONFIG' is required by flag 'VIR_DOMAIN_VCPU_MAXIMUM'",
            )
            .from_domain(ErrorDomain::DOMAIN));
        }
        if count == 0 {
            return Err(VirError::invalid_arg("nvcpus in virDomainSetVcpusFlags must not be zero")
                .from_domain(ErrorDomain::DOMAIN));
        }
        if flags & VCPU_GUEST != 0 {
            if flags & affect::LIVE != 0 {
                affect::running(domain)?;
            }
            return self.set_guest_vcpu_count(domain, count, client).await;
        }
        let (job, affect) = self.job_for(domain, flags, "setvcpus", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            if flags & VCPU_MAXIMUM != 0 {
                if affect.live {
                    return Err(VirError::new(
                        ErrorCode::OPERATION_UNSUPPORTED,
                        "maximum vcpu count of a live domain can't be modified",
                    ));
                }
                return engine
                    .modify_config_later(&domain, move |definition| set_maximum(definition, count))
                    .await;
            }
            engine.check_vcpu_count(&domain, count, affect)?;
            if affect.live {
                engine.set_live_vcpus(&domain, count).await?;
            }
            if affect.config {
                let hotpluggable = flags & VCPU_HOTPLUGGABLE != 0;
                engine
                    .modify_config_later(&domain, move |definition| {
                        set_count(definition, count, hotpluggable);
                        Ok(())
                    })
                    .await?;
            }
            Ok(())
        })
        .await
    }

    fn check_vcpu_count(
        &self,
        domain: &Domain,
        count: u32,
        affect: Affect,
    ) -> Result<(), VirError> {
        let snapshot = domain.snapshot();
        let live = snapshot.live.as_ref().map(|_| snapshot.summary().vcpus_max);
        let config = snapshot.config.as_ref().map(|config| config.summary.vcpus_max);
        for (wanted, maximum, name) in
            [(affect.live, live, "live"), (affect.config, config, "persistent")]
        {
            if let (true, Some(maximum)) = (wanted, maximum)
                && count > maximum
            {
                return Err(VirError::invalid_arg(format!(
                    "requested vcpus is greater than max allowable vcpus for the {name} domain: \
                     {count} > {maximum}"
                )));
            }
        }
        Ok(())
    }

    /// Plugs the lowest virtual CPUs that are not there, or unplugs the highest that can go.
    async fn set_live_vcpus(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        count: u32,
    ) -> Result<(), VirError> {
        let definition = live_definition(domain)?;
        let online = online_vcpus(&definition);
        let now = u32::try_from(online.len()).unwrap_or(u32::MAX);
        let maximum = definition.vcpu.as_ref().map_or(1, |vcpu| vcpu.maximum);
        let chosen: Vec<u32> = if count >= now {
            let free = (0..maximum).filter(|number| !online.contains(number));
            free.take(usize::try_from(count - now).unwrap_or(0)).collect()
        } else {
            let mut removable: Vec<u32> =
                online.into_iter().filter(|number| hotpluggable(&definition, *number)).collect();
            removable.sort_unstable_by_key(|number| std::cmp::Reverse(*number));
            removable.truncate(usize::try_from(now - count).unwrap_or(0));
            removable
        };
        let wanted = usize::try_from(count.abs_diff(now)).unwrap_or(usize::MAX);
        if chosen.len() < wanted {
            return Err(VirError::config(
                "failed to find appropriate hotpluggable vcpus to reach the desired target vcpu \
                 count",
            ));
        }
        self.plug_all(domain, &chosen, count > now).await
    }

    async fn plug_all(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        numbers: &[u32],
        plug: bool,
    ) -> Result<(), VirError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let vm = super::running(domain)?;
        let places = execute(&vm, cmd::query_hotpluggable_cpus()).await?;
        for number in numbers {
            if plug {
                self.plug(domain, &vm, &places, *number).await?;
            } else {
                self.unplug(domain, &vm, *number).await?;
            }
        }
        Ok(())
    }

    async fn plug(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        places: &[HotpluggableCpu],
        number: u32,
    ) -> Result<(), VirError> {
        let place = place_of(places, number).ok_or_else(|| {
            VirError::config(format!("vcpu '{number}' has no place on this machine"))
        })?;
        execute(vm, cmd::device_add(described(place, number))).await?;
        self.modify_live(domain, |definition| {
            set_live(definition, number, true);
            Ok(())
        })
        .await?;
        self.place_vcpu(&live_definition(domain)?, vm.process.pid(), number)
    }

    /// Gives a new virtual CPU the limits, the host CPUs and the scheduler that the definition has
    /// for it.
    pub(super) fn place_vcpu(
        &self,
        definition: &Definition,
        pid: u32,
        number: u32,
    ) -> Result<(), VirError> {
        // Without multi-threaded emulation it has no thread of its own.
        let Some(thread) = vcpu_thread(&thread_names(pid), number) else { return Ok(()) };
        limits::limit_plugged(self, pid, definition, Part::Vcpu(number), thread)?;
        let tune = definition.cpu_tune.as_ref();
        let pins = tune.iter().flat_map(|tune| &tune.vcpu_pins);
        let own = pins.into_iter().find(|pin| pin.vcpu == number);
        let cpus = own.map(|pin| from_model(&pin.cpuset)).or_else(|| common_set(definition));
        // Else it runs where the thread that made it may.
        let cpus = cpus.unwrap_or_else(|| self.host_cpus());
        set_affinity(thread, &cpus.to_string())?;
        let scheds = tune.iter().flat_map(|tune| &tune.vcpu_scheds);
        match scheds.into_iter().find(|sched| sched.vcpus.iter().any(|own| own == number)) {
            Some(sched) => {
                crate::domain::hardware::threads::schedule(thread, sched.scheduler, sched.priority)
            }
            None => Ok(()),
        }
    }

    async fn unplug(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        number: u32,
    ) -> Result<(), VirError> {
        let alias = format!("vcpu{number}");
        let (refusals, mut refused) = mpsc::unbounded_channel();
        let (uuid, wanted) = (domain.uuid, alias.clone());
        let _subscription = self.events.subscribe(Arc::new(move |event: &Event| {
            if let Event::Domain(of, DomainEvent::DeviceRemovalFailed { alias }) = event
                && of.uuid == uuid
                && *alias == wanted
            {
                let _ = refusals.send(());
            }
        }));
        match vm.monitor.execute(cmd::device_del(&alias)).await {
            // The guest let go after somebody had given up waiting.
            Err(MonitorError::Qmp(error)) if error.class == "DeviceNotFound" => {
                vm.vcpu_is_gone(number);
                vm.sync().await;
                return Ok(());
            }
            other => other.map(|_| ()).map_err(|error| monitor_error(&error))?,
        }
        tokio::select! {
            () = let_go(domain, vm, number) => Ok(()),
            _ = refused.recv() => Err(VirError::failed("vcpu unplug request was rejected by the guest")),
            () = tokio::time::sleep(UNPLUG_PATIENCE) => {
                let (domain, vm) = (Arc::clone(domain), Arc::clone(vm));
                self.runtime().spawn(async move {
                    let _ = tokio::time::timeout(LATE, let_go(&domain, &vm, number)).await;
                });
                Err(VirError::new(
                    ErrorCode::OPERATION_TIMEOUT,
                    "vcpu unplug request timed out. Unplug result must be manually inspected in \
                     the domain",
                ))
            }
        }
    }

    /// Plugs or unplugs certain virtual CPUs.
    ///
    /// # Errors
    /// Those that are not there, cannot change or are so already, QEMU's refusal, and those of the
    /// flags.
    pub async fn set_vcpu(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        map: &str,
        enable: bool,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let numbers = numbers_of(map)?;
        let (job, affect) = self.job_for(domain, flags, "setvcpu", client).await?;
        let engine = Arc::clone(self);
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            let sides = engine.sides(&domain, affect)?;
            for (definition, which) in [
                (sides.live.as_ref().map(|live| &live.definition), "live"),
                (sides.config.as_ref(), "persistent"),
            ] {
                let Some(definition) = definition else { continue };
                let maximum = definition.vcpu.as_ref().map_or(1, |vcpu| vcpu.maximum);
                if let Some(number) = numbers.iter().find(|number| **number >= maximum) {
                    return Err(VirError::invalid_arg(format!(
                        "vcpu {number} is not present in {which} config"
                    )));
                }
            }
            if sides.config.is_some() && numbers.contains(&0) {
                return Err(VirError::invalid_arg("vCPU '0' can't be modified"));
            }
            if let Some(live) = &sides.live {
                let online = online_vcpus(&live.definition);
                for number in &numbers {
                    if online.contains(number) == enable {
                        return Err(VirError::invalid_arg(format!(
                            "vcpu '{number}' is already in requested state"
                        )));
                    }
                    if !enable && !hotpluggable(&live.definition, *number) {
                        return Err(VirError::new(
                            ErrorCode::OPERATION_UNSUPPORTED,
                            format!("vcpu '{number}' can't be unplugged"),
                        ));
                    }
                }
            }
            if sides.live.is_some() {
                engine.plug_all(&domain, &numbers, enable).await?;
            }
            if sides.config.is_some() {
                engine
                    .modify_config_later(&domain, move |definition| {
                        for number in numbers {
                            set_online(definition, number, enable, true);
                        }
                        Ok(())
                    })
                    .await?;
            }
            Ok(())
        })
        .await
    }
}

pub(super) fn live_definition(domain: &Domain) -> Result<Definition, VirError> {
    let snapshot = domain.snapshot();
    snapshot.live.as_ref().map(|live| live.definition.clone()).ok_or_else(super::not_running)
}

/// The numbers in a client's list.
pub(in crate::domain) fn numbers_of(map: &str) -> Result<Vec<u32>, VirError> {
    let set = map.parse::<units::CpuSet>().ok().filter(|set| !set.is_empty());
    let set = set.ok_or_else(|| super::no_bitmap(map))?;
    Ok(set.iter().filter_map(|number| u32::try_from(number).ok()).collect())
}

/// The number in the name of a virtual CPU that is a device.
pub(in crate::domain) fn vcpu_of(alias: &str) -> Option<u32> {
    alias.strip_prefix("vcpu")?.parse().ok()
}

/// Waits until the guest gave a virtual CPU back. QEMU announces it where it can; some boards'
/// CPUs just go, which its list of them shows.
async fn let_go(domain: &Domain, vm: &Vm, number: u32) {
    while live_definition(domain).is_ok_and(|live| online_vcpus(&live).contains(&number)) {
        tokio::time::sleep(LOOK).await;
        match vm.monitor.execute(cmd::query_hotpluggable_cpus()).await {
            Ok(places) if place_of(&places, number).is_some() => {
                vm.vcpu_is_gone(number);
                vm.sync().await;
                return;
            }
            Ok(_) => {}
            // QEMU is gone, and all its CPUs.
            Err(_) => return,
        }
    }
}

/// The device that is a virtual CPU at `place`.
pub(super) fn described(place: &HotpluggableCpu, number: u32) -> serde_json::Map<String, Value> {
    let mut properties = match &place.props {
        Value::Object(properties) => properties.clone(),
        _ => serde_json::Map::new(),
    };
    properties.insert("driver".to_owned(), place.kind.clone().into());
    properties.insert("id".to_owned(), format!("vcpu{number}").into());
    properties
}

/// The places of virtual CPUs with the numbers of those in each. QEMU lists the last one first, and
/// one place may hold several.
pub(super) fn numbered(
    places: &[HotpluggableCpu],
) -> impl Iterator<Item = (Range<u32>, &HotpluggableCpu)> {
    places.iter().rev().scan(0_u32, |next, place| {
        let count = u32::try_from(place.vcpus_count).unwrap_or(1).max(1);
        let first = std::mem::replace(next, next.saturating_add(count));
        Some((first..*next, place))
    })
}

/// Where a virtual CPU goes.
fn place_of(places: &[HotpluggableCpu], number: u32) -> Option<&HotpluggableCpu> {
    let mut free = numbered(places).filter(|(_, place)| place.qom_path.is_none());
    free.find(|(numbers, _)| numbers.start == number).map(|(_, place)| place)
}

fn entry(definition: &Definition, number: u32) -> Option<&VcpuEntry> {
    definition.vcpus.as_ref()?.list.iter().find(|entry| entry.id == number)
}

fn hotpluggable(definition: &Definition, number: u32) -> bool {
    entry(definition, number).and_then(|entry| entry.hotpluggable) == Some(YesNo::Yes)
}

/// The virtual CPUs one by one, also where the definition has only their number.
fn listed(definition: &mut Definition) -> &mut Vec<VcpuEntry> {
    let online = online_vcpus(definition);
    let maximum = definition.vcpu.as_ref().map_or(1, |vcpu| vcpu.maximum);
    let list = &mut definition.vcpus.get_or_insert_with(VcpuList::default).list;
    if list.is_empty() {
        list.extend((0..maximum).map(|id| {
            let on = online.contains(&id);
            VcpuEntry { id, enabled: on.into(), hotpluggable: Some((!on).into()), order: None }
        }));
    }
    list
}

/// Says of one virtual CPU of a running guest whether it is there. From then on the definition
/// tells of each, in the order in which they were plugged.
pub(in crate::domain) fn set_live(definition: &mut Definition, number: u32, on: bool) {
    let list = listed(definition);
    if list.iter().all(|entry| entry.order.is_none()) {
        let online = list.iter_mut().filter(|entry| entry.enabled == YesNo::Yes);
        for (entry, order) in online.zip(1..) {
            entry.order = Some(order);
        }
    }
    set_online(definition, number, on, true);
}

/// Says of one virtual CPU whether it is there, and whether it can be unplugged.
fn set_online(definition: &mut Definition, number: u32, on: bool, removable: bool) {
    let list = listed(definition);
    let ordered = list.iter().any(|entry| entry.order.is_some());
    let next = list.iter().filter_map(|entry| entry.order).max().unwrap_or(0) + 1;
    let Some(entry) = list.iter_mut().find(|entry| entry.id == number) else { return };
    let before = entry.order;
    entry.enabled = on.into();
    entry.hotpluggable = Some((removable || !on).into());
    entry.order = (on && ordered).then_some(next);
    // The places in the order of plugging have no gaps.
    if let (false, Some(gone)) = (on, before) {
        for order in list.iter_mut().filter_map(|entry| entry.order.as_mut()) {
            *order -= u32::from(*order > gone);
        }
    }
    count_online(definition);
}

fn count_online(definition: &mut Definition) {
    let count = u32::try_from(online_vcpus(definition).len()).unwrap_or(u32::MAX);
    let vcpu = definition.vcpu.get_or_insert_default();
    vcpu.current = (count < vcpu.maximum).then_some(count);
}

/// Sets how many virtual CPUs are there from the start. Those that come are removable if asked.
fn set_count(definition: &mut Definition, count: u32, removable: bool) {
    let listed_one_by_one = definition.vcpus.as_ref().is_some_and(|vcpus| !vcpus.list.is_empty());
    let online = online_vcpus(definition);
    let now = u32::try_from(online.len()).unwrap_or(u32::MAX);
    let vcpu = definition.vcpu.get_or_insert_default();
    if !listed_one_by_one && (!removable || count <= now) {
        vcpu.current = (count < vcpu.maximum).then_some(count);
        return;
    }
    let maximum = vcpu.maximum;
    let chosen: Vec<u32> = if count >= now {
        let free = (0..maximum).filter(|number| !online.contains(number));
        free.take(usize::try_from(count - now).unwrap_or(0)).collect()
    } else {
        let highest = online.into_iter().rev();
        highest.take(usize::try_from(now - count).unwrap_or(0)).collect()
    };
    // An order of plugging makes no sense with a mere number.
    for entry in listed(definition).iter_mut() {
        entry.order = None;
    }
    for number in chosen {
        set_online(definition, number, count > now, removable);
    }
}

fn set_maximum(definition: &mut Definition, count: u32) -> Result<(), VirError> {
    if let Some(topology) = definition.cpu.as_ref().and_then(|cpu| cpu.topology.as_ref()) {
        let cpus = topology.sockets
            * topology.dies.unwrap_or(1)
            * topology.clusters.unwrap_or(1)
            * topology.cores
            * topology.threads;
        if cpus != count {
            return Err(VirError::invalid_arg("CPU topology doesn't match the desired vcpu count"));
        }
    }
    let current = definition.vcpu.as_ref().and_then(|vcpu| vcpu.current);
    let before = definition.vcpu.as_ref().map_or(1, |vcpu| vcpu.maximum);
    let vcpu = definition.vcpu.get_or_insert_default();
    vcpu.maximum = count;
    let current = current.unwrap_or(before).min(count);
    vcpu.current = (current < count).then_some(current);
    if let Some(vcpus) = definition.vcpus.as_mut().filter(|vcpus| !vcpus.list.is_empty()) {
        vcpus.list.retain(|entry| entry.id < count);
        for id in before..count {
            let (enabled, hotpluggable) = (YesNo::No, None);
            vcpus.list.push(VcpuEntry { id, enabled, hotpluggable, order: None });
        }
        count_online(definition);
    }
    if let Some(tune) = &mut definition.cpu_tune {
        tune.vcpu_pins.retain(|pin| pin.vcpu < count);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(xml: &str) -> Definition {
        let text = format!(
            "<domain type='qemu'><name>x</name><memory>1024</memory>{xml}\
             <os><type>hvm</type></os></domain>"
        );
        let parsed = model::domain::parse(&text, model::domain::ParseOptions::default());
        parsed.domain.expect("a definition")
    }

    #[test]
    fn counts_follow_the_maximum() {
        for (start, maximum, expected) in [
            ("<vcpu current='2'>3</vcpu>", 4, (Some(2), 4)),
            ("<vcpu current='2'>3</vcpu>", 2, (None, 2)),
            ("<vcpu>3</vcpu>", 4, (Some(3), 4)),
            ("<vcpu>3</vcpu>", 1, (None, 1)),
        ] {
            let mut definition = definition(start);
            set_maximum(&mut definition, maximum).expect("fits");
            let vcpu = definition.vcpu.expect("set");
            assert_eq!((vcpu.current, vcpu.maximum), expected, "{start} {maximum}");
        }
    }

    fn shown(definition: &Definition) -> String {
        let list = definition.vcpus.iter().flat_map(|vcpus| &vcpus.list);
        let entry = |entry: &VcpuEntry| {
            let on = if entry.enabled == YesNo::Yes { "on" } else { "off" };
            let hot = match entry.hotpluggable {
                Some(YesNo::Yes) => "+",
                Some(YesNo::No) => "-",
                None => "",
            };
            let order = entry.order.map(|order| order.to_string()).unwrap_or_default();
            format!("{on}{hot}{order}")
        };
        list.map(entry).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn which_virtual_cpus_a_number_means() {
        let mut definition = definition("<vcpu current='2'>4</vcpu>");
        set_count(&mut definition, 3, false);
        assert_eq!(shown(&definition), "");
        set_count(&mut definition, 2, true);
        assert_eq!(shown(&definition), "");
        set_count(&mut definition, 4, true);
        assert_eq!(shown(&definition), "on- on- on+ on+");
        set_count(&mut definition, 2, false);
        assert_eq!(shown(&definition), "on- on- off+ off+");
        set_count(&mut definition, 3, false);
        assert_eq!(shown(&definition), "on- on- on- off+");
        set_online(&mut definition, 1, false, true);
        set_online(&mut definition, 3, true, true);
        assert_eq!(shown(&definition), "on- off+ on- on+");
        set_maximum(&mut definition, 6).expect("no topology");
        assert_eq!(shown(&definition), "on- off+ on- on+ off off");
        set_maximum(&mut definition, 2).expect("no topology");
        assert_eq!(shown(&definition), "on- off+");
        assert_eq!(definition.vcpu.expect("there").current, Some(1));
    }

    #[test]
    fn the_order_of_plugging_has_no_gaps() {
        let mut definition = definition("<vcpu current='1'>4</vcpu>");
        for number in [2, 3] {
            set_live(&mut definition, number, true);
        }
        assert_eq!(shown(&definition), "on-1 off+ on+2 on+3");
        set_live(&mut definition, 2, false);
        assert_eq!(shown(&definition), "on-1 off+ off+ on+2");
    }

    #[test]
    fn places_are_listed_from_the_last_one() {
        let place = |id: u64, there: bool, count| HotpluggableCpu {
            kind: "cpu".to_owned(),
            vcpus_count: count,
            props: serde_json::json!({ "core-id": id }),
            qom_path: there.then(|| "/machine/cpu".to_owned()),
        };
        let id = |places: &[HotpluggableCpu], number| {
            place_of(places, number).and_then(|place| place.props["core-id"].as_u64())
        };
        let places = [place(2, false, 1), place(1, false, 1), place(0, true, 1)];
        assert_eq!(id(&places, 1), Some(1));
        assert_eq!(id(&places, 2), Some(2));
        assert_eq!(id(&places, 0), None);
        let places = [place(8, false, 8), place(0, true, 8)];
        assert_eq!(id(&places, 8), Some(8));
        assert_eq!(id(&places, 9), None);
    }
}
