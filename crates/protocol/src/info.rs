//! Facts about procedures that servers act on: priority, read-only admissibility, streams, access checks.

use crate::generated::{admin, keepalive, log, lxc, qemu, remote};

/// The facts about one procedure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcedureInfo {
    /// Its number.
    pub number: i32,
    /// Its name in upper case, as `DOMAIN_CREATE`.
    pub name: &'static str,
    /// libvirt's public function for it, as errors name it ("read only access prevents virDomainDestroy"); empty
    /// where there is none.
    pub api: &'static str,
    /// Whether only the daemon sends it (an event; never to be called).
    pub event: bool,
    /// Whether read-only clients may call it.
    pub read_only: ReadOnly,
    /// Whether it never waits for a hypervisor, so that it may overtake ordinary calls.
    pub priority_high: bool,
    /// The stream that a successful call opens.
    pub stream: Option<StreamInfo>,
    /// Checks that must pass before the call; none for authentication, closing and events.
    pub acl: &'static [Acl],
    /// Checks that hide single objects from the answer.
    pub acl_filter: &'static [Acl],
}

/// Whether a read-only connection may call a procedure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOnly {
    /// Always.
    Yes,
    /// Never.
    No,
    /// It depends on the arguments: see [`Procedure::read_only_admits`](crate::Procedure::read_only_admits).
    Conditional,
}

/// The stream that a call opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamInfo {
    /// Who sends.
    pub kind: StreamKind,
    /// The bit of `flags` by which the client allows holes; 0 when the stream never has any.
    pub sparse_flag: u32,
}

/// Who sends data on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// The daemon.
    Download,
    /// The client.
    Upload,
    /// Both.
    Both,
}

/// One access check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acl {
    /// The kind of object, as `domain`, `storage_pool`.
    pub object: &'static str,
    /// The permission, as `read`, `getattr`.
    pub permission: &'static str,
    /// When it is needed.
    pub when: AclWhen,
}

/// When an access check is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclWhen {
    /// For every call.
    Always,
    /// When the call's flags have any of these bits.
    AnyFlag(u32),
    /// When the call's flags have none of these bits.
    NoFlag(u32),
    /// When the call's argument `source` has this value.
    Source(u32),
}

impl AclWhen {
    /// Whether the check is needed for a call with these flags (for [`AclWhen::Source`]: with this source).
    #[must_use]
    pub fn applies(self, word: u32) -> bool {
        match self {
            Self::Always => true,
            Self::AnyFlag(mask) => word & mask != 0,
            Self::NoFlag(mask) => word & mask == 0,
            Self::Source(value) => word == value,
        }
    }
}

/// The facts about a procedure, if program and number exist.
#[must_use]
pub fn info(program: u32, number: i32) -> Option<&'static ProcedureInfo> {
    let table: &'static [ProcedureInfo] = match program {
        remote::PROGRAM => &remote::INFO,
        qemu::PROGRAM => &qemu::INFO,
        lxc::PROGRAM => &lxc::INFO,
        admin::PROGRAM => &admin::INFO,
        keepalive::PROGRAM => &keepalive::INFO,
        log::PROGRAM => &log::INFO,
        _ => return None,
    };
    table.get(usize::try_from(number).ok()?.checked_sub(1)?)
}
