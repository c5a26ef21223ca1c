//! How an overlay's header names the image below it.

use super::server::{port, uri_host};
use super::storage::url;
use super::{BlockError, Image, Purpose, storage};
use crate::props::Props;
use model::domain::devices::disk::{NetworkTransport, StorageType};

/// The storage of an image without anything of a run: what a header may keep.
///
/// # Errors
/// As [`storage()`].
pub fn source_only(image: &Image<'_>) -> Result<Props, BlockError> {
    let props = storage(image, Purpose::Place)?;
    Ok(match image.storage_slice() {
        Some((offset, size)) => Props::default()
            .set("driver", "raw")
            .set("offset", offset)
            .set("size", size)
            .set("file", props),
        None => props,
    })
}

/// The text by which an overlay names the image: its path, its URL where that says it all, else
/// the storage as JSON behind `json:`.
///
/// # Errors
/// As [`storage()`].
pub fn overlay(image: &Image<'_>) -> Result<String, BlockError> {
    if image.storage_slice().is_none() {
        let source = image.source;
        match image.kind {
            StorageType::File => {
                return source.file.clone().ok_or(BlockError::Missing("path"));
            }
            StorageType::Block => {
                return source.dev.clone().ok_or(BlockError::Missing("path"));
            }
            StorageType::Dir => {
                let dir = source.dir.as_ref().ok_or(BlockError::Missing("directory"))?;
                return Ok(format!("fat:{dir}"));
            }
            StorageType::Network => {
                if let Some(uri) = uri(image)? {
                    return Ok(uri);
                }
            }
            _ => {}
        }
    }
    let place = source_only(image)?;
    Ok(format!("json:{}", Props::default().set("file", place)))
}

/// The URL of a network source, where the URL can say all there is to say.
fn uri(image: &Image<'_>) -> Result<Option<String>, BlockError> {
    let source = image.source;
    let [host] = source.hosts.as_slice() else {
        return Ok(None);
    };
    let tuned = source.cookies.is_some()
        || source.ssl.is_some()
        || source.timeout.is_some()
        || source.readahead.is_some()
        || source.initiator.is_some();
    if tuned {
        return Ok(None);
    }
    let protocol = image.protocol();
    let scheme = match host.transport {
        Some(NetworkTransport::Unix) => format!("{protocol}+unix"),
        Some(NetworkTransport::Rdma) => format!("{protocol}+rdma"),
        _ => protocol.to_string(),
    };
    let name = source.name.as_deref().unwrap_or_default();
    let path = if name.is_empty() || name.starts_with('/') {
        name.to_string()
    } else {
        format!("/{name}")
    };
    Ok(match protocol {
        "http" | "https" | "ftp" | "ftps" | "tftp" => Some(url(source)?),
        "nbd" | "gluster" | "iscsi" => {
            if host.transport == Some(NetworkTransport::Unix) {
                let socket = host.socket.as_deref().unwrap_or_default();
                let slash = if path.is_empty() { "/" } else { "" };
                return Ok(Some(format!("{scheme}://{slash}{path}?socket={socket}")));
            }
            let server = uri_host(host.name.as_deref().unwrap_or_default());
            let port = port(host, protocol);
            let path = match protocol {
                // An iSCSI target without a unit has unit 0.
                "iscsi" if !name.contains('/') => format!("{path}/0"),
                _ => path,
            };
            Some(format!("{scheme}://{server}:{port}{path}"))
        }
        _ => None,
    })
}
