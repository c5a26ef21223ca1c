//! Beginning a job: it is written down, QEMU is told, and it is written down what came of that.

use super::super::Change;
use super::super::converse::refusal;
use super::super::release::node_names;
use super::job::{BlockJob, Kind, State};
use super::names;
use crate::domain::affect::{not_running, running};
use crate::domain::hardware::block::{alias_of, entry_of};
use crate::domain::power::monitor_error;
use crate::domain::record::Domain;
use crate::domain::start::teardown::Made;
use crate::domain::view::node_of_image;
use crate::domain::vm::Vm;
use crate::engine::Engine;
use crate::storage::probe;
use diag::{ErrorCode, VirError};
use host::monitor::MonitorError;
use model::domain::Domain as Definition;
use model::domain::devices::disk::{Disk, DiskMirror};
use plan::Undo;
use qmp::{Ack, Command, Value, cmd};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a MiB.
const MIB: u64 = 1 << 20;

/// A job that can begin.
#[derive(Debug)]
pub(super) struct Begin {
    /// The job.
    pub job: BlockJob,
    /// The guest's definition before.
    pub before: Definition,
    /// While it works.
    pub during: Definition,
    /// What is to be taken back on the host when it is over, last step first.
    pub undo: Vec<Undo>,
    /// What was made for it.
    pub made: Made,
}

/// A disk of a running guest whose images a job is to work on.
pub(super) struct Working {
    /// The guest.
    pub vm: Arc<Vm>,
    /// Its definition.
    pub definition: Definition,
    /// The disk's place in it.
    pub place: usize,
    /// The disk.
    pub disk: Disk,
    /// The nodes that QEMU has.
    pub nodes: BTreeSet<String>,
    /// That which is in the drive: a filter, or the image's.
    pub root: Option<String>,
}

impl Working {
    /// The node that stands for an image.
    ///
    /// # Errors
    /// QEMU has none.
    pub fn node(&self, number: u32) -> Result<String, VirError> {
        node_of_image(&self.nodes, number).ok_or_else(|| {
            VirError::internal(format!("QEMU has no block node for image {number} of the disk"))
        })
    }

    /// The node by which the guest reaches its image.
    ///
    /// # Errors
    /// QEMU has none.
    pub fn device(&self) -> Result<String, VirError> {
        match &self.root {
            Some(root) => Ok(root.clone()),
            None => self.node(self.top().unwrap_or(0)),
        }
    }

    /// The number of the image that the guest writes to.
    pub fn top(&self) -> Option<u32> {
        self.disk.source.as_ref()?.index
    }

    /// The job as it begins; it changes nothing of the definition.
    pub fn begin(&self, job: BlockJob) -> Begin {
        let (before, during) = (self.definition.clone(), self.definition.clone());
        Begin { job, before, during, undo: Vec::new(), made: Made::default() }
    }

    /// The same of a job with another image.
    pub fn begin_mirror(&self, job: BlockJob, mirror: DiskMirror) -> Begin {
        let mut begin = self.begin(job);
        if let Some(disk) = begin.during.devices_mut().disks.get_mut(self.place) {
            disk.mirror = Some(Box::new(mirror));
        }
        begin
    }

    /// How the image `upper` is to name `base` once what is between them is gone.
    ///
    /// # Errors
    /// `relative` is asked for, and one of the images between is named in another way; or the base
    /// cannot be named.
    pub fn backing_name(&self, upper: u32, base: u32, relative: bool) -> Result<String, VirError> {
        if relative {
            let from = self.disk.images().skip_while(|image| image.number != Some(upper));
            let part = from.take_while(|image| image.number != Some(base));
            let names: Vec<_> =
                part.map(|image| backing_in_header(&names::path_of(&image))).collect();
            return names::relative(&names);
        }
        let chain = plan::block::Chain::new(&self.disk);
        let numbers: Vec<_> = self.disk.images().map(|image| image.number).collect();
        let place = numbers.iter().position(|number| *number == Some(base));
        let image = place.and_then(|place| chain.images.get(place));
        let image = image.ok_or_else(|| VirError::internal("the base is not in the chain"))?;
        plan::block::overlay(image).map_err(|error| VirError::new(error.code(), error.to_string()))
    }
}

/// The name of what an image stands on, as its header has it; empty where it has none. May block.
fn backing_in_header(path: &str) -> String {
    let image = probe::probe_path(Path::new(path)).ok();
    image.and_then(|image| image.backing).map(|backing| backing.name).unwrap_or_default()
}

/// The node in a disk's drive, by the answer to `query-block`.
pub(super) fn inside<'a>(drives: &'a [Value], disk: &Disk) -> Option<&'a str> {
    entry_of(drives, alias_of(disk))?.get("inserted")?.get("node-name")?.as_str()
}

