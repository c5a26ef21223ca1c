//! Disks that a guest starts without where their image is missing (`startupPolicy`).
//!
//! A drive with removable media stays, empty; another disk is left out. The stored definition keeps
//! both: the next start looks again.

use crate::domain::view::source_path;
use crate::engine::Engine;
use crate::events::DomainEvent;
use model::domain::Domain as Definition;
use model::domain::devices::disk::{Disk, StartupPolicy, StorageType};

/// `VIR_DOMAIN_EVENT_DISK_CHANGE_MISSING_ON_START`: the drive is empty.
const EMPTIED: i32 = 0;
/// `VIR_DOMAIN_EVENT_DISK_DROP_MISSING_ON_START`: the disk is left out.
const DROPPED: i32 = 1;

impl Engine {
    /// Takes what may be missing and is out of a definition whose devices have their names, and
    /// returns what subscribers are to be told. `takes_up`: the guest goes on elsewhere or later.
    pub(in crate::domain) fn forgo(
        &self,
        definition: &mut Definition,
        takes_up: bool,
    ) -> Vec<DomainEvent> {
        let mut told = Vec::new();
        let Some(devices) = definition.devices.as_mut() else { return told };
        devices.disks.retain_mut(|disk| {
            if !may_miss(disk, takes_up) || !self.is_missing(disk) {
                return true;
            }
            let removable = disk.device.is_removable();
            told.push(DomainEvent::DiskChange {
                alias: disk.alias.as_ref().map_or_else(String::new, |alias| alias.name.clone()),
                old: source_path(disk).map(str::to_owned),
                reason: if removable { EMPTIED } else { DROPPED },
            });
            if removable {
                disk.source = None;
                disk.backing_store = None;
                disk.kind = StorageType::File;
            }
            removable
        });
        told
    }

    /// The image, or one that it stands on, is not to be had.
    fn is_missing(&self, disk: &Disk) -> bool {
        if disk.source.as_ref().is_some_and(|source| source.fdgroup.is_some()) {
            // A client hands it in, or that it does not is said.
            return false;
        }
        let Some(path) = source_path(disk) else { return false };
        let opens = crate::storage::open_image(std::path::Path::new(path)).is_ok();
        !opens || self.look_into_image(disk).is_err()
    }
}

/// Whether a disk's image, one of this host, may be missing.
fn may_miss(disk: &Disk, takes_up: bool) -> bool {
    let local = matches!(disk.kind, StorageType::File | StorageType::Block);
    let policy = disk.source.as_ref().and_then(|source| source.startup_policy);
    local
        && match policy {
            Some(StartupPolicy::Optional) => true,
            Some(StartupPolicy::Requisite) => takes_up,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let disk = |device: &str, policy: &str| {
            let text = format!(
                "<domain type='qemu'><name>x</name><memory>1</memory><os><type>hvm</type></os>\
                 <devices><disk type='file' device='{device}'><source file='/a'{policy}/>\
                 <target dev='hda'/></disk></devices></domain>"
            );
            let options = model::domain::ParseOptions { live: false };
            let definition = model::domain::parse(&text, options).domain.expect("a definition");
            definition.devices.expect("devices").disks.remove(0)
        };
        for (policy, cold, taken_up) in [
            ("", false, false),
            (" startupPolicy='mandatory'", false, false),
            (" startupPolicy='requisite'", false, true),
            (" startupPolicy='optional'", true, true),
        ] {
            for device in ["cdrom", "disk"] {
                let disk = disk(device, policy);
                assert_eq!(may_miss(&disk, false), cold, "{device}{policy}");
                assert_eq!(may_miss(&disk, true), taken_up, "{device}{policy}");
            }
        }
    }
}
