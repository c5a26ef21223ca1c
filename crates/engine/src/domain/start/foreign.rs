//! What to take back at the end of a guest that libvirtd started: what libvirtd would have, found
//! by what its status file says and by the names it gives things.

use crate::domain::adopt::status::StatusContent;
use crate::domain::start::links;
use crate::domain::start::teardown::Made;
use crate::engine::Engine;
use model::domain::devices::disk::Disk;
use model::domain::devices::filesystem::Filesystem;
use model::domain::devices::interface::{Interface, InterfaceType, NetBackendType};
use model::domain::devices::tpm::TpmBackendType;
use plan::qemu::huge_page_folder;
use plan::{ResultName, Undo};
use std::path::Path;

/// The undos, and what they need to know; `pid` is QEMU's while it runs.
pub(in crate::domain) fn undo(
    engine: &Engine,
    content: &StatusContent,
    pid: u32,
) -> (Vec<Undo>, Made) {
    let mut made = Made { cgroup: engine.cgroup_of(pid), ..Made::default() };
    let mut undo: Vec<_> = [&content.lib_dir, &content.channel_dir, &content.memory_dir]
        .into_iter()
        .filter(|path| !path.is_empty())
        .map(|path| Undo::RemoveTree(path.clone()))
        .collect();
    let Some(devices) = &content.definition.devices else { return (undo, made) };
    for disk in &devices.disks {
        undo.extend(written(disk).map(|path| Undo::RestoreOwner(path.to_owned())));
    }
    let os = content.definition.os.as_ref();
    let nvram = os.and_then(|os| os.nvram.as_ref()).and_then(|nvram| nvram.path.as_ref());
    for path in
        os.into_iter().flat_map(|os| [&os.kernel, &os.initrd, &os.dtb]).flatten().chain(nvram)
    {
        undo.push(Undo::RestoreOwner(path.clone()));
    }
    for interface in devices.interfaces.iter().filter(|i| i.kind == InterfaceType::Direct) {
        undo.extend(macvtap(interface, &mut made));
    }
    for (index, graphics) in devices.graphics.iter().enumerate() {
        let ports = [graphics.port, graphics.tls_port, graphics.websocket];
        for (which, port) in ports.into_iter().enumerate() {
            let port = port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
            let Some(port) = port else { continue };
            let name = ResultName::new(format!("foreign.graphics{index}.{which}"));
            made.ports.insert(name.clone(), port);
            undo.push(Undo::ReleasePort(name));
        }
    }
    // `domain-ID-NAME`: what else libvirtd makes for the guest has that part in its name.
    let Some(short) = short_name(&content.lib_dir) else { return (undo, made) };
    undo.push(Undo::RemoveCgroup(format!("qemu-{short}")));
    let huge = engine.huge_page_mounts().into_iter();
    undo.extend(huge.map(|(mount, _)| Undo::RemoveTree(huge_page_folder(&mount, short))));
    let run = engine.layout.qemu_run();
    let file = |folder: &str, name: String| run.join(folder).join(name).display().to_string();
    let passt = |interface: &&Interface| {
        interface.backend.as_ref().and_then(|backend| backend.kind) == Some(NetBackendType::Passt)
    };
    for interface in devices.interfaces.iter().filter(passt) {
        let Some(alias) = &interface.alias else { continue };
        let base = format!("{short}-{}", alias.name);
        undo.push(Undo::EndHelper { pid_file: file("passt", format!("{base}-passt.pid")) });
        undo.push(Undo::RemoveFile(file("passt", format!("{base}.socket"))));
    }
    let emulated = |kind| kind == TpmBackendType::Emulator;
    if devices.tpms.iter().any(|tpm| emulated(tpm.backend.kind)) {
        undo.push(Undo::EndHelper { pid_file: file("swtpm", format!("{short}-swtpm.pid")) });
    }
    let served = |fs: &&Filesystem| {
        fs.driver.as_ref().is_some_and(|driver| driver.kind.as_deref() == Some("virtiofs"))
    };
    for fs in devices.filesystems.iter().filter(served) {
        let Some(alias) = &fs.alias else { continue };
        let pid_file = run.join(format!("{short}-{}-fs.pid", alias.name)).display().to_string();
        if Path::new(&pid_file).exists() {
            undo.push(Undo::EndHelper { pid_file });
        }
    }
    let bus = file("dbus", format!("{short}-dbus.pid"));
    if Path::new(&bus).exists() {
        undo.push(Undo::RemoveFile(file("dbus", format!("{short}-dbus.conf"))));
        undo.push(Undo::EndHelper { pid_file: bus });
    }
    // Reservation manager, shared folders, nbdkit.
    let inside = std::fs::read_dir(&content.lib_dir).into_iter().flatten().flatten();
    let names = inside.filter_map(|entry| entry.path().to_str().map(str::to_owned));
    let pid_files = names.filter(|name| name.ends_with(".pid"));
    undo.extend(pid_files.map(|pid_file| Undo::EndHelper { pid_file }));
    (undo, made)
}

/// Adds to the undos of a guest that we started the disks which another daemon plugged in meanwhile: it
/// lent their images to QEMU's user and left the record on them.
pub(in crate::domain) fn lent_meanwhile(
    content: &StatusContent,
    undo: &mut Vec<Undo>,
    made: &mut Made,
) {
    let Some(lent) = &mut made.lent else { return };
    let disks = content.definition.devices.iter().flat_map(|devices| &devices.disks);
    // Of others nothing is recorded, and they are not given back.
    let own = disks.filter(|disk| !disk.readonly && !disk.shareable);
    for path in own.flat_map(written) {
        let step = Undo::RestoreOwner(path.to_owned());
        if undo.contains(&step) || host::access::claims(Path::new(path)) == 0 {
            continue;
        }
        if let Some(file) = host::access::id_of(Path::new(path)) {
            lent.insert(path.to_owned(), file);
            undo.insert(0, step);
        }
    }
}

/// The images of a disk that libvirtd gives back at the guest's end: the one that the guest writes, and
/// the one that a copy or commit under way writes.
fn written(disk: &Disk) -> impl Iterator<Item = &str> {
    let mirror = disk.mirror.iter().filter_map(|mirror| mirror.source.as_ref());
    let mirror = mirror.filter_map(|source| source.file.as_deref().or(source.dev.as_deref()));
    crate::domain::view::source_path(disk).into_iter().chain(mirror)
}

fn short_name(lib_dir: &str) -> Option<&str> {
    Path::new(lib_dir).file_name()?.to_str()?.strip_prefix("domain-")
}

/// A macvtap stays when its guest ends. It is removed only if it is still the guest's own.
fn macvtap(interface: &Interface, made: &mut Made) -> Option<Undo> {
    let device = interface.target.as_ref()?.dev.as_ref()?;
    // The guest may have given it another.
    let mac = interface.mac.as_ref()?;
    let mac = mac.current_address.unwrap_or(mac.address).to_string();
    let index = host::netdev::macvtap_with(device, &mac)?;
    let name = ResultName::new(format!("foreign.{device}"));
    links::know_macvtap(&name, device, index, made);
    Some(Undo::RemoveLink(name))
}

#[cfg(test)]
mod tests {
    use super::short_name;

    #[test]
    fn short_names() {
        assert_eq!(short_name("/var/lib/libvirt/qemu/domain-3-web"), Some("3-web"));
        assert_eq!(short_name("/x/y"), None);
        assert_eq!(short_name(""), None);
    }
}
