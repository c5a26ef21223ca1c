//! Values written into a running guest's control groups, all or none.

use super::LiveSide;
use crate::domain::start::limits::{device_number, kernels, refused};
use crate::engine::Engine;
use diag::VirError;
use host::cgroup::{CgroupError, Cgroups, Controller, MachineGroup, Part};
use host::process;
use plan::limits::Limit;

/// What was written and what was there before.
pub(super) struct Writes {
    pub cgroups: Cgroups,
    pub group: MachineGroup,
    done: Vec<Written>,
}

impl Engine {
    /// The control groups of a running guest, and whether the controller is one of version 2.
    ///
    /// # Errors
    /// `missing`, libvirt's word for a controller that this host lacks, and a guest that ended.
    pub(super) fn group_of(
        &self,
        pid: u32,
        controller: Controller,
        missing: &str,
    ) -> Result<(MachineGroup, bool), VirError> {
        let lacking = || VirError::invalid_state(missing.to_owned());
        let cgroups = self.cgroups.as_ref().ok_or_else(lacking)?;
        let v2 = cgroups.is_v2(controller).ok_or_else(lacking)?;
        match cgroups.machine_of(pid) {
            Some(group) => Ok((group, v2)),
            // A guest that ended a moment ago is in no group any more.
            None => Err(match process::start_time(pid) {
                Ok(start) if process::is_alive(pid, start) => lacking(),
                _ => VirError::failed("domain is no longer running"),
            }),
        }
    }
}

struct Written {
    part: Part,
    controller: Controller,
    file: &'static str,
    before: String,
}

impl Writes {
    /// For the groups of a running guest. `missing` is libvirt's word for a controller that this
    /// host lacks.
    pub fn of(
        engine: &Engine,
        live: &LiveSide,
        controller: Controller,
        missing: &str,
    ) -> Result<Self, VirError> {
        let (group, _) = engine.group_of(live.pid(), controller, missing)?;
        let cgroups = group.cgroups().clone();
        Ok(Self { cgroups, group, done: Vec::new() })
    }

    /// Whether the controller's files are those of version 2.
    pub fn v2(&self, controller: Controller) -> bool {
        self.cgroups.is_v2(controller) == Some(true)
    }

    /// Whether one of the files is there in a part's group.
    pub fn has(&self, part: Part, controller: Controller, files: &[&str]) -> bool {
        let folder = self.group.folder(part, controller);
        folder.is_some_and(|folder| files.iter().any(|file| folder.join(file).exists()))
    }

    /// Writes one limit. The first of its files that is there takes it; without any, the last is
    /// tried, so that the error names it.
    pub fn set(&mut self, part: Part, limit: &Limit) -> Result<(), VirError> {
        self.try_set(part, limit)?.map_err(|error| refused(&error, &limit.value))
    }

    /// The same; the kernel's refusal is apart from other faults.
    pub fn try_set(
        &mut self,
        part: Part,
        limit: &Limit,
    ) -> Result<Result<(), CgroupError>, VirError> {
        let controller = kernels(limit.controller);
        let device = limit.device.as_deref().map(device_number).transpose()?;
        let found = limit.files.iter().find(|file| self.has(part, controller, &[file]));
        let Some(file) = found.or(limit.files.last()).copied() else {
            return Err(VirError::internal(format!("{} has no file", limit.element)));
        };
        let text = self.group.get(part, controller, file).unwrap_or_default();
        let (value, before) = match &device {
            None => (limit.value.clone(), text.lines().next().unwrap_or_default().to_owned()),
            Some(number) => {
                let line = text.lines().find(|line| line.split(' ').next() == Some(number));
                let none = || format!("{number} {}", nothing(&limit.value));
                let before = line.map_or_else(none, str::to_owned);
                (format!("{number} {}", limit.value), before)
            }
        };
        if let Err(error) = self.group.set(part, controller, file, &value) {
            return Ok(Err(error));
        }
        self.done.push(Written { part, controller, file, before });
        Ok(Ok(()))
    }

    /// Writes what was there before, the last first.
    pub fn take_back(self) {
        for written in self.done.into_iter().rev() {
            let Written { part, controller, file, before } = written;
            if before.is_empty() {
                continue;
            }
            let before = before.strip_prefix("default ").unwrap_or(&before);
            if let Err(error) = self.group.set(part, controller, file, before) {
                tracing::warn!(%error, value = before, "a limit was not taken back");
            }
        }
    }
}

/// "No limit" for a device, in the form of `value`: `0`, or `max` behind the names of version 2.
fn nothing(value: &str) -> String {
    match value.split_once('=') {
        Some((name, _)) => format!("{name}=max"),
        None => "0".to_owned(),
    }
}
