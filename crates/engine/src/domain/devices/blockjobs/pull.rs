//! The guest's image takes what lies below it (`virsh blockpull`).

use super::flags::{PULL_BYTES, PULL_RELATIVE};
use super::job::{BlockJob, Kind};
use super::names::{self, From};
use super::start::{job_name, speed};
use crate::domain::affect::acquire;
use crate::domain::record::Domain;
use crate::engine::Engine;
use diag::VirError;
use lifecycle::Request;
use qmp::{Ack, Command};
use std::sync::Arc;

impl Engine {
    /// Begins to pull what lies between the guest's image and `base` (all of the chain, without one)
    /// into the image.
    ///
    /// # Errors
    /// libvirt's: the guest or the disk is not there or has a job, there is no such base, or QEMU
    /// refuses.
    pub async fn block_pull(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        path: &str,
        base: Option<String>,
        bandwidth: u64,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        if flags & PULL_RELATIVE != 0 && base.is_none() {
            return Err(VirError::invalid_arg(
                "flag VIR_DOMAIN_BLOCK_REBASE_RELATIVE is valid only with non-null base",
            ));
        }
        let job = acquire(domain, Request::ModifyLive, "blockpull", client).await?;
        let (engine, domain, path) = (Arc::clone(self), Arc::clone(domain), path.to_owned());
        self.detached(async move {
            let _job = job;
            let work = engine.working(&domain, &path).await?;
            let Some(top) = work.top() else {
                return Err(VirError::internal("argument key 'device' must not have null value"));
            };
            let base = match &base {
                Some(name) => Some(names::find(&work.disk, From::Below(top), Some(name))?),
                None => None,
            };
            let speed = speed(bandwidth, flags & PULL_BYTES != 0)?;
            let (work, named) = crate::blocking(move || {
                let relative = flags & PULL_RELATIVE != 0;
                let named = base.map(|base| work.backing_name(top, base, relative)).transpose()?;
                Ok((work, named))
            })
            .await?;
            let (node, kind) = (work.node(top)?, Kind::Pull { base });
            let below = base.map(|base| work.node(base)).transpose()?;
            let job = job_name(kind, &work.disk.target.dev, &node);
            let command = Command::<Ack>::new("block-stream")
                .arg("device", node)
                .arg("job-id", job.as_str())
                .arg_opt("speed", (speed != 0).then_some(speed))
                .arg_opt("base-node", below)
                .arg_opt("backing-file", named)
                .arg("auto-finalize", true)
                // Libvirt dismisses it itself. QEMU 10 crashes when it is asked for its nodes (as
                // statistics do) between the end of such a job and that. The price: a libvirtd that
                // takes the guest over before the end does not see it, and keeps the chain as it was.
                .arg("auto-dismiss", true)
                .arg_opt("backing-mask-protocol", engine.masks_protocol(&work.definition));
            let begin = work.begin(BlockJob::new(job, &work.disk.target.dev, kind, flags));
            engine.note_job(&work.vm, &begin).await?;
            engine.tell_job(&domain, &work.vm, begin, command).await
        })
        .await
    }

    /// The option by which headers do not name protocols, where the emulator has it.
    pub(super) fn masks_protocol(&self, definition: &model::domain::Domain) -> Option<bool> {
        let emulator = definition.devices.as_ref().and_then(|devices| devices.emulator.clone());
        let caps = self.caps.get(&emulator.unwrap_or_default()).ok()?;
        caps.has("blockjob.backing-mask-protocol").then_some(true)
    }
}
