//! Disks of running guests that become larger or smaller (`virsh blockresize`).

use crate::domain::affect::{acquire, not_running, running};
use crate::domain::hardware::block::{disks, has_images};
use crate::domain::power::{execute, monitor_error};
use crate::domain::record::Domain;
use crate::domain::view::{self, source_path};
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use lifecycle::Request;
use model::domain::Domain as Definition;
use model::domain::devices::disk::{Disk, StorageType};
use qmp::{Ack, Command, Value, cmd};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::sync::Arc;

/// What a disk's size shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewSize {
    /// This many bytes.
    Bytes(u64),
    /// What the host's block device has; a number beside it must be that.
    Capacity(u64),
}

/// Formats whose sizes are counted in sectors.
const SECTOR: u64 = 512;

impl Engine {
    /// Resizes a disk of a running guest, its image and what the guest sees of it.
    ///
    /// # Errors
    /// When the domain does not run, has no such disk, that cannot be written, or QEMU does not do
    /// it.
    pub async fn block_resize(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        name: &str,
        size: NewSize,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let job = acquire(domain, Request::ModifyLive, "blockresize", client).await?;
        let vm = running(domain)?;
        let live = domain.snapshot().live.clone().ok_or_else(not_running)?;
        let found = resizable(&live.definition, name)?;
        let index = found.source.as_ref().and_then(|source| source.index);
        let device = source_path(found).map(str::to_owned);
        let local_raw = found.kind == StorageType::Block && format(found) == "raw";
        self.detached(async move {
            let _job = job;
            let bytes = match size {
                NewSize::Bytes(bytes) => bytes,
                NewSize::Capacity(wanted) => {
                    let Some(device) = device.filter(|_| local_raw) else {
                        return Err(unsupported(
                            "block resize to full capacity supported only with 'raw' local \
                             block-based disks"
                                .to_owned(),
                        ));
                    };
                    let capacity = crate::blocking(move || capacity(&device)).await?;
                    if wanted != 0 && wanted != capacity {
                        return Err(VirError::invalid_arg(format!(
                            "Requested resize to '{wanted}' but device size is '{capacity}'"
                        )));
                    }
                    capacity
                }
            };
            let nodes = vm.monitor.execute(cmd::query_named_block_nodes(true)).await;
            let nodes = nodes.map_err(|error| monitor_error(&error))?;
            let node = node_of(&nodes, index).ok_or_else(|| {
                VirError::internal("QEMU has no block node for the disk that is resized")
            })?;
            // Sizes beyond what a whole sector more would take are QEMU's to refuse.
            let whole = bytes.checked_next_multiple_of(SECTOR).unwrap_or(bytes);
            let command =
                Command::<Ack>::new("block_resize").arg("node-name", node).arg("size", whole);
            execute(&vm, command).await.map(drop)
        })
        .await
    }
}

/// The disk with this target or source, if its size may change.
fn resizable<'a>(definition: &'a Definition, name: &str) -> Result<&'a Disk, VirError> {
    let named = |disk: &&Disk| disk.target.dev == name || source_path(disk) == Some(name);
    let found = disks(definition).iter().find(named).ok_or_else(|| {
        VirError::invalid_arg(format!("disk '{name}' was not found in the domain config"))
    })?;
    has_images(found, "block resize is")?;
    // A disk of a network has a source without a path.
    let empty = found.source.as_ref().is_none_or(|source| source.index.is_none())
        && source_path(found).is_none();
    if empty || found.readonly {
        let target = &found.target.dev;
        return Err(unsupported(format!("can't resize empty or readonly disk '{target}'")));
    }
    Ok(found)
}

fn format(disk: &Disk) -> &str {
    disk.driver.as_ref().and_then(|driver| driver.kind.as_deref()).unwrap_or("raw")
}

/// The node whose size is what the guest sees.
fn node_of(nodes: &[Value], index: Option<u32>) -> Option<String> {
    view::node_of_image(&view::node_names(nodes), index?)
}

/// Bytes of a block device. May block.
fn capacity(device: &str) -> Result<u64, VirError> {
    let length = File::open(device).and_then(|mut file| file.seek(SeekFrom::End(0)));
    length.map_err(|error| {
        let text = format!("cannot find out the size of '{device}': {error}");
        VirError::new(ErrorCode::SYSTEM_ERROR, text)
    })
}

fn unsupported(text: String) -> VirError {
    VirError::new(ErrorCode::OPERATION_UNSUPPORTED, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn which_disks_may_change() {
        let text = "<domain type='qemu'><name>x</name><memory>1024</memory>\
                    <os><type>hvm</type></os><devices><disk type='file'><source file='/a'/>\
                    <target dev='vda'/></disk><disk type='file'><source file='/b'/>\
                    <target dev='vdb'/><readonly/></disk><disk type='file' device='cdrom'>\
                    <target dev='hda' bus='ide'/></disk></devices></domain>";
        let parsed = model::domain::parse(text, model::domain::ParseOptions::default());
        let definition = parsed.domain.expect("a definition");
        let readonly = |name| format!("can't resize empty or readonly disk '{name}'");
        for (name, expected) in [
            ("vda", Ok("vda")),
            ("/a", Ok("vda")),
            ("vdb", Err(readonly("vdb"))),
            ("hda", Err(readonly("hda"))),
            ("vdc", Err("disk 'vdc' was not found in the domain config".to_owned())),
        ] {
            let found = resizable(&definition, name).map(|disk| disk.target.dev.as_str());
            assert_eq!(found.map_err(|error| error.detail), expected, "{name}");
        }
    }

    #[test]
    fn the_topmost_node_is_resized() {
        let nodes = [
            json!({ "node-name": "libvirt-1-storage" }),
            json!({ "node-name": "libvirt-2-storage" }),
            json!({ "node-name": "libvirt-2-format" }),
        ];
        for (index, expected) in [
            (Some(1), Some("libvirt-1-storage")),
            (Some(2), Some("libvirt-2-format")),
            (Some(3), None),
            (None, None),
        ] {
            assert_eq!(node_of(&nodes, index).as_deref(), expected);
        }
    }
}
