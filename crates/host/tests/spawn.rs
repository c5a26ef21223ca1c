//! The start protocol with real processes and a real QEMU (which must be installed).

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use host::monitor::{Monitor, MonitorError, MonitorEvent};
use host::process::{Exit, Process, is_alive, start_time};
use host::spawn::{
    Credentials, Helper, Resource, ResourceLimit, SpawnError, SpawnSpec, Step, prepare,
};
use qmp::{EventKind, ResetReason, cmd};
use tokio::time::Instant;

const HELPER: &str = env!("CARGO_BIN_EXE_host-test-helper");

fn helper() -> Helper {
    Helper { program: HELPER.into(), args: vec!["__exec".into()] }
}

fn spec(dir: &Path, program: &str, args: &[&str]) -> SpawnSpec {
    let log = host::files::open_log(&dir.join("log")).unwrap();
    let mut spec = SpawnSpec::new(program, log.into());
    spec.args = args.iter().map(Into::into).collect();
    spec.env = vec![("PATH".into(), "/usr/bin:/bin".into()), ("LC_ALL".into(), "C".into())];
    spec
}

fn log(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("log")).unwrap()
}

/// Runs a shell script to its end and returns how it ended.
async fn run(spec: SpawnSpec) -> Exit {
    let mut prepared = prepare(&helper(), spec).await.unwrap();
    prepared.ready().await.unwrap();
    prepared.go().await.unwrap().exited().await.unwrap()
}

#[tokio::test]
async fn environment_of_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let (_other, second) = std::io::pipe().unwrap();
    let script = "pwd; umask; env | sort; cat <&9; ls /proc/self/fd; \
                  test $$ = $(ps -o sid= -p $$ | tr -d ' ') && echo leader; grep -E '^Sig(Blk|Ign)' /proc/self/status; exit 5";
    let mut spec = spec(dir.path(), "/bin/sh", &["-c", script]);
    spec.umask = 0o027;
    spec.fds = vec![(OwnedFd::from(reader), 9), (OwnedFd::from(second), 5)];
    spec.limits =
        vec![ResourceLimit { resource: Resource::Nofile, soft: Some(77), hard: Some(88) }];
    let pid_file = dir.path().join("vm.pid");
    spec.pid_file = Some(pid_file.clone());
    spec.oom_score_adj = Some(300);
    let mut prepared = prepare(&helper(), spec).await.unwrap();
    prepared.ready().await.unwrap();
    let pid = prepared.pid();
    assert_eq!(start_time(pid).unwrap(), prepared.start_time());
    let process = prepared.go().await.unwrap();
    // The script waits for its input, so this looks at the program, not at the helper.
    assert_eq!(std::fs::read_to_string(&pid_file).unwrap(), pid.to_string());
    assert_eq!(host::lock::pid_file_holder(&pid_file).unwrap(), Some(pid), "locked while it runs");
    let adj = std::fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap();
    assert_eq!(adj.trim(), "300");
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let nofile: Vec<_> = limits
        .lines()
        .find(|l| l.starts_with("Max open files"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(nofile[3..5], ["77", "88"]);
    (&writer).write_all(b"through nine\n").unwrap();
    drop(writer);
    assert_eq!(process.exited().await.unwrap(), Exit::Code(5));
    assert_eq!(host::lock::pid_file_holder(&pid_file).unwrap(), None);
    let log = log(dir.path());
    let text: Vec<&str> = log.lines().collect();
    assert_eq!(text[..2], ["/", "0027"], "{log}");
    assert!(log.contains("LC_ALL=C\nPATH=/usr/bin:/bin\nPWD=/\n"), "{log}");
    // 3 is what ls opens itself, 10 the pid file.
    assert!(
        log.contains("through nine\n0\n1\n10\n2\n3\n5\n9\n")
            || log.contains("through nine\n0\n1\n2\n3\n5\n9\n"),
        "{log}"
    );
    assert!(log.contains("leader\nSigBlk:\t0000000000000000\n"), "{log}");
    let ignored = log.lines().find_map(|l| l.strip_prefix("SigIgn:\t")).unwrap();
    // Signals 32 and 33 are the C library's own, which it lets nobody change.
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & !0x1_8000_0000, 0, "{log}");
}

#[tokio::test]
async fn another_user() {
    if !rustix::process::getuid().is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut spec = spec(
        dir.path(),
        "/bin/sh",
        &["-c", "grep -E '^(Uid|Gid|Groups|Cap[PEIA]|NoNew)' /proc/self/status"],
    );
    spec.user = Some(Credentials { uid: 4711, gid: 4712, groups: vec![4712, 4713] });
    spec.no_new_privs = true;
    assert_eq!(run(spec).await, Exit::Code(0));
    let zero = "0000000000000000";
    let expected = format!(
        "Uid:\t4711\t4711\t4711\t4711\nGid:\t4712\t4712\t4712\t4712\nGroups:\t4712 4713 \n\
         CapInh:\t{zero}\nCapPrm:\t{zero}\nCapEff:\t{zero}\nCapAmb:\t{zero}\nNoNewPrivs:\t1\n"
    );
    assert_eq!(log(dir.path()), expected);
}

