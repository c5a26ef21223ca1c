//! What a definition refers to outside itself, looked up before its start is planned.

use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use model::domain::Domain as Definition;
use model::domain::devices::Devices;
use model::domain::devices::chardev::{CharSource, CharType};
use model::domain::devices::disk::{Disk, DiskSource, StartupPolicy, StorageType};
use model::domain::devices::hostdev::Hostdev;
use model::domain::os::SmbiosMode;
use model::storage::{Volume, VolumeType};
use plan::qemu::{Found, FoundVolume, ScsiPlace};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

impl Engine {
    /// Looks up volumes of pools and generic nodes of SCSI devices. May wait for a pool's folder:
    /// call where blocking is allowed.
    ///
    /// # Errors
    /// libvirt's, of the last disk first: a pool that is not there or not active, a volume that is
    /// not there, unless the disk may be missing.
    pub(in crate::domain) fn look_up(&self, definition: &Definition) -> Result<Found, VirError> {
        let mut found = Found {
            virtiofsd_without_locks: true,
            nbdkit: self.nbdkit(definition),
            ..Found::default()
        };
        let smbios = definition.os.as_ref().and_then(|os| os.smbios.as_ref());
        if smbios.is_some_and(|smbios| smbios.mode == SmbiosMode::Host) {
            found.host_sysinfo = Some(self.sysinfo_for_guests()?);
        }
        let Some(devices) = &definition.devices else { return Ok(found) };
        for disk in devices.disks.iter().rev().filter(|disk| disk.kind == StorageType::Volume) {
            let Some(source) = &disk.source else { continue };
            let (Some(pool), Some(volume)) = (&source.pool, &source.volume) else { continue };
            match self.look_up_volume(disk, source, pool, volume) {
                Ok(there) => {
                    found.volumes.insert((pool.clone(), volume.clone()), there);
                }
                Err(_) if source.startup_policy == Some(StartupPolicy::Optional) => {}
                Err(error) => return Err(error),
            }
        }
        found.scsi_generic = scsi_nodes(definition);
        found.pipe_pairs = pipe_pairs(devices);
        Ok(found)
    }

    fn look_up_volume(
        &self,
        disk: &Disk,
        source: &DiskSource,
        pool: &str,
        volume: &str,
    ) -> Result<FoundVolume, VirError> {
        let found = self.pools.by_name(pool)?;
        if !found.snapshot().active {
            let detail =
                format!("storage pool '{pool}' containing volume '{volume}' is not active");
            return Err(VirError::new(ErrorCode::CONFIG_UNSUPPORTED, detail));
        }
        let volume: Arc<Volume> = self.runtime().block_on(self.pools.volume(&found, volume))?;
        if source.mode.is_some() {
            let detail = "disk source mode is only valid when storage pool is of iscsi type";
            return Err(VirError::new(ErrorCode::XML_ERROR, detail));
        }
        let path = volume.target.path.clone();
        let mut source = DiskSource::default();
        let kind = match volume.kind {
            VolumeType::File => {
                source.file = path;
                StorageType::File
            }
            VolumeType::Block => {
                source.dev = path;
                StorageType::Block
            }
            VolumeType::Dir if disk.readonly => {
                source.dir = path;
                StorageType::Dir
            }
            VolumeType::Dir => {
                let detail = "virtual FAT storage can't be accessed in read-write mode";
                return Err(VirError::new(ErrorCode::CONFIG_UNSUPPORTED, detail));
            }
            VolumeType::Network | VolumeType::Netdir | VolumeType::Ploop => {
                let detail =
                    format!("using '{}' volumes as storage source is not supported", volume.kind);
                return Err(VirError::new(ErrorCode::CONFIG_UNSUPPORTED, detail));
            }
        };
        Ok(FoundVolume { kind, source })
    }
}

/// Names of pipes behind the guest's character devices that are a pair, one for each direction.
fn pipe_pairs(devices: &Devices) -> BTreeSet<String> {
    let ports = [&devices.serials, &devices.parallels, &devices.consoles, &devices.channels];
    let sources = ports.into_iter().flatten().map(|port| &port.source);
    let sources = sources.chain(devices.redirdevs.iter().map(|redirdev| &redirdev.source));
    sources.filter_map(pipe).filter(|name| is_pair(name)).map(str::to_owned).collect()
}

fn pipe(source: &CharSource) -> Option<&str> {
    let first = source.sources.first().filter(|_| source.kind == CharType::Pipe)?;
    first.path.as_deref()
}

fn is_pair(name: &str) -> bool {
    ["in", "out"].iter().all(|end| Path::new(&format!("{name}.{end}")).exists())
}

/// The generic nodes of the host's SCSI devices that a definition names.
pub(in crate::domain) fn scsi_nodes(definition: &Definition) -> BTreeMap<ScsiPlace, String> {
    let hostdevs = definition.devices.iter().flat_map(|devices| &devices.hostdevs);
    let folder = Path::new("/sys/bus/scsi/devices");
    hostdevs.filter_map(|hostdev| scsi_generic(hostdev, folder)).collect()
}

/// The generic node of a SCSI device of the host, from the folder in which the kernel lists them.
fn scsi_generic(hostdev: &Hostdev, devices: &Path) -> Option<(ScsiPlace, String)> {
    let source = hostdev.source.as_ref()?;
    let (adapter, address) = (source.adapter.as_ref()?, source.address.as_ref()?);
    let bus = address.bus.as_deref().and_then(|bus| bus.parse().ok()).unwrap_or(0);
    let (target, unit) = (address.target.unwrap_or(0), address.unit.unwrap_or(0));
    let host: u32 = adapter.name.strip_prefix("scsi_host")?.parse().ok()?;
    let folder = devices.join(format!("{host}:{bus}:{target}:{unit}/scsi_generic"));
    let node = std::fs::read_dir(folder).ok()?.flatten().next()?.file_name().into_string().ok()?;
    Some(((adapter.name.clone(), bus, target, unit), format!("/dev/{node}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::domain::{ParseOptions, parse};

    #[test]
    fn scsi_devices_have_the_nodes_that_the_kernel_lists() {
        let xml = "<domain type='qemu'><name>a</name><memory>1</memory>\
                   <os><type>hvm</type></os><devices>\
                   <hostdev mode='subsystem' type='scsi'><source><adapter name='scsi_host2'/>\
                   <address bus='0' target='1' unit='3'/></source></hostdev></devices></domain>";
        let domain = parse(xml, ParseOptions::default()).domain.unwrap();
        let hostdev = &domain.devices.as_ref().unwrap().hostdevs[0];
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(scsi_generic(hostdev, folder.path()), None);
        std::fs::create_dir_all(folder.path().join("2:0:1:3/scsi_generic/sg7")).unwrap();
        let found = scsi_generic(hostdev, folder.path());
        assert_eq!(found, Some((("scsi_host2".into(), 0, 1, 3), "/dev/sg7".into())));
    }
}
