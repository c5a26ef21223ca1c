//! What a disk does not say of itself.

use crate::domain::Domain;
use crate::domain::devices::disk::{
    Disk, DiskBus, DiskDevice, DiskDriver, DiskSource, NetworkTransport, SnapshotMode, StorageType,
};

/// Fills in bus, driver and the like of every disk, and puts them in libvirt's order.
pub(super) fn apply(d: &mut Domain) {
    sort(&mut d.devices_mut().disks);
    for disk in &mut d.devices_mut().disks {
        complete(disk);
    }
    let nvram = d.os.as_mut().and_then(|os| os.nvram.as_mut());
    if let Some(nvram) = nvram.filter(|nvram| nvram.kind == Some(StorageType::Network))
        && let Some(s) = nvram.source.as_mut()
    {
        fill_ports(s);
    }
}

/// The part that needs no hypervisor: buses, ports of servers, the order.
pub(super) fn apply_core(d: &mut Domain) {
    sort(&mut d.devices_mut().disks);
    for disk in &mut d.devices_mut().disks {
        complete_core(disk);
    }
}

fn complete_core(disk: &mut Disk) {
    disk.target.bus.get_or_insert_with(|| {
        if disk.device == DiskDevice::Floppy { DiskBus::Fdc } else { bus_of_name(&disk.target.dev) }
    });
    if disk.device == DiskDevice::Cdrom {
        disk.readonly = true;
    }
}

fn complete(disk: &mut Disk) {
    disk.target.bus.get_or_insert_with(|| {
        if disk.device == DiskDevice::Floppy { DiskBus::Fdc } else { bus_of_name(&disk.target.dev) }
    });
    if disk.device == DiskDevice::Cdrom {
        disk.readonly = true;
    }
    let driver = disk.driver.get_or_insert_with(DiskDriver::default);
    driver.name.get_or_insert_with(|| "qemu".to_owned());
    // A pool's volume says its own format.
    if disk.kind != StorageType::Volume {
        driver.kind.get_or_insert_with(|| "raw".to_owned());
    }
    if driver.kind.as_deref() == Some("aio") {
        driver.kind = Some("raw".to_owned());
    }
    if driver.cache == Some(crate::domain::devices::disk::CacheMode::Default) {
        driver.cache = None;
    }
    if disk.source.is_none() && disk.kind == StorageType::Network {
        disk.kind = StorageType::File;
    }
    if disk.snapshot == Some(SnapshotMode::No) && disk.readonly {
        disk.snapshot = None;
    }
    if disk.kind == StorageType::Vhostuser {
        // What is in it is another process's.
        disk.snapshot.get_or_insert(SnapshotMode::No);
    }
    if disk.device.is_removable()
        && disk.target.tray == Some(crate::domain::devices::disk::TrayState::Closed)
    {
        disk.target.tray = None;
    }
    if let Some(s) = disk.source.as_mut()
        && s.startup_policy == Some(crate::domain::devices::disk::StartupPolicy::Mandatory)
    {
        s.startup_policy = None;
    }
    complete_images(disk);
}

/// Completes what a disk says of its images: servers' ports, and who decrypts.
pub fn complete_images(disk: &mut Disk) {
    disk.encryption.as_deref_mut().into_iter().for_each(engine);
    if let Some(s) = disk.source.as_mut() {
        complete_image(disk.kind, s);
    }
    let mut next = disk.backing_store.as_deref_mut();
    while let Some(b) = next {
        if let (Some(kind), Some(s)) = (b.kind, b.source.as_mut()) {
            complete_image(kind, s);
        }
        next = b.backing_store.as_deref_mut();
    }
}

/// Completes an image; what holds its data is not decrypted.
fn complete_image(kind: StorageType, s: &mut DiskSource) {
    complete_ports(kind, s);
    s.encryption.as_deref_mut().into_iter().for_each(engine);
}

/// Says where the servers of an image are reached, and of the one that holds its data.
pub(crate) fn complete_ports(kind: StorageType, s: &mut DiskSource) {
    let (mut kind, mut next) = (kind, Some(s));
    while let Some(s) = next {
        for h in s.hosts.iter_mut().filter(|h| h.transport == Some(NetworkTransport::Tcp)) {
            h.transport = None;
        }
        if kind == StorageType::Network {
            fill_ports(s);
        }
        next = s.data_store.as_deref_mut().and_then(|data| {
            kind = data.kind;
            data.source.as_mut()
        });
    }
}

