//! Bringing a device to a running guest: the plan's steps on the host, its commands, and taking
//! back what was done when one fails.

use super::Change;
use super::converse::{Failure, converse};
use super::host_end;
use super::release::not_needed;
use super::settle::Unsettled;
use crate::domain::affect::{not_running, running};
use crate::domain::power::monitor_error;
use crate::domain::record::Domain;
use crate::domain::start::device_list::device_at;
use crate::domain::start::results::Results;
use crate::domain::start::steps;
use crate::domain::start::teardown::Made;
use crate::domain::vm::Vm;
use crate::engine::Engine;
use crate::events::DomainEvent;
use diag::VirError;
use host::access::FileId;
use host::own_dev;
use model::domain::Domain as Definition;
use model::domain::hotplug::{Attached, DeviceKind, Place};
use plan::qemu::{InUse, observe_plugged, plug, settle_device};
use plan::{Action, PlugPlan, Step, Undo};
use qmp::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A device of a definition and how it comes.
pub(super) struct Planned {
    /// The definition with it.
    pub definition: Definition,
    /// How it comes.
    pub plan: PlugPlan,
    /// The files that it will be lent.
    pub lends: BTreeMap<String, FileId>,
}

/// Devices that come one after the other: the controllers that one needs, then it.
pub(super) struct Coming {
    /// The first, planned.
    pub first: Planned,
    /// Their places, in order; the first's is the first.
    pub places: Vec<Place>,
}

/// Why a device did not come.
pub(super) struct Refused {
    /// What the client is told.
    pub error: VirError,
    /// QEMU has not answered: what becomes of the device is settled when it does.
    pub unsettled: Option<Box<Unsettled>>,
}

impl From<VirError> for Refused {
    fn from(error: VirError) -> Self {
        Self { error, unsettled: None }
    }
}

impl Engine {
    /// Plans the coming of a device. May wait for disks: call where blocking is allowed.
    ///
    /// # Errors
    /// Everything that stands in the way; nothing was touched.
    pub(super) fn plan_attached(
        &self,
        domain: &Domain,
        attached: Attached,
    ) -> Result<Coming, VirError> {
        let Attached { domain: definition, place, controllers } = attached;
        let places: Vec<Place> = controllers.into_iter().chain([place]).collect();
        let first = places.first().copied().unwrap_or(place);
        let in_use = InUse { last_node: running(domain)?.last_node(), first_fdset: 0 };
        Ok(Coming { first: self.plan_plug(definition, first, in_use)?, places })
    }

    /// Plugs the controllers that a device needs, then the device.
    pub(super) async fn plug_coming(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        coming: Coming,
    ) -> Result<(), Refused> {
        let Coming { first, places } = coming;
        let mut next = Some(first);
        // What is not there yet is not told as if it were.
        let mut missing = places.clone();
        let mut definition = Definition::default();
        for place in places {
            missing.retain(|other| *other != place);
            let planned = match next.take() {
                Some(planned) => planned,
                None => self.plan_later(domain, definition, place, 0).await?,
            };
            definition = self.plug_device(domain, planned, place, &missing).await?;
        }
        Ok(())
    }

