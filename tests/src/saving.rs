//! What tests of saved guests share: images at a glance, a packer that waits, a full disk.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::daemon::Options;
use crate::{Daemon, domains, guests, tool, wait};

/// A domain that ticks on its serial port ([`domains::boot_sector`]), defined and running.
#[track_caller]
pub fn ticking(daemon: &Daemon, name: &str) {
    start(daemon, name, &domains::boot_sector(daemon, name));
}

/// The same of another definition of such a domain.
#[track_caller]
pub fn start(daemon: &Daemon, name: &str, xml: &str) {
    daemon.define(xml).ok();
    daemon.virsh_words(&["start", name]).ok();
    wait_for_ticks(daemon, name);
}

/// Waits until a guest that was just started ticks.
#[track_caller]
pub fn wait_for_ticks(daemon: &Daemon, name: &str) {
    wait::until("the guest to tick", || serial(daemon, name).contains("..").then_some(()));
}

/// What the guest wrote on its serial port since its QEMU was started.
pub fn serial(daemon: &Daemon, name: &str) -> String {
    fs::read_to_string(domains::serial_file(daemon, name)).unwrap_or_default()
}

/// Panics unless the guest runs on.
#[track_caller]
pub fn assert_ticks(daemon: &Daemon, name: &str) {
    let before = serial(daemon, name).len();
    wait::until(&format!("{name} to go on"), || {
        (serial(daemon, name).len() > before).then_some(())
    });
}

/// Panics unless the guest goes on where it was: it ticks, and did not boot.
#[track_caller]
pub fn assert_continued(daemon: &Daemon, name: &str) {
    assert_ticks(daemon, name);
    let said = serial(daemon, name);
    assert!(!said.contains(guests::BOOT_SECTOR_LINE), "{name} booted again:\n{said}");
}

/// The names in a folder, sorted; hidden ones too.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A folder whose `gzip` waits until a gate is opened: a save in that format lasts as long as a
/// test wants.
pub struct SlowPacker {
    folder: tempfile::TempDir,
}

impl SlowPacker {
    /// With its gate closed.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("iv-").tempdir_in("/var/tmp").expect("folder");
        let packer = Self { folder };
        let script = format!(
            "#!/bin/sh\nwhile [ ! -e {} ]; do sleep 0.02; done\nexec /usr/bin/gzip \"$@\"\n",
            packer.gate().display()
        );
        let program = packer.folder.path().join("gzip");
        fs::write(&program, script).expect("a script");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
        packer
    }

    /// Options of a daemon that uses it.
    pub fn options(&self) -> Options {
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", self.folder.path().display());
        Options { env: vec![("PATH".into(), path.into())], ..Options::default() }
    }

    fn gate(&self) -> PathBuf {
        self.folder.path().join("gate")
    }

    /// Lets all that wait go on, and those that come.
    pub fn open(&self) {
        fs::write(self.gate(), "").expect("a file");
    }

    /// Makes those that come wait.
    pub fn close(&self) {
        let _ = fs::remove_file(self.gate());
    }
}

impl Default for SlowPacker {
    fn default() -> Self {
        Self::new()
    }
}

/// A small file system that is taken away again.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// One of `size` (as mount takes it) at `path`; none where the user may not mount.
    pub fn mount(path: PathBuf, size: &str) -> Option<Self> {
        fs::create_dir_all(&path).expect("a folder");
        let options = format!("size={size},mode=755");
        let words = ["-t", "tmpfs", "-o", &options, "none"];
        let mut words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        words.push(path.display().to_string());
        (tool("mount", &words, "").status == 0).then_some(Self(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        tool("umount", &["-l", &self.0.display().to_string()], "");
    }
}
