//! The plan of one start of a guest.

use crate::step::{Action, Arg, Exec, QmpCommand, ResultName, Step, Undo, UndoWhen};
use std::collections::BTreeSet;

/// How the daemon reaches QEMU's monitor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MonitorPlan {
    /// Path to connect (and re-connect) to; goes into the status file.
    pub path: String,
    /// Result that holds the listening descriptor given to QEMU.
    pub fd: ResultName,
}

/// Everything that starting one guest does, in order: the steps before the exec, the exec, the
/// QMP prelude, and the stop in reverse ([`LaunchPlan::teardown`]).
#[derive(Clone, PartialEq, Debug)]
pub struct LaunchPlan {
    /// The guest's name.
    pub domain: String,
    /// The guest's UUID.
    pub uuid: String,
    /// Run-time id.
    pub id: i32,
    /// The steps in order; exactly one is an [`Action::Exec`], followed by at most one
    /// [`Action::Qmp`] and the steps that need QEMU's threads.
    pub steps: Vec<Step>,
    /// The monitor.
    pub monitor: MonitorPlan,
    /// Sent at the very end, when the guest shall run (left out for `--paused`).
    pub resume: QmpCommand,
    /// `qemuCaps` flags this start relied on, for the status file.
    pub flags: Vec<&'static str>,
    /// The CPU as the definition has it, where the live definition is more precise.
    pub configured_cpu: Option<model::domain::cpu::Cpu>,
    /// The live definition as far as it is known before QEMU answers.
    pub live: Box<model::domain::Domain>,
    /// Why each argument, step and command is there.
    pub reasons: crate::because::Reasons,
}

impl LaunchPlan {
    /// The exec step.
    pub fn exec(&self) -> Option<&Exec> {
        self.steps.iter().find_map(|step| match &step.action {
            Action::Exec(exec) => Some(exec),
            _ => None,
        })
    }

    /// The names of the devices that QEMU is started with: parts of the board have none in it.
    pub fn device_names(&self) -> BTreeSet<String> {
        let args = self.exec().map_or(&[][..], |exec| exec.args.as_slice());
        let options = args.windows(2).filter_map(|pair| match pair {
            [option, value] if *option == Arg::text("-device") => Some(value),
            _ => None,
        });
        let names = options.map(|value| crate::qemu::hotplug::member(value, "id"));
        names.filter(|name| !name.is_empty()).collect()
    }

    /// Gives the guest a fresh variable store, whether it has one or not.
    pub fn reset_nvram(&mut self) {
        for step in &mut self.steps {
            if let Action::CopyFile { reset, .. } = &mut step.action {
                *reset = true;
            }
        }
    }

    /// The QMP prelude's commands.
    pub fn prelude(&self) -> &[QmpCommand] {
        self.steps
            .iter()
            .find_map(|step| match &step.action {
                Action::Qmp { commands } => Some(commands.as_slice()),
                _ => None,
            })
            .unwrap_or_default()
    }

    /// What undoes the first `done` steps after a failed start, last step first.
    pub fn rollback(&self, done: usize) -> Vec<&Undo> {
        self.steps
            .iter()
            .take(done)
            .rev()
            .filter_map(|step| step.undo.as_ref().map(|(undo, _)| undo))
            .collect()
    }

    /// What ends a run that had started, last step first.
    pub fn teardown(&self) -> Vec<&Undo> {
        self.steps
            .iter()
            .rev()
            .filter_map(|step| match &step.undo {
                Some((undo, UndoWhen::Always)) => Some(undo),
                _ => None,
            })
            .collect()
    }
}
