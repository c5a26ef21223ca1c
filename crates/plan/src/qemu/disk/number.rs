//! Numbers of images, and what volumes are.

use super::super::found::Found;
use super::has_source;
use diag::{Diagnostic, ErrorCode, Severity};
use model::domain::Domain;
use model::domain::devices::disk::*;

/// Gives every image of every disk its number, which names its nodes: the last disk has 1. Images
/// that were found below those of the definition come after all others.
pub(in crate::qemu) fn number_images(domain: &mut Domain, found: &Found) {
    let Some(devices) = domain.devices.as_mut() else {
        return;
    };
    let mut next = 0;
    // A card in a slot of the board has no nodes of ours.
    let numbered = |disk: &&mut Disk| disk.target.bus != Some(DiskBus::Sd);
    for disk in devices.disks.iter_mut().rev().filter(numbered) {
        next = number_disk(disk, next);
    }
    for disk in devices.disks.iter_mut().rev().filter(numbered) {
        if let Some(lowest) = add_data(disk, found) {
            next = number_data(lowest, next);
        }
        let Some(mut below) = add_chain(disk, found) else { continue };
        while let Some(source) = &mut below.source {
            next += 1;
            below.index = Some(next);
            next = number_data(source, next);
            let Some(store) = below.backing_store.as_deref_mut() else { break };
            below = store;
        }
    }
}

/// Puts what was found below the images of a disk in its place; the uppermost of it.
pub(in crate::qemu) fn add_chain<'a>(
    disk: &'a mut Disk,
    found: &Found,
) -> Option<&'a mut BackingStore> {
    let chain = found.chains.get(&disk.target.dev)?;
    let mut end = &mut disk.backing_store;
    while end.as_ref().is_some_and(|store| store.source.is_some()) {
        end = &mut end.as_mut()?.backing_store;
    }
    let end = end.insert(Box::new(chain.clone()));
    // What holds for the image that names them holds for them.
    let labels = disk.source.as_ref().map(|source| source.seclabels.clone()).unwrap_or_default();
    let mut next = Some(&mut **end);
    while let Some(layer) = next {
        layer.source.iter_mut().for_each(|source| source.seclabels.clone_from(&labels));
        next = layer.backing_store.as_deref_mut();
    }
    Some(end)
}

/// Puts the file that was found to hold the bytes of a disk's lowest image in its place; that image's
/// source.
pub(in crate::qemu) fn add_data<'a>(
    disk: &'a mut Disk,
    found: &Found,
) -> Option<&'a mut DiskSource> {
    let data = found.data_stores.get(&disk.target.dev)?;
    let mut lowest = disk.source.as_mut()?;
    let mut below = disk.backing_store.as_deref_mut();
    while let Some(BackingStore { source: Some(source), backing_store, .. }) = below {
        lowest = source;
        below = backing_store.as_deref_mut();
    }
    if lowest.data_store.is_some() {
        return None;
    }
    lowest.data_store = Some(Box::new(data.clone()));
    Some(lowest)
}

/// Numbers the file that holds an image's bytes, if it has one; the last number given.
fn number_data(source: &mut DiskSource, last: u32) -> u32 {
    let data = source.data_store.as_deref_mut().and_then(|data| data.source.as_mut());
    let Some(data) = data else { return last };
    data.index = Some(last + 1);
    last + 1
}

/// The groups of descriptors that the images of a disk are opened by.
pub(in crate::qemu) fn descriptor_groups(disk: &Disk) -> impl Iterator<Item = &str> {
    disk.images().filter_map(|image| image.source.fdgroup.as_deref())
}

/// The nodes of the images of a disk that are opened by descriptors.
pub(in crate::qemu) fn nodes_of_descriptors(disk: &Disk) -> impl Iterator<Item = String> {
    let images = disk.images().filter(|image| image.source.fdgroup.is_some());
    images.filter_map(|image| Some(format!("libvirt-{}-storage", image.number?)))
}

