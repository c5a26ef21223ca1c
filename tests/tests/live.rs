//! Questions and changes of running guests, and bulk statistics of many that do not run.

use std::collections::BTreeSet;
use std::path::Path;

use tests::{Daemon, domains, groups, namespace, python, tool};

/// A guest whose boot sector runs, with room for one more virtual CPU and a console.
fn guest(daemon: &Daemon, name: &str) -> String {
    domains::boot_sector(daemon, name)
        .replace("<memballoon model='none'/>", "<memballoon model='virtio'/>")
        .replacen("<os>", "<vcpu current='2'>3</vcpu><os>", 1)
        .replacen(
            "</devices>",
            "<console type='pty'><target type='virtio'/></console></devices>",
            1,
        )
}

#[test]
fn a_guest_is_asked_and_changed() {
    let daemon = Daemon::start();
    let name = "asked";
    daemon.define(&guest(&daemon, name)).ok();
    daemon.virsh("start asked").ok();
    let said = python("live", &[daemon.uri().as_str(), name]).ok();
    assert!(said.contains("well"), "{said}");
    domains::discard(&daemon, name);
}

#[test]
fn hardware_numbers_are_there() {
    let daemon = Daemon::start();
    for (line, part) in [
        ("nodeinfo", "CPU model:"),
        ("nodememstats", "total"),
        ("nodecpustats", "idle:"),
        ("nodecpumap", "CPUs online:"),
        ("freecell --all", "Total:"),
    ] {
        let text = daemon.virsh(line).ok();
        assert!(text.contains(part), "{line}: {text}");
    }
    let refused = daemon.virsh("nodecpustats --cpu 9999").failed();
    assert!(refused.contains("Invalid cpuNum"), "{refused}");
}

#[test]
fn statistics_of_guests_that_do_not_run_come_from_their_definitions() {
    let daemon = Daemon::start();
    for index in 0..5 {
        daemon.define(&domains::minimal(&format!("off{index}"))).ok();
    }
    let text = daemon.virsh("domstats --state --balloon").ok();
    assert_eq!(text.matches("state.state=5").count(), 5, "{text}");
    assert_eq!(text.matches("balloon.maximum=").count(), 5, "{text}");
    assert_eq!(daemon.virsh("domstats --state --list-active").ok().trim(), "");
    for index in 0..5 {
        daemon.virsh(&format!("undefine off{index}")).ok();
    }
}

