//! Lists, definitions, state of networks.

use super::*;
use crate::virsh::ctl::{put, say};
use crate::virsh::domain::{describe_lifecycle, print_event, print_xml, watch};
use crate::virsh::edit;
use crate::virsh::fail::fail;
use crate::virsh::registry::words::{NET_EVENTS, SECTIONS};
use crate::virsh::storage::event_kind;
use crate::virsh::table::Table;
use crate::virsh::util::{read_file, uuid_text};
use protocol::remote::events as ev;

fn yes_no(v: bool) -> &'static str {
    if v { "yes" } else { "no" }
}

/// `net-list`
pub fn cmd_net_list(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let mut flags = 2;
    if cmd.has("inactive") {
        flags = 1;
    }
    if cmd.has("all") {
        flags = 3;
    }
    flags |=
        cmd.flags(&[("persistent", 4), ("transient", 8), ("autostart", 16), ("no-autostart", 32)]);
    let (uuid, name) = (cmd.has("uuid"), cmd.has("name"));
    if [cmd.has("table"), uuid, name].into_iter().filter(|b| *b).count() > 1 {
        fail!("Only one argument from --table, --name and --uuid may be specified.");
    }
    let mut nets = call!(ctl, ConnectListAllNetworks { need_results: 1, flags })
        .ctx("Failed to list networks")?
        .nets;
    nets.sort_by_key(|n| (n.name.to_lowercase(), n.name.clone()));
    if (uuid || name) && !ctl.json() {
        for n in &nets {
            if uuid {
                put!(ctl, "{}\n", uuid_text(&n.uuid));
            } else {
                put!(ctl, "{}\n", n.name);
            }
        }
        return Ok(());
    }
    let title = cmd.has("title");
    let mut header = vec!["Name", "State", "Autostart", "Persistent"];
    if title {
        header.push("Title");
    }
    let mut table = Table::new(header);
    for n in nets {
        let autostart = match call!(ctl, NetworkGetAutostart { net: n.clone() }) {
            Ok(a) => yes_no(a.autostart != 0),
            Err(_) => "no autostart",
        };
        let active = call!(ctl, NetworkIsActive { net: n.clone() })?.active != 0;
        let persistent = call!(ctl, NetworkIsPersistent { net: n.clone() })?.persistent != 0;
        let mut row = vec![
            n.name.clone(),
            if active { "active" } else { "inactive" }.to_owned(),
            autostart.to_owned(),
            yes_no(persistent).to_owned(),
        ];
        if title {
            row.push(super::text::metadata(ctl, &n, 1, None, 0)?.unwrap_or_default());
        }
        table.row(row);
    }
    ctl.table(&table);
    Ok(())
}

/// `net-info`
pub fn cmd_net_info(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let net = network(ctl, cmd, true, true)?;
    ctl.pair("Name:", &net.name);
    ctl.pair("UUID:", uuid_text(&net.uuid));
    if let Ok(a) = call!(ctl, NetworkIsActive { net: net.clone() }) {
        ctl.pair("Active:", yes_no(a.active != 0));
    }
    match call!(ctl, NetworkIsPersistent { net: net.clone() }) {
        Ok(p) => ctl.pair("Persistent:", yes_no(p.persistent != 0)),
        Err(_) => ctl.pair("Persistent:", "unknown"),
    }
    match call!(ctl, NetworkGetAutostart { net: net.clone() }) {
        Ok(a) => ctl.pair("Autostart:", yes_no(a.autostart != 0)),
        Err(_) => ctl.pair("Autostart:", "no autostart"),
    }
    if let Ok(b) = call!(ctl, NetworkGetBridgeName { net }) {
        ctl.pair("Bridge:", b.name);
    }
    Ok(())
}

/// `net-name`
pub fn cmd_net_name(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let n = network(ctl, cmd, true, false)?;
    ctl.member("name", n.name.clone());
    put!(ctl, "{}\n", n.name);
    Ok(())
}

/// `net-uuid`
pub fn cmd_net_uuid(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let n = network(ctl, cmd, false, true)?;
    ctl.member("uuid", uuid_text(&n.uuid));
    put!(ctl, "{}\n", uuid_text(&n.uuid));
    Ok(())
}

