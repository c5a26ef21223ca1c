//! What QEMU says of its jobs, and what follows from it.

use super::super::Change;
use super::super::release::{close_nodes, node_names, not_needed};
use super::super::removal::remove_image_fdsets;
use super::ending::{self, Ending};
use super::flags::COPY_SHALLOW;
use super::job::{BlockJob, Kind, State};
use crate::domain::affect::{acquire, not_running};
use crate::domain::hardware::block::{alias_of, disks, entry_of};
use crate::domain::power::monitor_error;
use crate::domain::record::Domain;
use crate::domain::start::teardown::{self, Made};
use crate::domain::view::{self, node_of_image, number_of_node, source_path};
use crate::domain::vm::Vm;
use crate::engine::Engine;
use crate::events::DomainEvent;
use diag::VirError;
use host::access::FileId;
use lifecycle::Request;
use model::domain::Domain as Definition;
use model::domain::devices::disk::Disk;
use plan::Undo;
use qmp::{Ack, Command, Value, cmd};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long it takes until news of a job are looked at again where QEMU did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest of these pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// By which the end of a job is waited for.
pub(super) fn concluded(name: &str) -> String {
    format!("job:{name}")
}

/// What QEMU says of a job.
enum Told {
    /// It works.
    Works,
    /// Both images are alike.
    Ready,
    /// It is over: well, or with this error.
    Over(Option<String>),
    /// It knows of none.
    Unknown,
}

fn told(jobs: &[Value], name: &str) -> Told {
    let text = |job: &Value, key: &str| job.get(key).and_then(Value::as_str).map(str::to_owned);
    let Some(job) = jobs.iter().find(|job| text(job, "id").as_deref() == Some(name)) else {
        return Told::Unknown;
    };
    match text(job, "status").as_deref() {
        Some("concluded") => Told::Over(text(job, "error")),
        Some("ready" | "standby") => Told::Ready,
        _ => Told::Works,
    }
}

