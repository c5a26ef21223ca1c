//! Commands on pools.

use super::*;
use crate::virsh::ctl::{put, say};
use crate::virsh::domain::{describe_lifecycle, print_event, print_xml, watch};
use crate::virsh::edit;
use crate::virsh::fail::fail;
use crate::virsh::registry::words::{POOL_EVENTS, POOL_TYPES};
use crate::virsh::table::Table;
use crate::virsh::util::{pretty, read_file, uuid_text};
use protocol::remote::events as ev;

/// `--build`, `--overwrite`, `--no-overwrite` of a call that starts the pool.
fn start_flags(cmd: &Cmd) -> Outcome<u32> {
    cmd.exclusive("overwrite", "no-overwrite")?;
    Ok(cmd.flags(&[("build", 1), ("overwrite", 2), ("no-overwrite", 4)]))
}

/// `pool-list`
pub fn cmd_pool_list(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let mut flags = 2;
    if cmd.has("inactive") {
        flags = 1;
    }
    if cmd.has("all") {
        flags = 3;
    }
    flags |=
        cmd.flags(&[("persistent", 4), ("transient", 8), ("autostart", 16), ("no-autostart", 32)]);
    if let Some(types) = cmd.str("type")? {
        for t in types.split(',') {
            match POOL_TYPES.iter().position(|w| *w == t) {
                Some(i) => flags |= type_flag(i),
                None => fail!("Invalid pool type '{t}'"),
            }
        }
    }
    let mut pools = call!(ctl, ConnectListAllStoragePools { need_results: 1, flags })
        .ctx("Failed to list pools")?
        .pools;
    pools.sort_by_key(|p| (p.name.to_lowercase(), p.name.clone()));
    let (uuid, name, details) = (cmd.has("uuid"), cmd.has("name"), cmd.has("details"));
    if (uuid || name) && !ctl.json() {
        for p in &pools {
            match (uuid, name) {
                (true, true) => put!(ctl, "{:<36} {}\n", uuid_text(&p.uuid), p.name),
                (true, false) => put!(ctl, "{}\n", uuid_text(&p.uuid)),
                _ => put!(ctl, "{}\n", p.name),
            }
        }
        return Ok(());
    }
    let mut table = if details {
        Table::new([
            "Name",
            "State",
            "Autostart",
            "Persistent",
            "Capacity",
            "Allocation",
            "Available",
        ])
    } else {
        Table::new(["Name", "State", "Autostart"])
    };
    for p in pools {
        let autostart = match call!(ctl, StoragePoolGetAutostart { pool: p.clone() }) {
            Ok(a) => yes_no(a.autostart != 0),
            Err(_) => "no autostart",
        };
        if !details {
            let active = call!(ctl, StoragePoolIsActive { pool: p.clone() })?.active != 0;
            let state = if active { "active" } else { "inactive" };
            table.row([p.name.as_str(), state, autostart]);
            continue;
        }
        let persistent = call!(ctl, StoragePoolIsPersistent { pool: p.clone() })?.persistent != 0;
        let row = match call!(ctl, StoragePoolGetInfo { pool: p.clone() }) {
            Ok(i) if i.state == 2 || i.state == 3 => {
                vec![size(i.capacity), size(i.allocation), size(i.available)]
                    .into_iter()
                    .map(|s| (state_text(i.state), s))
                    .collect()
            }
            Ok(i) => vec![(state_text(i.state), "-".to_owned()); 3],
            Err(_) => vec![("unknown", "unknown".to_owned()); 3],
        };
        let state = row.first().map_or("unknown", |r| r.0);
        let mut cells =
            vec![p.name, state.to_owned(), autostart.to_owned(), yes_no(persistent).to_owned()];
        cells.extend(row.into_iter().map(|r| r.1));
        table.row(cells);
    }
    ctl.table(&table);
    Ok(())
}

