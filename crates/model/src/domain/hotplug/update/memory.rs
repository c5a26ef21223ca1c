//! Memory devices: how much of a virtio-mem device the guest is to have.

use super::{Change, Updated, place, unsupported};
use crate::domain::Domain;
use crate::domain::devices::Devices;
use crate::domain::devices::memory::{MemoryDevice, MemoryModel};
use crate::domain::hotplug::device::{Device, DeviceKind};
use crate::domain::hotplug::error;
use diag::{ErrorCode, VirError};

/// Works out what changes.
pub(super) fn running(
    _domain: &Domain,
    devices: &Devices,
    wanted: &MemoryDevice,
) -> Result<Updated, VirError> {
    let is_it = |there: &MemoryDevice| {
        let named = wanted.alias.is_none() || there.alias == wanted.alias;
        let placed = wanted.address.is_none() || there.address == wanted.address;
        let same = there.model == wanted.model && there.target.node == wanted.target.node;
        named
            && placed
            && same
            && (wanted.alias.is_some() || there.target.size == wanted.target.size)
    };
    let found = devices.memories.iter().position(is_it);
    let Some((index, old)) = found.and_then(|i| Some((i, devices.memories.get(i)?))) else {
        let alias = wanted.alias.as_ref().map_or("(null)", |alias| alias.name.as_str());
        return Err(error(ErrorCode::CONFIG_UNSUPPORTED, format!("memory '{alias}' not found")));
    };
    if old.model != MemoryModel::VirtioMem {
        let model = old.model.as_str();
        let text = format!("cannot modify memory of model '{model}'");
        return Err(error(ErrorCode::OPERATION_UNSUPPORTED, text));
    }
    for (same, field) in [
        (old.target.size == wanted.target.size, "size"),
        (old.target.block == wanted.target.block, "block size"),
        (wanted.source.is_none() || old.source == wanted.source, "source"),
        (wanted.address.is_none() || old.address == wanted.address, "address"),
    ] {
        if !same {
            return Err(unsupported(format!("cannot modify memory {field}")));
        }
    }
    let requested = wanted.target.requested.unwrap_or_default();
    let mut device = old.clone();
    device.target.requested = wanted.target.requested;
    let changed = old.target.requested != wanted.target.requested;
    let changes = changed
        .then(|| Change::RequestedSize { bytes: requested.0.saturating_mul(1024) })
        .into_iter()
        .collect();
    Ok(Updated {
        place: place(DeviceKind::Memory, index),
        device: Device::Memory(Box::new(device)),
        changes,
    })
}