#[tokio::test]
async fn root_without_capabilities() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = spec(dir.path(), "/bin/sh", &["-c", "grep -E '^Cap[PE]' /proc/self/status"]);
    spec.clear_capabilities = true;
    assert_eq!(run(spec).await, Exit::Code(0));
    assert_eq!(log(dir.path()), "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n");
}

async fn failing(change: impl FnOnce(&mut SpawnSpec)) -> (Step, String) {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = spec(dir.path(), "/bin/true", &[]);
    change(&mut spec);
    let mut prepared = prepare(&helper(), spec).await.unwrap();
    let (pid, started) = (prepared.pid(), prepared.start_time());
    let result = match prepared.ready().await {
        Ok(()) => prepared.go().await.map(drop),
        Err(error) => {
            prepared.abort().await;
            Err(error)
        }
    };
    let Err(SpawnError::Step(failure)) = result else { panic!("{result:?}") };
    for _ in 0..200 {
        if !is_alive(pid, started) {
            return (failure.step, failure.to_string());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the helper is still there");
}

#[tokio::test]
async fn failures_name_step_and_operand() {
    let check = |(step, text): (Step, String), expected_step, expected: &str| {
        assert_eq!((step, text.as_str()), (expected_step, expected));
    };
    let exec = failing(|s| s.program = "/no/such/qemu".into()).await;
    check(exec, Step::Exec, "cannot execute binary /no/such/qemu: No such file or directory");
    let exec = failing(|s| s.program = "/etc/passwd".into()).await;
    check(exec, Step::Exec, "cannot execute binary /etc/passwd: Permission denied");
    let directory = failing(|s| s.directory = "/no/such".into()).await;
    check(
        directory,
        Step::Directory,
        "cannot change to directory /no/such: No such file or directory",
    );
    let cgroup = failing(|s| s.cgroups = vec!["/sys/fs/cgroup/none/tasks".into()]).await;
    check(
        cgroup,
        Step::Cgroup,
        "cannot join cgroup /sys/fs/cgroup/none/tasks: No such file or directory",
    );
    let pid = failing(|s| s.pid_file = Some("/no/such.pid".into())).await;
    check(
        pid,
        Step::PidFile,
        "cannot write and lock pid file /no/such.pid: No such file or directory",
    );
}

#[tokio::test]
async fn invalid_specifications() {
    let dir = tempfile::tempdir().unwrap();
    for numbers in [vec![2], vec![7, 7]] {
        let mut spec = spec(dir.path(), "/bin/true", &[]);
        spec.fds =
            numbers.iter().map(|&n| (OwnedFd::from(std::io::pipe().unwrap().0), n)).collect();
        assert!(matches!(prepare(&helper(), spec).await, Err(SpawnError::Invalid(_))));
    }
    let spec = spec(dir.path(), "/bin/true", &[]);
    let lost = Helper { program: "/no/such/helper".into(), args: vec![] };
    assert!(matches!(prepare(&lost, spec).await, Err(SpawnError::Helper { .. })));
}

#[tokio::test]
async fn many_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let mut spec = spec(dir.path(), "/bin/sh", &["-c", "exec ls /proc/self/fd"]);
    spec.fds = (0..300)
        .map(|n| (OwnedFd::from(std::fs::File::open("/dev/zero").unwrap()), 100 + n))
        .collect();
    assert_eq!(run(spec).await, Exit::Code(0));
    let numbers: Vec<i32> = log(dir.path()).lines().filter_map(|l| l.parse().ok()).collect();
    assert!((100..400).all(|n| numbers.contains(&n)));
}

#[tokio::test]
async fn dropped_before_go() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join("mark");
    let mut prepared =
        prepare(&helper(), spec(dir.path(), "/usr/bin/touch", &[mark.to_str().unwrap()]))
            .await
            .unwrap();
    prepared.ready().await.unwrap();
    let (pid, started) = (prepared.pid(), prepared.start_time());
    let watch = Process::open(pid).unwrap();
    drop(prepared);
    watch.exited().await.unwrap();
    assert!(!is_alive(pid, started));
    assert!(!mark.exists(), "the program must not have run");
}

