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
use plan::DeviceUse;
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
    /// What is on the list by the guest's definition; `None`: nobody has looked yet.
    listed: Option<Devices>,
    /// A change of a device is under way.
    changing: bool,
}

/// What the list is to be cut down to.
pub(in crate::domain) struct Wanted {
    uses: Vec<DeviceUse>,
    group: MachineGroup,
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
        let mut definitions = vec![change.definition.clone()];
        definitions.extend(change.update.iter().flatten().map(|update| update.after.clone()));
        let (pid, known) = (self.pid, Arc::clone(&self.known));
        let before = domain.snapshot().live.clone();
        crate::blocking(move || {
            let Some(group) = cgroups.machine_of(pid) else { return Ok(None) };
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if let (None, Some(before)) = (&known.listed, before) {
                known.begin(&engine.device_uses(&before.definition, |_| false));
            }
            let uses = |definition: &Definition| {
                engine.device_uses(definition, |disk| {
                    jobs.iter().any(|job| job.disk == disk && job.kind.writes_below())
                })
            };
            let uses: Vec<DeviceUse> = definitions.iter().flat_map(uses).collect();
            let devices = known.devices(&uses);
            known.allow(&group, devices).map_err(|error| limits::fault(&error))?;
            known.show(&engine, pid, &uses)?;
            Ok(over.then_some(Wanted { uses, group }))
        })
        .await
    }

    /// Takes off the list what is not wanted any more.
    pub async fn narrow(&self, wanted: Wanted) {
        let Some(engine) = self.engine.upgrade() else { return };
        let (pid, known) = (self.pid, Arc::clone(&self.known));
        let _ = crate::blocking(move || {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let devices = known.devices(&wanted.uses);
            let of_all = engine.devices_of_all();
            for (device, there) in known.listed.take().unwrap_or_default() {
                let keep = [&devices, &of_all].into_iter().filter_map(|list| list.get(&device));
                let keep = keep.fold(DeviceAccess::NONE, |all, access| all.with(*access));
                if keep.with(there) == keep {
                    continue;
                }
                if let Err(error) = wanted.group.restrict_device(device, keep) {
                    tracing::warn!(pid, ?device, %error, "stays on the guest's device list");
                }
            }
            known.listed = Some(devices);
            for path in known.forget(&wanted.uses) {
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
            if let DeviceUse::Path { path, .. } = each
                && !path.starts_with("/dev/")
            {
                self.nodes.insert(path.clone(), None);
            }
        }
        let devices = self.devices(uses);
        self.shown = self.nodes.keys().cloned().collect();
        self.listed = Some(devices);
    }

    /// The devices that these uses come to. May block on paths that are new.
    fn devices(&mut self, uses: &[DeviceUse]) -> Devices {
        let mut devices = Devices::new();
        for each in uses {
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
        for each in uses {
            let DeviceUse::Path { path, .. } = each else { continue };
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
            self.shown.insert(path.clone());
        }
        Ok(())
    }

    /// What a path leads to is looked at anew when it comes again; the devices that went.
    fn forget(&mut self, uses: &[DeviceUse]) -> Vec<String> {
        let used = |name: &String| {
            uses.iter().any(|each| matches!(each, DeviceUse::Path { path, .. } if path == name))
        };
        let gone = self.nodes.extract_if(.., |path, _| !used(path));
        let gone: Vec<_> = gone.filter(|(_, node)| node.is_some()).map(|(path, _)| path).collect();
        self.shown.retain(|path| used(path));
        gone
    }
}
