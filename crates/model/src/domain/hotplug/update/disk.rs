//! Disks: the medium of a drive that has one, and what only the daemon looks at.

use super::{Change, Updated, place, unsupported};
use crate::domain::devices::Devices;
use crate::domain::devices::disk::{BlockIo, CacheMode, Disk, DiskSource, Geometry};
use crate::domain::hotplug::device::{Device, DeviceKind};
use crate::domain::hotplug::error;
use diag::{ErrorCode, VirError};

/// Works out what changes.
pub(super) fn running(devices: &Devices, wanted: &Disk) -> Result<Updated, VirError> {
    let target = &wanted.target.dev;
    let found = devices.disks.iter().position(|there| there.target.dev == *target);
    let Some((index, old)) = found.and_then(|i| Some((i, devices.disks.get(i)?))) else {
        return Err(error(ErrorCode::INTERNAL_ERROR, format!("disk '{target}' not found")));
    };
    if wanted.alias.is_some() && old.alias != wanted.alias {
        return Err(error(ErrorCode::OPERATION_DENIED, "changing device alias is not allowed"));
    }
    if let Some(limit) = changed_limit(old, wanted) {
        let text = format!("cannot modify field 'blkdeviotune {limit}' of the disk");
        return Err(unsupported(text));
    }
    if let Some(field) = changed_field(old, wanted) {
        return Err(unsupported(format!("cannot modify field '{field}' of the disk")));
    }
    let mut device = old.clone();
    let mut changes = Vec::new();
    if !same_source(old, wanted) {
        if !old.device.is_removable() {
            return Err(error(
                ErrorCode::CONFIG_UNSUPPORTED,
                "disk source can be changed only in removable drives",
            ));
        }
        device.kind = wanted.kind;
        device.source.clone_from(&wanted.source);
        device.backing_store.clone_from(&wanted.backing_store);
        device.encryption.clone_from(&wanted.encryption);
        device.auth.clone_from(&wanted.auth);
        let format = wanted.driver.as_ref().and_then(|driver| driver.kind.clone());
        let driver = device.driver.get_or_insert_with(Default::default);
        driver.kind = format.or(Some("raw".to_owned()));
        changes.push(Change::Medium);
    }
    let policy = wanted.source.as_ref().and_then(|source| source.startup_policy);
    if let Some(source) = &mut device.source {
        source.startup_policy = policy;
    }
    device.snapshot = wanted.snapshot;
    Ok(Updated {
        place: place(DeviceKind::Disk, index),
        device: Device::Disk(Box::new(device)),
        changes,
    })
}

/// Whether both are the same image: what a running guest's image has beyond its place is not asked
/// for. Where it stays in any case, neither is how it is read.
fn same_source(old: &Disk, wanted: &Disk) -> bool {
    let place = |disk: &Disk| {
        let mut source: DiskSource = disk.source.clone().unwrap_or_default();
        source.index = None;
        source.startup_policy = None;
        source.seclabels.clear();
        source.private_data = None;
        source.data_store = None;
        if source.tls_from_config.take() == Some(1) {
            source.tls = None;
        }
        source.reservations = None;
        if !old.device.is_removable() {
            source.slices = None;
            source.encryption = None;
        }
        source
    };
    let empty = |disk: &Disk| place(disk) == DiskSource::default();
    let format = |disk: &Disk| disk.driver.as_ref().and_then(|driver| driver.kind.clone());
    match (empty(old), empty(wanted)) {
        (true, true) => true,
        (false, false) => {
            let formats = (format(old), format(wanted));
            let same = !old.device.is_removable() || formats.1.is_none() || formats.0 == formats.1;
            old.kind == wanted.kind && place(old) == place(wanted) && same
        }
        _ => false,
    }
}

