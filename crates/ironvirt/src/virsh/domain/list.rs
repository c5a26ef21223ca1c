//! `list`.

use super::info::state_text;
use super::*;
use crate::virsh::ctl::put;
use crate::virsh::fail::Context;
use crate::virsh::table::Table;
use crate::virsh::util::uuid_text;

const ACTIVE: u32 = 1;
const INACTIVE: u32 = 2;
const FILTERS: &[(&str, u32)] = &[
    ("persistent", 1 << 2),
    ("transient", 1 << 3),
    ("state-running", 1 << 4),
    ("state-paused", 1 << 5),
    ("state-shutoff", 1 << 6),
    ("state-other", 1 << 7),
    ("with-managed-save", 1 << 8),
    ("without-managed-save", 1 << 9),
    ("autostart", 1 << 10),
    ("no-autostart", 1 << 11),
    ("with-snapshot", 1 << 12),
    ("without-snapshot", 1 << 13),
    ("with-checkpoint", 1 << 14),
    ("without-checkpoint", 1 << 15),
];

/// Domains that match the flags of the list call, running ones first by id, others by name.
pub fn domains(ctl: &mut Ctl, flags: u32) -> Outcome<Vec<Dom>> {
    let mut list = call!(ctl, ConnectListAllDomains { need_results: 1, flags })
        .ctx("Failed to list domains")?
        .domains;
    list.sort_by(|a, b| match (a.id, b.id) {
        (-1, -1) => {
            let key = |d: &Dom| d.name.to_lowercase();
            key(a).cmp(&key(b)).then_with(|| a.name.cmp(&b.name))
        }
        (-1, _) => std::cmp::Ordering::Greater,
        (_, -1) => std::cmp::Ordering::Less,
        (x, y) => x.cmp(&y),
    });
    Ok(list)
}

/// `list`
pub fn cmd_list(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let mut flags = ACTIVE;
    if cmd.has("inactive") || cmd.has("state-shutoff") {
        flags = INACTIVE;
    }
    if cmd.has("all") {
        flags = ACTIVE | INACTIVE;
    }
    flags |= cmd.flags(FILTERS);
    cmd.exclusive("table", "name")?;
    cmd.exclusive("table", "id")?;
    let (uuid, name, id) = (cmd.has("uuid"), cmd.has("name"), cmd.has("id"));
    let table_mode = cmd.has("table") || !(uuid || name || id);
    let list = domains(ctl, flags)?;
    let id_text = |d: &Dom| {
        if d.id < 0 { "-".to_owned() } else { d.id.to_string() }
    };
    if !table_mode && !ctl.json() {
        for d in &list {
            let mut parts = Vec::new();
            if uuid {
                parts.push(uuid_text(&d.uuid));
            }
            if id && (d.id >= 0 || uuid || name) {
                parts.push(id_text(d));
            }
            if name {
                parts.push(d.name.clone());
            }
            // Ids alone: a domain that is not running has none.
            if parts.is_empty() {
                continue;
            }
            put!(ctl, "{}\n", parts.join(" "));
        }
        return Ok(());
    }
    let (title, saved) = (cmd.has("title"), cmd.has("managed-save"));
    let mut header = vec!["Id", "Name", "State"];
    if title {
        header.push("Title");
    }
    if uuid || (ctl.json() && !title) {
        header.push("UUID");
    }
    let with_uuid = header.contains(&"UUID");
    let mut table = Table::new(header);
    for d in &list {
        let mut state = match call!(ctl, DomainGetState { dom: d.clone(), flags: 0 }) {
            Ok(s) => state_text(s.state),
            // The domain went away in between.
            Err(_) => continue,
        };
        if saved
            && state == "shut off"
            && call!(ctl, DomainHasManagedSaveImage { dom: d.clone(), flags: 0 })?.result == 1
        {
            state = "saved";
        }
        let mut row = vec![id_text(d), d.name.clone(), state.to_owned()];
        if title {
            row.push(
                call!(ctl, DomainGetMetadata { dom: d.clone(), r#type: 1, uri: None, flags: 0 })
                    .map(|r| r.metadata)
                    .unwrap_or_default(),
            );
        }
        if with_uuid {
            row.push(uuid_text(&d.uuid));
        }
        table.row(row);
    }
    ctl.table(&table);
    Ok(())
}
