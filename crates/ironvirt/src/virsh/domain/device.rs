//! Attaching, detaching and changing devices.

use super::block::elements;
use super::*;
use crate::virsh::ctl::{put, say};
use crate::virsh::dry;
use crate::virsh::fail::{Context, fail};
use crate::virsh::util::{escape, parse_xml, read_file};
use crate::virsh::xpath::verbatim;

/// The flags of a device call: `--persistent` means the stored definition, and the running domain too.
fn device_flags(ctl: &mut Ctl, cmd: &Cmd, dom: &Dom) -> Outcome<u32> {
    let persistent = cmd.has("persistent");
    if persistent {
        cmd.exclusive("persistent", "current")?;
    }
    let mut flags = cmd.affect()?;
    if persistent {
        flags |= 2;
        if is_active(ctl, dom)? {
            flags |= 1;
        }
    }
    Ok(flags)
}

/// Attaches a device; false where it was only told what that would do.
fn attach(ctl: &mut Ctl, cmd: &Cmd, dom: Dom, xml: String, flags: u32) -> Outcome<bool> {
    if dry::told(ctl, cmd, &dom, "attach-device", &xml, flags)? {
        return Ok(false);
    }
    if flags == 0 {
        call!(ctl, DomainAttachDevice { dom, xml })?;
    } else {
        call!(ctl, DomainAttachDeviceFlags { dom, xml, flags })?;
    }
    Ok(true)
}

/// Detaches a device; false where it was only told what that would do.
fn detach(ctl: &mut Ctl, cmd: &Cmd, dom: Dom, xml: String, flags: u32) -> Outcome<bool> {
    if dry::told(ctl, cmd, &dom, "detach-device", &xml, flags)? {
        return Ok(false);
    }
    if flags == 0 {
        call!(ctl, DomainDetachDevice { dom, xml })?;
    } else {
        call!(ctl, DomainDetachDeviceFlags { dom, xml, flags })?;
    }
    Ok(true)
}

/// `attach-device`
pub fn cmd_attach_device(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let flags = device_flags(ctl, cmd, &dom)?;
    let from = cmd.req("file")?.to_owned();
    let xml = read_file(&from)?;
    if attach(ctl, cmd, dom, xml, flags).ctx(format!("Failed to attach device from {from}"))? {
        say!(ctl, "Device attached successfully\n");
    }
    Ok(())
}

/// `detach-device`
pub fn cmd_detach_device(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let flags = device_flags(ctl, cmd, &dom)?;
    let from = cmd.req("file")?.to_owned();
    let xml = read_file(&from)?;
    if detach(ctl, cmd, dom, xml, flags).ctx(format!("Failed to detach device from {from}"))? {
        say!(ctl, "Device detached successfully\n");
    }
    Ok(())
}

/// `detach-device-alias`
pub fn cmd_detach_device_alias(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let dom = domain(ctl, cmd)?;
    let alias = cmd.req("alias")?.to_owned();
    if dry::told(ctl, cmd, &dom, "detach-device-alias", &alias, flags)? {
        return Ok(());
    }
    call!(ctl, DomainDetachDeviceAlias { dom, alias: alias.clone(), flags })
        .ctx(format!("Failed to detach device with alias {alias}"))?;
    say!(ctl, "Device detach request sent successfully\n");
    Ok(())
}

/// `update-device`
pub fn cmd_update_device(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let mut flags = device_flags(ctl, cmd, &dom)?;
    let from = cmd.req("file")?.to_owned();
    let xml = read_file(&from)?;
    if cmd.has("force") {
        flags |= 4;
    }
    if dry::told(ctl, cmd, &dom, "update-device", &xml, flags)? {
        return Ok(());
    }
    call!(ctl, DomainUpdateDeviceFlags { dom, xml, flags })
        .ctx(format!("Failed to update device from {from}"))?;
    say!(ctl, "Device updated successfully\n");
    Ok(())
}

/// `a='…'` when there is a value.
fn attr(name: &str, value: Option<&str>) -> String {
    value.map_or_else(String::new, |v| format!(" {name}='{}'", escape(v)))
}