/// The greatest number that [`number_images`] gives.
pub(in crate::qemu) fn images_numbered(domain: &Domain) -> u32 {
    let mut domain = Domain { devices: domain.devices.clone(), ..Domain::default() };
    let Some(devices) = domain.devices.as_mut() else { return 0 };
    let numbered = |disk: &&mut Disk| disk.target.bus != Some(DiskBus::Sd);
    devices.disks.iter_mut().filter(numbered).fold(0, |last, disk| number_disk(disk, last))
}

/// Numbers the images of one disk, the first of them after `last`; the last number given.
pub(in crate::qemu) fn number_disk(disk: &mut Disk, last: u32) -> u32 {
    // What another process serves has no nodes.
    if disk.kind == StorageType::Vhostuser {
        return last;
    }
    // An empty drive has a number too, for the medium to come.
    let mut next = last + 1;
    if !has_source(disk) {
        return next;
    }
    if let Some(source) = disk.source.as_mut() {
        source.index = Some(next);
        next = number_data(source, next);
    }
    let mut below = disk.backing_store.as_deref_mut();
    while let Some(store) = below {
        if store.source.is_none() {
            break;
        }
        next += 1;
        store.index = Some(next);
        if let Some(source) = store.source.as_mut() {
            source.index = None;
            next = number_data(source, next);
        }
        below = store.backing_store.as_deref_mut();
    }
    let filters = disk.throttlefilters.as_ref().map_or(0, |filters| filters.filters.len());
    next + u32::try_from(filters).unwrap_or(0)
}

/// Puts what volumes are in their place. A disk that may be missing is left out where its volume
/// was not found, a medium that may be missing is taken out of its drive.
///
/// # Errors
/// A volume was not found.
pub(in crate::qemu) fn resolve_volumes(
    domain: &mut Domain,
    found: &Found,
) -> Result<(), Vec<Diagnostic>> {
    let Some(devices) = domain.devices.as_mut() else {
        return Ok(());
    };
    let mut faults = Vec::new();
    devices.disks.retain_mut(|disk| {
        if disk.kind != StorageType::Volume {
            return true;
        }
        let Some(source) = disk.source.as_mut() else {
            return true;
        };
        let (Some(pool), Some(volume)) = (source.pool.clone(), source.volume.clone()) else {
            return true;
        };
        if let Some(volume) = found.volumes.get(&(pool.clone(), volume.clone())) {
            disk.kind = volume.kind;
            // A format that is not given is not guessed.
            let driver = disk.driver.get_or_insert_default();
            driver.kind.get_or_insert_with(|| "raw".to_owned());
            let there = &volume.source;
            source.file.clone_from(&there.file);
            source.dev.clone_from(&there.dev);
            source.dir.clone_from(&there.dir);
            source.protocol.clone_from(&there.protocol);
            source.name.clone_from(&there.name);
            source.hosts.clone_from(&there.hosts);
            if source.auth.is_none() {
                source.auth.clone_from(&there.auth);
            }
            if source.initiator.is_none() {
                source.initiator.clone_from(&there.initiator);
            }
            return true;
        }
        if source.startup_policy == Some(StartupPolicy::Optional) {
            if disk.device.is_removable() {
                disk.source = None;
                disk.kind = StorageType::File;
                return true;
            }
            return false;
        }
        faults.push(Diagnostic {
            rule: "qemu.volume",
            severity: Severity::Error,
            code: ErrorCode::NO_STORAGE_VOL,
            span: None,
            message: format!("no storage vol with matching name '{volume}'"),
            domain: None,
            hints: Vec::new(),
        });
        true
    });
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// Shows volumes as what they are again, once their arguments are made: the live definition keeps
/// pool and name, and beside them what they are.
pub(in crate::qemu) fn restore_volumes(domain: &mut Domain) {
    for disk in domain.devices.iter_mut().flat_map(|devices| &mut devices.disks) {
        let kind = disk.kind;
        if let Some(source) = disk.source.as_mut()
            && source.pool.is_some()
            && source.volume.is_some()
            && kind != StorageType::Volume
        {
            source.actual_type = Some(kind);
            disk.kind = StorageType::Volume;
        }
    }
}
