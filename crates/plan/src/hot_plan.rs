//! The plan of one device that comes to a running guest, and of one that leaves it.

use crate::step::{Arg, QmpCommand, ResultName, Step, Undo, UndoWhen};
use std::collections::BTreeSet;

/// One command that brings a device to a running guest.
#[derive(Clone, PartialEq, Debug)]
pub struct HotCommand {
    /// The command.
    pub name: &'static str,
    /// Its arguments, a JSON object. Descriptors are named in it by the names of their results.
    pub arguments: Arg,
    /// The descriptor that goes with it.
    pub fd: Option<ResultName>,
    /// What its answer is kept under.
    pub result: Option<ResultName>,
    /// What takes it back.
    pub undo: Option<QmpCommand>,
}

/// Bringing a device to a running guest.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct PlugPlan {
    /// Done first, on the host.
    pub steps: Vec<Step>,
    /// What QEMU is told then, in order; when one fails, those before are taken back, last first.
    pub commands: Vec<HotCommand>,
    /// Told once the device is there: limits, the state of a cable, questions.
    pub after: Vec<QmpCommand>,
    /// The greatest number that an image has with it.
    pub last_node: u32,
    /// Names of the nodes of images that QEMU makes.
    pub nodes: BTreeSet<String>,
}

impl PlugPlan {
    /// Notes the nodes of images in the definition, for whoever takes the guest over.
    pub fn note_nodes(&self, domain: &mut model::domain::Domain) {
        crate::qemu::note_nodes(domain, &self.nodes);
    }

    /// What takes back the first `done` commands, last first.
    pub fn rollback(&self, done: usize) -> Vec<&QmpCommand> {
        self.commands.iter().take(done).rev().filter_map(|c| c.undo.as_ref()).collect()
    }

    /// What is taken back on the host when the device is gone, last step first.
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

    /// The name of the uppermost node of the images that are opened.
    pub fn top_node(&self) -> Option<String> {
        let opened = self.commands.iter().rev().find(|command| command.name == "blockdev-add")?;
        Some(crate::qemu::hotplug::member(&opened.arguments, "node-name"))
    }

    /// Whether a command puts a descriptor into a set, whose number must be a free one.
    pub fn uses_fdsets(&self) -> bool {
        self.commands.iter().any(|command| command.name == "add-fd")
    }
}

/// A device leaving a running guest.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct UnplugPlan {
    /// Asks the guest to let go: `device_del` with this name; QEMU says when it did. None: there
    /// is nothing to wait for.
    pub device: Option<String>,
    /// Told once the guest let go; what fails is only noted.
    pub after: Vec<QmpCommand>,
    /// Sets of descriptors to remove, by how what was said of their members begins.
    pub fdsets: Option<String>,
    /// Taken back on the host then.
    pub undo: Vec<Undo>,
}
