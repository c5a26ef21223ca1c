//! Commands on volumes.

use super::*;
use crate::virsh::cmd::scaled_int;
use crate::virsh::ctl::{put, say};
use crate::virsh::domain::print_xml;
use crate::virsh::fail::fail;
use crate::virsh::registry::words::ALGORITHMS;
use crate::virsh::table::Table;
use crate::virsh::util::{escape, read_file, uuid_text};

fn type_text(t: i8) -> &'static str {
    match t {
        0 => "file",
        1 => "block",
        2 => "dir",
        3 => "network",
        4 => "net-dir",
        5 => "ploop",
        _ => "unknown",
    }
}

/// `vol-list`
pub fn cmd_vol_list(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let p = pool(ctl, cmd, "pool", true, true)?;
    let mut vols = call!(ctl, StoragePoolListAllVolumes { pool: p, need_results: 1, flags: 0 })
        .ctx("Failed to list volumes")?
        .vols;
    vols.sort_by_key(|v| (v.name.to_lowercase(), v.name.clone()));
    let details = cmd.has("details");
    let mut table = if details {
        Table::new(["Name", "Path", "Type", "Capacity", "Allocation"])
    } else {
        Table::new(["Name", "Path"])
    };
    for vol in vols {
        let path = call!(ctl, StorageVolGetPath { vol: vol.clone() })
            .map_or_else(|_| "unknown".to_owned(), |r| r.name);
        if !details {
            table.row([vol.name, path]);
            continue;
        }
        let row = match call!(ctl, StorageVolGetInfo { vol: vol.clone() }) {
            Ok(i) => [type_text(i.r#type).to_owned(), size(i.capacity), size(i.allocation)],
            Err(_) => ["unknown", "unknown", "unknown"].map(str::to_owned),
        };
        let [kind, capacity, allocation] = row;
        table.row([vol.name, path, kind, capacity, allocation]);
    }
    ctl.table(&table);
    Ok(())
}

/// `vol-info`
pub fn cmd_vol_info(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let vol = volume(ctl, cmd, Some("pool"))?;
    ctl.pair("Name:", &vol.name);
    let physical = cmd.has("physical");
    let (kind, capacity, allocation) = if physical {
        let i = call!(ctl, StorageVolGetInfoFlags { vol, flags: 1 })?;
        (i.r#type, i.capacity, i.allocation)
    } else {
        let i = call!(ctl, StorageVolGetInfo { vol })?;
        (i.r#type, i.capacity, i.allocation)
    };
    ctl.pair("Type:", type_text(kind));
    let second = if physical { "Physical:" } else { "Allocation:" };
    for (label, v) in [("Capacity:", capacity), (second, allocation)] {
        if cmd.has("bytes") {
            ctl.pair(label, format_args!("{v} bytes"));
        } else {
            ctl.pair(label, size(v));
        }
    }
    Ok(())
}

/// `vol-dumpxml`
pub fn cmd_vol_dumpxml(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let vol = volume(ctl, cmd, Some("pool"))?;
    let xml = call!(ctl, StorageVolGetXmlDesc { vol, flags: 0 })?.xml;
    print_xml(ctl, cmd, &xml)
}

/// `vol-path`
pub fn cmd_vol_path(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let vol = volume(ctl, cmd, Some("pool"))?;
    let path = call!(ctl, StorageVolGetPath { vol })?.name;
    ctl.member("path", path.clone());
    put!(ctl, "{path}\n");
    Ok(())
}

/// `vol-key`
pub fn cmd_vol_key(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let vol = volume(ctl, cmd, Some("pool"))?;
    ctl.member("key", vol.key.clone());
    put!(ctl, "{}\n", vol.key);
    Ok(())
}

/// `vol-name`
pub fn cmd_vol_name(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let vol = volume(ctl, cmd, None)?;
    ctl.member("name", vol.name.clone());
    put!(ctl, "{}\n", vol.name);
    Ok(())
}

/// `vol-pool`
pub fn cmd_vol_pool(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let vol = volume(ctl, cmd, None)?;
    let p = call!(ctl, StoragePoolLookupByVolume { vol }).ctx("failed to get parent pool")?.pool;
    let text = if cmd.has("uuid") { uuid_text(&p.uuid) } else { p.name };
    ctl.member("pool", text.clone());
    put!(ctl, "{text}\n");
    Ok(())
}

/// A size option of a volume: bytes, or with a suffix.
fn bytes(text: &str) -> Outcome<u64> {
    scaled_int(text, 1, u64::MAX).map_err(|detail| {
        let mut f = Fail::new(format!("Malformed size {text}"));
        f.lines.extend(detail);
        f
    })
}

/// `vol-create-as`
pub fn cmd_vol_create_as(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[("prealloc-metadata", 1)]);
    let p = pool(ctl, cmd, "pool", true, true)?;
    let name = cmd.req("name")?.to_owned();
    let capacity = bytes(cmd.req("capacity")?)?;
    let allocation = cmd.str("allocation")?.map(bytes).transpose()?;
    let mut xml =
        format!("<volume>\n  <name>{}</name>\n  <capacity>{capacity}</capacity>\n", escape(&name));
    if let Some(a) = allocation {
        xml.push_str(&format!("  <allocation>{a}</allocation>\n"));
    }
    if let Some(f) = cmd.str("format")? {
        xml.push_str(&format!("  <target>\n    <format type='{}'/>\n  </target>\n", escape(f)));
    }
    if let Some(backing) = cmd.str("backing-vol")? {
        let vol = backing_volume(ctl, &p, backing)?;
        let path =
            call!(ctl, StorageVolGetPath { vol }).ctx("Failed to get snapshot volume path")?.name;
        xml.push_str(&format!("  <backingStore>\n    <path>{}</path>\n", escape(&path)));
        if let Some(f) = cmd.str("backing-vol-format")? {
            xml.push_str(&format!("    <format type='{}'/>\n", escape(f)));
        }
        xml.push_str("  </backingStore>\n");
    }
    xml.push_str("</volume>\n");
    if cmd.has("print-xml") {
        put!(ctl, "{xml}");
        return Ok(());
    }
    call!(ctl, StorageVolCreateXml { pool: p, xml, flags })
        .ctx(format!("Failed to create vol {name}"))?;
    say!(ctl, "Vol {name} created\n");
    Ok(())
}

/// A backing volume by name in the pool, else by key or path.
fn backing_volume(ctl: &mut Ctl, p: &Pool, text: &str) -> Outcome<Volume> {
    let (pool, name) = (p.clone(), text.to_owned());
    if let Ok(r) = call!(ctl, StorageVolLookupByName { pool, name }) {
        return Ok(r.vol);
    }
    if let Ok(r) = call!(ctl, StorageVolLookupByKey { key: text.to_owned() }) {
        return Ok(r.vol);
    }
    Ok(call!(ctl, StorageVolLookupByPath { path: text.to_owned() })
        .ctx(format!("failed to get vol '{text}'"))?
        .vol)
}

/// `vol-create`
pub fn cmd_vol_create(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[("prealloc-metadata", 1), ("validate", 4)]);
    let p = pool(ctl, cmd, "pool", true, true)?;
    let from = cmd.req("file")?.to_owned();
    let xml = read_file(&from)?;
    let text = xml.clone();
    let v = call!(ctl, StorageVolCreateXml { pool: p, xml, flags })
        .ctx(format!("Failed to create vol from {from}"))
        .about(&text, &from)?
        .vol;
    say!(ctl, "Vol {} created from {from}\n", v.name);
    Ok(())
}

/// `vol-create-from`
pub fn cmd_vol_create_from(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[("prealloc-metadata", 1), ("reflink", 2), ("validate", 4)]);
    let p = pool(ctl, cmd, "pool", true, true)?;
    let from = cmd.req("file")?.to_owned();
    let clonevol = volume(ctl, cmd, Some("inputpool"))?;
    let xml = read_file(&from)?;
    let text = xml.clone();
    let input = clonevol.name.clone();
    let v = call!(ctl, StorageVolCreateXmlFrom { pool: p, xml, clonevol, flags })
        .ctx(format!("Failed to create vol from {from}"))
        .about(&text, &from)?
        .vol;
    say!(ctl, "Vol {} created from input vol {input}\n", v.name);
    Ok(())
}

/// `vol-clone`
pub fn cmd_vol_clone(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[("prealloc-metadata", 1), ("reflink", 2)]);
    let vol = volume(ctl, cmd, Some("pool"))?;
    let new = cmd.req("newname")?.to_owned();
    let p = call!(ctl, StoragePoolLookupByVolume { vol: vol.clone() })
        .ctx("failed to get parent pool")?
        .pool;
    let old = call!(ctl, StorageVolGetXmlDesc { vol: vol.clone(), flags: 0 })?.xml;
    let xml = renamed(&old, &new)?;
    if cmd.has("print-xml") {
        put!(ctl, "{xml}");
        return Ok(());
    }
    let source = vol.name.clone();
    call!(ctl, StorageVolCreateXmlFrom { pool: p, xml, clonevol: vol, flags })
        .ctx(format!("Failed to clone vol from {source}"))?;
    say!(ctl, "Vol {new} cloned from {source}\n");
    Ok(())
}

