//! In version 2 a program guards a guest's devices, which the kernel runs for each open
//! (`BPF_PROG_TYPE_CGROUP_DEVICE`).
//!
//! The program looks into a table, and that has libvirt's form (observed of libvirtd 11.3): a key is
//! the minor and the major number, a word each, where a minor number of all ones means all; a value
//! is the kinds of device in its lower half and the allowed access in its upper half, both as the
//! kernel tells them to the program. Thus either daemon changes the list of a guest that the other
//! started: it finds the program by its group, and the table by the program.

use super::{Device, DeviceAccess, DeviceKind, Devices};
use host_sys::{DeviceKey, DeviceTable};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// Entries that a table has room for at first.
const ROOM: u32 = 64;

/// In place of a number: any.
const ANY: u32 = u32::MAX;

/// Whether programs can guard the devices of groups of version 2 below this mount, and this process
/// may put them there.
pub(in crate::cgroup) fn has_programs(mount: &Path) -> bool {
    // There is no such program: without the right to look for one the kernel says so first.
    let may_look = || {
        let sought = host_sys::tables_of_program(u32::MAX);
        !sought.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    File::open(mount).is_ok_and(|group| host_sys::device_programs(group.as_fd()).is_ok())
        && may_look()
}

/// Lets those in a group use these devices and no others.
pub(super) fn guard(folder: &Path, devices: &Devices) -> io::Result<()> {
    let entries = devices.iter().map(|(device, access)| (key(*device), value(*device, *access)));
    install(folder, merged(entries))
}

/// The devices that those in a group may use; `None`: any.
pub(super) fn devices(folder: &Path) -> io::Result<Option<Devices>> {
    let Some(table) = table_of(folder)? else { return Ok(None) };
    Ok(Some(table.entries()?.into_iter().flat_map(devices_of).collect()))
}

/// Adds to what those in a group may do with a device.
pub(super) fn widen(folder: &Path, device: Device, access: DeviceAccess) -> io::Result<()> {
    let Some(table) = table_of(folder)? else { return Ok(()) };
    let (key, value) = (key(device), value(device, access));
    let there = table.get(key)?;
    let both = there.unwrap_or(0) | value;
    if there == Some(both) {
        return Ok(());
    }
    // Ours knows an entry for devices of both kinds; what libvirtd's makes of one is not known.
    if there.is_none_or(|there| there & 3 == bit(device.kind)) {
        match table.set(key, both) {
            Err(error) if error.kind() == io::ErrorKind::ArgumentListTooLong => {}
            set => return set,
        }
    }
    let entries = table.entries()?.into_iter().chain([(key, value)]);
    install(folder, merged(entries))
}

/// Leaves those in a group no more than this access to a device.
pub(super) fn narrow(folder: &Path, device: Device, access: DeviceAccess) -> io::Result<()> {
    let Some(table) = table_of(folder)? else { return Ok(()) };
    let key = key(device);
    match table.get(key)? {
        // The other device with these numbers keeps what it has.
        Some(value) if value & 3 == bit(device.kind) => {
            let left = (value >> 16) & access.0;
            match left {
                0 => table.remove(key),
                left => table.set(key, bit(device.kind) | left << 16),
            }
        }
        _ => Ok(()),
    }
}

/// The kind as the program is told of it (`BPF_DEVCG_DEV_BLOCK`, `BPF_DEVCG_DEV_CHAR`).
fn bit(kind: DeviceKind) -> u32 {
    match kind {
        DeviceKind::Block => 1,
        DeviceKind::Char => 2,
    }
}

fn key(device: Device) -> DeviceKey {
    [device.minor.unwrap_or(ANY), device.major]
}

fn value(device: Device, access: DeviceAccess) -> u32 {
    bit(device.kind) | access.0 << 16
}

/// The table of the program that guards a group; `None`: none does.
fn table_of(folder: &Path) -> io::Result<Option<DeviceTable>> {
    let group = File::open(folder)?;
    let programs = host_sys::device_programs(group.as_fd())?;
    if programs.is_empty() {
        return Ok(None);
    }
    for program in programs {
        for table in host_sys::tables_of_program(program)? {
            if let Some(table) = DeviceTable::open(table)? {
                return Ok(Some(table));
            }
        }
    }
    Err(io::Error::other("a program guards it that has no table of devices"))
}

/// Makes a table with these entries and puts a program that looks into it in charge of a group, in
/// place of the one that was.
fn install(folder: &Path, entries: BTreeMap<DeviceKey, u32>) -> io::Result<()> {
    let count = u32::try_from(entries.len()).unwrap_or(ANY / 4);
    let table = DeviceTable::create(ROOM.max((count + count / 2).next_power_of_two()))?;
    entries.into_iter().try_for_each(|(key, value)| table.set(key, value))?;
    let program = host_sys::load_device_program(&program(table.number()), "guest_devices")?;
    let group = File::open(folder)?;
    host_sys::attach_device_program(group.as_fd(), program.as_fd())
}

/// A table has one entry for a pair of numbers, also where a block device and a character device
/// have them.
fn merged(entries: impl Iterator<Item = (DeviceKey, u32)>) -> BTreeMap<DeviceKey, u32> {
    let mut all = BTreeMap::new();
    entries.for_each(|(key, value)| *all.entry(key).or_default() |= value);
    all
}

fn devices_of((key, value): (DeviceKey, u32)) -> Vec<(Device, DeviceAccess)> {
    let [minor, major] = key;
    let minor = Some(minor).filter(|minor| *minor != ANY);
    let kinds = [DeviceKind::Block, DeviceKind::Char].into_iter();
    let there = kinds.filter(|kind| value & bit(*kind) != 0);
    there.map(|kind| (Device { kind, major, minor }, DeviceAccess(value >> 16))).collect()
}

/// One instruction of the kernel's machine: operation, registers, offset, number.
fn instruction(code: u8, to: u8, from: u8, offset: i16, number: i32) -> u64 {
    let registers = if cfg!(target_endian = "big") { to << 4 | from } else { from << 4 | to };
    let ([a, b], [c, d, e, f]) = (offset.to_ne_bytes(), number.to_ne_bytes());
    u64::from_ne_bytes([code, registers, a, b, c, d, e, f])
}

/// The program that guards a group by the table with this descriptor.
///
/// The kernel gives it three words: kind of device in the lower and wanted access in the upper half
/// of the first, then major and minor number. It lets pass (1) what an entry allows for the device
/// itself, for all of its major number, or for all devices; else nothing (0).
fn program(table: i32) -> Vec<u64> {
    const LOAD_WORD: u8 = 0x61;
    const STORE_WORD: u8 = 0x63;
    const STORE_NUMBER: u8 = 0x62;
    const LOAD_TABLE: u8 = 0x18;
    const TABLE: u8 = 1;
    const MOVE: u8 = 0xbf;
    const MOVE_NUMBER: u8 = 0xb7;
    const ADD_NUMBER: u8 = 0x07;
    const AND: u8 = 0x5f;
    const AND_NUMBER: u8 = 0x57;
    const XOR_NUMBER: u8 = 0xa7;
    const SHIFT_RIGHT: u8 = 0x77;
    const JUMP_IF_ZERO: u8 = 0x15;
    const JUMP_UNLESS_ZERO: u8 = 0x55;
    const CALL: u8 = 0x85;
    const LOOK_UP: i32 = 1;
    const EXIT: u8 = 0x95;
    // Where they stay; the first ones change at each call.
    let (wanted, major, minor, stack) = (7, 8, 9, 10);
    let plain = |code, to, from| instruction(code, to, from, 0, 0);
    let with = |code, to, number| instruction(code, to, 0, 0, number);
    let mut out = vec![
        instruction(LOAD_WORD, wanted, 1, 0, 0),
        instruction(LOAD_WORD, major, 1, 4, 0),
        instruction(LOAD_WORD, minor, 1, 8, 0),
    ];
    for (any_minor, any_major) in [(false, false), (true, false), (true, true)] {
        // The key, on the stack.
        for (any, from, offset) in [(any_minor, minor, -8), (any_major, major, -4)] {
            out.push(match any {
                true => instruction(STORE_NUMBER, stack, 0, offset, -1),
                false => instruction(STORE_WORD, stack, from, offset, 0),
            });
        }
        out.extend([
            plain(MOVE, 2, stack),
            with(ADD_NUMBER, 2, -8),
            instruction(LOAD_TABLE, 1, TABLE, 0, table),
            0,
            with(CALL, 0, LOOK_UP),
            // No such entry: on to the next.
            instruction(JUMP_IF_ZERO, 0, 0, 13, 0),
            instruction(LOAD_WORD, 0, 0, 0, 0),
            // Of this kind?
            plain(MOVE, 1, 0),
            plain(AND, 1, wanted),
            with(AND_NUMBER, 1, 0xffff),
            instruction(JUMP_IF_ZERO, 1, 0, 8, 0),
            // What is wanted and not allowed.
            with(SHIFT_RIGHT, 0, 16),
            with(XOR_NUMBER, 0, 0xffff),
            plain(MOVE, 1, wanted),
            with(SHIFT_RIGHT, 1, 16),
            plain(AND, 1, 0),
            instruction(JUMP_UNLESS_ZERO, 1, 0, 2, 0),
            with(MOVE_NUMBER, 0, 1),
            plain(EXIT, 0, 0),
        ]);
    }
    out.extend([with(MOVE_NUMBER, 0, 0), plain(EXIT, 0, 0)]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_for_two_devices() {
        let device = |kind| Device { kind, major: 7, minor: Some(1) };
        let (block, char) = (device(DeviceKind::Block), device(DeviceKind::Char));
        let entries = [(key(block), 0x2_0001), (key(char), 0x6_0002)];
        let all = merged(entries.into_iter());
        assert_eq!(all.iter().collect::<Vec<_>>(), [(&[1, 7], &0x6_0003)]);
        let access = DeviceAccess::READ_WRITE;
        assert_eq!(devices_of(([1, 7], 0x6_0003)), [(block, access), (char, access)]);
        assert_eq!(devices_of(([ANY, 136], 0x6_0002))[0].0.minor, None);
    }
}
