//! A disk is copied while the guest writes to it (`virsh blockcopy`).

use super::super::converse::converse;
use super::flags::{COPY_REUSE, COPY_SHALLOW, COPY_SYNCHRONOUS, COPY_TRANSIENT};
use super::job::{BlockJob, Kind};
use super::start::{Begin, Working, job_name, speed};
use crate::domain::affect::{acquire, running};
use crate::domain::record::Domain;
use crate::engine::Engine;
use diag::{ErrorCode, ErrorDomain, VirError};
use lifecycle::Request;
use model::domain::devices::disk::{Disk, DiskDriver, DiskSource, StorageType};
use model::domain::hotplug::Device;
use qmp::{Ack, Command};
use std::sync::Arc;

/// Where a disk is copied to.
#[derive(Clone, Debug)]
pub enum CopyTo {
    /// As the document of a disk says, of which only source and driver count.
    Document(String),
    /// To a file or a block device.
    Path {
        /// Its path.
        path: String,
        /// It is a block device.
        device: bool,
        /// The copy is to be raw.
        raw: bool,
    },
}

/// How a copy is made; 0: as QEMU likes.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyLimits {
    /// Most bytes a second.
    pub bandwidth: u64,
    /// Bytes that a bit of the bitmap of what is to be copied stands for.
    pub granularity: u32,
    /// Most bytes on their way.
    pub buf_size: u64,
}

impl CopyLimits {
    /// With this bandwidth, in bytes or MiB a second.
    ///
    /// # Errors
    /// libvirt's: more than QEMU can be told.
    pub fn of_bandwidth(bandwidth: u64, bytes: bool) -> Result<Self, VirError> {
        Ok(Self { bandwidth: speed(bandwidth, bytes)?, ..Self::default() })
    }

    fn check(self) -> Result<(), VirError> {
        let most = i64::MAX.unsigned_abs();
        if self.bandwidth > most {
            let mib = most >> 20;
            let text = format!("bandwidth must be less than '{most}' bytes/s ({mib} MiB/s)");
            return Err(VirError::new(ErrorCode::OVERFLOW, text));
        }
        if self.granularity != 0 && !self.granularity.is_power_of_two() {
            return Err(VirError::invalid_arg("granularity must be power of 2"));
        }
        Ok(())
    }
}

impl Engine {
    /// Begins to copy a disk: when both are alike, they stay so until the job is ended.
    ///
    /// # Errors
    /// libvirt's: the guest or the disk is not there or has a job, the copy cannot be made or is
    /// there already, or QEMU refuses.
    pub async fn block_copy(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        path: &str,
        to: CopyTo,
        limits: CopyLimits,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let destination = self.destination(to)?;
        let job = acquire(domain, Request::ModifyLive, "blockcopy", client).await?;
        let (engine, domain, path) = (Arc::clone(self), Arc::clone(domain), path.to_owned());
        self.detached(async move {
            let _job = job;
            running(&domain)?;
            let work = engine.working(&domain, &path).await?;
            if domain.snapshot().is_persistent() && flags & COPY_TRANSIENT == 0 {
                return Err(VirError::invalid_state("domain is not transient"));
            }
            limits.check()?;
            // Nothing is shared of a chain that has nothing below.
            let shallow = flags & COPY_SHALLOW != 0 && work.disk.images().nth(1).is_some();
            let flags = if shallow { flags } else { flags & !COPY_SHALLOW };
            engine.copy(&domain, work, destination, limits, flags).await
        })
        .await
    }

