//! What `attach-disk` and `attach-interface` make of their options: XML, written as virsh does.

use super::rates::Rates;
use crate::virsh::cmd::Cmd;
use crate::virsh::fail::{Fail, Outcome, fail};
use crate::virsh::util::escape;

/// `a='…'` when there is a value.
fn attr(name: &str, value: Option<&str>) -> String {
    value.map_or_else(String::new, |v| format!(" {name}='{}'", escape(v)))
}

/// The disk of `attach-disk`.
pub fn disk_xml(cmd: &Cmd) -> Outcome<String> {
    let source = cmd.req("source")?;
    let target = cmd.req("target")?;
    let protocol = cmd.str("source-protocol")?;
    let kind = match cmd.str("sourcetype")? {
        Some(k @ ("file" | "block" | "network")) => k,
        Some(other) => fail!("Unknown source type: '{other}'"),
        None if protocol.is_some() => "network",
        None => match std::fs::metadata(source) {
            Ok(m) if std::os::unix::fs::FileTypeExt::is_block_device(&m.file_type()) => "block",
            _ => "file",
        },
    };
    if protocol.is_some() != (kind == "network") {
        fail!("--source-protocol option requires --sourcetype network");
    }
    let mut out = format!("<disk type='{kind}'{}", attr("device", cmd.str("type")?));
    if cmd.has("rawio") {
        out.push_str(" rawio='yes'");
    }
    out.push_str(">\n");
    let driver = attr("name", cmd.str("driver")?)
        + &attr("type", cmd.str("subdriver")?)
        + &attr("iothread", cmd.str("iothread")?)
        + &attr("cache", cmd.str("cache")?)
        + &attr("io", cmd.str("io")?);
    if !driver.is_empty() {
        out.push_str(&format!("  <driver{driver}/>\n"));
    }
    out.push_str(&match kind {
        "network" => network_source(cmd, source)?,
        "block" => format!("  <source{}/>\n", attr("dev", Some(source))),
        _ => format!("  <source{}/>\n", attr("file", Some(source))),
    });
    let bus = attr("bus", cmd.str("targetbus")?);
    out.push_str(&format!("  <target{}{bus}/>\n", attr("dev", Some(target))));
    if let Some(groups) = cmd.str("throttle-groups")? {
        out.push_str("  <throttlefilters>\n");
        for group in groups.split(',') {
            out.push_str(&format!("    <throttlefilter{}/>\n", attr("group", Some(group))));
        }
        out.push_str("  </throttlefilters>\n");
    }
    match cmd.str("mode")? {
        None => {}
        Some("readonly") => out.push_str("  <readonly/>\n"),
        Some("shareable") => out.push_str("  <shareable/>\n"),
        Some(other) => fail!("No support for {other} in command 'attach-disk'"),
    }
    if let Some(serial) = cmd.str("serial")? {
        out.push_str(&format!("  <serial>{}</serial>\n", escape(serial)));
    }
    if let Some(alias) = cmd.str("alias")? {
        out.push_str(&format!("  <alias{}/>\n", attr("name", Some(alias))));
    }
    if let Some(wwn) = cmd.str("wwn")? {
        if !(wwn.len() == 16 && wwn.bytes().all(|b| b.is_ascii_hexdigit())) {
            fail!("internal error: Malformed wwn: {wwn}");
        }
        out.push_str(&format!("  <wwn>{wwn}</wwn>\n"));
    }
    if let Some(text) = cmd.str("address")? {
        let xml = address(text, cmd.has("multifunction"))?;
        if let Some(needed) = address_mismatch(target, text) {
            fail!("expecting {needed} address.");
        }
        out.push_str(&xml);
    }
    out.push_str("</disk>\n");
    Ok(out)
}

/// The source of a disk on a server. What follows the first colon of its name is the port.
fn network_source(cmd: &Cmd, name: &str) -> Outcome<String> {
    let head = attr("protocol", cmd.str("source-protocol")?) + &attr("name", Some(name));
    let host = cmd.str("source-host-name")?;
    let (host, port) = match host.and_then(|text| text.split_once(':')) {
        Some((host, port)) => (Some(host), Some(port)),
        None => (host, None),
    };
    let host = attr("transport", cmd.str("source-host-transport")?)
        + &attr("socket", cmd.str("source-host-socket")?)
        + &attr("name", host)
        + &attr("port", port);
    Ok(if host.is_empty() {
        format!("  <source{head}/>\n")
    } else {
        format!("  <source{head}>\n    <host{host}/>\n  </source>\n")
    })
}

/// What kind of address the name of a disk asks for, where this is another one.
fn address_mismatch(target: &str, address: &str) -> Option<&'static str> {
    let kind = address.split(':').next().unwrap_or_default();
    let (kinds, needed): (&[&str], _) = match target.get(..2)? {
        "vd" => (&["pci", "ccw"], "a pci:0000.00.00.00 or ccw:00.0.0000"),
        "sd" => (&["scsi", "usb", "sata"], "a scsi:00.00.00 or usb:00.00 or sata:00.00.00"),
        "hd" => (&["ide"], "an ide:00.00.00"),
        _ => return None,
    };
    (!kinds.contains(&kind)).then_some(needed)
}

