//! New images by `blockdev-create`.

use super::server::inet;
use super::storage::BlockError;
use super::{Image, Purpose, overlay, storage};
use crate::props::Props;
use model::domain::devices::disk::{Encryption, StorageType};

/// What `blockdev-create` is asked for to make the storage of an image of `size` bytes; `None`
/// where storage of this kind exists or is made by other means.
///
/// # Errors
/// As [`storage()`].
pub fn protocol(image: &Image<'_>, size: u64) -> Result<Option<Props>, BlockError> {
    let place = storage(image, Purpose::Place)?;
    let source = image.source;
    let props = match image.kind {
        StorageType::File => place,
        StorageType::Network => match image.protocol() {
            "gluster" | "rbd" | "nfs" => {
                let mut location = Props::default();
                let mut props = Props::default();
                for (key, value) in place.0 {
                    if key == "driver" {
                        props = props.set("driver", value);
                    } else {
                        location = location.set(&key, value);
                    }
                }
                props.set("location", location)
            }
            "ssh" => {
                let host = source.hosts.first().ok_or(BlockError::Missing("host"))?;
                let user = image.auth.map(|auth| auth.username.clone());
                let location = Props::default()
                    .set("path", source.name.clone().unwrap_or_default())
                    .set("server", inet(host, "ssh"))
                    .opt("user", user);
                Props::default().set("driver", "ssh").set("location", location)
            }
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(Some(props.set("size", size)))
}

/// What `blockdev-create` is asked for to make the format of an image of `capacity` bytes over
/// `backing`; `None` where the format needs no making.
///
/// # Errors
/// The format cannot be made, or `backing` cannot be named.
pub fn format(
    image: &Image<'_>,
    backing: Option<&Image<'_>>,
    capacity: u64,
) -> Result<Option<Props>, BlockError> {
    let encryption = image.format_encryption();
    let props = match (image.format, encryption) {
        ("raw", None) => return Ok(None),
        ("raw", Some(encryption)) if encryption.format == "luks" => {
            luks(image, encryption).set("driver", "luks")
        }
        ("qcow2" | "qcow" | "qed" | "vmdk" | "vdi" | "vhdx" | "vpc" | "ploop" | "vhd", _) => {
            let driver = super::format_driver(image.format).unwrap_or_default();
            Props::default().set("driver", driver)
        }
        (name, _) => return Err(BlockError::Format(name.to_string())),
    };
    let mut props = props.set("file", image.effective_storage().to_string()).set("size", capacity);
    if let Some(below) = backing
        && super::format::has_backing(image.format)
    {
        let name = match (below.format, below.format_encryption()) {
            ("raw", Some(encryption)) if encryption.format == "luks" => "luks",
            (format, _) => super::format_driver(format)
                .ok_or_else(|| BlockError::Format(format.to_string()))?,
        };
        // The older formats do not keep the format of the image below.
        props = props.set("backing-file", overlay(below)?);
        if image.format == "qcow2" {
            props = props.set("backing-fmt", name);
        }
    }
    if let Some(encryption) = encryption
        && image.format != "raw"
    {
        let kind = if encryption.format == "qcow" { "qcow" } else { "luks" };
        if image.format != "qcow2" {
            return Err(BlockError::Encryption {
                format: image.format.to_string(),
                encryption: encryption.format.clone(),
            });
        }
        props = props.set("encrypt", luks(image, encryption).set("format", kind));
    }
    Ok(Some(props))
}

/// Options of LUKS.
fn luks(image: &Image<'_>, encryption: &Encryption) -> Props {
    let mut props = Props::default().opt("key-secret", image.objects.encryption.first().cloned());
    if let Some(cipher) = &encryption.cipher {
        let mut name = cipher.name.clone();
        // QEMU's names have the size in them, but for one that has a single size.
        if !name.contains("cast5") {
            name = format!("{name}-{}", cipher.size);
        }
        props = props
            .set("cipher-alg", name)
            .opt("cipher-mode", cipher.mode.clone())
            .opt("hash-alg", cipher.hash.clone());
    }
    if let Some(ivgen) = &encryption.ivgen {
        props =
            props.set("ivgen-alg", ivgen.name.clone()).opt("ivgen-hash-alg", ivgen.hash.clone());
    }
    props
}
