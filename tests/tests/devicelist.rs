//! Which devices of the host a guest's processes may open: the list as the kernel holds it, and as
//! processes in the guest's group meet it; under us, under libvirtd, and from one to the other.
//!
//! Needs root, loop devices and a kernel that guards devices; skips where they are not.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use host::cgroup::{Cgroups, Controller, Device, DeviceAccess, DeviceKind, Devices};
use tests::machined::{self, Machined};
use tests::on_host::{LIBVIRTD, Running, forget_groups, virsh};
use tests::{Daemon, domains, guests, namespace, paths, plugging, tool, wait};

/// What every guest may use (the comments of libvirt's `qemu.conf`).
const OF_ALL: [&str; 8] = [
    "/dev/null",
    "/dev/full",
    "/dev/zero",
    "/dev/random",
    "/dev/urandom",
    "/dev/ptmx",
    "/dev/kvm",
    "/dev/userfaultfd",
];

/// A block device over a file, for as long as this lives.
struct Loop(String);

impl Loop {
    fn over(file: &Path) -> Option<Loop> {
        std::fs::write(file, vec![0; 1 << 16]).expect("a file");
        let words = ["--find", "--show", &file.display().to_string()].map(str::to_owned);
        let made = Command::new("losetup").args(words).output().ok()?;
        let path = String::from_utf8(made.stdout).expect("a path").trim().to_owned();
        let made = made.status.success().then_some(Loop(path))?;
        made.forget();
        Some(made)
    }
}