/// The list call's flag for a pool type, by its place in the list of types.
fn type_flag(index: usize) -> u32 {
    let bits = [
        1 << 6,  // dir
        1 << 7,  // fs
        1 << 8,  // netfs
        1 << 9,  // logical
        1 << 10, // disk
        1 << 11, // iscsi
        1 << 19, // iscsi-direct
        1 << 12, // scsi
        1 << 13, // mpath
        1 << 14, // rbd
        1 << 15, // sheepdog
        1 << 16, // gluster
        1 << 17, // zfs
        1 << 18, // vstorage
    ];
    bits.get(index).copied().unwrap_or(0)
}

fn state_text(state: u8) -> &'static str {
    match state {
        0 => "inactive",
        1 => "building",
        2 => "running",
        3 => "degraded",
        4 => "inaccessible",
        _ => "unknown",
    }
}

fn yes_no(v: bool) -> &'static str {
    if v { "yes" } else { "no" }
}

/// `1.00 MiB`
pub fn size(bytes: u64) -> String {
    let (n, unit) = pretty(bytes);
    format!("{n:.2} {unit}")
}

/// `pool-info`
pub fn cmd_pool_info(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let p = pool(ctl, cmd, "pool", true, true)?;
    ctl.pair("Name:", &p.name);
    ctl.pair("UUID:", uuid_text(&p.uuid));
    let i = call!(ctl, StoragePoolGetInfo { pool: p.clone() })?;
    ctl.pair("State:", state_text(i.state));
    match call!(ctl, StoragePoolIsPersistent { pool: p.clone() }) {
        Ok(v) => ctl.pair("Persistent:", yes_no(v.persistent != 0)),
        Err(_) => ctl.pair("Persistent:", "unknown"),
    }
    match call!(ctl, StoragePoolGetAutostart { pool: p }) {
        Ok(v) => ctl.pair("Autostart:", yes_no(v.autostart != 0)),
        Err(_) => ctl.pair("Autostart:", "no autostart"),
    }
    if i.state == 2 || i.state == 3 {
        for (label, v) in
            [("Capacity:", i.capacity), ("Allocation:", i.allocation), ("Available:", i.available)]
        {
            if cmd.has("bytes") {
                ctl.pair(label, v);
            } else {
                ctl.pair(label, size(v));
            }
        }
    }
    Ok(())
}

/// `pool-name`
pub fn cmd_pool_name(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let p = pool(ctl, cmd, "pool", true, false)?;
    ctl.member("name", p.name.clone());
    put!(ctl, "{}\n", p.name);
    Ok(())
}

/// `pool-uuid`
pub fn cmd_pool_uuid(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let p = pool(ctl, cmd, "pool", false, true)?;
    ctl.member("uuid", uuid_text(&p.uuid));
    put!(ctl, "{}\n", uuid_text(&p.uuid));
    Ok(())
}

/// `pool-dumpxml`
pub fn cmd_pool_dumpxml(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let p = pool(ctl, cmd, "pool", true, true)?;
    let flags = u32::from(cmd.has("inactive"));
    let xml = call!(ctl, StoragePoolGetXmlDesc { pool: p, flags })?.xml;
    print_xml(ctl, cmd, &xml)
}

/// `pool-define`
pub fn cmd_pool_define(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let from = cmd.req("file")?.to_owned();
    let xml = read_file(&from)?;
    let text = xml.clone();
    let flags = cmd.flags(&[("validate", 1)]);
    let p = call!(ctl, StoragePoolDefineXml { xml, flags })
        .ctx(format!("Failed to define pool from {from}"))
        .about(&text, &from)?
        .pool;
    say!(ctl, "Pool {} defined from {from}\n", p.name);
    Ok(())
}

/// `pool-create`
pub fn cmd_pool_create(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let from = cmd.req("file")?.to_owned();
    let flags = start_flags(cmd)?;
    let xml = read_file(&from)?;
    let text = xml.clone();
    let p = call!(ctl, StoragePoolCreateXml { xml, flags })
        .ctx(format!("Failed to create pool from {from}"))
        .about(&text, &from)?
        .pool;
    say!(ctl, "Pool {} created from {from}\n", p.name);
    Ok(())
}