    /// The disk that a client describes.
    fn destination(&self, to: CopyTo) -> Result<Disk, VirError> {
        let mut disk = match to {
            CopyTo::Path { path, device, raw } => {
                let (kind, mut source) = (
                    if device { StorageType::Block } else { StorageType::File },
                    DiskSource::default(),
                );
                let place = if device { &mut source.dev } else { &mut source.file };
                *place = Some(path);
                let driver =
                    DiskDriver { kind: raw.then(|| "raw".to_owned()), ..DiskDriver::default() };
                Disk { kind, source: Some(source), driver: Some(driver), ..Disk::default() }
            }
            CopyTo::Document(text) => match self.read_device(&targeted(&text)?, false)? {
                Device::Disk(disk) => *disk,
                other => {
                    let name = other.kind().element();
                    let text = format!("expecting root element of 'disk', not '{name}'");
                    let error = VirError::new(ErrorCode::XML_ERROR, text);
                    return Err(error.from_domain(ErrorDomain::XML));
                }
            },
        };
        model::domain::defaults::complete_images(&mut disk);
        if let Some(source) = &mut disk.source {
            // Beside it they are the disk's, of which only the image counts.
            source.encryption = source.encryption.take().or(disk.encryption.take());
            source.auth = source.auth.take().or(disk.auth.take());
        }
        let source = disk.source.as_ref();
        if source.is_none_or(|source| !plan::block::names_something(disk.kind, source)) {
            let error =
                VirError::new(ErrorCode::NO_SOURCE, "missing source information for device");
            return Err(error.verbatim().from_domain(ErrorDomain::DOMAIN));
        }
        let source = source.cloned().unwrap_or_default();
        if source.fdgroup.is_some() {
            let text = "copy to a FD passed disk source is not yet supported";
            return Err(VirError::new(ErrorCode::OPERATION_UNSUPPORTED, text));
        }
        let path = match disk.kind {
            StorageType::File => source.file,
            StorageType::Block => source.dev,
            _ => None,
        };
        if path.is_some_and(|path| !path.starts_with('/')) {
            return Err(VirError::invalid_arg("absolute path must be used as block copy target"));
        }
        Ok(disk)
    }

    async fn copy(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        work: Working,
        destination: Disk,
        limits: CopyLimits,
        flags: u32,
    ) -> Result<(), VirError> {
        let size = self.size_of(&work).await?;
        let (engine, vm) = (Arc::clone(self), Arc::clone(&work.vm));
        let (source, device) = (work.node(work.top().unwrap_or(0))?, work.device()?);
        let lent = (vm.undo().await, vm.made().await);
        let (work, copy) = crate::blocking(move || {
            let copy = engine.plan_copy(&work, destination, flags, &lent)?;
            Ok((work, copy))
        })
        .await?;
        vm.note_node(copy.plan.last_node);
        let kind = Kind::Copy { shallow: copy.shares };
        let name = job_name(kind, &work.disk.target.dev, &source);
        let job = BlockJob {
            chain_given: copy.chain_given,
            ..BlockJob::new(name.clone(), &work.disk.target.dev, kind, flags)
        };
        let begin = Begin {
            undo: copy.plan.teardown().into_iter().cloned().collect(),
            made: copy.made.clone(),
            ..work.begin_mirror(job, copy.mirror.clone())
        };
        if let Err(error) = self.note_job(&vm, &begin).await {
            self.file_goes(domain, &copy).await;
            return Err(error);
        }
        let target = match self.open_copy(domain, &vm, &work, &copy, size).await {
            Ok(target) => target,
            Err(failure) => {
                match failure.unanswered {
                    true => self.check_devices(domain, Arc::clone(&vm)),
                    false => {
                        self.job_not_begun(domain, &vm, begin).await;
                        self.file_goes(domain, &copy).await;
                    }
                }
                return Err(failure.error);
            }
        };
        let some = |number: u64| (number != 0).then_some(number);
        let sync = if flags & COPY_SHALLOW != 0 { "top" } else { "full" };
        let blocking = (flags & COPY_SYNCHRONOUS != 0).then_some("write-blocking");
        let command = Command::<Ack>::new("blockdev-mirror")
            .arg("job-id", name)
            .arg("device", device)
            .arg("target", target)
            .arg("replaces", source.as_str())
            .arg_opt("speed", some(limits.bandwidth))
            .arg_opt("granularity", some(limits.granularity.into()))
            .arg_opt("buf-size", some(limits.buf_size))
            .arg("sync", sync)
            .arg_opt("copy-mode", blocking)
            .arg("auto-finalize", true)
            .arg("auto-dismiss", false);
        let begun = self.tell_job(domain, &vm, begin, command).await;
        if begun.is_err() && vm.block_jobs().iter().all(|job| job.disk != work.disk.target.dev) {
            self.file_goes(domain, &copy).await;
        }
        begun
    }

