//! Rules as commands of nft. nftables needs no rule for the host's own services: our tables judge
//! forwarded packets only.

use super::firewall::{Layer, Rule};
use crate::Command;

const TABLE: &str = "libvirt_network";

fn family(layer: Layer) -> &'static str {
    match layer {
        Layer::Ipv4 => "ip",
        Layer::Ipv6 => "ip6",
    }
}

/// A new first rule; `-ae` makes nft tell its number, by which it is deleted.
fn insert(layer: Layer, chain: &str) -> Command {
    Command::new("nft").args(["-ae", "insert", "rule", family(layer), TABLE, chain])
}

fn option(command: Command, name: &str, value: Option<&str>) -> Command {
    match value {
        Some(value) => command.args([name, value]),
        None => command,
    }
}

fn command(rule: &Rule, bridge: &str) -> Option<Command> {
    Some(match rule {
        Rule::AllowRequest(..) | Rule::AllowAnswer(..) | Rule::Checksum => return None,
        Rule::RejectOut(layer) => {
            insert(*layer, "guest_output").args(["iif", bridge, "counter", "reject"])
        }
        Rule::RejectIn(layer) => {
            insert(*layer, "guest_input").args(["oif", bridge, "counter", "reject"])
        }
        Rule::AllowCross(layer) => {
            insert(*layer, "guest_cross").args(["iif", bridge, "oif", bridge, "counter", "accept"])
        }
        Rule::AllowOut(guests, dev) => {
            let layer = guests.layer();
            let command = insert(layer, "guest_output").args([
                family(layer),
                "saddr",
                &guests.to_string(),
                "iif",
                bridge,
            ]);
            option(command, "oifname", dev.as_deref()).args(["counter", "accept"])
        }
        Rule::AllowIn(guests, dev, true) => {
            let layer = guests.layer();
            option(insert(layer, "guest_input"), "iifname", dev.as_deref())
                .args(["oif", bridge, family(layer), "daddr", &guests.to_string()])
                .args(["ct", "state", "related,established", "counter", "accept"])
        }
        Rule::AllowIn(guests, dev, false) => {
            let layer = guests.layer();
            let command =
                insert(layer, "guest_input").args([family(layer), "daddr", &guests.to_string()]);
            option(command, "iifname", dev.as_deref()).args(["oif", bridge, "counter", "accept"])
        }
        Rule::Translate { guests, dev, protocol, addresses, ports } => {
            let (ip, subnet) = (family(guests.layer()), guests.to_string());
            let command = insert(guests.layer(), "guest_nat");
            let command = match protocol {
                Some(protocol) => command.args(["meta", "l4proto", *protocol]),
                None => command,
            };
            let command = command.args([ip, "saddr", &subnet, ip, "daddr", "!=", &subnet]);
            let command = option(command, "oifname", dev.as_deref()).arg("counter");
            let ports = ports.as_ref().map(|ports| format!(":{}-{}", ports.start, ports.end));
            match addresses {
                Some(range) => {
                    let ports = ports.unwrap_or_default();
                    let to = format!("{}-{}{ports}", range.start, range.end);
                    command.args(["snat", "to", &to])
                }
                None => option(command.arg("masquerade"), "to", ports.as_deref()),
            }
        }
        Rule::Keep(guests, dev, to) => {
            let ip = family(guests.layer());
            option(insert(guests.layer(), "guest_nat"), "oifname", dev.as_deref())
                .args([ip, "saddr", &guests.to_string(), ip, "daddr", &to.to_string()])
                .args(["counter", "return"])
        }
    })
}

/// The bridge's queue adds checksums to DHCP answers, which nft cannot.
fn checksums(bridge: &str) -> [Command; 3] {
    let tc = |what: &str, verb: &str| Command::new("tc").args([what, verb, "dev", bridge]);
    [
        tc("qdisc", "show").args(["handle", "1:"]),
        tc("qdisc", "add").args(["root", "handle", "1:", "htb", "default", "2"]),
        tc("filter", "add")
            .args(["prio", "2", "protocol", "ip", "parent", "1:", "u32", "match", "ip", "dport"])
            .args(["68", "ffff", "action", "csum", "ip", "and", "udp"]),
    ]
}

pub(super) fn commands(rules: &[Rule], bridge: &str) -> Vec<Command> {
    if rules.is_empty() {
        return Vec::new();
    }
    let own = rules.iter().filter_map(|rule| command(rule, bridge));
    checksums(bridge).into_iter().chain(own).collect()
}

pub(super) fn set_up(layer: Layer) -> Vec<Command> {
    let ip = family(layer);
    let nft = |words: &[&str]| Command::new("nft").args(words.iter().copied());
    let chain = |name: &str| nft(&["add", "chain", ip, TABLE, name]);
    let mut out = vec![nft(&["list", "table", ip, TABLE]), nft(&["add", "table", ip, TABLE])];
    out.push(chain("forward").arg("{ type filter hook forward priority 0; policy accept; }"));
    for name in ["guest_output", "guest_input", "guest_cross"] {
        out.push(chain(name));
        out.push(nft(&["insert", "rule", ip, TABLE, "forward", "counter", "jump", name]));
    }
    out.push(chain("guest_nat").arg("{ type nat hook postrouting priority 100; policy accept; }"));
    out
}
