//! Descriptors that clients hand in for the images of a domain.
//!
//! A client may open an image itself and hand the descriptors to the daemon under a name; a disk
//! whose source has that name (`fdgroup`) is then opened through them and not by its path. A group
//! serves every start until its client goes, it is replaced, or its domain is no more. All clients
//! of a domain share its names: whoever handed in last is the owner.

use crate::domain::record::Domain;
use crate::domain::start::results::Results;
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use model::domain::Domain as Definition;
use model::domain::devices::disk::Disk;
use plan::ResultName;
use plan::qemu::FdGroup;
use rustix::fs::FileType;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Most descriptors kept for one domain: the daemon's own are few.
const MOST: usize = 1024;

/// What one client handed in under one name.
#[derive(Debug)]
pub(in crate::domain) struct Group {
    client: Arc<str>,
    files: Vec<OwnedFd>,
    writable: bool,
}

/// The groups of a domain, by name.
#[derive(Debug, Default)]
pub(in crate::domain) struct Groups {
    held: Mutex<BTreeMap<String, Arc<Group>>>,
}

impl Groups {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Group>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, name: &str) -> Option<Arc<Group>> {
        self.lock().get(name).cloned()
    }

    /// Keeps a group; what had the name before is closed.
    fn put(&self, name: String, group: Group) -> Result<(), VirError> {
        let mut held = self.lock();
        let others = held.iter().filter(|(other, _)| **other != name);
        let count: usize = others.map(|(_, group)| group.files.len()).sum();
        if count + group.files.len() > MOST {
            return Err(VirError::new(
                ErrorCode::OPERATION_DENIED,
                format!(
                    "file descriptor group '{name}' is one too many: \
                     more than {MOST} descriptors for one domain"
                ),
            ));
        }
        held.insert(name, Arc::new(group));
        Ok(())
    }

    fn forget(&self, client: &Arc<str>) {
        self.lock().retain(|_, group| group.client != *client);
    }
}

impl Group {
    /// A file whose header can be read, if the group has one: nothing that would have to be waited
    /// for.
    pub fn image(&self) -> Option<File> {
        let readable = |fd: &&OwnedFd| {
            let plain = rustix::fs::fstat(fd).is_ok_and(|stat| {
                matches!(
                    FileType::from_raw_mode(stat.st_mode),
                    FileType::RegularFile | FileType::BlockDevice
                )
            });
            plain
                && rustix::fs::fcntl_getfl(fd)
                    .is_ok_and(|flags| !flags.contains(rustix::fs::OFlags::WRONLY))
        };
        self.files.iter().find(readable)?.try_clone().ok().map(File::from)
    }
}

/// Which clients handed something in, and to which domains.
#[derive(Debug, Default)]
pub struct HandedIn {
    by: Mutex<HashMap<Arc<str>, Vec<Weak<Domain>>>>,
}

impl HandedIn {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Vec<Weak<Domain>>>> {
        self.by.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what a client handed in.
    pub(in crate::domain) fn forget(&self, client: &Arc<str>) {
        let domains = self.lock().remove(client).unwrap_or_default();
        for domain in domains.iter().filter_map(Weak::upgrade) {
            domain.descriptors.forget(client);
        }
    }
}

impl Engine {
    /// Keeps descriptors of a client for images of a domain that name the group `name`.
    /// `writable`: they may be written to even where the image is not.
    ///
    /// # Errors
    /// No descriptor, or more than are kept for one domain.
    pub fn associate_descriptors(
        &self,
        domain: &Arc<Domain>,
        name: String,
        files: Vec<OwnedFd>,
        writable: bool,
        client: &Arc<str>,
    ) -> Result<(), VirError> {
        if files.is_empty() {
            let text = "nfds in virDomainFDAssociate must not be zero";
            return Err(VirError::new(ErrorCode::INVALID_ARG, text));
        }
        domain.descriptors.put(name, Group { client: Arc::clone(client), files, writable })?;
        let mut by = self.handed_in.lock();
        let domains = by.entry(Arc::clone(client)).or_default();
        domains.retain(|known| known.strong_count() > 0);
        if !domains.iter().any(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(domain))) {
            domains.push(Arc::downgrade(domain));
        }
        Ok(())
    }

    /// The groups that the images of `definition` name, as a plan knows them.
    ///
    /// # Errors
    /// Nobody handed one in.
    pub(in crate::domain) fn descriptor_groups(
        &self,
        definition: &Definition,
    ) -> Result<BTreeMap<String, FdGroup>, VirError> {
        let names = named(definition);
        let mut found = BTreeMap::new();
        for name in names {
            let group =
                self.descriptor_group(definition, &name).ok_or_else(|| not_associated(&name))?;
            found.insert(name, FdGroup { count: group.files.len(), writable: group.writable });
        }
        Ok(found)
    }

