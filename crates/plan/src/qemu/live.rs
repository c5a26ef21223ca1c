//! What a start adds to the live definition by itself, whatever QEMU answers.

use super::settings::Settings;
use diag::VirError;
use model::capabilities::cpu::{FeatureSet, Register, X86Map};
use model::domain::Domain;
use model::domain::cpu::{Cpu, CpuCheck, CpuFallback, CpuFeature, CpuFeaturePolicy, CpuMode};
use model::domain::devices::Devices;
use model::domain::devices::chardev::{ChannelState, CharTargetType};
use model::domain::devices::disk::{
    BackingStore, Disk, DiskSource, ReservationSource, StorageType,
};
use model::domain::devices::hostdev::{HostdevDriverName, HostdevType};
use model::domain::devices::memballoon::BalloonModel;
use model::domain::tune::Resource;
use serde_json::Value;
use xml::YesNo;

/// Completes `live`, which was planned from `written`.
pub(super) fn complete(live: &mut Domain, written: &Domain, set: &Settings, private_dir: &str) {
    if set.privileged {
        let resource = live.resource.get_or_insert_with(Resource::default);
        resource.partition.get_or_insert_with(|| "/machine".into());
    }
    // Numbers that only the plan gave are no part of the definition.
    live.io_thread_ids.clone_from(&written.io_thread_ids);
    if let Some(cpu) = live.cpu.as_mut().filter(|cpu| cpu.mode == Some(CpuMode::Custom))
        && let Some(model) = cpu.model.as_mut()
    {
        // The running guest has just this model.
        model.fallback = Some(CpuFallback::Forbid);
    }
    let total = live.memory.as_ref().map(|memory| memory.size);
    let Some(devices) = live.devices.as_mut() else {
        return;
    };
    for channel in &mut devices.channels {
        if let Some(target) = channel.target.as_mut()
            && target.kind == Some(CharTargetType::Virtio)
        {
            target.state = Some(ChannelState::Disconnected);
        }
    }
    complete_devices(devices, set, private_dir);
    // A guest has all its memory until its balloon driver gives some back.
    let balloon = devices.memballoons.iter().any(|balloon| balloon.model != BalloonModel::None);
    if let Some(total) = total.filter(|_| balloon) {
        live.current_memory = Some(total);
    }
}

/// Whether the connections to a disk's images are encrypted, where the definition leaves that to the
/// daemon's configuration.
fn decide_tls(disk: &mut Disk, enabled: bool) {
    let decide = |source: &mut DiskSource| {
        if source.protocol.as_deref() == Some("nbd") && source.tls.is_none() {
            source.tls = Some(if enabled { YesNo::Yes } else { YesNo::No });
            source.tls_from_config = Some(1);
        }
    };
    disk.source.iter_mut().for_each(decide);
    let mut next = disk.backing_store.as_deref_mut();
    while let Some(layer) = next {
        layer.source.iter_mut().for_each(decide);
        next = layer.backing_store.as_deref_mut();
    }
}

