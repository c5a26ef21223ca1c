//! DHCP hosts and ranges.

use units::MacAddr;

use super::super::address::Family;
use super::super::definition::Network;
use super::super::ip::{DhcpHost, DhcpRange, Ip};
use super::{Command, Fragment, Refusal, invalid, unsupported};

/// The `<ip>` an entry belongs to.
fn parent_ip(network: &mut Network, parent: i32) -> Result<&mut Ip, Refusal> {
    let index = match usize::try_from(parent) {
        Ok(index) => index,
        // The one with a DHCP server, or else the first.
        Err(_) => network.ips.iter().position(|ip| ip.dhcp.is_some()).unwrap_or(0),
    };
    let place = if parent < 0 { String::new() } else { format!("at index {parent} ") };
    network.ips.get_mut(index).ok_or_else(|| {
        invalid(format!(
            "couldn't update dhcp host entry - no <ip> element found {place}in network \
             '{{network}}'"
        ))
    })
}

/// Refuses a second DHCP server of one family.
fn only_server(network: &Network, parent: i32) -> Result<(), Refusal> {
    let Some(ip) = usize::try_from(parent).ok().and_then(|at| network.ips.get(at)) else {
        return Ok(());
    };
    let family = ip.family();
    let other = network.ips.iter().any(|ip| ip.family() == family && ip.dhcp.is_some());
    if ip.dhcp.is_some() || !other {
        return Ok(());
    }
    let name = if family == Family::Ipv4 { "IPv4" } else { "IPv6" };
    Err(invalid(format!("dhcp is supported only for a single {name} address on each network")))
}

fn same_mac(a: &DhcpHost, b: &DhcpHost) -> bool {
    let mac = |host: &DhcpHost| host.mac.as_ref()?.parse::<MacAddr>().ok();
    mac(a).is_some_and(|a| mac(b) == Some(a))
}

fn same<T: PartialEq>(a: &Option<T>, b: &Option<T>) -> bool {
    a.is_some() && a == b
}

/// Whether two hosts have anything in common that only one may have.
fn collide(a: &DhcpHost, b: &DhcpHost) -> bool {
    same_mac(a, b) || same(&a.name, &b.name) || same(&a.ip, &b.ip)
}

/// Whether a host is as `wanted` says, as far as it says something.
fn matches(host: &DhcpHost, wanted: &DhcpHost) -> bool {
    (wanted.mac.is_none() || same_mac(host, wanted))
        && (wanted.name.is_none() || host.name == wanted.name)
        && (wanted.ip.is_none() || host.ip == wanted.ip)
}

pub(super) fn host(
    network: &mut Network,
    command: Command,
    parent: i32,
    part: &Fragment<'_>,
) -> Result<(), Refusal> {
    part.expect("host")?;
    let single = only_server(network, parent);
    let ip = parent_ip(network, parent)?;
    let family = ip.family();
    let deletes = command == Command::Delete;
    let host = part.read::<DhcpHost>(|host, el, cx| host.check_in(family, deletes, el, cx))?;
    if !deletes && host.ip.is_some_and(|address| address.family() != family) {
        return Err(invalid(
            "the address family of a host entry IP must match the address family of the dhcp \
             element's parent",
        ));
    }
    let hosts = &mut ip.dhcp_mut().hosts;
    let mac = host.mac.as_deref().unwrap_or("unknown");
    let name = host.name.as_deref().unwrap_or("(null)");
    let address = host.ip.map(|ip| ip.to_string()).unwrap_or_default();
    match command {
        Command::Modify => match hosts.iter_mut().find(|other| collide(other, &host)) {
            Some(other) => *other = host,
            None => {
                return Err(invalid(format!(
                    "couldn't locate an existing dhcp host entry with \"mac='{mac}'\" \
                     \"name='{name}'\" \"ip='{address}'\" in network '{{network}}'"
                )));
            }
        },
        Command::Delete => match hosts.iter().position(|other| matches(other, &host)) {
            Some(at) => drop(hosts.remove(at)),
            None => {
                return Err(invalid(
                    "couldn't locate a matching dhcp host entry in network '{network}'",
                ));
            }
        },
        Command::AddLast | Command::AddFirst => {
            if hosts.iter().any(|other| collide(other, &host)) {
                return Err(invalid(format!(
                    "there is an existing dhcp host entry in network '{{network}}' that matches \
                     \"<host mac='{mac}' name='{name}' ip='{address}'/>\""
                )));
            }
            single?;
            command.insert(hosts, host);
        }
    }
    ip.tidy();
    Ok(())
}

pub(super) fn range(
    network: &mut Network,
    command: Command,
    parent: i32,
    part: &Fragment<'_>,
) -> Result<(), Refusal> {
    part.expect("range")?;
    let single = only_server(network, parent);
    let ip = parent_ip(network, parent)?;
    if command == Command::Modify {
        return Err(unsupported("dhcp ranges cannot be modified, only added or deleted"));
    }
    let within = ip.range_network();
    let range = part.read::<DhcpRange>(|range, el, cx| range.check_in(within, el, cx))?;
    let ranges = &mut ip.dhcp_mut().ranges;
    let found =
        ranges.iter().position(|other| other.start == range.start && other.end == range.end);
    match found {
        Some(_) if command.adds() => {
            return Err(invalid(format!(
                "there is an existing dhcp range entry in network '{{network}}' that matches \
                 \"<range start='{}' end='{}'/>\"",
                range.start, range.end
            )));
        }
        Some(at) => drop(ranges.remove(at)),
        None if command.adds() => {
            single?;
            command.insert(ranges, range);
        }
        None => {
            return Err(invalid(
                "couldn't locate a matching dhcp range entry in network '{network}'",
            ));
        }
    }
    ip.tidy();
    Ok(())
}
