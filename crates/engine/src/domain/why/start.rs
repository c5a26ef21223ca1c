//! What a start would meet: the plan of it is made and each step looked at, none is done.

use super::{Finding, insides};
use crate::domain::record::Domain;
use crate::domain::start::StartOptions;
use crate::domain::start::grants;
use crate::domain::start::qemu_log;
use crate::domain::view::source_path;
use crate::engine::Engine;
use diag::VirError;
use host::openers;
use lifecycle::{ShutoffReason, Status};
use model::domain::Domain as Definition;
use plan::{Access, Action, FileKind, Grant, Step, Tap, TapKind};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// How many processes that have a file open are named.
const NAMED: usize = 3;

/// Lines of QEMU's that are shown.
const LAST_LINES: usize = 8;

impl Engine {
    /// What stands in the way of starting a domain that is off.
    pub(super) async fn why_not_starting(self: &Arc<Self>, domain: &Arc<Domain>) -> Vec<Finding> {
        let Some(config) = domain.snapshot().config.clone() else { return Vec::new() };
        if let Err(error) = self.capabilities_ready(&config.xml).await {
            return vec![Finding::of_error(&error)];
        }
        let engine = Arc::clone(self);
        let found = crate::blocking(move || {
            let mut definition = engine.definition_of(&config)?;
            let plan = engine.plan_start(&mut definition, -1, StartOptions::default())?;
            let mut found = Vec::new();
            found.extend(
                engine.refuse_stray(&definition.name).err().as_ref().map(Finding::of_error),
            );
            if let Some(error) = crate::domain::start::steps::unsupported(&plan.steps) {
                found.push(Finding::of_error(&error));
            }
            for (at, step) in plan.steps.iter().enumerate() {
                if let Action::Grant(grant) = &step.action
                    && made_by_helper(&plan.steps[..at], &grant.path)
                {
                    continue;
                }
                engine.look_at(&step.action, &mut found);
            }
            engine.look_at_neighbours(&definition, &mut found);
            insides::look_at(&definition, &mut found);
            look_at_memory(&definition, &mut found);
            // Several steps of a start may need one thing.
            let mut told = BTreeSet::new();
            found.retain(|finding| told.insert(finding.what.clone()));
            Ok(found)
        });
        found.await.unwrap_or_else(|error| vec![Finding::of_error(&error)])
    }

    /// The last lines that QEMU wrote, of a domain that ended badly.
    pub(super) async fn last_words(self: &Arc<Self>, domain: &Arc<Domain>) -> Vec<String> {
        let badly = matches!(
            domain.snapshot().status,
            Status::Shutoff(ShutoffReason::Failed | ShutoffReason::Crashed | ShutoffReason::Daemon)
        );
        if !badly {
            return Vec::new();
        }
        let path = self.log_path(domain);
        let said = crate::blocking(move || Ok::<_, VirError>(qemu_log::tail(&path, 0))).await;
        let said = said.unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        lines.iter().skip(lines.len().saturating_sub(LAST_LINES)).map(|&line| line.into()).collect()
    }

    fn look_at(&self, action: &Action, found: &mut Vec<Finding>) {
        match action {
            Action::RequireFile { path, role, kind: FileKind::Variables }
                if !Path::new(path).exists() =>
            {
                found.push(Finding::blocks(
                    format!("<nvram>: '{path}' does not exist and '{role}' has no known template"),
                    "name a <nvram template=…> (`edit`), or create the file",
                ));
            }
            Action::RequireFile { path, role, .. } if !Path::new(path).exists() => {
                found.push(Finding::blocks(
                    format!("{role}: '{path}' does not exist"),
                    "create it, or correct the path (`edit`)",
                ));
            }
            Action::OpenFile { path, create_append: false, .. } if !Path::new(path).exists() => {
                found.push(Finding::blocks(
                    format!("'{path}' does not exist"),
                    "create it, or correct the path (`edit`)",
                ));
            }
            Action::Grant(grant) => self.look_at_file(grant, found),
            Action::ReservePort { purpose, listen, fixed: Some(port), .. }
                if !crate::ports::is_free(listen, *port) =>
            {
                found.push(Finding::blocks(
                    match self.port_holders(*port) {
                        Some(by) => format!("{purpose}: port {port} is in use by {by}"),
                        None => format!("{purpose}: port {port} is in use"),
                    },
                    "end what listens there, or let the port be chosen (autoport='yes')",
                ));
            }
            Action::Tap(tap) => look_at_link(tap, found),
            Action::Helper(helper) if !self.has_program(&helper.program) => {
                found.push(Finding::blocks(
                    format!("'{}' is not installed", helper.program),
                    format!("install the package that has '{}'", helper.program),
                ));
            }
            Action::Exec(exec) if !Path::new(&exec.program).exists() => {
                found.push(Finding::blocks(
                    format!("<emulator>: '{}' is not installed", exec.program),
                    "install it, or name another emulator",
                ));
            }
            _ => {}
        }
    }

