//! What no step of a start looks at, so that only QEMU or the kernel would refuse it, or nobody: what
//! images hold, folders that are shared, processors that the host lacks.

use super::Finding;
use crate::domain::view::source_path;
use crate::storage::probe;
use model::domain::Domain as Definition;
use model::domain::devices::disk::Disk;
use model::domain::devices::filesystem::FilesystemType;
use model::domain::scalar::CpuSet;
use std::path::Path;

/// Looks at all of them. May block.
pub(super) fn look_at(definition: &Definition, found: &mut Vec<Finding>) {
    let devices = definition.devices.iter();
    for disk in devices.clone().flat_map(|devices| &devices.disks) {
        look_at_image(disk, found);
    }
    for shared in devices.flat_map(|devices| &devices.filesystems) {
        let folder = shared.source.as_ref().and_then(|source| source.dir.as_deref());
        if let Some(folder) = folder.filter(|folder| !Path::new(folder).is_dir())
            && shared.kind == FilesystemType::Mount
        {
            found.push(Finding::blocks(
                format!("<filesystem>: '{folder}' is no folder"),
                "make it, or correct the path (`edit`)",
            ));
        }
    }
    let online = host::facts::cpu_list(Path::new("/"), "online");
    if let (Some(online), Some(vcpu)) = (online, &definition.vcpu) {
        look_at_processors(vcpu.cpuset.as_ref(), &online, found);
    }
}

/// An image is what its disk says that it is: QEMU refuses one that is no qcow2, but gives the guest
/// the bytes of a qcow2 file where `raw` was said.
fn look_at_image(disk: &Disk, found: &mut Vec<Finding>) {
    let Some(path) = source_path(disk).filter(|path| Path::new(path).is_file()) else { return };
    let target = &disk.target.dev;
    // Of one that cannot be read nothing is known.
    let Ok(image) = probe::probe_path(Path::new(path)) else { return };
    let is_qcow2 = image.format == "qcow2";
    match disk.driver.as_ref().and_then(|driver| driver.kind.as_deref()) {
        Some("qcow2") if !is_qcow2 => found.push(Finding::blocks(
            format!("<disk> '{target}': '{path}' is not in qcow2 format"),
            "name its format: <driver type='…'/> (`qemu-img info` tells it)",
        )),
        Some("raw") if is_qcow2 => found.push(Finding::note(
            format!(
                "<disk> '{target}': '{path}' is in qcow2 format, and the guest is given its bytes \
                 as they are"
            ),
            "name its format: <driver type='qcow2'/>, unless that is what is meant",
        )),
        _ => {}
    }
}

fn look_at_processors(wanted: Option<&CpuSet>, online: &[u32], found: &mut Vec<Finding>) {
    if let Some(wanted) = wanted
        && !online.iter().any(|&cpu| wanted.contains(cpu))
    {
        found.push(Finding::blocks(
            format!("<vcpu cpuset='{wanted}'>: this host has none of these processors"),
            format!("it has {}", host::facts::format_cpu_list(online)),
        ));
    }
}
