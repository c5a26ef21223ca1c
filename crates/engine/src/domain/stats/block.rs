//! Disks in the statistics: counters, sizes, thresholds; of the top image or of the whole chain.

use super::{Images, Out};
use crate::domain::hardware::block::{BlockCounters, alias_of, entry_of};
use model::domain::devices::disk::{BackingStore, Disk, DiskSource};
use qmp::Value;
use std::collections::HashMap;

/// What a running guest's QEMU said about its block layer.
pub(super) struct Answered<'a> {
    /// Entries of `query-blockstats`.
    stats: &'a [Value],
    /// Entries of `query-named-block-nodes` by the names of the nodes.
    nodes: HashMap<&'a str, &'a Value>,
}

impl<'a> Answered<'a> {
    /// Of the answers to `query-blockstats` and `query-named-block-nodes`; null where there is none.
    pub fn new(stats: &'a Value, nodes: &'a Value) -> Self {
        let list = |value: &'a Value| value.as_array().map_or(&[][..], Vec::as_slice);
        let named = |node: &'a Value| Some((node.get("node-name")?.as_str()?, node));
        Self { stats: list(stats), nodes: list(nodes).iter().filter_map(named).collect() }
    }

    /// QEMU was asked for its nodes, and answered.
    pub fn knows_nodes(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// Some client wants to be told when more of an image is written.
    pub fn has_thresholds(&self) -> bool {
        self.nodes.values().any(|node| threshold(node).is_some())
    }

    /// The nodes of the image with this number: of its format and of its storage.
    fn nodes_of(&self, index: u32) -> impl Iterator<Item = &'a Value> + '_ {
        let name = move |layer: &str| format!("libvirt-{index}-{layer}");
        ["format", "storage"]
            .into_iter()
            .filter_map(move |layer| self.nodes.get(name(layer).as_str()).copied())
    }

    /// What the guest sees of an image, and what is stored of it.
    fn sizes(&self, index: u32) -> Option<(u64, u64)> {
        let number = |node: &Value, name| node.get("image")?.get(name)?.as_u64();
        let capacity = self.nodes_of(index).find_map(|node| number(node, "virtual-size"))?;
        let stored = self.nodes_of(index).find_map(|node| number(node, "actual-size"));
        Some((capacity, stored.unwrap_or(capacity)))
    }
}

/// What the guest sees of the image with this number, and what is stored of it, by entries of
/// `query-named-block-nodes`.
pub(crate) fn node_sizes(nodes: &Value, index: u32) -> Option<(u64, u64)> {
    Answered::new(&Value::Null, nodes).sizes(index)
}

fn threshold(node: &Value) -> Option<u64> {
    node.get("write_threshold")?.as_u64().filter(|bytes| *bytes > 0)
}

/// An image that is on no file system of this host: only QEMU knows its size.
pub(crate) fn is_remote(disk: &Disk) -> bool {
    disk.source.as_ref().is_some_and(|source| local(source).is_none() && has_source(source))
}

fn has_source(source: &DiskSource) -> bool {
    source.protocol.is_some() || source.path.is_some() || source.kind.is_some()
}

/// The path of an image on this host.
fn local(source: &DiskSource) -> Option<&str> {
    source.file.as_deref().or(source.dev.as_deref()).or(source.dir.as_deref())
}

/// One image of a disk.
struct Image<'a> {
    source: Option<&'a DiskSource>,
    index: Option<u32>,
    qcow2: bool,
}