    /// Plugs one device of a definition, in which the devices of `missing` are to come later.
    async fn plug_device(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        mut planned: Planned,
        place: Place,
        missing: &[Place],
    ) -> Result<Definition, Refused> {
        let vm = running(domain)?;
        let before = domain.snapshot().live.clone().ok_or_else(not_running)?;
        if planned.plan.uses_fdsets() {
            let first_fdset = free_fdset(&vm).await?;
            planned = self.plan_later(domain, planned.definition, place, first_fdset).await?;
        }
        let Planned { mut definition, mut plan, mut lends } = planned;
        lend_once(&mut plan, &mut lends, &vm.undo().await, &vm.made().await);
        vm.note_node(plan.last_node);
        let name = Arc::clone(&domain.snapshot().name);
        let undo: Vec<Undo> = plan.teardown().into_iter().cloned().collect();
        // Written down before anything is touched, and before QEMU hears of it.
        let change = Change {
            definition: without(&definition, missing),
            add: undo.clone(),
            made: Made { lent: Some(lends), ..Made::default() },
            ..Change::default()
        };
        vm.begin_change(change).await?;
        let (mut results, done) = self.perform(&name, &plan).await;
        let mut told = done.map_err(Failure::from);
        if told.is_ok() {
            // What only the steps know: ports, devices, files.
            let made = results.made();
            if !(made.ports.is_empty() && made.links.is_empty() && made.created.is_empty()) {
                let definition = without(&definition, missing);
                vm.change(Change { definition, made, ..Change::default() }).await;
            }
            told = converse(&vm, &plan, &mut results).await;
        }
        if let Err(Failure { error, unanswered, kept }) = told {
            let unsettled = Unsettled {
                before: before.definition.clone(),
                definition,
                place,
                plan,
                undo,
                made: results.made(),
            };
            if unanswered {
                return Err(Refused { error, unsettled: Some(Box::new(unsettled)) });
            }
            self.did_not_come(domain, &vm, unsettled, kept).await;
            return Err(error.into());
        }
        plan.note_nodes(&mut definition);
        observe_plugged(&mut definition, place, &results.observed());
        let shown = without(&definition, missing);
        let alias = place.alias(&definition);
        vm.change(Change { definition: shown, publish: true, ..Change::default() }).await;
        if let Some(alias) = alias {
            vm.tell(DomainEvent::DeviceAdded { alias });
        }
        Ok(definition)
    }

    /// Takes back on the host what was made for a device that QEMU does not have; `kept`: images
    /// that it has open all the same.
    pub(super) async fn did_not_come(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Vm,
        unsettled: Unsettled,
        kept: Vec<String>,
    ) {
        let Unsettled { before: definition, undo, made, definition: coming, place, .. } = unsettled;
        host_end::leave(&coming, place);
        let undo = not_needed(&definition, undo);
        let change = self.give_back(&domain.snapshot().name, made, kept, undo).await;
        let held = !change.hold.is_empty();
        vm.change(Change { definition, ..change }).await;
        if held {
            self.release_later(domain);
        }
    }

    async fn plan_later(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        definition: Definition,
        place: Place,
        first_fdset: usize,
    ) -> Result<Planned, VirError> {
        let in_use = InUse { last_node: running(domain)?.last_node(), first_fdset };
        let engine = Arc::clone(self);
        crate::blocking(move || engine.plan_plug(definition, place, in_use)).await
    }

    pub(super) fn plan_plug(
        &self,
        mut definition: Definition,
        place: Place,
        in_use: InUse,
    ) -> Result<Planned, VirError> {
        let hostdevs = &mut definition.devices_mut().hostdevs;
        let own = (place.kind == DeviceKind::Hostdev).then_some(place.index);
        self.find_usb_devices(own.and_then(|index| hostdevs.get_mut(index)).into_iter())?;
        let found = self.look_up_device(&definition, place)?;
        let plan = self.with_found(&definition.clone(), &found, |inputs| {
            let last_node = settle_device(&mut definition, place, inputs, in_use)?;
            let plan = plug(&definition, place, inputs, InUse { last_node, ..in_use })?;
            let lacking = plan.lacking(inputs.caps, place.kind.word());
            if lacking.is_empty() { Ok(plan) } else { Err(lacking) }
        })?;
        if let Some(error) = steps::unsupported(&plan.steps) {
            return Err(error);
        }
        steps::check_secrets(self, &plan.steps)?;
        Ok(Planned { definition, lends: lends(&plan.steps), plan })
    }

