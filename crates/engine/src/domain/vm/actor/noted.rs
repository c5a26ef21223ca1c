//! What a guest did with its devices, as QEMU said or was asked: written into its definition.

use super::Actor;
use crate::domain::vm::nic;
use crate::domain::vm::seen::Seen;
use crate::events::DomainEvent;
use model::domain::Domain as Definition;
use model::domain::clock::{Clock, ClockOffset};
use std::sync::Arc;

impl Actor {
    /// Whether the guest's memory is being saved or moved.
    pub(super) fn moves_memory(&self) -> bool {
        matches!(self.vm.migration.borrow().as_str(), "setup" | "active" | "device")
    }

    /// Writes down what a guest did and keeps it; false where that was known.
    async fn note(&mut self, write: impl FnOnce(&mut Seen, &mut Definition) -> bool) -> bool {
        let Some(live) = self.domain.snapshot().live.clone() else { return false };
        let mut definition = live.definition.clone();
        let changed = write(&mut self.seen, &mut definition);
        if changed {
            self.keep(definition).await;
        }
        changed
    }

    /// The guest gave memory back or took some: that is its memory now. False where that was known.
    pub(super) async fn balloon_changed(&mut self, kib: u64) -> bool {
        self.note(|seen, definition| seen.balloon(definition, kib)).await
    }

    /// A drive opened or closed; false where that was known.
    pub(super) async fn tray_moved(&mut self, alias: &str, open: bool) -> bool {
        self.note(|seen, definition| seen.tray(definition, alias, open)).await
    }

    /// The guest has this much of a memory device now; false where that is nothing new.
    pub(super) async fn memory_changed(&mut self, alias: &str, kib: u64) -> bool {
        self.note(|seen, definition| seen.size(definition, alias, kib)).await
    }

    /// The guest changed what an interface of its lets through: QEMU is asked what that is, and tells
    /// of the next change only after that.
    pub(super) fn filter_changed(&self, alias: &str) {
        let Some(live) = self.domain.snapshot().live.clone() else { return };
        if !nic::is_watched(&live.definition, alias) {
            return;
        }
        let (vm, alias) = (Arc::clone(&self.vm), alias.to_owned());
        let follow = async move { nic::follow(&vm, &live.definition, &alias).await };
        self.engine.runtime().spawn(follow);
    }

    /// Follows the interfaces that a changed definition has and the guest had not.
    pub(super) fn follow_new(&self, definition: &Definition) {
        let snapshot = self.domain.snapshot();
        let known = snapshot.live.as_ref().map(|live| nic::watched(&live.definition));
        let mut new = nic::watched(definition);
        new.retain(|alias| !known.iter().flatten().any(|known| known == alias));
        if new.is_empty() {
            return;
        }
        let (vm, definition) = (Arc::clone(&self.vm), definition.clone());
        self.engine.runtime().spawn(async move {
            for alias in new {
                nic::follow(&vm, &definition, &alias).await;
            }
        });
    }

    /// The guest gave an interface this hardware address.
    pub(super) async fn mac_changed(&mut self, alias: String, mac: units::MacAddr) {
        let mut before = None;
        let write = |seen: &mut Seen, definition: &mut Definition| {
            before = seen.mac(definition, &alias, mac);
            before.is_some()
        };
        self.note(write).await;
        if let Some(old) = before {
            self.tell(DomainEvent::NicMacChange { alias, old, new: mac });
        }
    }

    /// The guest set its clock, `offset` seconds ahead of what QEMU was started with; a variable
    /// clock is told and kept against UTC, so that it goes on with it after a save or a move.
    pub(super) async fn clock_set(&mut self, offset: i64) -> i64 {
        let Some(live) = self.domain.snapshot().live.clone() else { return offset };
        let variable = |clock: &&Clock| clock.offset == ClockOffset::Variable;
        let Some(clock) = live.definition.clock.as_ref().filter(variable) else { return offset };
        let offset = offset.saturating_add(clock.adjustment0.unwrap_or(0));
        self.note(|seen, definition| seen.clock(definition, &offset.to_string())).await;
        offset
    }
}