/// The first thing that `wanted` says otherwise and that cannot be changed. Of how the disk is driven
/// it need not say what it does not care about.
fn changed_field(old: &Disk, wanted: &Disk) -> Option<&'static str> {
    let (was, is) =
        (old.driver.clone().unwrap_or_default(), wanted.driver.clone().unwrap_or_default());
    let said = |there: bool, same: bool| there && !same;
    let cache = is.cache.filter(|mode| *mode != CacheMode::Default);
    let geometry = |differs: fn(&Geometry, &Geometry) -> bool| {
        let was = old.geometry.clone().unwrap_or_default();
        wanted.geometry.as_ref().is_some_and(|is| differs(&was, is))
    };
    let block = |disk: &Disk| disk.blockio.clone().unwrap_or_default();
    let (had, has): (BlockIo, BlockIo) = (block(old), block(wanted));
    let checks = [
        (old.device != wanted.device, "device"),
        (said(wanted.target.bus.is_some(), old.target.bus == wanted.target.bus), "bus"),
        (geometry(|was, is| was.cyls != is.cyls), "geometry cylinders"),
        (geometry(|was, is| was.heads != is.heads), "geometry heads"),
        (geometry(|was, is| was.secs != is.secs), "geometry sectors"),
        (geometry(|was, is| was.trans != is.trans), "geometry trans"),
        (said(wanted.serial.is_some(), old.serial == wanted.serial), "serial"),
        (said(wanted.wwn.is_some(), old.wwn == wanted.wwn), "wwn"),
        (said(wanted.vendor.is_some(), old.vendor == wanted.vendor), "vendor"),
        (said(wanted.product.is_some(), old.product == wanted.product), "product"),
        (had.logical_block_size != has.logical_block_size, "blockio logical_block_size"),
        (had.physical_block_size != has.physical_block_size, "blockio physical_block_size"),
        (had.discard_granularity != has.discard_granularity, "blockio discard_granularity"),
        (!old.readonly && wanted.readonly, "readonly"),
        (!old.shareable && wanted.shareable, "shared"),
        (said(cache.is_some(), was.cache == cache), "cache"),
        (said(is.error_policy.is_some(), was.error_policy == is.error_policy), "error_policy"),
        (said(is.rerror_policy.is_some(), was.rerror_policy == is.rerror_policy), "rerror_policy"),
        (said(is.io.is_some(), was.io == is.io), "io"),
        (said(is.ioeventfd.is_some(), was.ioeventfd == is.ioeventfd), "ioeventfd"),
        (said(is.event_idx.is_some(), was.event_idx == is.event_idx), "event_idx"),
        (said(is.copy_on_read.is_some(), was.copy_on_read == is.copy_on_read), "copy_on_read"),
        (said(wanted.boot.is_some(), old.boot == wanted.boot), "boot order"),
        (old.rawio != wanted.rawio, "rawio"),
        (old.sgio != wanted.sgio, "sgio"),
        (said(is.discard.is_some(), was.discard == is.discard), "discard"),
        (said(is.iothread.is_some(), was.iothread == is.iothread), "iothread"),
        (
            said(is.discard_no_unref.is_some(), was.discard_no_unref == is.discard_no_unref),
            "discard_no_unref",
        ),
        (said(wanted.address.is_some(), old.address == wanted.address), "address"),
        (old.transient != wanted.transient, "transient"),
    ];
    checks.into_iter().find_map(|(changed, field)| changed.then_some(field))
}

