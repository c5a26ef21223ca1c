//! A daemon in a box: private folders in the place of libvirt's own, and a process namespace.
//!
//! The shell that is process 1 of the box reaps at once what is orphaned in it, as a host's init
//! does; a container's often does not, and then ending a guest seems to take a second longer. All
//! that was started in the box ends with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tests::{namespace, processes, wire};

/// A daemon that runs in a box; it and its guests end when this is dropped.
pub struct Boxed {
    folder: tempfile::TempDir,
    /// Its `/run`: in memory, as on a host.
    run: tempfile::TempDir,
    command: Vec<String>,
    child: Option<Child>,
}

impl Boxed {
    /// Makes a box and starts the program in it.
    pub fn start(program: &Path, args: &[&str]) -> Boxed {
        let folder = tempfile::Builder::new().prefix("ivb-").tempdir_in("/var/tmp");
        let folder = folder.expect("a folder below /var/tmp");
        let run = tempfile::Builder::new().prefix("ivb-").tempdir_in("/dev/shm");
        let run = run.expect("a folder below /dev/shm");
        for path in [folder.path(), run.path()] {
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(path, open).expect("chmod of our own");
        }
        let mut command = vec![program.to_string_lossy().into_owned()];
        command.extend(args.iter().map(|&word| word.to_owned()));
        let mut boxed = Boxed { folder, run, command, child: None };
        // No log daemon beside libvirtd; ours needs none.
        boxed.write(
            "etc/libvirt/qemu.conf",
            "stdio_handler = \"file\"\nsecurity_driver = \"none\"\n",
        );
        boxed.launch();
        boxed
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("mkdir");
        std::fs::write(path, text).expect("a file of the box");
    }

    /// Starts the daemon; returns the time until the first call was answered.
    pub fn launch(&mut self) -> Duration {
        let mut script = String::from("set -e\n");
        for folder in namespace::FOLDERS {
            let there = self.path(folder);
            let there = there.display();
            script.push_str(&format!("mkdir -p {there} {folder}; mount --bind {there} {folder}\n"));
        }
        script.push_str("mkdir -p /var/lib/libvirt/qemu /var/cache/libvirt/qemu\n");
        script.push_str("mount -t proc proc /proc\n\"$@\" &\nwait $!");
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]);
        command.args(["sh", "-c", &script, "sh"]);
        let log = std::fs::File::create(self.folder.path().join("log")).expect("a log");
        let begun = Instant::now();
        let child = command
            .args(&self.command)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("unshare runs");
        self.child = Some(child);
        let deadline = begun + Duration::from_secs(120);
        while !self.answers() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "{} does not answer:\n{log}", self.command[0]);
            std::thread::sleep(Duration::from_millis(1));
        }
        begun.elapsed()
    }

    fn answers(&self) -> bool {
        let Ok(stream) = std::os::unix::net::UnixStream::connect(self.socket()) else {
            return false;
        };
        drop(stream);
        let mut stream = wire::open(&self.socket(), false);
        let (status, _) = wire::ask(&mut stream, wire::procedure::CONNECT_GET_TYPE, 3, &[]);
        status == 0
    }

    /// Its main socket as seen from outside of the box.
    pub fn socket(&self) -> PathBuf {
        self.path("/run/libvirt/libvirt-sock")
    }

    /// A path inside of the box, as seen from outside of it.
    pub fn path(&self, inside: &str) -> PathBuf {
        match inside.strip_prefix("/run") {
            Some(rest) => self.run.path().join(rest.trim_start_matches('/')),
            None => self.folder.path().join(inside.trim_start_matches('/')),
        }
    }

    /// Asks the daemon to end; returns how long that took.
    pub fn stop(&mut self) -> Duration {
        let begun = Instant::now();
        let pid = self.pid();
        if let Some(mut child) = self.child.take() {
            processes::signal(pid, Signal::TERM);
            child.wait().expect("our own child");
        }
        begun.elapsed()
    }

    /// The daemon's own process: the child of the box's shell, which is unshare's child.
    fn pid(&self) -> i32 {
        let child_of = |pid: i32| {
            let path = format!("/proc/{pid}/task/{pid}/children");
            let children = std::fs::read_to_string(path).unwrap_or_default();
            children.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
        };
        child_of(child_of(self.child.as_ref().map_or(0, |child| child.id() as i32)))
    }

    /// Resident memory in MiB.
    pub fn resident(&self) -> f64 {
        let pid = self.pid();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
        let kib = line.split_whitespace().nth(1).and_then(|word| word.parse::<f64>().ok());
        kib.unwrap_or_default() / 1024.0
    }
}

impl Drop for Boxed {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
