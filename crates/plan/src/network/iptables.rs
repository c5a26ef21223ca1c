//! Rules as commands of iptables and ip6tables.

use super::firewall::{Layer, Rule};
use crate::Command;

/// A command of one layer's tool; `-w` waits for others that change rules.
fn tool(layer: Layer, table: &str) -> Command {
    let program = match layer {
        Layer::Ipv4 => "iptables",
        Layer::Ipv6 => "ip6tables",
    };
    Command::new(program).args(["-w", "--table", table])
}

fn insert(layer: Layer, table: &str, chain: &str) -> Command {
    tool(layer, table).args(["--insert", chain])
}

/// Adds `option value` where there is a value.
fn option(command: Command, name: &str, value: Option<&str>) -> Command {
    match value {
        Some(value) => command.args([name, value]),
        None => command,
    }
}

pub(super) fn command(rule: &Rule, bridge: &str) -> Command {
    match rule {
        Rule::AllowRequest(layer, protocol, port) => insert(*layer, "filter", "LIBVIRT_INP")
            .args(["--in-interface", bridge, "--protocol", *protocol])
            .args(["--destination-port", &port.to_string(), "--jump", "ACCEPT"]),
        Rule::AllowAnswer(layer, protocol, port) => insert(*layer, "filter", "LIBVIRT_OUT")
            .args(["--out-interface", bridge, "--protocol", *protocol])
            .args(["--destination-port", &port.to_string(), "--jump", "ACCEPT"]),
        Rule::RejectOut(layer) => insert(*layer, "filter", "LIBVIRT_FWO").args([
            "--in-interface",
            bridge,
            "--jump",
            "REJECT",
        ]),
        Rule::RejectIn(layer) => insert(*layer, "filter", "LIBVIRT_FWI").args([
            "--out-interface",
            bridge,
            "--jump",
            "REJECT",
        ]),
        Rule::AllowCross(layer) => insert(*layer, "filter", "LIBVIRT_FWX").args([
            "--in-interface",
            bridge,
            "--out-interface",
            bridge,
            "--jump",
            "ACCEPT",
        ]),
        Rule::AllowOut(guests, dev) => {
            let command = insert(guests.layer(), "filter", "LIBVIRT_FWO").args([
                "--source",
                &guests.to_string(),
                "--in-interface",
                bridge,
            ]);
            option(command, "--out-interface", dev.as_deref()).args(["--jump", "ACCEPT"])
        }
        Rule::AllowIn(guests, dev, answers) => {
            let command = insert(guests.layer(), "filter", "LIBVIRT_FWI")
                .args(["--destination", &guests.to_string()]);
            let command =
                option(command, "--in-interface", dev.as_deref()).args(["--out-interface", bridge]);
            let command = if *answers {
                command.args(["--match", "conntrack", "--ctstate", "ESTABLISHED,RELATED"])
            } else {
                command
            };
            command.args(["--jump", "ACCEPT"])
        }
        Rule::Translate { guests, dev, protocol, addresses, ports } => {
            let subnet = guests.to_string();
            let command = insert(guests.layer(), "nat", "LIBVIRT_PRT").args(["--source", &subnet]);
            let command = option(command, "-p", *protocol).args(["!", "--destination", &subnet]);
            let command = option(command, "--out-interface", dev.as_deref());
            let ports = ports.as_ref().map(|ports| format!("{}-{}", ports.start, ports.end));
            match addresses {
                Some(range) => {
                    let ports = ports.map(|ports| format!(":{ports}")).unwrap_or_default();
                    let source = format!("{}-{}{ports}", range.start, range.end);
                    command.args(["--jump", "SNAT", "--to-source", &source])
                }
                None => {
                    option(command.args(["--jump", "MASQUERADE"]), "--to-ports", ports.as_deref())
                }
            }
        }
        Rule::Keep(guests, dev, to) => {
            let command = insert(guests.layer(), "nat", "LIBVIRT_PRT");
            option(command, "--out-interface", dev.as_deref())
                .args(["--source", &guests.to_string(), "--destination", &to.to_string()])
                .args(["--jump", "RETURN"])
        }
        Rule::Checksum => insert(Layer::Ipv4, "mangle", "LIBVIRT_PRT")
            .args(["--out-interface", bridge, "--protocol", "udp", "--destination-port", "68"])
            .args(["--jump", "CHECKSUM", "--checksum-fill"]),
    }
}

/// Chains of our own, and where they are hooked in.
const CHAINS: [(&str, &str, &str); 7] = [
    ("filter", "LIBVIRT_INP", "INPUT"),
    ("filter", "LIBVIRT_OUT", "OUTPUT"),
    ("filter", "LIBVIRT_FWO", "FORWARD"),
    ("filter", "LIBVIRT_FWI", "FORWARD"),
    ("filter", "LIBVIRT_FWX", "FORWARD"),
    ("nat", "LIBVIRT_PRT", "POSTROUTING"),
    ("mangle", "LIBVIRT_PRT", "POSTROUTING"),
];

pub(super) fn set_up(layer: Layer) -> Vec<Command> {
    let mut out: Vec<Command> = ["filter", "nat", "mangle"]
        .into_iter()
        .map(|table| tool(layer, table).arg("--list-rules"))
        .collect();
    for (table, chain, hook) in CHAINS {
        out.push(tool(layer, table).args(["--new-chain", chain]));
        out.push(insert(layer, table, hook).args(["--jump", chain]));
    }
    out
}
