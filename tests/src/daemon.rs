//! A daemon under test, on a root folder of its own.
//!
//! [`Daemon::start`] waits for the readiness line; dropping a [`Daemon`] ends it, its guests and
//! all else that names its folder, and removes the folder. With `IRONVIRT_TEST_SOCKET` set, the
//! daemon behind that socket is used instead and nothing is started or stopped.

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::{self, Outcome};
use crate::{groups, paths, processes, wait};

/// How to start a daemon.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Further arguments after `daemon --root DIR`.
    pub args: Vec<OsString>,
    /// Further environment.
    pub env: Vec<(OsString, OsString)>,
}

/// A running (or, between [`Daemon::kill`] and [`Daemon::restart`], stopped) daemon.
pub struct Daemon {
    root: TempDir,
    socket: PathBuf,
    options: Options,
    child: Option<Child>,
    external: bool,
}

impl Daemon {
    /// Starts a daemon with default options on a fresh folder.
    #[track_caller]
    pub fn start() -> Daemon {
        Daemon::start_with(Options::default())
    }

    /// Starts a daemon on a fresh folder.
    #[track_caller]
    pub fn start_with(options: Options) -> Daemon {
        let mut daemon = Daemon::prepare(options);
        daemon.launch();
        daemon
    }

    /// A daemon's folder without a daemon yet: put files there, then [`Daemon::launch`].
    pub fn prepare(options: Options) -> Daemon {
        // A short path: socket paths may not exceed 107 bytes. Open to QEMU's user.
        let root = tempfile::Builder::new()
            .prefix("iv-")
            .tempdir_in("/var/tmp")
            .expect("a folder below /var/tmp");
        fs::set_permissions(root.path(), Permissions::from_mode(0o755)).expect("chmod of our own");
        let external = std::env::var_os("IRONVIRT_TEST_SOCKET");
        let socket = match &external {
            Some(path) => path.into(),
            None => root.path().join("run/libvirt/libvirt-sock"),
        };
        Daemon { root, socket, options, child: None, external: external.is_some() }
    }

    /// Starts the daemon and waits until it says that it is ready.
    #[track_caller]
    pub fn launch(&mut self) {
        if self.external {
            return;
        }
        let log = File::options().create(true).append(true).open(self.log_path());
        let mut command = Command::new(paths::ironvirt());
        command.arg("daemon").arg("--root").arg(self.root.path());
        if self.session() {
            command.arg("--session");
        }
        command.args(&self.options.args).envs(self.options.env.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.expect("the log opens"));
        let mut child = command.spawn().expect("the daemon starts");
        let stdout = child.stdout.take().expect("stdout is a pipe");
        self.child = Some(child);

        let (sender, receiver) = mpsc::channel();
        // Reads on after the readiness line, so that the daemon never blocks on a full pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        let said = receiver.recv_timeout(wait::PATIENCE).unwrap_or_default();
        assert!(said.starts_with("ready: "), "no readiness line but {said:?}; {}", self.log());
    }

    /// Whether clients must ask for session mode: so when the tests run as an ordinary user.
    pub fn session(&self) -> bool {
        !self.external && !paths::is_root()
    }

    /// Whether this is a daemon that somebody else runs; it cannot be killed or restarted.
    pub fn is_external(&self) -> bool {
        self.external
    }

