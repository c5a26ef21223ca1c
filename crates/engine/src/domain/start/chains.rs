//! What a disk's image stands on, read from the images themselves before a start.
//!
//! A definition may leave out what is below a disk's image. The running guest has every image of
//! the chain as a node of its own, so that each can be named, lent to QEMU's user and shown; and
//! the chain cannot become another one behind the plan's back. As libvirt does, a chain that the
//! definition ends (`<backingStore/>`) is not looked into, and one that it leaves open is followed
//! from its lowest image.

use crate::domain::stored::store::os_words;
use crate::engine::Engine;
use crate::storage::probe::{self, Backing};
use diag::{ErrorCode, VirError};
use model::domain::Domain as Definition;
use model::domain::devices::disk::{
    BackingStore, DataStore, Disk, DiskSource, ImageFormat, StorageType,
};
use plan::block::json;
use plan::qemu::Found;
use std::collections::HashSet;
use std::fs::File;
use std::path::{Component, Path, PathBuf};

/// Most images of a chain.
const LONGEST: usize = 200;

impl Engine {
    /// Adds to `found`, which knows what volumes are, what the lowest image that each disk of
    /// `definition` names stands on, and the file that holds its bytes.
    ///
    /// # Errors
    /// An image that is stood on is missing, stands on itself, or is named in a way that is not
    /// understood.
    pub(in crate::domain) fn look_into_images(
        &self,
        definition: &Definition,
        found: &mut Found,
    ) -> Result<(), VirError> {
        let who = self.settings.qemu.ids.map(|ids| (ids.uid, ids.gid));
        for disk in definition.devices.iter().flat_map(|devices| &devices.disks) {
            let Some(Lowest { path, format, group }) = lowest(disk, found) else { continue };
            let (path, mut seen) = (Path::new(&path), HashSet::new());
            let lies_on = match group {
                // Its name may be nobody's: what counts is what the client has open.
                Some(group) => match self.descriptor_group(definition, &group) {
                    Some(group) => under(group.image(), path, &format, &mut seen, who)?,
                    None => LiesOn::default(),
                },
                None => lies_on(path, &format, &mut seen, who)?,
            };
            let target = || disk.target.dev.clone();
            found.chains.extend(lies_on.below.map(|below| (target(), below)));
            found.data_stores.extend(lies_on.data.map(|data| (target(), data)));
        }
        Ok(())
    }

    /// Looks whether all is there that the image of a disk of this host needs beside itself.
    ///
    /// # Errors
    /// As of [`Engine::look_into_images`].
    pub(in crate::domain) fn look_into_image(&self, disk: &Disk) -> Result<(), VirError> {
        let lowest = lowest(disk, &Found::default()).filter(|lowest| lowest.group.is_none());
        let Some(Lowest { path, format, .. }) = lowest else { return Ok(()) };
        let who = self.settings.qemu.ids.map(|ids| (ids.uid, ids.gid));
        lies_on(Path::new(&path), &format, &mut HashSet::new(), who).map(|_| ())
    }
}

/// What an image needs beside itself.
#[derive(Debug, Default)]
struct LiesOn {
    /// What it stands on; an empty layer when that is nothing. `None` where it cannot be told: QEMU
    /// follows the image itself then.
    below: Option<BackingStore>,
    /// The file that holds its bytes.
    data: Option<DataStore>,
}

impl LiesOn {
    /// It stands on nothing.
    fn nothing(data: Option<DataStore>) -> Self {
        Self { below: Some(BackingStore::default()), data }
    }
}

/// The lowest image that a disk names.
struct Lowest {
    path: String,
    format: String,
    /// The descriptors that a client handed in for it.
    group: Option<String>,
}

/// The lowest image that a disk names, if it is one of this host and its chain is left open.
fn lowest(disk: &Disk, found: &Found) -> Option<Lowest> {
    let mut kind = disk.kind;
    let mut source = disk.source.as_ref()?;
    if kind == StorageType::Volume {
        let volume = found.volumes.get(&(source.pool.clone()?, source.volume.clone()?))?;
        kind = volume.kind;
        source = &volume.source;
    }
    let mut format = disk.driver.as_ref().and_then(|driver| driver.kind.clone());
    for layer in disk.layers() {
        source = layer.source.as_ref()?;
        kind = layer.kind.unwrap_or_default();
        format = layer.format.as_ref().map(|format| format.kind.clone());
    }
    let path = match kind {
        StorageType::File => source.file.clone(),
        StorageType::Block => source.dev.clone(),
        _ => None,
    };
    let lowest = Lowest { path: path?, format: format?, group: source.fdgroup.clone() };
    Some(lowest).filter(|lowest| can_stand_on_another(&lowest.format))
}

/// Whether images of a format can have another one below.
fn can_stand_on_another(format: &str) -> bool {
    matches!(format, "qcow" | "qcow2" | "qed" | "vmdk" | "cow")
}

