//! The groups of guests that systemd has a scope for: `machine-qemu….scope/libvirt` below a slice. What
//! limits the guest is written there, its weight against others into the scope itself, which stands
//! beside theirs; observed of libvirtd 11.3.

use super::{
    CgroupError, Cgroups, Controller, MachineGroup, Part, SUFFIX, children, enable_v2, fault, write,
};
use crate::machined::Presence;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// A guest's own folder in its scope.
const FOLDER: &str = "libvirt";

/// How the names of guests' scopes begin and end.
const SCOPE: (&str, &str) = ("machine-qemu", ".scope");

/// The files that say how much of what is there a group gets, beside the others of its parent.
const WEIGHTS: [&str; 6] =
    ["cpu.shares", "cpu.weight", "blkio.weight", "blkio.bfq.weight", "io.weight", "io.bfq.weight"];

/// Whether a file has a group's weight.
pub(super) fn is_weight(file: &str) -> bool {
    WEIGHTS.contains(&file)
}

/// Whether a group is a guest's: by the name that it has where systemd does not give it, or as the
/// folder in a scope.
pub(super) fn is_guests(group: &Path) -> bool {
    let own = group.file_name().unwrap_or_default().to_string_lossy();
    own.ends_with(SUFFIX) || scope_above(group).is_some()
}

fn scope_above(group: &Path) -> Option<&Path> {
    let above = group.parent().filter(|_| group.file_name().is_some_and(|own| own == FOLDER))?;
    Some(above).filter(|above| is_scope(above))
}

fn is_scope(group: &Path) -> bool {
    let name = group.file_name().unwrap_or_default().to_string_lossy();
    let (begin, end) = SCOPE;
    name.starts_with(begin) && name.ends_with(end)
}

impl Cgroups {
    /// The guest's groups in the scope of this name that systemd has just moved a process into, which
    /// go with it into the guest's own folder there. `None`: it is in no such scope.
    ///
    /// # Errors
    /// A folder cannot be made, or the process cannot be moved.
    pub fn enter_scope(
        &self,
        scope: &str,
        leader: u32,
    ) -> Result<Option<MachineGroup>, CgroupError> {
        let text = fs::read_to_string(format!("/proc/{leader}/cgroup")).unwrap_or_default();
        let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        let mut paths = paths.map(|path| Path::new(path.trim_start_matches('/')));
        let Some(path) = paths.find(|path| path.file_name().is_some_and(|own| own == scope)) else {
            return Ok(None);
        };
        let relative = path.join(FOLDER);
        if !is_guests(&relative) {
            return Ok(None);
        }
        let group = MachineGroup { cgroups: self.clone(), relative };
        // What another guest of that name has left would limit this one.
        let _ = group.remove(Part::Machine);
        // Who is in a scope of version 2 keeps it from sharing out what it has.
        for hierarchy in group.cgroups.hierarchies.iter().filter(|hierarchy| hierarchy.v2) {
            let folder = hierarchy.mount.join(&group.relative);
            fs::create_dir_all(&folder).map_err(fault("create", &folder))?;
            write(&folder.join("cgroup.procs"), &leader.to_string())?;
            if let Some(scope) = folder.parent() {
                enable_v2(scope, hierarchy.controllers.iter());
            }
        }
        group.create(Part::Machine)?;
        group.create(Part::Emulator)?;
        Ok(Some(group))
    }

    /// Removes scopes of guests that nobody is in: systemd does not know of the controllers that it
    /// does not use itself.
    pub fn remove_empty_scopes(&self) {
        for hierarchy in &self.hierarchies {
            let mut folders = children(&hierarchy.mount);
            while let Some(folder) = folders.pop() {
                if folder.extension().is_some_and(|end| end == "slice") {
                    folders.extend(children(&folder));
                } else if is_scope(&folder)
                    && let Ok(scope) = folder.strip_prefix(&hierarchy.mount)
                {
                    let relative = scope.join(FOLDER);
                    let _ = MachineGroup { cgroups: self.clone(), relative }.remove(Part::Machine);
                }
            }
        }
    }
}

impl MachineGroup {
    /// The scope that systemd has for the guest, as a path below the hierarchies' mounts; `None`: it
    /// has none.
    pub fn scope(&self) -> Option<&Path> {
        scope_above(&self.relative)
    }

    /// What is in the way when groups are made: systemd shares out what is above its scopes.
    pub(super) fn is_systemds(&self, below_mount: &Path) -> bool {
        self.scope().is_some_and(|scope| !below_mount.starts_with(scope))
    }

    /// Where a file of a group lies.
    pub(super) fn place_of(
        &self,
        part: Part,
        controller: Controller,
        file: &str,
    ) -> Option<PathBuf> {
        let folder = self.folder(part, controller)?;
        match part {
            Part::Machine if is_weight(file) && self.scope().is_some() => {
                Some(folder.parent()?.join(file))
            }
            _ => Some(folder.join(file)),
        }
    }

    /// Has systemd know of the guest's new weight, or it would set the old one again when it reads its
    /// units anew. The kernel knows already: without an answer this is all that is lost.
    pub(super) fn tell_systemd(&self, part: Part, file: &str, value: &str) {
        let property = match file {
            "cpu.shares" => "CPUShares",
            "cpu.weight" => "CPUWeight",
            "blkio.weight" | "blkio.bfq.weight" => "BlockIOWeight",
            "io.weight" | "io.bfq.weight" => "IOWeight",
            _ => return,
        };
        let scope = self.scope().and_then(Path::file_name).and_then(OsStr::to_str);
        let machined = self.cgroups.machined().filter(|_| part == Part::Machine);
        // In version 2 a name is in front where it is for all devices.
        let number = value.rsplit(' ').next().and_then(|number| number.parse().ok());
        if let (Some(scope), Some(machined), Some(number)) = (scope, machined, number)
            && machined.presence() == Presence::There
        {
            let _ = machined.set_properties(scope, &[(property, number)]);
        }
    }

    /// Removes the scope's folders, once the guest's own are gone. Those that are in use stay.
    pub(super) fn remove_scope(&self) {
        let Some(scope) = self.scope() else { return };
        for hierarchy in &self.cgroups.hierarchies {
            let _ = fs::remove_dir(hierarchy.mount.join(scope));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_groups() {
        let cgroups = Cgroups::default();
        let scope = r"machine.slice/machine-qemu\x2d1\x2da.scope";
        for (path, is, in_scope) in [
            ("machine/qemu-1-a.libvirt-qemu".to_owned(), true, false),
            (format!("{scope}/libvirt"), true, true),
            (scope.to_owned(), false, false),
            (format!("{scope}/libvirt/emulator"), false, false),
            (format!("/{scope}/libvirt"), false, false),
            ("libvirt".to_owned(), false, false),
            (format!("../{scope}/libvirt"), false, false),
        ] {
            let group = cgroups.at(Path::new(&path));
            assert_eq!(group.is_some(), is, "{path}");
            assert_eq!(group.is_some_and(|group| group.scope().is_some()), in_scope, "{path}");
        }
    }
}
