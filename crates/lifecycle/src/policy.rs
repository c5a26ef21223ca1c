//! What may happen when: state × job × request → verdict.
//!
//! One table for the whole system, so that "why was this refused?" has one place to look. Reads
//! are not in it: they are served from the published snapshot and never wait.

use crate::status::Status;
use diag::{ErrorCode, ErrorDomain, VirError};

/// Where a domain is in its life, beyond what clients see as state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// No QEMU.
    Inactive,
    /// QEMU is being started.
    Starting,
    /// QEMU is there and under control.
    Active(Status),
    /// QEMU is being ended.
    Stopping,
}

/// A change that somebody asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Remove the persistent definition.
    Undefine,
    /// Change the persistent definition in place (autostart, metadata, title, memory …).
    ModifyConfig,
    /// Change name.
    Rename,
    /// Start.
    Start,
    /// End at once.
    Destroy,
    /// Stop the virtual CPUs.
    Suspend,
    /// Let the virtual CPUs run.
    Resume,
    /// Ask the guest to power off.
    Shutdown,
    /// Ask the guest to reboot.
    Reboot,
    /// Press the reset button.
    Reset,
    /// Wake from suspend to memory.
    Wakeup,
    /// Change the running guest (balloon, password, media …).
    ModifyLive,
    /// Ask QEMU or the agent something; not answered from the snapshot.
    QueryLive,
    /// Save the guest's state to a file, or dump its memory: takes as long as it takes.
    Save,
}

/// The job that holds a domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobKind {
    /// Asks, changes nothing.
    Query,
    /// Changes the domain, soon over.
    Modify,
    /// Starts it.
    Start,
    /// Saves or dumps it: lasts, and lets questions pass.
    Background,
}

/// A job as the policy sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JobView {
    /// What kind of job it is.
    pub kind: JobKind,
}

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// libvirt's number.
    pub code: ErrorCode,
    /// The part of libvirt that would say it.
    pub domain: ErrorDomain,
    /// libvirt's words, for scripts that match on them.
    pub text: &'static str,
}

impl From<Refusal> for VirError {
    fn from(refusal: Refusal) -> Self {
        VirError::new(refusal.code, refusal.text).from_domain(refusal.domain)
    }
}

/// What to do with a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Do it now.
    Accept,
    /// Wait for the job that holds the domain, up to the deadline.
    Queue,
    /// It is already so: answer success, do nothing.
    Ignore,
    /// Answer with this error.
    Refuse(Refusal),
}

const fn invalid(text: &'static str) -> Verdict {
    let (code, domain) = (ErrorCode::OPERATION_INVALID, ErrorDomain::QEMU);
    Verdict::Refuse(Refusal { code, domain, text })
}

/// There is no guest: found by what libvirt's drivers share, and so told by it.
const NOT_RUNNING: Verdict = Verdict::Refuse(Refusal {
    code: ErrorCode::OPERATION_INVALID,
    domain: ErrorDomain::DOMAIN,
    text: "domain is not running",
});

/// Decides about `request` on a domain in `phase` that `job` holds.
pub fn decide(phase: Phase, job: Option<JobView>, request: Request) -> Verdict {
    let by_phase = match request {
        // A definition is independent of what runs: the live guest is not touched.
        Request::Undefine | Request::ModifyConfig => Verdict::Accept,
        Request::Rename => match phase {
            Phase::Inactive => Verdict::Accept,
            _ => invalid("cannot rename active domain"),
        },
        Request::Start => match phase {
            Phase::Inactive => Verdict::Accept,
            // The old QEMU is about to be gone; the start follows it.
            Phase::Stopping => Verdict::Queue,
            Phase::Starting | Phase::Active(_) => invalid("domain is already running"),
        },
        // Destroy never queues behind a job: a stuck job is what people destroy guests for.
        Request::Destroy => {
            return match phase {
                Phase::Inactive => NOT_RUNNING,
                Phase::Starting | Phase::Active(_) | Phase::Stopping => Verdict::Accept,
            };
        }
        Request::Suspend => match phase {
            Phase::Active(Status::PmSuspended) => invalid("domain is pmsuspended"),
            Phase::Active(Status::Paused(_)) => Verdict::Ignore,
            _ => needs_guest(phase),
        },
        Request::Resume => match phase {
            Phase::Active(Status::Running(_)) => invalid("domain is already running"),
            Phase::Active(Status::PmSuspended) => invalid("domain is pmsuspended"),
            _ => needs_guest(phase),
        },
        Request::Wakeup
        | Request::Shutdown
        | Request::Reboot
        | Request::Reset
        | Request::ModifyLive
        | Request::QueryLive
        | Request::Save => needs_guest(phase),
    };
    match (by_phase, job) {
        (Verdict::Accept, Some(JobView { kind: JobKind::Background }))
            if request == Request::QueryLive =>
        {
            Verdict::Accept
        }
        (Verdict::Accept, Some(_)) => Verdict::Queue,
        (verdict, _) => verdict,
    }
}