/// The daemon is killed at each step: before "go" nothing may be left, after it the program runs on.
#[test]
fn killed_daemon() {
    for (step, survives) in [("prepared", false), ("ready", false), ("running", true)] {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let mut daemon = Command::new(HELPER)
            .args(["daemon", step, log.to_str().unwrap(), "/bin/sleep", "300"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid: u32 = line.trim().parse().unwrap();
        let started = start_time(pid).unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        if survives {
            std::thread::sleep(Duration::from_millis(100));
            assert!(is_alive(pid, started), "killed at {step}");
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let process = Process::reopen(pid, started).unwrap().unwrap();
                process.kill().unwrap();
                assert_eq!(process.exited().await.unwrap(), Exit::Unknown, "not our child");
            });
        } else {
            let gone = (0..500).any(|_| {
                std::thread::sleep(Duration::from_millis(10));
                !is_alive(pid, started)
            });
            assert!(gone, "killed at {step}: an orphan is left");
        }
    }
}

struct Guest {
    process: Process,
    connected: host::monitor::Connected,
    dir: tempfile::TempDir,
}

/// Starts QEMU with its monitor on a listening socket that we made.
async fn qemu(args: &[&str]) -> Guest {
    let dir = tempfile::tempdir().unwrap();
    let path: PathBuf = dir.path().join("qmp");
    let listener = UnixListener::bind(&path).unwrap();
    let mut spec = spec(dir.path(), "/usr/bin/qemu-system-x86_64", args);
    for arg in [
        "-display",
        "none",
        "-nodefaults",
        "-S",
        "-chardev",
        "socket,id=mon,fd=20,server=on,wait=off",
        "-mon",
        "chardev=mon,mode=control",
    ] {
        spec.args.push(arg.into());
    }
    spec.fds = vec![(listener.into(), 20)];
    let mut prepared = prepare(&helper(), spec).await.unwrap();
    prepared.ready().await.unwrap();
    let process = prepared.go().await.unwrap();
    let stream = UnixStream::connect(&path).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let connected = Monitor::from_stream(stream, deadline).await.unwrap();
    connected.monitor.execute(cmd::qmp_capabilities(false)).await.unwrap();
    Guest { process, connected, dir }
}