/// `pool-define-as`
pub fn cmd_pool_define_as(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let (name, xml) = pool_xml(cmd)?;
    if cmd.has("print-xml") {
        put!(ctl, "{xml}");
        return Ok(());
    }
    let p = call!(ctl, StoragePoolDefineXml { xml, flags: 0 })
        .ctx(format!("Failed to define pool {name}"))?
        .pool;
    say!(ctl, "Pool {} defined\n", p.name);
    Ok(())
}

/// `pool-create-as`
pub fn cmd_pool_create_as(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = start_flags(cmd)?;
    let (name, xml) = pool_xml(cmd)?;
    if cmd.has("print-xml") {
        put!(ctl, "{xml}");
        return Ok(());
    }
    let p = call!(ctl, StoragePoolCreateXml { xml, flags })
        .ctx(format!("Failed to create pool {name}"))?
        .pool;
    say!(ctl, "Pool {} created\n", p.name);
    Ok(())
}

/// `pool-build`
pub fn cmd_pool_build(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let p = pool(ctl, cmd, "pool", true, true)?;
    cmd.exclusive("overwrite", "no-overwrite")?;
    let flags = cmd.flags(&[("no-overwrite", 4), ("overwrite", 8)]);
    let name = p.name.clone();
    call!(ctl, StoragePoolBuild { pool: p, flags }).ctx(format!("Failed to build pool {name}"))?;
    say!(ctl, "Pool {name} built\n");
    Ok(())
}

/// `pool-start`
pub fn cmd_pool_start(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let p = pool(ctl, cmd, "pool", true, true)?;
    let flags = start_flags(cmd)?;
    let name = p.name.clone();
    call!(ctl, StoragePoolCreate { pool: p, flags }).ctx(format!("Failed to start pool {name}"))?;
    say!(ctl, "Pool {name} started\n");
    Ok(())
}

/// `pool-destroy`
pub fn cmd_pool_destroy(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let p = pool(ctl, cmd, "pool", true, true)?;
    let name = p.name.clone();
    call!(ctl, StoragePoolDestroy { pool: p }).ctx(format!("Failed to destroy pool {name}"))?;
    say!(ctl, "Pool {name} destroyed\n");
    Ok(())
}

/// `pool-delete`
pub fn cmd_pool_delete(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let p = pool(ctl, cmd, "pool", true, true)?;
    let name = p.name.clone();
    call!(ctl, StoragePoolDelete { pool: p, flags: 0 })
        .ctx(format!("Failed to delete pool {name}"))?;
    say!(ctl, "Pool {name} deleted\n");
    Ok(())
}

/// `pool-undefine`
pub fn cmd_pool_undefine(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let p = pool(ctl, cmd, "pool", true, true)?;
    let name = p.name.clone();
    call!(ctl, StoragePoolUndefine { pool: p }).ctx(format!("Failed to undefine pool {name}"))?;
    say!(ctl, "Pool {name} has been undefined\n");
    Ok(())
}

/// `pool-refresh`
pub fn cmd_pool_refresh(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let p = pool(ctl, cmd, "pool", true, true)?;
    let name = p.name.clone();
    call!(ctl, StoragePoolRefresh { pool: p, flags: 0 })
        .ctx(format!("Failed to refresh pool {name}"))?;
    say!(ctl, "Pool {name} refreshed\n");
    Ok(())
}

/// `pool-autostart`
pub fn cmd_pool_autostart(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let p = pool(ctl, cmd, "pool", true, true)?;
    let name = p.name.clone();
    let off = cmd.has("disable");
    let un = if off { "un" } else { "" };
    call!(ctl, StoragePoolSetAutostart { pool: p, autostart: i32::from(!off) })
        .ctx(format!("failed to {un}mark pool {name} as autostarted"))?;
    say!(ctl, "Pool {name} {un}marked as autostarted\n");
    Ok(())
}

