//! The job of a domain: who may change it now, and who waits.
//!
//! Whoever changes a domain holds its job. Waiting has a deadline, and the error at the end of it
//! names the job that was in the way, its age and its client. Reads never come here.
//!
//! What takes as long as it takes (a save, a dump) is held beside: questions to QEMU go on while it
//! runs, everything else waits for its end.

use diag::{ErrorCode, VirError};
use lifecycle::{JobKind, JobView, Phase, Request, Verdict, decide};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long a request waits for the job before it gives up.
pub const QUEUE_DEADLINE: Duration = Duration::from_secs(30);

/// A job that is held.
#[derive(Clone, Debug)]
struct Held {
    kind: JobKind,
    verb: &'static str,
    client: Arc<str>,
    since: Instant,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    job: Option<Held>,
    /// What takes as long as it takes.
    background: Option<Held>,
}

/// Phase and job of one domain.
#[derive(Debug)]
pub struct JobGate {
    state: Mutex<State>,
    /// The phase is another one.
    changed: Notify,
    /// The job was given back: one of those who wait may try.
    freed: Notify,
}

/// What came of asking for the job.
#[derive(Debug)]
pub enum Admission {
    /// Go on; the job is held until the guard is dropped.
    Granted(JobGuard),
    /// It is already as asked.
    AlreadySo,
}

/// What a look at the gate shows.
enum Look {
    Answer(Result<Admission, VirError>),
    Wait(WaitFor),
}

/// What stands in the way.
enum WaitFor {
    /// Another job.
    Job,
    /// The phase, or a job in the background: the job is free, for others.
    Change,
}

/// Holds the job; dropping it lets the next one go on.
#[derive(Debug)]
pub struct JobGuard {
    gate: Arc<JobGate>,
    background: bool,
}

