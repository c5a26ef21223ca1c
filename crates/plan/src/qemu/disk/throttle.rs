//! I/O limits: throttle groups, filters above an image, and limits of the drive itself.

use super::super::build::{Build, Props};
use crate::io_limits::IoLimits;
use crate::step::QmpCommand;
use model::domain::devices::disk::*;
use model::domain::tune::IoTune;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The command that sets the limits of a drive.
fn iotune_command(target: &str, tune: &IoTune) -> Value {
    let zero = |value: Option<u64>| value.unwrap_or(0);
    let mut arguments = Props::default()
        .set("id", target)
        .set("bps", zero(tune.total_bytes_sec))
        .set("bps_rd", zero(tune.read_bytes_sec))
        .set("bps_wr", zero(tune.write_bytes_sec))
        .set("iops", zero(tune.total_iops_sec))
        .set("iops_rd", zero(tune.read_iops_sec))
        .set("iops_wr", zero(tune.write_iops_sec));
    for (key, value) in [
        ("bps_max", tune.total_bytes_sec_max),
        ("bps_rd_max", tune.read_bytes_sec_max),
        ("bps_wr_max", tune.write_bytes_sec_max),
        ("iops_max", tune.total_iops_sec_max),
        ("iops_rd_max", tune.read_iops_sec_max),
        ("iops_wr_max", tune.write_iops_sec_max),
        ("bps_max_length", tune.total_bytes_sec_max_length),
        ("bps_rd_max_length", tune.read_bytes_sec_max_length),
        ("bps_wr_max_length", tune.write_bytes_sec_max_length),
        ("iops_max_length", tune.total_iops_sec_max_length),
        ("iops_rd_max_length", tune.read_iops_sec_max_length),
        ("iops_wr_max_length", tune.write_iops_sec_max_length),
        ("iops_size", tune.size_iops_sec),
    ] {
        arguments = arguments.opt(key, value);
    }
    arguments = arguments.opt("group", tune.group_name.clone());
    json!({"execute": "block_set_io_throttle", "arguments": arguments.into_value()})
}

/// QEMU's name of the drive of a disk, by which its limits are set and its medium is changed.
pub fn drive_id(disk: &Disk) -> Option<String> {
    let name = &disk.alias.as_ref()?.name;
    Some(match disk.target.bus {
        // The block back end of a virtio disk hangs below the transport's device.
        Some(DiskBus::Virtio) => format!("/machine/peripheral/{name}/virtio-backend"),
        // A USB disk is a SCSI disk on a bus of its own.
        Some(DiskBus::Usb) => format!("/machine/peripheral/{name}/{name}.0/legacy[0]"),
        _ => name.clone(),
    })
}

/// The filters of a disk, the lowest first.
pub(super) fn filters(disk: &Disk) -> impl Iterator<Item = &ThrottleFilter> {
    disk.throttlefilters.iter().flat_map(|filters| &filters.filters)
}

/// The nodes of a disk's filters, the lowest first: as its status says, which stays true when other
/// images come below them; else as a start numbers them, with the first numbers above the top's that
/// none of the images has.
pub fn filter_nodes(disk: &Disk) -> Vec<String> {
    let count = filters(disk).count();
    let noted = super::private::filter_nodes(disk);
    if noted.len() == count {
        return noted;
    }
    let numbers = disk
        .images()
        .flat_map(|image| [image.number, image.source.data_source().and_then(|data| data.index)]);
    let numbers: BTreeSet<u32> = numbers.flatten().collect();
    let top = disk.source.as_ref().and_then(|source| source.index).unwrap_or(0);
    let free = (top.saturating_add(1)..).filter(|number| !numbers.contains(number));
    free.take(count).map(|number| format!("libvirt-{number}-filter")).collect()
}

impl Build<'_> {
    /// The groups that filters share.
    pub(in crate::qemu) fn throttle_groups(&mut self) {
        let groups = self.d.throttle_groups.clone();
        for group in groups.iter().flat_map(|groups| &groups.groups) {
            let name = group.group_name.as_deref().unwrap_or_default();
            let props = Props::object("throttle-group", &format!("throttle-{name}"));
            self.object(props.set("limits", IoLimits::of_group(group).group_limits()));
        }
    }

    /// Filters above `top`. The name of the uppermost node.
    pub(super) fn throttle_filters(&mut self, disk: &Disk, top: String) -> String {
        let mut top = top;
        for (filter, name) in filters(disk).zip(filter_nodes(disk)) {
            let props = Props::default()
                .set("driver", "throttle")
                .set("node-name", name.clone())
                .set("throttle-group", format!("throttle-{}", filter.group))
                .set("file", top);
            self.json("-blockdev", props);
            self.nodes.insert(name.clone());
            top = name;
        }
        top
    }

    /// I/O limits of the drive: set through the monitor, once it exists.
    pub(super) fn iotune(&mut self, disk: &Disk) {
        let (Some(tune), Some(target)) = (&disk.iotune, drive_id(disk)) else {
            return;
        };
        let json = iotune_command(&target, tune).to_string();
        self.commands.push(QmpCommand { result: None, json, secret: false });
    }
}
