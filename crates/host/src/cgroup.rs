//! Control groups, version 1 and 2, by the names libvirt gives them.
//!
//! Without systemd a guest has one group, `machine/qemu-ID-NAME.libvirt-qemu`, in each hierarchy, and below it
//! `emulator`, `vcpuN` and `iothreadN` where threads can be told apart: cpu and cpuset of version 1,
//! and version 2 (as *threaded* groups). Observed of libvirtd 11.3 on a host that has version 1
//! controllers and an empty version 2 hierarchy beside them.
//!
//! Where systemd-machined knows a guest, it is in a scope of its own, and its group is the folder
//! `libvirt` in that.
//!
//! Other daemons of the host have guests of the same number and name: the group of a guest is one that
//! nobody else is in ([`MachineGroup::claim`]).
//!
//! A controller that is not there is no fault: whatever needs it says so itself.

mod devices;
mod scope;

pub use devices::{Device, DeviceAccess, DeviceKind, Devices};

use crate::machined::Machined;
use scope::is_guests;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// How the names of guests' groups end.
pub const SUFFIX: &str = ".libvirt-qemu";

/// How many groups of a hierarchy are looked at for one of a name.
const GROUPS_MAX: usize = 20_000;

/// A resource controller that guests are placed under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)] // The kernel's names.
pub enum Controller {
    Cpu,
    Cpuacct,
    Cpuset,
    Memory,
    Devices,
    Freezer,
    Blkio,
    NetCls,
    PerfEvent,
}

impl Controller {
    const ALL: [Self; 9] = [
        Self::Cpu,
        Self::Cpuacct,
        Self::Cpuset,
        Self::Memory,
        Self::Devices,
        Self::Freezer,
        Self::Blkio,
        Self::NetCls,
        Self::PerfEvent,
    ];

    /// The controller that version 1 calls so.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|controller| controller.name() == name)
    }

    /// The name in version 1.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Cpuset => "cpuset",
            Self::Memory => "memory",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
            Self::Blkio => "blkio",
            Self::NetCls => "net_cls",
            Self::PerfEvent => "perf_event",
        }
    }

    /// The name in version 2, where it has one of its own.
    fn name_v2(self) -> Option<&'static str> {
        match self {
            Self::Cpu => Some("cpu"),
            Self::Cpuset => Some("cpuset"),
            Self::Memory => Some("memory"),
            Self::Blkio => Some("io"),
            _ => None,
        }
    }

    /// Whether a guest's threads get groups of their own.
    fn per_thread(self) -> bool {
        matches!(self, Self::Cpu | Self::Cpuacct | Self::Cpuset)
    }
}

/// A part of a guest that has a group of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The whole guest.
    Machine,
    /// QEMU's own threads.
    Emulator,
    /// A virtual processor.
    Vcpu(u32),
    /// An I/O thread.
    IoThread(u32),
}

impl Part {
    /// The name of its group below the machine's; that has none.
    pub fn word(self) -> String {
        match self {
            Self::Machine => String::new(),
            Self::Emulator => "emulator".to_owned(),
            Self::Vcpu(n) => format!("vcpu{n}"),
            Self::IoThread(n) => format!("iothread{n}"),
        }
    }

    /// The part whose group is called so.
    pub fn of_word(word: &str) -> Option<Self> {
        let number = |prefix: &str| word.strip_prefix(prefix)?.parse().ok();
        match word {
            "" => Some(Self::Machine),
            "emulator" => Some(Self::Emulator),
            _ => number("vcpu").map(Self::Vcpu).or_else(|| number("iothread").map(Self::IoThread)),
        }
    }

    fn folder(self) -> Option<String> {
        Some(self.word()).filter(|word| !word.is_empty())
    }
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    mount: PathBuf,
    controllers: Vec<Controller>,
    v2: bool,
}

/// The hierarchies of this host that guests are placed in.
#[derive(Clone, Debug, Default)]
pub struct Cgroups {
    hierarchies: Vec<Hierarchy>,
    /// Who has scopes for guests.
    machined: Option<Arc<Machined>>,
}

impl PartialEq for Cgroups {
    fn eq(&self, other: &Self) -> bool {
        self.hierarchies == other.hierarchies
    }
}

