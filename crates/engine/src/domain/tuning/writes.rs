//! Values written into a running guest's control groups: all or none, also where the daemon dies on
//! the way. What is to be written, and what was there before, is written down first.

use super::{LiveSide, Sides};
use crate::domain::record::Domain;
use crate::domain::start::limits::{device_number, kernels, refused};
use crate::domain::vm::Vm;
use crate::engine::Engine;
use diag::VirError;
use host::cgroup::{CgroupError, Cgroups, Controller, MachineGroup, Part};
use host::process;
use plan::limits::Limit;
use serde_json::{Value, json};
use std::sync::Arc;

/// What is to be written.
pub(super) struct Writes {
    pub cgroups: Cgroups,
    pub group: MachineGroup,
    planned: Vec<Planned>,
    /// How many of them were carried out.
    done: usize,
}

struct Planned {
    write: Write,
    /// As the limit has it.
    value: String,
    refusal: Refusal,
}

/// The kernel's refusal of a value, in libvirt's words.
pub(super) type Refusal = fn(&CgroupError, &str) -> VirError;

/// A value for a file of a control group.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Write {
    part: Part,
    controller: Controller,
    file: String,
    value: String,
    /// What was there before.
    before: String,
}

/// Limits that are being changed, for the next daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::domain) struct LimitsNote {
    /// The limits of the definition as it is to be, by name.
    settings: Vec<(String, String)>,
    writes: Vec<Write>,
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
        Ok(Self { cgroups, group, planned: Vec::new(), done: 0 })
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

    /// Plans to write one limit. The first of its files that is there takes it; without any, the
    /// last is tried, so that the error names it.
    pub fn plan(&mut self, part: Part, limit: &Limit) -> Result<(), VirError> {
        self.plan_or(part, limit, refused)
    }

    /// The same; the kernel's refusal is told in these words.
    pub fn plan_or(&mut self, part: Part, limit: &Limit, refusal: Refusal) -> Result<(), VirError> {
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
        let before = before.strip_prefix("default ").unwrap_or(&before).to_owned();
        let write = Write { part, controller, file: file.to_owned(), value, before };
        self.planned.push(Planned { write, value: limit.value.clone(), refusal });
        Ok(())
    }

    /// Carries out what was planned, up to the first that the kernel refuses.
    fn carry_out(&mut self) -> Result<(), VirError> {
        while let Some(Planned { write, value, refusal }) = self.planned.get(self.done) {
            let Write { part, controller, file, .. } = write;
            self.group
                .set(*part, *controller, file, &write.value)
                .map_err(|error| refusal(&error, value))?;
            self.done += 1;
        }
        Ok(())
    }

    /// Writes what was there before, the last first.
    fn take_back(&self) {
        let done = self.planned.iter().take(self.done);
        put_back(&self.group, done.map(|planned| &planned.write));
    }
}

impl Engine {
    /// Has the kernel do what was planned, then the changed copies take their places.
    ///
    /// # Errors
    /// The kernel's refusal, and what cannot be written down: all is then as before.
    pub(super) async fn keep_limits(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        sides: Sides,
        writes: Option<Writes>,
    ) -> Result<(), VirError> {
        let writes = writes.filter(|writes| !writes.planned.is_empty());
        let (Some(mut writes), Some(live)) = (writes, &sides.live) else {
            return self.keep(domain, sides).await;
        };
        let vm = Arc::clone(&live.vm);
        vm.note_limits(Some(LimitsNote {
            settings: plan::qemu::cgroup_settings(&live.definition),
            writes: writes.planned.iter().map(|planned| planned.write.clone()).collect(),
        }))
        .await?;
        // The kernel swaps out first what is above a new limit, and pages move: that takes its time.
        let carried_out = crate::blocking(move || {
            let done = writes.carry_out();
            Ok((writes, done))
        });
        let (writes, mut outcome) = carried_out.await?;
        if outcome.is_ok() {
            outcome = self.keep(domain, sides).await;
        }
        if outcome.is_err() {
            crate::blocking(move || {
                writes.take_back();
                Ok(())
            })
            .await?;
        }
        let _ = vm.note_limits(None).await;
        outcome
    }