/// Bytes a second, of a number of those or of MiB.
///
/// # Errors
/// libvirt's: more than QEMU can be told.
pub(super) fn speed(bandwidth: u64, bytes: bool) -> Result<u64, VirError> {
    let most = i64::MAX.unsigned_abs() / MIB;
    match bytes {
        true => Ok(bandwidth),
        false if bandwidth > most => {
            let text = format!("bandwidth must be less than {most}");
            Err(VirError::new(ErrorCode::OVERFLOW, text))
        }
        false => Ok(bandwidth * MIB),
    }
}

impl Engine {
    /// Looks up the disk that a client names for a job. The domain's job is held.
    ///
    /// # Errors
    /// The guest does not run, it has no such disk, or that can have no job now.
    pub(super) async fn working(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        name: &str,
    ) -> Result<Working, VirError> {
        let vm = running(domain)?;
        let live = domain.snapshot().live.clone().ok_or_else(not_running)?;
        let definition = live.definition.clone();
        let place = super::refuse::free_disk(&definition, &vm.block_jobs(), name)?;
        let disks = definition.devices.as_ref().map_or(&[][..], |devices| &devices.disks);
        let disk = disks.get(place).cloned().ok_or_else(not_running)?;
        let asked = |error: MonitorError| monitor_error(&error);
        let nodes = node_names(&vm).await.map_err(asked)?;
        let drives = vm.monitor.execute(cmd::query_block()).await.map_err(asked)?;
        let root = inside(&drives, &disk).map(str::to_owned);
        Ok(Working { vm, definition, place, disk, nodes, root })
    }

    /// Writes a job down that is about to begin, and takes the locks that it needs.
    ///
    /// # Errors
    /// Those of writing and locking; nothing is begun then.
    pub(super) async fn note_job(&self, vm: &Arc<Vm>, begin: &Begin) -> Result<(), VirError> {
        vm.lock_change(&begin.during).await?;
        let mut jobs = vm.block_jobs();
        jobs.push(begin.job.clone());
        let change = Change {
            definition: begin.during.clone(),
            add: begin.undo.clone(),
            made: begin.made.clone(),
            jobs: Some(jobs),
            ..Change::default()
        };
        let noted = vm.begin_change(change).await;
        if noted.is_err() {
            vm.unlock_change(&begin.during).await;
        }
        noted
    }

    /// Tells QEMU to begin a job that is written down.
    ///
    /// # Errors
    /// QEMU's; nothing is left of the job then, unless it did not answer.
    pub(super) async fn tell_job(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        begin: Begin,
        command: Command<Ack>,
    ) -> Result<(), VirError> {
        let name = command.name().to_owned();
        match vm.monitor.execute(command).await {
            Ok(_) => {
                self.job_runs(vm, &begin).await;
                Ok(())
            }
            Err(error) => Err(self.job_refused(domain, vm, begin, &name, &error).await),
        }
    }

    async fn job_runs(&self, vm: &Arc<Vm>, begin: &Begin) {
        let mut jobs = vm.block_jobs();
        for job in jobs.iter_mut().filter(|job| job.name == begin.job.name) {
            job.state = State::Running;
        }
        let definition = begin.during.clone();
        vm.change(Change { definition, publish: true, jobs: Some(jobs), ..Change::default() })
            .await;
    }

    /// QEMU did not take a command that a job needs: what is left of the job goes. One that gave no
    /// answer may take it yet, which is looked at when it answers again.
    pub(super) async fn job_refused(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        begin: Begin,
        command: &str,
        error: &MonitorError,
    ) -> VirError {
        if error.is_unanswered() {
            self.check_devices(domain, Arc::clone(vm));
        } else {
            self.job_not_begun(domain, vm, begin).await;
        }
        refusal(command, error)
    }

    /// Takes back what was done for a job that does not begin.
    pub(super) async fn job_not_begun(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        begin: Begin,
    ) {
        let Begin { job, before, during, .. } = begin;
        let mut ending = super::ending::ending(&during, &job, State::Failed, false);
        ending.definition = before;
        self.images_go(domain, vm, &during, ending, &job, false).await;
    }
}

/// QEMU's name of a job on the image with this node.
pub(super) fn job_name(kind: Kind, target: &str, node: &str) -> String {
    let word = match kind {
        Kind::Pull { .. } => "pull",
        Kind::Commit { .. } | Kind::ActiveCommit { .. } => "commit",
        Kind::Copy { .. } => "copy",
    };
    format!("{word}-{target}-{node}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidths() {
        let most = "bandwidth must be less than 8796093022207";
        for (bandwidth, bytes, expected) in [
            (0, false, Ok(0)),
            (2, false, Ok(2 << 20)),
            (2, true, Ok(2)),
            (8_796_093_022_207, false, Ok(8_796_093_022_207 << 20)),
            (8_796_093_022_208, false, Err(most)),
            (u64::MAX, true, Ok(u64::MAX)),
        ] {
            let found = speed(bandwidth, bytes).map_err(|error| error.detail);
            assert_eq!(found, expected.map_err(str::to_owned), "{bandwidth} {bytes}");
        }
    }
}
