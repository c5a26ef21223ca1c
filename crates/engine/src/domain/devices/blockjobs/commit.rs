//! Images go into one below them (`virsh blockcommit`).

use super::flags::{COMMIT_ACTIVE, COMMIT_BYTES, COMMIT_DELETE, COMMIT_RELATIVE, COMMIT_SHALLOW};
use super::job::{BlockJob, Kind};
use super::names::{self, From, path_of};
use super::start::{job_name, speed};
use crate::domain::affect::acquire;
use crate::domain::record::Domain;
use crate::engine::Engine;
use diag::VirError;
use lifecycle::Request;
use model::domain::devices::disk::{Disk, DiskMirror, ImageFormat};
use qmp::{Ack, Command};
use std::sync::Arc;

/// What is to go where.
#[derive(Clone, Debug, Default)]
pub struct CommitRange {
    /// The first image that goes; without one that which the guest writes to.
    pub top: Option<String>,
    /// Where it goes; without one to the last.
    pub base: Option<String>,
}

impl Engine {
    /// Begins to commit images into one below them.
    ///
    /// # Errors
    /// libvirt's: the guest or the disk is not there or has a job, there are no such images, flags
    /// that do not fit, or QEMU refuses.
    pub async fn block_commit(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        path: &str,
        range: CommitRange,
        bandwidth: u64,
        flags: u32,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        let job = acquire(domain, Request::ModifyLive, "blockcommit", client).await?;
        let (engine, domain, path) = (Arc::clone(self), Arc::clone(domain), path.to_owned());
        self.detached(async move {
            let _job = job;
            let speed = speed(bandwidth, flags & COMMIT_BYTES != 0)?;
            let work = engine.working(&domain, &path).await?;
            let disk = &work.disk;
            let kind = choose(disk, &range, flags)?;
            let (device, target) = (work.device()?, disk.target.dev.clone());
            let (top, base) = match kind {
                Kind::Commit { top, base, .. } | Kind::ActiveCommit { top, base, .. } => {
                    (top, base)
                }
                _ => return Err(VirError::internal("no commit")),
            };
            let (top, below) = (work.node(top)?, work.node(base)?);
            let (work, named) = crate::blocking(move || {
                let named = match kind {
                    Kind::Commit { parent, base, .. } => {
                        let relative = flags & COMMIT_RELATIVE != 0;
                        Some(work.backing_name(parent, base, relative)?)
                    }
                    _ => None,
                };
                Ok((work, named))
            })
            .await?;
            let name = job_name(kind, &target, &top);
            let command = Command::<Ack>::new("block-commit")
                .arg("device", device)
                .arg("job-id", name.as_str())
                .arg_opt("speed", (speed != 0).then_some(speed))
                .arg("top-node", top)
                .arg("base-node", below)
                .arg_opt("backing-file", named)
                .arg("auto-finalize", true)
                .arg("auto-dismiss", false)
                .arg_opt("backing-mask-protocol", engine.masks_protocol(&work.definition));
            let job = BlockJob::new(name, &target, kind, flags);
            let begin = match kind {
                Kind::ActiveCommit { base, .. } => work.begin_mirror(job, mirror(&work.disk, base)),
                _ => work.begin(job),
            };
            engine.note_job(&work.vm, &begin).await?;
            engine.tell_job(&domain, &work.vm, begin, command).await
        })
        .await
    }
}