/// The volume's XML with another name.
fn renamed(xml: &str, new: &str) -> Outcome<String> {
    let doc = crate::virsh::util::parse_xml(xml)?;
    let Some(name) = doc.root().child("name") else {
        fail!("Failed to allocate XML buffer");
    };
    let span = name.full_span();
    Ok(format!("{}<name>{}</name>{}", &xml[..span.start], escape(new), &xml[span.end..]))
}

/// `vol-delete`
pub fn cmd_vol_delete(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.flags(&[("delete-snapshots", 2)]);
    let vol = volume(ctl, cmd, Some("pool"))?;
    let name = cmd.req("vol")?.to_owned();
    call!(ctl, StorageVolDelete { vol, flags }).ctx(format!("Failed to delete vol {name}"))?;
    say!(ctl, "Vol {name} deleted\n");
    Ok(())
}

/// `vol-wipe`
pub fn cmd_vol_wipe(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let vol = volume(ctl, cmd, Some("pool"))?;
    let name = cmd.req("vol")?.to_owned();
    let algorithm = match cmd.str("algorithm")? {
        None => None,
        Some(a) => match ALGORITHMS.iter().position(|w| *w == a) {
            Some(i) => Some(i as u32),
            None => fail!("Unsupported algorithm '{a}'"),
        },
    };
    let done = match algorithm {
        Some(algorithm) => call!(ctl, StorageVolWipePattern { vol, algorithm, flags: 0 }),
        None => call!(ctl, StorageVolWipe { vol, flags: 0 }),
    };
    done.ctx(format!("Failed to wipe vol {name}"))?;
    say!(ctl, "Vol {name} wiped\n");
    Ok(())
}

/// `vol-resize`
pub fn cmd_vol_resize(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let mut flags = cmd.flags(&[("allocate", 1), ("delta", 2), ("shrink", 4)]);
    let vol = volume(ctl, cmd, Some("pool"))?;
    let text = cmd.req("capacity")?.to_owned();
    let digits = match text.strip_prefix('-') {
        Some(d) if flags & 4 != 0 => {
            flags |= 2;
            d
        }
        Some(_) => fail!("negative size requires --shrink"),
        None => &text,
    };
    let capacity = bytes(digits)?;
    let (name, by) = (vol.name.clone(), if flags & 2 != 0 { "by" } else { "to" });
    call!(ctl, StorageVolResize { vol, capacity, flags })
        .ctx(format!("Failed to change size of volume '{name}' {by} {text}"))?;
    say!(ctl, "Size of volume '{name}' successfully changed {by} {text}\n");
    Ok(())
}
