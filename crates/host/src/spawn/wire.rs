//! What daemon and helper say to each other over their socket pair.
//!
//! Daemon: length of the JSON text and number of descriptors (two little-endian `u32`), the text,
//! then the descriptors in bunches, each with one byte. Helper: `R` (ready) or `E` and a failure.
//! Daemon: `G` (go). Helper: end of file (it became the program) or `E` and a failure.
//! Both ends are the same binary, so the format needs no version.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::lock_daemon::Guest;

/// The helper is ready.
pub(super) const READY: u8 = b'R';
/// A failure follows.
pub(super) const ERROR: u8 = b'E';
/// The daemon says go.
pub(super) const GO: u8 = b'G';
/// Longest specification accepted, in bytes.
pub(super) const MAX_TEXT: u32 = 16 << 20;
/// Most descriptors accepted.
pub(super) const MAX_DESCRIPTORS: u32 = 4096;

/// Who to become.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

/// A resource limit's subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// Size of a core dump in bytes.
    Core,
    /// Memory that may be locked, in bytes.
    Memlock,
    /// Open descriptors.
    Nofile,
    /// Processes and threads of the user.
    Nproc,
    /// Real-time priority.
    Rtprio,
}

/// A resource limit; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimit {
    /// What is limited.
    pub resource: Resource,
    /// The limit in force.
    pub soft: Option<u64>,
    /// How far the program may raise it.
    pub hard: Option<u64>,
}

/// A step of the helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// Reading the specification.
    Receive,
    /// Starting a session of its own.
    Session,
    /// Joining a cgroup.
    Cgroup,
    /// Writing and locking the pid file.
    PidFile,
    /// Adjusting the out-of-memory score.
    OomScore,
    /// Setting a resource limit.
    Limit,
    /// Changing into the directory.
    Directory,
    /// Changing user, groups or capabilities.
    User,
    /// Telling the lock daemon that locks are held for this process.
    Lock,
    /// Becoming the program.
    Exec,
}

/// A step that failed, with what it worked on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{}", self.text())]
pub struct Failure {
    /// Which step.
    pub step: Step,
    /// The path, user or limit.
    pub operand: String,
    /// The system's error number; 0 when the fault is not the system's.
    pub errno: i32,
    /// The error in words.
    pub detail: String,
}

impl Failure {
    pub(super) fn new(step: Step, operand: impl Into<String>, error: &io::Error) -> Self {
        let errno = error.raw_os_error().unwrap_or(0);
        // std appends "(os error N)", which means nothing to whoever reads a guest's start error.
        let detail = error.to_string();
        let detail = detail.split(" (os error ").next().unwrap_or_default().to_owned();
        Self { step, operand: operand.into(), errno, detail }
    }

    fn text(&self) -> String {
        let Self { operand, detail, .. } = self;
        match self.step {
            Step::Receive => format!("exec helper cannot read its specification: {detail}"),
            Step::Session => format!("cannot start a new session: {detail}"),
            Step::Cgroup => format!("cannot join cgroup {operand}: {detail}"),
            Step::PidFile => format!("cannot write and lock pid file {operand}: {detail}"),
            Step::OomScore => format!("cannot set OOM score adjustment to {operand}: {detail}"),
            Step::Limit => format!("cannot set resource limit {operand}: {detail}"),
            Step::Directory => format!("cannot change to directory {operand}: {detail}"),
            Step::User => format!("cannot switch to user {operand}: {detail}"),
            Step::Lock => format!("can't connect to virtlockd at {operand}: {detail}"),
            Step::Exec => format!("cannot execute binary {operand}: {detail}"),
        }
    }
}

/// The part of a specification that is text.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Text {
    pub program: Bytes,
    pub args: Vec<Bytes>,
    pub env: Vec<(Bytes, Bytes)>,
    pub directory: Bytes,
    pub umask: u32,
    pub user: Option<Credentials>,
    pub clear_capabilities: bool,
    pub no_new_privs: bool,
    pub limits: Vec<ResourceLimit>,
    pub oom_score_adj: Option<i32>,
    pub cgroups: Vec<Bytes>,
    pub pid_file: Option<Bytes>,
    /// The lock daemon's socket, and whose locks it holds.
    pub locks: Option<(Bytes, Guest)>,
    /// The numbers of the descriptors that follow; the last descriptor is the log.
    pub numbers: Vec<i32>,
}

/// A path or argument, which need not be UTF-8. Written as text where it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Bytes {
    Text(String),
    Raw(Vec<u8>),
}

impl From<&OsStr> for Bytes {
    fn from(value: &OsStr) -> Self {
        match value.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Raw(value.as_bytes().to_vec()),
        }
    }
}

impl From<&Path> for Bytes {
    fn from(value: &Path) -> Self {
        value.as_os_str().into()
    }
}

impl Bytes {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.into_bytes(),
            Self::Raw(bytes) => bytes,
        }
    }

    pub(super) fn path(self) -> PathBuf {
        OsString::from_vec(self.into_bytes()).into()
    }
}