/// `attach-disk`
pub fn cmd_attach_disk(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    for needs in ["source-host-name", "source-host-transport", "source-host-socket"] {
        cmd.requires(needs, "source-protocol")?;
    }
    let xml = disk_xml(cmd)?;
    if cmd.has("print-xml") {
        put!(ctl, "{xml}");
        return Ok(());
    }
    let dom = domain(ctl, cmd)?;
    let flags = device_flags(ctl, cmd, &dom)?;
    if attach(ctl, cmd, dom, xml, flags).ctx("Failed to attach disk")? {
        say!(ctl, "Disk attached successfully\n");
    }
    Ok(())
}

fn disk_xml(cmd: &Cmd) -> Outcome<String> {
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
    let mut out = format!("<disk type='{kind}'{}", attr("device", cmd.str("type")?));
    if cmd.has("rawio") {
        out.push_str(" rawio='yes'");
    }
    out.push_str(">\n");
    let driver = attr("name", cmd.str("driver")?)
        + &attr("type", cmd.str("subdriver")?)
        + &attr("cache", cmd.str("cache")?)
        + &attr("io", cmd.str("io")?)
        + &attr("iothread", cmd.str("iothread")?);
    if !driver.is_empty() {
        out.push_str(&format!("  <driver{driver}/>\n"));
    }
    if kind == "network" {
        let host = attr("name", cmd.str("source-host-name")?)
            + &attr("transport", cmd.str("source-host-transport")?)
            + &attr("socket", cmd.str("source-host-socket")?);
        let head = attr("protocol", protocol) + &attr("name", Some(source));
        if host.is_empty() {
            out.push_str(&format!("  <source{head}/>\n"));
        } else {
            out.push_str(&format!("  <source{head}>\n    <host{host}/>\n  </source>\n"));
        }
    } else if !source.is_empty() {
        let name = if kind == "block" { "dev" } else { "file" };
        out.push_str(&format!("  <source{}/>\n", attr(name, Some(source))));
    }
    if let Some(groups) = cmd.str("throttle-groups")? {
        out.push_str("  <throttlefilters>\n");
        for g in groups.split(',') {
            out.push_str(&format!("    <throttlefilter group='{}'/>\n", escape(g)));
        }
        out.push_str("  </throttlefilters>\n");
    }
    out.push_str(&format!(
        "  <target{}{}/>\n",
        attr("dev", Some(target)),
        attr("bus", cmd.str("targetbus")?)
    ));
    match cmd.str("mode")? {
        None => {}
        Some("readonly") => out.push_str("  <readonly/>\n"),
        Some("shareable") => out.push_str("  <shareable/>\n"),
        Some(other) => fail!("No support for {other} in command 'attach-disk'"),
    }
    for (option, element) in [("serial", "serial"), ("wwn", "wwn")] {
        if let Some(v) = cmd.str(option)? {
            if option == "wwn" && !(v.len() == 16 && v.bytes().all(|b| b.is_ascii_hexdigit())) {
                fail!("internal error: Malformed wwn: {v}");
            }
            out.push_str(&format!("  <{element}>{}</{element}>\n", escape(v)));
        }
    }
    if let Some(a) = cmd.str("alias")? {
        out.push_str(&format!("  <alias name='{}'/>\n", escape(a)));
    }
    if let Some(a) = cmd.str("address")? {
        out.push_str(&address(a, cmd.has("multifunction"))?);
    }
    out.push_str("</disk>\n");
    Ok(out)
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

/// `attach-interface`
pub fn cmd_attach_interface(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let xml = interface_xml(cmd)?;
    if cmd.has("print-xml") {
        put!(ctl, "{xml}");
        return Ok(());
    }
    let dom = domain(ctl, cmd)?;
    let flags = device_flags(ctl, cmd, &dom)?;
    if attach(ctl, cmd, dom, xml, flags).ctx("Failed to attach interface")? {
        say!(ctl, "Interface attached successfully\n");
    }
    Ok(())
}

fn interface_xml(cmd: &Cmd) -> Outcome<String> {
    let kind = cmd.req("type")?;
    let source = cmd.req("source")?;
    let managed = if cmd.has("managed") { " managed='yes'" } else { "" };
    let mut out = format!("<interface type='{kind}'{managed}>\n");
    match kind {
        "network" | "bridge" | "direct" | "vdpa" => {
            let name = match kind {
                "direct" | "vdpa" => "dev",
                k => k,
            };
            out.push_str(&format!("  <source{}/>\n", attr(name, Some(source))));
        }
        "vhostuser" => {
            let Some(mode) = cmd.str("source-mode")? else {
                fail!("source-mode is required for type 'vhostuser'");
            };
            out.push_str(&format!(
                "  <source type='unix' path='{}' mode='{}'/>\n",
                escape(source),
                escape(mode)
            ));
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
    let mut bandwidth = String::new();
    for dir in ["inbound", "outbound"] {
        if let Some(text) = cmd.str(dir)? {
            let mut values = text.split(',');
            let mut line = format!("    <{dir}");
            for name in ["average", "peak", "burst", "floor"] {
                match values.next() {
                    Some(v) if v.parse::<u64>().is_ok() => line.push_str(&format!(" {name}='{v}'")),
                    Some("") => {}
                    Some(_) => fail!("{dir} format is incorrect"),
                    None => {}
                }
            }
            bandwidth.push_str(&format!("{line}/>\n"));
        }
    }
    if !bandwidth.is_empty() {
        out.push_str(&format!("  <bandwidth>\n{bandwidth}  </bandwidth>\n"));
    }
    out.push_str("</interface>\n");
    Ok(out)
}

/// `detach-disk`
pub fn cmd_detach_disk(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let flags = device_flags(ctl, cmd, &dom)?;
    let target = cmd.req("target")?.to_owned();
    let xml = xml_of(ctl, &dom, if flags & 2 != 0 { 2 } else { 0 })?;
    let element = {
        let doc = parse_xml(&xml)?;
        let found = elements(doc.root(), "disk").find(|d| {
            d.child("target").and_then(|t| t.attr("dev")) == Some(target.as_str())
                || super::block::source_of(*d) == target
        });
        let Some(d) = found else {
            fail!("No disk found whose source path or target is {target}");
        };
        verbatim(&without_backing(d))
    };
    if cmd.has("print-xml") {
        put!(ctl, "{element}");
        return Ok(());
    }
    if detach(ctl, cmd, dom, element, flags).ctx("Failed to detach disk")? {
        say!(ctl, "Disk detached successfully\n");
    }
    Ok(())
}

/// The disk without its backing chain, which no caller may change.
fn without_backing(disk: xml::Element<'_>) -> String {
    let source = disk.source();
    let base = disk.full_span().start;
    match disk.child("backingStore") {
        Some(b) => {
            let span = b.full_span();
            format!("{}{}", &source[..span.start - base], &source[span.end - base..])
        }
        None => source.to_owned(),
    }
}

/// `detach-interface`
pub fn cmd_detach_interface(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let flags = device_flags(ctl, cmd, &dom)?;
    let kind = cmd.req("type")?.to_owned();
    let mac = cmd.str("mac")?.map(str::to_owned);
    let xml = xml_of(ctl, &dom, if flags & 2 != 0 { 2 } else { 0 })?;
    let failed = |mut f: Fail| {
        f.lines.push("Failed to detach interface".into());
        f
    };
    let element = {
        let doc = parse_xml(&xml)?;
        let all: Vec<_> =
            elements(doc.root(), "interface").filter(|i| i.attr("type") == Some(&kind)).collect();
        pick(&all, &kind, mac.as_deref()).map_err(failed)?
    };
    if cmd.has("print-xml") {
        put!(ctl, "{element}");
        return Ok(());
    }
    if detach(ctl, cmd, dom, element, flags).map_err(failed)? {
        say!(ctl, "Interface detached successfully\n");
    }
    Ok(())
}

fn pick(all: &[xml::Element<'_>], kind: &str, mac: Option<&str>) -> Outcome<String> {
    let Some(first) = all.first() else {
        fail!("No interface found whose type is {kind}");
    };
    let Some(mac) = mac else {
        if all.len() > 1 {
            fail!(
                "Domain has {} interfaces. Please specify which one to detach using --mac",
                all.len()
            );
        }
        return Ok(verbatim(first.source()));
    };
    let mut same = all.iter().filter(|i| {
        i.child("mac").and_then(|m| m.attr("address")).is_some_and(|a| a.eq_ignore_ascii_case(mac))
    });
    match (same.next(), same.next()) {
        (None, _) => fail!("No interface with MAC address {mac} was found"),
        (Some(_), Some(_)) => fail!(
            "Domain has multiple interfaces matching MAC address {mac}. You must use detach-device and specify the device pci address to remove it."
        ),
        (Some(i), None) => Ok(verbatim(i.source())),
    }
}

/// `change-media`
pub fn cmd_change_media(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    for (a, b) in
        [("eject", "insert"), ("eject", "update"), ("insert", "update"), ("eject", "block")]
    {
        cmd.exclusive(a, b)?;
    }
    let source = cmd.str("source")?.map(str::to_owned);
    let (eject, insert) = (cmd.has("eject"), cmd.has("insert"));
    if eject && source.is_some() {
        fail!("Option --source cannot be used with --eject");
    }
    if insert && source.is_none() {
        fail!("No disk source specified for inserting");
    }
    let mut flags = cmd.affect()?;
    if cmd.has("force") {
        flags |= 4;
    }
    let action = if eject {
        "eject"
    } else if insert {
        "insert"
    } else {
        "update"
    };
    let dom = domain(ctl, cmd)?;
    let path = cmd.req("path")?.to_owned();
    let xml = xml_of(ctl, &dom, if flags & 2 != 0 { 2 } else { 0 })?;
    let xml = {
        let doc = parse_xml(&xml)?;
        let found = elements(doc.root(), "disk").find(|d| {
            matches!(d.attr("device"), Some("cdrom" | "floppy"))
                && (d.child("target").and_then(|t| t.attr("dev")) == Some(path.as_str())
                    || super::block::source_of(*d) == path)
        });
        let Some(d) = found else {
            fail!("No disk found whose source path or target is {path}");
        };
        let has = d.child("source").is_some();
        if eject && !has {
            fail!("The disk device '{path}' doesn't have media");
        }
        if insert && has {
            fail!("The disk device '{path}' already has media");
        }
        with_source(d, source.as_deref(), cmd.has("block"))
    };
    if cmd.has("print-xml") {
        put!(ctl, "{xml}");
        return Ok(());
    }
    call!(ctl, DomainUpdateDeviceFlags { dom, xml, flags })
        .ctx(format!("Failed to complete action {action} on media"))?;
    put!(ctl, "Successfully {action}ed media.");
    Ok(())
}

/// The disk with another medium (or none).
fn with_source(disk: xml::Element<'_>, source: Option<&str>, block: bool) -> String {
    let text = disk.source();
    let base = disk.full_span().start;
    let mut cuts: Vec<(usize, usize)> = ["source", "backingStore"]
        .iter()
        .filter_map(|n| disk.child(n))
        .map(|c| (c.full_span().start - base, c.full_span().end - base))
        .collect();
    cuts.sort_unstable();
    let at = cuts.first().map(|c| c.0);
    let mut out = String::new();
    let mut from = 0;
    for (a, b) in cuts {
        out.push_str(&text[from..a]);
        from = b;
    }
    out.push_str(&text[from..]);
    if let Some(s) = source {
        let is_block = block
            || std::fs::metadata(s)
                .is_ok_and(|m| std::os::unix::fs::FileTypeExt::is_block_device(&m.file_type()));
        let (kind, name) = if is_block { ("block", "dev") } else { ("file", "file") };
        let element = format!("<source {name}='{}'/>", escape(s));
        let place = at.or_else(|| out.find("<target")).unwrap_or(out.len());
        out.insert_str(place, &element);
        if let Some(old) = disk.attr("type") {
            out = out.replacen(&format!("type='{old}'"), &format!("type='{kind}'"), 1);
        }
    }
    verbatim(&out)
}
