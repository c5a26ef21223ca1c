//! Where every file lives: libvirt's layout below a root, or in a user's XDG directories.

use std::path::{Path, PathBuf};

/// Longest path that fits into `sockaddr_un` with its terminating zero byte (unix(7)).
pub const SOCKET_PATH_MAX: usize = 107;

/// Longest socket name the daemon makes below its directories:
/// `qemu/channel/ID-NAME/org.qemu.guest_agent.0` with libvirt's shortened names.
const LONGEST_SOCKET_TAIL: usize =
    "/qemu/domain-2147483647-12345678901234567890/monitor.sock".len();

/// The directories of one daemon. All paths are absolute and have no trailing slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// `--root`, or empty for the machine's own tree; only for messages and demo texts.
    pub root: PathBuf,
    /// True for a user's own daemon (`qemu:///session`).
    pub session: bool,
    /// `/etc/libvirt`.
    pub etc: PathBuf,
    /// `/run/libvirt`.
    pub run: PathBuf,
    /// `/var/lib/libvirt`.
    pub lib: PathBuf,
    /// `/var/cache/libvirt`.
    pub cache: PathBuf,
    /// `/var/log/libvirt`.
    pub log: PathBuf,
    /// `/run/libvirtd.pid`.
    pub pid_file: PathBuf,
    /// Scripts of the administrator; a session's are the machine's too.
    pub hooks: PathBuf,
    /// Where QEMU's firmware descriptors of the machine are looked for, most specific first.
    pub firmware: Vec<PathBuf>,
}

/// A root under which sockets could not be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{path}' is too long: with it a monitor socket's path would have {length} bytes, \
     and a unix socket's path may have at most {SOCKET_PATH_MAX}; choose a shorter root"
)]
pub struct RootTooLong {
    path: String,
    length: usize,
}

impl Layout {
    /// The system daemon's tree below `root` (`/` or empty for the machine's own).
    ///
    /// # Errors
    /// Refuses a root so long that sockets below it could not be bound.
    pub fn system(root: &Path) -> Result<Self, RootTooLong> {
        let base = if root == Path::new("/") { Path::new("") } else { root };
        let at = |path: &str| PathBuf::from(format!("{}{path}", base.display()));
        let layout = Self {
            root: base.to_path_buf(),
            session: false,
            etc: at("/etc/libvirt"),
            run: at("/run/libvirt"),
            lib: at("/var/lib/libvirt"),
            cache: at("/var/cache/libvirt"),
            log: at("/var/log/libvirt"),
            pid_file: at("/run/libvirtd.pid"),
            hooks: at("/etc/libvirt/hooks"),
            firmware: vec!["/etc/qemu/firmware".into(), "/usr/share/qemu/firmware".into()],
        };
        layout.checked()
    }

    /// A user's own tree: configuration, state, cache and run-time directories as the XDG base
    /// directory specification gives them (`config` = `$XDG_CONFIG_HOME` and so on).
    ///
    /// # Errors
    /// Refuses directories so long that sockets below them could not be bound.
    pub fn session(config: &Path, run: &Path, cache: &Path) -> Result<Self, RootTooLong> {
        let run = run.join("libvirt");
        let etc = config.join("libvirt");
        let layout = Self {
            root: PathBuf::new(),
            session: true,
            lib: etc.join("qemu/lib"),
            log: cache.join("libvirt"),
            cache: cache.join("libvirt"),
            pid_file: run.join("libvirtd.pid"),
            hooks: "/etc/libvirt/hooks".into(),
            firmware: vec![
                config.join("qemu/firmware"),
                "/etc/qemu/firmware".into(),
                "/usr/share/qemu/firmware".into(),
            ],
            etc,
            run,
        };
        layout.checked()
    }

    fn checked(self) -> Result<Self, RootTooLong> {
        for dir in [&self.qemu_lib(), &self.run] {
            let length = dir.as_os_str().len() + LONGEST_SOCKET_TAIL - "/qemu".len();
            if length > SOCKET_PATH_MAX {
                return Err(RootTooLong { path: dir.display().to_string(), length });
            }
        }
        Ok(self)
    }