/// The part of [`complete`] that is about single devices.
pub(super) fn complete_devices(devices: &mut Devices, set: &Settings, private_dir: &str) {
    for disk in &mut devices.disks {
        if disk.source.is_none()
            && let Some(driver) = disk.driver.as_mut()
        {
            // Without a medium there is no format.
            driver.kind = None;
        }
        let cache = crate::block::cache_mode(disk);
        if cache.is_some() {
            disk.driver.get_or_insert_default().cache = cache;
        }
        let raw = disk.driver.as_ref().and_then(|driver| driver.kind.as_deref()) == Some("raw");
        let served = matches!(disk.kind, StorageType::Network | StorageType::Vhostuser);
        if raw && disk.source.is_some() && !served {
            // A raw image that can be looked at ends its chain.
            disk.backing_store.get_or_insert_with(|| Box::new(BackingStore::default()));
        }
        decide_tls(disk, set.nbd_tls.enabled);
        let source = disk.source.as_mut();
        let reservations = source.and_then(|source| source.reservations.as_mut());
        if let Some(ours) = reservations.filter(|ours| ours.managed == YesNo::Yes) {
            ours.source = Some(ReservationSource {
                kind: "unix".into(),
                path: Some(format!("{private_dir}/pr-helper0.sock")),
                mode: Some("client".into()),
            });
        }
    }
    for shmem in &mut devices.shmems {
        if let Some(server) = shmem.server.as_mut() {
            let path = || super::shmem::server_path(&shmem.name);
            server.path.get_or_insert_with(path);
        }
    }
    for hostdev in &mut devices.hostdevs {
        if hostdev.kind == Some(HostdevType::Pci) {
            // What libvirt calls the way in which the kernel hands it over.
            hostdev
                .driver
                .get_or_insert_with(Default::default)
                .name
                .get_or_insert(HostdevDriverName::Vfio);
        }
    }
}

/// The CPU's features in QEMU's answer to `feature-words` or `filtered-features`.
fn features_of(reply: &Value) -> FeatureSet {
    let mut set = FeatureSet::default();
    let words = reply.as_array().map_or(&[][..], Vec::as_slice);
    let number = |word: &Value, key: &str| {
        word.get(key).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok())
    };
    for (index, feature) in X86Map::get().features.iter().enumerate() {
        let Register::Cpuid(leaf, subleaf, register) = feature.register else { continue };
        let register = match register {
            0 => "EAX",
            1 => "EBX",
            2 => "ECX",
            _ => "EDX",
        };
        let word = words.iter().find(|word| {
            number(word, "cpuid-input-eax") == Some(leaf)
                && number(word, "cpuid-input-ecx").unwrap_or(0) == subleaf
                && word.get("cpuid-register").and_then(Value::as_str) == Some(register)
        });
        let bits = word.and_then(|word| number(word, "features")).unwrap_or(0);
        if feature.mask != 0 && bits & feature.mask == feature.mask {
            set.insert(index);
        }
    }
    set
}

/// Refuses a guest whose CPU shall be just as described (`check='full'`) and is not.
///
/// # Errors
/// libvirt's, with the differences by name.
pub(super) fn check_cpu(cpu: &Cpu, enabled: &Value, filtered: &Value) -> Result<(), VirError> {
    let (enabled, filtered) = (features_of(enabled), features_of(filtered));
    model::cpu::x86::check_live(cpu, &enabled, &filtered)
        .map_err(|error| VirError::new(error.code(), error.to_string()))
}