/// The images of a disk, the top first.
fn images<'a>(disk: &'a Disk, backing: bool) -> Vec<Image<'a>> {
    let format = disk.driver.as_ref().and_then(|driver| driver.kind.as_deref());
    // An empty drive has statistics too.
    let top = Image {
        source: disk.source.as_ref(),
        index: disk.source.as_ref().and_then(|source| source.index),
        qcow2: format == Some("qcow2"),
    };
    let below = disk.layers().filter(|_| backing);
    // A copy that is being made counts too; the base of a commit is in the chain.
    let mirror = disk.mirror.as_deref().filter(|mirror| mirror.job.as_deref() == Some("copy"));
    let mirror = mirror.filter(|_| backing);
    let copy = mirror.map(|mirror| Image {
        source: mirror.source.as_ref(),
        index: mirror.source.as_ref().and_then(|source| source.index),
        qcow2: mirror.image_format.as_ref().is_some_and(|format| format.kind == "qcow2"),
    });
    let own = mirror.and_then(|mirror| mirror.backing_store.as_deref());
    let own = own.into_iter().flat_map(BackingStore::chain);
    let layer = |BackingStore { source, index, format, .. }: &'a BackingStore| Image {
        source: source.as_ref(),
        index: *index,
        qcow2: format.as_ref().is_some_and(|format| format.kind == "qcow2"),
    };
    let there = |layer: &&BackingStore| layer.source.is_some();
    let below = below.filter(there).map(layer);
    std::iter::once(top).chain(below).chain(copy).chain(own.filter(there).map(layer)).collect()
}

/// `answered`: for a running guest.
pub(super) fn block_group(
    out: &mut Out,
    disks: &[Disk],
    answered: Option<&Answered<'_>>,
    backing: bool,
    sizes: &Images,
) {
    if disks.is_empty() && answered.is_none() {
        return;
    }
    let chains: Vec<_> = disks.iter().map(|disk| (disk, images(disk, backing))).collect();
    out.count("block.count", chains.iter().map(|(_, images)| images.len()).sum());
    let mut number = 0;
    for (disk, images) in &chains {
        let mut stats = answered.and_then(|answered| entry_of(answered.stats, alias_of(disk)));
        for (depth, image) in images.iter().enumerate() {
            let mut entry = Entry { out, number, image, sizes };
            entry.write(&disk.target.dev, answered, stats, depth == 0);
            stats = stats.and_then(|stats| stats.get("backing"));
            number += 1;
        }
    }
}

/// The statistics of one image being written down.
struct Entry<'a, 'b> {
    out: &'a mut Out,
    number: usize,
    image: &'a Image<'b>,
    sizes: &'a Images,
}

impl Entry<'_, '_> {
    fn add(&mut self, what: &str, value: impl Into<super::StatValue>) {
        self.out.add(format!("block.{}.{what}", self.number), value);
    }

    /// As libvirt does, which does not tell of sizes that are zero.
    fn add_size(&mut self, what: &str, bytes: u64) {
        if bytes > 0 {
            self.add(what, bytes);
        }
    }

