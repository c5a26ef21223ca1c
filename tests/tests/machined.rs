//! Guests that systemd-machined knows: what it is told of them, where they and their limits are, and
//! what becomes of them when it fails; under us, under libvirtd, and from one to the other.
//!
//! Needs root, dbus-daemon and Python's dbus; skips where they are not.

use std::path::{Path, PathBuf};

use host::cgroup::{Cgroups, Controller, MachineGroup, Part};
use serde_json::json;
use tests::machined::{self, Bus, Machined};
use tests::on_host::{LIBVIRTD, Running, virsh};
use tests::{guests, namespace, processes, wait};

fn on_a_host(test: &str, body: impl FnOnce()) {
    namespace::inside(test, || {
        std::fs::write("/etc/libvirt/qemu.conf", "stdio_handler = \"file\"\n").expect("a file");
        std::fs::create_dir_all("/var/lib/libvirt/images").expect("a folder");
        body();
    });
}

/// A file with a guest's definition; `extra` is put below `<domain>`, `devices` below `<devices>`.
fn definition(name: &str, extra: &str, devices: &str) -> PathBuf {
    let folder = Path::new("/var/lib/libvirt/images");
    let image = folder.join("boot.img");
    if !image.exists() {
        std::fs::write(&image, guests::boot_sector()).expect("an image");
    }
    let xml = tests::domains::from_disk(name, &image, &folder.join(format!("{name}.serial")));
    // All of them boot from it.
    let xml = xml.replace("<target dev='hda'", "<shareable/><target dev='hda'");
    let xml = xml.replace("<devices>", &format!("{extra}<devices>{devices}"));
    let file = folder.join(format!("{name}.xml"));
    std::fs::write(&file, xml).expect("a file");
    file
}

/// Starts a guest; the pid of its QEMU.
fn start(name: &str, extra: &str) -> u32 {
    virsh(&format!("create {}", definition(name, extra, "").display())).ok();
    pid(name)
}

fn pid(name: &str) -> u32 {
    let pid = std::fs::read_to_string(format!("/run/libvirt/qemu/{name}.pid")).expect("a pid");
    pid.trim().parse().expect("a number")
}

fn group(pid: u32) -> MachineGroup {
    Cgroups::detect().expect("mounts").machine_of(pid).expect("a guest's group")
}

/// Where a guest's groups are.
fn place(pid: u32) -> String {
    group(pid).relative().display().to_string()
}

fn scope(id: u32, name: &str) -> String {
    format!("machine.slice/machine-qemu\\x2d{id}\\x2d{name}.scope")
}

fn shares(group: &MachineGroup) -> String {
    group.get(Part::Machine, Controller::Cpu, "cpu.shares").expect("a value")
}

fn has_cpu_v1() -> bool {
    Cgroups::detect().expect("mounts").is_v2(Controller::Cpu) == Some(false)
}

fn log(name: &str) -> String {
    std::fs::read_to_string(format!("/var/log/libvirt/qemu/{name}.log")).expect("a log")
}

const TUNED: &str = "<cputune><shares>2000</shares><period>100000</period><quota>50000</quota>\
    <global_quota>80000</global_quota></cputune>";

/// Under either daemon machined is told the same of a guest, and the guest is in the same place.
#[test]
fn guests_are_registered_as_libvirtd_does() {
    on_a_host("guests_are_registered_as_libvirtd_does", || {
        let Some(machined) = Machined::start() else { return };
        let servers = [machined::ours as fn() -> _, machined::libvirtd];
        let count = if Path::new(LIBVIRTD).exists() { 2 } else { 1 };
        for (index, server) in servers.into_iter().take(count).enumerate() {
            let daemon = server();
            let prod = "<resource><partition>/machine/prod-a</partition></resource>";
            let guests = [("plain", ""), ("sp_ec--ial", ""), ("part", prod)];
            let mut places = Vec::new();
            for (name, extra) in guests {
                let pid = start(name, extra);
                places.push(place(pid));
                let uuid = virsh(&format!("domuuid {name}")).ok();
                let (machine, slice) = match name {
                    "part" => ("qemu-3-part", "machine-prod\\x2da.slice"),
                    "plain" => ("qemu-1-plain", "machine.slice"),
                    _ => ("qemu-2-spec-ial", "machine.slice"),
                };
                let settings = json!([
                    ["Slice", slice],
                    ["After", ["libvirtd.service", "virtqemud.service"]],
                    ["Before", ["virt-guest-shutdown.target"]],
                ]);
                let uuid = uuid.trim().replace('-', "");
                let expected = json!([machine, uuid, "libvirt-qemu", "vm", pid, "", [], settings]);
                let told = machined.calls("CreateMachineWithNetwork");
                assert_eq!(told.last(), Some(&expected));
            }
            let prod = "machine.slice/machine-prod\\x2da.slice/machine-qemu\\x2d3\\x2dpart.scope";
            let special = scope(2, "spec\\x2dial");
            let expected = [scope(1, "plain"), special, prod.to_owned()];
            assert_eq!(places, expected.map(|scope| scope + "/libvirt"));
            for (name, _) in guests {
                virsh(&format!("destroy {name}")).ok();
            }
            wait::until("machined to know of their end", || {
                let ended = machined.calls("TerminateMachine").len();
                (ended == 3 * (index + 1) && machined.calls("ended").len() == ended).then_some(())
            });
            daemon.stop();
        }
    });
}