/// Makes a CPU say what the guest really got: what its model does not have is required, what the
/// model has and the guest lacks is disabled. Features that CPUID does not show (those of
/// model-specific registers) stay as they are.
pub(super) fn update_cpu(cpu: &mut Cpu, enabled: &Value, filtered: &Value) {
    let map = X86Map::get();
    let name = cpu.model.as_ref().and_then(|model| model.name.as_deref());
    let Some(model) = name.and_then(|name| map.model(name)) else { return };
    let (enabled, filtered) = (features_of(enabled), features_of(filtered));
    let mut expected = model.features;
    for feature in &cpu.features {
        let Some(index) = map.feature_index(&feature.name) else { continue };
        match feature.policy {
            Some(CpuFeaturePolicy::Disable | CpuFeaturePolicy::Forbid) => expected.remove(index),
            _ => {
                expected.insert(index);
            }
        }
    }
    for (index, feature) in map.features.iter().enumerate() {
        if !matches!(feature.register, Register::Cpuid(..)) {
            continue;
        }
        let (wanted, got) = (expected.contains(index), enabled.contains(index));
        let policy = match (wanted, got) {
            (false, true) => CpuFeaturePolicy::Require,
            (true, false) => CpuFeaturePolicy::Disable,
            _ if filtered.contains(index) => CpuFeaturePolicy::Disable,
            _ => continue,
        };
        let known = cpu.features.iter_mut().find(|known| known.name == feature.name);
        match known {
            Some(known) => known.policy = Some(policy),
            None => cpu
                .features
                .push(CpuFeature { policy: Some(policy), name: feature.name.to_owned() }),
        }
    }
    cpu.check = Some(CpuCheck::Full);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Ids;
    use model::domain::devices::disk::{CacheMode, DiskDriver};
    use model::domain::{FormatFlags, ParseOptions, format, parse};

    fn completed(disk: &str) -> Disk {
        let text = format!(
            "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os>\
             <devices>{disk}</devices></domain>"
        );
        let domain = parse(&text, ParseOptions::default()).domain.expect("a domain");
        let mut devices = domain.devices.expect("devices");
        let set = Settings::system("", Ids { uid: 1, gid: 1 });
        complete_devices(&mut devices, &set, "/run");
        devices.disks.remove(0)
    }

    fn shared(cache: &str, after: &str) -> Option<CacheMode> {
        let disk = completed(&format!(
            "<disk type='file'><driver name='qemu' type='raw' {cache}/><source file='/x'/>\
             <target dev='vda'/><shareable/>{after}</disk>"
        ));
        disk.driver.as_ref().and_then(|driver: &DiskDriver| driver.cache)
    }

    #[test]
    fn what_guests_share_is_not_cached() {
        assert_eq!(shared("", ""), Some(CacheMode::None));
        assert_eq!(shared("cache='writeback'", ""), Some(CacheMode::Writeback));
        assert_eq!(shared("", "<readonly/>"), None);
    }

    #[test]
    fn connections_show_whether_they_are_encrypted() {
        let disk = |attributes: &str| {
            completed(&format!(
                "<disk type='network'><driver name='qemu' type='raw'/><source protocol='nbd' \
                 name='x' {attributes}><host name='h'/></source><backingStore type='network'>\
                 <format type='raw'/><source protocol='nbd' name='y'><host name='h'/></source>\
                 </backingStore><target dev='vda'/></disk>"
            ))
        };
        let open = disk("");
        let source = open.source.as_ref().expect("a source");
        assert_eq!((source.tls, source.tls_from_config), (Some(YesNo::No), Some(1)));
        let below = open.backing_store.as_ref().and_then(|layer| layer.source.as_ref());
        assert_eq!(below.expect("below").tls, Some(YesNo::No));
        let said = disk("tls='yes'").source.expect("a source");
        assert_eq!((said.tls, said.tls_from_config), (Some(YesNo::Yes), None));
    }

    #[test]
    fn the_end_of_a_chain_is_shown_where_the_image_can_be_looked_at() {
        let raw = |kind: &str, source: &str| {
            let disk = completed(&format!(
                "<disk type='{kind}'><driver name='qemu' type='raw'/>{source}\
                 <target dev='vda'/></disk>"
            ));
            disk.backing_store.is_some()
        };
        assert!(raw("file", "<source file='/x'/>"));
        assert!(raw("block", "<source dev='/x'/>"));
        assert!(!raw("network", "<source protocol='nbd' name='x'><host name='h'/></source>"));
    }

    #[test]
    fn only_status_files_tell_who_decided() {
        let text = "<domain type='qemu' id='1'><name>a</name><memory>1</memory><os><type>hvm</type>\
             </os><devices><disk type='network'><driver name='qemu' type='raw'/><source \
             protocol='nbd' name='x' tls='no' tlsFromConfig='1'><host name='h'/></source>\
             <target dev='vda' bus='virtio'/></disk></devices></domain>";
        let domain = parse(text, ParseOptions { live: true }).domain.expect("a domain");
        let shown = |live| format(&domain, FormatFlags { live, secure: false, migratable: false });
        assert!(shown(true).contains(" tls='no'>"), "{}", shown(true));
        assert!(!shown(false).contains("tls"), "{}", shown(false));
    }
}
