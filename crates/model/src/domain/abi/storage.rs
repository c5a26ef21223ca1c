//! Disks and shared folders.

use super::address::{Placed, given, place, virtio};
use super::rule::{Checker, Rule, number, text, word};
use crate::domain::devices::Devices;
use crate::domain::devices::disk::{BlockIo, Disk};
use crate::domain::devices::filesystem::Filesystem;

const DISK: &[Rule<Disk>] = &[
    Rule {
        at: "@device",
        says: "Target disk device {target} does not match source {source}",
        value: |d| d.device.to_string(),
    },
    Rule {
        at: "target/@bus",
        says: "Target disk bus {target} does not match source {source}",
        value: |d| word(d.target.bus, "none"),
    },
    Rule {
        at: "target/@dev",
        says: "Target disk {target} does not match source {source}",
        value: |d| d.target.dev.clone(),
    },
    Rule {
        at: "serial",
        says: "Target disk serial {target} does not match source {source}",
        value: |d| text(d.serial.as_deref()),
    },
    Rule {
        at: "wwn",
        says: "Target disk wwn '{target}' does not match source '{source}'",
        value: |d| text(d.wwn.as_deref()),
    },
    Rule {
        at: "readonly",
        says: "Target disk access mode does not match source",
        value: |d| if d.readonly { "readonly" } else { "writable" }.to_owned(),
    },
    Rule {
        at: "@model",
        says: "Target disk model {target} does not match source {source}",
        value: |d| word(d.model, "default"),
    },
    Rule {
        at: "blockio/@logical_block_size",
        says: "Target disk logical_block_size {target} does not match source {source}",
        value: |d| block(d, |b| b.logical_block_size),
    },
    Rule {
        at: "blockio/@physical_block_size",
        says: "Target disk physical_block_size {target} does not match source {source}",
        value: |d| block(d, |b| b.physical_block_size),
    },
    Rule {
        at: "blockio/@discard_granularity",
        says: "Target disk discard_granularity {target} does not match source {source}",
        value: |d| block(d, |b| b.discard_granularity),
    },
    Rule {
        at: "target/@rotation_rate",
        says: "Target disk rotation rate {target} RPM does not match source {source} RPM",
        value: |d| number(d.target.rotation_rate),
    },
    Rule {
        at: "driver/@queues",
        says: "Target disk queue count {target} does not match source {source}",
        value: |d| number(d.driver.as_ref().and_then(|d| d.queues)),
    },
    Rule {
        at: "driver/@queue_size",
        says: "Target disk queue size {target} does not match source {source}",
        value: |d| number(d.driver.as_ref().and_then(|d| d.queue_size)),
    },
];

fn block(disk: &Disk, part: fn(&BlockIo) -> Option<u32>) -> String {
    number(disk.blockio.as_ref().and_then(part))
}

const FILESYSTEM: &[Rule<Filesystem>] = &[
    Rule {
        at: "@model",
        says: "Target filesystem model does not match source",
        value: |f| word(f.model, "default"),
    },
    Rule {
        at: "target/@dir",
        says: "Target filesystem guest target {target} does not match source {source}",
        value: |f| f.target.dir.clone(),
    },
    Rule {
        at: "readonly",
        says: "Target filesystem access mode does not match source",
        value: |f| if f.readonly { "readonly" } else { "writable" }.to_owned(),
    },
];

/// The disks.
pub(super) fn disks(a: &Devices, b: &Devices, cx: &mut Checker) {
    let says = "Target domain disk count {target} does not match source {source}";
    cx.lists("devices/disk", says, &a.disks, &b.disks, |cx, path, x, y| {
        cx.rules(path, DISK, x, y);
        virtio(cx, path, given!(x.driver), given!(y.driver));
        place(cx, path, x.place(), y.place());
    });
}

/// The shared folders.
pub(super) fn filesystems(a: &Devices, b: &Devices, cx: &mut Checker) {
    let says = "Target domain filesystem count {target} does not match source {source}";
    cx.lists("devices/filesystem", says, &a.filesystems, &b.filesystems, |cx, path, x, y| {
        cx.rules(path, FILESYSTEM, x, y);
        place(cx, path, x.place(), y.place());
        virtio(cx, path, given!(x.driver), given!(y.driver));
    });
}
