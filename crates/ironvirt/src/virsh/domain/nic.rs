//! Network interfaces of a domain.

use super::block::elements;
use super::rates::Rates;
use super::*;
use crate::virsh::ctl::{put, say};
use crate::virsh::fail::{Context, fail};
use crate::virsh::table::Table;
use crate::virsh::util::parse_xml;
use protocol::TypedParamValue;

/// `domiflist`
pub fn cmd_domiflist(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = if cmd.has("inactive") { 2 } else { 0 };
    let dom = domain(ctl, cmd)?;
    let xml = xml_of(ctl, &dom, flags)?;
    let doc = parse_xml(&xml)?;
    let mut table = Table::new(["Interface", "Type", "Source", "Model", "MAC"]);
    for i in elements(doc.root(), "interface") {
        let of = |child: &str, attr: &str| {
            i.child(child).and_then(|c| c.attr(attr)).unwrap_or("-").to_owned()
        };
        let source = i
            .child("source")
            .and_then(|s| {
                ["network", "bridge", "dev", "path", "portgroup", "name"]
                    .iter()
                    .find_map(|a| s.attr(a))
            })
            .unwrap_or("-");
        table.row([
            of("target", "dev"),
            i.attr("type").unwrap_or_default().to_owned(),
            source.to_owned(),
            of("model", "type"),
            of("mac", "address"),
        ]);
    }
    ctl.table(&table);
    Ok(())
}

/// `domifstat`
pub fn cmd_domifstat(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let device = cmd.req("interface")?.to_owned();
    let name = dom.name.clone();
    let s = call!(ctl, DomainInterfaceStats { dom, device: device.clone() })
        .ctx(format!("Failed to get interface stats {name} {device}"))?;
    for (label, v) in [
        ("rx_bytes", s.rx_bytes),
        ("rx_packets", s.rx_packets),
        ("rx_errs", s.rx_errs),
        ("rx_drop", s.rx_drop),
        ("tx_bytes", s.tx_bytes),
        ("tx_packets", s.tx_packets),
        ("tx_errs", s.tx_errs),
        ("tx_drop", s.tx_drop),
    ] {
        if v >= 0 {
            ctl.member(label, v);
            put!(ctl, "{device} {label} {v}\n");
        }
    }
    Ok(())
}

