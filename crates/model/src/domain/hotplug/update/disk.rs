//! Disks: the medium of a drive that has one, and what only the daemon looks at.

use super::{Change, Updated, place, unsupported};
use crate::domain::devices::Devices;
use crate::domain::devices::disk::{BlockIo, CacheMode, DetectZeroes, Disk, DiskSource};
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
/// for.
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
        source
    };
    let empty = |disk: &Disk| place(disk) == DiskSource::default();
    let format = |disk: &Disk| disk.driver.as_ref().and_then(|driver| driver.kind.clone());
    match (empty(old), empty(wanted)) {
        (true, true) => true,
        (false, false) => {
            let formats = (format(old), format(wanted));
            let same = formats.1.is_none() || formats.0 == formats.1;
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
    let zeroes = is.detect_zeroes.filter(|how| *how != DetectZeroes::Off);
    let block = |disk: &Disk| disk.blockio.clone().unwrap_or_default();
    let (had, has): (BlockIo, BlockIo) = (block(old), block(wanted));
    let checks = [
        (old.device != wanted.device, "device"),
        (said(wanted.target.bus.is_some(), old.target.bus == wanted.target.bus), "bus"),
        (old.geometry != wanted.geometry, "cylinders, heads and sectors"),
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
        (said(zeroes.is_some(), was.detect_zeroes == zeroes), "detect_zeroes"),
        (said(wanted.alias.is_some(), old.alias == wanted.alias), "alias"),
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
            ("detect_zeroes='on'", "detect_zeroes='off'", None),
            ("", "detect_zeroes='on'", Some("detect_zeroes")),
        ] {
            let found = changed_field(&disk(was, "/>"), &disk(is, "/>"));
            assert_eq!(found, expected, "{was} {is}");
        }
        let block = "/><blockio logical_block_size='512'/>";
        let found = changed_field(&disk("", block), &disk("", "/>"));
        assert_eq!(found, Some("blockio logical_block_size"));
    }

    #[test]
    fn what_the_daemon_decided_of_a_source_is_no_other_source() {
        let (ours, open) = (disk("", "tls='no' tlsFromConfig='1'/>"), disk("", "/>"));
        assert!(same_source(&ours, &open));
        assert!(!same_source(&disk("", "tls='no'/>"), &disk("", "tls='yes'/>")));
    }
}
