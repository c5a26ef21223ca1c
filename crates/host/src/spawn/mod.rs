//! Starting a guest's process so that it can be neither lost nor orphaned.
//!
//! The daemon starts an *exec helper*: its own binary once more, which calls [`helper_main`] before
//! anything else. Over one socket pair (the helper's standard input) it sends what to run and the
//! descriptors to pass, the helper prepares everything (session, cgroups, limits, user) and reports
//! *ready*; then it waits. The daemon now knows pid and start time, writes them to stable storage,
//! and says *go*. If the daemon dies before that, the socket ends and the helper exits: no process
//! runs that no file knows. After *go* the helper becomes the program; the socket closes itself on
//! success and carries the reason of a failure.
//!
//! There is no double fork: the daemon is the parent and learns the exit status while it lives. The
//! program leads a session of its own, so no terminal and no signal to the daemon's group reaches
//! it, and when the daemon ends, init adopts it.
//!
//! The helper, not a `pre_exec` hook, does the work because code between fork and exec of a program
//! with threads may call almost nothing; and the daemon's start of the helper then uses the cheap
//! `posix_spawn`.

mod helper;
mod parent;
mod wire;

pub use helper::helper_main;
pub use parent::{Prepared, Started, prepare, start};
pub use wire::{Credentials, Failure, Resource, ResourceLimit, Step};

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// How to start the exec helper.
#[derive(Clone, Debug)]
pub struct Helper {
    /// The binary.
    pub program: PathBuf,
    /// The arguments that make it call [`helper_main`].
    pub args: Vec<OsString>,
}

impl Helper {
    /// This very binary with one hidden argument. It is reached through `/proc/self/exe`, so it
    /// stays the same program when an upgrade replaces the file.
    pub fn own_binary(argument: &str) -> Self {
        Self { program: "/proc/self/exe".into(), args: vec![argument.into()] }
    }
}

/// What to start, and how.
#[derive(Debug)]
pub struct SpawnSpec {
    /// The program file.
    pub program: PathBuf,
    /// The arguments, without the program's name.
    pub args: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The directory to run in.
    pub directory: PathBuf,
    /// The file mode creation mask.
    pub umask: u32,
    /// The user to become; `None` stays who the daemon is.
    pub user: Option<Credentials>,
    /// Give up all capabilities even when the user stays root.
    pub clear_capabilities: bool,
    /// Forbid that exec ever grants rights (set-user-id programs).
    pub no_new_privs: bool,
    /// Resource limits. Raising one above the daemon's own needs CAP_SYS_RESOURCE.
    pub limits: Vec<ResourceLimit>,
    /// The out-of-memory killer's adjustment, -1000 to 1000.
    pub oom_score_adj: Option<i32>,
    /// Files to write the process id into, in order: `cgroup.procs` or `tasks` of its groups.
    pub cgroups: Vec<PathBuf>,
    /// A file that gets the process id and is kept locked by the process while it lives.
    pub pid_file: Option<PathBuf>,
    /// The socket of the lock daemon that holds locks for the program while it lives, and whose they are.
    pub locks: Option<(PathBuf, crate::lock_daemon::Guest)>,
    /// Descriptors to pass, with the numbers they shall have (3 and up).
    pub fds: Vec<(OwnedFd, i32)>,
    /// What standard output and standard error go to; open it for appending.
    pub log: OwnedFd,
}

impl SpawnSpec {
    /// A program that runs as we do, in `/`, with an empty environment and umask 022.
    pub fn new(program: impl Into<PathBuf>, log: OwnedFd) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            directory: "/".into(),
            umask: 0o022,
            user: None,
            clear_capabilities: false,
            no_new_privs: false,
            limits: Vec::new(),
            oom_score_adj: None,
            cgroups: Vec::new(),
            pid_file: None,
            locks: None,
            fds: Vec::new(),
            log,
        }
    }
}

/// Why a start failed.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The exec helper itself could not be started or talked to.
    #[error("cannot start the exec helper {program}: {source}")]
    Helper {
        /// The helper's binary.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The helper ended without a word, which only a crash or a kill explains.
    #[error("the exec helper ended unexpectedly")]
    HelperDied,
    /// The helper could not do one of its steps. Nothing was started.
    #[error(transparent)]
    Step(#[from] Failure),
    /// The specification cannot be carried out as written.
    #[error("invalid start specification: {0}")]
    Invalid(String),
}