/// What the image at `path` lies on.
fn lies_on(
    path: &Path,
    format: &str,
    seen: &mut HashSet<PathBuf>,
    who: Option<(u32, u32)>,
) -> Result<LiesOn, VirError> {
    if !can_stand_on_another(format) {
        return Ok(LiesOn::nothing(None));
    }
    under(crate::storage::open_image(path).ok(), path, format, seen, who)
}

/// The same of an image that is open, if it could be.
fn under(
    file: Option<File>,
    path: &Path,
    format: &str,
    seen: &mut HashSet<PathBuf>,
    who: Option<(u32, u32)>,
) -> Result<LiesOn, VirError> {
    let Some(file) = file else {
        // That the image itself is missing is found, and said, where it is lent to QEMU.
        return Ok(LiesOn::default());
    };
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let image = probe::probe(&file, length);
    if image.format != format {
        // QEMU says what is wrong with it.
        return Ok(LiesOn::default());
    }
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if !seen.insert(real) || seen.len() > LONGEST {
        return Err(VirError::internal(format!(
            "backing store for {} is self-referential or too deeply nested",
            path.display()
        )));
    }
    let data = match image.data_file {
        Some(name) => data_store(path, name)?,
        None => None,
    };
    let Some(backing) = image.backing else { return Ok(LiesOn::nothing(data)) };
    let Some(mut store) = located(path, &backing)? else {
        return Ok(LiesOn { below: None, data });
    };
    let source = store.source.as_ref();
    let local = source.and_then(|source| source.file.clone().or_else(|| source.dev.clone()));
    let Some(local) = local.map(PathBuf::from) else {
        // Over the network: what it stands on is not ours to read.
        return Ok(LiesOn { below: Some(store), data });
    };
    let opened = crate::storage::open_image(&local).map_err(|error| {
        let (path, local) = (path.display(), local.display());
        let who = who.map_or_else(String::new, |(uid, gid)| format!(" (as uid:{uid}, gid:{gid})"));
        let why = os_words(&error);
        VirError::new(
            ErrorCode::SYSTEM_ERROR,
            format!("Cannot access backing file '{local}' of storage file '{path}'{who}: {why}"),
        )
    })?;
    let format = match &store.format {
        Some(format) => format.kind.clone(),
        None => {
            let length = opened.metadata().map_or(0, |metadata| metadata.len());
            let kind = probe::probe(&opened, length).format.to_owned();
            store.format = Some(ImageFormat { kind: kind.clone(), ..ImageFormat::default() });
            kind
        }
    };
    drop(opened);
    let next = lies_on(&local, &format, seen, who)?;
    store.backing_store = next.below.map(Box::new);
    if let Some(source) = &mut store.source {
        source.data_store = next.data.map(Box::new);
    }
    Ok(LiesOn { below: Some(store), data })
}

/// The file that an image names for its bytes, which are raw.
fn data_store(path: &Path, name: String) -> Result<Option<DataStore>, VirError> {
    let named = Backing { name, format: Some("raw".to_owned()) };
    let Some(layer) = located(path, &named)? else { return Ok(None) };
    let BackingStore { kind, format, source, .. } = layer;
    Ok(Some(DataStore { kind: kind.unwrap_or_default(), format, source }))
}