/// `net-dumpxml`
pub fn cmd_net_dumpxml(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let net = network(ctl, cmd, true, true)?;
    let flags = u32::from(cmd.has("inactive"));
    let xml = call!(ctl, NetworkGetXmlDesc { net, flags })?.xml;
    print_xml(ctl, cmd, &xml)
}

/// `net-define`
pub fn cmd_net_define(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let from = cmd.req("file")?.to_owned();
    let xml = read_file(&from)?;
    let text = xml.clone();
    let net = if cmd.has("validate") {
        call!(ctl, NetworkDefineXmlFlags { xml, flags: 1 }).map(|r| r.net)
    } else {
        call!(ctl, NetworkDefineXml { xml }).map(|r| r.net)
    };
    let net = net.ctx(format!("Failed to define network from {from}")).about(&text, &from)?;
    say!(ctl, "Network {} defined from {from}\n", net.name);
    Ok(())
}

/// `net-create`
pub fn cmd_net_create(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let from = cmd.req("file")?.to_owned();
    let xml = read_file(&from)?;
    let text = xml.clone();
    let net = if cmd.has("validate") {
        call!(ctl, NetworkCreateXmlFlags { xml, flags: 1 }).map(|r| r.net)
    } else {
        call!(ctl, NetworkCreateXml { xml }).map(|r| r.net)
    };
    let net = net.ctx(format!("Failed to create network from {from}")).about(&text, &from)?;
    say!(ctl, "Network {} created from {from}\n", net.name);
    Ok(())
}

/// `net-start`
pub fn cmd_net_start(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let net = network(ctl, cmd, true, true)?;
    let name = net.name.clone();
    call!(ctl, NetworkCreate { net }).ctx(format!("Failed to start network {name}"))?;
    say!(ctl, "Network {name} started\n");
    Ok(())
}

/// `net-destroy`
pub fn cmd_net_destroy(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let net = network(ctl, cmd, true, true)?;
    let name = net.name.clone();
    call!(ctl, NetworkDestroy { net }).ctx(format!("Failed to destroy network {name}"))?;
    say!(ctl, "Network {name} destroyed\n");
    Ok(())
}

/// `net-undefine`
pub fn cmd_net_undefine(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let net = network(ctl, cmd, true, true)?;
    let name = net.name.clone();
    call!(ctl, NetworkUndefine { net }).ctx(format!("Failed to undefine network {name}"))?;
    say!(ctl, "Network {name} has been undefined\n");
    Ok(())
}

/// `net-autostart`
pub fn cmd_net_autostart(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let net = network(ctl, cmd, true, true)?;
    let name = net.name.clone();
    let off = cmd.has("disable");
    let un = if off { "un" } else { "" };
    call!(ctl, NetworkSetAutostart { net, autostart: i32::from(!off) })
        .ctx(format!("failed to {un}mark network {name} as autostarted"))?;
    say!(ctl, "Network {name} {un}marked as autostarted\n");
    Ok(())
}

/// `net-edit`
pub fn cmd_net_edit(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let net = network(ctl, cmd, true, true)?;
    let read =
        |ctl: &mut Ctl| Ok(call!(ctl, NetworkGetXmlDesc { net: net.clone(), flags: 1 })?.xml);
    let changed = edit::run(ctl, read, |ctl, xml, relax| {
        let (xml, flags) = (xml.to_owned(), u32::from(!relax));
        match call!(ctl, NetworkDefineXmlFlags { xml: xml.clone(), flags }) {
            Err(f) if f.is(3) => Ok(call!(ctl, NetworkDefineXml { xml })?.net.name),
            r => Ok(r?.net.name),
        }
    })?;
    match changed {
        Some(name) => say!(ctl, "Network {name} XML configuration edited.\n"),
        None => say!(ctl, "Network {} XML configuration not changed.\n", net.name),
    }
    Ok(())
}