/// `pci:0000.00.05.0`, `scsi:0.0.0`, `ide:0.0.0`, `sata:0.0.0`, `usb:1.2`, `ccw:0xfe.0.0000` as XML.
fn address(text: &str, multifunction: bool) -> Outcome<String> {
    let invalid = || Fail::new("Invalid address.");
    let (kind, rest) = text.split_once(':').ok_or_else(invalid)?;
    let parts: Vec<&str> = rest.split(['.', ':']).collect();
    let hex = |s: &str| u32::from_str_radix(s.trim_start_matches("0x"), 16).map_err(|_| invalid());
    let dec = |s: &str| s.parse::<u32>().map_err(|_| invalid());
    Ok(match (kind, parts.as_slice()) {
        ("pci", [d, b, s, f]) => format!(
            "  <address type='pci' domain='0x{:04x}' bus='0x{:02x}' slot='0x{:02x}' function='0x{:01x}'{}/>\n",
            hex(d)?,
            hex(b)?,
            hex(s)?,
            hex(f)?,
            if multifunction { " multifunction='on'" } else { "" }
        ),
        ("scsi" | "ide" | "sata", [c, b, u]) => format!(
            "  <address type='drive' controller='{}' bus='{}' unit='{}'/>\n",
            dec(c)?,
            dec(b)?,
            dec(u)?
        ),
        ("usb", [b, p]) => {
            format!("  <address type='usb' bus='{}' port='{}'/>\n", dec(b)?, dec(p)?)
        }
        ("ccw", [c, s, d]) => format!(
            "  <address type='ccw' cssid='0x{:02x}' ssid='0x{:01x}' devno='0x{:04x}'/>\n",
            hex(c)?,
            hex(s)?,
            hex(d)?
        ),
        _ => return Err(invalid()),
    })
}

/// What `attach-interface` can make, and types that it refuses only after its other options.
const KNOWN_INTERFACES: &[&str] = &[
    "network",
    "bridge",
    "direct",
    "hostdev",
    "vhostuser",
    "user",
    "ethernet",
    "server",
    "client",
    "mcast",
    "internal",
    "udp",
    "vdpa",
    "null",
    "vds",
];

/// The interface of `attach-interface`.
pub fn interface_xml(cmd: &Cmd) -> Outcome<String> {
    let kind = cmd.req("type")?;
    let source = cmd.req("source")?;
    if !KNOWN_INTERFACES.contains(&kind) {
        fail!("No support for {kind} in command 'attach-interface'");
    }
    let managed = if cmd.has("managed") { " managed='yes'" } else { "" };
    let rates = (Rates::of(cmd, "inbound")?, Rates::of(cmd, "outbound")?);
    if let Some(inbound) = &rates.0
        && inbound.average == 0
        && inbound.floor == 0
    {
        fail!("either inbound average or floor is mandatory");
    }
    if let Some(outbound) = &rates.1 {
        if outbound.average == 0 {
            fail!("outbound average is mandatory");
        }
        outbound.no_floor()?;
    }
    let mode = cmd.str("source-mode")?;
    if let Some(other) = mode.filter(|mode| !matches!(*mode, "client" | "server")) {
        fail!("Invalid source mode: {other}");
    }
    let mut out = format!("<interface type='{kind}'{managed}>\n");
    match kind {
        "network" | "bridge" => {
            out.push_str(&format!("  <source{}/>\n", attr(kind, Some(source))));
        }
        "direct" => out.push_str(&format!("  <source{}/>\n", attr("dev", Some(source)))),
        "vhostuser" => {
            let Some(mode) = mode else { fail!("source-mode is mandatory") };
            let path = attr("path", Some(source));
            out.push_str(&format!("  <source type='unix'{path} mode='{mode}'/>\n"));
        }
        "hostdev" => {
            let a = address(&format!("pci:{source}"), false).map_err(|_| {
                Fail::new(format!("cannot parse pci address '{source}' for network interface"))
            })?;
            out.push_str(&format!("  <source>\n  {a}  </source>\n"));
        }
        _ => fail!("No support for {kind} in command 'attach-interface'"),
    }
    for (option, element, name) in [
        ("target", "target", "dev"),
        ("mac", "mac", "address"),
        ("script", "script", "path"),
        ("model", "model", "type"),
        ("alias", "alias", "name"),
    ] {
        if let Some(v) = cmd.str(option)? {
            out.push_str(&format!("  <{element} {name}='{}'/>\n", escape(v)));
        }
    }
    if rates.0.is_some() || rates.1.is_some() {
        out.push_str("  <bandwidth>\n");
        for (name, rates) in [("inbound", rates.0), ("outbound", rates.1)] {
            if let Some(rates) = rates {
                out.push_str(&rates.xml(name));
            }
        }
        out.push_str("  </bandwidth>\n");
    }
    out.push_str("</interface>\n");
    Ok(out)
}
