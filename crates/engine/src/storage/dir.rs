//! What is in a folder: its space and its volumes.

use super::error::{storage, system};
use super::probe::{self, Backing, Image};
use super::record::Volumes;
use diag::{ErrorCode, VirError};
use model::storage::{
    Encryption, FILE_FORMATS, Permissions, Pool as Definition, Timestamps, Volume, VolumeTarget,
    VolumeType,
};
use rustix::fs::{Mode, OFlags};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

/// Size of the file system below a pool, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    /// All.
    pub capacity: u64,
    /// Used.
    pub allocation: u64,
    /// Free.
    pub available: u64,
}

/// What was found in a folder.
#[derive(Debug)]
pub struct Found {
    pub space: Space,
    pub permissions: Permissions,
    pub volumes: Volumes,
}

/// Reads a pool's folder.
pub fn scan(definition: &Definition) -> Result<Found, VirError> {
    let path = definition.target_path().unwrap_or_default();
    let failed = |error: io::Error| system(format!("cannot open directory '{path}'"), &error);
    let mut volumes = Volumes::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(|e| system(format!("Unable to read directory '{path}'"), &e))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            tracing::warn!(?name, pool = %definition.name, "a file whose name is no text is no volume");
            continue;
        };
        match volume(path, name) {
            Ok(Some(volume)) => {
                volumes.insert(Arc::from(name), Arc::new(volume));
            }
            Ok(None) => {}
            // It went away meanwhile, or is a link to nothing.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(file = name, pool = %definition.name, %error, "not a volume");
            }
        }
    }
    let metadata = fs::metadata(path).map_err(failed)?;
    Ok(Found { space: space(path)?, permissions: permissions(&metadata), volumes })
}

/// The space of the file system that `path` is on.
pub fn space(path: &str) -> Result<Space, VirError> {
    let stat = rustix::fs::statvfs(path).map_err(|errno| {
        system(format!("cannot statvfs path '{path}'"), &io::Error::from(errno))
    })?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    let capacity = bytes(stat.f_blocks);
    // With what is kept for root, as libvirt counts it.
    let available = bytes(stat.f_bfree);
    Ok(Space { capacity, available, allocation: capacity.saturating_sub(available) })
}

fn permissions(metadata: &Metadata) -> Permissions {
    Permissions {
        mode: Some(metadata.mode() & 0o777),
        owner: Some(metadata.uid()),
        group: Some(metadata.gid()),
        label: None,
    }
}

fn timestamps(metadata: &Metadata) -> Timestamps {
    let pair = |seconds: i64, nanos: i64| (seconds, u32::try_from(nanos).unwrap_or(0));
    let created = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Timestamps {
        accessed: pair(metadata.atime(), metadata.atime_nsec()),
        modified: pair(metadata.mtime(), metadata.mtime_nsec()),
        changed: pair(metadata.ctime(), metadata.ctime_nsec()),
        created: created.map_or((0, 0), |since| {
            (i64::try_from(since.as_secs()).unwrap_or(0), since.subsec_nanos())
        }),
    }
}

/// Opens a file for looking at it, without waiting for whoever may sit at its other end.
pub fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// The volume `name` in `folder`; none when it is of a kind that is no volume (pipes, sockets,
/// character devices).
pub fn volume(folder: &str, name: &str) -> io::Result<Option<Volume>> {
    let path = format!("{}/{name}", folder.trim_end_matches('/'));
    let metadata = fs::metadata(&path)?;
    let kind = metadata.file_type();
    if !kind.is_file() && !kind.is_dir() && !kind.is_block_device() {
        return Ok(None);
    }
    let mut volume = Volume {
        name: name.to_owned(),
        key: Some(path.clone()),
        target: VolumeTarget {
            permissions: Some(permissions(&metadata)),
            timestamps: Some(timestamps(&metadata)),
            ..VolumeTarget::default()
        },
        allocation_given: true,
        ..Volume::default()
    };
    if kind.is_dir() {
        volume.kind = VolumeType::Dir;
        volume.target.format = Some("dir".to_owned());
    } else {
        let file = open(Path::new(&path))?;
        let length = if kind.is_block_device() {
            volume.kind = VolumeType::Block;
            let length = rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0))?;
            volume.allocation = length;
            length
        } else {
            volume.allocation = metadata.blocks().saturating_mul(512);
            length_of(&metadata)
        };
        describe(&mut volume, probe::probe(&file, length), length, folder);
    }
    volume.target.path = Some(path);
    Ok(Some(volume))
}