impl Eq for Cgroups {}

impl Cgroups {
    /// Looks for them in `/proc/self/mounts`.
    ///
    /// # Errors
    /// The table of mounts cannot be read.
    pub fn detect() -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let controllers =
            |mount: &Path| fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
        Ok(Self::from_mounts(&mounts, controllers, devices::has_programs))
    }

    /// From a table of mounts, and looks at a version 2 mount: its `cgroup.controllers`, and whether
    /// programs can guard devices below it.
    fn from_mounts(
        mounts: &str,
        controllers_v2: impl Fn(&Path) -> String,
        has_programs: impl Fn(&Path) -> bool,
    ) -> Self {
        let mut found: Vec<Hierarchy> = Vec::new();
        let mut has_v2 = false;
        let entries =
            || crate::mounts::entries(mounts).map(|mount| (mount.point, mount.kind, mount.options));
        for (mount, kind, _) in entries() {
            if kind == "cgroup2" && !has_v2 {
                has_v2 = true;
                let text = controllers_v2(&mount);
                let guards = has_programs(&mount);
                let there = |c: &Controller| match c {
                    Controller::Devices => guards,
                    c => c.name_v2().is_some_and(|n| text.split_whitespace().any(|w| w == n)),
                };
                let controllers = Controller::ALL.into_iter().filter(there).collect();
                found.push(Hierarchy { mount, controllers, v2: true });
            }
        }
        for (mount, kind, options) in entries() {
            if kind != "cgroup" {
                continue;
            }
            let mut controllers: Vec<_> = Controller::ALL
                .into_iter()
                .filter(|c| options.split(',').any(|o| o == c.name()))
                .collect();
            let mounted = |c: &Controller| found.iter().any(|h| h.controllers.contains(c));
            controllers.retain(|c| !mounted(c));
            if has_v2 {
                // With version 2 there, libvirt counts processor time by it, and leaves this one of
                // version 1 alone.
                controllers.retain(|c| *c != Controller::Cpuacct);
            }
            if !controllers.is_empty() {
                found.push(Hierarchy { mount, controllers, v2: false });
            }
        }
        Self { hierarchies: found, machined: None }
    }

    /// With machined in charge of scopes for guests, as far as it is there.
    #[must_use]
    pub fn with_machined(mut self, machined: Option<Machined>) -> Self {
        self.machined = machined.map(Arc::new);
        self
    }

    /// Who has scopes for guests.
    pub fn machined(&self) -> Option<&Arc<Machined>> {
        self.machined.as_ref()
    }

    /// Leaves only these controllers; what has no other is not touched.
    #[must_use]
    pub fn limited_to(mut self, controllers: &[Controller]) -> Self {
        for hierarchy in &mut self.hierarchies {
            hierarchy.controllers.retain(|there| controllers.contains(there));
        }
        self.hierarchies.retain(|hierarchy| hierarchy.v2 || !hierarchy.controllers.is_empty());
        self
    }

    /// Makes the next moves into groups quick.
    ///
    /// After a quiet time the kernel lets the first move on the whole host wait (about 15 ms, a
    /// grace period of RCU), and the following ones not. A start that is about to happen calls this
    /// first thing on a blocking thread, so that the wait runs beside the other preparations rather
    /// than in the exec helper. It moves this process to where it is already. What cannot be done
    /// (no right to) is left undone: it only costs time.
    pub fn warm_up(&self) {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        for hierarchy in &self.hierarchies {
            let found = own.lines().find_map(|line| {
                let mut fields = line.splitn(3, ':').skip(1);
                let (names, path) = (fields.next()?, fields.next()?);
                let same = match hierarchy.controllers.first() {
                    _ if hierarchy.v2 => names.is_empty(),
                    Some(controller) => names.split(',').any(|n| n == controller.name()),
                    None => false,
                };
                same.then_some(path)
            });
            if let Some(path) = found
                && write(
                    &hierarchy.mount.join(path.trim_start_matches('/')).join("cgroup.procs"),
                    "0",
                )
                .is_ok()
            {
                return;
            }
        }
    }

    /// The controllers that settings can be made through.
    pub fn controllers(&self) -> impl Iterator<Item = Controller> + '_ {
        self.hierarchies.iter().flat_map(|h| h.controllers.iter().copied())
    }

    /// Whether a controller is in version 2, whose files have other names and units. `None` when
    /// there is no such controller.
    pub fn is_v2(&self, controller: Controller) -> Option<bool> {
        self.hierarchies.iter().find(|h| h.controllers.contains(&controller)).map(|h| h.v2)
    }

    /// The groups of a guest, which need not exist yet. `partition` is libvirt's resource partition,
    /// `/machine` unless set; `name` the group's own, see [`machine_name`].
    pub fn machine(&self, partition: &str, name: &str) -> MachineGroup {
        let mut relative = PathBuf::new();
        for part in partition.split('/').filter(|p| !p.is_empty() && *p != "." && *p != "..") {
            // Below the top, libvirt marks its partitions so that no other group takes the name.
            let top =
                relative.as_os_str().is_empty() && matches!(part, "machine" | "user" | "system");
            relative.push(if top || part.contains('.') {
                part.to_owned()
            } else {
                format!("{part}.partition")
            });
        }
        relative.push(name.replace('/', "_"));
        MachineGroup { cgroups: self.clone(), relative }
    }

    /// The groups at a path below the hierarchies' mounts that [`MachineGroup::relative`] told.
    /// `None` for a path that is none of a guest's.
    pub fn at(&self, relative: &Path) -> Option<MachineGroup> {
        let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
        (plain && is_guests(relative))
            .then(|| MachineGroup { cgroups: self.clone(), relative: relative.to_owned() })
    }

    /// The groups of guests with this name, wherever they are.
    pub fn named(&self, name: &str) -> Vec<MachineGroup> {
        let mut found = Vec::new();
        for hierarchy in &self.hierarchies {
            let mut folders = children(&hierarchy.mount);
            let mut looked_at = 0;
            while let Some(folder) = folders.pop() {
                looked_at += 1;
                if looked_at > GROUPS_MAX {
                    break;
                }
                let own = folder.file_name().unwrap_or_default().to_string_lossy();
                if !own.ends_with(SUFFIX) {
                    folders.extend(children(&folder));
                } else if own == name
                    && let Ok(relative) = folder.strip_prefix(&hierarchy.mount)
                {
                    let relative = relative.to_owned();
                    found.push(MachineGroup { cgroups: self.clone(), relative });
                }
            }
        }
        found.sort_by(|a, b| a.relative.cmp(&b.relative));
        found.dedup();
        found
    }

    /// The groups that a running process is in, from its `/proc/PID/cgroup`; to find a guest's
    /// groups again. `None` when it is in no group of a guest.
    pub fn machine_of(&self, pid: u32) -> Option<MachineGroup> {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let relative = text.lines().find_map(|line| {
            let path = line.splitn(3, ':').nth(2)?.trim_start_matches('/');
            Path::new(path).ancestors().find(|path| is_guests(path)).map(Path::to_owned)
        })?;
        Some(MachineGroup { cgroups: self.clone(), relative })
    }
}

