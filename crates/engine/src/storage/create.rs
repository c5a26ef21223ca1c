//! Volumes: made, removed, resized, wiped.

use super::Pools;
use super::dir;
use super::error::{accepted, storage, system};
use super::query::unsupported_flags;
use super::record::Pool;
use super::volume::Place;
use diag::{ErrorCode, VirError};
use model::storage::{Parsing, Permissions, Size, Volume, VolumeType};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// How a volume is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VolumeFlags {
    /// Metadata of the image is allocated (`VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA`).
    pub preallocate_metadata: bool,
    /// Unknown content is an error.
    pub validate: bool,
}

/// Bits of `virStorageVolResizeFlags`.
const ALLOCATE: u32 = 1;
const DELTA: u32 = 2;
const SHRINK: u32 = 4;

/// Names of `virStorageVolWipeAlgorithm`.
const WIPE_ALGORITHMS: &[&str] = &[
    "zero",
    "nnsa",
    "dod",
    "bsi",
    "gutmann",
    "schneier",
    "pfitzner7",
    "pfitzner33",
    "random",
    "trim",
];

impl Pools {
    /// Makes a volume; with `source` as a copy of that one.
    ///
    /// # Errors
    /// When the pool is not active, the text is at fault, the name is taken, or the file cannot be
    /// made. Nothing is left of it then.
    pub async fn create_volume(
        &self,
        pool: &Arc<Pool>,
        xml: String,
        flags: VolumeFlags,
        source: Option<Place>,
    ) -> Result<Place, VirError> {
        let volumes = self.volumes(pool).await?;
        let definition = Arc::clone(&pool.snapshot().definition);
        let parsing = Parsing { capacity_optional: source.is_some() };
        let parsed = Volume::parse(&xml, definition.kind, parsing);
        let mut wanted = accepted(parsed, &xml, flags.validate)?;
        let folder = definition.target_path().unwrap_or_default().to_owned();
        let path = dir::path_of(&folder, &wanted.name)?;
        if volumes.contains_key(wanted.name.as_str()) {
            return Err(storage(ErrorCode::STORAGE_VOL_EXIST, format!("'{}'", wanted.name)));
        }
        wanted.target.path = Some(path.clone());
        let gate = Arc::clone(&pool.gate).lock_owned().await;
        let holder = Arc::clone(pool);
        let done = crate::blocking(move || {
            if !holder.snapshot().active {
                return Err(super::error::not_active(&holder.name));
            }
            if fs::symlink_metadata(&path).is_ok() {
                let detail = format!("volume target path '{path}' already exists");
                return Err(storage(ErrorCode::OPERATION_INVALID, detail));
            }
            make(&mut wanted, &path, flags, source.as_ref())?;
            let looked = dir::volume(&folder, &wanted.name);
            let seen = looked.map_err(|e| system(format!("cannot open volume '{path}'"), &e))?;
            let volume = Arc::new(seen.unwrap_or(wanted));
            holder.publish_volume(&volume);
            measure(&holder);
            Ok(Place { pool: Arc::clone(&holder), volume })
        })
        .await;
        drop(gate);
        done
    }

