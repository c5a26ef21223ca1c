//! Host network interfaces.

use super::*;
use protocol::remote::NonnullInterface as Iface;

fn iface(ctl: &mut Ctl, cmd: &Cmd, by_name: bool, by_mac: bool) -> Outcome<Iface> {
    let text = cmd.req("interface")?.to_owned();
    let mut fail = Fail::default();
    if by_name {
        match call!(ctl, InterfaceLookupByName { name: text.clone() }) {
            Ok(r) => return Ok(r.iface),
            Err(f) => fail = f,
        }
    }
    if by_mac && is_mac(&text) {
        match call!(ctl, InterfaceLookupByMacString { mac: text.clone() }) {
            Ok(r) => return Ok(r.iface),
            Err(f) => fail = f,
        }
    }
    Err(fail.before(format!("failed to get interface '{text}'")))
}

/// Six pairs of hexadecimal digits.
fn is_mac(text: &str) -> bool {
    let mut parts = text.split(':');
    parts.clone().count() == 6
        && parts.all(|p| matches!(p.len(), 1 | 2) && p.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// `iface-list`
pub fn cmd_iface_list(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let mut flags = 2;
    if cmd.has("inactive") {
        flags = 1;
    }
    if cmd.has("all") {
        flags = 3;
    }
    let mut list = match call!(ctl, ConnectListAllInterfaces { need_results: 1, flags }) {
        Ok(r) => r.ifaces,
        // Clients then try the older calls, and report their failure.
        Err(f) if f.is(3) => {
            if flags & 2 != 0 {
                call!(ctl, ConnectNumOfInterfaces).ctx("Failed to list active interfaces")?;
            }
            call!(ctl, ConnectNumOfDefinedInterfaces).ctx("Failed to list inactive interfaces")?;
            return Err(f.before("Failed to list interfaces"));
        }
        Err(f) => return Err(f.before("Failed to list interfaces")),
    };
    list.sort_by_key(|i| (i.name.to_lowercase(), i.name.clone()));
    let mut table = Table::new(["Name", "State", "MAC Address"]);
    for i in list {
        let active = call!(ctl, InterfaceIsActive { iface: i.clone() })?.active != 0;
        let state = if active { "active" } else { "inactive" };
        table.row([i.name.as_str(), state, &i.mac]);
    }
    ctl.table(&table);
    Ok(())
}

/// `iface-mac`
pub fn cmd_iface_mac(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let i = iface(ctl, cmd, true, false)?;
    ctl.member("mac", i.mac.clone());
    put!(ctl, "{}\n", i.mac);
    Ok(())
}

/// `iface-name`
pub fn cmd_iface_name(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let i = iface(ctl, cmd, false, true)?;
    ctl.member("name", i.name.clone());
    put!(ctl, "{}\n", i.name);
    Ok(())
}

/// `iface-dumpxml`
pub fn cmd_iface_dumpxml(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = u32::from(cmd.has("inactive"));
    let iface = iface(ctl, cmd, true, true)?;
    let xml = call!(ctl, InterfaceGetXmlDesc { iface, flags })?.xml;
    print_xml(ctl, cmd, &xml)
}

/// `iface-define`
pub fn cmd_iface_define(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let from = cmd.req("file")?.to_owned();
    let xml = read_file(&from)?;
    let text = xml.clone();
    let flags = cmd.flags(&[("validate", 1)]);
    let i = call!(ctl, InterfaceDefineXml { xml, flags })
        .ctx(format!("Failed to define interface from {from}"))
        .about(&text, &from)?
        .iface;
    say!(ctl, "Interface {} defined from {from}\n", i.name);
    Ok(())
}

/// `iface-undefine`
pub fn cmd_iface_undefine(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let iface = iface(ctl, cmd, true, true)?;
    let name = iface.name.clone();
    call!(ctl, InterfaceUndefine { iface }).ctx(format!("Failed to undefine interface {name}"))?;
    say!(ctl, "Interface {name} undefined\n");
    Ok(())
}

/// `iface-start`
pub fn cmd_iface_start(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let iface = iface(ctl, cmd, true, true)?;
    let name = iface.name.clone();
    call!(ctl, InterfaceCreate { iface, flags: 0 })
        .ctx(format!("Failed to start interface {name}"))?;
    say!(ctl, "Interface {name} started\n");
    Ok(())
}

/// `iface-destroy`
pub fn cmd_iface_destroy(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let iface = iface(ctl, cmd, true, true)?;
    let name = iface.name.clone();
    call!(ctl, InterfaceDestroy { iface, flags: 0 })
        .ctx(format!("Failed to destroy interface {name}"))?;
    say!(ctl, "Interface {name} destroyed\n");
    Ok(())
}

/// `iface-edit`
pub fn cmd_iface_edit(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let i = iface(ctl, cmd, true, true)?;
    let read =
        |ctl: &mut Ctl| Ok(call!(ctl, InterfaceGetXmlDesc { iface: i.clone(), flags: 1 })?.xml);
    let changed = edit::run(ctl, read, |ctl, xml, relax| {
        let flags = u32::from(!relax);
        Ok(call!(ctl, InterfaceDefineXml { xml: xml.to_owned(), flags })?.iface.name)
    })?;
    match changed {
        Some(name) => say!(ctl, "Interface {name} XML configuration edited.\n"),
        None => say!(ctl, "Interface {} XML configuration not changed.\n", i.name),
    }
    Ok(())
}

/// `iface-begin`
pub fn cmd_iface_begin(ctl: &mut Ctl, _: &Cmd) -> Outcome {
    call!(ctl, InterfaceChangeBegin { flags: 0 })
        .ctx("Failed to begin network config change transaction")?;
    say!(ctl, "Network config change transaction started\n");
    Ok(())
}

/// `iface-commit`
pub fn cmd_iface_commit(ctl: &mut Ctl, _: &Cmd) -> Outcome {
    call!(ctl, InterfaceChangeCommit { flags: 0 })
        .ctx("Failed to commit network config change transaction")?;
    say!(ctl, "Network config change transaction committed\n");
    Ok(())
}

/// `iface-rollback`
pub fn cmd_iface_rollback(ctl: &mut Ctl, _: &Cmd) -> Outcome {
    call!(ctl, InterfaceChangeRollback { flags: 0 })
        .ctx("Failed to rollback network config change transaction")?;
    say!(ctl, "Network config change transaction rolled back\n");
    Ok(())
}
