//! Jobs of a running guest's images: pulling into the top, committing downwards, copying elsewhere.
//!
//! QEMU does the work; here is what starts a job, what its end means for the chain, and who is told.
//! A job is in the status file before QEMU hears of it, and leaves it when all that follows from its
//! end is done: what ended a job is written down before QEMU forgets the job, so that a daemon that
//! takes the guest over in between goes on from there. Whatever changes jobs holds the domain's job;
//! between start and end of a job nobody does.

mod bitmaps;
mod chain;
mod commit;
mod control;
mod copy;
mod copy_target;
mod ending;
mod job;
mod names;
mod pull;
mod refuse;
mod settle;
mod start;

pub use commit::CommitRange;
pub use control::JobInfo;
pub use copy::{CopyLimits, CopyTo};
pub(in crate::domain) use job::BlockJob;
pub(in crate::domain) use refuse::refuse_working;

/// `VIR_DOMAIN_BLOCK_COMMIT_SHALLOW` and its like: the numbers are the wire's.
pub mod flags {
    /// Of a commit: only into the image right below.
    pub const COMMIT_SHALLOW: u32 = 1;
    /// Of a commit: the files that are not needed afterwards are removed.
    pub const COMMIT_DELETE: u32 = 1 << 1;
    /// Of a commit: of the image that the guest writes to.
    pub const COMMIT_ACTIVE: u32 = 1 << 2;
    /// Of a commit: images go on naming each other relatively.
    pub const COMMIT_RELATIVE: u32 = 1 << 3;
    /// Of a commit: bytes, not MiB, a second.
    pub const COMMIT_BYTES: u32 = 1 << 4;
    /// Of a copy: only the top; the images below are shared.
    pub const COPY_SHALLOW: u32 = 1;
    /// Of a copy: the image is there.
    pub const COPY_REUSE: u32 = 1 << 1;
    /// Of a copy: it may be lost when QEMU ends.
    pub const COPY_TRANSIENT: u32 = 1 << 2;
    /// Of a copy: what the guest writes reaches both at once.
    pub const COPY_SYNCHRONOUS: u32 = 1 << 3;
    /// Of a pull: images go on naming each other relatively.
    pub const PULL_RELATIVE: u32 = 1 << 4;
    /// Of a pull: bytes, not MiB, a second.
    pub const PULL_BYTES: u32 = 1 << 6;
    /// Of an end: do not wait.
    pub const ABORT_ASYNC: u32 = 1;
    /// Of an end: the guest goes on with the other image.
    pub const ABORT_PIVOT: u32 = 1 << 1;
}