#[test]
fn limits_of_a_definition_are_the_guests_limits() {
    let daemon = Daemon::start();
    let name = "limited";
    // Also those that a killed run left.
    let named = || -> BTreeSet<_> {
        let groups = std::fs::read_dir("/sys/fs/cgroup/cpu/machine").into_iter().flatten();
        let names = groups.flatten().map(|group| group.file_name());
        names.filter(|name| name.to_string_lossy().contains("-limited.")).collect()
    };
    let before = named();
    let mounted = |controller: &str| {
        std::path::Path::new("/sys/fs/cgroup").join(controller).join("cgroup.procs").exists()
    };
    if !mounted("cpu") || !mounted("memory") || daemon.session() {
        eprintln!("skipped: no cpu and memory controllers of version 1, or a session");
        return;
    }
    // With it comes the right to lock so much, which not every host can give.
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let hard = limits.lines().any(|line| {
        line.starts_with("Max locked memory") && line.matches("unlimited").count() == 2
    });
    let hard_limit = if hard { "<hard_limit unit='MiB'>600</hard_limit>" } else { "" };
    if !hard {
        eprintln!("<hard_limit> skipped: locked memory is limited here");
    }
    let memory = format!("<memtune>{hard_limit}<soft_limit unit='MiB'>500</soft_limit></memtune>");
    let tune = "\
        <cputune><shares>1536</shares><period>50000</period><quota>40000</quota>\
        <global_period>100000</global_period><global_quota>200000</global_quota>\
        <emulator_period>20000</emulator_period><emulator_quota>19000</emulator_quota>\
        <vcpusched vcpus='0' scheduler='batch'/></cputune>";
    let xml = guest(&daemon, name).replacen("<vcpu", &format!("{memory}{tune}<vcpu"), 1);
    daemon.define(&xml).ok();
    daemon.virsh("start limited").ok();
    let pid = daemon.qemus()[0];
    let check = |controller, part, file, expected: &str| {
        let found = groups::read(pid, controller, part, file);
        assert_eq!(found.as_deref(), Some(expected), "{controller}{part} {file}");
    };
    if hard {
        check("memory", "", "memory.limit_in_bytes", "629145600");
    }
    check("memory", "", "memory.soft_limit_in_bytes", "524288000");
    check("cpu", "", "cpu.shares", "1536");
    check("cpu", "", "cpu.cfs_quota_us", "200000");
    check("cpu", "/emulator", "cpu.cfs_period_us", "20000");
    check("cpu", "/emulator", "cpu.cfs_quota_us", "19000");
    let mut threads = Vec::new();
    for part in ["/vcpu0", "/vcpu1"] {
        check("cpu", part, "cpu.cfs_period_us", "50000");
        check("cpu", part, "cpu.cfs_quota_us", "40000");
        threads.push(groups::read(pid, "cpu", part, "tasks").unwrap());
        assert!(threads.last().unwrap().parse::<i32>().is_ok(), "one thread: {threads:?}");
    }
    // The 41st field of stat(5), the policy: 3 is SCHED_BATCH.
    let policy = |thread: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/stat")).unwrap();
        let (_, rest) = stat.rsplit_once(')').unwrap();
        rest.split_whitespace().nth(38).unwrap().to_owned()
    };
    assert_eq!((policy(&threads[0]), policy(&threads[1])), ("3".to_owned(), "0".to_owned()));
    // One that comes later is limited like the others.
    daemon.virsh("setvcpus limited 3 --live").ok();
    check("cpu", "/vcpu2", "cpu.cfs_quota_us", "40000");
    assert!(groups::read(pid, "cpu", "/vcpu2", "tasks").unwrap().parse::<i32>().is_ok());
    daemon.virsh("destroy limited").ok();
    daemon.virsh("undefine limited").ok();

    // What the kernel refuses is said, and nothing is left.
    let tune = "<cputune><global_period>100000</global_period><global_quota>50000</global_quota>\
        <emulator_quota>90000</emulator_quota></cputune>";
    let xml = guest(&daemon, name).replacen("<vcpu", &format!("{tune}<vcpu"), 1);
    daemon.define(&xml).ok();
    let refused = daemon.virsh("start limited").failed();
    assert!(refused.contains("cpu.cfs_quota_us': Invalid argument"), "{refused}");
    let left: BTreeSet<_> = named().difference(&before).cloned().collect();
    assert!(left.is_empty(), "{left:?}");
    daemon.virsh("undefine limited").ok();
}

#[test]
fn json_has_an_element_for_each_of_several() {
    let daemon = Daemon::start();
    let three = domains::minimal("three").replace("<os>", "<vcpu>3</vcpu><os>");
    daemon.define(&three).ok();
    let data = |line: &str| -> serde_json::Value {
        serde_json::from_str(&daemon.ironvirt(&format!("-o json {line} three")).ok()).expect("JSON")
    };
    let cpus = data("vcpuinfo");
    let numbers: Vec<_> = cpus.as_array().expect("a list").iter().map(|c| &c["vcpu"]).collect();
    assert_eq!(numbers, ["0", "1", "2"]);
    assert_eq!(data("iothreadinfo"), serde_json::json!([]));
    domains::discard(&daemon, "three");
}

#[test]
fn processors_that_may_go_come_as_devices_at_a_start() {
    let daemon = Daemon::start();
    let name = "plugged";
    let list = "<vcpu current='2'>3</vcpu><vcpus>\
        <vcpu id='0' enabled='yes' hotpluggable='no'/><vcpu id='1' enabled='no' hotpluggable='yes'/>\
        <vcpu id='2' enabled='yes' hotpluggable='yes'/></vcpus>\
        <cputune><vcpupin vcpu='2' cpuset='0'/></cputune>";
    let xml = guest(&daemon, name).replacen("<vcpu current='2'>3</vcpu>", list, 1);
    daemon.define(&xml).ok();
    daemon.virsh("start plugged --paused").ok();
    let places = r#"{"execute":"query-hotpluggable-cpus"}"#;
    let said = daemon.virsh_words(&["qemu-monitor-command", name, places]).ok();
    assert!(said.contains("/machine/peripheral/vcpu2") && !said.contains("vcpu1\""), "{said}");
    let live = daemon.virsh("dumpxml plugged").ok();
    let shown = "<vcpu id='2' enabled='yes' hotpluggable='yes' order='2'/>";
    assert!(live.contains(shown), "{live}");
    daemon.virsh("setvcpus plugged 3 --live").ok();
    let said = daemon.virsh_words(&["qemu-monitor-command", name, places]).ok();
    assert!(said.contains("/machine/peripheral/vcpu1"), "{said}");
    domains::discard(&daemon, name);
    let fixed = xml.replacen("enabled='yes' hotpluggable='yes'", "enabled='yes'", 1);
    daemon.define(&fixed).ok();
    let words = "online non-hotpluggable vcpus need to be ordered prior to hotpluggable vcpus";
    daemon.virsh("start plugged").fails_with(&[words]);
    daemon.virsh("undefine plugged").ok();
}