    /// Removes a volume. One whose file is gone already is forgotten.
    ///
    /// # Errors
    /// When it is not there, or its file cannot be removed.
    pub async fn delete_volume(
        &self,
        pool: &Arc<Pool>,
        name: &str,
        flags: u32,
    ) -> Result<(), VirError> {
        let volume = self.volume(pool, name).await?;
        if flags != 0 {
            return Err(unsupported_flags(flags, "virStorageBackendVolDeleteLocal"));
        }
        let gate = Arc::clone(&pool.gate).lock_owned().await;
        let pool = Arc::clone(pool);
        let done = crate::blocking(move || {
            let path = volume.target.path.as_deref().unwrap_or_default();
            let (removed, what) = match volume.kind {
                VolumeType::Dir => (fs::remove_dir(path), "failed to remove directory"),
                _ => (fs::remove_file(path), "cannot unlink file"),
            };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(system(format!("{what} '{path}'"), &error));
                }
                _ => {}
            }
            pool.forget_volume(&volume.name);
            measure(&pool);
            Ok(())
        })
        .await;
        drop(gate);
        done
    }

    /// Changes a volume's capacity (`virStorageVolResize`).
    ///
    /// # Errors
    /// When it is not there, the flags do not admit it, or it cannot be done.
    pub async fn resize_volume(
        &self,
        pool: &Arc<Pool>,
        name: &str,
        capacity: u64,
        flags: u32,
    ) -> Result<(), VirError> {
        let unknown = flags & !(ALLOCATE | DELTA | SHRINK);
        if unknown != 0 {
            return Err(unsupported_flags(unknown, "storageVolResize"));
        }
        let volume = self.measured(pool, name).await?;
        let invalid = |detail: &str| Err(storage(ErrorCode::INVALID_ARG, detail));
        let wanted = match (flags & DELTA != 0, flags & SHRINK != 0) {
            (true, true) => volume.capacity.saturating_sub(capacity),
            (true, false) => volume.capacity.saturating_add(capacity),
            (false, _) => capacity,
        };
        if wanted < volume.capacity && flags & SHRINK == 0 {
            return invalid(
                "Can't shrink capacity below current capacity unless shrink flag explicitly \
                 specified",
            );
        }
        let available = pool.snapshot().definition.available.0;
        if flags & ALLOCATE != 0 && wanted.saturating_sub(volume.allocation) > available {
            let detail = "Not enough space left in storage pool";
            return Err(storage(ErrorCode::OPERATION_FAILED, detail));
        }
        let gate = Arc::clone(&pool.gate).lock_owned().await;
        let holder = Arc::clone(pool);
        let name = name.to_owned();
        let done = crate::blocking(move || {
            resize(&volume, wanted, flags)?;
            let folder = holder.snapshot().definition.target_path().unwrap_or_default().to_owned();
            if let Ok(Some(seen)) = dir::volume(&folder, &name) {
                holder.publish_volume(&Arc::new(seen));
            }
            measure(&holder);
            Ok(())
        })
        .await;
        drop(gate);
        done
    }

    /// Overwrites a volume's content (`virStorageVolWipePattern`).
    ///
    /// # Errors
    /// When it is not there, the algorithm is unknown or not carried out, or writing fails.
    pub async fn wipe_volume(
        &self,
        pool: &Arc<Pool>,
        name: &str,
        algorithm: u32,
    ) -> Result<(), VirError> {
        let word = usize::try_from(algorithm).ok().and_then(|i| WIPE_ALGORITHMS.get(i));
        let Some(word) = word else {
            let detail = format!("wiping algorithm {algorithm} not supported");
            return Err(storage(ErrorCode::INVALID_ARG, detail));
        };
        let volume = self.volume(pool, name).await?;
        if algorithm != 0 {
            let detail = format!("'{word}' algorithm not supported");
            return Err(storage(ErrorCode::ARGUMENT_UNSUPPORTED, detail));
        }
        let gate = Arc::clone(&pool.gate).lock_owned().await;
        let done = crate::blocking(move || wipe(&volume)).await;
        drop(gate);
        done
    }
}

/// Reads how much space there is now.
fn measure(pool: &Pool) {
    let snapshot = pool.snapshot();
    let Some(path) = snapshot.definition.target_path() else { return };
    let Ok(space) = dir::space(path) else { return };
    let mut definition = (*snapshot.definition).clone();
    definition.capacity = Size(space.capacity);
    definition.allocation = Size(space.allocation);
    definition.available = Size(space.available);
    pool.publish(|snapshot| snapshot.definition = Arc::new(definition));
}