/// `pool-edit`
pub fn cmd_pool_edit(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let p = pool(ctl, cmd, "pool", true, true)?;
    let read =
        |ctl: &mut Ctl| Ok(call!(ctl, StoragePoolGetXmlDesc { pool: p.clone(), flags: 1 })?.xml);
    let changed = edit::run(ctl, read, |ctl, xml, relax| {
        let flags = u32::from(!relax);
        Ok(call!(ctl, StoragePoolDefineXml { xml: xml.to_owned(), flags })?.pool.name)
    })?;
    match changed {
        Some(name) => say!(ctl, "Pool {name} XML configuration edited.\n"),
        None => say!(ctl, "Pool {} XML configuration not changed.\n", p.name),
    }
    Ok(())
}

/// `pool-capabilities`
pub fn cmd_pool_capabilities(ctl: &mut Ctl, _: &Cmd) -> Outcome {
    let xml = call!(ctl, ConnectGetStoragePoolCapabilities { flags: 0 })
        .ctx("failed to get storage pool capabilities")?
        .capabilities;
    put!(ctl, "{xml}\n");
    Ok(())
}

/// `find-storage-pool-sources`
pub fn cmd_find_storage_pool_sources(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let kind = cmd.req("type")?.to_owned();
    let src_spec = cmd.str("srcSpec")?.map(read_file).transpose()?;
    find_sources(ctl, kind, src_spec)
}

/// `find-storage-pool-sources-as`
pub fn cmd_find_storage_pool_sources_as(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let kind = cmd.req("type")?.to_owned();
    let spec = source_spec(cmd)?;
    find_sources(ctl, kind, spec)
}

fn find_sources(ctl: &mut Ctl, kind: String, src_spec: Option<String>) -> Outcome {
    let xml =
        call!(ctl, ConnectFindStoragePoolSources { r#type: kind.clone(), src_spec, flags: 0 })
            .ctx(format!("Failed to find any {kind} pool sources"))?
            .xml;
    put!(ctl, "{xml}");
    Ok(())
}

/// `pool-event`
pub fn cmd_pool_event(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let Some(event_id) = event_kind(ctl, cmd, POOL_EVENTS)? else {
        return Ok(());
    };
    let timeout = cmd.timeout_ms("timeout")?;
    let only = if cmd.has("pool") { Some(pool(ctl, cmd, "pool", true, true)?) } else { None };
    let callback_id =
        call!(ctl, ConnectStoragePoolEventRegisterAny { event_id, pool: only })?.callback_id;
    let stamp = cmd.has("timestamp");
    let result = watch(ctl, cmd.has("loop"), timeout, &mut |ctl, raw| {
        if let Some(m) = crate::virsh::conn::event::<ev::StoragePoolEventLifecycle>(raw) {
            let words = ["Defined", "Undefined", "Started", "Stopped", "Created", "Deleted"];
            let what = describe_lifecycle(&words, m.event);
            let text = format!("event 'lifecycle' for storage pool {}: {what}\n", m.pool.name);
            print_event(ctl, stamp, "lifecycle", ("pool", &m.pool.name), &text);
            return true;
        }
        if let Some(m) = crate::virsh::conn::event::<ev::StoragePoolEventRefresh>(raw) {
            let text = format!("event 'refresh' for storage pool {}\n", m.pool.name);
            print_event(ctl, stamp, "refresh", ("pool", &m.pool.name), &text);
            return true;
        }
        false
    });
    let _ = call!(ctl, ConnectStoragePoolEventDeregisterAny { callback_id });
    result
}

/// The number of the event that `--event` names; none when `--list` was answered.
pub fn event_kind(ctl: &mut Ctl, cmd: &Cmd, words: &[&str]) -> Outcome<Option<i32>> {
    if cmd.has("list") {
        ctl.member("events", words.to_vec());
        for w in words {
            put!(ctl, "{w}\n");
        }
        return Ok(None);
    }
    let Some(name) = cmd.str("event")? else {
        fail!("either --list or --event <type> is required");
    };
    match words.iter().position(|w| *w == name) {
        Some(i) => Ok(Some(i as i32)),
        None => fail!("unknown event type {name}"),
    }
}
