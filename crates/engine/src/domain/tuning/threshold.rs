//! Being told when more of an image is written than a given size (`virsh domblkthreshold`).

use super::super::affect::acquire;
use super::super::power::execute;
use super::super::record::Domain;
use crate::domain::hardware::block::{disks, has_images};
use crate::engine::Engine;
use crate::events::DomainEvent;
use diag::VirError;
use lifecycle::Request;
use model::domain::Domain as Definition;
use model::domain::devices::disk::{Disk, DiskSource};
use qmp::{Ack, Command};
use std::sync::Arc;

impl Engine {
    /// Has an event told when the image named by `device` (`vda`, or `vda[2]` for one of its chain)
    /// is written to beyond `threshold` bytes.
    ///
    /// # Errors
    /// When the domain does not run or has no such image.
    pub async fn set_block_threshold(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        device: String,
        threshold: u64,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let job = acquire(domain, Request::ModifyLive, "domblkthreshold", client).await?;
        let domain = Arc::clone(domain);
        self.detached(async move {
            let _job = job;
            let vm = super::running(&domain)?;
            let snapshot = domain.snapshot();
            let live = snapshot.live.as_ref().ok_or_else(super::not_running)?;
            let target = device.split('[').next().unwrap_or_default();
            let served = |disk: &&Disk| disk.target.dev == target;
            if let Some(disk) = disks(&live.definition).iter().find(served) {
                has_images(disk, "setting device threshold is")?;
            }
            let (_, index) = image(&live.definition, &device)
                .ok_or_else(|| VirError::invalid_arg(format!("failed to find disk '{device}'")))?;
            let node = format!("libvirt-{index}-storage");
            let command = Command::<Ack>::new("block-set-write-threshold")
                .arg("node-name", node.clone())
                .arg("write-threshold", threshold);
            execute(&vm, command).await?;
            vm.nodes_wanted();
            vm.threshold_named(&node, device.ends_with(']'));
            Ok(())
        })
        .await
    }
}

/// The disk that `device` names, and the number of the image.
fn image<'a>(definition: &'a Definition, device: &str) -> Option<(&'a Disk, u32)> {
    let (target, index) = match device.strip_suffix(']').and_then(|rest| rest.rsplit_once('[')) {
        Some((target, index)) => (target, Some(index.parse::<u32>().ok()?)),
        None => (device, None),
    };
    let disk = disks(definition).iter().find(|disk| disk.target.dev == target)?;
    let images = images(disk);
    let found = match index {
        Some(index) => images.iter().find(|(own, _)| *own == index),
        None => images.first(),
    };
    found.map(|(index, _)| (disk, *index))
}

/// Numbers and paths of the images of a disk, the top first.
pub(in crate::domain) fn images(disk: &Disk) -> Vec<(u32, Option<String>)> {
    let named = disk.images().map(|image| (image.number, image.source));
    let path = |source: &DiskSource| source.file.clone().or(source.dev.clone());
    named.filter_map(|(number, source)| Some((number?, path(source)))).collect()
}

/// What is told when the threshold of a node was passed: for the image by its number, and for the
/// disk too when the threshold was set by the disk's name.
pub(in crate::domain) fn passed(
    definition: &Definition,
    node: &str,
    threshold: u64,
    excess: u64,
    by_index: bool,
) -> Vec<DomainEvent> {
    let number = node.strip_prefix("libvirt-").and_then(|rest| rest.strip_suffix("-storage"));
    let Some(number) = number.and_then(|number| number.parse::<u32>().ok()) else {
        return Vec::new();
    };
    let found = disks(definition).iter().find_map(|disk| {
        let images = images(disk);
        let place = images.iter().position(|(index, _)| *index == number)?;
        let path = images.into_iter().nth(place)?.1;
        Some((disk.target.dev.clone(), place == 0, path))
    });
    let Some((target, top, path)) = found else { return Vec::new() };
    let event = |device: String| DomainEvent::BlockThreshold {
        device,
        path: path.clone(),
        threshold,
        excess,
    };
    let mut told = Vec::new();
    if top && !by_index {
        told.push(event(target.clone()));
    }
    told.push(event(format!("{target}[{number}]")));
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition() -> Definition {
        let text = "<domain type='qemu'><name>x</name><memory>1024</memory>\
                    <os><type>hvm</type></os><devices><disk type='file'>\
                    <driver name='qemu' type='qcow2'/><source file='/top' index='1'/>\
                    <backingStore type='file' index='3'><format type='raw'/>\
                    <source file='/base'/><backingStore/></backingStore>\
                    <target dev='vda'/></disk></devices></domain>";
        let parsed = model::domain::parse(text, model::domain::ParseOptions { live: true });
        parsed.domain.expect("a definition")
    }

    #[test]
    fn images_by_name_and_number() {
        let definition = definition();
        let found = |name: &str| image(&definition, name).map(|(_, index)| index);
        for (name, expected) in [
            ("vda", Some(1)),
            ("vda[1]", Some(1)),
            ("vda[3]", Some(3)),
            ("vda[2]", None),
            ("vda[x]", None),
            ("vdb", None),
        ] {
            assert_eq!(found(name), expected, "{name}");
        }
    }

    #[test]
    fn who_is_told_what() {
        let definition = definition();
        let names = |node: &str, by_index| -> Vec<String> {
            let events = passed(&definition, node, 10, 2, by_index);
            let name = |event| match event {
                DomainEvent::BlockThreshold { device, path, .. } => {
                    format!("{device} {}", path.unwrap_or_default())
                }
                other => format!("{other:?}"),
            };
            events.into_iter().map(name).collect()
        };
        assert_eq!(names("libvirt-1-storage", false), ["vda /top", "vda[1] /top"]);
        assert_eq!(names("libvirt-1-storage", true), ["vda[1] /top"]);
        assert_eq!(names("libvirt-3-storage", false), ["vda[3] /base"]);
        assert!(names("libvirt-9-storage", false).is_empty());
        assert!(names("#block123", false).is_empty());
    }
}
