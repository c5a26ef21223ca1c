//! Folders of the host in the guest: 9p and MTP by QEMU itself, virtiofs by a process beside it.

use super::build::{Build, Props, Switch, comma};
use super::chardev::{Backend, Socket, SocketAddress};
use crate::step::{Access, Action, FileKind, Helper, Step, Undo};
use model::capabilities::host::HostFacts;
use model::domain::devices::Devices;
use model::domain::devices::filesystem::*;

/// The virtiofsd that this host has, if it does.
fn virtiofsd(host: &HostFacts) -> Option<String> {
    let found = host.vhost_user.iter().find(|backend| backend.kind == "fs");
    found.map(|backend| backend.binary.clone())
}

/// Says in the live definition which program serves each folder.
pub(super) fn note_programs(devices: &mut Devices, host: &HostFacts) {
    for fs in &mut devices.filesystems {
        let ours = fs.source.as_ref().is_some_and(|source| source.socket.is_none());
        let kind = fs.driver.as_ref().and_then(|driver| driver.kind.as_deref());
        if ours && kind == Some("virtiofs") {
            let path = &mut fs.binary.get_or_insert_default().path;
            *path = path.take().or_else(|| virtiofsd(host));
        }
    }
}

impl Build<'_> {
    /// All folders.
    pub(super) fn filesystems(&mut self) {
        for fs in self.each("devices/filesystem", &self.dev.filesystems) {
            let driver = fs.driver.clone().unwrap_or_default();
            match driver.kind.as_deref() {
                Some("virtiofs") => self.virtiofs(fs, &driver),
                Some("mtp") => self.mtp(fs),
                None | Some("path" | "handle") => self.plan9(fs, &driver),
                Some(other) => {
                    let text = format!("Filesystem driver type not supported: {other}");
                    self.fail("qemu.filesystem", text);
                }
            }
        }
    }

    fn plan9(&mut self, fs: &Filesystem, driver: &FilesystemDriver) {
        let element = format!("<filesystem> '{}'", fs.target.dir);
        let id = self.alias(&fs.alias, &element);
        let handle = driver.kind.as_deref() == Some("handle");
        let mut out = if handle { "handle" } else { "local" }.to_string();
        if !handle {
            let model = match fs.access_mode.unwrap_or_default() {
                AccessMode::Passthrough => "passthrough",
                AccessMode::Mapped => "mapped",
                AccessMode::Squash => "none",
            };
            out.push_str(&format!(",security_model={model}"));
        }
        if let Some(multi) = fs.multi_devs.filter(|multi| !handle && *multi != MultiDevs::Default) {
            self.need("fsdev.multidevs", &format!("{element}: multidevs"));
            let word = match multi {
                MultiDevs::Remap => "remap",
                MultiDevs::Forbid => "forbid",
                MultiDevs::Warn | MultiDevs::Default => "warn",
            };
            out.push_str(&format!(",multidevs={word}"));
        }
        for (key, mode) in [("fmode", &fs.fmode), ("dmode", &fs.dmode)] {
            if let Some(mode) = mode {
                let octal = u32::from_str_radix(mode, 8).unwrap_or(0);
                out.push_str(&format!(",{key}={octal:04o}"));
            }
        }
        if driver.wrpolicy.as_deref() == Some("immediate") {
            out.push_str(",writeout=immediate");
        }
        let dir = fs.source.as_ref().and_then(|source| source.dir.clone()).unwrap_or_default();
        out.push_str(&format!(",id=fsdev-{id},path={}", comma(&dir)));
        if fs.readonly {
            out.push_str(",readonly");
        }
        // Whose the folder is stays the administrator's choice.
        self.opt("-fsdev", &out);
        let name = self.virtio_name("virtio-9p", &fs.address, fs.model);
        let props = Props::device(&name)
            .extend(Self::virtio_options(Some(&driver.virtio)))
            .set("id", id.clone())
            .set("fsdev", format!("fsdev-{id}"))
            .set("mount_tag", fs.target.dir.clone());
        let place = self.place(&fs.address, &element);
        let index = fs.acpi.as_ref().and_then(|acpi| acpi.index);
        self.device(props.extend(place).opt("acpi-index", index));
    }

    /// A folder as a media player on the USB bus shows it.
    fn mtp(&mut self, fs: &Filesystem) {
        let element = format!("<filesystem> '{}'", fs.target.dir);
        self.need("usb-mtp", &element);
        let id = self.alias(&fs.alias, &element);
        let dir = fs.source.as_ref().and_then(|source| source.dir.clone()).unwrap_or_default();
        let props = Props::device("usb-mtp")
            .set("id", id)
            .set("rootdir", dir)
            .set("desc", fs.target.dir.clone())
            .set("readonly", fs.readonly);
        let place = self.place(&fs.address, &element);
        self.device(props.extend(place));
    }

    fn virtiofs(&mut self, fs: &Filesystem, driver: &FilesystemDriver) {
        let element = format!("<filesystem> '{}'", fs.target.dir);
        self.need("vhost-user-fs", &element);
        let id = self.alias(&fs.alias, &element);
        let source = fs.source.clone().unwrap_or_default();
        let socket = match &source.socket {
            // Somebody else's process serves it.
            Some(socket) => socket.clone(),
            None => self.virtiofsd(fs, &id, source.dir.as_deref().unwrap_or_default()),
        };
        let socket = Socket::connect(SocketAddress::Unix(socket));
        self.chardev_option(&format!("chr-vu-{id}"), &Backend::Socket(socket), None);
        let name = self.virtio_name("vhost-user-fs", &fs.address, fs.model);
        let mut props = Props::device(&name)
            .extend(Self::virtio_options(Some(&driver.virtio)))
            .set("id", id.clone())
            .set("chardev", format!("chr-vu-{id}"))
            .opt("queue-size", driver.queue)
            .set("tag", fs.target.dir.clone());
        if let Some(boot) = &fs.boot {
            self.need("vhost-user-fs.bootindex", &format!("{element}: <boot>"));
            props = props.set("bootindex", boot.order);
        }
        let place = self.place(&fs.address, &element);
        let index = fs.acpi.as_ref().and_then(|acpi| acpi.index);
        self.device(props.extend(place).opt("acpi-index", index));
    }

    /// Starts virtiofsd for a folder; its socket.
    fn virtiofsd(&mut self, fs: &Filesystem, id: &str, dir: &str) -> String {
        let socket = format!("{}/{id}-fs.sock", self.private_dir);
        let pid_file = format!("{}/{id}-fs.pid", self.private_dir);
        let binary = fs.binary.clone().unwrap_or_default();
        let program = binary.path.clone().or_else(|| virtiofsd(self.host));
        if program.is_none() {
            let text = "Unable to find a satisfying virtiofsd";
            self.fail_with("qemu.virtiofsd", diag::ErrorCode::OPERATION_FAILED, text);
        }
        if self.found.virtiofsd_without_locks
            && binary.lock.is_some_and(|lock| lock.posix.is_some() || lock.flock.is_some())
        {
            // Only the first virtiofsd, of QEMU 5 to 7, had a choice.
            let text = "locking options are not supported by this virtiofsd";
            self.fail("qemu.virtiofsd", text);
        }
        let mut args = vec![format!("--socket-path={socket}"), format!("--shared-dir={dir}")];
        if let Some(cache) = &binary.cache {
            let mode = if cache.mode == "none" { "never" } else { cache.mode.as_str() };
            args.push(format!("--cache={mode}"));
        }
        if let Some(sandbox) = &binary.sandbox {
            args.push(format!("--sandbox={}", sandbox.mode));
        }
        if binary.xattr.is_some_and(Switch::on) {
            args.push("--xattr".into());
        }
        if let Some(pool) = &binary.thread_pool {
            args.push(format!("--thread-pool-size={}", pool.size));
        }
        if let Some(files) = &binary.open_files {
            args.push(format!("--rlimit-nofile={}", files.max));
        }
        if fs.readonly {
            args.push("--readonly".into());
        }
        let map = fs.idmap.clone().unwrap_or_default();
        for (option, ranges) in [("uid", &map.uids), ("gid", &map.gids)] {
            for range in ranges {
                let (start, target, count) = (range.start, range.target, range.count);
                args.push(format!("--{option}-map=:{start}:{target}:{count}:"));
            }
        }
        let helper = Helper {
            program: program.unwrap_or_default(),
            args: args.into_iter().map(Into::into).collect(),
            owner: None,
            pid_file: Some(pid_file.clone()),
            socket: Some(socket.clone()),
            daemonizes: false,
            log: Some(format!("{}/{}-{id}-virtiofsd.log", self.set.log_dir, self.d.name)),
            socket_owner: None,
            one_shot: false,
        };
        let (role, kind) = ("<filesystem>".to_owned(), FileKind::SharedFolder);
        self.steps.push(Step::new(Action::RequireFile { path: dir.to_owned(), role, kind }));
        let step = Step::new(Action::Helper(helper)).undone_by(Undo::EndHelper { pid_file });
        self.steps.push(step);
        self.grant(&socket, Access::ReadWrite, false, "<filesystem>");
        socket
    }
}
