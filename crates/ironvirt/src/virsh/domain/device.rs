//! Attaching, detaching and changing devices.

use super::block::elements;
use super::new_device::{disk_xml, interface_xml};
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
    // The call without flags is for running domains only.
    if flags == 0 && !cmd.has("current") {
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
    // The call without flags is for running domains only.
    if flags == 0 && !cmd.has("current") {
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

/// `attach-disk`
pub fn cmd_attach_disk(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    for needs in ["source-host-name", "source-host-transport", "source-host-socket"] {
        cmd.requires(needs, "source-protocol")?;
    }
    cmd.requires("source-host-socket", "source-host-transport")?;
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
        let Some(d) = found else { return Err(no_disk(doc.root(), &target)) };
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

/// Why no disk was found: a domain may have none at all.
fn no_disk(root: xml::Element<'_>, name: &str) -> Fail {
    Fail::new(match elements(root, "disk").next() {
        Some(_) => format!("No disk found whose source path or target is {name}"),
        None => "Failed to get disk information".to_owned(),
    })
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
    let mut flags = cmd.affect()?;
    if cmd.has("force") {
        flags |= 4;
    }
    // Without a source, a change takes the medium out.
    let action = match (cmd.has("eject"), cmd.has("insert")) {
        (true, _) => Media::Eject,
        (_, true) => Media::Insert,
        _ if source.is_none() && cmd.has("update") => Media::Eject,
        _ => Media::Update,
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
        let Some(d) = found else { return Err(no_disk(doc.root(), &path)) };
        match (action, &source, d.child("source").is_some()) {
            (Media::Eject, _, false) => fail!("The disk device '{path}' doesn't have media"),
            (Media::Eject, _, true) => with_source(d, None, false),
            (_, None, _) => fail!("New disk media source was not specified"),
            (Media::Insert, Some(_), true) => {
                fail!("The disk device '{path}' already has media")
            }
            (_, Some(source), _) => with_source(d, Some(source), cmd.has("block")),
        }
    };
    if cmd.has("print-xml") {
        put!(ctl, "{xml}");
        return Ok(());
    }
    let (verb, done) = action.words();
    call!(ctl, DomainUpdateDeviceFlags { dom, xml, flags })
        .ctx(format!("Failed to complete action {verb} on media"))?;
    put!(ctl, "Successfully {done} media.");
    Ok(())
}

/// What becomes of a drive's medium.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Media {
    Eject,
    Insert,
    Update,
}

impl Media {
    /// As a verb, and done.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Eject => ("eject", "ejected"),
            Self::Insert => ("insert", "inserted"),
            Self::Update => ("update", "updated"),
        }
    }
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
        let place = out.rfind("</").unwrap_or(out.len());
        out.insert_str(place, &element);
        if let Some(old) = disk.attr("type") {
            out = out.replacen(&format!("type='{old}'"), &format!("type='{kind}'"), 1);
        }
    }
    verbatim(&out)
}
