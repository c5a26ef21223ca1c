//! What follows from the end of a job: the guest's definition afterwards, and the images that go.

use super::chain;
use super::job::{BlockJob, Kind, State};
use super::names;
use crate::domain::view::LAYERS;
use model::domain::Domain as Definition;
use model::domain::devices::disk::{BackingStore, Disk, StorageType};
use plan::Undo;

/// The end of a job.
#[derive(Clone, Debug, Default)]
pub(super) struct Ending {
    /// The guest's definition afterwards.
    pub definition: Definition,
    /// The numbers of images that are not needed any more, the uppermost first.
    pub gone: Vec<u32>,
    /// The paths of those that are of this host.
    pub paths: Vec<String>,
    /// Those of them that the client wanted removed.
    pub delete: Vec<String>,
}

/// The end of `job`; `pivoted`: the guest goes on with the other image.
pub(super) fn ending(
    definition: &Definition,
    job: &BlockJob,
    outcome: State,
    pivoted: bool,
) -> Ending {
    let mut after = definition.clone();
    let mut ending = Ending::default();
    let disks = after.devices.iter_mut().flat_map(|devices| &mut devices.disks);
    if let Some(disk) = disks.into_iter().find(|disk| disk.target.dev == job.disk) {
        apply(disk, job, outcome, pivoted, &mut ending);
    }
    ending.definition = after;
    ending
}

fn apply(disk: &mut Disk, job: &BlockJob, outcome: State, pivoted: bool, ending: &mut Ending) {
    let completed = outcome == State::Completed;
    let before = disk.clone();
    let mut remove = false;
    match job.kind {
        Kind::Pull { base } if completed => {
            let images = chain::numbers(disk);
            let (Some(top), Some(below)) = (images.first(), images.get(1)) else { return };
            ending.gone = chain::between(disk, *below, base);
            chain::relink(disk, *top, base);
        }
        Kind::Commit { parent, top, base, delete } if completed => {
            ending.gone = chain::between(disk, top, Some(base));
            chain::relink(disk, parent, Some(base));
            remove = delete;
        }
        Kind::ActiveCommit { top, base, delete } if pivoted => {
            ending.gone = chain::between(disk, top, Some(base));
            chain::promote(disk, base);
            remove = delete;
        }
        Kind::Copy { shallow } if pivoted => {
            let images = chain::numbers(disk);
            let kept = images.get(1).copied().filter(|_| shallow);
            ending.gone = images.first().map_or(Vec::new(), |top| chain::between(disk, *top, kept));
            chain::take_mirror(disk, shallow);
        }
        Kind::Copy { .. } => copy_goes(disk, ending),
        Kind::ActiveCommit { .. } => disk.mirror = None,
        Kind::Pull { .. } | Kind::Commit { .. } => {}
    }
    let there = before
        .images()
        .filter(|image| image.number.is_some_and(|number| ending.gone.contains(&number)));
    for image in there {
        let local = matches!(image.kind, StorageType::File | StorageType::Block);
        let path = Some(names::path_of(&image)).filter(|path| local && !path.is_empty());
        ending.delete.extend(path.clone().filter(|_| remove && image.kind == StorageType::File));
        ending.paths.extend(path);
        let data = image.source.data_source();
        ending.paths.extend(data.and_then(|data| data.file.clone().or_else(|| data.dev.clone())));
    }
}

/// The images of a copy that nobody needs.
fn copy_goes(disk: &mut Disk, ending: &mut Ending) {
    let Some(mirror) = disk.mirror.take() else { return };
    let layers = mirror.backing_store.as_deref().into_iter().flat_map(BackingStore::chain);
    let below = layers.map(|layer| (layer.index, layer.source.as_ref()));
    let top = mirror.source.as_ref();
    for (number, source) in std::iter::once((top.and_then(|source| source.index), top)).chain(below)
    {
        ending.gone.extend(number);
        let Some(source) = source else { continue };
        let data = source.data_source();
        ending.gone.extend(data.and_then(|data| data.index));
        for source in std::iter::once(source).chain(data) {
            ending.paths.extend(source.file.clone().or_else(|| source.dev.clone()));
        }
    }
}