impl Engine {
    /// Something happened to a job: looks at it once the domain's job is to be had.
    pub(in crate::domain) fn job_news(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        name: String,
    ) {
        let (engine, domain, vm) = (Arc::clone(self), Arc::clone(domain), Arc::clone(vm));
        self.runtime().spawn(async move {
            let client: Arc<str> = Arc::from("QEMU");
            let mut pause = PAUSE;
            loop {
                let ours = |now: Arc<Vm>| Arc::ptr_eq(&now, &vm);
                if !domain.vm().is_some_and(ours) || vm.monitor.is_closed() {
                    return;
                }
                let held = acquire(&domain, Request::ModifyLive, "block-job-news", &client).await;
                if let Ok(_held) = held {
                    match engine.settle_job(&domain, &vm, &name).await {
                        Ok(_) => return,
                        Err(error) => {
                            let domain = &domain.snapshot().name;
                            let error = error.message();
                            tracing::warn!(domain = %domain, name, error, "not dealt with yet");
                        }
                    }
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        });
    }

    /// Looks at all jobs, also at those that QEMU has of a daemon that died. The job is held.
    ///
    /// # Errors
    /// QEMU does not answer.
    pub(in crate::domain::devices) async fn settle_jobs(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
    ) -> Result<(), VirError> {
        for job in vm.block_jobs() {
            self.settle_job(domain, vm, &job.name).await?;
        }
        // What was to end them may never have reached QEMU; told twice, it does no harm.
        for job in vm.block_jobs() {
            let command = match job.state {
                State::Pivoting => Command::<Ack>::new("job-complete").arg("id", &*job.name),
                State::Aborting => {
                    Command::<Ack>::new("block-job-cancel").arg("device", &*job.name)
                }
                _ => continue,
            };
            if let Err(error) = vm.monitor.execute(command).await {
                tracing::warn!(id = vm.id, job = job.name, %error, "a job is not ended");
                if error.is_unanswered() {
                    return Err(monitor_error(&error));
                }
            }
        }
        let jobs = vm.monitor.execute(cmd::query_jobs()).await;
        for job in jobs.map_err(|error| monitor_error(&error))? {
            let text = |key: &str| job.get(key).and_then(Value::as_str).unwrap_or_default();
            // An image was being made.
            if text("id").starts_with("create-libvirt-") && text("status") == "concluded" {
                let command = Command::<Ack>::new("job-dismiss").arg("id", text("id"));
                let _ = vm.monitor.execute(command).await;
            }
        }
        Ok(())
    }

    /// Looks at a job, and does what follows; its outcome, where it is over. The job is held.
    ///
    /// # Errors
    /// QEMU does not answer; all is as before then, or is found half done by the next look.
    pub(super) async fn settle_job(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        name: &str,
    ) -> Result<Option<(State, Option<String>)>, VirError> {
        let Some(job) = vm.block_jobs().into_iter().find(|job| job.name == name) else {
            return Ok(None);
        };
        let jobs = vm.monitor.execute(cmd::query_jobs()).await;
        let jobs = jobs.map_err(|error| monitor_error(&error))?;
        let (known, error) = match told(&jobs, name) {
            Told::Works => {
                if job.state == State::New {
                    self.job_is(domain, vm, name, State::Running, None).await;
                }
                return Ok(None);
            }
            Told::Ready => {
                if matches!(job.state, State::New | State::Running) && job.kind.can_pivot() {
                    self.job_is(domain, vm, name, State::Ready, Some("yes")).await;
                    self.tell_job_event(domain, vm, &job, State::Ready);
                }
                return Ok(None);
            }
            Told::Over(error) => (true, error),
            Told::Unknown => (false, None),
        };
        let live = domain.snapshot().live.clone().ok_or_else(not_running)?;
        let definition = live.definition.clone();
        let Some(disk) = disks(&definition).iter().find(|disk| disk.target.dev == job.disk) else {
            // It left with its disk.
            self.forget_job(vm, definition, &job, known).await;
            return Ok(None);
        };
        // At once: see the pull.
        if known {
            let command = Command::<Ack>::new("job-dismiss").arg("id", name);
            if let Err(error) = vm.monitor.execute(command).await
                && error.is_unanswered()
            {
                return Err(monitor_error(&error));
            }
        }
        let error = error.or(job.error.clone());
        let done = match known && !job.kind.can_pivot() {
            true => error.is_none(),
            false => self.is_done(vm, disk, &job).await?,
        };
        let outcome = outcome(&job, known, error.is_some(), done);
        // Of a job that is over well, or that only says that it was ended.
        let pivoted = done && job.kind.can_pivot();
        let job = BlockJob { outcome: Some(outcome), error, ..job };
        self.note_outcome(vm, &definition, &job).await;
        if pivoted || outcome == State::Completed {
            self.bitmaps_follow(vm, disk, &job).await;
        }
        let ending = ending::ending(&definition, &job, outcome, pivoted);
        if pivoted {
            self.config_follows(domain, &definition, &ending.definition, &job).await;
        }
        self.images_go(domain, vm, &definition, ending, &job, true).await;
        self.tell_job_event(domain, vm, &job, outcome);
        Ok(Some((outcome, job.error)))
    }

    /// A job is over that concerns no disk any more.
    async fn forget_job(&self, vm: &Arc<Vm>, definition: Definition, job: &BlockJob, known: bool) {
        if known {
            let command = Command::<Ack>::new("job-dismiss").arg("id", &*job.name);
            let _ = vm.monitor.execute(command).await;
        }
        let jobs = without(vm.block_jobs(), job);
        vm.change(Change { definition, publish: true, jobs: Some(jobs), ..Change::default() })
            .await;
    }

    async fn note_outcome(&self, vm: &Arc<Vm>, definition: &Definition, job: &BlockJob) {
        let mut jobs = vm.block_jobs();
        for known in jobs.iter_mut().filter(|known| known.name == job.name) {
            known.clone_from(job);
        }
        let definition = definition.clone();
        vm.change(Change { definition, publish: true, jobs: Some(jobs), ..Change::default() })
            .await;
    }

    /// Whether QEMU's nodes are as they are when the job did its work: the image that the guest writes
    /// to for one with another image, else those below.
    async fn is_done(&self, vm: &Arc<Vm>, disk: &Disk, job: &BlockJob) -> Result<bool, VirError> {
        let asked = |error: host::monitor::MonitorError| monitor_error(&error);
        if job.kind.can_pivot() {
            let mirror = disk.mirror.as_ref().and_then(|mirror| mirror.source.as_ref()?.index);
            let drives = vm.monitor.execute(cmd::query_blockstats()).await.map_err(asked)?;
            return Ok(mirror.is_some() && mirror == image_below(&drives, disk));
        }
        let (upper, lower) = match job.kind {
            Kind::Pull { base } => (super::chain::numbers(disk).first().copied(), base),
            Kind::Commit { parent, base, .. } => (Some(parent), Some(base)),
            _ => return Ok(false),
        };
        // Flat: with all that is below each, QEMU 10 crashes when it is asked at the end of a job.
        let nodes = vm.monitor.execute(cmd::query_named_block_nodes(true)).await.map_err(asked)?;
        let names = view::node_names(&nodes);
        let file = |number: Option<u32>, key: &str| {
            let name = node_of_image(&names, number?)?;
            let named =
                |node: &&Value| node.get("node-name").and_then(Value::as_str) == Some(&name);
            nodes.iter().find(named)?.get(key)?.as_str().map(str::to_owned)
        };
        Ok(file(upper, "backing_file") == file(lower, "file"))
    }

    /// Closes the images that a job leaves behind, gives them back on the host, and has the guest's
    /// definition say what there is now. `over`: the job worked.
    pub(super) async fn images_go(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        before: &Definition,
        ending: Ending,
        job: &BlockJob,
        over: bool,
    ) {
        let name = Arc::clone(&domain.snapshot().name);
        let there = node_names(vm).await.unwrap_or_default();
        let nodes = ending::nodes(&ending.gone, &there);
        let kept = if nodes.is_empty() { nodes } else { close_nodes(vm, &nodes).await };
        self.objects_go(vm, &ending.gone).await;
        remove_image_fdsets(vm, before, &ending.definition).await;
        let passed = self.pass_on(before, &ending, job).await;
        let undo = ending::given_back(&ending, &vm.undo().await);
        let undo = not_needed(&ending.definition, undo);
        let made = if undo.is_empty() { Made::default() } else { vm.made().await };
        let mut change = self.give_back(&name, made, kept, undo).await;
        if let Some((path, file)) = passed {
            change.made.lent = Some([(path.clone(), file)].into());
            change.add.push(Undo::RestoreOwner(path));
        }
        let held = !change.hold.is_empty();
        if over && !ending.delete.is_empty() {
            let files = ending.delete.iter().cloned().map(Undo::RemoveFile).collect();
            teardown::take_all_back(self, &name, files, Made::default()).await;
        }
        let (definition, jobs) = (ending.definition, Some(without(vm.block_jobs(), job)));
        vm.change(Change { definition, publish: true, jobs, ..change }).await;
        match held {
            // What QEMU has open stays locked.
            true => self.release_later(domain),
            false => vm.unlock_change(before).await,
        }
    }

    /// A guest goes on with an image that was below the one it had: libvirtd wrote down nothing of that
    /// one when it lent it. It is given back like the other. The path, and which file it is.
    async fn pass_on(
        self: &Arc<Self>,
        before: &Definition,
        ending: &Ending,
        job: &BlockJob,
    ) -> Option<(String, FileId)> {
        let image = |definition: &Definition| {
            let disk = disks(definition).iter().find(|disk| disk.target.dev == job.disk)?;
            source_path(disk).map(str::to_owned)
        };
        let (old, new) = (image(before)?, image(&ending.definition)?);
        if old == new || !ending.paths.contains(&old) {
            return None;
        }
        let (guest, to) = (self.guest_uid(), new.clone());
        let passed = tokio::task::spawn_blocking(move || {
            host::access::pass_on(Path::new(&old), Path::new(&to), guest)
        });
        match passed.await {
            Ok(Ok(file)) => Some((new, file?)),
            Ok(Err(error)) => {
                tracing::warn!(path = new, %error, "it will stay with QEMU's user");
                None
            }
            Err(_) => None,
        }
    }

    /// Removes secrets and credentials of images that are closed.
    async fn objects_go(&self, vm: &Arc<Vm>, gone: &[u32]) {
        if gone.is_empty() {
            return;
        }
        let Ok(objects) = vm.monitor.execute(cmd::qom_list("/objects")).await else { return };
        for object in objects {
            let image = object.name.strip_prefix("obj").unwrap_or(&object.name);
            let ours = super::super::inventory::object_of_image(image);
            if ours.is_some_and(|number| gone.contains(&number)) {
                let command = Command::<Ack>::new("object-del").arg("id", object.name);
                let _ = vm.monitor.execute(command).await;
            }
        }
    }

    /// The stored definition goes on with the other image too, where it has the disk with the image
    /// that the guest had.
    async fn config_follows(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        before: &Definition,
        after: &Definition,
        job: &BlockJob,
    ) {
        if !domain.snapshot().is_persistent() {
            return;
        }
        let find = |definition: &Definition| {
            let disk = disks(definition).iter().find(|disk| disk.target.dev == job.disk)?;
            let mut alone = Definition::default();
            alone.devices_mut().disks.push(disk.clone());
            model::domain::live::strip(&mut alone);
            alone.devices_mut().disks.pop()
        };
        let (Some(before), Some(mut after)) = (find(before), find(after)) else { return };
        let flattens = matches!(job.kind, Kind::Copy { .. }) && job.flags & COPY_SHALLOW == 0;
        match (job.chain_given, flattens) {
            (true, _) => {}
            (false, true) => after.backing_store = Some(Box::default()),
            // The images say it themselves.
            (false, false) => after.backing_store = None,
        }
        let changed = self.modify_config_later(domain, move |stored| {
            let disks = stored.devices.iter_mut().flat_map(|devices| &mut devices.disks);
            for disk in disks.into_iter().filter(|disk| is_same(disk, &before)) {
                follow(disk, &after);
            }
            Ok(())
        });
        if let Err(error) = changed.await {
            let name = &domain.snapshot().name;
            tracing::error!(domain = %name, error = %error.message(),
                "its stored definition has the old image still");
        }
    }

    fn tell_job_event(&self, domain: &Arc<Domain>, vm: &Arc<Vm>, job: &BlockJob, state: State) {
        let Some(status) = state.event() else { return };
        let live = domain.snapshot().live.clone();
        let disk = live.as_ref().and_then(|live| {
            disks(&live.definition).iter().find(|disk| disk.target.dev == job.disk)
        });
        let path = disk.and_then(source_path).unwrap_or_default().to_owned();
        let (device, kind) = (job.disk.clone(), job.kind.number());
        vm.tell(DomainEvent::BlockJob { device, path, kind, status });
    }
}

/// The number of the image that the guest writes to, by the answer to `query-blockstats`: filters may
/// be above it.
fn image_below(drives: &[Value], disk: &Disk) -> Option<u32> {
    let drive = entry_of(drives, alias_of(disk))?;
    std::iter::successors(Some(drive), |node| node.get("parent"))
        .find_map(|node| number_of_node(node.get("node-name")?.as_str()?))
}

/// What became of a job that is over; `known`: QEMU says so; `done`: its nodes say so.
fn outcome(job: &BlockJob, known: bool, failed: bool, done: bool) -> State {
    match (job.outcome, job.state) {
        (Some(outcome), _) => outcome,
        (None, State::Aborting) if !done || known => State::Cancelled,
        (None, State::New) if !known => State::Failed,
        _ if known && !failed && !job.kind.can_pivot() => State::Completed,
        _ if failed => State::Failed,
        _ if done => State::Completed,
        // Somebody else ended it.
        _ if known => State::Cancelled,
        _ => State::Failed,
    }
}

fn without(mut jobs: Vec<BlockJob>, job: &BlockJob) -> Vec<BlockJob> {
    jobs.retain(|known| known.name != job.name);
    jobs
}

/// Whether a stored disk has the image that the guest's had, by what of that is stored.
fn is_same(stored: &Disk, live: &Disk) -> bool {
    let (Some(ours), Some(theirs)) = (&stored.source, &live.source) else { return false };
    stored.target.dev == live.target.dev
        && stored.kind == live.kind
        && (&ours.file, &ours.dev, &ours.name, &ours.pool, &ours.volume)
            == (&theirs.file, &theirs.dev, &theirs.name, &theirs.pool, &theirs.volume)
}

/// Gives a stored disk the image that the guest has, by what of that is stored.
fn follow(disk: &mut Disk, after: &Disk) {
    let Some(mut source) = after.source.clone() else { return };
    source.data_store = None;
    source.startup_policy = disk.source.as_ref().and_then(|source| source.startup_policy);
    disk.kind = after.kind;
    disk.source = Some(source);
    // They were the old image's; the new one has its own in its source.
    disk.encryption = None;
    disk.auth = None;
    disk.backing_store.clone_from(&after.backing_store);
    let there = after.driver.clone().unwrap_or_default();
    let driver = disk.driver.get_or_insert_default();
    driver.kind = there.kind;
    driver.metadata_cache = there.metadata_cache;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_became_of_a_job() {
        let (pull, copy) = (Kind::Pull { base: None }, Kind::Copy { shallow: false });
        use State::*;
        // Kind, state, known outcome, QEMU knows it, with an error, its nodes are as at the end.
        for (kind, state, noted, known, failed, done, expected) in [
            (pull, Running, None, true, false, true, Completed),
            (pull, Running, None, true, true, false, Failed),
            (pull, Aborting, None, true, true, false, Cancelled),
            (pull, Running, None, false, false, true, Completed),
            (pull, Running, None, false, false, false, Failed),
            (pull, New, None, false, false, false, Failed),
            (pull, New, None, true, false, true, Completed),
            (pull, Running, Some(Completed), false, false, true, Completed),
            (copy, Ready, None, true, false, false, Cancelled),
            (copy, Aborting, None, true, false, false, Cancelled),
            (copy, Aborting, None, false, false, false, Cancelled),
            (copy, Pivoting, None, true, false, true, Completed),
            (copy, Pivoting, None, true, true, false, Failed),
            (copy, Pivoting, None, false, false, true, Completed),
            (copy, Running, None, true, true, false, Failed),
            (copy, Running, None, false, false, false, Failed),
        ] {
            let job = BlockJob::new("j".to_owned(), "vda", kind, 0);
            let job = BlockJob { state, outcome: noted, ..job };
            let what = format!("{kind:?} {state:?} {noted:?} {known} {failed} {done}");
            assert_eq!(outcome(&job, known, failed, done), expected, "{what}");
        }
    }

    #[test]
    fn which_image_is_below_filters() {
        let disk = Disk {
            alias: Some(model::domain::alias::Alias { name: "virtio-disk0".to_owned() }),
            ..Disk::default()
        };
        let qdev = "/machine/peripheral/virtio-disk0/virtio-backend";
        let image = json!({"node-name": "libvirt-6-format",
                           "parent": {"node-name": "libvirt-6-storage"}});
        let filter = json!({"node-name": "libvirt-2-filter", "parent": image});
        for (node, parent, expected) in [
            ("libvirt-6-format", json!({"node-name": "libvirt-6-storage"}), Some(6)),
            ("libvirt-3-filter", filter.clone(), Some(6)),
            ("libvirt-CoR-vda", filter, Some(6)),
            ("#block12", image, Some(6)),
            ("mine", json!({}), None),
        ] {
            let drive = json!({"qdev": qdev, "node-name": node, "parent": parent});
            assert_eq!(image_below(&[json!({}), drive], &disk), expected, "{node}");
        }
        assert_eq!(image_below(&[], &disk), None);
    }

    #[test]
    fn what_qemu_says() {
        let job = |status: &str| vec![json!({"id": "j", "status": status, "error": "no room"})];
        assert!(matches!(told(&job("running"), "j"), Told::Works));
        assert!(matches!(told(&job("ready"), "j"), Told::Ready));
        assert!(
            matches!(told(&job("concluded"), "j"), Told::Over(Some(error)) if error == "no room")
        );
        assert!(matches!(told(&job("running"), "k"), Told::Unknown));
    }
}
