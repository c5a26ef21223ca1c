//! Slice and format nodes.

use super::storage::BlockError;
use super::{Image, Purpose};
use crate::props::Props;
use serde_json::Value;

/// QEMU's driver for a format, if it has one. libvirt's `dir`, `fat` and `iso` are raw bytes to it.
pub fn format_driver(format: &str) -> Option<&'static str> {
    Some(match format {
        "raw" | "dir" | "fat" | "iso" => "raw",
        "vhd" => "vhdx",
        "bochs" => "bochs",
        "cloop" => "cloop",
        "dmg" => "dmg",
        "vpc" => "vpc",
        "vdi" => "vdi",
        "vmdk" => "vmdk",
        "ploop" => "parallels",
        "qcow" => "qcow",
        "qcow2" => "qcow2",
        "qed" => "qed",
        "vhdx" => "vhdx",
        _ => return None,
    })
}

/// Whether images of a format can have a backing file.
pub(super) fn has_backing(format: &str) -> bool {
    matches!(format, "qcow2" | "qcow" | "qed" | "vmdk")
}

/// The node that shows a part of the storage; `None` where the image takes all of it.
pub fn slice(image: &Image<'_>, stands_for_image: bool) -> Option<Props> {
    let (offset, size) = image.storage_slice()?;
    let props = Props::default()
        .set("driver", "raw")
        .set("file", image.storage_node.clone())
        .set("offset", offset)
        .set("size", size)
        .set("node-name", image.slice_node.clone());
    let options = if stands_for_image { image.top_options() } else { image.lower_options() };
    Some(props.extend(options))
}

/// The format node; `backing` is the node below, `Null` for "none", absent for "as the header
/// says".
///
/// # Errors
/// QEMU has no driver for the format, or none for its encryption.
pub fn format(image: &Image<'_>, backing: Option<Value>) -> Result<Props, BlockError> {
    let props =
        Props::default().set("node-name", image.format_node.clone()).extend(image.top_options());
    let encryption = image.format_encryption();
    let keys = &image.objects.encryption;
    let key = keys.first().cloned().filter(|_| encryption.is_some());
    let mut props = match (image.format, encryption.map(|encryption| encryption.format.as_str())) {
        ("raw", Some("luks")) => props.set("driver", "luks").opt("key-secret", key),
        (name @ ("raw" | "dir" | "fat" | "iso"), None) => {
            props.set("driver", format_driver(name).unwrap_or("raw"))
        }
        ("qcow2", encryption) => {
            let kind = match encryption {
                Some("qcow") => Some("aes"),
                other => other,
            };
            let encrypt = kind
                .map(|kind| Props::default().set("format", kind).opt("key-secret", key.clone()));
            props
                .set("driver", "qcow2")
                .opt("data-file", image.data_node.clone())
                .opt("encrypt", encrypt)
                .opt("discard-no-unref", image.options.discard_no_unref)
                .opt("cache-size", image.options.metadata_cache)
        }
        ("qcow", encryption) => {
            let encrypt =
                encryption.map(|_| Props::default().set("format", "aes").opt("key-secret", key));
            props.set("driver", "qcow").opt("encrypt", encrypt)
        }
        (name, None) => match format_driver(name) {
            Some(driver) => props.set("driver", driver),
            None => return Err(BlockError::Format(name.to_string())),
        },
        (name, Some(kind)) => {
            return Err(BlockError::Encryption { format: name.into(), encryption: kind.into() });
        }
    };
    props = props.set("file", image.effective_storage());
    if has_backing(image.format) {
        props = props.opt("backing", backing);
    }
    Ok(props)
}

/// The storage node with its name and its options; `stands_for_image` says that no node is above.
///
/// # Errors
/// As [`super::storage()`].
pub fn storage_node(image: &Image<'_>, stands_for_image: bool) -> Result<Props, BlockError> {
    let props = super::storage(image, Purpose::Run)?.set("node-name", image.storage_node.clone());
    let options = if stands_for_image { image.top_options() } else { image.lower_options() };
    Ok(props.extend(options))
}
