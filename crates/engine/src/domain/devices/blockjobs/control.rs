//! Jobs that work: how far they are, how fast they may be, and their end on request
//! (`virsh blockjob`).

use super::super::Change;
use super::super::converse::refusal;
use super::flags::{ABORT_ASYNC, ABORT_PIVOT};
use super::job::{BlockJob, Kind, State};
use super::settle::concluded;
use super::start::speed;
use crate::domain::affect::{acquire, not_running, running};
use crate::domain::hardware::block::named_disk;
use crate::domain::power::monitor_error;
use crate::domain::record::Domain;
use crate::domain::vm::Vm;
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use host::monitor::MonitorError;
use lifecycle::Request;
use qmp::{Ack, Command, Value, cmd};
use std::sync::Arc;
use std::time::Duration;

/// How long the end of a job is waited for. What a job has to write before it ends may take its
/// time; a QEMU that stands still keeps nobody for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// How far a job is (`virDomainBlockJobInfo`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobInfo {
    /// `virDomainBlockJobType`.
    pub kind: i32,
    /// Most bytes a second; 0: as fast as it can.
    pub bandwidth: u64,
    /// Done so far.
    pub cur: u64,
    /// All there is to be done.
    pub end: u64,
}

/// How far a job is, from its entry of `query-block-jobs`. Equal numbers say that a job is through,
/// so they are only told of one that is.
fn info(kind: Kind, entry: Option<&Value>) -> JobInfo {
    let number = |name: &str| entry.and_then(|entry| entry.get(name)?.as_u64()).unwrap_or(0);
    let ready = entry.and_then(|entry| entry.get("ready")?.as_bool());
    let (mut cur, mut end) = (number("offset"), number("len"));
    // A pull or commit is never "ready", and an active one is when it says so.
    let ready = ready.filter(|_| kind.can_pivot());
    if cur == 0 && end == 0 {
        (cur, end) = (u64::from(ready == Some(true)), 1);
    }
    if cur == end && ready == Some(false) && cur > 0 {
        cur -= 1;
    }
    JobInfo { kind: kind.number(), bandwidth: number("speed"), cur, end }
}

fn none_of(target: &str) -> VirError {
    VirError::invalid_arg(format!("disk {target} does not have an active block job"))
}

impl Engine {
    /// How far the job of a disk is; none where it has none.
    ///
    /// # Errors
    /// The guest does not run, has no such disk, or QEMU does not answer.
    pub async fn block_job_info(
        &self,
        domain: &Domain,
        path: &str,
    ) -> Result<Option<JobInfo>, VirError> {
        let (vm, target) = target_of(domain, path)?;
        let job = vm.block_jobs().into_iter().find(|job| job.disk == target);
        let Some(job) = job else { return Ok(None) };
        let jobs = vm.monitor.execute(cmd::query_block_jobs()).await;
        let jobs = jobs.map_err(|error| monitor_error(&error))?;
        let name = |entry: &&Value| entry.get("device").and_then(Value::as_str) == Some(&job.name);
        Ok(Some(info(job.kind, jobs.iter().find(name))))
    }

    /// Sets how fast the job of a disk may be; `bytes`: not MiB a second.
    ///
    /// # Errors
    /// There is no such job, or QEMU refuses.
    pub async fn block_job_speed(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        path: &str,
        bandwidth: u64,
        bytes: bool,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let speed = speed(bandwidth, bytes)?;
        target_of(domain, path)?;
        let held = acquire(domain, Request::ModifyLive, "blockjob", client).await?;
        let (domain, path) = (Arc::clone(domain), path.to_owned());
        self.detached(async move {
            let _held = held;
            let (vm, target) = target_of(&domain, &path)?;
            let job = vm.block_jobs().into_iter().find(|job| job.disk == target);
            let job = job.ok_or_else(|| none_of(&target))?;
            let command = Command::<Ack>::new("block-job-set-speed")
                .arg("device", job.name)
                .arg("speed", speed);
            let done = vm.monitor.execute(command).await;
            done.map(drop).map_err(|error| refusal("block-job-set-speed", &error))
        })
        .await
    }

    /// Ends the job of a disk; with the right flag the guest goes on with the other image. Unless
    /// told not to, waits until that is done.
    ///
    /// # Errors
    /// There is no such job, it is not ready, or ends already; QEMU refuses or does not come to an
    /// end of it.
    pub async fn block_job_abort(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        path: &str,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        target_of(domain, path)?;
        let held = acquire(domain, Request::ModifyLive, "blockjob", client).await?;
        let (engine, domain, path) = (Arc::clone(self), Arc::clone(domain), path.to_owned());
        self.detached(async move {
            let _held = held;
            let (vm, target) = target_of(&domain, &path)?;
            let job = vm.block_jobs().into_iter().find(|job| job.disk == target);
            let job = job.ok_or_else(|| none_of(&target))?;
            let (pivot, waits) = (flags & ABORT_PIVOT != 0, flags & ABORT_ASYNC == 0);
            can_end(&job, &target, pivot)?;
            let key = concluded(&job.name);
            let over = vm.waiting.register(&key);
            if let Err(error) = engine.end_job(&domain, &vm, &job, pivot).await {
                vm.waiting.forget(&key);
                return Err(error);
            }
            if !waits {
                vm.waiting.forget(&key);
                // It may have ended before.
                engine.job_news(&domain, &vm, job.name);
                return Ok(());
            }
            let ended = tokio::select! {
                over = tokio::time::timeout(PATIENCE, over) => over.is_ok(),
                _ = vm.process.exited() => return Err(not_running()),
            };
            vm.waiting.forget(&key);
            if !ended {
                engine.job_news(&domain, &vm, job.name.clone());
                let text = format!(
                    "block job '{}' on disk '{target}' has not ended after {} s; it still ends",
                    job.name,
                    PATIENCE.as_secs()
                );
                return Err(VirError::new(ErrorCode::OPERATION_TIMEOUT, text));
            }
            let outcome = engine.settle_job(&domain, &vm, &job.name).await?;
            match outcome {
                Some((State::Failed, error)) if pivot => {
                    let name = &job.name;
                    let text = format!("block job '{name}' failed while pivoting");
                    let text = error.map_or(text.clone(), |error| format!("{text}: {error}"));
                    Err(VirError::failed(text))
                }
                _ => Ok(()),
            }
        })
        .await
    }