/// Which images, if the flags fit them.
fn choose(disk: &Disk, range: &CommitRange, flags: u32) -> Result<Kind, VirError> {
    let target = &disk.target.dev;
    let paths = |number: u32| {
        let image = disk.images().find(|image| image.number == Some(number));
        image.map(|image| path_of(&image)).unwrap_or_default()
    };
    let images = super::chain::numbers(disk);
    let active = images.first().copied();
    let no_base = || names::no_base(target);
    let active = active.ok_or_else(no_base)?;
    let top = match &range.top {
        Some(name) if name != target => names::find(disk, From::Top, Some(name))?,
        _ => active,
    };
    let below = images.iter().position(|number| *number == top).map_or(0, |at| at + 1);
    let (below, whole) = (images.get(below).copied(), paths(active));
    let shallow = flags & COMMIT_SHALLOW != 0;
    let base = match (&range.base, shallow) {
        (None, true) => below,
        (name, _) => Some(names::find(disk, From::Below(top), name.as_deref())?),
    };
    let is_active = flags & COMMIT_ACTIVE != 0;
    if top == active && !is_active {
        let text = format!("commit of '{target}' active layer requires active flag");
        return Err(VirError::invalid_arg(text));
    }
    if top != active && is_active {
        let text = format!("active commit requested but '{}' is not active", paths(top));
        return Err(VirError::invalid_arg(text));
    }
    let Some(base) = base else {
        let text = format!("top '{}' in chain for '{whole}' has no backing file", paths(top));
        return Err(VirError::invalid_arg(text));
    };
    if shallow && below != Some(base) {
        let (base, top) = (paths(base), paths(top));
        let text = format!("base '{base}' is not immediately below '{top}' in chain for '{whole}'");
        return Err(VirError::invalid_arg(text));
    }
    let delete = flags & COMMIT_DELETE != 0;
    if is_active {
        return Ok(Kind::ActiveCommit { top, base, delete });
    }
    let above = images.iter().position(|number| *number == top);
    let parent = above.and_then(|at| images.get(at.checked_sub(1)?)).copied();
    let parent = parent.ok_or_else(no_base)?;
    Ok(Kind::Commit { parent, top, base, delete })
}

/// The base, as the image that the guest may go on with.
fn mirror(disk: &Disk, base: u32) -> DiskMirror {
    let image = disk.images().find(|image| image.number == Some(base));
    let layer = disk.layers().find(|layer| layer.index == Some(base));
    let format = image.and_then(|image| image.format).unwrap_or("raw").to_owned();
    DiskMirror {
        kind: image.map(|image| image.kind),
        job: Some("active-commit".to_owned()),
        image_format: Some(
            layer
                .and_then(|layer| layer.format.clone())
                .unwrap_or(ImageFormat { kind: format, ..ImageFormat::default() }),
        ),
        source: image.map(|image| {
            let mut source = image.source.clone();
            source.index = Some(base);
            source
        }),
        ..DiskMirror::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_images_a_commit_means() {
        let mut disk = super::super::chain::tests::chained();
        disk.mirror = None;
        let commit = |parent, top, base| Ok(Kind::Commit { parent, top, base, delete: false });
        let active = |base| Ok(Kind::ActiveCommit { top: 1, base, delete: false });
        let index =
            |n: u32| Err(format!("could not find backing store index '{n}' in chain for 'vda'"));
        let text = |text: &str| Err(text.to_owned());
        for (top, base, flags, expected) in [
            ("", "", COMMIT_ACTIVE, active(4)),
            ("vda", "", COMMIT_ACTIVE, active(4)),
            ("/a", "/c", COMMIT_ACTIVE, active(3)),
            ("", "", COMMIT_ACTIVE | COMMIT_SHALLOW, active(2)),
            ("vda[2]", "", 0, commit(1, 2, 4)),
            ("vda[3]", "vda[4]", COMMIT_SHALLOW, commit(2, 3, 4)),
            ("", "", 0, text("commit of 'vda' active layer requires active flag")),
            (
                "vda[2]",
                "vda[3]",
                COMMIT_ACTIVE,
                text("active commit requested but '/b' is not active"),
            ),
            ("vda[4]", "", 0, text("could not find base image in chain for 'vda'")),
            ("/d", "", COMMIT_SHALLOW, text("top '/d' in chain for '/a' has no backing file")),
            ("vda[3]", "vda[2]", 0, index(2)),
            (
                "vda[2]",
                "vda[4]",
                COMMIT_SHALLOW,
                text("base '/d' is not immediately below '/b' in chain for '/a'"),
            ),
        ] {
            let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
            let range = CommitRange { top: name(top), base: name(base) };
            let found = choose(&disk, &range, flags).map_err(|error| error.detail);
            assert_eq!(found, expected, "{top} {base} {flags}");
        }
        disk.source = None;
        disk.backing_store = None;
        let error =
            choose(&disk, &CommitRange::default(), COMMIT_ACTIVE).expect_err("nothing there");
        assert_eq!(error.detail, "could not find base image in chain for 'vda'");
    }

    #[test]
    fn the_base_is_shown_as_the_other_image() {
        let disk = super::super::chain::tests::chained();
        let mirror = mirror(&disk, 3);
        assert_eq!(mirror.job.as_deref(), Some("active-commit"));
        let source = mirror.source.expect("a source");
        assert_eq!((source.file.as_deref(), source.index), (Some("/c"), Some(3)));
        assert!(mirror.backing_store.is_none() && mirror.file.is_none());
    }
}
