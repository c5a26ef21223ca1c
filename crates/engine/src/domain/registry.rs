//! Names, UUIDs and ids of all domains: the one place that knows them all.

use super::record::{Domain, Snapshot};
use diag::{ErrorCode, ErrorDomain, VirError};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;
use units::Uuid;

#[derive(Debug, Default)]
struct Tables {
    by_uuid: HashMap<Uuid, Arc<Domain>>,
    by_name: BTreeMap<Arc<str>, Arc<Domain>>,
    by_id: BTreeMap<i32, Arc<Domain>>,
    next_id: i32,
}

/// All domains, found by name, UUID and id.
#[derive(Debug, Default)]
pub struct Registry {
    tables: RwLock<Tables>,
    /// Whether any runs.
    running: watch::Sender<bool>,
}

impl Registry {
    /// The domain with this UUID.
    pub fn by_uuid(&self, uuid: &Uuid) -> Option<Arc<Domain>> {
        self.read(|tables| tables.by_uuid.get(uuid).cloned()).filter(|d| d.snapshot().is_there())
    }

    /// The same, also of one that is on its way in and shown to nobody yet.
    pub(in crate::domain) fn any_by_uuid(&self, uuid: &Uuid) -> Option<Arc<Domain>> {
        self.read(|tables| tables.by_uuid.get(uuid).cloned())
    }

    /// The domain with this name.
    pub fn by_name(&self, name: &str) -> Option<Arc<Domain>> {
        self.read(|tables| tables.by_name.get(name).cloned()).filter(|d| d.snapshot().is_there())
    }

    /// The running domain with this id.
    pub fn by_id(&self, id: i32) -> Option<Arc<Domain>> {
        self.read(|tables| tables.by_id.get(&id).cloned())
    }

    /// Calls `visit` with every domain and what is published of it, in the order of names.
    pub fn for_each(&self, mut visit: impl FnMut(&Arc<Domain>, &Snapshot)) {
        self.read(|tables| {
            for domain in tables.by_name.values() {
                let snapshot = domain.snapshot();
                if snapshot.is_there() {
                    visit(domain, &snapshot);
                }
            }
        });
    }

    /// How many domains there are.
    pub fn len(&self) -> usize {
        self.read(|tables| tables.by_uuid.len())
    }

    /// True without any domain.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls `visit` with every running domain in the order of ids.
    pub fn for_each_active(&self, mut visit: impl FnMut(i32, &Arc<Domain>)) {
        self.read(|tables| tables.by_id.iter().for_each(|(id, domain)| visit(*id, domain)));
    }

    /// Whether any domain runs or is being started, now and whenever that changes.
    pub(in crate::domain) fn running(&self) -> watch::Receiver<bool> {
        self.running.subscribe()
    }

    /// Finds the domain that a definition with this name and UUID is about, or makes room for a
    /// new one through `make`. Returns the domain and whether it is new.
    ///
    /// # Errors
    /// libvirt's error where name and UUID belong to different domains.
    pub fn claim(
        &self,
        name: &str,
        uuid: &Uuid,
        make: impl FnOnce() -> Arc<Domain>,
    ) -> Result<(Arc<Domain>, bool), VirError> {
        self.write(|tables| {
            if let Some(domain) = tables.by_uuid.get(uuid) {
                let existing = domain.snapshot();
                if &*existing.name != name {
                    return Err(exists(&format!(
                        "domain '{}' is already defined with uuid {uuid}",
                        existing.name
                    )));
                }
                return Ok((Arc::clone(domain), false));
            }
            if let Some(domain) = tables.by_name.get(name) {
                return Err(exists(&format!(
                    "domain '{name}' already exists with uuid {}",
                    domain.uuid
                )));
            }
            let domain = make();
            tables.by_uuid.insert(*uuid, Arc::clone(&domain));
            tables.by_name.insert(Arc::from(name), Arc::clone(&domain));
            Ok((domain, true))
        })
    }