/// For requests that only make sense while QEMU runs: one that starts is waited for, one that
/// ends is as good as gone.
fn needs_guest(phase: Phase) -> Verdict {
    match phase {
        Phase::Active(_) => Verdict::Accept,
        Phase::Starting => Verdict::Queue,
        Phase::Inactive | Phase::Stopping => NOT_RUNNING,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{PausedReason, RunningReason, ShutoffReason};

    const RUNNING: Phase = Phase::Active(Status::Running(RunningReason::Booted));
    const PAUSED: Phase = Phase::Active(Status::Paused(PausedReason::User));
    const BACKGROUND: Option<JobView> = Some(JobView { kind: JobKind::Background });
    const MODIFY: Option<JobView> = Some(JobView { kind: JobKind::Modify });

    #[test]
    fn the_table() {
        let refused = |text| invalid(text);
        for (phase, job, request, expected) in [
            (Phase::Inactive, None, Request::Start, Verdict::Accept),
            (RUNNING, None, Request::Start, refused("domain is already running")),
            (Phase::Starting, None, Request::Start, refused("domain is already running")),
            (Phase::Stopping, None, Request::Start, Verdict::Queue),
            (Phase::Inactive, None, Request::Destroy, NOT_RUNNING),
            (RUNNING, MODIFY, Request::Destroy, Verdict::Accept),
            (Phase::Starting, MODIFY, Request::Destroy, Verdict::Accept),
            (PAUSED, None, Request::Suspend, Verdict::Ignore),
            (RUNNING, None, Request::Suspend, Verdict::Accept),
            (RUNNING, MODIFY, Request::Suspend, Verdict::Queue),
            (RUNNING, None, Request::Resume, refused("domain is already running")),
            (PAUSED, None, Request::Resume, Verdict::Accept),
            (Phase::Inactive, None, Request::Resume, NOT_RUNNING),
            (RUNNING, None, Request::Rename, refused("cannot rename active domain")),
            (RUNNING, None, Request::Undefine, Verdict::Accept),
            (RUNNING, MODIFY, Request::Undefine, Verdict::Queue),
            (Phase::Inactive, None, Request::Save, NOT_RUNNING),
            (RUNNING, None, Request::Save, Verdict::Accept),
            (RUNNING, MODIFY, Request::Save, Verdict::Queue),
            (RUNNING, BACKGROUND, Request::Save, Verdict::Queue),
            (RUNNING, BACKGROUND, Request::QueryLive, Verdict::Accept),
            (RUNNING, BACKGROUND, Request::ModifyLive, Verdict::Queue),
            (RUNNING, BACKGROUND, Request::ModifyConfig, Verdict::Queue),
            (RUNNING, BACKGROUND, Request::Destroy, Verdict::Accept),
            (PAUSED, BACKGROUND, Request::Suspend, Verdict::Ignore),
            (PAUSED, BACKGROUND, Request::Resume, Verdict::Queue),
            (PAUSED, BACKGROUND, Request::Start, refused("domain is already running")),
        ] {
            assert_eq!(decide(phase, job, request), expected, "{phase:?} {job:?} {request:?}");
        }
    }

    #[test]
    fn destroy_never_queues_and_nothing_starts_twice() {
        let phases = [
            Phase::Inactive,
            Phase::Starting,
            RUNNING,
            PAUSED,
            Phase::Active(Status::PmSuspended),
            Phase::Active(Status::Shutoff(ShutoffReason::Unknown)),
            Phase::Stopping,
        ];
        for phase in phases {
            for job in [None, MODIFY] {
                assert_ne!(decide(phase, job, Request::Destroy), Verdict::Queue);
                if phase != Phase::Inactive {
                    assert_ne!(decide(phase, job, Request::Start), Verdict::Accept);
                }
            }
        }
    }
}
