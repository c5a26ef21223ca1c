//! What the caller decides about a connection.

use std::path::PathBuf;
use std::time::Duration;

/// How to open a connection. The library reads no environment: what virsh takes from there comes in here.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Ask for a read-only connection (and use the `-ro` socket where the URI names none).
    pub read_only: bool,
    /// Tell the daemon that we answer its keepalive questions, so that it may drop us when we vanish.
    pub answer_keepalive: bool,
    /// Ask ourselves.
    pub keepalive: Option<Keepalive>,
    /// Have the daemon say why it closes the connection.
    pub close_callback: bool,
    /// Folder of the system daemon's sockets.
    pub system_dir: PathBuf,
    /// Folder of the session daemon's sockets: `$XDG_RUNTIME_DIR/libvirt`, else `~/.cache/libvirt`.
    pub session_dir: Option<PathBuf>,
    /// Program that is started as session daemon when none answers (libvirtd or `ironvirt`, called as `libvirtd`);
    /// none: a session without daemon is an error.
    pub session_daemon: Option<PathBuf>,
    /// The client counts as root. None: ask the kernel.
    pub privileged: Option<bool>,
}

/// Keepalive questions of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first question, and between questions.
    pub interval: Duration,
    /// Questions without an answer before the connection is given up.
    pub count: u32,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            read_only: false,
            answer_keepalive: true,
            keepalive: None,
            close_callback: false,
            system_dir: "/var/run/libvirt".into(),
            session_dir: None,
            session_daemon: None,
            privileged: None,
        }
    }
}