    /// Finishes a change of limits that a daemon before this one did not bring to its end, or takes
    /// it back, as the definition says. The job is held.
    pub(in crate::domain) async fn settle_limits(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
        note: LimitsNote,
    ) {
        let Some(live) = domain.snapshot().live.clone() else { return };
        let goes_on = plan::qemu::cgroup_settings(&live.definition) == note.settings;
        let name = &domain.snapshot().name;
        tracing::info!(domain = %name, goes_on, "a change of its limits was cut short");
        let group = self.cgroups.as_ref().and_then(|cgroups| cgroups.machine_of(live.pid));
        if let Some(group) = group {
            let settled = crate::blocking(move || {
                if goes_on {
                    let values = note.writes.iter().map(|write| (write, write.value.as_str()));
                    put(&group, values);
                } else {
                    put_back(&group, note.writes.iter());
                }
                Ok(())
            });
            let _ = settled.await;
        }
        let _ = vm.note_limits(None).await;
    }
}

fn put_back<'a>(group: &MachineGroup, writes: impl DoubleEndedIterator<Item = &'a Write>) {
    put(group, writes.rev().map(|write| (write, write.before.as_str())));
}

fn put<'a>(group: &MachineGroup, values: impl Iterator<Item = (&'a Write, &'a str)>) {
    for (Write { part, controller, file, .. }, value) in values.filter(|(_, text)| !text.is_empty())
    {
        if let Err(error) = group.set(*part, *controller, file, value) {
            tracing::warn!(%error, value, "a limit is not what it is to be");
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

impl LimitsNote {
    /// As it lies in our file beside the status.
    pub fn to_json(&self) -> Value {
        let writes = self.writes.iter().map(|write| {
            let Write { part, controller, file, value, before } = write;
            json!([part.word(), controller.name(), file, value, before])
        });
        json!({"settings": self.settings, "writes": writes.collect::<Vec<_>>()})
    }

    /// From our file; none where it says nothing that can be understood.
    pub fn from_json(value: &Value) -> Option<Self> {
        let pair = |pair: &Value| Some((text(pair, 0)?.to_owned(), text(pair, 1)?.to_owned()));
        let write = |write: &Value| {
            Some(Write {
                part: Part::of_word(text(write, 0)?)?,
                controller: Controller::of_name(text(write, 1)?)?,
                // A name, no path.
                file: text(write, 2).filter(|file| !file.contains('/'))?.to_owned(),
                value: text(write, 3)?.to_owned(),
                before: text(write, 4)?.to_owned(),
            })
        };
        Some(Self {
            settings: value.get("settings")?.as_array()?.iter().map(pair).collect::<Option<_>>()?,
            writes: value.get("writes")?.as_array()?.iter().map(write).collect::<Option<_>>()?,
        })
    }
}

fn text(list: &Value, index: usize) -> Option<&str> {
    list.get(index)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_survive_being_written_and_read() {
        let write = |part, file: &str| Write {
            part,
            controller: Controller::Cpu,
            file: file.to_owned(),
            value: "50000".to_owned(),
            before: "-1".to_owned(),
        };
        let parts = [Part::Machine, Part::Emulator, Part::Vcpu(3), Part::IoThread(12)];
        let note = LimitsNote {
            settings: vec![("vcpu_quota".to_owned(), "50000".to_owned())],
            writes: parts.into_iter().map(|part| write(part, "cpu.cfs_quota_us")).collect(),
        };
        assert_eq!(LimitsNote::from_json(&note.to_json()), Some(note));
        for bad in [
            json!(null),
            json!({"settings": [["a"]], "writes": []}),
            json!({"settings": [], "writes": [["vcpu", "cpu", "f", "1", "0"]]}),
            json!({"settings": [], "writes": [["", "none", "f", "1", "0"]]}),
            json!({"settings": [], "writes": [["", "cpu", "../f", "1", "0"]]}),
        ] {
            assert_eq!(LimitsNote::from_json(&bad), None, "{bad}");
        }
    }
}
