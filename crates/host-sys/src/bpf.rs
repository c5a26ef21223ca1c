//! Programs that decide which devices a control group may use, and the tables they look into
//! (bpf(2), `BPF_PROG_TYPE_CGROUP_DEVICE`). libc has neither the call's arguments nor its constants;
//! those here are of `linux/bpf.h`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const MAP_UPDATE: libc::c_int = 2;
const MAP_DELETE: libc::c_int = 3;
const MAP_NEXT_KEY: libc::c_int = 4;
const PROGRAM_LOAD: libc::c_int = 5;
const PROGRAM_ATTACH: libc::c_int = 8;
const PROGRAM_BY_ID: libc::c_int = 13;
const MAP_BY_ID: libc::c_int = 14;
const INFO_BY_FD: libc::c_int = 15;
const PROGRAM_QUERY: libc::c_int = 16;

/// `BPF_MAP_TYPE_HASH`.
const HASH: u32 = 1;
/// `BPF_PROG_TYPE_CGROUP_DEVICE`.
const CGROUP_DEVICE_PROGRAM: u32 = 15;
/// `BPF_CGROUP_DEVICE`, the place of such a program.
const CGROUP_DEVICE: u32 = 6;

/// How many programs of a group, and tables of a program, are told.
const IDS_MAX: usize = 64;

/// The key of an entry: a word each for the minor and the major number.
pub type DeviceKey = [u32; 2];

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

#[repr(C)]
struct MapEntry {
    map: u32,
    unused: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgramLoad {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
}

#[repr(C)]
struct ProgramAttach {
    target: u32,
    program: u32,
    place: u32,
    flags: u32,
}

#[repr(C)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

#[repr(C)]
struct InfoByFd {
    fd: u32,
    length: u32,
    info: u64,
}

#[repr(C)]
struct ProgramQuery {
    target: u32,
    place: u32,
    query_flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    unused: u32,
    /// What later kernels have here; some write to `revision`, its last part, whatever size they
    /// are given.
    later: [u64; 4],
}

/// The beginning of `bpf_prog_info`.
#[repr(C)]
#[derive(Default)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: u64,
    jited_length: u32,
    translated_length: u32,
    jited: u64,
    translated: u64,
    load_time: u64,
    created_by: u32,
    map_count: u32,
    map_ids: u64,
}

/// The beginning of `bpf_map_info`.
#[repr(C)]
#[derive(Default)]
struct MapInfo {
    kind: u32,
    id: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    flags: u32,
}

/// The call; what it returns.
///
/// # Safety
/// `T` begins like the arguments of `command`, and every address in it is good for what the command
/// reads and writes there.
unsafe fn bpf<T>(command: libc::c_int, arguments: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: the kernel reads and writes no more of `arguments` than the size that is given; the
    // addresses in it are the caller's promise.
    let done = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(arguments), size_of::<T>())
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(done).map_err(|_| io::ErrorKind::InvalidData.into())
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    u32::try_from(fd.as_raw_fd()).unwrap_or(u32::MAX)
}

/// The descriptor that a command returned.
fn owned(fd: libc::c_int) -> OwnedFd {
    // SAFETY: the call returned a new descriptor, which nobody else has.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn address<T>(of: *const T) -> u64 {
    u64::try_from(of.expose_provenance()).unwrap_or(0)
}

/// The ids of the programs that guard the devices of a control group of version 2, open as a folder.
///
/// # Errors
/// What the kernel says: `EINVAL` where it has no such programs, `EPERM` without the right.
pub fn device_programs(group: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; IDS_MAX];
    let mut query = ProgramQuery {
        target: number(group),
        place: CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        ids: address(ids.as_mut_ptr()),
        count: u32::try_from(IDS_MAX).unwrap_or(0),
        unused: 0,
        later: [0; 4],
    };
    // SAFETY: `ids` has room for as many numbers as `count` says, and lives through the call.
    unsafe { bpf(PROGRAM_QUERY, &mut query) }?;
    let count = usize::try_from(query.count).unwrap_or(0);
    Ok(ids.into_iter().take(count).collect())
}