/// `domifaddr`
pub fn cmd_domifaddr(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let source = match cmd.str("source")? {
        None | Some("lease") => 0,
        Some("agent") => 1,
        Some("arp") => 2,
        Some(other) => fail!("Unknown data source '{other}'"),
    };
    let wanted = cmd.str("interface")?.map(str::to_owned);
    let full = cmd.has("full");
    let dom = domain(ctl, cmd)?;
    let ifaces = call!(ctl, DomainInterfaceAddresses { dom, source, flags: 0 })
        .ctx("Failed to query for interfaces addresses")?
        .ifaces;
    if ctl.json() {
        let list: serde_json::Value = ifaces
            .iter()
            .filter(|i| wanted.as_ref().is_none_or(|w| *w == i.name))
            .map(|i| {
                let addrs: Vec<_> = i
                    .addrs
                    .iter()
                    .map(|a| {
                        serde_json::json!({"protocol": family(a.r#type), "address": a.addr, "prefix": a.prefix})
                    })
                    .collect();
                serde_json::json!({"name": i.name, "mac": i.hwaddr, "addresses": addrs})
            })
            .collect();
        ctl.data(list);
        return Ok(());
    }
    say!(
        ctl,
        " {:<10} {:<20} {:<8}     {}\n{}\n",
        "Name",
        "MAC address",
        "Protocol",
        "Address",
        "-".repeat(79)
    );
    for i in &ifaces {
        if wanted.as_ref().is_some_and(|w| *w != i.name) {
            continue;
        }
        let mac = i.hwaddr.as_deref().unwrap_or("-");
        if i.addrs.is_empty() {
            put!(ctl, " {:<10} {:<17}    {:<12} {}\n", i.name, mac, "N/A", "N/A");
        }
        for (n, a) in i.addrs.iter().enumerate() {
            let (name, mac) = if full || n == 0 { (i.name.as_str(), mac) } else { ("-", "-") };
            put!(
                ctl,
                " {name:<10} {mac:<17}    {:<12} {}/{}\n",
                family(a.r#type),
                a.addr,
                a.prefix
            );
        }
    }
    Ok(())
}

fn family(t: i32) -> &'static str {
    match t {
        0 => "ipv4",
        1 => "ipv6",
        _ => "",
    }
}

/// The interface with that MAC address or target device.
fn find<'a>(root: xml::Element<'a>, name: &str) -> Option<xml::Element<'a>> {
    let is_mac = name.contains(':');
    elements(root, "interface").find(|i| {
        if is_mac {
            i.child("mac")
                .and_then(|m| m.attr("address"))
                .is_some_and(|a| a.eq_ignore_ascii_case(name))
        } else {
            i.child("target").and_then(|t| t.attr("dev")) == Some(name)
        }
    })
}

/// `domif-getlink`
pub fn cmd_domif_getlink(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let name = cmd.req("interface")?;
    let flags = if cmd.has("config") { 2 } else { 0 };
    let xml = xml_of(ctl, &dom, flags)?;
    let doc = parse_xml(&xml)?;
    let Some(i) = find(doc.root(), name) else {
        let kind = if name.contains(':') { "mac" } else { "dev" };
        fail!("Interface ({kind}: {name}) not found.");
    };
    let state = i.child("link").and_then(|l| l.attr("state")).unwrap_or("up");
    ctl.member("state", state);
    put!(ctl, "{name} {state}");
    Ok(())
}

/// `domif-setlink`
pub fn cmd_domif_setlink(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let name = cmd.req("interface")?.to_owned();
    let state = cmd.req("state")?.to_owned();
    if state != "up" && state != "down" {
        fail!("invalid link state '{state}'");
    }
    let dom = domain(ctl, cmd)?;
    let config = cmd.has("config");
    let mut flags = 0;
    if config {
        flags |= 2;
    }
    if !config && is_active(ctl, &dom)? {
        flags |= 1;
    }
    let xml = xml_of(ctl, &dom, if config { 2 } else { 0 })?;
    let doc = parse_xml(&xml)?;
    let Some(i) = find(doc.root(), &name) else {
        fail!("interface '{name}' not found");
    };
    let xml = with_link(i, &state);
    if cmd.has("print-xml") {
        put!(ctl, "{}", crate::virsh::xpath::verbatim(&xml));
        return Ok(());
    }
    call!(ctl, DomainUpdateDeviceFlags { dom, xml, flags })
        .ctx("Failed to update interface link state")?;
    say!(ctl, "Device updated successfully\n");
    Ok(())
}

/// The element with its link state changed, everything else as it was.
fn with_link(i: xml::Element<'_>, state: &str) -> String {
    let source = i.source();
    let base = i.full_span().start;
    if let Some(l) = i.child("link") {
        let span = l.full_span();
        return format!(
            "{}<link state='{state}'/>{}",
            &source[..span.start - base],
            &source[span.end - base..]
        );
    }
    match source.rfind("</") {
        Some(end) => format!("{}<link state='{state}'/>{}", &source[..end], &source[end..]),
        None => source.replacen("/>", &format!("><link state='{state}'/></interface>"), 1),
    }
}

/// `domiftune`
pub fn cmd_domiftune(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let device = cmd.req("interface")?.to_owned();
    let dom = domain(ctl, cmd)?;
    let mut params = Vec::new();
    if let Some(rates) = Rates::of(cmd, "inbound")? {
        if rates.average == 0 && rates.floor == 0 && (rates.peak != 0 || rates.burst != 0) {
            fail!("either inbound average or floor is mandatory");
        }
        params.extend(rates.params("inbound")?);
    }
    if let Some(rates) = Rates::of(cmd, "outbound")? {
        rates.no_floor()?;
        if rates.average == 0 && (rates.peak != 0 || rates.burst != 0) {
            fail!("outbound average is mandatory");
        }
        params.extend(rates.params("outbound")?);
    }
    if !params.is_empty() {
        return call!(ctl, DomainSetInterfaceParameters { dom, device, params, flags })
            .ctx("Unable to set interface parameters");
    }
    let get = |ctl: &mut Ctl, nparams: i32| {
        call!(
            ctl,
            DomainGetInterfaceParameters {
                dom: dom.clone(),
                device: device.clone(),
                nparams,
                flags: flags | 4
            }
        )
    };
    let n = get(ctl, 0).ctx("Unable to get number of interface parameters")?.nparams;
    let params = if n > 0 {
        get(ctl, n).ctx("Unable to get interface parameters")?.params
    } else {
        Vec::new()
    };
    for p in params {
        print_param(ctl, &p.field, &p.value);
    }
    Ok(())
}

/// `name           : value`
pub fn print_param(ctl: &mut Ctl, name: &str, value: &TypedParamValue) {
    if ctl.json() {
        ctl.member(name, value.to_string());
    } else {
        put!(ctl, "{name:<15}: {value}\n");
    }
}
