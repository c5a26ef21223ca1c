//! Looking into a guest's disks and memory (`virDomainBlockPeek`, `virDomainMemoryPeek`).

use crate::domain::affect::{acquire, running};
use crate::domain::hardware::block::named_disk;
use crate::domain::power::{execute, monitor_error};
use crate::domain::record::Domain;
use crate::domain::view::source_path;
use crate::engine::Engine;
use diag::{ErrorCode, ErrorDomain, VirError};
use lifecycle::Request;
use qmp::{Ack, Command, cmd};
use rustix::fs::MemfdFlags;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// Whose addresses a look into memory uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// The first virtual processor's, as it is translating now.
    Virtual,
    /// The machine's.
    Physical,
}

impl Engine {
    /// Reads `size` bytes at `offset` of a disk's image. Only of a raw one: what lies where in the
    /// others is QEMU's knowledge.
    ///
    /// # Errors
    /// When there is no such disk, it has another format, or not as many bytes.
    pub async fn block_peek(
        &self,
        domain: &Domain,
        name: &str,
        offset: u64,
        size: u32,
    ) -> Result<Vec<u8>, VirError> {
        let found = self.with_side(domain, 0, |definition, live| {
            let disk = named_disk(definition, name)?;
            super::block::has_images(disk, "peeking is")?;
            if super::block::by_descriptor(disk) {
                let text = "peeking is not supported for FD passed images";
                return Err(VirError::new(ErrorCode::OPERATION_UNSUPPORTED, text));
            }
            let path = source_path(disk);
            let format = disk.driver.as_ref().and_then(|driver| driver.kind.as_deref());
            // An empty drive of a running guest has no format, and that is said.
            let format = if live && path.is_none() { "none" } else { format.unwrap_or("raw") };
            if format != "raw" {
                let text =
                    format!("peeking is only supported for disk with 'raw' format not '{format}'");
                return Err(VirError::new(ErrorCode::OPERATION_UNSUPPORTED, text));
            }
            Ok(path.map(str::to_owned))
        })?;
        let Some(path) = found else {
            return Err(VirError::new(
                ErrorCode::SYSTEM_ERROR,
                "Failed to open file '(null)': Bad address",
            )
            .from_domain(ErrorDomain::STORAGE));
        };
        let name = name.to_owned();
        crate::blocking(move || read_image(&path, &name, offset, size)).await
    }

    /// Reads `size` bytes at `address` of a running guest's memory.
    ///
    /// QEMU writes them into memory that we share with it, so nothing is left on disk whatever
    /// happens.
    ///
    /// # Errors
    /// When the domain does not run, or there is no memory at that address.
    pub async fn memory_peek(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        addresses: Addresses,
        address: u64,
        size: u32,
        client: &Arc<str>,
    ) -> Result<Vec<u8>, VirError> {
        let job = acquire(domain, Request::QueryLive, "memory-peek", client).await?;
        let vm = running(domain)?;
        self.detached(async move {
            let _job = job;
            let memory = rustix::fs::memfd_create("memory-peek", MemfdFlags::CLOEXEC)
                .map_err(|error| system("cannot make memory for a copy", &error.into()))?;
            let memory = File::from(memory);
            let copy = memory.try_clone().map_err(|error| system("cannot share memory", &error))?;
            let given = vm
                .monitor
                .execute_with_fds(cmd::add_fd(None, Some("memory-peek")), vec![copy.into()])
                .await
                .map_err(|error| monitor_error(&error))?;
            let command = match addresses {
                Addresses::Virtual => "memsave",
                Addresses::Physical => "pmemsave",
            };
            // These commands open files by name alone: no names of sets of descriptors.
            let command = Command::<Ack>::new(command)
                .arg("val", address)
                .arg("size", size)
                .arg("filename", format!("/proc/self/fd/{}", given.fd));
            let saved = execute(&vm, command).await;
            // Whatever came of it; a QEMU that is gone has nothing to remove.
            let _ = vm.monitor.execute(cmd::remove_fd(given.fdset_id, None)).await;
            saved?;
            let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
            memory.read_exact_at(&mut bytes, 0).map_err(|error| {
                system("failed to read temporary file created with template", &error)
            })?;
            Ok(bytes)
        })
        .await
    }
}

fn system(what: &str, error: &io::Error) -> VirError {
    VirError::new(ErrorCode::SYSTEM_ERROR, format!("{what}: {error}"))
}

/// Reads of an image's file. May block.
fn read_image(path: &str, name: &str, offset: u64, size: u32) -> Result<Vec<u8>, VirError> {
    let failed = |what: &str, error: io::Error| {
        system(&format!("{what} '{path}'"), &error).from_domain(ErrorDomain::STORAGE)
    };
    let mut file = File::open(path).map_err(|error| failed("Failed to open file", error))?;
    // The end of a device is not in its metadata.
    let length = file.seek(SeekFrom::End(0)).map_err(|error| failed("cannot seek in", error))?;
    let left = length.saturating_sub(offset);
    if left < u64::from(size) {
        return Err(VirError::invalid_arg(format!(
            "'{name}' starting from {offset} has only {left} bytes available"
        )));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    file.read_exact_at(&mut bytes, offset).map_err(|error| failed("cannot read", error))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_read_to_their_end_and_no_further() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("image");
        std::fs::write(&path, b"0123456789").expect("written");
        let path = path.to_str().expect("text");
        for (offset, size, expected) in [
            (0, 4, Ok("0123")),
            (6, 4, Ok("6789")),
            (10, 0, Ok("")),
            (7, 4, Err("'vda' starting from 7 has only 3 bytes available")),
            (1 << 40, 1, Err("'vda' starting from 1099511627776 has only 0 bytes available")),
        ] {
            let read = read_image(path, "vda", offset, size).map_err(|error| error.detail);
            let expected = expected.map(|text| text.as_bytes().to_vec()).map_err(str::to_owned);
            assert_eq!(read, expected, "{offset} {size}");
        }
        assert!(read_image("/nowhere/at/all", "vda", 0, 1).is_err());
    }
}
