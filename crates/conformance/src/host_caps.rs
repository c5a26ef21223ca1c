//! Capabilities of hosts: what is below `/sys` of other machines, and the guests of an emulator.

use crate::Operation;
use crate::answer::{Answer, either};
use crate::emulator;
use crate::request::Request;
use host::facts;
use model::capabilities::host::{CacheBank, Cell, CellCpu, HostFacts, KvmState, Migration};
use model::capabilities::resctrl::Resctrl;
use model::capabilities::{GuestCaps, capabilities_xml};
use std::path::Path;

/// The operations of this area.
pub const OPERATIONS: &[Operation] =
    &[("capabilities-guest", guest), ("capabilities-host", host_block)];

fn guest(request: &Request<'_>) -> Answer {
    either((|| {
        let arch = request.need("arch")?;
        let mut caps = emulator::capabilities(request)?;
        caps.emulator = format!("/usr/bin/qemu-system-{arch}");
        // The host of these cases has not asked the emulator for its machines.
        for accel in [&mut caps.kvm, &mut caps.tcg].into_iter().flatten() {
            accel.machines.clear();
        }
        let host =
            HostFacts { arch: arch.to_owned(), kvm: KvmState::Usable, ..HostFacts::default() };
        Ok(Answer::text(capabilities_xml(&host, &[], &[GuestCaps { arch, caps: &caps }])))
    })())
}

/// NUMA nodes with the memory that every host of these cases has.
fn cells(root: &Path) -> Vec<Cell> {
    let places = facts::cpu_places(root);
    let cell = |cell: facts::NumaCell| {
        let number = u64::from(cell.id) + 1;
        let pages = [4, 2048, 1_048_576];
        let count = |(index, size): (u64, u64)| (size, (number + index) * 2048);
        Cell {
            id: cell.id,
            memory_kib: number << 20,
            pages: (0..).zip(pages).map(count).collect(),
            distances: Vec::new(),
            cpus: places
                .iter()
                .filter(|place| cell.cpus.contains(&place.id))
                .map(|place| CellCpu {
                    id: place.id,
                    place: place.online.then_some((
                        place.socket,
                        place.die,
                        place.cluster,
                        place.core,
                    )),
                    siblings: facts::format_cpu_list(&place.siblings),
                })
                .collect(),
        }
    };
    facts::numa_cells(root).into_iter().map(cell).collect()
}

fn host_block(request: &Request<'_>) -> Answer {
    either((|| {
        let wrong = |error: std::io::Error| Answer::wrong(error.to_string());
        let root = tempfile::tempdir().map_err(wrong)?;
        let devices = root.path().join("sys/devices");
        std::fs::create_dir_all(&devices).map_err(wrong)?;
        std::os::unix::fs::symlink(request.need("sysfs")?, devices.join("system"))
            .map_err(wrong)?;
        let resctrl = request.str("resctrl").map(|folder| {
            let info = Path::new(folder).join("info");
            Resctrl::read(|name| std::fs::read_to_string(info.join(name)).ok())
        });
        let caches = facts::caches(root.path()).into_iter().map(|cache| CacheBank {
            id: cache.id,
            level: cache.level,
            kind: cache.kind.to_owned(),
            size: cache.size,
            cpus: cache.cpus,
        });
        let moved = request.flag("offline_migrate");
        let migration = Migration { live: request.flag("live_migrate"), transports: Vec::new() };
        let host = HostFacts {
            arch: request.need("arch")?.to_owned(),
            cells: cells(root.path()),
            caches: caches.collect(),
            resctrl,
            migration: moved.then_some(migration),
            ..HostFacts::default()
        };
        Ok(Answer::text(capabilities_xml(&host, &[], &[])))
    })())
}