/// The ids of the tables that a program looks into.
///
/// # Errors
/// What the kernel says: `ENOENT` when the program is gone, `EPERM` without the right.
pub fn tables_of_program(program: u32) -> io::Result<Vec<u32>> {
    let mut by_id = ById { id: program, next: 0, flags: 0 };
    // SAFETY: there is no address in it.
    let program = owned(unsafe { bpf(PROGRAM_BY_ID, &mut by_id) }?);
    let mut ids = [0_u32; IDS_MAX];
    let mut info = ProgramInfo {
        map_count: u32::try_from(IDS_MAX).unwrap_or(0),
        map_ids: address(ids.as_mut_ptr()),
        ..ProgramInfo::default()
    };
    let mut by_fd = InfoByFd {
        fd: u32::try_from(program.as_raw_fd()).unwrap_or(u32::MAX),
        length: u32::try_from(size_of::<ProgramInfo>()).unwrap_or(0),
        info: address(&raw mut info),
    };
    // SAFETY: `info` is as long as `length` says; the one list it asks for has room for as many
    // numbers as it says, and both live through the call.
    unsafe { bpf(INFO_BY_FD, &mut by_fd) }?;
    let count = usize::try_from(info.map_count).unwrap_or(0);
    Ok(ids.into_iter().take(count).collect())
}

/// Loads a program that guards devices; `instructions` are the machine's, 8 bytes each.
///
/// # Errors
/// What the kernel says: `EINVAL` or `EACCES` for a program that it does not trust, `EPERM` without
/// the right.
pub fn load_device_program(instructions: &[u64], name: &str) -> io::Result<OwnedFd> {
    let license = c"GPL";
    let mut load = ProgramLoad {
        kind: CGROUP_DEVICE_PROGRAM,
        count: u32::try_from(instructions.len()).unwrap_or(u32::MAX),
        instructions: address(instructions.as_ptr()),
        license: address(license.as_ptr()),
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
        name: [0; 16],
    };
    // The last byte stays zero.
    for (to, from) in load.name.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    // SAFETY: the instructions are as many as `count` says, the licence ends with a zero, and both
    // live through the call. The kernel checks the program itself before it takes it.
    unsafe { bpf(PROGRAM_LOAD, &mut load) }.map(owned)
}

/// Puts a program in charge of a group's devices, in place of the one that was.
///
/// # Errors
/// What the kernel says: `EPERM` without the right, or where a group above or another's program
/// there forbids it.
pub fn attach_device_program(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attach = ProgramAttach {
        target: number(group),
        program: number(program),
        place: CGROUP_DEVICE,
        flags: 0,
    };
    // SAFETY: there is no address in it.
    unsafe { bpf(PROGRAM_ATTACH, &mut attach) }.map(drop)
}

/// A table of the kernel's from device numbers to words.
#[derive(Debug)]
pub struct DeviceTable {
    fd: OwnedFd,
    max_entries: u32,
}

impl DeviceTable {
    /// Makes an empty one.
    ///
    /// # Errors
    /// What the kernel says: `EPERM` without the right, `ENOMEM`.
    pub fn create(max_entries: u32) -> io::Result<Self> {
        let mut create = MapCreate {
            kind: HASH,
            key_size: u32::try_from(size_of::<DeviceKey>()).unwrap_or(0),
            value_size: u32::try_from(size_of::<u32>()).unwrap_or(0),
            max_entries,
            flags: 0,
        };
        // SAFETY: there is no address in it.
        let fd = unsafe { bpf(MAP_CREATE, &mut create) }?;
        Ok(Self { fd: owned(fd), max_entries })
    }

    /// Opens one by its id; `None`: it has keys or values of another kind.
    ///
    /// # Errors
    /// What the kernel says: `ENOENT` when it is gone, `EPERM` without the right.
    pub fn open(id: u32) -> io::Result<Option<Self>> {
        let mut by_id = ById { id, next: 0, flags: 0 };
        // SAFETY: there is no address in it.
        let fd = owned(unsafe { bpf(MAP_BY_ID, &mut by_id) }?);
        let mut info = MapInfo::default();
        let mut by_fd = InfoByFd {
            fd: u32::try_from(fd.as_raw_fd()).unwrap_or(u32::MAX),
            length: u32::try_from(size_of::<MapInfo>()).unwrap_or(0),
            info: address(&raw mut info),
        };
        // SAFETY: `info` is as long as `length` says, and lives through the call.
        unsafe { bpf(INFO_BY_FD, &mut by_fd) }?;
        let fits =
            |size: u32, wanted: usize| usize::try_from(size).is_ok_and(|size| size == wanted);
        let known = info.kind == HASH
            && fits(info.key_size, size_of::<DeviceKey>())
            && fits(info.value_size, size_of::<u32>());
        Ok(known.then_some(Self { fd, max_entries: info.max_entries }))
    }