/// Limits hold in the scope: the weight against other guests its own, the rest in the guest's groups.
#[test]
fn limits_hold_in_a_scope() {
    on_a_host("limits_hold_in_a_scope", || {
        let Some(machined) = Machined::start() else { return };
        if !has_cpu_v1() {
            eprintln!("skipped: this host has no CPU controller of version 1");
            return;
        }
        let daemon = machined::ours();
        let pid = start("tuned", TUNED);
        let group = group(pid);
        let get = |part, file| group.get(part, Controller::Cpu, file).expect("a value");
        assert_eq!(get(Part::Machine, "cpu.cfs_quota_us"), "80000");
        assert_eq!(get(Part::Vcpu(0), "cpu.cfs_quota_us"), "50000");
        assert!(group.holds(Part::Emulator, pid));
        let folder = group.folder(Part::Machine, Controller::Cpu).expect("a folder");
        let read = |folder: &Path| std::fs::read_to_string(folder.join("cpu.shares"));
        assert_eq!(read(folder.parent().expect("a scope")).expect("shares").trim(), "2000");
        assert_eq!(read(&folder).expect("shares").trim(), "1024");
        virsh("schedinfo tuned --live --set cpu_shares=3000").ok();
        assert!(virsh("schedinfo tuned").ok().contains("cpu_shares     : 3000"));
        let unit = scope(1, "tuned").replace("machine.slice/", "");
        let told = |value| json!([unit, true, [["CPUShares", value]]]);
        assert_eq!(machined.calls("SetUnitProperties"), [told(2000), told(3000)]);
        assert!(virsh("domstats tuned --cpu-total").ok().contains("cpu.time="));
        virsh("destroy tuned").ok();
        wait::until("its groups to be gone", || (!group.exists()).then_some(()));
        wait::until("its scope to be gone", || {
            (!folder.parent().expect("a scope").exists()).then_some(())
        });
        daemon.stop();
    });
}

/// A guest that one daemon registered is listed, tuned and destroyed by the other, in its scope.
fn changes_hands(test: &str, name: &str, first: fn() -> Running, second: fn() -> Running) {
    on_a_host(test, || {
        if !Path::new(LIBVIRTD).exists() {
            eprintln!("skipped: {test} needs libvirtd to change hands with");
            return;
        }
        if name == "ours" {
            // libvirtd loses even its own guests in scopes where there are both versions.
            let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
            for line in mounts.lines().filter(|line| line.starts_with("cgroup2 ")) {
                let mount = line.split_ascii_whitespace().nth(1).expect("a mount");
                tests::tool("umount", &[mount], "").ok();
            }
        }
        let Some(machined) = Machined::start() else { return };
        let daemon = first();
        let pid = start(name, TUNED);
        daemon.stop();
        let daemon = second();
        assert_eq!(virsh(&format!("domstate {name}")).ok().trim(), "running");
        let group = group(pid);
        assert!(group.scope().is_some());
        if has_cpu_v1() {
            virsh(&format!("schedinfo {name} --live --set cpu_shares=3000")).ok();
            assert_eq!(shares(&group), "3000");
            virsh(&format!("schedinfo {name} --live --set global_quota=70000")).ok();
            let quota = group.get(Part::Machine, Controller::Cpu, "cpu.cfs_quota_us");
            assert_eq!(quota.expect("a value"), "70000");
            assert_eq!(machined.calls("SetUnitProperties").len(), 2);
        }
        virsh(&format!("destroy {name}")).ok();
        wait::until("its groups to be gone", || (!group.exists()).then_some(()));
        wait::until("machined to know of its end", || {
            let machine = json!([format!("qemu-1-{name}")]);
            machined.calls("TerminateMachine").contains(&machine).then_some(())
        });
        daemon.stop();
    });
}

#[test]
fn libvirtd_takes_over_a_registered_guest() {
    let test = "libvirtd_takes_over_a_registered_guest";
    changes_hands(test, "ours", machined::ours, machined::libvirtd);
}

#[test]
fn a_guest_that_libvirtd_registered_is_taken_over() {
    let test = "a_guest_that_libvirtd_registered_is_taken_over";
    changes_hands(test, "theirs", machined::libvirtd, machined::ours);
}