/// The layer that a header names, without what is below it; `None` for ways of naming that are
/// QEMU's alone.
fn located(path: &Path, backing: &Backing) -> Result<Option<BackingStore>, VirError> {
    let layer = |kind, source, format: Option<String>| {
        let format = format.map(|kind| ImageFormat { kind, ..ImageFormat::default() });
        BackingStore { kind: Some(kind), format, source: Some(source), ..BackingStore::default() }
    };
    if backing.name.starts_with("json:") {
        let there = json::parse(&backing.name).map_err(|error| {
            VirError::internal(format!("backing file of '{}': {error}", path.display()))
        })?;
        let format = backing.format.clone().or(there.format);
        return Ok(Some(layer(there.kind, there.source, format)));
    }
    let scheme = backing.name.split_once(':').map(|(scheme, _)| scheme);
    match scheme {
        Some("file") => return Err(VirError::internal("invalid backing protocol 'file'")),
        Some(scheme) if !scheme.contains('/') => return Ok(None),
        _ => {}
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let there = folder.join(&backing.name);
    let text = tidy(&there).to_string_lossy().into_owned();
    let is_block = std::fs::metadata(&there).is_ok_and(|metadata| {
        std::os::unix::fs::FileTypeExt::is_block_device(&metadata.file_type())
    });
    let source = if is_block {
        DiskSource { dev: Some(text), ..DiskSource::default() }
    } else {
        DiskSource { file: Some(text), ..DiskSource::default() }
    };
    let kind = if is_block { StorageType::Block } else { StorageType::File };
    Ok(Some(layer(kind, source, backing.format.clone())))
}

/// The path without `.`; what links make of `..` is left to the kernel.
fn tidy(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qcow2(backing: Option<(&str, Option<&str>)>) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        bytes[..8].copy_from_slice(b"QFI\xfb\0\0\0\x03");
        bytes[20..24].copy_from_slice(&16u32.to_be_bytes());
        bytes[24..32].copy_from_slice(&(1u64 << 20).to_be_bytes());
        bytes[100..104].copy_from_slice(&104u32.to_be_bytes());
        let Some((name, format)) = backing else { return bytes };
        let mut at = 104;
        if let Some(format) = format {
            bytes[at..at + 4].copy_from_slice(&0xe279_2aca_u32.to_be_bytes());
            bytes[at + 4..at + 8].copy_from_slice(&(format.len() as u32).to_be_bytes());
            bytes[at + 8..at + 8 + format.len()].copy_from_slice(format.as_bytes());
            at += 8 + format.len().next_multiple_of(8);
        }
        at += 8;
        bytes[8..16].copy_from_slice(&(at as u64).to_be_bytes());
        bytes[16..20].copy_from_slice(&(name.len() as u32).to_be_bytes());
        bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
        bytes
    }

    /// An image whose bytes are in another file.
    fn beside(data: &str) -> Vec<u8> {
        let mut bytes = qcow2(None);
        bytes[72..80].copy_from_slice(&4u64.to_be_bytes());
        bytes[104..108].copy_from_slice(&0x4441_5441_u32.to_be_bytes());
        bytes[108..112].copy_from_slice(&(data.len() as u32).to_be_bytes());
        bytes[112..112 + data.len()].copy_from_slice(data.as_bytes());
        bytes
    }

    /// The chain below an image, as `path (format)` from top to bottom; `end` where it ends.
    fn chain(folder: &Path, top: &str) -> Result<Vec<String>, String> {
        let found = lies_on(&folder.join(top), "qcow2", &mut HashSet::new(), Some((7, 8)));
        let mut words = Vec::new();
        let found = found.map_err(|error| error.message())?;
        let data = |store: Option<DataStore>| {
            store.and_then(|data| data.source?.file).map(|file| format!("data {file}"))
        };
        words.extend(data(found.data));
        let mut next = found.below;
        while let Some(mut layer) = next {
            let store = layer.source.as_mut().and_then(|source| source.data_store.take());
            let store = data(store.map(|store| *store));
            match layer.source.and_then(|source| source.file) {
                Some(file) => {
                    let format = layer.format.expect("a format").kind;
                    words.push(format!("{file} ({format})"));
                }
                None => words.push("end".to_owned()),
            }
            words.extend(store);
            next = layer.backing_store.map(|layer| *layer);
        }
        Ok(words)
    }

    #[test]
    fn chains_are_followed_to_their_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |name: &str, bytes: Vec<u8>| std::fs::write(folder.path().join(name), bytes);
        let at = |name: &str| folder.path().join(name).display().to_string();
        put("base", qcow2(None)).expect("written");
        put("raw", vec![0; 512]).expect("written");
        put("middle", qcow2(Some(("./base", Some("qcow2"))))).expect("written");
        put("top", qcow2(Some((&at("middle"), None)))).expect("written");
        put("on-raw", qcow2(Some(("raw", Some("raw"))))).expect("written");
        put("self", qcow2(Some(("self", Some("qcow2"))))).expect("written");
        put("gone", qcow2(Some(("nothere", Some("qcow2"))))).expect("written");
        put("net", qcow2(Some(("nbd://host/x", Some("raw"))))).expect("written");
        put("beside", beside("bytes")).expect("written");
        put("on-beside", qcow2(Some(("beside", Some("qcow2"))))).expect("written");
        put("uri", qcow2(Some(("file:base", Some("raw"))))).expect("written");
        let named = |name: &str, format: &str| format!("{} ({format})", at(name));
        let end = || "end".to_owned();
        for (top, expected) in [
            ("base", Ok(vec![end()])),
            ("middle", Ok(vec![named("base", "qcow2"), end()])),
            ("top", Ok(vec![named("middle", "qcow2"), named("base", "qcow2"), end()])),
            ("on-raw", Ok(vec![named("raw", "raw"), end()])),
            ("beside", Ok(vec![format!("data {}", at("bytes")), end()])),
            (
                "on-beside",
                Ok(vec![named("beside", "qcow2"), format!("data {}", at("bytes")), end()]),
            ),
            // Not qcow2, or not of this host: QEMU's to follow.
            ("raw", Ok(vec![])),
            ("net", Ok(vec![])),
            (
                "self",
                Err(format!(
                    "internal error: backing store for {} is self-referential or too deeply nested",
                    at("self")
                )),
            ),
            (
                "gone",
                Err(format!(
                    "Cannot access backing file '{}' of storage file '{}' (as uid:7, gid:8): \
                     No such file or directory",
                    at("nothere"),
                    at("gone")
                )),
            ),
            ("uri", Err("internal error: invalid backing protocol 'file'".to_owned())),
        ] {
            assert_eq!(chain(folder.path(), top), expected, "{top}");
        }
    }
}
