//! Which devices a guest's processes may open: the device controller of version 1, in version 2 a
//! program that the kernel runs for each open (`BPF_PROG_TYPE_CGROUP_DEVICE`).
//!
//! The program looks into a table, and that has libvirt's form (observed of libvirtd 11.3): a key is
//! the minor and the major number, a word each, where a minor number of all ones means all; a value
//! is the kinds of device in its lower half and the allowed access in its upper half, both as the
//! kernel tells them to the program. Thus either daemon changes the list of a guest that the other
//! started: it finds the program by its group, and the table by the program.

use super::{CgroupError, Controller, MachineGroup, Part, fault, write};
use host_sys::{DeviceKey, DeviceTable};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Entries that a table has room for at first.
const ROOM: u32 = 64;

/// In place of a number: any.
const ANY: u32 = u32::MAX;

/// Block or character device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKind {
    /// A block device.
    Block,
    /// A character device.
    Char,
}

impl DeviceKind {
    /// `BPF_DEVCG_DEV_BLOCK`, `BPF_DEVCG_DEV_CHAR`.
    fn bit(self) -> u32 {
        match self {
            Self::Block => 1,
            Self::Char => 2,
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Block => 'b',
            Self::Char => 'c',
        }
    }
}

/// A device by its numbers, or all with a major number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Device {
    /// Block or character device.
    pub kind: DeviceKind,
    /// Its major number.
    pub major: u32,
    /// Its minor number; `None`: any.
    pub minor: Option<u32>,
}

impl Device {
    /// The device that a path leads to; `None`: it is a file of another kind.
    ///
    /// # Errors
    /// Nothing is there, or it cannot be looked at.
    pub fn at(path: &Path) -> io::Result<Option<Self>> {
        let metadata = fs::metadata(path)?;
        let kind = match metadata.file_type() {
            kind if kind.is_block_device() => DeviceKind::Block,
            kind if kind.is_char_device() => DeviceKind::Char,
            _ => return Ok(None),
        };
        let numbers = metadata.rdev();
        let (major, minor) = (rustix::fs::major(numbers), rustix::fs::minor(numbers));
        Ok(Some(Self { kind, major, minor: Some(minor) }))
    }

    fn key(self) -> DeviceKey {
        [self.minor.unwrap_or(ANY), self.major]
    }

    /// As the files of version 1 have it.
    fn text(self) -> String {
        let minor = self.minor.map_or("*".to_owned(), |minor| minor.to_string());
        format!("{} {}:{minor}", self.kind.letter(), self.major)
    }
}

/// What may be done with a device: any of these bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceAccess(u32);

impl DeviceAccess {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Making a node of it.
    pub const MKNOD: Self = Self(1);
    /// Opening it to read.
    pub const READ: Self = Self(2);
    /// Opening it to read and to write.
    pub const READ_WRITE: Self = Self(6);

    /// Either's.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// As the files of version 1 have it.
    fn text(self) -> String {
        let letters = [(2, 'r'), (4, 'w'), (1, 'm')];
        letters.iter().filter(|(bit, _)| self.0 & bit != 0).map(|(_, letter)| letter).collect()
    }

    fn of_text(text: &str) -> Self {
        Self(text.chars().fold(0, |bits, letter| {
            bits | match letter {
                'r' => 2,
                'w' => 4,
                'm' => 1,
                _ => 0,
            }
        }))
    }
}

/// Devices and what may be done with each.
pub type Devices = BTreeMap<Device, DeviceAccess>;