/// The name of a guest's group where systemd does not give it: `qemu-ID-NAME.libvirt-qemu`, its name
/// cut so that the whole stays a legal file name.
pub fn machine_name(id: u32, guest: &str) -> String {
    let mut name = format!("qemu-{id}-{}", guest.replace('/', "_"));
    let mut end = name.len().min(200);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    name + SUFFIX
}

/// A failed operation on a group.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} cgroup file {}: {source}", path.display())]
pub struct CgroupError {
    /// What was tried.
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

fn fault(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CgroupError {
    let path = path.to_owned();
    move |source| CgroupError { action, path, source }
}

/// The groups of one guest, in all hierarchies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineGroup {
    cgroups: Cgroups,
    relative: PathBuf,
}

impl MachineGroup {
    /// The hierarchies that it is in.
    pub fn cgroups(&self) -> &Cgroups {
        &self.cgroups
    }

    /// The path below each hierarchy's mount.
    pub fn relative(&self) -> &Path {
        &self.relative
    }

    /// The hierarchies that a part has a group in.
    fn of(&self, part: Part) -> impl Iterator<Item = (&Hierarchy, PathBuf)> {
        self.cgroups.hierarchies.iter().filter_map(move |h| {
            let machine = h.mount.join(&self.relative);
            match part.folder() {
                None => Some((h, machine)),
                Some(name) if h.v2 || h.controllers.iter().any(|c| c.per_thread()) => {
                    Some((h, machine.join(name)))
                }
                Some(_) => None,
            }
        })
    }