    /// The folder given as `--root`. Files of a test may lie here too: it goes at the end.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// A path below the root.
    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.path().join(relative)
    }

    /// Writes a file below the root that QEMU's user can read, and returns its path.
    pub fn write(&self, relative: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("a folder of the test can be made");
        }
        fs::write(&path, content).expect("a file of the test can be written");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("chmod of our own");
        path
    }

    /// The main socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The URI by which clients reach it.
    pub fn uri(&self) -> String {
        client::uri(&self.socket, self.session())
    }

    /// The URI of the read-only socket.
    pub fn uri_readonly(&self) -> String {
        client::uri(&self.socket.with_file_name("libvirt-sock-ro"), self.session())
    }

    /// Process id of the daemon itself.
    #[track_caller]
    pub fn pid(&self) -> i32 {
        self.child.as_ref().expect("the daemon runs").id() as i32
    }

    /// Ids of the QEMU processes it left running.
    pub fn qemus(&self) -> Vec<i32> {
        processes::qemus(self.root())
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.path("daemon.log")
    }

    /// Runs Debian's virsh with the words of `line` (no quoting: a word has no blanks in it).
    pub fn virsh(&self, line: &str) -> Outcome {
        self.virsh_words(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs Debian's virsh with these words.
    pub fn virsh_words(&self, words: &[&str]) -> Outcome {
        let uri = self.uri();
        let mut all = vec!["-c", uri.as_str()];
        all.extend_from_slice(words);
        client::tool("virsh", &all, "")
    }

    /// Runs our own command with the words of `line`.
    pub fn ironvirt(&self, line: &str) -> Outcome {
        let uri = self.uri();
        let mut words = vec!["-c", uri.as_str()];
        words.extend(line.split_whitespace());
        client::tool(paths::ironvirt(), &words, "")
    }

    /// Defines a domain from XML text with virsh.
    pub fn define(&self, xml: &str) -> Outcome {
        self.virsh_with_file("define", xml)
    }

    /// Runs `virsh VERB FILE` with a file that holds `xml`.
    pub fn virsh_with_file(&self, verb: &str, xml: &str) -> Outcome {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(file.path(), xml).expect("a temporary file can be written");
        let path = file.path().to_string_lossy().into_owned();
        self.virsh_words(&[verb, &path])
    }

    /// Waits until `virsh domstate --reason NAME` says `state`.
    #[track_caller]
    pub fn wait_for_state(&self, name: &str, state: &str) {
        let mut last = String::new();
        let found = wait::until_some(wait::PATIENCE, || {
            let said = self.virsh_words(&["domstate", "--reason", name]);
            last = said.stdout.trim().to_owned();
            (last == state).then_some(())
        });
        assert!(found.is_some(), "waited in vain for {name} to be {state}; it is {last}");
    }

    /// Asks the daemon to end (SIGTERM) and waits until it has.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.end(Signal::TERM)
    }

    /// Waits until the daemon, which was told to, has ended.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("the daemon runs and is ours");
        wait::until("the daemon to end", || child.try_wait().expect("our own child"))
    }

    /// Ends the daemon with SIGKILL.
    #[track_caller]
    pub fn kill(&mut self) -> ExitStatus {
        self.end(Signal::KILL)
    }

    #[track_caller]
    fn end(&mut self, signal: Signal) -> ExitStatus {
        let mut child = self.child.take().expect("the daemon runs and is ours");
        processes::signal(child.id() as i32, signal);
        wait::until("the daemon to end", || child.try_wait().expect("our own child"))
    }

    /// Stops the daemon when it runs, and starts it again on the same folder.
    #[track_caller]
    pub fn restart(&mut self) {
        if self.child.is_some() {
            self.stop();
        }
        self.launch();
    }

    /// Panics unless the daemon still runs and answers.
    #[track_caller]
    pub fn assert_well(&mut self) {
        if let Some(child) = &mut self.child {
            let ended = child.try_wait().expect("our own child");
            assert!(ended.is_none(), "the daemon ended ({ended:?}); its log:\n{}", self.log());
        }
        self.virsh("list --all").ok();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() && !self.external {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("the daemon's last lines:");
            tail.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
        // A guest may still be starting: look again until nothing names our folder.
        for _ in 0..50 {
            let left = processes::naming(self.root.path());
            if left.is_empty() {
                break;
            }
            left.into_iter().for_each(|pid| processes::signal(pid, Signal::KILL));
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        groups::remove(self.root.path());
    }
}
