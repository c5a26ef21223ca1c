//! Another medium for a drive, or none.

use super::Change;
use super::blockjobs::refuse_working;
use super::converse::{Failure, converse};
use super::note::{Images, MediumNote, UpdateNote};
use super::plug::{free_fdset, lend_once, lends};
use super::release::{close_behind, not_needed};
use super::removal::remove_image_fdsets;
use super::unfinished::Outcome;
use super::waiting::Answer;
use crate::domain::affect::{not_running, running};
use crate::domain::hardware::block::alias_of;
use crate::domain::record::Domain;
use crate::domain::start::teardown::Made;
use crate::domain::vm::Vm;
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use host::monitor::MonitorError;
use model::domain::Domain as Definition;
use model::domain::devices::disk::{Disk, DiskDevice, TrayState};
use model::domain::hotplug::{Device, Place, update::Updated};
use plan::PlugPlan;
use plan::qemu::{InUse, drive_id, medium};
use std::sync::Arc;
use std::time::Duration;

/// How long a guest has to unlock and open its drive.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often a guest that closes its drive in the middle of an exchange is put up with.
const CLOSED_AT_MOST: u32 = 10;

/// An exchange of a drive's medium.
pub(super) struct Exchange {
    /// The guest with the old one.
    pub before: Definition,
    /// The guest with the new one.
    pub after: Definition,
    /// The old one's images.
    pub old: Images,
    /// The new one's.
    pub new: Images,
}

