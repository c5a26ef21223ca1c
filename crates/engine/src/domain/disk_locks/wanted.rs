//! Which locks a guest needs to run: those it names (`<lease>`), and one for each disk it writes to.

use crate::settings::LockSettings;
use diag::{ErrorCode, ErrorDomain, VirError};
use host::lock_daemon::Lock;
use model::domain::Domain as Definition;
use model::domain::devices::disk::{Disk, DiskSource, StorageType};
use model::domain::devices::lease::Lease;
use std::process::{Command, Stdio};

/// What a disk stands for, as far as locks go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// Its path on this host.
    pub path: String,
    /// Other guests may write to it too.
    pub shared: bool,
}

/// The locks of a definition. `volume` tells the source of a disk that is a pool's volume; `identity` the name that a
/// block device goes by on all hosts, and the folder of its locks.
///
/// # Errors
/// A lease that this lock manager cannot have, and none where the settings require one.
pub(super) fn locks(
    definition: &Definition,
    settings: &LockSettings,
    volume: impl Fn(&Disk) -> Option<(StorageType, DiskSource)>,
    identity: impl Fn(&str) -> Option<(String, String)>,
) -> Result<Vec<Lock>, VirError> {
    let Some(devices) = &definition.devices else { return Ok(Vec::new()) };
    let mut locks = Vec::new();
    for each in &devices.leases {
        locks.push(lease(each)?);
    }
    let mut unguarded = false;
    let of_disk = |disk| image(disk, &volume).into_iter().chain(mirror(disk));
    for image in devices.disks.iter().flat_map(of_disk) {
        if settings.every_disk {
            locks.push(guard(image, settings, &identity));
        } else {
            unguarded |= !image.shared;
        }
    }
    if settings.required && unguarded && locks.is_empty() {
        let detail = "Read/write, exclusive access, disks were present, but no leases specified";
        return Err(VirError::new(ErrorCode::CONFIG_UNSUPPORTED, detail)
            .from_domain(ErrorDomain::LOCKING)
            .hint("qemu-lockd.conf says require_lease_for_disks, or auto_disk_leases = 0"));
    }
    // The same image twice would stand in its own way; QEMU has its own word on that.
    let mut seen = std::collections::BTreeSet::new();
    locks.retain(|lock| seen.insert((lock.space.clone(), lock.name.clone())));
    Ok(locks)
}

fn lease(lease: &Lease) -> Result<Lock, VirError> {
    let refused = |detail: &str| VirError::internal(detail).from_domain(ErrorDomain::LOCKING);
    if lease.target.offset.unwrap_or(0) != 0 {
        return Err(refused("Offset must be zero for this lock manager"));
    }
    let missing = || refused("Missing path or lockspace for lease resource");
    let space = lease.lockspace.as_deref().ok_or_else(missing)?;
    let space = format!("{}/{space}", lease.target.path);
    Ok(Lock { space, name: lease.key.clone(), shared: false, create: false })
}

/// What a disk that the guest writes to stands for: only files and devices of this host are locked.
fn image(
    disk: &Disk,
    volume: impl Fn(&Disk) -> Option<(StorageType, DiskSource)>,
) -> Option<Image> {
    if disk.readonly {
        return None;
    }
    let (kind, source) = match disk.kind {
        StorageType::Volume => volume(disk)?,
        kind => (kind, disk.source.clone()?),
    };
    let path = match kind {
        StorageType::File => source.file?,
        StorageType::Block => source.dev?,
        _ => return None,
    };
    Some(Image { path, shared: disk.shareable })
}

/// The other image of a job, which the guest writes to as well.
fn mirror(disk: &Disk) -> Option<Image> {
    let mirror = disk.mirror.as_ref()?;
    let source = mirror.source.as_ref()?;
    let path = match mirror.kind? {
        StorageType::File => source.file.clone()?,
        StorageType::Block => source.dev.clone()?,
        _ => return None,
    };
    Some(Image { path, shared: disk.shareable })
}

fn guard(
    image: Image,
    settings: &LockSettings,
    identity: impl Fn(&str) -> Option<(String, String)>,
) -> Lock {
    let Image { path, shared } = image;
    if path.starts_with("/dev/")
        && let Some((space, name)) = identity(&path)
    {
        return Lock { space, name, shared, create: true };
    }
    match &settings.files {
        Some(space) => {
            let name = units::sha256_hex(path.as_bytes());
            Lock { space: space.clone(), name, shared, create: true }
        }
        None => Lock { space: String::new(), name: path, shared, create: false },
    }
}

