//! What the actor is told when the devices of its guest change.

use super::blockjobs::BlockJob;
use super::note::{Held, UpdateNote};
use crate::domain::adopt::status::Pending;
use crate::domain::start::teardown::Made;
use model::domain::Domain as Definition;
use plan::Undo;

/// A guest's devices as they are to be written down.
#[derive(Debug, Default)]
pub(in crate::domain) struct Change {
    /// The live definition.
    pub definition: Definition,
    /// It is to be seen, too: before, it is only in the status file.
    pub publish: bool,
    /// What is to be taken back when the guest stops, last step first.
    pub add: Vec<Undo>,
    /// What was made on the way.
    pub made: Made,
    /// What has been taken back.
    pub drop: Vec<Undo>,
    /// A change of a device begins, or (with nothing in it) is over.
    pub update: Option<Option<Box<UpdateNote>>>,
    /// The jobs of its images, all of them, where these change.
    pub jobs: Option<Vec<BlockJob>>,
    /// What QEMU has still open of a device that left.
    pub hold: Vec<Held>,
    /// What it has let go of.
    pub release: Vec<Held>,
}

impl Change {
    /// Whether something is about to be done that is not done yet.
    pub(in crate::domain) fn begins(&self) -> bool {
        let adds = !self.add.is_empty() || self.jobs.is_some();
        matches!(self.update, Some(Some(_))) || (adds && !self.publish)
    }

    /// Brings what is to be taken back when the guest stops, and what is under way, up to date;
    /// true if it changed.
    pub(in crate::domain) fn apply(
        &mut self,
        undo: &mut Vec<Undo>,
        made: &mut Made,
        pending: &mut Pending,
    ) -> bool {
        let before = undo.len();
        let mut changed = !self.add.is_empty() || !self.drop.is_empty() || !self.made.is_empty();
        for gone in &self.drop {
            if let Some(place) = undo.iter().position(|there| there == gone) {
                undo.remove(place);
            }
            if let (Undo::RestoreOwner(path), Some(lent)) = (gone, &mut made.lent) {
                lent.remove(path);
            }
        }
        let new: Vec<Undo> = self.add.drain(..).filter(|step| !undo.contains(step)).collect();
        undo.splice(0..0, new);
        let more = std::mem::take(&mut self.made);
        made.created.extend(more.created);
        made.ports.extend(more.ports);
        made.links.extend(more.links);
        // Of a guest that libvirtd started nobody knows which files were lent: that stays so, or its
        // other disks would count as never lent.
        if let (Some(known), Some(lent)) = (&mut made.lent, more.lent) {
            known.extend(lent);
        }
        changed |= before != undo.len();
        if let Some(update) = self.update.take() {
            changed |= update.is_some() || pending.update.is_some();
            pending.update = update.map(|note| *note);
        }
        changed |= !self.hold.is_empty() || !self.release.is_empty();
        pending.held.append(&mut self.hold);
        pending.held.retain(|held| !self.release.contains(held));
        changed
    }
}