/// `net-update`
pub fn cmd_net_update(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let net = network(ctl, cmd, true, true)?;
    let word = cmd.req("command")?;
    // `add` is another name of `add-last`.
    let command = match word {
        "modify" => 1,
        "delete" => 2,
        "add" | "add-last" => 3,
        "add-first" => 4,
        other => fail!("unrecognized command name '{other}'"),
    };
    let word = cmd.req("section")?;
    let Some(section) = SECTIONS.iter().position(|s| *s == word) else {
        fail!("unrecognized section name '{word}'");
    };
    let text = cmd.req("xml")?;
    let xml = if text.starts_with('<') {
        text.to_owned()
    } else {
        read_file(text).ctx("Failed to read xml data from file")?
    };
    let parent_index = cmd.int("parent-index")?.unwrap_or(-1);
    cmd.exclusive("current", "live")?;
    cmd.exclusive("current", "config")?;
    let mut flags = cmd.flags(&[("live", 1), ("config", 2)]);
    let name = net.name.clone();
    if flags == 0 && !cmd.has("current") {
        flags = 0;
    }
    call!(
        ctl,
        NetworkUpdate {
            net: net.clone(),
            command,
            section: section as u32 + 1,
            parent_index,
            xml,
            flags
        }
    )
    .ctx(format!("Failed to update network {name}"))?;
    let (mut config, mut live) = (flags & 2 != 0, flags & 1 != 0);
    if !config && !live {
        let active = call!(ctl, NetworkIsActive { net })?.active != 0;
        (config, live) = (!active, active);
    }
    let what = match (config, live) {
        (true, true) => "persistent config and live state",
        (true, false) => "persistent config",
        _ => "live state",
    };
    put!(ctl, "Updated network {name} {what}");
    Ok(())
}

/// `net-dhcp-leases`
pub fn cmd_net_dhcp_leases(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let mac = cmd.str("mac")?.map(str::to_owned);
    let net = network(ctl, cmd, true, true)?;
    let name = net.name.clone();
    let mut leases = call!(ctl, NetworkGetDhcpLeases { net, mac, need_results: 1, flags: 0 })
        .ctx(format!("Failed to get leases info for {name}"))?
        .leases;
    leases.sort_by(|a, b| a.mac.cmp(&b.mac));
    let mut table = Table::new([
        "Expiry Time",
        "MAC address",
        "Protocol",
        "IP address",
        "Hostname",
        "Client ID or DUID",
    ]);
    for l in leases {
        let dash = |v: Option<String>| v.unwrap_or_else(|| "-".into());
        let family = match l.r#type {
            0 => "ipv4",
            1 => "ipv6",
            _ => "",
        };
        table.row([
            crate::virsh::util::timestamp(l.expirytime),
            dash(l.mac),
            family.to_owned(),
            format!("{}/{}", l.ipaddr, l.prefix),
            dash(l.hostname),
            dash(l.clientid),
        ]);
    }
    ctl.table(&table);
    Ok(())
}

/// `net-event`
pub fn cmd_net_event(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let Some(event_id) = event_kind(ctl, cmd, NET_EVENTS)? else {
        return Ok(());
    };
    let timeout = cmd.timeout_ms("timeout")?;
    let net = if cmd.has("network") { Some(network(ctl, cmd, true, true)?) } else { None };
    let callback_id = call!(ctl, ConnectNetworkEventRegisterAny { event_id, net })?.callback_id;
    let stamp = cmd.has("timestamp");
    let result = watch(ctl, cmd.has("loop"), timeout, &mut |ctl, raw| {
        if let Some(m) = crate::virsh::conn::event::<ev::NetworkEventLifecycle>(raw) {
            let what = describe_lifecycle(&["Defined", "Undefined", "Started", "Stopped"], m.event);
            let text = format!("event 'lifecycle' for network {}: {what}\n", m.net.name);
            print_event(ctl, stamp, "lifecycle", ("network", &m.net.name), &text);
            return true;
        }
        if let Some(m) = crate::virsh::conn::event::<ev::NetworkEventCallbackMetadataChange>(raw) {
            let text = format!(
                "event 'metadata-change' for network {}: type {}, uri {}\n",
                m.net.name,
                describe_lifecycle(&["description", "title", "element"], m.r#type),
                m.nsuri.as_deref().unwrap_or("<null>")
            );
            print_event(ctl, stamp, "metadata-change", ("network", &m.net.name), &text);
            return true;
        }
        false
    });
    let _ = call!(ctl, ConnectNetworkEventDeregisterAny { callback_id });
    result
}