    /// Makes the guest's own groups, where no hierarchy has one of that name that is in use: what
    /// nobody is in goes first, as it would limit the guest. False, and nothing is changed: somebody
    /// else's processes are in one.
    ///
    /// # Errors
    /// Those of [`MachineGroup::create`]; nothing is left then.
    pub fn claim(&self) -> Result<bool, CgroupError> {
        if !self.processes().is_empty() {
            return Ok(false);
        }
        let _ = self.remove(Part::Machine);
        let mut made = Vec::new();
        let claimed = self.make(Part::Machine, Some(&mut made));
        let Err(error) = claimed else { return Ok(true) };
        for folder in made {
            let _ = fs::remove_dir(folder);
        }
        match error.source.kind() {
            io::ErrorKind::AlreadyExists => Ok(false),
            _ => Err(error),
        }
    }

    /// Makes the groups of a part, with the groups above it. What is there already stays.
    ///
    /// # Errors
    /// A folder cannot be made (no right to, or a hierarchy that is mounted read-only).
    pub fn create(&self, part: Part) -> Result<(), CgroupError> {
        self.make(part, None)
    }

    /// The same; where `new` is given, the machine's group may not be there yet, and is added to it.
    fn make(&self, part: Part, mut new: Option<&mut Vec<PathBuf>>) -> Result<(), CgroupError> {
        for (hierarchy, path) in self.of(part) {
            let below = path.strip_prefix(&hierarchy.mount).unwrap_or(&path);
            let machine = hierarchy.mount.join(&self.relative);
            let mut folder = hierarchy.mount.clone();
            for name in below {
                let above = folder.strip_prefix(&hierarchy.mount).unwrap_or(&folder);
                if hierarchy.v2 && !self.is_systemds(above) {
                    // Below the machine's group lie threads, which only some controllers tell
                    // apart; one of the others there would forbid threaded groups.
                    let threads = folder == machine;
                    let wanted =
                        hierarchy.controllers.iter().filter(|c| !threads || c.per_thread());
                    enable_v2(&folder, wanted);
                }
                let parent = folder.clone();
                folder.push(name);
                let new = new.as_deref_mut().filter(|_| folder == machine);
                // To look costs less than to try, which waits for others that change this hierarchy.
                if new.is_none() && folder.is_dir() {
                    continue;
                }
                match fs::create_dir(&folder) {
                    Ok(()) => new.into_iter().for_each(|made| made.push(folder.clone())),
                    Err(e) if e.kind() == io::ErrorKind::AlreadyExists && new.is_none() => continue,
                    Err(e) => return Err(fault("create", &folder)(e)),
                }
                if !hierarchy.v2 && hierarchy.controllers.contains(&Controller::Cpuset) {
                    // A version 1 cpuset begins empty and takes no process until it has both.
                    for file in ["cpuset.cpus", "cpuset.mems"] {
                        let text = fs::read_to_string(parent.join(file))
                            .map_err(fault("read", &parent.join(file)))?;
                        write(&folder.join(file), text.trim_end())?;
                    }
                }
            }
            if hierarchy.v2 && part != Part::Machine {
                write(&folder.join("cgroup.type"), "threaded")?;
            }
        }
        Ok(())
    }

    /// The files that the exec helper writes its pid into, to start in these groups. Whole processes
    /// move through `cgroup.procs` in both versions.
    pub fn join_files(&self, part: Part) -> Vec<PathBuf> {
        let machine = self.of(Part::Machine).map(|(h, path)| (h.mount.clone(), path));
        // A part has no group where threads cannot be told apart: there the machine's is right.
        let mut paths: BTreeMap<PathBuf, PathBuf> = machine.collect();
        paths.extend(self.of(part).map(|(h, path)| (h.mount.clone(), path)));
        paths.into_values().map(|p| p.join("cgroup.procs")).collect()
    }