    /// What is kept under a name for the domain of `definition`.
    pub(in crate::domain) fn descriptor_group(
        &self,
        definition: &Definition,
        name: &str,
    ) -> Option<Arc<Group>> {
        // Also of a domain that is just being made, and shown to nobody yet.
        self.registry.any_by_uuid(&definition.uuid?)?.descriptors.get(name)
    }

    /// Puts copies of the descriptors that a plan names into its results.
    ///
    /// # Errors
    /// A group is gone or another one since the plan was made.
    pub(in crate::domain) fn hand_over_descriptors<'a>(
        &self,
        domain: &Domain,
        wanted: impl Iterator<Item = &'a ResultName>,
        results: &mut Results,
    ) -> Result<(), VirError> {
        for result in wanted {
            let Some((name, place)) = group_of(result) else { continue };
            let group = domain.descriptors.get(name).ok_or_else(|| not_associated(name))?;
            let file = group.files.get(place).ok_or_else(|| not_associated(name))?;
            let copy = file.try_clone().map_err(|error| {
                let what = format!("cannot copy a descriptor of group '{name}'");
                super::start::steps::system(&what, &error)
            })?;
            results.fds.insert(result.clone(), copy);
        }
        Ok(())
    }
}

/// The group and the place in it that a plan's name of a descriptor means.
fn group_of(result: &ResultName) -> Option<(&str, usize)> {
    let (name, place) = result.0.strip_prefix("fdgroup.")?.rsplit_once('.')?;
    Some((name, place.parse().ok()?))
}

/// The groups that images of a definition name.
fn named(definition: &Definition) -> BTreeSet<String> {
    let disks = definition.devices.iter().flat_map(|devices| &devices.disks);
    disks.flat_map(Disk::images).filter_map(|image| image.source.fdgroup.clone()).collect()
}

fn not_associated(name: &str) -> VirError {
    VirError::invalid_arg(format!(
        "file descriptor group '{name}' was not associated with the domain"
    ))
    .hint("a client hands descriptors in (virsh dom-fd-associate) and stays until they are used")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(client: &str, count: usize) -> Group {
        let file = || std::fs::File::open("/dev/null").expect("a file").into();
        let files = (0..count).map(|_| file()).collect();
        Group { client: Arc::from(client), files, writable: false }
    }

    #[test]
    fn the_last_to_hand_in_owns_a_name_and_takes_it_along() {
        let groups = Groups::default();
        groups.put("a".into(), group("one", 1)).expect("kept");
        groups.put("a".into(), group("two", 2)).expect("kept");
        groups.put("b".into(), group("one", 1)).expect("kept");
        groups.forget(&Arc::from("one"));
        assert_eq!(groups.get("a").expect("a").files.len(), 2);
        assert!(groups.get("b").is_none());
        groups.forget(&Arc::from("two"));
        assert!(groups.get("a").is_none());
    }

    #[test]
    fn no_client_can_take_all_descriptors_of_the_daemon() {
        let groups = Groups::default();
        for number in 0..MOST / 32 {
            groups.put(number.to_string(), group("one", 32)).expect("kept");
        }
        assert!(groups.put("more".into(), group("one", 1)).is_err());
        groups.put("0".into(), group("one", 31)).expect("in its own place");
        groups.put("more".into(), group("one", 1)).expect("one is free");
    }

    #[test]
    fn names_of_plans() {
        for (name, expected) in [
            ("fdgroup.disk.0", Some(("disk", 0))),
            ("fdgroup.a.b.12", Some(("a.b", 12))),
            ("fdgroup..1", Some(("", 1))),
            ("fdgroup.x", None),
            ("tap.net0.0", None),
        ] {
            assert_eq!(group_of(&ResultName::new(name)), expected, "{name}");
        }
    }

    /// A pipe's header would be waited for without end.
    #[test]
    fn only_files_are_read() {
        let (read, _write) = std::io::pipe().expect("a pipe");
        let pipe = Group { files: vec![read.into()], ..group("one", 0) };
        assert!(pipe.image().is_none());
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("image");
        let write_only = File::create(&path).expect("a file");
        let group = Group { files: vec![write_only.into()], ..group("one", 0) };
        assert!(group.image().is_none());
        let both = vec![
            File::create(&path).expect("a file").into(),
            File::open(&path).expect("it").into(),
        ];
        assert!(Group { files: both, ..group }.image().is_some());
    }
}