    fn has_program(&self, name: &str) -> bool {
        let folders = self.environment.get("PATH").cloned().unwrap_or_default();
        name.contains('/') && Path::new(name).exists()
            || std::env::split_paths(&folders).any(|folder| folder.join(name).exists())
    }

    fn look_at_file(&self, grant: &Grant, found: &mut Vec<Finding>) {
        let path = Path::new(&grant.path);
        if !path.exists() {
            if !grant.optional {
                let fix = "create it, or correct the path (`edit`)";
                let what = format!("{}: '{}' does not exist", grant.why, grant.path);
                found.push(Finding::blocks(what, fix));
            }
            return;
        }
        if let Err(error) = grants::reachable(self, grant, grant.owner.is_some()) {
            found.push(Finding::of_error(&error));
        }
        if grant.access == Access::ReadWrite && !grant.shared && path.is_file() {
            let openers = openers::of(path);
            let others = openers.iter().filter(|opener| opener.pid != std::process::id());
            let others: Vec<String> = others
                .take(NAMED)
                .map(|opener| format!("process {} ({})", opener.pid, opener.name))
                .collect();
            if !others.is_empty() {
                found.push(Finding::blocks(
                    format!("{}: '{}' is open in {}", grant.why, grant.path, others.join(", ")),
                    "two writers destroy an image: end that process first",
                ));
            }
        }
    }

    /// Running guests that have one of the disks, unless it may be shared.
    fn look_at_neighbours(&self, definition: &Definition, found: &mut Vec<Finding>) {
        let disks = definition.devices.iter().flat_map(|devices| &devices.disks);
        let ours: BTreeSet<&str> = disks
            .filter(|disk| !disk.readonly && !disk.shareable)
            .filter_map(source_path)
            .collect();
        self.registry.for_each(|_, snapshot| {
            let Some(live) = &snapshot.live else { return };
            let theirs = live.definition.devices.iter().flat_map(|devices| &devices.disks);
            for disk in theirs.filter(|disk| !disk.readonly && !disk.shareable) {
                if let Some(path) = source_path(disk).filter(|path| ours.contains(path)) {
                    found.push(Finding::blocks(
                        format!("<disk>: '{path}' is in use by running domain '{}'", snapshot.name),
                        "give each guest an image of its own; <shareable/> is for file systems \
                         made for clusters",
                    ));
                }
            }
        });
    }
}

/// Whether a helper that is started before makes the file, a socket.
fn made_by_helper(before: &[Step], path: &str) -> bool {
    before.iter().any(|step| match &step.action {
        Action::Helper(helper) => helper.socket.as_deref() == Some(path),
        _ => false,
    })
}

fn look_at_link(tap: &Tap, found: &mut Vec<Finding>) {
    let class = Path::new("/sys/class/net");
    match &tap.kind {
        TapKind::Bridge { bridge, .. } if !class.join(bridge).join("bridge").exists() => {
            let there = class.join(bridge).exists();
            let what = if there { "is no bridge" } else { "does not exist" };
            found.push(Finding::blocks(
                format!("<interface> {}: bridge '{bridge}' {what}", tap.mac),
                format!("make it: ip link add {bridge} type bridge && ip link set {bridge} up"),
            ));
        }
        TapKind::Macvtap { lower, .. } if !class.join(lower).exists() => {
            found.push(Finding::blocks(
                format!("<interface> {}: device '{lower}' does not exist", tap.mac),
                "`ip link` lists those there are",
            ));
        }
        _ => {}
    }
}

/// More memory than there is does not prevent a start, but is what the guest is killed for later.
fn look_at_memory(definition: &Definition, found: &mut Vec<Finding>) {
    let asked = definition.memory.as_ref().map_or(0, |memory| memory.size.0.saturating_mul(1024));
    let info = host::facts::memory_info(Path::new("/"));
    if info.total > 0 && asked > info.available {
        let mib = |bytes: u64| bytes >> 20;
        found.push(Finding::note(
            format!(
                "<memory>: {} MiB are asked for, {} MiB are available on this host",
                mib(asked),
                mib(info.available)
            ),
            "end other guests, or lower <memory>; the kernel may kill the guest for want of memory",
        ));
    }
}
