//! DNS records.

use diag::ErrorCode;

use super::super::definition::Network;
use super::super::dns::{Dns, DnsHost, Srv, Txt};
use super::{Command, Fragment, Refusal, invalid, refuse, unsupported};

fn dns(network: &mut Network) -> &mut Dns {
    network.dns.get_or_insert_default()
}

pub(super) fn host(
    network: &mut Network,
    command: Command,
    part: &Fragment<'_>,
) -> Result<(), Refusal> {
    part.expect("host")?;
    let host = part.read::<DnsHost>(|host, el, cx| {
        if command.adds() {
            host.check_whole(el, cx);
        }
    })?;
    if host.ip.is_none() && host.hostnames.is_empty() {
        let message = "Missing ip and hostname in network '{network}' DNS HOST record";
        return Err(refuse(ErrorCode::XML_DETAIL, message));
    }
    let hosts = &mut dns(network).hosts;
    // To delete, one name in common is enough.
    let found: Vec<usize> = hosts
        .iter()
        .enumerate()
        .filter(|(_, other)| {
            (host.ip.is_some() && other.ip == host.ip)
                || (command == Command::Delete
                    && other.hostnames.iter().any(|name| host.hostnames.contains(name)))
        })
        .map(|(at, _)| at)
        .collect();
    match (command, found.as_slice()) {
        (Command::AddLast | Command::AddFirst, []) => command.insert(hosts, host),
        (Command::AddLast | Command::AddFirst, _) => {
            return Err(invalid(
                "there is already at least one DNS HOST record with a matching field in network \
                 {network}",
            ));
        }
        (_, []) => {
            return Err(invalid("couldn't locate a matching DNS HOST record in network {network}"));
        }
        (_, [_, _, ..]) => {
            return Err(invalid(
                "multiple matching DNS HOST records were found in network {network}",
            ));
        }
        (Command::Modify, [at]) => hosts[*at] = host,
        (Command::Delete, [at]) => drop(hosts.remove(*at)),
    }
    Ok(())
}

pub(super) fn txt(
    network: &mut Network,
    command: Command,
    part: &Fragment<'_>,
) -> Result<(), Refusal> {
    part.expect("txt")?;
    let txt = part.read::<Txt>(|txt, el, cx| {
        if command.adds() {
            txt.check_whole(el, cx);
        }
    })?;
    let txts = &mut dns(network).txts;
    let found = txts.iter().position(|other| other.name == txt.name);
    match (command, found) {
        (Command::AddLast | Command::AddFirst, None) => command.insert(txts, txt),
        (Command::AddLast | Command::AddFirst, Some(_)) => {
            return Err(invalid(format!(
                "there is already a DNS TXT record with name '{}' in network {{network}}",
                txt.name
            )));
        }
        (_, None) => {
            return Err(invalid("couldn't locate a matching DNS TXT record in network {network}"));
        }
        (Command::Modify, Some(_)) if txt.value.is_none() => {
            return Err(invalid("missing value of modifying DNS TXT record in network {network}"));
        }
        (Command::Modify, Some(at)) => txts[at] = txt,
        (Command::Delete, Some(at)) => drop(txts.remove(at)),
    }
    Ok(())
}

/// Whether a record is as `wanted` says, as far as it says something.
fn matches(srv: &Srv, wanted: &Srv) -> bool {
    fn agree<T: PartialEq>(a: &Option<T>, wanted: &Option<T>) -> bool {
        wanted.is_none() || a == wanted
    }
    // A number that a record does not have is no reason to tell it apart.
    let alike = |a: Option<u16>, wanted: Option<u16>| a.is_none() || agree(&a, &wanted);
    agree(&srv.service, &wanted.service)
        && agree(&srv.protocol, &wanted.protocol)
        && agree(&srv.domain, &wanted.domain)
        && agree(&srv.target, &wanted.target)
        && alike(srv.port, wanted.port)
        && alike(srv.priority, wanted.priority)
        && alike(srv.weight, wanted.weight)
}

pub(super) fn srv(
    network: &mut Network,
    command: Command,
    part: &Fragment<'_>,
) -> Result<(), Refusal> {
    if command == Command::Modify {
        return Err(unsupported("DNS SRV records cannot be modified, only added or deleted"));
    }
    part.expect("srv")?;
    let srv = part.read::<Srv>(|srv, el, cx| {
        if command.adds() {
            srv.check_whole(el, cx);
        }
    })?;
    let srvs = &mut dns(network).srvs;
    let mut found = (0..srvs.len()).filter(|at| matches(&srvs[*at], &srv));
    match (found.next(), found.next()) {
        (None, _) if command.adds() => command.insert(srvs, srv),
        (Some(_), _) if command.adds() => {
            return Err(invalid(
                "there is already at least one DNS SRV record matching all specified fields in \
                 network {network}",
            ));
        }
        (None, _) => {
            return Err(invalid("couldn't locate a matching DNS SRV record in network {network}"));
        }
        (Some(_), Some(_)) => {
            return Err(invalid(
                "multiple DNS SRV records matching all specified fields were found in network \
                 {network}",
            ));
        }
        (Some(at), None) => drop(srvs.remove(at)),
    }
    Ok(())
}