/// The first limit that `wanted` names otherwise: a verb of its own changes limits.
fn changed_limit(old: &Disk, wanted: &Disk) -> Option<&'static str> {
    let (was, is) = (old.iotune.clone().unwrap_or_default(), wanted.iotune.as_ref()?);
    macro_rules! first_of {
        ($($field:ident)*) => {
            [$((stringify!($field), was.$field, is.$field),)*]
        };
    }
    let limits = first_of!(
        total_bytes_sec
        read_bytes_sec
        write_bytes_sec
        total_iops_sec
        read_iops_sec
        write_iops_sec
        total_bytes_sec_max
        read_bytes_sec_max
        write_bytes_sec_max
        total_iops_sec_max
        read_iops_sec_max
        write_iops_sec_max
        size_iops_sec
        total_bytes_sec_max_length
        read_bytes_sec_max_length
        write_bytes_sec_max_length
        total_iops_sec_max_length
        read_iops_sec_max_length
        write_iops_sec_max_length
    );
    let differs = |(_, was, is): &(&str, Option<u64>, Option<u64>)| is.is_some() && was != is;
    limits.into_iter().find(differs).map(|(name, ..)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::devices::disk::DiskDevice;
    use crate::domain::{ParseOptions, parse};

    fn disk(driver: &str, inner: &str) -> Disk {
        let text = format!(
            "<domain type='qemu' id='1'><name>a</name><memory>1</memory><os><type>hvm</type></os>\
             <devices><disk type='network'><driver name='qemu' {driver}/><source protocol='nbd' \
             name='x' {inner}<target dev='vda'/></disk></devices></domain>"
        );
        let domain = parse(&text, ParseOptions { live: true }).domain.expect("a domain");
        domain.devices.expect("devices").disks.remove(0)
    }

    #[test]
    fn what_is_not_said_of_the_driver_stays() {
        for (was, is, expected) in [
            ("cache='none'", "", None),
            ("cache='none'", "cache='default'", None),
            ("cache='none'", "cache='writeback'", Some("cache")),
            ("", "cache='writeback'", Some("cache")),
            ("error_policy='stop'", "", None),
            ("", "error_policy='stop'", Some("error_policy")),
            ("io='threads' discard='unmap' copy_on_read='on' iothread='1'", "", None),
            ("ioeventfd='on' event_idx='off'", "", None),
            // Not looked at; it stays.
            ("detect_zeroes='on'", "detect_zeroes='off'", None),
            ("", "detect_zeroes='on'", None),
            ("discard_no_unref='on'", "", None),
            ("", "discard_no_unref='off'", Some("discard_no_unref")),
        ] {
            let found = changed_field(&disk(was, "/>"), &disk(is, "/>"));
            assert_eq!(found, expected, "{was} {is}");
        }
        let block = "/><blockio logical_block_size='512'/>";
        let found = changed_field(&disk("", block), &disk("", "/>"));
        assert_eq!(found, Some("blockio logical_block_size"));
        let shape = |cyls, heads| {
            disk("", &format!("/><geometry cyls='{cyls}' heads='{heads}' secs='63'/>"))
        };
        for (wanted, expected) in [
            (disk("", "/>"), None),
            (shape(100, 16), None),
            (shape(99, 2), Some("geometry cylinders")),
            (shape(100, 2), Some("geometry heads")),
        ] {
            assert_eq!(changed_field(&shape(100, 16), &wanted), expected);
        }
    }

    /// Of libvirtd 11.3: an update of a fixed disk says where its image is, the rest is not compared.
    #[test]
    fn how_a_fixed_disk_is_read_is_not_compared() {
        let slice = "><slices><slice type='storage' offset='0' size='512'/></slices></source>";
        let luks = "><encryption format='luks'><secret type='passphrase' usage='x'/></encryption>\
                    </source>";
        let old = disk("type='qcow2'", "/>");
        for (driver, inner) in [("type='raw'", "/>"), ("type='qcow2'", slice), ("", luks)] {
            assert!(same_source(&old, &disk(driver, inner)), "{driver} {inner}");
        }
        assert!(!same_source(&old, &disk("type='qcow2'", "index='1' tls='yes'/>")));
        let mut drive = old.clone();
        drive.device = DiskDevice::Cdrom;
        assert!(!same_source(&drive, &disk("type='raw'", "/>")));
    }

    #[test]
    fn aliases_stay() {
        let devices = Devices { disks: vec![disk("", "/>")], ..Devices::default() };
        let error = running(&devices, &disk("", "/><alias name='ua-x'/>")).expect_err("refused");
        assert_eq!(error.code, ErrorCode::OPERATION_DENIED);
        assert_eq!(error.message(), "operation forbidden: changing device alias is not allowed");
    }

    #[test]
    fn what_the_daemon_decided_of_a_source_is_no_other_source() {
        let (ours, open) = (disk("", "tls='no' tlsFromConfig='1'/>"), disk("", "/>"));
        assert!(same_source(&ours, &open));
        assert!(!same_source(&disk("", "tls='no'/>"), &disk("", "tls='yes'/>")));
    }
}