/// Whether programs can guard the devices of groups of version 2 below this mount, and this process
/// may put them there.
pub(super) fn has_programs(mount: &Path) -> bool {
    // There is no such program: without the right to look for one the kernel says so first.
    let may_look = || {
        let sought = host_sys::tables_of_program(u32::MAX);
        !sought.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    File::open(mount).is_ok_and(|group| host_sys::device_programs(group.as_fd()).is_ok())
        && may_look()
}

impl MachineGroup {
    /// Lets the guest's processes use these devices and no others.
    ///
    /// # Errors
    /// What the kernel says. On a host without such a controller nothing is done.
    pub fn guard_devices(&self, devices: &Devices) -> Result<(), CgroupError> {
        match self.guarded() {
            None => Ok(()),
            Some((folder, true)) => {
                let entries = devices
                    .iter()
                    .map(|(device, access)| (device.key(), device.kind.bit() | access.0 << 16));
                install(&folder, merged(entries)).map_err(refused(&folder))
            }
            Some((folder, false)) => {
                write(&folder.join("devices.deny"), "a")?;
                devices.iter().try_for_each(|(device, access)| {
                    let text = format!("{} {}", device.text(), access.text());
                    write(&folder.join("devices.allow"), &text)
                })
            }
        }
    }

    /// The devices that the guest's processes may use; `None`: any.
    ///
    /// # Errors
    /// The list cannot be read, or is of a kind that nobody but its maker understands.
    pub fn devices(&self) -> Result<Option<Devices>, CgroupError> {
        match self.guarded() {
            None => Ok(None),
            Some((folder, true)) => {
                let Some(table) = table_of(&folder).map_err(refused(&folder))? else {
                    return Ok(None);
                };
                let entries = table.entries().map_err(refused(&folder))?;
                Ok(Some(entries.into_iter().flat_map(devices_of).collect()))
            }
            Some((folder, false)) => {
                let path = folder.join("devices.list");
                let text = fs::read_to_string(&path).map_err(fault("read", &path))?;
                Ok(listed(&text))
            }
        }
    }

    /// Lets the guest's processes use a device, beside what they may do with it already. Where they
    /// may use any, nothing is done.
    ///
    /// # Errors
    /// As [`MachineGroup::devices`], and what the kernel says.
    pub fn allow_device(&self, device: Device, access: DeviceAccess) -> Result<(), CgroupError> {
        match self.guarded() {
            None => Ok(()),
            Some((folder, true)) => widen(&folder, device, access).map_err(refused(&folder)),
            Some((folder, false)) if self.devices()?.is_some() => {
                let text = format!("{} {}", device.text(), access.text());
                write(&folder.join("devices.allow"), &text)
            }
            Some(_) => Ok(()),
        }
    }

    /// Leaves the guest's processes no more than this access to a device. Where they may use any,
    /// nothing is done; what is open stays open.
    ///
    /// # Errors
    /// As [`MachineGroup::devices`], and what the kernel says.
    pub fn restrict_device(&self, device: Device, access: DeviceAccess) -> Result<(), CgroupError> {
        let all = DeviceAccess::READ_WRITE.with(DeviceAccess::MKNOD);
        match self.guarded() {
            None => Ok(()),
            Some((folder, true)) => narrow(&folder, device, access).map_err(refused(&folder)),
            Some((folder, false)) if self.devices()?.is_some() => {
                let text = format!("{} {}", device.text(), all.without(access).text());
                write(&folder.join("devices.deny"), &text)
            }
            Some(_) => Ok(()),
        }
    }

    /// The folder whose list counts, and whether a program guards it.
    fn guarded(&self) -> Option<(std::path::PathBuf, bool)> {
        let folder = self.folder(Part::Machine, Controller::Devices)?;
        Some((folder, self.cgroups().is_v2(Controller::Devices)?))
    }
}

fn refused(folder: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    fault("change the device list of", folder)
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
    let there = kinds.filter(|kind| value & kind.bit() != 0);
    there.map(|kind| (Device { kind, major, minor }, DeviceAccess(value >> 16))).collect()
}

fn widen(folder: &Path, device: Device, access: DeviceAccess) -> io::Result<()> {
    let Some(table) = table_of(folder)? else { return Ok(()) };
    let (key, value) = (device.key(), device.kind.bit() | access.0 << 16);
    let there = table.get(key)?;
    let both = there.unwrap_or(0) | value;
    if there == Some(both) {
        return Ok(());
    }
    // Ours knows an entry for devices of both kinds; what libvirtd's makes of one is not known.
    if there.is_none_or(|there| there & 3 == device.kind.bit()) {
        match table.set(key, both) {
            Err(error) if error.kind() == io::ErrorKind::ArgumentListTooLong => {}
            set => return set,
        }
    }
    let entries = table.entries()?.into_iter().chain([(key, value)]);
    install(folder, merged(entries))
}

fn narrow(folder: &Path, device: Device, access: DeviceAccess) -> io::Result<()> {
    let Some(table) = table_of(folder)? else { return Ok(()) };
    let key = device.key();
    match table.get(key)? {
        // The other device with these numbers keeps what it has.
        Some(value) if value & 3 == device.kind.bit() => {
            let left = (value >> 16) & access.0;
            match left {
                0 => table.remove(key),
                left => table.set(key, device.kind.bit() | left << 16),
            }
        }
        _ => Ok(()),
    }
}

/// A list as version 1 shows it; `None`: all devices are allowed.
fn listed(text: &str) -> Option<Devices> {
    let mut devices = Devices::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let kind = match words.next() {
            Some("a") => return None,
            Some("b") => DeviceKind::Block,
            Some("c") => DeviceKind::Char,
            _ => continue,
        };
        let numbers = words.next().and_then(|numbers| numbers.split_once(':'));
        let Some((major, minor)) = numbers else { continue };
        let Ok(major) = major.parse() else { continue };
        let access = DeviceAccess::of_text(words.next().unwrap_or_default());
        devices.insert(Device { kind, major, minor: minor.parse().ok() }, access);
    }
    Some(devices)
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
    fn lists_of_version_1() {
        assert_eq!(listed("a *:* rwm\n"), None);
        assert_eq!(listed(""), Some(Devices::new()));
        let devices = listed("c 1:3 rw\nb 7:1 r\nc 136:* rwm\nx 1:2 r\nc y:1 r\n").unwrap();
        let told: Vec<_> = devices
            .iter()
            .map(|(device, access)| format!("{} {}", device.text(), access.text()))
            .collect();
        assert_eq!(told, ["b 7:1 r", "c 1:3 rw", "c 136:* rwm"]);
    }

    #[test]
    fn an_entry_for_two_devices() {
        let device = |kind| Device { kind, major: 7, minor: Some(1) };
        let (block, char) = (device(DeviceKind::Block), device(DeviceKind::Char));
        let entries = [(block.key(), 0x2_0001), (char.key(), 0x6_0002)];
        let all = merged(entries.into_iter());
        assert_eq!(all.iter().collect::<Vec<_>>(), [(&[1, 7], &0x6_0003)]);
        let access = DeviceAccess::READ_WRITE;
        assert_eq!(devices_of(([1, 7], 0x6_0003)), [(block, access), (char, access)]);
        assert_eq!(devices_of(([ANY, 136], 0x6_0002))[0].0.minor, None);
    }
}