/// A running guest whose definition was taken away keeps the last one, until it ends or is defined
/// again: what it would have been started with next.
#[test]
fn an_undefined_guest_shows_what_was_stored_last() {
    let daemon = Daemon::start();
    let xml = domains::boot_sector(&daemon, "kept");
    let uuid = "<uuid>7a7f1f6e-1111-4222-8333-444455556666</uuid>";
    let titled =
        |title: &str| xml.replacen("</name>", &format!("</name>{uuid}<title>{title}</title>"), 1);
    let title = |words: &str| {
        let shown = daemon.virsh(&format!("dumpxml kept {words}")).ok();
        let (_, rest) = shown.split_once("<title>").expect("a title");
        rest.split_once('<').map(|(title, _)| title.to_owned()).unwrap_or_default()
    };
    daemon.define(&titled("first")).ok();
    daemon.virsh("start kept").ok();
    daemon.define(&titled("second")).ok();
    let stored = daemon.virsh("dumpxml kept --inactive").ok();
    daemon.virsh("undefine kept").ok();
    assert!(daemon.virsh("list --transient --name").ok().contains("kept"));
    assert_eq!(daemon.virsh("dumpxml kept --inactive").ok(), stored);
    assert_eq!((title(""), title("--inactive")), ("first".to_owned(), "second".to_owned()));
    // Nothing can be stored for it.
    daemon.virsh("setmem kept 20000 --config").fails_with(&["transient"]);
    daemon.define(&titled("third")).ok();
    assert_eq!((title(""), title("--inactive")), ("first".to_owned(), "third".to_owned()));
    daemon.virsh("undefine kept").ok();
    assert_eq!((title(""), title("--inactive")), ("first".to_owned(), "third".to_owned()));
    daemon.virsh("destroy kept").ok();
    daemon.virsh("dominfo kept").failed();
}

/// Folders of huge pages are looked for when a guest wants some, and its own goes with it.
#[test]
fn huge_pages_are_had_from_where_they_are_mounted() {
    namespace::inside("huge_pages_are_had_from_where_they_are_mounted", || {
        let mut daemon = Daemon::prepare(tests::Options::default());
        let mount = daemon.path("pages");
        std::fs::create_dir_all(&mount).expect("a folder");
        let conf = format!("hugetlbfs_mount = \"{}\"\n", mount.display());
        daemon.write("etc/libvirt/qemu.conf", conf);
        daemon.launch();
        for (line, words) in [
            ("allocpages 4K 1", "system pages pool can't be modified"),
            ("allocpages 3M 1", "page size 3072 is not available"),
            ("allocpages 3M 1 --cellno 0", "page size 3072 is not available on node 0"),
            ("allocpages 2M 0 --cellno -2", "operation failed: NUMA node -2 is not available"),
            ("allocpages 2M 1 --cellno 77", "start cell 77 out of range"),
        ] {
            let refused = daemon.virsh(line).failed();
            assert!(refused.contains(words), "{line}: {refused}");
        }
        let pool = Path::new("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
        let pages = || std::fs::read_to_string(pool).ok()?.trim().parse::<u64>().ok();
        let options = "pagesize=2M";
        let target = mount.display().to_string();
        let Some(before) = pages() else {
            eprintln!("skipped: a kernel without pages of 2 MiB");
            return;
        };
        if daemon.virsh("allocpages 2M 16 --add").status != 0 {
            daemon.virsh(&format!("allocpages 2M {before}")).ok();
            eprintln!("skipped: no memory left for pages of 2 MiB");
            return;
        }
        let backing = "<memoryBacking><hugepages/></memoryBacking><os>";
        daemon.define(&domains::boot_sector(&daemon, "paged").replacen("<os>", backing, 1)).ok();
        let refused = daemon.virsh("start paged").failed();
        assert!(refused.contains("hugetlbfs filesystem is not mounted"), "{refused}");
        tool("mount", &["-t", "hugetlbfs", "-o", options, "none", &target], "").ok();
        daemon.virsh("start paged").ok();
        let own = || std::fs::read_dir(mount.join("libvirt/qemu")).map_or(0, Iterator::count);
        let line = std::fs::read(format!("/proc/{}/cmdline", daemon.qemus()[0])).expect("QEMU's");
        let wanted = format!("\"mem-path\":\"{target}/libvirt/qemu/2-paged\"");
        let (line, there) = (String::from_utf8_lossy(&line).into_owned(), own());
        daemon.virsh("destroy paged").ok();
        daemon.virsh(&format!("allocpages 2M {before}")).ok();
        assert!(line.contains(&wanted), "{line}");
        assert_eq!((there, own()), (1, 0));
        assert_eq!(pages(), Some(before));
        tool("umount", &[&target], "").ok();
    });
}

/// All that QEMU runs is bound, also threads that are neither of a processor nor of a disk.
#[test]
fn no_thread_runs_beside_the_guests_processors() {
    let daemon = Daemon::start();
    let bound = guest(&daemon, "bound").replace("<vcpu ", "<vcpu cpuset='0' ");
    daemon.define(&bound).ok();
    daemon.virsh("start bound").ok();
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.qemus()[0])).expect("tasks");
    for task in tasks.flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        // One may have ended meanwhile.
        assert!(cpus.is_none_or(|cpus| cpus.trim() == "0"), "{status}");
    }
    domains::discard(&daemon, "bound");
}