    /// Moves a process into a part's groups, where the part has its own.
    ///
    /// # Errors
    /// The process is gone (ESRCH), or the groups are not there.
    pub fn move_process(&self, part: Part, pid: u32) -> Result<(), CgroupError> {
        let mut paths = self.of(part);
        paths.try_for_each(|(_, path)| write(&path.join("cgroup.procs"), &pid.to_string()))
    }

    /// Moves a thread of the guest into a part's groups.
    ///
    /// # Errors
    /// The thread is gone (ESRCH), or the groups are not there.
    pub fn move_thread(&self, part: Part, thread: u32) -> Result<(), CgroupError> {
        for (hierarchy, path) in self.of(part) {
            let file = match (hierarchy.v2, part) {
                (true, Part::Machine) => "cgroup.procs",
                (true, _) => "cgroup.threads",
                (false, _) => "tasks",
            };
            write(&path.join(file), &thread.to_string())?;
        }
        Ok(())
    }

    /// The folder of a part's group under a controller; `None` when this host lacks it.
    pub fn folder(&self, part: Part, controller: Controller) -> Option<PathBuf> {
        self.of(part).find(|(h, _)| h.controllers.contains(&controller)).map(|(_, path)| path)
    }

    /// Writes a setting, for example `cpu.shares` (version 1) or `cpu.weight` (version 2). Where
    /// systemd is in charge of what was written, it is told.
    ///
    /// # Errors
    /// The controller or the file is not there (`NotFound`), or the kernel refuses the value.
    pub fn set(
        &self,
        part: Part,
        controller: Controller,
        file: &str,
        value: &str,
    ) -> Result<(), CgroupError> {
        write(&self.file(part, controller, file)?, value)?;
        self.tell_systemd(part, file, value);
        Ok(())
    }

    /// Reads a setting or counter, without its line end.
    ///
    /// # Errors
    /// The controller or the file is not there (`NotFound`).
    pub fn get(
        &self,
        part: Part,
        controller: Controller,
        file: &str,
    ) -> Result<String, CgroupError> {
        let path = self.file(part, controller, file)?;
        let text = fs::read_to_string(&path).map_err(fault("read", &path))?;
        Ok(text.trim_end().to_owned())
    }

    fn file(&self, part: Part, controller: Controller, file: &str) -> Result<PathBuf, CgroupError> {
        self.place_of(part, controller, file).ok_or_else(|| {
            let path = Path::new(controller.name()).join(file);
            fault("find", &path)(io::ErrorKind::NotFound.into())
        })
    }

    /// Whether a thread of the guest is in a part's own groups.
    pub fn holds(&self, part: Part, thread: u32) -> bool {
        let thread = thread.to_string();
        self.of(part).all(|(hierarchy, path)| {
            let file = if hierarchy.v2 { "cgroup.threads" } else { "tasks" };
            let text = fs::read_to_string(path.join(file)).unwrap_or_default();
            text.lines().any(|line| line == thread)
        })
    }