/// What is taken back on the host once the images are closed.
pub(super) fn given_back(ending: &Ending, undo: &[Undo]) -> Vec<Undo> {
    let behind = |step: &&Undo| match step {
        Undo::RestoreOwner(path) => ending.paths.contains(path),
        Undo::EndHelper { pid_file } => ending
            .gone
            .iter()
            .any(|number| pid_file.ends_with(&format!("/nbdkit-libvirt-{number}-storage.pid"))),
        _ => false,
    };
    undo.iter().filter(behind).cloned().collect()
}

/// The nodes of the images that go, of those that are `there`, in the order in which they can.
pub(super) fn nodes(gone: &[u32], there: &std::collections::BTreeSet<String>) -> Vec<String> {
    let named = gone
        .iter()
        .flat_map(|number| LAYERS.iter().map(move |layer| format!("libvirt-{number}-{layer}")));
    named.filter(|name| there.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::domain::devices::Devices;

    fn definition() -> Definition {
        let disks = vec![super::super::chain::tests::chained()];
        Definition {
            devices: Some(Devices { disks, ..Devices::default() }),
            ..Definition::default()
        }
    }

    #[test]
    fn what_is_left_of_a_job() {
        let active = Kind::ActiveCommit { top: 1, base: 3, delete: true };
        let commit = Kind::Commit { parent: 1, top: 2, base: 4, delete: true };
        let none: &[&str] = &[];
        for (kind, outcome, pivoted, gone, paths, delete) in [
            (Kind::Pull { base: None }, State::Completed, false, vec![2, 3, 4], 3, none),
            (Kind::Pull { base: Some(3) }, State::Completed, false, vec![2], 1, none),
            (Kind::Pull { base: None }, State::Cancelled, false, vec![], 0, none),
            (commit, State::Completed, false, vec![2, 3], 2, &["/b", "/c"]),
            (commit, State::Failed, false, vec![], 0, none),
            (active, State::Completed, true, vec![1, 2], 2, &["/a", "/b"]),
            (active, State::Cancelled, false, vec![], 0, none),
            (Kind::Copy { shallow: true }, State::Completed, true, vec![1], 1, none),
            (Kind::Copy { shallow: false }, State::Completed, true, vec![1, 2, 3, 4], 4, none),
            (Kind::Copy { shallow: false }, State::Failed, false, vec![9], 1, none),
        ] {
            let job = BlockJob::new("j".to_owned(), "vda", kind, 0);
            let found = ending(&definition(), &job, outcome, pivoted);
            let what = format!("{kind:?} {outcome:?} {pivoted}");
            assert_eq!(found.gone, gone, "{what}");
            assert_eq!(found.paths.len(), paths, "{what}");
            assert_eq!(found.delete, delete, "{what}");
            let disk = &found.definition.devices.expect("devices").disks[0];
            assert_eq!(disk.mirror.is_some(), !kind.can_pivot(), "{what}");
            assert!(found.gone.iter().all(|n| !chain::numbers(disk).contains(n)), "{what}");
        }
    }

    #[test]
    fn what_is_taken_back_and_closed() {
        let ending = Ending { gone: vec![3, 2], paths: vec!["/b".into()], ..Ending::default() };
        let helper =
            |n: u32| Undo::EndHelper { pid_file: format!("/x/nbdkit-libvirt-{n}-storage.pid") };
        let owner = |path: &str| Undo::RestoreOwner(path.to_owned());
        let undo = [owner("/a"), owner("/b"), helper(3), helper(33), Undo::EndQemu];
        assert_eq!(given_back(&ending, &undo), [owner("/b"), helper(3)]);
        let there = ["libvirt-2-storage", "libvirt-3-storage", "libvirt-3-format"];
        let there = there.iter().map(|name| (*name).to_owned()).collect();
        let closed = nodes(&ending.gone, &there);
        assert_eq!(closed, ["libvirt-3-format", "libvirt-3-storage", "libvirt-2-storage"]);
    }
}
