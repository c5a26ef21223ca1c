//! The scheduling policy of a thread.

use std::io;

/// A scheduling policy of sched(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchedPolicy {
    /// `SCHED_BATCH`.
    Batch,
    /// `SCHED_IDLE`.
    Idle,
    /// `SCHED_FIFO`.
    Fifo,
    /// `SCHED_RR`.
    Rr,
}

/// Sets a thread's policy and its static priority, 0 unless the policy is of real time
/// (sched_setscheduler(2)).
///
/// # Errors
/// What the kernel says: `EPERM` without the right or without real time in the thread's control
/// group, `EINVAL` for a priority the policy does not have, `ESRCH` when the thread is gone.
pub fn set_scheduler(thread: u32, policy: SchedPolicy, priority: i32) -> io::Result<()> {
    let policy = match policy {
        SchedPolicy::Batch => libc::SCHED_BATCH,
        SchedPolicy::Idle => libc::SCHED_IDLE,
        SchedPolicy::Fifo => libc::SCHED_FIFO,
        SchedPolicy::Rr => libc::SCHED_RR,
    };
    let thread = libc::pid_t::try_from(thread).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: an all-zero `sched_param`, a struct of integers, is a valid value.
    let mut param: libc::sched_param = unsafe { std::mem::zeroed() };
    param.sched_priority = priority;
    // SAFETY: `param` lives through the call, which only reads it.
    match unsafe { libc::sched_setscheduler(thread, policy, &raw const param) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