/// The name of a block device on all hosts, where the settings want it locked by that. May block.
pub(super) fn identity(settings: &LockSettings, path: &str) -> Option<(String, String)> {
    let lvm = ["--noheadings", "--unbuffered", "--nosuffix", "--options", "uuid", path];
    let scsi = ["--replace-whitespace", "--whitelisted", "--device", path];
    [
        (&settings.lvm, "lvs", "/usr/sbin/lvs", &lvm[..]),
        (&settings.scsi, "scsi_id", "/lib/udev/scsi_id", &scsi[..]),
    ]
    .into_iter()
    .find_map(|(space, what, program, args)| {
        let space = space.clone()?;
        let mut command = Command::new(program);
        command.args(args).stdin(Stdio::null()).stderr(Stdio::null()).current_dir("/");
        let said = command.output();
        let said = said.inspect_err(|error| tracing::warn!(what, path, %error, "not asked"));
        let name = one_word(&String::from_utf8_lossy(&said.ok()?.stdout))?;
        Some((space, name))
    })
}

/// The name in what a program says; none that would lead out of a folder.
fn one_word(said: &str) -> Option<String> {
    let name = said.trim();
    let fine = !name.is_empty() && !name.contains(['/', '\n']) && !name.starts_with('.');
    fine.then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::domain::{ParseOptions, parse};

    const GUEST: &str = "<domain type='qemu'><name>g</name><memory>1</memory><os><type>hvm</type></os><devices>\
        <disk type='file'><source file='/a.img'/><target dev='vda'/></disk>\
        <disk type='block'><source dev='/dev/vg/v'/><target dev='vdb'/><shareable/></disk>\
        <disk type='file'><source file='/ro.img'/><target dev='vdc'/><readonly/></disk>\
        <disk type='file' device='cdrom'><source file='/cd.iso'/><target dev='sda'/><readonly/></disk>\
        <disk type='network'><source protocol='nbd' name='x'><host name='h'/></source><target dev='vdd'/></disk>\
        <disk type='file' device='floppy'><target dev='fda'/></disk>\
        <disk type='volume'><source pool='p' volume='v'/><target dev='vde'/></disk>";

    fn of(leases: &str, settings: &LockSettings) -> Result<Vec<String>, String> {
        let xml = format!("{GUEST}{leases}</devices></domain>");
        let definition = parse(&xml, ParseOptions::default()).domain.expect("a guest");
        let volume = |_: &Disk| {
            let source = DiskSource { file: Some("/pool/v".into()), ..DiskSource::default() };
            Some((StorageType::File, source))
        };
        let identity = |path: &str| Some((settings.lvm.clone()?, format!("id-of-{}", path.len())));
        let locks = locks(&definition, settings, volume, identity).map_err(|e| e.detail)?;
        let shown = |lock: Lock| {
            let flags = u32::from(lock.shared) + 2 * u32::from(lock.create);
            format!("{}:{}:{flags}", lock.space, lock.name)
        };
        Ok(locks.into_iter().map(shown).collect())
    }

    #[test]
    fn what_a_guest_writes_to_is_locked() {
        let expected = [":/a.img:0", ":/dev/vg/v:1", ":/pool/v:0"];
        assert_eq!(of("", &LockSettings::default()).expect("locks"), expected);
        let named = LockSettings {
            files: Some("/l".into()),
            lvm: Some("/lvm".into()),
            ..LockSettings::default()
        };
        let digest = units::sha256_hex(b"/a.img");
        let pool = units::sha256_hex(b"/pool/v");
        let expected = [format!("/l:{digest}:2"), "/lvm:id-of-9:3".into(), format!("/l:{pool}:2")];
        assert_eq!(of("", &named).expect("locks"), expected);
    }

    #[test]
    fn leases_come_first_and_may_be_all_there_is() {
        let lease = "<lease><lockspace>s</lockspace><key>k</key><target path='/t'/></lease>";
        let all = of(lease, &LockSettings::default()).expect("locks");
        assert_eq!(all.first().map(String::as_str), Some("/t/s:k:0"));
        let only = LockSettings { every_disk: false, required: true, ..LockSettings::default() };
        assert_eq!(of(lease, &only).expect("locks"), ["/t/s:k:0"]);
        assert_eq!(
            of("", &only).expect_err("none"),
            "Read/write, exclusive access, disks were present, but no leases specified"
        );
        let lax = LockSettings { required: false, ..only.clone() };
        assert_eq!(of("", &lax).expect("none"), [""; 0]);
        let far = lease.replace("path='/t'", "path='/t' offset='512'");
        assert_eq!(
            of(&far, &only).expect_err("refused"),
            "Offset must be zero for this lock manager"
        );
        let bare = "<lease><key>k</key><target path='/t'/></lease>";
        assert_eq!(
            of(bare, &only).expect_err("refused"),
            "Missing path or lockspace for lease resource"
        );
    }

    #[test]
    fn a_devices_name_stays_in_its_folder() {
        for (said, expected) in [
            ("  Q2w-uuid\n", Some("Q2w-uuid")),
            ("", None),
            ("../etc", None),
            ("..", None),
            ("a\nb", None),
        ] {
            assert_eq!(one_word(said).as_deref(), expected, "{said:?}");
        }
    }
}