    /// Tells QEMU to end a job, and writes down that it was told.
    async fn end_job(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        job: &BlockJob,
        pivot: bool,
    ) -> Result<(), VirError> {
        let state = if pivot { State::Pivoting } else { State::Aborting };
        let said = if pivot { "pivot" } else { "abort" };
        self.job_is(domain, vm, &job.name, state, Some(said)).await;
        let ended = match pivot {
            true => self.pivot(domain, vm, job).await,
            false => {
                let command = Command::<Ack>::new("block-job-cancel").arg("device", &*job.name);
                let done = vm.monitor.execute(command).await;
                done.map(drop).map_err(|error| ("block-job-cancel", error))
            }
        };
        let Err((command, error)) = ended else { return Ok(()) };
        // A job that is through cannot be ended: what became of it is to be dealt with.
        if !error.is_unanswered() {
            let said = (job.state == State::Ready).then_some("yes");
            self.job_is(domain, vm, &job.name, job.state, said).await;
        }
        self.job_news(domain, vm, job.name.clone());
        Err(refusal(command, &error))
    }

    async fn pivot(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        job: &BlockJob,
    ) -> Result<(), (&'static str, MonitorError)> {
        self.note_writes(domain, vm, job).await?;
        let command = Command::<Ack>::new("job-complete").arg("id", &*job.name);
        vm.monitor.execute(command).await.map(drop).map_err(|error| ("job-complete", error))
    }

    /// Notes the state of a job, and what the disk's mirror says of it.
    pub(super) async fn job_is(
        &self,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        name: &str,
        state: State,
        ready: Option<&str>,
    ) {
        let Some(live) = domain.snapshot().live.clone() else { return };
        let (mut definition, mut jobs) = (live.definition.clone(), vm.block_jobs());
        let Some(job) = jobs.iter_mut().find(|job| job.name == name) else { return };
        job.state = state;
        let disks = definition.devices.iter_mut().flat_map(|devices| &mut devices.disks);
        for disk in disks.into_iter().filter(|disk| disk.target.dev == job.disk) {
            if let Some(mirror) = &mut disk.mirror {
                mirror.ready = ready.map(str::to_owned);
            }
        }
        vm.change(Change { definition, publish: true, jobs: Some(jobs), ..Change::default() })
            .await;
    }
}

/// The guest, and the target of the disk that is named.
fn target_of(domain: &Domain, path: &str) -> Result<(Arc<Vm>, String), VirError> {
    let vm = running(domain)?;
    let live = domain.snapshot().live.clone().ok_or_else(not_running)?;
    Ok((vm, named_disk(&live.definition, path)?.target.dev.clone()))
}

/// Whether a job can be told to end now.
fn can_end(job: &BlockJob, target: &str, pivot: bool) -> Result<(), VirError> {
    if matches!(job.state, State::Aborting | State::Pivoting) {
        let text = format!("block job on disk '{target}' is still being ended");
        return Err(VirError::invalid_state(text));
    }
    if pivot && job.state != State::Ready {
        let text = format!("block job '{}' not ready for pivot yet", job.name);
        return Err(VirError::new(ErrorCode::BLOCK_COPY_ACTIVE, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn how_far_a_job_is() {
        let (pull, copy) = (Kind::Pull { base: None }, Kind::Copy { shallow: false });
        let entry = |offset: u64, len: u64, ready: bool| {
            Some(json!({"offset": offset, "len": len, "ready": ready, "speed": 5}))
        };
        for (kind, entry, expected) in [
            (pull, None, (1, 0, 1)),
            (pull, entry(0, 0, false), (1, 0, 1)),
            (pull, entry(3, 7, false), (1, 3, 7)),
            (pull, entry(7, 7, false), (1, 7, 7)),
            (copy, entry(7, 7, false), (2, 6, 7)),
            (copy, entry(7, 7, true), (2, 7, 7)),
            (copy, entry(0, 0, true), (2, 1, 1)),
            (copy, entry(0, 0, false), (2, 0, 1)),
        ] {
            let found = info(kind, entry.as_ref());
            assert_eq!((found.kind, found.cur, found.end), expected, "{kind:?} {entry:?}");
        }
    }

    #[test]
    fn which_jobs_can_be_ended() {
        let copy = Kind::Copy { shallow: false };
        let not_ready = "block job 'j' not ready for pivot yet";
        let ending = "block job on disk 'vda' is still being ended";
        for (state, pivot, expected) in [
            (State::Running, false, None),
            (State::Running, true, Some(not_ready)),
            (State::Ready, true, None),
            (State::Ready, false, None),
            (State::Aborting, false, Some(ending)),
            (State::Pivoting, true, Some(ending)),
        ] {
            let job = BlockJob { state, ..BlockJob::new("j".to_owned(), "vda", copy, 0) };
            let found = can_end(&job, "vda", pivot).err().map(|error| error.detail);
            assert_eq!(found.as_deref(), expected, "{state:?} {pivot}");
        }
    }
}
