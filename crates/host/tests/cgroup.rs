//! Groups on this machine. Does nothing where the hierarchies cannot be written to.

use host::cgroup::{Cgroups, Controller, Part, machine_name};
use host::process::Exit;
use host::spawn::{Helper, SpawnSpec, prepare};

#[tokio::test]
async fn life_of_a_group() {
    let cgroups = Cgroups::detect().unwrap();
    let name = machine_name(std::process::id(), "host-test");
    let group = cgroups.machine("/machine", &name);
    if group.create(Part::Machine).is_err() || !group.exists() {
        return;
    }
    // What nobody is in is nobody's.
    assert!(group.claim().unwrap());
    assert!(group.claim().unwrap());
    group.create(Part::Emulator).unwrap();
    group.create(Part::Vcpu(0)).unwrap();
    group.create(Part::Vcpu(0)).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let log = host::files::open_log(&dir.path().join("log")).unwrap();
    let mut spec = SpawnSpec::new("/bin/sleep", log.into());
    spec.args = vec!["300".into()];
    spec.cgroups = group.join_files(Part::Emulator);
    let helper = Helper {
        program: env!("CARGO_BIN_EXE_host-test-helper").into(),
        args: vec!["__exec".into()],
    };
    let mut prepared = prepare(&helper, spec).await.unwrap();
    prepared.ready().await.unwrap();
    let process = prepared.go().await.unwrap();
    let pid = process.pid();

    let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert!(own.contains(&format!("/machine/{name}")), "{own}");
    assert_eq!(group.processes(), [pid]);
    assert_eq!(cgroups.machine_of(pid).as_ref(), Some(&group));
    assert_eq!(cgroups.machine_of(std::process::id()), None);
    if group.folder(Part::Vcpu(0), Controller::Cpu).is_some()
        || cgroups.controllers().next().is_none()
    {
        group.move_thread(Part::Vcpu(0), pid).unwrap();
        let own = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        assert!(own.contains("/vcpu0"), "{own}");
        assert!(group.holds(Part::Vcpu(0), pid) && !group.holds(Part::Emulator, pid));
    }
    if cgroups.is_v2(Controller::Cpu) == Some(false) {
        group.set(Part::Machine, Controller::Cpu, "cpu.shares", "512").unwrap();
        assert_eq!(group.get(Part::Machine, Controller::Cpu, "cpu.shares").unwrap(), "512");
        assert!(group.set(Part::Machine, Controller::Cpu, "cpu.shares", "many").is_err());
        assert!(group.set(Part::Machine, Controller::Cpu, "cpu.nothing", "1").is_err());
    }
    assert_eq!(cgroups.named(&name), std::slice::from_ref(&group));
    assert!(group.remove(Part::Machine).is_err(), "a process is in it");
    assert!(!group.claim().unwrap(), "a process is in it");
    assert_eq!(group.processes(), [pid]);
    process.kill().unwrap();
    assert_eq!(process.exited().await.unwrap(), Exit::Signal(9));
    group.remove(Part::Vcpu(0)).unwrap();
    group.remove(Part::Machine).unwrap();
    assert!(!group.exists());
    group.remove(Part::Machine).unwrap();
}