/// Makes the file; removes it again when something fails.
fn make(
    wanted: &mut Volume,
    path: &str,
    flags: VolumeFlags,
    source: Option<&Place>,
) -> Result<(), VirError> {
    let unsupported = |detail: String| Err(storage(ErrorCode::CONFIG_UNSUPPORTED, detail));
    if wanted.target.encryption.is_some() {
        return unsupported("encrypted volumes are not supported: there are no secrets".to_owned());
    }
    if wanted.target.nocow {
        return unsupported(format!("unable to control COW flag on '{path}'"));
    }
    wanted.capacity = wanted.capacity.max(wanted.allocation.min(u64::MAX >> 1));
    if let Some(source) = source {
        wanted.capacity = wanted.capacity.max(source.volume.capacity);
    }
    let format = wanted.target.format.clone().unwrap_or_else(|| "raw".to_owned());
    let plain = matches!(format.as_str(), "raw" | "none" | "iso");
    if plain && flags.preallocate_metadata {
        return unsupported("metadata preallocation is not supported for raw volumes".to_owned());
    }
    let permissions = wanted.target.permissions.clone().unwrap_or_default();
    let made = if format == "dir" {
        fs::DirBuilder::new()
            .mode(permissions.mode.unwrap_or(0o600))
            .create(path)
            .map_err(|error| system(format!("failed to create directory '{path}'"), &error))
    } else if let Some(source) = source {
        copy(wanted, path, &format, &source.volume)
    } else if plain {
        if wanted.backing.is_some() {
            return unsupported("backing storage not supported for raw volumes".to_owned());
        }
        raw_file(wanted, path)
    } else {
        image(wanted, path, &format, flags)
    };
    let done = made.and_then(|()| permit(path, &permissions));
    if done.is_err() {
        let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
    }
    done
}

fn permit(path: &str, permissions: &Permissions) -> Result<(), VirError> {
    if permissions.owner.is_some() || permissions.group.is_some() {
        chown(path, permissions.owner, permissions.group)
            .map_err(|error| system(format!("cannot chown '{path}'"), &error))?;
    }
    let mode = permissions.mode.unwrap_or(0o600);
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|error| system(format!("cannot set mode of '{path}' to {mode:04o}"), &error))
}

fn raw_file(wanted: &Volume, path: &str) -> Result<(), VirError> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| system(format!("Failed to create file '{path}'"), &error))?;
    file.set_len(wanted.capacity)
        .map_err(|error| system(format!("cannot extend file '{path}'"), &error))?;
    allocate(&file, path, wanted.allocation)
}

/// Takes the space for the first `bytes` of a file now.
fn allocate(file: &File, path: &str, bytes: u64) -> Result<(), VirError> {
    if bytes == 0 {
        return Ok(());
    }
    rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, bytes).map_err(|errno| {
        let what = format!("cannot allocate {bytes} bytes in file '{path}'");
        system(what, &io::Error::from(errno))
    })
}

/// Options of `qemu-img create` and `convert`.
fn image_options(wanted: &Volume, format: &str, flags: VolumeFlags) -> Vec<String> {
    let target = &wanted.target;
    let mut options = Vec::new();
    if flags.preallocate_metadata {
        // As libvirt does it: whoever wants all of the space gets it at once.
        let whole = wanted.allocation >= wanted.capacity;
        options.push(format!("preallocation={}", if whole { "falloc" } else { "metadata" }));
    }
    if format == "qcow2" {
        if let Some(compat) = &target.compat {
            options.push(format!("compat={compat}"));
        }
        if let Some(size) = target.cluster_size {
            options.push(format!("cluster_size={size}"));
        }
        for feature in target.features.iter().flatten() {
            if matches!(*feature, "lazy_refcounts" | "extended_l2") {
                options.push(format!("{feature}=on"));
            }
        }
    }
    options
}

fn image(wanted: &Volume, path: &str, format: &str, flags: VolumeFlags) -> Result<(), VirError> {
    let mut options = image_options(wanted, format, flags);
    if let Some(backing) = &wanted.backing {
        let below = backing.path.as_deref().unwrap_or_default();
        fs::metadata(below)
            .map_err(|e| system(format!("inaccessible backing store volume {below}"), &e))?;
        // A comma in a name is doubled, as QEMU's options want it.
        options.push(format!("backing_file={}", below.replace(',', ",,")));
        options.push(format!("backing_fmt={}", backing.format.as_deref().unwrap_or("raw")));
    }
    let mut arguments = vec!["create".to_owned(), "-f".to_owned(), format.to_owned()];
    if !options.is_empty() {
        arguments.extend(["-o".to_owned(), options.join(",")]);
    }
    arguments.push(path.to_owned());
    if wanted.capacity > 0 || wanted.backing.is_none() {
        arguments.push(format!("{}K", wanted.capacity.div_ceil(1024)));
    }
    qemu_img(&arguments)
}

