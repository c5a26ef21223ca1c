//! Networks: their XML.

use crate::Operation;
use crate::answer::{Answer, accepted, either};
use crate::host;
use crate::request::Request;
use model::network::{self, Command, FormatFlags, Network, Section};
use plan::network::{Backend, DnsmasqPaths, rules, set_up, to_commands};
use serde_json::json;
use units::Uuid;

/// The operations of this area.
pub const OPERATIONS: &[Operation] = &[
    ("network-xml", network_xml),
    ("network-update", network_update),
    ("network-port-xml", port_xml),
    ("network-dnsmasq", dnsmasq),
    ("network-firewall", firewall),
];

/// A network as it is read, with a UUID made where it has none.
fn read(request: &Request<'_>) -> Result<Network, Answer> {
    let text = request.need("xml")?;
    let parsed = network::parse(text);
    let mut network = accepted(parsed.value, parsed.diagnostics, text)?;
    if network.uuid.is_none() {
        let mut bytes = [0; 16];
        host::random(&mut bytes);
        network.uuid = Some(Uuid::from_random_bytes(bytes));
    }
    Ok(network)
}

fn network_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let network = read(request)?;
        let flags = FormatFlags { inactive: request.flag("inactive"), indent: 0 };
        Ok(Answer::text(network::format(&network, flags)))
    })())
}

fn network_update(request: &Request<'_>) -> Answer {
    either((|| {
        let mut network = read(request)?;
        let wrong = |what: &str| Answer::wrong(format!("no such {what}"));
        let section = request.need("section")?.parse::<Section>().map_err(|_| wrong("section"))?;
        let command = request.need("command")?.parse::<Command>().map_err(|_| wrong("command"))?;
        let parent = request.value("index").as_i64().and_then(|n| i32::try_from(n).ok());
        let fragment = request.need("update")?;
        network::update(&mut network, section, command, parent.unwrap_or(-1), fragment)
            .map_err(|found| Answer::refused(found, fragment))?;
        let flags = FormatFlags { inactive: request.flag("inactive"), indent: 0 };
        Ok(Answer::text(network::format(&network, flags)))
    })())
}

fn port_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let text = request.need("xml")?;
        let parsed = network::parse_port(text);
        let port = accepted(parsed.value, parsed.diagnostics, text)?;
        Ok(Answer::text(network::format_port(&port)))
    })())
}

fn dnsmasq(request: &Request<'_>) -> Answer {
    either((|| {
        let network = read(request)?;
        let paths =
            DnsmasqPaths { state_dir: "/var/lib/libvirt/dnsmasq".to_owned(), pid_file: None };
        let made = plan::network::dnsmasq(&network, &paths)?;
        Ok(Answer::Out(json!({"conf": made.conf, "hostsfile": made.hosts})))
    })())
}

fn firewall(request: &Request<'_>) -> Answer {
    either((|| {
        let network = read(request)?;
        let backend = match request.need("backend")? {
            "iptables" => Backend::Iptables,
            "nftables" => Backend::Nftables,
            other => return Err(Answer::wrong(format!("no backend '{other}'"))),
        };
        let bridge = network.bridge_name().ok_or_else(|| Answer::wrong("no bridge"))?;
        let mut commands = set_up(backend);
        commands.extend(to_commands(&rules(&network), bridge, backend));
        let argv: Vec<Vec<String>> = commands.iter().map(plan::Command::argv).collect();
        Ok(Answer::Out(json!(argv)))
    })())
}
