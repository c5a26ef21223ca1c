//! A running guest's list of devices follows its definition: what a change brings is allowed before
//! QEMU hears of it, what no device uses any more is taken off the list when the change is over.
//!
//! The kernel has the list, also of a guest that another daemon started. One that libvirtd started has
//! a `/dev` of its own besides, where what comes needs its node. Paths are looked at once,
//! when they come: the disks that a guest has may be on a mount that hangs.

use super::Change;
use super::blockjobs::BlockJob;
use crate::domain::record::Domain;
use crate::domain::start::device_list::{add, device_at, looked_up};
use crate::domain::start::limits;
use crate::domain::start::steps::system;
use crate::engine::Engine;
use diag::VirError;
use host::cgroup::{CgroupError, Device, DeviceAccess, Devices, MachineGroup};
use host::own_dev;
use model::domain::Domain as Definition;
use plan::{Access, DeviceUse};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The device list of one running guest.
#[derive(Debug)]
pub(in crate::domain) struct DeviceGuard {
    engine: Weak<Engine>,
    domain: Weak<Domain>,
    pid: u32,
    known: Arc<Mutex<Known>>,
}

/// What was found out so far.
#[derive(Debug, Default)]
struct Known {
    /// What its paths lead to: a device or something else.
    nodes: BTreeMap<String, Option<Device>>,
    /// Those of them that are in its own `/dev`, if it has one.
    shown: BTreeSet<String>,
    /// Those of them that count as files because nobody looked at them, and that were only read.
    unseen: BTreeSet<String>,
    /// What is on the list by the guest's definition; `None`: nobody has looked yet.
    listed: Option<Devices>,
    /// A change of a device is under way.
    changing: bool,
}

/// What the list is to be cut down to.
pub(in crate::domain) struct Wanted {
    uses: Vec<DeviceUse>,
}

/// Whether to tell what a definition uses takes a look at devices of the host.
fn has_hostdevs(definition: &Definition) -> bool {
    definition.devices.as_ref().is_some_and(|devices| !devices.hostdevs.is_empty())
}

/// What definitions use while these jobs work on their images. May block.
fn uses_of<'a>(
    engine: &Engine,
    definitions: impl Iterator<Item = &'a Definition>,
    jobs: &[BlockJob],
) -> Vec<DeviceUse> {
    let writes = |disk: &str| jobs.iter().any(|job| job.disk == disk && job.kind.writes_below());
    definitions.flat_map(|definition| engine.device_uses(definition, writes)).collect()
}

fn paths(uses: &[DeviceUse]) -> impl Iterator<Item = &str> {
    uses.iter().filter_map(|each| match each {
        DeviceUse::Path { path, .. } => Some(path.as_str()),
        DeviceUse::Major(_) => None,
    })
}

impl DeviceGuard {
    /// That of a guest that was just started or taken over.
    pub fn new(engine: &Arc<Engine>, domain: &Arc<Domain>, pid: u32) -> Self {
        let (engine, domain) = (Arc::downgrade(engine), Arc::downgrade(domain));
        Self { engine, domain, pid, known: Arc::default() }
    }

