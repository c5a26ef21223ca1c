//! Which devices a guest's processes may open: the device controller of version 1, in version 2 a
//! program that the kernel runs for each open (`BPF_PROG_TYPE_CGROUP_DEVICE`).

mod program;

pub(super) use program::has_programs;

use super::{CgroupError, Controller, MachineGroup, Part, fault, write};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Block or character device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceKind {
    /// A block device.
    Block,
    /// A character device.
    Char,
}

impl DeviceKind {
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

impl MachineGroup {
    /// Lets the guest's processes use these devices and no others.
    ///
    /// # Errors
    /// What the kernel says. On a host without such a controller nothing is done.
    pub fn guard_devices(&self, devices: &Devices) -> Result<(), CgroupError> {
        match self.guarded() {
            None => Ok(()),
            Some((folder, true)) => program::guard(&folder, devices).map_err(refused(&folder)),
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
            Some((folder, true)) => program::devices(&folder).map_err(refused(&folder)),
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
            Some((folder, true)) => {
                program::widen(&folder, device, access).map_err(refused(&folder))
            }
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
            Some((folder, true)) => {
                program::narrow(&folder, device, access).map_err(refused(&folder))
            }
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
}