    /// Has QEMU make and open the images of a copy; the node of the copy.
    async fn open_copy(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<crate::domain::vm::Vm>,
        work: &Working,
        copy: &super::copy_target::Copy,
        size: super::copy_target::Size,
    ) -> Result<String, super::super::converse::Failure> {
        let name = Arc::clone(&domain.snapshot().name);
        let (mut results, done) = self.perform(&name, &copy.plan).await;
        done?;
        let made = copy.creations(&work.disk, size)?;
        if let Some(storage) = made.storage {
            self.make_image(vm, &copy.storage_node(), storage).await?;
        }
        let (below, above) = copy.parts();
        converse(vm, &below, &mut results).await?;
        if let Some(format) = made.format {
            self.make_image(vm, &copy.format_node(), format).await?;
        }
        converse(vm, &above, &mut results).await?;
        let top = copy.plan.top_node();
        top.ok_or_else(|| VirError::internal("the copy has no node").into())
    }
}

/// The document with a target: that of a copy needs none, other disks do.
fn targeted(text: &str) -> Result<String, VirError> {
    let Ok(document) = xml::Document::parse(text) else { return Ok(text.to_owned()) };
    let root = document.root();
    if root.name() != "disk" {
        let text = format!("expecting root element of 'disk', not '{}'", root.name());
        let error = VirError::new(ErrorCode::XML_ERROR, text);
        return Err(error.from_domain(ErrorDomain::XML));
    }
    let target = "<target dev='vda' bus='virtio'/>";
    if root.child("target").is_some() {
        return Ok(text.to_owned());
    }
    let trimmed = text.trim_end();
    if let Some(open) = trimmed.strip_suffix("/>")
        && root.children().next().is_none()
    {
        return Ok(format!("{open}>{target}</disk>"));
    }
    Ok(match trimmed.rfind("</") {
        Some(end) => {
            let (inner, close) = trimmed.split_at(end);
            format!("{inner}{target}{close}")
        }
        None => text.to_owned(),
    })
}

/// Whether the image is there already.
pub(super) fn reuses(flags: u32) -> bool {
    flags & COPY_REUSE != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copys_document_needs_no_target() {
        let target = "<target dev='vda' bus='virtio'/>";
        for (text, expected) in [
            ("<disk type='file'/>", Ok(format!("<disk type='file'>{target}</disk>"))),
            ("<disk><source/></disk>\n", Ok(format!("<disk><source/>{target}</disk>"))),
            ("<disk><target dev='x'/></disk>", Ok("<disk><target dev='x'/></disk>".to_owned())),
            ("<disk", Ok("<disk".to_owned())),
            ("<foo/>", Err("expecting root element of 'disk', not 'foo'".to_owned())),
        ] {
            assert_eq!(targeted(text).map_err(|error| error.detail), expected, "{text}");
        }
    }

    #[test]
    fn limits_of_copies() {
        let limits = |bandwidth, granularity| CopyLimits { bandwidth, granularity, buf_size: 0 };
        for (limits, expected) in [
            (limits(0, 0), None),
            (limits(1, 65536), None),
            (limits(0, 1000), Some("granularity must be power of 2")),
            (
                limits(1 << 63, 0),
                Some(
                    "bandwidth must be less than '9223372036854775807' bytes/s (8796093022207 MiB/s)",
                ),
            ),
        ] {
            let found = limits.check().err().map(|error| error.detail);
            assert_eq!(found.as_deref(), expected, "{limits:?}");
        }
    }
}