async fn next(events: &mut host::monitor::Events) -> EventKind {
    match events.recv().await {
        Some(MonitorEvent::Event(event)) => event.kind(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn conversation_with_qemu() {
    let Guest { process, mut connected, dir } =
        qemu(&["-machine", "pc,accel=tcg", "-m", "32"]).await;
    let monitor = &connected.monitor;
    assert!(connected.greeting.version.major >= 6);
    assert!(!monitor.execute(cmd::query_status()).await.unwrap().running);
    // Pipelined: all sent before any is answered.
    let (a, b, c, d) = tokio::join!(
        monitor.execute(cmd::cont()),
        monitor.execute(cmd::query_cpus_fast()),
        monitor.execute(cmd::query_version()),
        monitor.execute(cmd::query_balloon()),
    );
    a.unwrap();
    assert!(process.threads().contains(&u32::try_from(b.unwrap()[0].thread_id).unwrap()));
    assert_eq!(c.unwrap().0, connected.greeting.version);
    assert!(matches!(d, Err(MonitorError::Qmp(e)) if e.class == "DeviceNotActive"));
    assert_eq!(next(&mut connected.events).await, EventKind::Resume);
    monitor.execute(cmd::stop()).await.unwrap();
    assert_eq!(next(&mut connected.events).await, EventKind::Stop);

    // A descriptor goes over, and what QEMU writes to it comes back.
    let mut path = tempfile::tempfile().unwrap();
    let fd = OwnedFd::from(path.try_clone().unwrap());
    let added = monitor.execute_with_fds(cmd::add_fd(None, Some("shot")), vec![fd]).await.unwrap();
    let refused = monitor.execute(cmd::getfd("x")).await;
    assert!(matches!(refused, Err(MonitorError::Qmp(_))), "the descriptor must not be sent twice");
    let set = format!("/dev/fdset/{}", added.fdset_id);
    let shot = monitor.execute(cmd::screendump(&set, None, None, None)).await;
    assert!(matches!(shot, Err(MonitorError::Qmp(_))), "this machine has no display");
    monitor.execute(cmd::remove_fd(added.fdset_id, None)).await.unwrap();
    let mut text = String::new();
    path.read_to_string(&mut text).unwrap();

    process.terminate().unwrap();
    let event = next(&mut connected.events).await;
    assert_eq!(event, EventKind::Shutdown { guest: false, reason: ResetReason::HostSignal });
    assert_eq!(process.exited().await.unwrap(), Exit::Code(0));
    assert!(matches!(
        connected.events.recv().await,
        Some(MonitorEvent::Closed(MonitorError::Closed))
    ));
    assert!(connected.events.recv().await.is_none());
    assert!(matches!(monitor.execute(cmd::query_status()).await, Err(MonitorError::Closed)));
    assert!(log(dir.path()).contains("terminating on signal 15"), "QEMU writes its log itself");
}

#[tokio::test]
async fn qemu_dies_in_the_middle() {
    let Guest { process, connected, .. } = qemu(&["-machine", "none"]).await;
    let monitor = connected.monitor.clone();
    // Stopped, it cannot answer: the command is surely under way when it is killed.
    let pid = rustix::process::Pid::from_raw(i32::try_from(process.pid()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let late = monitor.with_timeout(Duration::from_millis(50)).execute(cmd::query_status()).await;
    assert!(matches!(late, Err(MonitorError::Timeout { .. })));
    let asking = tokio::spawn(async move { monitor.execute(cmd::query_machines()).await });
    tokio::task::yield_now().await;
    process.kill().unwrap();
    assert!(matches!(asking.await.unwrap(), Err(MonitorError::Closed)));
    assert_eq!(process.exited().await.unwrap(), Exit::Signal(9));
}

#[tokio::test]
async fn large_answers_and_late_ones() {
    let Guest { process, connected, .. } = qemu(&["-machine", "none"]).await;
    let monitor = connected.monitor;
    let schema = monitor.execute(cmd::query_qmp_schema()).await.unwrap();
    assert!(schema.len() > 500);
    let machines = monitor.execute(cmd::query_machines()).await.unwrap();
    assert!(machines.iter().any(|m| m.alias.as_deref() == Some("pc")));
    assert!(!monitor.execute(cmd::query_cpu_definitions()).await.unwrap().is_empty());
    assert!(!monitor.execute(cmd::query_command_line_options(None)).await.unwrap().is_empty());
    assert!(!monitor.execute(cmd::qom_list_types(Some("device"), false)).await.unwrap().is_empty());
    assert!(
        !monitor.execute(cmd::device_list_properties("virtio-blk-pci")).await.unwrap().is_empty()
    );
    assert_eq!(monitor.execute(cmd::query_target()).await.unwrap().arch, "x86_64");
    assert!(monitor.execute(cmd::query_tpm_types()).await.is_ok());
    // An answer that nobody waits for any more disturbs no later one.
    drop(monitor.submit(cmd::query_machines().with_reply(), Vec::new()));
    assert_eq!(monitor.execute(cmd::query_status()).await.unwrap().status, "prelaunch");
    monitor.execute(cmd::quit()).await.unwrap();
    assert_eq!(process.exited().await.unwrap(), Exit::Code(0));
}

#[tokio::test]
async fn qemu_refuses_its_arguments() {
    let dir = tempfile::tempdir().unwrap();
    let exit =
        run(spec(dir.path(), "/usr/bin/qemu-system-x86_64", &["-machine", "nonsense"])).await;
    assert_eq!(exit, Exit::Code(1));
    assert!(log(dir.path()).contains("unsupported machine type"));
}

#[tokio::test]
async fn no_monitor() {
    let dir = tempfile::tempdir().unwrap();
    let deadline = Instant::now() + Duration::from_millis(30);
    let error = Monitor::connect(&dir.path().join("qmp"), deadline).await.unwrap_err();
    assert!(matches!(error, MonitorError::Connect { .. }));
    // Something listens that is no QEMU.
    let path = dir.path().join("ssh");
    let listener = UnixListener::bind(&path).unwrap();
    let peer = std::thread::spawn(move || listener.accept().unwrap().0.write_all(b"SSH-2.0-x\r\n"));
    let error =
        Monitor::connect(&path, Instant::now() + Duration::from_secs(20)).await.unwrap_err();
    assert!(matches!(error, MonitorError::Protocol(_)), "{error:?}");
    peer.join().unwrap().unwrap();
}

#[tokio::test]
async fn an_answer_in_order_follows_the_events_before_it() {
    let Guest { process, mut connected, .. } = qemu(&["-machine", "none"]).await;
    let monitor = connected.monitor.clone();
    let asking = tokio::spawn(async move {
        monitor.execute_after_events(cmd::cont()).await.unwrap();
        monitor.execute_after_events(cmd::stop()).await.unwrap();
        monitor.execute_after_events(cmd::quit()).await
    });
    let mut seen = Vec::new();
    while let Some(event) = connected.events.recv().await {
        match event {
            MonitorEvent::Event(event) => seen.push(event.name),
            MonitorEvent::Answer(answer) => {
                seen.push("answer".to_owned());
                answer.deliver();
            }
            other => {
                assert!(matches!(other, MonitorEvent::Closed(_)), "{other:?}");
                break;
            }
        }
    }
    assert_eq!(seen.first_chunk(), Some(&["RESUME", "answer", "STOP", "answer"].map(String::from)));
    asking.await.unwrap().unwrap();
    assert_eq!(process.exited().await.unwrap(), Exit::Code(0));
}