impl Loop {
    /// Its node stays when it goes, as whoever had it before left it: a test that failed, with a
    /// record of whose it was.
    fn forget(&self) {
        let mut names = vec![0; 4096];
        let length = rustix::fs::listxattr(&self.0, &mut names).unwrap_or(0);
        for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let name = String::from_utf8_lossy(name);
            if name.starts_with("trusted.libvirt.") {
                rustix::fs::removexattr(&self.0, &*name).expect("root may");
            }
        }
        std::os::unix::fs::chown(&self.0, Some(0), None).expect("root may");
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        self.forget();
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

/// Some of them, or none where this host has none to give or cannot guard them.
fn loops<const N: usize>(folder: &Path) -> Option<[Loop; N]> {
    let guards = Cgroups::detect().is_ok_and(|groups| groups.is_v2(Controller::Devices).is_some());
    let made: Vec<_> = match paths::is_root() && guards {
        true => (0..N).map_while(|n| Loop::over(&folder.join(format!("loop{n}")))).collect(),
        false => Vec::new(),
    };
    let made = made.try_into().ok();
    if made.is_none() {
        eprintln!("skipped: no loop devices, or no right to guard devices");
    }
    made
}

/// The list of a process's group.
fn listed(pid: i32) -> Option<Devices> {
    let cgroups = Cgroups::detect().expect("mounts");
    let group = cgroups.machine_of(u32::try_from(pid).expect("a pid")).expect("a guest's group");
    group.devices().expect("a list")
}

fn device(path: &str) -> Device {
    Device::at(Path::new(path)).expect("there").expect("a device")
}

/// What is to be on the list: these, to read (`false`) or to read and write.
fn expected(uses: &[(&str, bool)]) -> Option<Devices> {
    let there = OF_ALL.into_iter().filter(|path| Path::new(path).exists());
    let mut devices: Devices = there.map(|path| (device(path), DeviceAccess::READ_WRITE)).collect();
    let terminals = Device { kind: DeviceKind::Char, major: 136, minor: None };
    devices.insert(terminals, DeviceAccess::READ_WRITE);
    devices.extend(uses.iter().map(|(path, writes)| {
        (device(path), if *writes { DeviceAccess::READ_WRITE } else { DeviceAccess::READ })
    }));
    Some(devices)
}

/// Which of these a process can open to read that joins the group of another.
fn opens(pid: i32, paths: &[&str]) -> BTreeSet<String> {
    let cgroups = Cgroups::detect().expect("mounts");
    let group = cgroups.machine_of(u32::try_from(pid).expect("a pid")).expect("a guest's group");
    let folder = group.folder(host::cgroup::Part::Machine, Controller::Devices).expect("a group");
    let join = format!("echo $$ > {}/cgroup.procs; ", folder.display());
    let tries = paths.iter().map(|path| format!("(: < {path}) && echo {path}; "));
    let script: String = std::iter::once(join).chain(tries).collect();
    let said = Command::new("sh").args(["-c", &script]).output().expect("a shell");
    String::from_utf8(said.stdout).expect("paths").lines().map(str::to_owned).collect()
}

/// A definition with a block device, an empty drive, and places for more.
fn xml(from: String, block: &str) -> String {
    let devices = format!(
        "<controller type='usb' model='qemu-xhci'/>\
         <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>\
         <disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>\
         <disk type='block'><driver name='qemu' type='raw'/><source dev='{block}'/>\
         <target dev='sda' bus='usb'/></disk>"
    );
    from.replace("<controller type='usb' model='none'/>", &devices)
}

/// A file with the XML of a disk of a block device.
fn disk(folder: &Path, block: &str, target: &str) -> PathBuf {
    let file = folder.join(format!("{target}.xml"));
    let xml = format!(
        "<disk type='block'><driver name='qemu' type='raw'/><source dev='{block}'/>\
         <target dev='{target}' bus='usb'/></disk>"
    );
    std::fs::write(&file, xml).expect("a file");
    file
}

/// A guest may open what it uses and no more: from its start, through devices and media that come and
/// go and a daemon that is killed meanwhile.
#[test]
fn the_list_follows_the_guests_devices() {
    let mut daemon = Daemon::start();
    let folder = daemon.root().to_owned();
    let Some([first, second, third]) = loops(&folder) else { return };
    let (a, b, c) = (first.0.as_str(), second.0.as_str(), third.0.as_str());
    daemon.virsh_with_file("create", &xml(domains::boot_sector(&daemon, "listed"), a)).ok();
    let pid = daemon.qemus()[0];
    assert_eq!(listed(pid), expected(&[(a, true)]));
    let all = [a, b, "/dev/null", "/dev/kmsg"];
    assert_eq!(opens(pid, &all), [a, "/dev/null"].map(str::to_owned).into());

    let (plug, again) = (disk(&folder, b, "sdb"), disk(&folder, b, "sdc"));
    let attach = format!("attach-device listed {} --live", plug.display());
    let detach = format!("detach-device listed {} --live", plug.display());
    daemon.virsh(&attach).ok();
    assert_eq!(listed(pid), expected(&[(a, true), (b, true)]));
    // QEMU refuses a second writer: what it has stays allowed.
    daemon.virsh(&format!("attach-device listed {} --live", again.display())).failed();
    assert_eq!(listed(pid), expected(&[(a, true), (b, true)]));
    daemon.virsh(&format!("change-media listed hdc {c} --insert --block --live")).ok();
    assert_eq!(listed(pid), expected(&[(a, true), (b, true), (c, false)]));

    // The kernel keeps the list; who comes next goes on with it.
    daemon.kill();
    daemon.restart();
    assert_eq!(listed(pid), expected(&[(a, true), (b, true), (c, false)]));
    daemon.virsh(&detach).ok();
    wait::until("the device to be off the list", || {
        (listed(pid) == expected(&[(a, true), (c, false)])).then_some(())
    });
    daemon.virsh("change-media listed hdc --eject --live").ok();
    assert_eq!(listed(pid), expected(&[(a, true)]));
    // A copy writes to where it goes, for as long as it is made.
    let copy = format!("blockcopy listed sda --dest {b} --blockdev --format raw --transient-job");
    daemon.virsh(&copy).ok();
    assert_eq!(listed(pid), expected(&[(a, true), (b, true)]));
    daemon.virsh("blockjob listed sda --abort").ok();
    wait::until("the copy to be off the list", || {
        (listed(pid) == expected(&[(a, true)])).then_some(())
    });
    daemon.virsh("destroy listed").ok();
}

/// `cgroup_controllers` without devices: guests have no list. `cgroup_device_acl`: what all may use.
#[test]
fn the_settings_count() {
    let start = |conf: &str| {
        let mut daemon = Daemon::prepare(tests::Options::default());
        let folder = daemon.root().to_owned();
        let [only] = loops(&folder)?;
        daemon.write("etc/libvirt/qemu.conf", conf);
        daemon.launch();
        daemon.virsh_with_file("create", &xml(domains::boot_sector(&daemon, "set"), &only.0)).ok();
        let list = listed(daemon.qemus()[0]);
        let block = device(&only.0);
        daemon.virsh("destroy set").ok();
        Some((list, block))
    };
    let Some((list, _)) = start("cgroup_controllers = [ \"cpu\", \"memory\" ]\n") else { return };
    assert_eq!(list, None);
    let given = "cgroup_device_acl = [ \"/dev/null\", \"/dev/zero\", \"/dev/none\" ]\n";
    let (list, block) = start(given).expect("as before");
    let devices: BTreeSet<_> = list.expect("a list").into_keys().collect();
    let terminals = Device { kind: DeviceKind::Char, major: 136, minor: None };
    let wanted = [device("/dev/null"), device("/dev/zero"), device("/dev/urandom"), block];
    assert_eq!(devices, wanted.into_iter().chain([terminals]).collect());
}

fn on_libvirts_paths(test: &str, body: impl FnOnce()) {
    if !Path::new(LIBVIRTD).exists() {
        eprintln!("skipped: {test} needs libvirtd to compare with");
        return;
    }
    namespace::inside(test, || {
        std::fs::write("/etc/libvirt/qemu.conf", "stdio_handler = \"file\"\n").expect("a file");
        std::fs::create_dir_all("/var/lib/libvirt/images").expect("a folder");
        body();
    });
}

/// Starts a guest with a block device on libvirt's paths; the pid of its QEMU.
fn start(name: &str, block: &str) -> i32 {
    forget_groups(name);
    let folder = Path::new("/var/lib/libvirt/images");
    let (image, serial) = (folder.join("boot.img"), folder.join("serial"));
    std::fs::write(&image, guests::boot_sector()).expect("an image");
    let file = folder.join(format!("{name}.xml"));
    std::fs::write(&file, xml(domains::from_disk(name, &image, &serial), block)).expect("a file");
    virsh(&format!("create {}", file.display())).ok();
    let pid = std::fs::read_to_string(format!("/run/libvirt/qemu/{name}.pid")).expect("a pid");
    pid.trim().parse().expect("a number")
}

/// Under either a guest has the same list, and devices that come and go change it alike; one that was
/// started under the other, too.
#[test]
fn lists_change_hands() {
    on_libvirts_paths("lists_change_hands", || {
        let folder = Path::new("/var/lib/libvirt/images");
        let Some([first, second, third, medium]) = loops(folder) else { return };
        let (a, b, c) = (first.0.as_str(), second.0.as_str(), third.0.as_str());
        let d = medium.0.as_str();
        let (second, third) = (disk(folder, b, "sdb"), disk(folder, c, "sdc"));
        let change = |verb: &str, file: &Path| {
            virsh(&format!("{verb}-device handed {} --live", file.display())).ok();
        };
        let reaches = |pid: i32, uses: &[(&str, bool)]| {
            wait::until("the list to follow", || (listed(pid) == expected(uses)).then_some(()));
        };
        for ours_first in [false, true] {
            let mut turn = ours_first;
            let mut next = || {
                let daemon = if turn { Running::ours() } else { Running::libvirtd() };
                turn = !turn;
                daemon
            };
            let daemon = next();
            let pid = start("handed", a);
            reaches(pid, &[(a, true)]);
            daemon.stop();

            let daemon = next();
            change("attach", &second);
            reaches(pid, &[(a, true), (b, true)]);
            virsh(&format!("change-media handed hdc {d} --insert --block --live")).ok();
            reaches(pid, &[(a, true), (b, true), (d, false)]);
            virsh("change-media handed hdc --eject --live").ok();
            reaches(pid, &[(a, true), (b, true)]);
            daemon.stop();

            let daemon = next();
            change("attach", &third);
            reaches(pid, &[(a, true), (b, true), (c, true)]);
            change("detach", &second);
            reaches(pid, &[(a, true), (c, true)]);
            daemon.stop();

            let daemon = next();
            change("detach", &third);
            reaches(pid, &[(a, true)]);
            // Its node is free for the next.
            change("attach", &third);
            reaches(pid, &[(a, true), (c, true)]);
            virsh("destroy handed").ok();
            daemon.stop();
            // What is only read, libvirtd does not give back.
            for path in [a, b, c] {
                assert!(plugging::is_mine(Path::new(path)), "{path} is given back");
            }
        }
    });
}

/// Where systemd makes the groups of libvirtd's guests, they are found all the same: the list and the
/// limits of such a guest change.
#[test]
fn a_guest_in_a_scope_of_machined_is_taken_over() {
    on_libvirts_paths("a_guest_in_a_scope_of_machined_is_taken_over", || {
        let Some(_machined) = Machined::start() else { return };
        let folder = Path::new("/var/lib/libvirt/images");
        let Some([first, second]) = loops(folder) else { return };
        let (a, b) = (first.0.as_str(), second.0.as_str());
        let daemon = machined::libvirtd();
        let pid = start("scoped", a);
        let cgroups = Cgroups::detect().expect("mounts");
        let group = cgroups.machine_of(u32::try_from(pid).expect("a pid")).expect("a group");
        assert!(group.relative().ends_with("libvirt"), "{}", group.relative().display());
        assert_eq!(listed(pid), expected(&[(a, true)]));
        daemon.stop();

        let daemon = machined::ours();
        let plug = disk(folder, b, "sdb");
        virsh(&format!("attach-device scoped {} --live", plug.display())).ok();
        assert_eq!(listed(pid), expected(&[(a, true), (b, true)]));
        virsh(&format!("detach-device scoped {} --live", plug.display())).ok();
        wait::until("the list to follow", || (listed(pid) == expected(&[(a, true)])).then_some(()));
        if cgroups.is_v2(Controller::Cpu) == Some(false) {
            virsh("schedinfo scoped --live --set cpu_shares=2000").ok();
            let shares = group.get(host::cgroup::Part::Machine, Controller::Cpu, "cpu.shares");
            assert_eq!(shares.expect("a value"), "2000");
        }
        virsh("destroy scoped").ok();
        wait::until("its groups to be gone", || (!group.exists()).then_some(()));
        daemon.stop();
    });
}

/// On a host with version 1 alone the list is in the controller's files.
#[test]
fn version_1_has_the_same_list() {
    namespace::inside("version_1_has_the_same_list", || {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
        let (v2, v1): (Vec<_>, Vec<_>) = mounts
            .lines()
            .filter(|line| line.contains(" cgroup"))
            .partition(|line| line.split_ascii_whitespace().nth(2) == Some("cgroup2"));
        if !v1.iter().any(|line| line.contains("devices")) {
            eprintln!("skipped: this host has no device controller of version 1");
            return;
        }
        for line in v2 {
            tool("umount", &[line.split_ascii_whitespace().nth(1).expect("a mount")], "").ok();
        }
        assert_eq!(Cgroups::detect().expect("mounts").is_v2(Controller::Devices), Some(false));
        std::fs::write("/etc/libvirt/qemu.conf", "stdio_handler = \"file\"\n").expect("a file");
        let folder = Path::new("/var/lib/libvirt/images");
        std::fs::create_dir_all(folder).expect("a folder");
        let Some([first, second]) = loops(folder) else { return };
        let (a, b) = (first.0.as_str(), second.0.as_str());
        let daemon = Running::ours();
        let pid = start("older", a);
        assert_eq!(listed(pid), expected(&[(a, true)]));
        assert_eq!(opens(pid, &[a, b]), [a.to_owned()].into());
        let plug = disk(folder, b, "sdb");
        virsh(&format!("attach-device older {} --live", plug.display())).ok();
        assert_eq!(listed(pid), expected(&[(a, true), (b, true)]));
        virsh(&format!("detach-device older {} --live", plug.display())).ok();
        wait::until("the list to follow", || (listed(pid) == expected(&[(a, true)])).then_some(()));
        virsh("destroy older").ok();
        daemon.stop();
    });
}
