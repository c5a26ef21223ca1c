//! Device lists on this machine, as processes meet them. Does nothing where there is no right to
//! make one.

use host::cgroup::{
    Cgroups, Controller, Device, DeviceAccess, DeviceKind, Devices, MachineGroup, Part,
    machine_name,
};
use std::path::Path;
use std::process::Command;

/// Opens devices from inside a group, to read and to write; which of both worked for each.
fn opens(group: &MachineGroup, paths: &[&str]) -> Vec<(bool, bool)> {
    let joins = group.join_files(Part::Machine);
    let joins = joins.iter().map(|file| format!("echo $$ > {}; ", file.display()));
    let tries = paths.iter().map(|path| {
        format!("(: < {path}) && echo yes || echo no; (: 1<> {path}) && echo yes || echo no; ")
    });
    let script: String = joins.chain(tries).collect();
    let said = Command::new("sh").args(["-c", &script]).output().expect("a shell");
    let said = String::from_utf8(said.stdout).expect("text");
    let said: Vec<bool> = said.lines().map(|line| line == "yes").collect();
    said.chunks(2).map(|pair| (pair[0], pair[1])).collect()
}

fn at(path: &str) -> Device {
    Device::at(Path::new(path)).expect("there").expect("a device")
}

#[test]
fn a_guarded_group_opens_what_is_listed() {
    let cgroups = Cgroups::detect().expect("mounts");
    let name = machine_name(std::process::id(), "device-test");
    let group = cgroups.machine("/machine", &name);
    if cgroups.is_v2(Controller::Devices).is_none() || group.create(Part::Machine).is_err() {
        eprintln!("skipped: no right to guard devices");
        return;
    }
    let (null, zero, full) = ("/dev/null", "/dev/zero", "/dev/full");
    let paths = [null, zero, full];
    let (none, read, both) = ((false, false), (true, false), (true, true));
    assert_eq!(group.devices().expect("a list"), None);
    assert_eq!(opens(&group, &paths), [both, both, both]);
    // Without a list nothing is listed.
    group.allow_device(at(null), DeviceAccess::READ).expect("done");
    group.restrict_device(at(zero), DeviceAccess::NONE).expect("done");
    assert_eq!(group.devices().expect("a list"), None);

    let mut devices = Devices::from([
        (at(null), DeviceAccess::READ_WRITE),
        (at(zero), DeviceAccess::READ),
        (Device { kind: DeviceKind::Char, major: 136, minor: None }, DeviceAccess::READ_WRITE),
    ]);
    group.guard_devices(&devices).expect("a list");
    assert_eq!(group.devices().expect("a list"), Some(devices.clone()));
    assert_eq!(opens(&group, &paths), [both, read, none]);

    group.allow_device(at(full), DeviceAccess::READ_WRITE).expect("done");
    group.allow_device(at(zero), DeviceAccess::READ_WRITE).expect("done");
    assert_eq!(opens(&group, &paths), [both, both, both]);
    group.restrict_device(at(zero), DeviceAccess::READ).expect("done");
    group.restrict_device(at(full), DeviceAccess::NONE).expect("done");
    assert_eq!(opens(&group, &paths), [both, read, none]);
    assert_eq!(group.devices().expect("a list"), Some(devices.clone()));

    // More than a table has room for at first; and all of a major number.
    for minor in 0..200 {
        let device = Device { kind: DeviceKind::Block, major: 251, minor: Some(minor) };
        group.allow_device(device, DeviceAccess::READ).expect("done");
        devices.insert(device, DeviceAccess::READ);
    }
    assert_eq!(group.devices().expect("a list"), Some(devices));
    let memory = Device { kind: DeviceKind::Char, major: 1, minor: None };
    group.allow_device(memory, DeviceAccess::READ).expect("done");
    assert_eq!(opens(&group, &paths), [both, read, read]);

    // A block device with the numbers of a character device is another.
    group.restrict_device(memory, DeviceAccess::NONE).expect("done");
    let block = Device { kind: DeviceKind::Block, ..at(full) };
    group.allow_device(block, DeviceAccess::READ_WRITE).expect("done");
    assert_eq!(opens(&group, &paths), [both, read, none]);
    group.allow_device(at(full), DeviceAccess::READ_WRITE).expect("done");
    assert_eq!(opens(&group, &paths), [both, read, both]);
    group.remove(Part::Machine).expect("nobody is in it");
}