/// Clients tell faults apart by who reports them.
#[test]
fn who_reports_a_fault_is_told() {
    let daemon = Daemon::start();
    daemon
        .define(
            "<domain type='qemu'><name>reports</name><memory unit='MiB'>32</memory>
             <os><type arch='x86_64' machine='pc'>hvm</type></os></domain>",
        )
        .ok();
    let said = python("reporters", &[daemon.uri().as_str(), "reports"]).ok();
    assert!(said.contains("well"), "{said}");
    domains::discard(&daemon, "reports");
}

/// What the kernel would bring into its range in silence is refused.
#[test]
fn a_start_takes_no_processors_nor_shares_that_cannot_be_had() {
    let daemon = Daemon::start();
    let cases = [
        ("<vcpu cpuset='0,900'>1</vcpu>", "", "Numerical result out of range"),
        ("<vcpu>1</vcpu>", "<vcpupin vcpu='0' cpuset='0,900'/>", "Numerical result out of range"),
        ("<vcpu>1</vcpu>", "<shares>0</shares>", "shares '0' must be in range ["),
        ("<vcpu>1</vcpu>", "<shares>300000</shares>", "shares '300000' must be in range ["),
    ];
    for (vcpu, tune, words) in cases {
        let xml = format!(
            "<domain type='qemu'><name>beyond</name><memory unit='MiB'>32</memory>{vcpu}
             <cputune>{tune}</cputune><os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"
        );
        daemon.define(&xml).ok();
        daemon.virsh("start beyond").fails_with(&[words]);
        domains::discard(&daemon, "beyond");
    }
}

/// A running guest's definition says what it got, not what was asked for.
#[test]
fn sizes_of_a_running_guest_are_whole_units() {
    let daemon = Daemon::start();
    let odd = domains::boot_sector(&daemon, "odd");
    let odd = odd.replace(
        "<memory unit='MiB'>32</memory>",
        "<memory>32760</memory><currentMemory>20000</currentMemory>",
    );
    daemon.define(&odd).ok();
    daemon.virsh("start odd").ok();
    let said = |options: &str| {
        let text = daemon.virsh(&format!("dumpxml odd {options}")).ok();
        let sizes = text.lines().filter(|line| line.contains("emory unit="));
        sizes.map(|line| line.trim().to_owned()).collect::<Vec<_>>()
    };
    // It has no balloon that could take some away.
    let whole =
        ["<memory unit='KiB'>32768</memory>", "<currentMemory unit='KiB'>32768</currentMemory>"];
    assert_eq!(said(""), whole);
    let asked =
        ["<memory unit='KiB'>32760</memory>", "<currentMemory unit='KiB'>20000</currentMemory>"];
    assert_eq!(said("--inactive"), asked);
    domains::discard(&daemon, "odd");
}