    /// The processes in the guest's group and below, ascending, from the first hierarchy that knows.
    pub fn processes(&self) -> Vec<u32> {
        fn collect(folder: &Path, out: &mut Vec<u32>) {
            let text = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
            out.extend(text.lines().filter_map(|l| l.parse::<u32>().ok()));
            for child in children(folder) {
                collect(&child, out);
            }
        }
        let mut pids = Vec::new();
        for (_, path) in self.of(Part::Machine) {
            collect(&path, &mut pids);
            if !pids.is_empty() {
                break;
            }
        }
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Whether any of the guest's groups is there.
    pub fn exists(&self) -> bool {
        self.of(Part::Machine).any(|(_, path)| path.is_dir())
    }

    /// Removes a part's groups with those below. What is not there is no fault.
    ///
    /// # Errors
    /// A group still has processes (`ResourceBusy`): of a guest's own groups none is removed then.
    /// Of other groups the rest is.
    pub fn remove(&self, part: Part) -> Result<(), CgroupError> {
        if part == Part::Machine && !self.processes().is_empty() {
            let path = self.of(part).next().map(|(_, path)| path).unwrap_or_default();
            return Err(fault("remove", &path)(io::ErrorKind::ResourceBusy.into()));
        }
        let mut result = Ok(());
        for (_, path) in self.of(part) {
            if let Err(error) = remove_tree(&path) {
                result = Err(error);
            }
        }
        if part == Part::Machine {
            self.remove_scope();
        }
        result
    }
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        .map(|e| e.path())
        .collect()
}

fn remove_tree(folder: &Path) -> Result<(), CgroupError> {
    for child in children(folder) {
        remove_tree(&child)?;
    }
    match fs::remove_dir(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(fault("remove", folder)(e)),
        _ => Ok(()),
    }
}

/// Lets the groups below `folder` use the controllers. One that cannot be is not used then; what they
/// use already is not written again, as that would wait for all who change the hierarchy.
fn enable_v2<'a>(folder: &Path, controllers: impl Iterator<Item = &'a Controller>) {
    let file = folder.join("cgroup.subtree_control");
    let there = fs::read_to_string(&file).unwrap_or_default();
    let lacks = |name: &&str| !there.split_ascii_whitespace().any(|word| word == *name);
    for name in controllers.filter_map(|c| c.name_v2()).filter(lacks) {
        let _ = write(&file, &format!("+{name}"));
    }
}

fn write(path: &Path, text: &str) -> Result<(), CgroupError> {
    let file = fs::File::options().write(true).open(path);
    file.and_then(|mut f| f.write_all(text.as_bytes())).map_err(fault("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu,cpuacct 0 0\n\
        cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n\
        cgroup /sys/fs/cgroup/devices cgroup rw,devices 0 0\n\
        cgroup /sys/fs/cgroup/systemd cgroup rw,name=systemd 0 0\n\
        cgroup2 /sys/fs/cgroup/uni\\040fied cgroup2 rw 0 0\n";

    #[test]
    fn detection() {
        let check = |mounts: &str, v2: &str, expected: &[(&str, bool, &[Controller])]| {
            let found = Cgroups::from_mounts(mounts, |_| v2.to_owned(), |_| v2.contains("bpf"));
            let found: Vec<_> = found
                .hierarchies
                .iter()
                .map(|h| (h.mount.to_str().unwrap(), h.v2, &h.controllers[..]))
                .collect();
            assert_eq!(found, expected);
        };
        use Controller::*;
        check("", "", &[]);
        check(
            HYBRID,
            "",
            &[
                ("/sys/fs/cgroup/uni fied", true, &[]),
                ("/sys/fs/cgroup/cpu", false, &[Cpu]),
                ("/sys/fs/cgroup/cpuset", false, &[Cpuset]),
                ("/sys/fs/cgroup/devices", false, &[Devices]),
            ],
        );
        check(
            HYBRID,
            "bpf",
            &[
                ("/sys/fs/cgroup/uni fied", true, &[Devices]),
                ("/sys/fs/cgroup/cpu", false, &[Cpu]),
                ("/sys/fs/cgroup/cpuset", false, &[Cpuset]),
            ],
        );
        let v1 = HYBRID.split("cgroup2").next().unwrap();
        check(
            v1,
            "",
            &[
                ("/sys/fs/cgroup/cpu", false, &[Cpu, Cpuacct]),
                ("/sys/fs/cgroup/cpuset", false, &[Cpuset]),
                ("/sys/fs/cgroup/devices", false, &[Devices]),
            ],
        );
        check(
            "cgroup2 /c cgroup2 rw",
            "cpuset cpu io memory hugetlb pids\n",
            &[("/c", true, &[Cpu, Cpuset, Memory, Blkio])],
        );
    }

    #[test]
    fn names() {
        assert_eq!(machine_name(3, "web/1"), "qemu-3-web_1.libvirt-qemu");
        assert!(machine_name(3, &"ä".repeat(300)).len() < 255);
        let cgroups = Cgroups::default();
        let check = |partition, expected: &str| {
            assert_eq!(cgroups.machine(partition, "q").relative().to_str().unwrap(), expected);
        };
        check("/machine", "machine/q");
        check("/machine/prod", "machine/prod.partition/q");
        check("/../x/", "x.partition/q");
    }
}