    fn write(
        &mut self,
        target: &str,
        answered: Option<&Answered<'_>>,
        stats: Option<&Value>,
        top: bool,
    ) {
        self.add("name", target.to_owned());
        let path = self.image.source.and_then(local);
        if let Some(path) = path {
            self.add("path", path.to_owned());
        }
        let Some(answered) = answered else {
            if let Some(info) = path.and_then(|path| self.sizes.read(path, self.image.qcow2)) {
                self.add_size("allocation", info.allocation);
                self.add_size("capacity", info.capacity);
                self.add_size("physical", info.physical);
            }
            return;
        };
        let index = self.image.source.and(self.image.index);
        if let Some(index) = index {
            self.add("backingIndex", index);
        }
        let counters = stats.map(BlockCounters::from_json);
        if let Some(counters) = counters.filter(|_| top) {
            self.add("rd.reqs", counters.rd_operations);
            self.add("rd.bytes", counters.rd_bytes);
            self.add("rd.times", counters.rd_total_times);
            self.add("wr.reqs", counters.wr_operations);
            self.add("wr.bytes", counters.wr_bytes);
            self.add("wr.times", counters.wr_total_times);
            self.add("fl.reqs", counters.flush_operations);
            self.add("fl.times", counters.flush_total_times);
        }
        let Some(index) = index else { return };
        if let Some(counters) = counters {
            self.add("allocation", counters.highest_offset);
        }
        let read = || {
            let info = self.sizes.read(path?, self.image.qcow2)?;
            Some((info.capacity, info.allocation))
        };
        if let Some((capacity, stored)) = answered.sizes(index).or_else(read) {
            self.add_size("capacity", capacity);
            self.add_size("physical", stored);
        }
        if let Some(bytes) = answered.nodes_of(index).find_map(threshold) {
            self.add("threshold", bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn disks() -> Vec<Disk> {
        let text = "<domain type='qemu'><name>x</name><memory>1024</memory>\
            <os><type>hvm</type></os><devices><disk type='file'><driver name='qemu' type='qcow2'/>\
            <alias name='virtio-disk0'/><source file='/nowhere/top' index='1'/>\
            <backingStore type='file' index='3'><format type='raw'/><source file='/nowhere/base'/>\
            <backingStore/></backingStore><target dev='vda'/></disk>\
            <disk type='network'><driver name='qemu' type='raw'/>\
            <source protocol='nbd' name='exp' index='2'><host name='h'/></source>\
            <alias name='virtio-disk1'/><target dev='vdb'/></disk>\
            <disk type='file' device='cdrom'><alias name='sata0-0-0'/><target dev='sda' bus='sata'/>\
            </disk></devices></domain>";
        let parsed = model::domain::parse(text, model::domain::ParseOptions { live: true });
        parsed.domain.expect("a definition").devices.expect("devices").disks
    }

    fn told(answered: Option<&Answered<'_>>, backing: bool) -> Vec<String> {
        let mut out = Out(Vec::new());
        block_group(&mut out, &disks(), answered, backing, &Images::default());
        let word = |value| match value {
            super::super::StatValue::UInt(value) => value.to_string(),
            super::super::StatValue::ULLong(value) => value.to_string(),
            super::super::StatValue::Text(value) => value,
            other => format!("{other:?}"),
        };
        let counter = |name: &String| [".rd.", ".wr.", ".fl."].iter().any(|way| name.contains(way));
        let rest = out.0.into_iter().filter(|(name, _)| !counter(name));
        rest.map(|(name, value)| format!("{name}={}", word(value))).collect()
    }

    #[test]
    fn chains_thresholds_and_remote_images() {
        let stats = json!([
            { "qdev": "/machine/peripheral/virtio-disk0/virtio-backend", "stats": {},
              "parent": { "stats": { "wr_highest_offset": 7 } },
              "backing": { "stats": { "wr_highest_offset": 5 } } },
            { "qdev": "/machine/peripheral/virtio-disk1/virtio-backend",
              "stats": { "wr_highest_offset": 0 } },
            { "qdev": "sata0-0-0", "stats": {} },
        ]);
        let nodes = json!([
            { "node-name": "libvirt-1-format", "image": { "virtual-size": 90, "actual-size": 60 } },
            { "node-name": "libvirt-1-storage", "write_threshold": 44,
              "image": { "virtual-size": 50, "actual-size": 60 } },
            { "node-name": "libvirt-2-storage", "image": { "virtual-size": 8 } },
        ]);
        let answered = Answered::new(&stats, &nodes);
        assert!(answered.has_thresholds());
        let expected = [
            "block.count=4",
            "block.0.name=vda",
            "block.0.path=/nowhere/top",
            "block.0.backingIndex=1",
            "block.0.allocation=7",
            "block.0.capacity=90",
            "block.0.physical=60",
            "block.0.threshold=44",
            "block.1.name=vda",
            "block.1.path=/nowhere/base",
            "block.1.backingIndex=3",
            "block.1.allocation=5",
            "block.2.name=vdb",
            "block.2.backingIndex=2",
            "block.2.allocation=0",
            "block.2.capacity=8",
            "block.2.physical=8",
            "block.3.name=sda",
        ];
        assert_eq!(told(Some(&answered), true), expected);
        assert_eq!(told(Some(&answered), false).len(), expected.len() - 4);
    }

    #[test]
    fn who_does_not_run_tells_names_and_paths() {
        let expected = [
            "block.count=3",
            "block.0.name=vda",
            "block.0.path=/nowhere/top",
            "block.1.name=vdb",
            "block.2.name=sda",
        ];
        assert_eq!(told(None, false), expected);
    }

    #[test]
    fn images_that_only_qemu_can_measure() {
        let remote: Vec<_> = disks().iter().map(is_remote).collect();
        assert_eq!(remote, [false, true, false]);
    }
}