impl Exchange {
    fn note(&self, drive: &Disk) -> MediumNote {
        MediumNote {
            id: drive_id(drive).unwrap_or_default(),
            alias: alias_of(drive).to_owned(),
            tray: drive.device == DiskDevice::Cdrom,
            was_open: drive.target.tray == Some(TrayState::Open),
            old: self.old.clone(),
            new: self.new.clone(),
        }
    }
}

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
        let working = |disk: Disk| refuse_working(&vm.block_jobs(), &disk).is_err();
        if disk(&before, place).is_some_and(working) {
            let text = "can't change media while a block job is running on the device";
            return Err(VirError::new(ErrorCode::OPERATION_UNSUPPORTED, text));
        }
        let mut definition = before.clone();
        let format = match &updated.device {
            Device::Disk(disk) => disk.driver.as_ref().and_then(|driver| driver.kind.clone()),
            _ => None,
        };
        place.put(definition.devices_mut(), updated.device);
        let (old, _) = self.plan_medium(&before, place, None).await?;
        let wanted = definition;
        let numbers = InUse { last_node: vm.last_node(), first_fdset: 0 };
        let (mut new, mut definition) = self.plan_medium(&wanted, place, Some(numbers)).await?;
        if new.uses_fdsets() {
            let numbers = InUse { first_fdset: free_fdset(&vm).await?, ..numbers };
            (new, definition) = self.plan_medium(&wanted, place, Some(numbers)).await?;
        }
        let steps = new.steps.clone();
        let mut lent = crate::blocking(move || Ok(lends(&steps))).await?;
        lend_once(&mut new, &mut lent, &vm.undo().await, &vm.made().await);
        vm.note_node(new.last_node);
        let name = Arc::clone(&domain.snapshot().name);
        let mut after = definition.clone();
        plan::qemu::show_volumes(&mut after);
        new.note_nodes(&mut after);
        // An empty drive keeps the format that it had.
        if let Some(disk) = after.devices_mut().disks.get_mut(place.index)
            && disk.source.is_none()
        {
            disk.driver.get_or_insert_default().kind = format;
        }
        let exchange = Exchange {
            new: images(&before, &definition, place, &new),
            old: images(&after, &before, place, &old),
            before: before.clone(),
            after,
        };
        let Some(drive) = disk(&before, place) else {
            return Err(VirError::internal("the drive is not there"));
        };
        let note = exchange.note(&drive);
        vm.lock_change(&exchange.after).await?;
        // Written down before anything is touched.
        let change = Change {
            definition: before,
            add: new.teardown().into_iter().cloned().collect(),
            made: Made { lent: Some(lent), ..Made::default() },
            update: Some(Some(Box::new(UpdateNote {
                place,
                after: exchange.after.clone(),
                medium: Some(note.clone()),
            }))),
            ..Change::default()
        };
        if let Err(error) = vm.begin_change(change).await {
            vm.unlock_change(&exchange.after).await;
            return Err(error);
        }
        let (mut results, done) = self.perform(&name, &new).await;
        let mut done = match done {
            Ok(()) => converse(&vm, &new, &mut results).await,
            Err(error) => Err(error.into()),
        };
        if done.is_ok() {
            done = swap(&vm, &drive, &exchange, force).await;
        }
        let Err(Failure { error, unanswered, .. }) = done else {
            self.medium_is_in(domain, &vm, exchange).await;
            return Ok(());
        };
        // What is in the drive decides, once QEMU tells. One that gave no answer is not waited for
        // once more: the client has waited long enough.
        let Exchange { after, .. } = exchange;
        if unanswered {
            self.check_devices(domain, vm);
            return Err(error);
        }
        match self.finish_medium(domain, &vm, place, &after, note).await {
            // What was refused was no more than the closing of the drive.
            Ok(Outcome::In) => return Ok(()),
            Ok(Outcome::Out | Outcome::Neither) => {}
            Err(_) => self.check_devices(domain, vm),
        }
        Err(error)
    }

    /// The new medium is in its drive: the old one goes.
    pub(super) async fn medium_is_in(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        exchange: Exchange,
    ) {
        let Exchange { before, after, old, .. } = exchange;
        self.medium_goes(domain, vm, after, &before, old, true).await;
    }

    /// The new medium did not come into its drive: it goes.
    pub(super) async fn medium_stays_out(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        exchange: Exchange,
    ) {
        let Exchange { before, after, new, .. } = exchange;
        self.medium_goes(domain, vm, before, &after, new, false).await;
    }

    /// The `images` of a medium go, which `other` has and `definition`, the guest's from now on,
    /// has not.
    async fn medium_goes(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        definition: Definition,
        other: &Definition,
        images: Images,
        publish: bool,
    ) {
        let commands = images.commands();
        let kept = close_behind(vm, &commands.iter().collect::<Vec<_>>()).await;
        remove_image_fdsets(vm, other, &definition).await;
        let made = if images.undo.is_empty() { Made::default() } else { vm.made().await };
        let change = self.give_back(&domain.snapshot().name, made, kept, images.undo).await;
        let held = !change.hold.is_empty();
        vm.change(Change { definition, publish, update: Some(None), ..change }).await;
        match held {
            // What QEMU has open stays locked.
            true => self.release_later(domain),
            false => vm.unlock_change(other).await,
        }
    }

    /// The plan of a drive's medium; `anew`: it is numbered after these, else it is in the drive.
    async fn plan_medium(
        self: &Arc<Self>,
        definition: &Definition,
        place: Place,
        anew: Option<InUse>,
    ) -> Result<(PlugPlan, Definition), VirError> {
        let engine = Arc::clone(self);
        let mut definition = definition.clone();
        crate::blocking(move || {
            let found = match anew {
                Some(_) => engine.look_up_device(&definition, place)?,
                None => plan::qemu::Found {
                    nbdkit: engine.nbdkit(&definition),
                    ..plan::qemu::Found::default()
                },
            };
            let plan = engine.with_found(&definition.clone(), &found, |inputs| {
                let mut numbers = anew.unwrap_or_default();
                match anew {
                    Some(in_use) => {
                        numbers.last_node =
                            plan::qemu::settle_device(&mut definition, place, inputs, in_use)?;
                        medium(&definition, place, inputs, numbers)
                    }
                    None => plan::qemu::medium_inside(&definition, place, inputs),
                }
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

/// The images of a medium that a plan opens. What they need of the host and a guest of the
/// definition `left` needs too is not taken back with them.
fn images(left: &Definition, with: &Definition, place: Place, plan: &PlugPlan) -> Images {
    let loaded = disk(with, place).is_some_and(|disk| disk.source.is_some());
    let close = plan.rollback(plan.commands.len());
    Images {
        top: plan.top_node().filter(|_| loaded),
        close: close.into_iter().map(|command| command.json.clone()).collect(),
        undo: not_needed(left, plan.teardown().into_iter().cloned().collect()),
    }
}

/// Opens the drive, exchanges the medium, closes it: an empty one too, as libvirt does.
async fn swap(vm: &Vm, drive: &Disk, exchange: &Exchange, force: bool) -> Result<(), Failure> {
    let (id, tray) = (drive_id(drive).unwrap_or_default(), drive.device == DiskDevice::Cdrom);
    let told = |command: &'static str| move |error: MonitorError| Failure::of(command, &error);
    if tray {
        open_tray(vm, &id, alias_of(drive), force).await?;
    }
    let mut closed = 0;
    if drive.source.is_some() {
        let remove = || qmp::cmd::blockdev_remove_medium(&id);
        while let Err(error) = vm.monitor.execute(remove()).await {
            closed_again(&error, &mut closed).map_err(told("blockdev-remove-medium"))?;
            open_tray(vm, &id, alias_of(drive), force).await?;
        }
    }
    if let Some(node) = &exchange.new.top {
        let insert = || qmp::cmd::blockdev_insert_medium(&id, node);
        while let Err(error) = vm.monitor.execute(insert()).await {
            closed_again(&error, &mut closed).map_err(told("blockdev-insert-medium"))?;
            open_tray(vm, &id, alias_of(drive), force).await?;
        }
    }
    if tray {
        let close = qmp::cmd::blockdev_close_tray(&id);
        vm.monitor.execute(close).await.map_err(told("blockdev-close-tray"))?;
    }
    Ok(())
}

/// Whether the guest has closed its drive meanwhile (firmware that resets it does), and may do so
/// once more; else the fault.
pub(super) fn closed_again(error: &MonitorError, times: &mut u32) -> Result<(), MonitorError> {
    *times += 1;
    match error {
        MonitorError::Qmp(said) if said.desc.contains("is not open") && *times < CLOSED_AT_MOST => {
            Ok(())
        }
        other => Err(other.clone()),
    }
}

/// Opens a drive; one that the guest has locked is asked for, and waited for.
async fn open_tray(vm: &Vm, id: &str, alias: &str, force: bool) -> Result<(), Failure> {
    let key = format!("tray:{alias}");
    let opened = vm.waiting.register(&key);
    let locked = match vm.monitor.execute(qmp::cmd::blockdev_open_tray(id, force)).await {
        Ok(_) => false,
        Err(MonitorError::Qmp(error)) if error.desc.contains("is locked") && !force => true,
        Err(error) => {
            vm.waiting.forget(&key);
            return Err(Failure::of("blockdev-open-tray", &error));
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
            .hint("the guest has the drive in use; --force opens it all the same")
            .into())
        }
    }
}