    /// Does the plan's steps on the host; what was yielded until the first that failed.
    pub(super) async fn perform(
        self: &Arc<Self>,
        name: &Arc<str>,
        plan: &PlugPlan,
    ) -> (Results, Result<(), VirError>) {
        let domain = self.registry.by_name(name);
        let uuid = domain.as_ref().map_or([0; 16], |domain| domain.uuid.0);
        let mut results = Results { uuid, ..Results::default() };
        let pid = domain.as_ref().and_then(|domain| Some(domain.snapshot().live.as_ref()?.pid));
        if let Some(domain) = domain {
            let wanted = plan.commands.iter().filter_map(|command| command.fd.as_ref());
            if let Err(error) = self.hand_over_descriptors(&domain, wanted, &mut results) {
                return (results, Err(error));
            }
        }
        if plan.steps.is_empty() {
            return (results, Ok(()));
        }
        let (engine, name) = (Arc::clone(self), Arc::clone(name));
        let plan_steps = plan.steps.clone();
        let done = crate::blocking(move || {
            let mut outcome = Ok(());
            let own_dev = pid.is_some_and(|pid| own_dev::has_own_dev(pid).unwrap_or(false));
            // There QEMU's user has nodes of its own; the host's are not lent.
            let steps = plan_steps.iter().filter(|step| !(own_dev && lends_device(step)));
            for step in steps {
                outcome = steps::perform(&engine, &name, step, &mut results);
                if outcome.is_err() {
                    break;
                }
            }
            if let Some(pid) = pid {
                let undo = plan_steps.iter().filter_map(|step| Some(&step.undo.as_ref()?.0));
                engine.place_helpers(&name, pid, undo);
            }
            Ok((results, outcome))
        })
        .await;
        done.unwrap_or_else(|error| (Results::default(), Err(error)))
    }
}

/// Whether a step lends a device's node.
fn lends_device(step: &Step) -> bool {
    matches!(&step.action, Action::Grant(grant)
        if grant.path.starts_with("/dev/") && device_at(&grant.path).is_some())
}

/// Which files a plan lends: written down before, so that a daemon which dies meanwhile leaves
/// word. To give back a file that was not lent changes nothing.
pub(in crate::domain) fn lends(steps: &[Step]) -> BTreeMap<String, FileId> {
    let grants = steps.iter().filter_map(|step| match &step.action {
        Action::Grant(grant) if grant.owner.is_some() => Some(grant),
        _ => None,
    });
    let ids = grants.filter_map(|grant| {
        Some((grant.path.clone(), host::access::id_of(Path::new(&grant.path))?))
    });
    ids.collect()
}

/// Takes out of a plan the lending of files that the guest has been lent already, by what is to be
/// taken back of it (`undo`) and the files that were `made` its own: however many of its disks use a
/// file, that is lent once and given back once. A path that leads to another file by now is lent.
pub(super) fn lend_once(
    plan: &mut PlugPlan,
    lends: &mut BTreeMap<String, FileId>,
    undo: &[Undo],
    made: &Made,
) {
    plan.steps.retain(|step| {
        let Some((there @ Undo::RestoreOwner(path), _)) = &step.undo else { return true };
        // Of a guest that libvirtd started nobody knows which files they were.
        let same = made.lent.as_ref().is_none_or(|lent| lent.get(path) == lends.get(path));
        if !(undo.contains(there) && same) {
            return true;
        }
        lends.remove(path);
        false
    });
}

/// A definition without devices that are to come later. They stand behind the others in their
/// lists only by chance, so the last of a list goes first.
fn without(definition: &Definition, missing: &[Place]) -> Definition {
    let mut places = missing.to_vec();
    places.sort_by_key(|place| std::cmp::Reverse(place.index));
    let mut shown = definition.clone();
    for place in places {
        model::domain::hotplug::take_out(&mut shown, place);
    }
    shown
}

/// The first number above those of all descriptor sets.
pub(super) async fn free_fdset(vm: &Vm) -> Result<usize, VirError> {
    let sets = vm.monitor.execute(qmp::Command::<Vec<Value>>::new("query-fdsets")).await;
    let sets = sets.map_err(|error| monitor_error(&error))?;
    let numbers = sets.iter().filter_map(|set| set.get("fdset-id")?.as_u64());
    let next = numbers.max().map_or(0, |last| last + 1);
    Ok(usize::try_from(next).unwrap_or(0))
}