/// Gives servers without a port, or with port 0, that of the protocol.
fn fill_ports(s: &mut DiskSource) {
    let port = match s.protocol.as_deref() {
        Some("nbd") => Some("10809"),
        Some("http") => Some("80"),
        Some("https") => Some("443"),
        Some("ftp") => Some("21"),
        Some("ftps") => Some("990"),
        Some("tftp") => Some("69"),
        Some("ssh") => Some("22"),
        Some("iscsi") => Some("3260"),
        Some("gluster") => Some("24007"),
        Some("sheepdog") => Some("7000"),
        Some("vxhs") => Some("9999"),
        _ => None,
    };
    for h in &mut s.hosts {
        // Port 0 is none.
        h.port = h.port.take().filter(|port| port != "0");
        if matches!(h.transport, None | Some(NetworkTransport::Rdma)) && h.port.is_none() {
            h.port = port.map(str::to_owned);
        }
    }
}

fn engine(e: &mut crate::domain::devices::disk::Encryption) {
    if e.engine.is_none() && matches!(e.format.as_str(), "luks" | "luks2" | "luks-any" | "qcow") {
        e.engine = Some("qemu".to_owned());
    }
}

/// The bus a target name implies.
pub(crate) fn bus_of_name(dev: &str) -> DiskBus {
    for (prefix, bus) in [
        ("hd", DiskBus::Ide),
        ("sd", DiskBus::Scsi),
        ("vd", DiskBus::Virtio),
        ("xvd", DiskBus::Xen),
        ("ubd", DiskBus::Uml),
    ] {
        if dev.starts_with(prefix) {
            return bus;
        }
    }
    DiskBus::Ide
}

/// The number a target name stands for: `vda` is 0, `vdz` 25, `vdaa` 26. A partition number at the
/// end is allowed.
pub fn target_index(dev: &str) -> Option<u32> {
    let rest = ["fd", "hd", "vd", "sd", "xvd", "ubd"].iter().find_map(|p| dev.strip_prefix(p))?;
    let letters = rest.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &rest[letters.len()..];
    if letters.is_empty()
        || !letters.bytes().all(|c| c.is_ascii_lowercase())
        || letters.len() > 6
        || digits.starts_with('0') && digits.len() > 1
    {
        return None;
    }
    let mut n: u32 = 0;
    for c in letters.bytes() {
        n = n * 26 + u32::from(c - b'a') + 1;
    }
    Some(n - 1)
}

/// Puts each disk after the last one of its bus that does not come later by name, as libvirt does
/// while reading: the disks of a bus stand together, where the first of them stood. Those that name
/// no bus count as a bus of their own: it is guessed later.
pub(crate) fn sort(disks: &mut [Disk]) {
    let mut buses = Vec::new();
    for disk in disks.iter() {
        if !buses.contains(&disk.target.bus) {
            buses.push(disk.target.bus);
        }
    }
    disks.sort_by_cached_key(|disk| {
        let bus = buses.iter().position(|bus| *bus == disk.target.bus);
        (bus, target_index(&disk.target.dev))
    });
}

#[cfg(test)]
mod tests {
    use super::{Disk, DiskBus, sort, target_index};

    #[test]
    fn order_of_disks() {
        let ide = Some(DiskBus::Ide);
        let virtio = Some(DiskBus::Virtio);
        for (given, expected) in [
            (vec![("vdb", virtio), ("hda", ide), ("vda", virtio)], ["vda", "vdb", "hda"]),
            // Without a bus they are of one kind, whatever their names will stand for.
            (vec![("sdb", None), ("hdb", ide), ("hda", None)], ["hda", "sdb", "hdb"]),
            (vec![("vdb", None), ("vda", virtio), ("vdc", None)], ["vdb", "vdc", "vda"]),
        ] {
            let mut disks: Vec<Disk> = given
                .into_iter()
                .map(|(dev, bus)| {
                    let mut disk = Disk::default();
                    disk.target.dev = dev.to_owned();
                    disk.target.bus = bus;
                    disk
                })
                .collect();
            sort(&mut disks);
            let names: Vec<&str> = disks.iter().map(|disk| &*disk.target.dev).collect();
            assert_eq!(names, expected);
        }
    }

    #[test]
    fn target_names() {
        for (name, n) in
            [("vda", 0), ("hdd", 3), ("sdz", 25), ("vdaa", 26), ("xvdb", 1), ("sda1", 0)]
        {
            assert_eq!(target_index(name), Some(n), "{name}");
        }
        for name in ["vd", "foo", "vdA", "sda01", "1"] {
            assert_eq!(target_index(name), None, "{name}");
        }
    }
}