fn length_of(metadata: &Metadata) -> u64 {
    metadata.len()
}

/// Fills in what an image's header says.
fn describe(volume: &mut Volume, image: Image, length: u64, folder: &str) {
    volume.capacity = image.capacity.unwrap_or(length);
    volume.physical = length;
    if image.format == "ploop" {
        volume.kind = VolumeType::Ploop;
    }
    if image.encryption.is_some() && image.format == "raw" {
        // What the header takes is not the guest's.
        volume.allocation = volume.allocation.min(length);
    }
    let target = &mut volume.target;
    target.format = Some(image.format.to_owned());
    target.encryption = image.encryption.map(Encryption::found);
    target.compat = image.compat.map(str::to_owned);
    target.cluster_size = image.cluster_size;
    target.features = image.features;
    volume.backing = image.backing.map(|backing| backing_store(&backing, folder));
}

/// The volume below: its path, and what it is.
fn backing_store(backing: &Backing, folder: &str) -> VolumeTarget {
    let path = resolve(&backing.name, folder);
    let mut target = VolumeTarget { path: Some(path.clone()), ..VolumeTarget::default() };
    let mut found = None;
    if path.starts_with('/')
        && let Ok(metadata) = fs::metadata(&path)
    {
        target.permissions = Some(permissions(&metadata));
        target.timestamps = Some(timestamps(&metadata));
        if backing.format.is_none()
            && metadata.is_file()
            && let Ok(file) = open(Path::new(&path))
        {
            found = Some(probe::probe(&file, metadata.len()).format.to_owned());
        }
    }
    let known = |format: &String| FILE_FORMATS.contains(&format.as_str());
    let format = backing.format.clone().filter(known).or(found);
    target.format = Some(format.unwrap_or_else(|| "raw".to_owned()));
    target
}

/// The path a backing file's name means, seen from the folder of the overlay.
fn resolve(name: &str, folder: &str) -> String {
    if let Some(json) = name.strip_prefix("json:") {
        let value: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
        let file = value.pointer("/file/filename").or_else(|| value.pointer("/filename"));
        let file = file.or_else(|| value.get("file.filename")).and_then(|file| file.as_str());
        return match file {
            Some(file) => resolve_plain(file, folder),
            None => name.to_owned(),
        };
    }
    resolve_plain(name, folder)
}

fn resolve_plain(name: &str, folder: &str) -> String {
    let name = name.strip_prefix("file:").unwrap_or(name);
    let protocol = name.split_once(':').is_some_and(|(scheme, _)| !scheme.contains('/'));
    if name.starts_with('/') || protocol {
        return name.to_owned();
    }
    format!("{folder}/{name}")
}

/// The path of a volume to be made. Names that would leave the folder are refused.
pub fn path_of(folder: &str, name: &str) -> Result<String, VirError> {
    if name.contains('/') {
        let detail = format!("volume name '{name}' cannot contain '/'");
        return Err(storage(ErrorCode::OPERATION_INVALID, detail));
    }
    Ok(format!("{}/{name}", folder.trim_end_matches('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backing_files_are_resolved() {
        for (name, expected) in [
            ("a.img", "/f/a.img"),
            ("/x/a.img", "/x/a.img"),
            ("nbd://h/x", "nbd://h/x"),
            ("file:/x", "/x"),
            ("sub/a:b", "/f/sub/a:b"),
            (r#"json:{"driver":"raw","file":{"driver":"file","filename":"/y"}}"#, "/y"),
            (r#"json:{"file.filename":"/z"}"#, "/z"),
            ("json:{", "json:{"),
        ] {
            assert_eq!(resolve(name, "/f"), expected, "{name}");
        }
    }

    #[test]
    fn a_folder_is_read() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().to_str().expect("path");
        fs::write(folder.path().join("a.img"), b"hello").expect("file");
        fs::create_dir(folder.path().join("sub")).expect("folder");
        std::os::unix::fs::symlink("nowhere", folder.path().join("broken")).expect("link");
        let xml =
            format!("<pool type='dir'><name>p</name><target><path>{path}</path></target></pool>");
        let definition = Definition::parse(&xml).into_result().expect("pool");
        let found = scan(&definition).expect("scan");
        let names: Vec<_> = found.volumes.keys().map(|name| name.to_string()).collect();
        assert_eq!(names, ["a.img", "sub"]);
        assert_eq!(found.volumes["a.img"].capacity, 5);
        assert_eq!(found.volumes["sub"].kind, VolumeType::Dir);
        assert!(found.space.capacity >= found.space.available);
    }
}
