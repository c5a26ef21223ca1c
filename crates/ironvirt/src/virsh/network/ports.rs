//! Ports of networks.

use super::*;
use crate::virsh::ctl::{put, say};
use crate::virsh::domain::print_xml;
use crate::virsh::table::Table;
use crate::virsh::util::{read_file, uuid_text};
use protocol::remote::NonnullNetworkPort as Port;

fn port(ctl: &mut Ctl, cmd: &Cmd) -> Outcome<Port> {
    let net = network(ctl, cmd, true, true)?;
    let text = cmd.req("port")?;
    let failed = format!("failed to get network port '{text}'");
    let Some(uuid) = parse_uuid(text) else {
        return Err(Fail::new(failed));
    };
    Ok(call!(ctl, NetworkPortLookupByUuid { network: net, uuid }).ctx(failed)?.port)
}

/// `net-port-list`
pub fn cmd_net_port_list(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("table", "uuid")?;
    let net = network(ctl, cmd, true, true)?;
    let ports = call!(ctl, NetworkListAllPorts { network: net, need_results: 1, flags: 0 })?.ports;
    if cmd.has("uuid") && !ctl.json() {
        for p in ports {
            put!(ctl, "{}\n", uuid_text(&p.uuid));
        }
        return Ok(());
    }
    let mut table = Table::new(["UUID"]);
    for p in ports {
        table.row([uuid_text(&p.uuid)]);
    }
    ctl.table(&table);
    Ok(())
}

/// `net-port-create`
pub fn cmd_net_port_create(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let net = network(ctl, cmd, true, true)?;
    let from = cmd.req("file")?.to_owned();
    let xml = read_file(&from)?;
    let text = xml.clone();
    let flags = cmd.flags(&[("validate", 2)]);
    let p = call!(ctl, NetworkPortCreateXml { network: net, xml, flags })
        .ctx(format!("Failed to create network from {from}"))
        .about(&text, &from)?
        .port;
    say!(ctl, "Network port {} created from {from}\n", uuid_text(&p.uuid));
    Ok(())
}

/// `net-port-dumpxml`
pub fn cmd_net_port_dumpxml(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let port = port(ctl, cmd)?;
    let xml = call!(ctl, NetworkPortGetXmlDesc { port, flags: 0 })?.xml;
    print_xml(ctl, cmd, &xml)
}

/// `net-port-delete`
pub fn cmd_net_port_delete(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let port = port(ctl, cmd)?;
    let uuid = uuid_text(&port.uuid);
    call!(ctl, NetworkPortDelete { port, flags: 0 })
        .ctx(format!("Failed to delete network port {uuid}"))?;
    say!(ctl, "Network port {uuid} deleted\n");
    Ok(())
}
