//! Snapshots, checkpoints and backups of domains.

use crate::Operation;
use crate::answer::{Answer, accepted, either};
use crate::domain::define::with_defaults;
use crate::emulator;
use crate::request::Request;
use diag::Diagnostic;
use model::backup;
use model::checkpoint::{self, CheckpointDisk, CheckpointDisks, CheckpointMode};
use model::domain::defaults::DefaultsContext;
use model::domain::devices::disk::{Disk, DiskSource, DiskTarget};
use model::domain::{Inside, VirtType};
use model::snapshot;
use xml::WriteOptions;

/// The operations of this area.
pub const OPERATIONS: &[Operation] = &[
    ("snapshot-xml", snapshot_xml),
    ("checkpoint-xml", checkpoint_xml),
    ("backup-xml", backup_xml),
];

fn number(request: &Request<'_>, name: &str) -> Option<i64> {
    request.value(name).as_i64()
}

/// What completing the definition inside finds.
fn completed(
    request: &Request<'_>,
    kind: Option<VirtType>,
    complete: impl FnOnce(&mut DefaultsContext<'_>) -> Vec<Diagnostic>,
) -> Result<Vec<Diagnostic>, Answer> {
    let Some(kind) = kind else { return Ok(Vec::new()) };
    let caps = emulator::capabilities(request)?;
    Ok(with_defaults(request, &caps, kind, complete))
}

fn snapshot_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let text = request.need("xml")?;
        let internal = request.flag("internal");
        let parsing = snapshot::Parsing { redefine: request.flag("redefine"), internal };
        let parsed = snapshot::parse(text, parsing);
        let mut value = accepted(parsed.value, parsed.diagnostics, text)?;
        let kind = value.domain.full().map(|domain| domain.kind);
        let found = completed(request, kind, |ctx| value.complete_domains(ctx))?;
        let mut value = accepted(Some(value), found, text)?;
        if let Some(now) = number(request, "now") {
            value.create(now, None);
        }
        if request.flag("running") {
            value.state = Some(snapshot::State::Running);
        }
        if let (Inside::None, Some(uuid)) = (&value.domain, request.str("uuid")) {
            value.domain = uuid.parse().map_or(Inside::None, Inside::Stub);
        }
        let options = WriteOptions { secure: true, ..WriteOptions::default() };
        Ok(Answer::text(snapshot::format(&value, internal, &options)))
    })())
}

fn checkpoint_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let text = request.need("xml")?;
        let parsing = checkpoint::Parsing { redefine: request.flag("redefine") };
        let parsed = checkpoint::parse(text, parsing);
        let mut value = accepted(parsed.value, parsed.diagnostics, text)?;
        let kind = value.domain.full().map(|domain| domain.kind);
        let found = completed(request, kind, |ctx| value.complete_domains(ctx))?;
        let mut value = accepted(Some(value), found, text)?;
        if let Some(now) = number(request, "now") {
            value.create(now, request.str("parent"));
        }
        if let (Some(disk), true) = (request.str("bitmap_disk"), value.disks().is_empty()) {
            let disk = CheckpointDisk {
                name: disk.to_owned(),
                checkpoint: CheckpointMode::Bitmap,
                bitmap: None,
                size: None,
            };
            value.disks = Some(CheckpointDisks { disks: vec![disk] });
        }
        value.name_bitmaps();
        let first = value.disks.as_mut().and_then(|disks| disks.disks.first_mut());
        if let (Some(disk), Some(size)) = (first, request.value("size").as_u64()) {
            disk.size = Some(size);
        }
        Ok(Answer::text(checkpoint::format(&value, &WriteOptions::default())))
    })())
}

fn disk(name: &str) -> Disk {
    let source = DiskSource { file: Some(format!("/fake/{name}.qcow2")), ..DiskSource::default() };
    let target = DiskTarget { dev: name.to_owned(), ..DiskTarget::default() };
    Disk { source: Some(source), target, ..Disk::default() }
}

fn backup_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let text = request.need("xml")?;
        let internal = request.flag("internal");
        let parsed = backup::parse(text, backup::Parsing { internal });
        let mut value = accepted(parsed.value, parsed.diagnostics, text)?;
        let names = value.disks().iter().map(|disk| disk.name.as_str());
        let disks: Vec<Disk> = names.chain(["vdextradisk"]).map(disk).collect();
        value.align(&disks, "SUFFIX")?;
        Ok(Answer::text(backup::format(&value, internal, &WriteOptions::default())))
    })())
}
