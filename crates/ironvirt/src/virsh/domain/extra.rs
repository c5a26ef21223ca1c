//! Rarer commands on domains: copying disks, memory devices, launch secrets, descriptors.

use super::*;
use crate::virsh::ctl::{put, say};
use crate::virsh::fail::{Context, fail};
use crate::virsh::util::{escape, parse_xml, read_file};
use protocol::TypedParam;

/// `domsetlaunchsecstate`
pub fn cmd_domsetlaunchsecstate(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let (Some(header), Some(secret)) = (cmd.str("secrethdr")?, cmd.str("secret")?) else {
        fail!("Both secret and the secret header are required");
    };
    let mut params = vec![
        TypedParam::new("sev-secret-header", read_file(header)?),
        TypedParam::new("sev-secret", read_file(secret)?),
    ];
    if let Some(address) = cmd.ull("set-address")? {
        params.push(TypedParam::new("sev-secret-set-address", address));
    }
    call!(ctl, DomainSetLaunchSecurityState { dom, params, flags: 0 })
        .ctx("Unable to set launch security state")
}

/// `blockcopy`
pub fn cmd_blockcopy(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    for (a, b) in [("dest", "xml"), ("format", "xml"), ("blockdev", "xml"), ("pivot", "finish")] {
        cmd.exclusive(a, b)?;
    }
    let path = cmd.req("path")?.to_owned();
    let wait = super::block::waiting_for(cmd, ["pivot", "finish"])?;
    let bandwidth = match super::block::bandwidth(cmd)? {
        (bytes, true) => bytes,
        (mib, false) if mib > u64::MAX >> 20 => {
            fail!("bandwidth must be less than {}", u64::MAX >> 20);
        }
        (mib, false) => mib << 20,
    };
    let flags = cmd.flags(&[
        ("shallow", 1),
        ("reuse-external", 2),
        ("transient-job", 4),
        ("synchronous-writes", 8),
    ]);
    let destxml = match (cmd.str("xml")?, cmd.str("dest")?) {
        (Some(file), _) => read_file(file)?,
        (None, Some(dest)) => {
            let (kind, attr) =
                if cmd.has("blockdev") { ("block", "dev") } else { ("file", "file") };
            let format = match cmd.str("format")? {
                Some(f) => format!("  <driver type='{}'/>\n", escape(f)),
                None => String::new(),
            };
            format!(
                "<disk type='{kind}'>\n  <source {attr}='{}'/>\n{format}</disk>\n",
                escape(dest)
            )
        }
        (None, None) => fail!("need either --dest or --xml"),
    };
    if cmd.has("print-xml") {
        put!(ctl, "{destxml}");
        return Ok(());
    }
    let mut params = Vec::new();
    if bandwidth != 0 {
        params.push(TypedParam::new("bandwidth", bandwidth));
    }
    if let Some(g) = cmd.uint("granularity")? {
        params.push(TypedParam::new("granularity", g));
    }
    if let Some(b) = cmd.ull("buf-size")? {
        params.push(TypedParam::new("buf-size", b));
    }
    let dom = domain(ctl, cmd)?;
    call!(ctl, DomainBlockCopy { dom: dom.clone(), path: path.clone(), destxml, params, flags })?;
    if !wait {
        say!(ctl, "Block Copy started");
        return Ok(());
    }
    super::block::wait_for_job(ctl, cmd, &dom, &path, "Block Copy", true)?;
    if cmd.has("pivot") {
        call!(ctl, DomainBlockJobAbort { dom, path: path.clone(), flags: 2 })
            .ctx(format!("failed to pivot job for disk {path}"))?;
        say!(ctl, "\nSuccessfully pivoted");
    } else if cmd.has("finish") {
        call!(ctl, DomainBlockJobAbort { dom, path: path.clone(), flags: 0 })
            .ctx(format!("failed to finish job for disk {path}"))?;
        say!(ctl, "\nSuccessfully copied");
    } else {
        say!(ctl, "\nNow in mirroring phase");
    }
    Ok(())
}

/// `dom-fd-associate`
pub fn cmd_dom_fd_associate(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let name = cmd.req("name")?.to_owned();
    let flags = cmd.flags(&[("seclabel-restore", 1), ("seclabel-writable", 2)]);
    let dom = domain(ctl, cmd)?;
    let fds = fds::duplicates(&fds::numbers(cmd)?)?;
    let args = protocol::remote::DomainFdAssociateArgs { dom, name, flags };
    ctl.conn()?
        .call_with_fds::<protocol::remote::procs::DomainFdAssociate>(&args, &fds::borrowed(&fds))
}

/// `update-memory-device`
pub fn cmd_update_memory_device(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("node", "alias")?;
    let flags = cmd.affect()?;
    let size = cmd.scaled("requested-size", 1024, u64::MAX)?;
    let node = cmd.uint("node")?;
    let alias = cmd.str("alias")?.map(str::to_owned);
    let dom = domain(ctl, cmd)?;
    let text = xml_of(ctl, &dom, if flags & 2 != 0 { 2 } else { 0 })?;
    let xml = {
        let doc = parse_xml(&text)?;
        let found: Vec<_> = super::block::elements(doc.root(), "memory")
            .filter(|m| {
                let on_node =
                    m.child("target").and_then(|t| t.child("node")).map(|n| n.text().into_owned());
                let named = m.child("alias").and_then(|a| a.attr("name"));
                node.is_none_or(|n| on_node == Some(n.to_string()))
                    && alias.as_deref().is_none_or(|a| named == Some(a))
            })
            .collect();
        let device = match found.as_slice() {
            [] => fail!("no memory device found"),
            [one] => *one,
            _ => fail!("multiple memory devices found, use --alias or --node to select one"),
        };
        with_requested(device, size)?
    };
    if cmd.has("print-xml") {
        put!(ctl, "{}", crate::virsh::xpath::verbatim(&xml));
        return Ok(());
    }
    call!(ctl, DomainUpdateDeviceFlags { dom, xml, flags }).ctx("Failed to update memory device")
}

fn with_requested(device: xml::Element<'_>, size: Option<u64>) -> Outcome<String> {
    let source = device.source();
    let Some(bytes) = size else {
        return Ok(source.to_owned());
    };
    let base = device.full_span().start;
    let requested = device.child("target").and_then(|t| t.child("requested"));
    let Some(old) = requested else {
        fail!("virtio-mem device is missing <requested/>");
    };
    let span = old.full_span();
    Ok(format!(
        "{}<requested unit='KiB'>{}</requested>{}",
        &source[..span.start - base],
        bytes / 1024,
        &source[span.end - base..]
    ))
}
