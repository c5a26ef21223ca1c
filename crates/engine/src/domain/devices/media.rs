//! Another medium for a drive, or none.

use super::Change;
use super::converse::{Failure, converse, refusal, take_back};
use super::plug::lends;
use super::waiting::Answer;
use crate::domain::affect::{not_running, running};
use crate::domain::record::Domain;
use crate::domain::teardown;
use crate::domain::teardown::Made;
use crate::domain::vm::Vm;
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use host::monitor::MonitorError;
use model::domain::Domain as Definition;
use model::domain::devices::disk::{Disk, DiskBus, DiskDevice};
use model::domain::hotplug::{Device, Place, update::Updated};
use plan::qemu::{InUse, medium};
use plan::{PlugPlan, Undo};
use std::sync::Arc;
use std::time::Duration;

/// How long a guest has to unlock and open its drive.
const PATIENCE: Duration = Duration::from_secs(5);

impl Engine {
    /// Changes the medium: the new one is opened first, so that a refusal leaves the old one in.
    pub(super) async fn change_medium(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        updated: Updated,
        force: bool,
    ) -> Result<(), VirError> {
        let vm = running(domain)?;
        let live = domain.snapshot().live.clone().ok_or_else(not_running)?;
        let place = updated.place;
        let before = live.definition.clone();
        let mut definition = before.clone();
        let format = match &updated.device {
            Device::Disk(disk) => disk.driver.as_ref().and_then(|driver| driver.kind.clone()),
            _ => None,
        };
        place.put(definition.devices_mut(), updated.device);
        let (old, _) = self.plan_medium(&before, place, None).await?;
        let (new, definition) = self.plan_medium(&definition, place, Some(vm.last_node())).await?;
        let steps = new.steps.clone();
        let lent = crate::blocking(move || Ok(lends(&steps))).await?;
        vm.note_node(new.last_node);
        let name = Arc::clone(&domain.snapshot().name);
        let undo: Vec<Undo> = new.teardown().into_iter().cloned().collect();
        // Written down before anything is touched.
        let change = Change {
            definition: before.clone(),
            add: undo.clone(),
            made: Made { lent: Some(lent), ..Made::default() },
            ..Change::default()
        };
        if !vm.change(change).await {
            return Err(not_running());
        }
        let (mut results, done) = self.perform(&name, new.steps.clone()).await;
        let mut done = match done {
            Ok(()) => converse(&vm, &new, &mut results).await,
            Err(error) => Err(error.into()),
        };
        if done.is_ok() {
            done = swap(&vm, &before, &definition, place, &new, force).await.map_err(Failure::from);
        }
        if let Err(Failure { error, .. }) = done {
            take_back(&vm, &new.rollback(new.commands.len())).await;
            teardown::take_all_back(self, &name, undo.clone(), results.made()).await;
            let change = Change { definition: before, drop: undo, ..Change::default() };
            vm.change(change).await;
            return Err(error);
        }
        take_back(&vm, &old.rollback(old.commands.len())).await;
        let gone: Vec<Undo> =
            old.teardown().into_iter().filter(|step| !undo.contains(step)).cloned().collect();
        teardown::take_all_back(self, &name, gone.clone(), vm.made().await).await;
        let mut definition = definition;
        plan::qemu::show_volumes(&mut definition);
        // An empty drive keeps the format that it had.
        if let Some(disk) = definition.devices_mut().disks.get_mut(place.index)
            && disk.source.is_none()
        {
            disk.driver.get_or_insert_default().kind = format;
        }
        vm.change(Change { definition, publish: true, drop: gone, ..Change::default() }).await;
        Ok(())
    }

    /// The plan of a drive's medium; `last_node`: it is numbered anew after this.
    async fn plan_medium(
        self: &Arc<Self>,
        definition: &Definition,
        place: Place,
        last_node: Option<u32>,
    ) -> Result<(PlugPlan, Definition), VirError> {
        let engine = Arc::clone(self);
        let mut definition = definition.clone();
        crate::blocking(move || {
            let found = match last_node {
                Some(_) => engine.look_up_device(&definition, place)?,
                None => plan::qemu::Found::default(),
            };
            let plan = engine.with_found(&definition.clone(), &found, |inputs| {
                let last = match last_node {
                    Some(last_node) => {
                        let in_use = InUse { last_node, first_fdset: 0 };
                        plan::qemu::settle_device(&mut definition, place, inputs, in_use)?
                    }
                    None => 0,
                };
                medium(&definition, place, inputs, InUse { last_node: last, first_fdset: 0 })
            })?;
            Ok((plan, definition))
        })
        .await
    }
}

fn disk(definition: &Definition, place: Place) -> Option<Disk> {
    match place.get(definition.devices.as_ref()?)? {
        Device::Disk(disk) => Some(*disk),
        _ => None,
    }
}

/// QEMU's name of the drive.
fn drive(disk: &Disk) -> String {
    let alias = disk.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
    match disk.target.bus {
        // A USB drive is a SCSI drive on a bus of its own.
        Some(DiskBus::Usb) => format!("/machine/peripheral/{alias}/{alias}.0/legacy[0]"),
        _ => alias,
    }
}

/// Opens the drive, exchanges the medium, closes it.
async fn swap(
    vm: &Vm,
    before: &Definition,
    after: &Definition,
    place: Place,
    plan: &PlugPlan,
    force: bool,
) -> Result<(), VirError> {
    let (Some(old), Some(new)) = (disk(before, place), disk(after, place)) else {
        return Err(VirError::internal("the drive is not there"));
    };
    let (id, tray) = (drive(&old), old.device == DiskDevice::Cdrom);
    let alias = old.alias.as_ref().map(|alias| alias.name.clone()).unwrap_or_default();
    let told = |command: &'static str| move |error: MonitorError| refusal(command, &error);
    if tray {
        open_tray(vm, &id, &alias, force).await?;
    }
    if old.source.is_some() {
        let remove = qmp::cmd::blockdev_remove_medium(&id);
        vm.monitor.execute(remove).await.map_err(told("blockdev-remove-medium"))?;
    }
    if let Some(node) = plan.top_node().filter(|_| new.source.is_some()) {
        let insert = qmp::cmd::blockdev_insert_medium(&id, &node);
        vm.monitor.execute(insert).await.map_err(told("blockdev-insert-medium"))?;
    }
    if tray && new.source.is_some() {
        let close = qmp::cmd::blockdev_close_tray(&id);
        vm.monitor.execute(close).await.map_err(told("blockdev-close-tray"))?;
    }
    Ok(())
}

/// Opens a drive; one that the guest has locked is asked for, and waited for.
async fn open_tray(vm: &Vm, id: &str, alias: &str, force: bool) -> Result<(), VirError> {
    let key = format!("tray:{alias}");
    let opened = vm.waiting.register(&key);
    let locked = match vm.monitor.execute(qmp::cmd::blockdev_open_tray(id, force)).await {
        Ok(_) => false,
        Err(MonitorError::Qmp(error)) if error.desc.contains("is locked") && !force => true,
        Err(error) => {
            vm.waiting.forget(&key);
            return Err(refusal("blockdev-open-tray", &error));
        }
    };
    if !locked {
        vm.waiting.forget(&key);
        return Ok(());
    }
    match tokio::time::timeout(PATIENCE, opened).await {
        Ok(Ok(Answer::Done)) => Ok(()),
        _ => {
            vm.waiting.forget(&key);
            Err(VirError::new(
                ErrorCode::OPERATION_FAILED,
                format!("timed out waiting to open tray of '{alias}'"),
            )
            .hint("the guest has the drive in use; --force opens it all the same"))
        }
    }
}
