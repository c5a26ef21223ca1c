//! Bringing a device to a running guest: the plan's steps on the host, its commands, and taking
//! back what was done when one fails.

use super::Change;
use crate::domain::affect::running;
use crate::domain::launch::parse_command;
use crate::domain::power::monitor_error;
use crate::domain::record::Domain;
use crate::domain::results::Results;
use crate::domain::vm::Vm;
use crate::domain::{steps, teardown};
use crate::engine::Engine;
use crate::events::DomainEvent;
use diag::VirError;
use host::monitor::MonitorError;
use model::domain::Domain as Definition;
use model::domain::hotplug::{Attached, Place};
use plan::qemu::{InUse, observe_plugged, plug, settle_device};
use plan::{HotCommand, PlugPlan, QmpCommand, Step, Undo};
use qmp::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Engine {
    /// Plugs the controllers that a device needs, then the device.
    pub(super) async fn plug_attached(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        attached: Attached,
    ) -> Result<(), VirError> {
        let Attached { domain: mut definition, place, controllers } = attached;
        // What is not there yet is not told as if it were.
        let mut missing: Vec<Place> = vec![place];
        missing.extend(controllers.iter().copied());
        for next in controllers.into_iter().chain([place]) {
            missing.retain(|place| *place != next);
            definition = self.plug_device(domain, definition, next, &missing).await?;
        }
        Ok(())
    }

    /// Plugs one device of `definition`, in which the devices of `missing` are to come later.
    async fn plug_device(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        definition: Definition,
        place: Place,
        missing: &[Place],
    ) -> Result<Definition, VirError> {
        let vm = running(domain)?;
        let before =
            domain.snapshot().live.clone().ok_or_else(crate::domain::affect::not_running)?;
        let last_node = vm.last_node();
        let (mut definition, mut plan) =
            self.plan_plug(&definition, place, InUse { last_node, first_fdset: 0 }).await?;
        if plan.uses_fdsets() {
            let first_fdset = free_fdset(&vm).await?;
            (definition, plan) =
                self.plan_plug(&definition, place, InUse { last_node, first_fdset }).await?;
        }
        vm.note_node(plan.last_node);
        let name = Arc::clone(&domain.snapshot().name);
        let undo: Vec<Undo> = plan.teardown().into_iter().cloned().collect();
        let (mut results, done) = self.perform(&name, plan.steps.clone()).await;
        let told = match done {
            Ok(()) => {
                // Written down before QEMU hears of it.
                let made = results.made();
                let shown = without(&definition, missing);
                let change = Change {
                    definition: shown,
                    publish: false,
                    add: undo.clone(),
                    made,
                    drop: Vec::new(),
                };
                vm.change(change).await;
                converse(&vm, &plan, &mut results).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = told {
            teardown::take_all_back(self, &name, undo.clone(), results.made()).await;
            vm.change(Change {
                definition: before.definition.clone(),
                drop: undo,
                ..Change::default()
            })
            .await;
            return Err(error);
        }
        observe_plugged(&mut definition, place, &results.observed());
        let shown = without(&definition, missing);
        let alias = place.alias(&definition);
        vm.change(Change { definition: shown, publish: true, ..Change::default() }).await;
        if let Some(alias) = alias {
            vm.tell(DomainEvent::DeviceAdded { alias });
        }
        Ok(definition)
    }

    async fn plan_plug(
        self: &Arc<Self>,
        definition: &Definition,
        place: Place,
        in_use: InUse,
    ) -> Result<(Definition, PlugPlan), VirError> {
        let engine = Arc::clone(self);
        let mut definition = definition.clone();
        crate::blocking(move || {
            let found = engine.look_up_device(&definition, place)?;
            let plan = engine.with_found(&definition.clone(), &found, |inputs| {
                let last_node = settle_device(&mut definition, place, inputs, in_use)?;
                plug(&definition, place, inputs, InUse { last_node, ..in_use })
            })?;
            if let Some(error) = steps::unsupported(&plan.steps) {
                return Err(error);
            }
            steps::check_secrets(&engine, &plan.steps)?;
            Ok((definition, plan))
        })
        .await
    }

    /// Does the steps on the host; what was yielded until the first that failed.
    pub(super) async fn perform(
        self: &Arc<Self>,
        name: &Arc<str>,
        steps: Vec<Step>,
    ) -> (Results, Result<(), VirError>) {
        let (engine, name) = (Arc::clone(self), Arc::clone(name));
        let done = crate::blocking(move || {
            let mut results = Results::default();
            let mut outcome = Ok(());
            for step in &steps {
                outcome = steps::perform(&engine, &name, step, &mut results);
                if outcome.is_err() {
                    break;
                }
            }
            Ok((results, outcome))
        })
        .await;
        done.unwrap_or_else(|error| (Results::default(), Err(error)))
    }
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
async fn free_fdset(vm: &Vm) -> Result<usize, VirError> {
    let sets = vm.monitor.execute(qmp::Command::<Vec<Value>>::new("query-fdsets")).await;
    let sets = sets.map_err(|error| monitor_error(&error))?;
    let numbers = sets.iter().filter_map(|set| set.get("fdset-id")?.as_u64());
    let next = numbers.max().map_or(0, |last| last + 1);
    Ok(usize::try_from(next).unwrap_or(0))
}

/// QEMU's refusal of a command, in libvirt's words.
pub(super) fn refusal(command: &str, error: &MonitorError) -> VirError {
    match error {
        MonitorError::Qmp(error) => VirError::internal(format!(
            "unable to execute QEMU command '{command}': {}",
            error.desc
        )),
        other => monitor_error(other),
    }
}

/// Tells QEMU all of it; when it refuses something, takes back what came before.
pub(super) async fn converse(
    vm: &Vm,
    plan: &PlugPlan,
    results: &mut Results,
) -> Result<(), VirError> {
    for (done, command) in plan.commands.iter().enumerate() {
        if let Err(error) = tell(vm, command, results).await {
            for undo in plan.rollback(done) {
                take_back(vm, undo).await;
            }
            return Err(error);
        }
    }
    for command in &plan.after {
        let parsed = parse_command(command)?;
        let name = parsed.name().to_owned();
        match vm.monitor.execute(parsed).await {
            Ok(value) => {
                if let Some(result) = &command.result {
                    results.values.insert(result.clone(), value);
                }
            }
            // The device is there; what it lacks is said where somebody will look.
            Err(error) => tracing::warn!(id = vm.id, command = name, %error, "not done"),
        }
    }
    Ok(())
}

async fn tell(vm: &Vm, command: &HotCommand, results: &mut Results) -> Result<(), VirError> {
    let text = results.render(&command.arguments, &mut BTreeMap::new());
    let arguments = match serde_json::from_str(&text) {
        Ok(Value::Object(arguments)) => arguments,
        _ => return Err(VirError::internal("a plan's QMP command is malformed")),
    };
    let mut fds = Vec::new();
    if let Some(name) = &command.fd {
        let fd = results.fds.remove(name).ok_or_else(|| {
            VirError::internal(format!("no step yielded the descriptor '{}'", name.0))
        })?;
        fds.push(fd);
    }
    let request = qmp::Command::<Value>::new(command.name).args(arguments);
    let answer = vm.monitor.execute_with_fds(request, fds).await;
    let value = answer.map_err(|error| refusal(command.name, &error))?;
    if let Some(name) = &command.result {
        results.values.insert(name.clone(), value);
    }
    Ok(())
}

/// Tells QEMU something that may fail: what it was about may never have been there.
pub(super) async fn take_back(vm: &Vm, command: &QmpCommand) {
    let Ok(parsed) = parse_command(command) else { return };
    let name = parsed.name().to_owned();
    if let Err(error) = vm.monitor.execute(parsed).await {
        tracing::debug!(id = vm.id, command = name, %error, "not taken back");
    }
}