    /// Allows what a change brings, where the guest has a list; what is to be on it when the change
    /// is over, if it is then. `jobs` are those of the guest's images now.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn widen(
        &self,
        change: &Change,
        jobs: Vec<BlockJob>,
    ) -> Result<Option<Wanted>, VirError> {
        let (Some(engine), Some(domain)) = (self.engine.upgrade(), self.domain.upgrade()) else {
            return Ok(None);
        };
        let Some(cgroups) = engine.cgroups.clone() else { return Ok(None) };
        if let Some(update) = &change.update {
            self.known().changing = update.is_some();
        }
        let over = !change.begins() && change.hold.is_empty() && !self.known().changing;
        let jobs = change.jobs.clone().unwrap_or(jobs);
        let after = || change.update.iter().flatten().map(|update| &update.after);
        let definitions = || std::iter::once(&change.definition).chain(after());
        let (pid, known) = (self.pid, Arc::clone(&self.known));
        let before = domain.snapshot().live.clone();
        // Whether another thread is needed can be told where no device of the host is looked up.
        let plain = before.as_ref().is_some_and(|live| !has_hostdevs(&live.definition))
            && !definitions().any(has_hostdevs);
        let (found, unseen) = if plain {
            let uses = uses_of(&engine, definitions(), &jobs);
            if self.known().allows(&uses) {
                return Ok(over.then_some(Wanted { uses }));
            }
            (Some(uses), Vec::new())
        } else {
            (None, definitions().cloned().collect())
        };
        crate::blocking(move || {
            let Some(group) = cgroups.machine_of(pid) else { return Ok(None) };
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if let (None, Some(before)) = (&known.listed, before) {
                known.begin(&engine.device_uses(&before.definition, |_| false));
            }
            let uses = found.unwrap_or_else(|| uses_of(&engine, unseen.iter(), &jobs));
            let devices = known.devices(&uses);
            known.allow(&group, devices).map_err(|error| limits::fault(&error))?;
            known.show(&engine, pid, &uses)?;
            Ok(over.then_some(Wanted { uses }))
        })
        .await
    }

    /// A change that was to begin does not.
    pub fn did_not_begin(&self, update: bool) {
        if update {
            self.known().changing = false;
        }
    }

    /// Looks at the paths that a definition brings, so that nobody waits for that once the change
    /// begins. May block.
    pub fn look_ahead(&self, engine: &Engine, before: &Definition, after: &Definition) {
        if engine.cgroups.is_none() {
            return;
        }
        let before = engine.device_uses(before, |_| false);
        let after = engine.device_uses(after, |_| false);
        // Not under the lock: it may take long.
        let comes = |path: &&str| !paths(&before).any(|there| there == *path);
        let found: Vec<_> =
            paths(&after).filter(comes).map(|path| (path.to_owned(), device_at(path))).collect();
        let mut known = self.known();
        if known.listed.is_none() {
            known.begin(&before);
        }
        known.nodes.extend(found);
    }

    /// Takes off the list what is not wanted any more.
    pub async fn narrow(&self, wanted: Wanted) {
        let Some(engine) = self.engine.upgrade() else { return };
        if self.known().is_so(&wanted.uses) {
            return;
        }
        let (pid, known) = (self.pid, Arc::clone(&self.known));
        let Some(cgroups) = engine.cgroups.clone() else { return };
        let _ = crate::blocking(move || {
            let Some(group) = cgroups.machine_of(pid) else { return Ok(()) };
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let devices = known.devices(&wanted.uses);
            let of_all = engine.devices_of_all();
            for (device, there) in known.listed.take().unwrap_or_default() {
                let keep = [&devices, &of_all].into_iter().filter_map(|list| list.get(&device));
                let keep = keep.fold(DeviceAccess::NONE, |all, access| all.with(*access));
                if keep.with(there) == keep {
                    continue;
                }
                if let Err(error) = group.restrict_device(device, keep) {
                    tracing::warn!(pid, ?device, %error, "stays on the guest's device list");
                }
            }
            known.listed = Some(devices);
            for (path, device) in known.forget(&wanted.uses) {
                // Another path may lead to it, and what every guest has stays.
                let stays = [known.listed.as_ref(), Some(&of_all)];
                if stays.into_iter().flatten().any(|list| list.contains_key(&device)) {
                    continue;
                }
                if let Err(error) = own_dev::remove_node(pid, Path::new(&path)) {
                    tracing::warn!(pid, path, %error, "stays in the guest's own /dev");
                }
            }
            Ok(())
        })
        .await;
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Begins with what the guest has: its files may be on a mount that hangs, and devices have
    /// their nodes in one place.
    fn begin(&mut self, uses: &[DeviceUse]) {
        for each in uses {
            if let DeviceUse::Path { path, access } = each
                && !path.starts_with("/dev/")
            {
                self.nodes.insert(path.clone(), None);
                if *access == Access::Read {
                    self.unseen.insert(path.clone());
                }
            }
        }
        let devices = self.devices(uses);
        self.shown = self.nodes.keys().cloned().collect();
        self.listed = Some(devices);
    }

    /// Whether all these paths are known.
    fn knows(&self, uses: &[DeviceUse]) -> bool {
        self.listed.is_some()
            && uses.iter().all(|each| match each {
                DeviceUse::Path { path, access } => {
                    let anew = *access == Access::ReadWrite && self.unseen.contains(path);
                    self.nodes.contains_key(path) && !anew
                }
                DeviceUse::Major(_) => true,
            })
    }

    /// Whether the list is as these uses want it, and nothing else is known.
    fn is_so(&mut self, uses: &[DeviceUse]) -> bool {
        self.knows(uses)
            && self.nodes.keys().all(|path| paths(uses).any(|used| used == path))
            && Some(self.devices(uses)) == self.listed
    }

    /// Whether the list allows all that these uses want, and each has its node.
    fn allows(&mut self, uses: &[DeviceUse]) -> bool {
        let shown = |path: &str| {
            self.shown.contains(path) || self.nodes.get(path).copied().flatten().is_none()
        };
        if !self.knows(uses) || !paths(uses).all(shown) {
            return false;
        }
        let devices = self.devices(uses);
        let listed = self.listed.get_or_insert_default();
        devices.into_iter().all(|(device, access)| {
            listed.get(&device).is_some_and(|there| there.with(access) == *there)
        })
    }

    /// The devices that these uses come to. May block on paths that are new.
    fn devices(&mut self, uses: &[DeviceUse]) -> Devices {
        let mut devices = Devices::new();
        for each in uses {
            if let DeviceUse::Path { path, access: Access::ReadWrite } = each
                && self.unseen.remove(path)
            {
                self.nodes.remove(path);
            }
            let node = |path: &str| match self.nodes.get(path) {
                Some(node) => *node,
                None => *self.nodes.entry(path.to_owned()).or_insert_with(|| device_at(path)),
            };
            if let Some((device, access)) = looked_up(each, node) {
                add(&mut devices, device, access);
            }
        }
        devices
    }

    /// Puts on the list what is not on it yet.
    fn allow(&mut self, group: &MachineGroup, devices: Devices) -> Result<(), CgroupError> {
        let listed = self.listed.get_or_insert_default();
        for (device, access) in devices {
            let there = listed.get(&device).copied().unwrap_or_default();
            if there.with(access) != there {
                group.allow_device(device, access)?;
                add(listed, device, access);
            }
        }
        Ok(())
    }

    /// Makes the nodes of devices that come, where the guest has a `/dev` of its own.
    fn show(&mut self, engine: &Engine, pid: u32, uses: &[DeviceUse]) -> Result<(), VirError> {
        let settings = &engine.settings.qemu;
        let owner = settings.ids.filter(|_| settings.dynamic_ownership);
        for path in paths(uses) {
            let node = self.nodes.get(path).copied().flatten();
            let Some(device) = node.filter(|_| !self.shown.contains(path)) else { continue };
            let add = || match own_dev::has_own_dev(pid)? {
                true => {
                    let owner = owner.map(|ids| (ids.uid, ids.gid));
                    own_dev::add_node(pid, Path::new(path), device, owner)
                }
                false => Ok(()),
            };
            add().map_err(|error| {
                system(&format!("Unable to make {path} in the guest's own /dev"), &error)
            })?;
            self.shown.insert(path.to_owned());
        }
        Ok(())
    }

    /// What a path leads to is looked at anew when it comes again; the devices that went.
    fn forget(&mut self, uses: &[DeviceUse]) -> Vec<(String, Device)> {
        let used = |name: &String| paths(uses).any(|path| path == name);
        let gone = self.nodes.extract_if(.., |path, _| !used(path));
        let gone: Vec<_> = gone.filter_map(|(path, node)| Some((path, node?))).collect();
        self.shown.retain(|path| used(path));
        self.unseen.retain(|path| used(path));
        gone
    }
}