    /// How many entries it can hold.
    pub fn max_entries(&self) -> u32 {
        self.max_entries
    }

    /// The number by which a program that is loaded refers to it.
    pub fn number(&self) -> i32 {
        self.fd.as_raw_fd()
    }

    /// Runs one of the commands that are about an entry.
    fn entry(&self, command: libc::c_int, key: &mut DeviceKey, value: *mut u32) -> io::Result<()> {
        let mut entry = MapEntry {
            map: u32::try_from(self.fd.as_raw_fd()).unwrap_or(u32::MAX),
            unused: 0,
            key: address(std::ptr::from_mut(key)),
            value: address(value),
            flags: 0,
        };
        // SAFETY: this table's keys and values have the sizes of `DeviceKey` and a word: it was made
        // so, or looked at when it was opened. `key` and `value` live through the call.
        unsafe { bpf(command, &mut entry) }.map(drop)
    }

    /// What an entry says; `None`: there is none.
    ///
    /// # Errors
    /// Those of the system.
    pub fn get(&self, mut key: DeviceKey) -> io::Result<Option<u32>> {
        let mut value = 0;
        match self.entry(MAP_LOOKUP, &mut key, &raw mut value) {
            Ok(()) => Ok(Some(value)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes or changes an entry.
    ///
    /// # Errors
    /// `ArgumentListTooLong` (E2BIG): the table is full.
    pub fn set(&self, mut key: DeviceKey, mut value: u32) -> io::Result<()> {
        self.entry(MAP_UPDATE, &mut key, &raw mut value)
    }

    /// Removes an entry; one that is not there is no fault.
    ///
    /// # Errors
    /// Those of the system.
    pub fn remove(&self, mut key: DeviceKey) -> io::Result<()> {
        match self.entry(MAP_DELETE, &mut key, std::ptr::null_mut()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// All entries, in no order.
    ///
    /// # Errors
    /// Those of the system.
    pub fn entries(&self) -> io::Result<Vec<(DeviceKey, u32)>> {
        let mut entries = Vec::new();
        let mut last: Option<DeviceKey> = None;
        // A table that others change meanwhile may begin anew.
        for _ in 0..=self.max_entries {
            let mut next: DeviceKey = [0; 2];
            let mut walk = MapEntry {
                map: u32::try_from(self.fd.as_raw_fd()).unwrap_or(u32::MAX),
                unused: 0,
                key: last.as_ref().map_or(0, |key| address(std::ptr::from_ref(key))),
                value: address(next.as_mut_ptr()),
                flags: 0,
            };
            // SAFETY: keys have the size of `DeviceKey`, as in `entry`; both live through the call.
            match unsafe { bpf(MAP_NEXT_KEY, &mut walk) } {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
            entries.extend(self.get(next)?.map(|value| (next, value)));
            last = Some(next);
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    /// Without the right to make one there is nothing to try.
    #[test]
    fn a_table_keeps_what_it_is_told() {
        let Ok(table) = DeviceTable::create(2) else { return };
        table.set([1, 7], 5).unwrap();
        table.set([2, 7], 6).unwrap();
        table.set([2, 7], 7).unwrap();
        let full = table.set([3, 7], 1).unwrap_err();
        assert_eq!(full.raw_os_error(), Some(libc::E2BIG));
        let mut entries = table.entries().unwrap();
        entries.sort_unstable();
        assert_eq!(entries, [([1, 7], 5), ([2, 7], 7)]);
        table.remove([1, 7]).unwrap();
        table.remove([1, 7]).unwrap();
        assert_eq!((table.get([1, 7]).unwrap(), table.get([2, 7]).unwrap()), (None, Some(7)));
    }

    #[test]
    fn what_is_no_group_or_program() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(device_programs(file.as_fd()).is_err());
        assert!(attach_device_program(file.as_fd(), file.as_fd()).is_err());
        assert!(tables_of_program(u32::MAX).is_err());
        assert!(DeviceTable::open(u32::MAX).is_err());
        assert!(load_device_program(&[0], "none").is_err());
    }
}