    /// Takes a domain out of all tables unless it runs or has a definition: whoever still holds
    /// it may have given it one meanwhile.
    pub fn remove_if_gone(&self, domain: &Arc<Domain>) {
        self.write(|tables| {
            let snapshot = domain.snapshot();
            if snapshot.is_there() {
                return;
            }
            let is_it =
                |other: Option<&Arc<Domain>>| other.is_some_and(|other| Arc::ptr_eq(other, domain));
            if is_it(tables.by_uuid.get(&domain.uuid)) {
                tables.by_uuid.remove(&domain.uuid);
            }
            if is_it(tables.by_name.get(&snapshot.name)) {
                tables.by_name.remove(&snapshot.name);
            }
        });
    }

    /// Changes what is published of a domain and makes sure that it is in the tables, both at
    /// once: a domain that was just about to go stays.
    ///
    /// # Errors
    /// When its name or UUID was given to another domain meanwhile.
    pub fn publish(
        &self,
        domain: &Arc<Domain>,
        change: impl FnOnce(&mut Snapshot),
    ) -> Result<Arc<Snapshot>, VirError> {
        self.write(|tables| {
            let name = Arc::clone(&domain.snapshot().name);
            let by_uuid = tables.by_uuid.entry(domain.uuid).or_insert_with(|| Arc::clone(domain));
            let by_name =
                tables.by_name.entry(Arc::clone(&name)).or_insert_with(|| Arc::clone(domain));
            if !Arc::ptr_eq(by_uuid, domain) || !Arc::ptr_eq(by_name, domain) {
                return Err(exists(&format!(
                    "domain '{name}' was replaced by another one meanwhile; try again"
                )));
            }
            Ok(domain.publish(change))
        })
    }

    /// Moves a domain to a new name.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn rename(&self, domain: &Arc<Domain>, to: &Arc<str>) -> Result<(), VirError> {
        self.write(|tables| {
            if tables.by_name.contains_key(to) {
                return Err(VirError::new(
                    ErrorCode::OPERATION_INVALID,
                    format!("domain with name '{to}' already exists"),
                ));
            }
            let from = domain.snapshot().name.clone();
            if tables.by_name.remove(&from).is_none() {
                // Back from a new name that was not published: that one is to be free again.
                tables.by_name.retain(|_, other| !Arc::ptr_eq(other, domain));
            }
            tables.by_name.insert(Arc::clone(to), Arc::clone(domain));
            Ok(())
        })
    }

    /// Gives a domain a fresh id; ids are never used twice while the daemon lives.
    pub fn assign_id(&self, domain: &Arc<Domain>) -> i32 {
        self.write(|tables| {
            tables.next_id = tables.next_id.max(0).checked_add(1).unwrap_or(1);
            let id = tables.next_id;
            tables.by_id.insert(id, Arc::clone(domain));
            self.note_running(tables);
            id
        })
    }

    /// Gives a domain the id it had before the daemon was started anew.
    pub fn restore_id(&self, domain: &Arc<Domain>, id: i32) {
        self.write(|tables| {
            tables.next_id = tables.next_id.max(id);
            tables.by_id.insert(id, Arc::clone(domain));
            self.note_running(tables);
        });
    }

    /// Takes a domain's id away.
    pub fn release_id(&self, id: i32) {
        self.write(|tables| {
            tables.by_id.remove(&id);
            self.note_running(tables);
        });
    }

    fn note_running(&self, tables: &Tables) {
        let any = !tables.by_id.is_empty();
        self.running.send_if_modified(|before| std::mem::replace(before, any) != any);
    }

    fn read<T>(&self, look: impl FnOnce(&Tables) -> T) -> T {
        look(&self.tables.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Tables) -> T) -> T {
        change(&mut self.tables.write().unwrap_or_else(PoisonError::into_inner))
    }
}

fn exists(detail: &str) -> VirError {
    VirError::new(ErrorCode::OPERATION_FAILED, detail).from_domain(ErrorDomain::DOMAIN)
}