    /// Whether it is the machine's own tree.
    pub fn is_hosts(&self) -> bool {
        self.root.as_os_str().is_empty()
    }

    /// What tells this daemon's guests from those of other roots, where names belong to the whole
    /// machine; nothing for the machine's own tree, whose names are libvirt's.
    pub fn cgroup_mark(&self) -> String {
        if self.is_hosts() {
            return String::new();
        }
        // FNV-1a, 64 bits: the same in every build.
        let bytes = self.root.as_os_str().as_encoded_bytes().iter();
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!(".{hash:016x}")
    }

    /// Persistent definitions: `NAME.xml`.
    pub fn domain_config(&self) -> PathBuf {
        self.etc.join("qemu")
    }

    /// Links to definitions that are started with the host.
    pub fn domain_autostart(&self) -> PathBuf {
        self.domain_config().join("autostart")
    }

    /// Status files and pid files of running domains.
    pub fn qemu_run(&self) -> PathBuf {
        self.run.join("qemu")
    }

    /// QEMU's private directories, NVRAM, channel sockets' targets.
    pub fn qemu_lib(&self) -> PathBuf {
        if self.session { self.lib.clone() } else { self.lib.join("qemu") }
    }

    /// QEMU's log files.
    pub fn qemu_log(&self) -> PathBuf {
        if self.session { self.log.join("qemu/log") } else { self.log.join("qemu") }
    }

    /// What QEMU binaries were found to be able to do.
    pub fn qemu_cache(&self) -> PathBuf {
        if self.session { self.cache.join("qemu/cache") } else { self.cache.join("qemu") }
    }

    /// Persistent storage pool definitions.
    pub fn pool_config(&self) -> PathBuf {
        self.etc.join("storage")
    }

    /// Secrets and their values.
    pub fn secret_config(&self) -> PathBuf {
        self.etc.join("secrets")
    }

    /// The lock of whoever has the secrets.
    pub fn secret_run(&self) -> PathBuf {
        self.run.join("secrets")
    }

    /// Run-time state of storage pools.
    pub fn pool_run(&self) -> PathBuf {
        self.run.join("storage")
    }

    /// The read-write socket.
    pub fn socket(&self) -> PathBuf {
        self.run.join("libvirt-sock")
    }

    /// The read-only socket.
    pub fn socket_read_only(&self) -> PathBuf {
        self.run.join("libvirt-sock-ro")
    }

    /// The log daemon's socket.
    pub fn log_daemon_socket(&self) -> PathBuf {
        self.run.join("virtlogd-sock")
    }

    /// The lock daemon's socket.
    pub fn lock_daemon_socket(&self) -> PathBuf {
        self.run.join("virtlockd-sock")
    }

    /// The administration socket.
    pub fn socket_admin(&self) -> PathBuf {
        self.run.join("libvirt-admin-sock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_tree_is_libvirts() {
        let layout = Layout::system(Path::new("/")).expect("short enough");
        assert_eq!(layout.domain_config(), Path::new("/etc/libvirt/qemu"));
        assert_eq!(layout.socket(), Path::new("/run/libvirt/libvirt-sock"));
        assert_eq!(layout.pid_file, Path::new("/run/libvirtd.pid"));
    }

    #[test]
    fn groups_of_roots_have_names_of_their_own() {
        let mark = |root: &str| Layout::system(Path::new(root)).expect("short").cgroup_mark();
        assert_eq!(mark("/"), "");
        // What FNV-1a is defined to be of "/a".
        assert_eq!(mark("/a"), ".07d66707b49cd92d");
        assert_ne!(mark("/a"), mark("/b"));
    }

    #[test]
    fn a_root_that_would_break_sockets_is_refused_by_name() {
        let long = format!("/tmp/{}", "x".repeat(60));
        let error = Layout::system(Path::new(&long)).expect_err("too long");
        assert!(error.to_string().contains("at most 107"), "{error}");
    }
}