impl JobGate {
    /// The gate of a domain in `phase`.
    pub fn new(phase: Phase) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State { phase, job: None, background: None }),
            changed: Notify::new(),
            freed: Notify::new(),
        })
    }

    /// Asks for the job to carry out `request`, waiting for another one up to the deadline.
    ///
    /// # Errors
    /// libvirt's refusal where the state does not allow it; a timeout that names the holder.
    pub async fn acquire(
        self: &Arc<Self>,
        request: Request,
        verb: &'static str,
        client: &Arc<str>,
    ) -> Result<Admission, VirError> {
        let deadline = tokio::time::Instant::now() + QUEUE_DEADLINE;
        loop {
            // Registered before the look, so that no change between look and wait is missed.
            let changed = self.changed.notified();
            let wait = match self.look(request, verb, client) {
                Look::Wait(wait) => wait,
                Look::Answer(Ok(granted @ Admission::Granted(_))) => return Ok(granted),
                // Whoever was woken for the job and does not take it wakes the next.
                Look::Answer(other) => {
                    self.freed.notify_one();
                    return other;
                }
            };
            let woken = async {
                match wait {
                    WaitFor::Job => tokio::select! {
                        () = changed => {}
                        () = self.freed.notified() => {}
                    },
                    WaitFor::Change => {
                        self.freed.notify_one();
                        changed.await;
                    }
                }
            };
            if tokio::time::timeout_at(deadline, woken).await.is_err() {
                return Err(self.gave_up(verb));
            }
        }
    }

    /// The same without waiting: `None` means "would have to wait".
    ///
    /// # Errors
    /// libvirt's refusal where the state does not allow it.
    pub fn try_acquire(
        self: &Arc<Self>,
        request: Request,
        verb: &'static str,
        client: &Arc<str>,
    ) -> Result<Option<Admission>, VirError> {
        match self.look(request, verb, client) {
            Look::Answer(answer) => answer.map(Some),
            Look::Wait(_) => Ok(None),
        }
    }

    fn look(self: &Arc<Self>, request: Request, verb: &'static str, client: &Arc<str>) -> Look {
        let mut state = self.lock();
        let job = state.job.as_ref().or(state.background.as_ref());
        let job = job.map(|held| JobView { kind: held.kind });
        match decide(state.phase, job, request) {
            Verdict::Accept => {
                let kind = match request {
                    Request::QueryLive => JobKind::Query,
                    Request::Start => JobKind::Start,
                    Request::Save => JobKind::Background,
                    _ => JobKind::Modify,
                };
                let held = Held { kind, verb, client: Arc::clone(client), since: Instant::now() };
                let background = kind == JobKind::Background;
                let slot = if background { &mut state.background } else { &mut state.job };
                *slot = Some(held);
                let guard = JobGuard { gate: Arc::clone(self), background };
                Look::Answer(Ok(Admission::Granted(guard)))
            }
            Verdict::Queue if state.job.is_some() => Look::Wait(WaitFor::Job),
            Verdict::Queue => Look::Wait(WaitFor::Change),
            Verdict::Ignore => Look::Answer(Ok(Admission::AlreadySo)),
            Verdict::Refuse(refusal) => Look::Answer(Err(refusal.into())),
        }
    }

    /// Asks the policy about a request that needs no job (destroy).
    ///
    /// # Errors
    /// libvirt's refusal where the state does not allow it.
    pub fn check(&self, request: Request) -> Result<(), VirError> {
        let state = self.lock();
        match decide(state.phase, None, request) {
            Verdict::Refuse(refusal) => Err(refusal.into()),
            _ => Ok(()),
        }
    }

    /// How long a job has been held, if one is; one in the background does not count.
    pub fn held_for(&self) -> Option<Duration> {
        self.lock().job.as_ref().map(|held| held.since.elapsed())
    }

    /// How long a job has been held in the background, if one is.
    pub fn background_for(&self) -> Option<Duration> {
        self.lock().background.as_ref().map(|held| held.since.elapsed())
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        self.lock().phase
    }

    /// Enters `phase` and wakes those who wait for it.
    pub fn set_phase(&self, phase: Phase) {
        self.lock().phase = phase;
        self.changed.notify_waiters();
    }

    /// Waits until the phase satisfies `wanted`.
    pub async fn wait_phase(&self, wanted: impl Fn(Phase) -> bool) {
        loop {
            let changed = self.changed.notified();
            if wanted(self.phase()) {
                return;
            }
            changed.await;
        }
    }

    /// Who holds the job, in words: what takes long before what is soon over.
    pub fn holder(&self) -> Option<String> {
        let held = self.holding()?;
        let age = held.since.elapsed().as_secs();
        Some(format!("'{}' of {} since {age} s", held.verb, held.client))
    }

    fn holding(&self) -> Option<Held> {
        let state = self.lock();
        state.background.clone().or_else(|| state.job.clone())
    }

    fn gave_up(&self, verb: &str) -> VirError {
        let held = self.holding();
        let background = held.as_ref().is_some_and(|held| held.kind == JobKind::Background);
        let holder = match self.holder() {
            Some(holder) => format!("held by {holder}"),
            None => "the domain is being started or ended".to_owned(),
        };
        let error = VirError::new(
            ErrorCode::OPERATION_TIMEOUT,
            format!(
                "cannot acquire state change lock ({holder}); {verb} waited {} s",
                QUEUE_DEADLINE.as_secs()
            ),
        )
        .hint("destroy does not wait for jobs");
        if background { error.hint("domjobabort ends the job that holds it") } else { error }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for JobGuard {
    fn drop(&mut self) {
        if self.background {
            self.gate.lock().background = None;
            self.gate.changed.notify_waiters();
        } else {
            self.gate.lock().job = None;
        }
        // One alone: with hundreds of changes queued, waking all for each is quadratic.
        self.gate.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lifecycle::{RunningReason, Status};

    fn client() -> Arc<str> {
        Arc::from("test")
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_waiter_goes_on_when_the_holder_is_done_and_gives_up_by_name() {
        let gate = JobGate::new(Phase::Active(Status::Running(RunningReason::Booted)));
        let first = gate.acquire(Request::Suspend, "suspend", &client()).await.expect("free");
        let error = gate.acquire(Request::Reset, "reset", &client()).await.expect_err("still held");
        assert_eq!(error.code, ErrorCode::OPERATION_TIMEOUT);
        assert!(error.detail.contains("'suspend' of test"), "{}", error.detail);
        let waiter = {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move { gate.acquire(Request::Reset, "reset", &client()).await })
        };
        tokio::task::yield_now().await;
        drop(first);
        assert!(matches!(waiter.await.expect("no panic"), Ok(Admission::Granted(_))));
    }

    /// Every one of many waiters gets its turn, those that take the job and those that do not.
    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn nobody_in_a_long_queue_is_forgotten() {
        let gate = JobGate::new(Phase::Active(Status::Running(RunningReason::Booted)));
        let first = gate.acquire(Request::Reset, "reset", &client()).await.expect("free");
        let waiters: Vec<_> = (0..300)
            .map(|number| {
                let gate = Arc::clone(&gate);
                // A start is refused as soon as it is looked at, and waits while QEMU ends.
                let request =
                    [Request::ModifyConfig, Request::Start, Request::Undefine][number % 3];
                tokio::spawn(
                    async move { gate.acquire(request, "change", &client()).await.is_ok() },
                )
            })
            .collect();
        gate.set_phase(Phase::Stopping);
        tokio::task::yield_now().await;
        drop(first);
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        assert_eq!(waiters.iter().filter(|waiter| !waiter.is_finished()).count(), 100, "starts");
        gate.set_phase(Phase::Inactive);
        for waiter in waiters {
            assert!(waiter.await.expect("no panic"));
        }
        assert!(gate.held_for().is_none());
    }

    /// While a guest is saved, questions pass; changes wait for the end of it, and then take turns.
    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn questions_pass_a_job_in_the_background_and_changes_wait() {
        let gate = JobGate::new(Phase::Active(Status::Running(RunningReason::Booted)));
        let save = gate.acquire(Request::Save, "save", &client()).await.expect("free");
        let waiters: Vec<_> = (0..100)
            .map(|_| {
                let gate = Arc::clone(&gate);
                tokio::spawn(async move {
                    gate.acquire(Request::Reset, "reset", &client()).await.is_ok()
                })
            })
            .collect();
        tokio::task::yield_now().await;
        for _ in 0..3 {
            let question = gate.acquire(Request::QueryLive, "query", &client()).await;
            assert!(matches!(question, Ok(Admission::Granted(_))));
        }
        assert!(gate.held_for().is_none() && gate.background_for().is_some());
        assert!(waiters.iter().all(|waiter| !waiter.is_finished()));
        drop(save);
        for waiter in waiters {
            assert!(waiter.await.expect("no panic"));
        }
        let _save = gate.acquire(Request::Save, "save", &client()).await.expect("free");
        let error = gate.acquire(Request::Save, "dump", &client()).await.expect_err("one at once");
        assert!(error.detail.contains("(held by 'save' of test since "), "{}", error.detail);
    }

    #[tokio::test]
    async fn destroy_is_allowed_beside_a_job() {
        let gate = JobGate::new(Phase::Active(Status::Running(RunningReason::Booted)));
        let _held = gate.acquire(Request::Suspend, "suspend", &client()).await.expect("free");
        assert!(gate.check(Request::Destroy).is_ok());
    }
}