fn copy(wanted: &Volume, path: &str, format: &str, source: &Volume) -> Result<(), VirError> {
    let from = source.target.path.as_deref().unwrap_or_default();
    let from_format = source.target.format.as_deref().unwrap_or("raw");
    if source.kind == VolumeType::Dir {
        let detail = format!("cannot copy from directory volume '{from}'");
        return Err(storage(ErrorCode::OPERATION_INVALID, detail));
    }
    let raw = |format: &str| match format {
        "none" | "iso" => "raw".to_owned(),
        other => other.to_owned(),
    };
    let format = raw(format);
    let mut arguments = ["convert", "-f"].map(str::to_owned).to_vec();
    arguments.extend([raw(from_format), "-O".to_owned(), format.clone()]);
    let options = image_options(wanted, &format, VolumeFlags::default());
    if !options.is_empty() {
        arguments.extend(["-o".to_owned(), options.join(",")]);
    }
    arguments.extend([from.to_owned(), path.to_owned()]);
    qemu_img(&arguments)?;
    if wanted.capacity > source.capacity {
        let size = wanted.capacity.to_string();
        qemu_img(&["resize".to_owned(), "-f".to_owned(), format, path.to_owned(), size])?;
    }
    Ok(())
}

fn resize(volume: &Volume, capacity: u64, flags: u32) -> Result<(), VirError> {
    let path = volume.target.path.as_deref().unwrap_or_default();
    let format = volume.target.format.as_deref().unwrap_or("raw");
    if volume.kind != VolumeType::File {
        let detail = format!("volume '{}' is no file and cannot be resized", volume.name);
        return Err(storage(ErrorCode::OPERATION_INVALID, detail));
    }
    if matches!(format, "raw" | "iso" | "none") && volume.target.encryption.is_none() {
        let failed = |error: io::Error| system(format!("Failed to truncate file '{path}'"), &error);
        let file = OpenOptions::new().write(true).open(path).map_err(failed)?;
        file.set_len(capacity).map_err(failed)?;
        return match flags & ALLOCATE {
            0 => Ok(()),
            _ => allocate(&file, path, capacity),
        };
    }
    if flags & ALLOCATE != 0 {
        let detail = format!("preallocate is not supported for '{format}' volumes");
        return Err(storage(ErrorCode::OPERATION_UNSUPPORTED, detail));
    }
    let mut arguments = vec!["resize".to_owned(), "-f".to_owned(), format.to_owned()];
    if capacity < volume.capacity {
        arguments.push("--shrink".to_owned());
    }
    arguments.extend([path.to_owned(), capacity.to_string()]);
    qemu_img(&arguments)
}

fn wipe(volume: &Volume) -> Result<(), VirError> {
    use std::io::{Seek, Write};
    let path = volume.target.path.as_deref().unwrap_or_default();
    let failed = |error: io::Error| {
        system(format!("Failed to open storage volume with path '{path}'"), &error)
    };
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let writing = |error: io::Error| {
        system(format!("Failed to write to storage volume with path '{path}'"), &error)
    };
    if metadata.is_file() && metadata.blocks().saturating_mul(512) < metadata.len() {
        // A sparse file stays sparse: what was there is given back, not overwritten.
        file.set_len(0).map_err(writing)?;
        return file.set_len(metadata.len()).map_err(writing);
    }
    let length = file.seek(io::SeekFrom::End(0)).map_err(writing)?;
    file.seek(io::SeekFrom::Start(0)).map_err(writing)?;
    let zeros = vec![0; 1 << 20];
    let mut left = length;
    while left > 0 {
        let some = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
        file.write_all(zeros.get(..some).unwrap_or_default()).map_err(writing)?;
        left -= some as u64;
    }
    file.sync_data().map_err(writing)
}

/// Runs `qemu-img`.
fn qemu_img(arguments: &[String]) -> Result<(), VirError> {
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    let output = Command::new("qemu-img")
        .args(&arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| system("Cannot run 'qemu-img'", &error))?;
    if output.status.success() {
        return Ok(());
    }
    let line = arguments.iter().map(|a| Path::new(a).display().to_string()).collect::<Vec<_>>();
    let detail = format!(
        "Child process (qemu-img {}) unexpected {}: {}",
        line.join(" "),
        output.status.to_string().replace("exit status:", "exit status"),
        String::from_utf8_lossy(&output.stderr)
    );
    Err(storage(ErrorCode::INTERNAL_ERROR, detail))
}