/// A guest starts whatever machined does, in groups of ours where it must, and its log tells why; not
/// where it is to be in a slice that only systemd has.
#[test]
fn guests_start_when_machined_fails() {
    on_a_host("guests_start_when_machined_fails", || {
        let Some(machined) = Machined::start() else { return };
        let daemon = machined::ours();
        machined.fail("old");
        assert_eq!(place(start("old", "")), scope(1, "old") + "/libvirt");
        assert_eq!(machined.calls("CreateMachine").len(), 1);

        let prod = "<resource><partition>/machine/prod</partition></resource>";
        let own = |name: &str, id| format!("machine/qemu-{id}-{name}.libvirt-qemu");
        machined.fail("refuse");
        let refused = virsh(&format!("create {}", definition("part", prod, "").display())).failed();
        let words = "error from service: GDBus.Error:org.freedesktop.DBus.Error.AccessDenied: not \
            today";
        assert!(refused.contains(words), "{refused}");
        assert_eq!(place(start("refused", "")), own("refused", 3));
        assert!(log("refused").contains("not registered with systemd-machined: GDBus.Error"));
        machined.fail("nowhere");
        assert_eq!(place(start("nowhere", "")), own("nowhere", 4));

        machined.fail("");
        assert_eq!(place(start("first", TUNED)), scope(5, "first") + "/libvirt");
        machined.fail("hang");
        // The first waits for it, and becomes QEMU in a process that machined does not know.
        let pid = start("hangs", TUNED);
        assert_eq!(place(pid), own("hangs", 6));
        let asked = machined.calls("CreateMachineWithNetwork");
        assert_ne!(asked.last().expect("a call")[4], pid);
        assert!(log("hangs").contains("not registered with systemd-machined: Timeout was reached"));
        // Those after it do not wait.
        assert_eq!(place(start("next", "")), own("next", 7));
        assert!(log("next").contains("did not answer lately"));
        assert_eq!(machined.calls("CreateMachineWithNetwork").len(), asked.len());
        for name in ["old", "refused", "nowhere", "first", "hangs", "next"] {
            virsh(&format!("destroy {name}")).ok();
        }
        daemon.stop();
    });
}

/// Nobody waits for machined at a guest's end; a guest that ended while no daemon ran is told of by
/// the next; what its scope left where systemd does not look goes, too.
#[test]
fn ends_are_told_and_not_waited_for() {
    on_a_host("ends_are_told_and_not_waited_for", || {
        let Some(machined) = Machined::start() else { return };
        let daemon = machined::ours();
        let gone = start("gone", "");
        let place_of_gone = group(gone);
        daemon.signal(rustix::process::Signal::KILL);
        drop(daemon);
        processes::signal(gone as i32, rustix::process::Signal::KILL);
        wait::until("its end", || machined.calls("ended").first().map(|_| ()));
        let daemon = machined::ours();
        wait::until("the next daemon to say so", || {
            let told = machined.calls("TerminateMachine");
            told.contains(&json!(["qemu-1-gone"])).then_some(())
        });
        assert!(!place_of_gone.exists());
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").expect("hierarchies").flatten() {
            let scope = hierarchy.path().join(scope(1, "gone"));
            assert!(!scope.exists(), "{}", scope.display());
        }
        start("last", "");
        machined.fail("hang-end");
        virsh("destroy last").ok();
        assert_eq!(virsh("list --all --name").ok().trim(), "");
        daemon.stop();
    });
}

/// A machined that comes while the daemon runs is found.
#[test]
fn machined_may_come_later() {
    on_a_host("machined_may_come_later", || {
        let daemon = machined::ours();
        assert!(place(start("before", "")).ends_with(".libvirt-qemu"));
        let Some(bus) = Bus::start() else { return };
        assert!(place(start("bus", "")).ends_with(".libvirt-qemu"));
        let _machined = bus.with_machined();
        wait::until("a guest to be registered", || {
            let place = place(start("then", ""));
            virsh("destroy then").ok();
            place.ends_with(".scope/libvirt").then_some(())
        });
        for name in ["before", "bus"] {
            virsh(&format!("destroy {name}")).ok();
        }
        daemon.stop();
    });
}

/// What serves a guest is in its groups, one that is started anew, too.
#[test]
fn helpers_are_in_the_guests_groups() {
    on_a_host("helpers_are_in_the_guests_groups", || {
        if !Path::new("/usr/bin/passt").exists() {
            eprintln!("skipped: there is no passt");
            return;
        }
        let Some(_machined) = Machined::start() else { return };
        let daemon = machined::ours();
        let passt = "<interface type='user'><backend type='passt'/></interface>";
        virsh(&format!("create {}", definition("helped", "", passt).display())).ok();
        let group = group(pid("helped"));
        let file = "/run/libvirt/qemu/passt/1-helped-net0-passt.pid";
        let helper = || std::fs::read_to_string(file).ok()?.trim().parse::<u32>().ok();
        let first = helper().expect("a pid");
        assert!(group.holds(Part::Emulator, first));
        processes::signal(first as i32, rustix::process::Signal::KILL);
        wait::until("another one", || {
            helper().filter(|pid| *pid != first && group.holds(Part::Emulator, *pid))
        });
        virsh("destroy helped").ok();
        wait::until("its groups to be gone", || (!group.exists()).then_some(()));
        daemon.stop();
    });
}
