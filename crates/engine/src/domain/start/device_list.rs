//! Which devices of the host a guest's processes may open: those that every guest may
//! (`cgroup_device_acl` of `qemu.conf`) and those that its definition uses.

use crate::domain::start::found::scsi_nodes;
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use host::cgroup::{Device, DeviceAccess, DeviceKind, Devices, MachineGroup};
use model::domain::Domain as Definition;
use plan::{Access, DeviceUse};
use std::path::Path;

/// The major number of pseudo terminals, which every guest may use (the kernel's `devices.txt`).
const TERMINALS: u32 = 136;

impl Engine {
    /// What a guest of this definition may use besides what all may; `writes`: disks on whose lower
    /// images a job works. May block.
    pub(in crate::domain) fn device_uses(
        &self,
        definition: &Definition,
        writes: impl Fn(&str) -> bool,
    ) -> Vec<DeviceUse> {
        let nodes = scsi_nodes(definition);
        let render_node = self.facts.render_nodes.first().map(String::as_str);
        plan::qemu::device_uses(definition, render_node, &nodes, writes)
    }

    /// What every guest may use. May block.
    pub(in crate::domain) fn devices_of_all(&self) -> Devices {
        let nodes = self.settings.groups.devices.iter();
        let mut devices: Devices =
            nodes.filter_map(|path| Some((device_at(path)?, DeviceAccess::READ_WRITE))).collect();
        devices.insert(all_of(TERMINALS), DeviceAccess::READ_WRITE);
        devices
    }

    /// Lets the guest's processes use these devices and what every guest may.
    ///
    /// # Errors
    /// The kernel refuses: a guest does not run without the list that it should have.
    pub(crate) fn guard_devices(
        &self,
        group: &MachineGroup,
        uses: &[DeviceUse],
    ) -> Result<(), VirError> {
        let mut devices = self.devices_of_all();
        for each in uses {
            if let Some((device, access)) = looked_up(each, device_at) {
                add(&mut devices, device, access);
            }
        }
        group.guard_devices(&devices).map_err(|error| {
            VirError::new(ErrorCode::SYSTEM_ERROR, error.to_string()).hint(
                "guests get access to some devices only; cgroup_controllers in qemu.conf, without \
                 \"devices\", gives them access to all",
            )
        })
    }
}

/// Adds to what may be done with a device.
pub(in crate::domain) fn add(devices: &mut Devices, device: Device, access: DeviceAccess) {
    let entry = devices.entry(device).or_default();
    *entry = entry.with(access);
}

/// What a use comes to; `at` finds the device at a path.
pub(in crate::domain) fn looked_up(
    each: &DeviceUse,
    at: impl FnOnce(&str) -> Option<Device>,
) -> Option<(Device, DeviceAccess)> {
    Some(match each {
        DeviceUse::Major(major) => (all_of(*major), DeviceAccess::READ_WRITE),
        DeviceUse::Path { path, access: Access::Read } => (at(path)?, DeviceAccess::READ),
        DeviceUse::Path { path, access: Access::ReadWrite } => {
            (at(path)?, DeviceAccess::READ_WRITE)
        }
    })
}

/// The device that a path leads to; `None`: a file, or nothing.
pub(in crate::domain) fn device_at(path: &str) -> Option<Device> {
    Device::at(Path::new(path)).ok().flatten()
}

fn all_of(major: u32) -> Device {
    Device { kind: DeviceKind::Char, major, minor: None }
}
