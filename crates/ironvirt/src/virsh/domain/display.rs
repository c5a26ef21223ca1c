//! Graphics, consoles' names, screenshots, keys.

use super::block::elements;
use super::keycodes;
use super::*;
use crate::virsh::conn::StreamItem;
use crate::virsh::ctl::put;
use crate::virsh::fail::{Context, fail};
use crate::virsh::util::{os_error, parse_xml};
use std::io::Write;

/// `domdisplay`
pub fn cmd_domdisplay(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    if !is_active(ctl, &dom)? {
        fail!("Domain is not running");
    }
    let wanted = cmd.str("type")?.map(str::to_owned);
    let password = cmd.has("include-password");
    let xml = xml_of(ctl, &dom, u32::from(password))?;
    let doc = parse_xml(&xml)?;
    let mut found = Vec::new();
    for g in elements(doc.root(), "graphics") {
        let kind = g.attr("type").unwrap_or_default();
        if wanted.as_ref().is_some_and(|w| w != kind) {
            continue;
        }
        if let Some(uri) = uri_of(g, kind, password) {
            found.push(uri);
            if !cmd.has("all") {
                break;
            }
        }
    }
    if found.is_empty() {
        match wanted {
            Some(w) => fail!("No graphical display with type '{w}' found"),
            None => fail!("No graphical display found"),
        }
    }
    ctl.member("displays", found.clone());
    put!(ctl, "{}", found.join("\n"));
    if cmd.has("all") {
        put!(ctl, "\n");
    }
    Ok(())
}

fn uri_of(g: xml::Element<'_>, kind: &str, password: bool) -> Option<String> {
    let attr = |n: &str| g.attr(n).filter(|v| !v.is_empty());
    let listen = g.child("listen");
    let port = attr("port").filter(|p| *p != "0" && *p != "-1");
    let tls = attr("tlsPort").filter(|p| *p != "0" && *p != "-1");
    let bus = || attr("address").and_then(|address| address.strip_prefix("unix:path="));
    let socket = match kind {
        "dbus" => bus(),
        _ => attr("socket").or_else(|| listen.and_then(|l| l.attr("socket"))),
    };
    if port.is_none() && tls.is_none() && socket.is_none() {
        return None;
    }
    if let Some(s) = socket {
        return Some(format!("{kind}+unix://{s}"));
    }
    let host = attr("listen")
        .or_else(|| listen.and_then(|l| l.attr("address")))
        .filter(|h| *h != "0.0.0.0" && *h != "::")
        .unwrap_or("localhost");
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let mut uri = format!("{kind}://");
    let passwd = attr("passwd").filter(|_| password);
    if let Some(p) = passwd
        && kind == "vnc"
    {
        uri.push_str(&format!(":{p}@"));
    }
    uri.push_str(&host);
    if let Some(p) = port {
        let n: i64 = p.parse().ok()?;
        uri.push_str(&format!(":{}", if kind == "vnc" { n - 5900 } else { n }));
    }
    let mut params = Vec::new();
    if let Some(t) = tls {
        params.push(format!("tls-port={t}"));
    }
    if let Some(p) = passwd
        && kind == "spice"
    {
        params.push(format!("password={p}"));
    }
    if !params.is_empty() {
        uri.push_str(&format!("?{}", params.join("&")));
    }
    Some(uri)
}

/// `vncdisplay`
pub fn cmd_vncdisplay(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    if !is_active(ctl, &dom)? {
        fail!("Domain is not running");
    }
    let xml = xml_of(ctl, &dom, 0)?;
    let doc = parse_xml(&xml)?;
    let vnc = elements(doc.root(), "graphics").find(|g| g.attr("type") == Some("vnc"));
    let Some(g) = vnc else {
        fail!("Failed to get VNC port. Is this domain using VNC?");
    };
    let port = g.attr("port").and_then(|p| p.parse::<i64>().ok());
    let Some(port) = port.filter(|p| *p >= 0) else {
        fail!("Failed to get VNC port. Is this domain using VNC?");
    };
    let host = g.attr("listen").unwrap_or_default();
    let host = match host {
        "" | "0.0.0.0" => String::new(),
        h if h.contains(':') => format!("[{h}]"),
        h => h.to_owned(),
    };
    put!(ctl, "{host}:{}\n", port - 5900);
    Ok(())
}

/// `ttyconsole`
pub fn cmd_ttyconsole(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let xml = xml_of(ctl, &dom, 0)?;
    let doc = parse_xml(&xml)?;
    let tty = elements(doc.root(), "console").next().and_then(|c| c.attr("tty").map(str::to_owned));
    match tty {
        Some(t) => {
            put!(ctl, "{t}\n");
            Ok(())
        }
        None => Err(Fail::silent()),
    }
}

/// `screenshot`
pub fn cmd_screenshot(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let screen = cmd.uint("screen")?.unwrap_or(0);
    let given = cmd.str("file")?.map(str::to_owned);
    let dom = domain(ctl, cmd)?;
    let name = dom.name.clone();
    let conn = ctl.conn()?;
    let args = protocol::remote::DomainScreenshotArgs { dom, screen, flags: 0 };
    let (ret, stream) = conn
        .open_stream::<protocol::remote::procs::DomainScreenshot>(&args)
        .ctx(format!("could not take a screenshot of {name}"))?;
    let mime = ret.mime.unwrap_or_default();
    let path = given.unwrap_or_else(|| {
        let suffix = match mime.as_str() {
            "image/x-portable-pixmap" => ".ppm",
            "image/png" => ".png",
            _ => "",
        };
        let stamp = crate::virsh::util::timestamp(crate::virsh::util::now().as_secs() as i64);
        format!("{name}-{}{suffix}", stamp.replace(' ', "-"))
    });
    let Ok(mut file) = std::fs::File::create(&path) else {
        fail!("cannot create file {path}");
    };
    while let Some(item) =
        stream.recv().ctx(format!("could not receive data from domain '{name}'"))?
    {
        if let StreamItem::Data(d) = item {
            file.write_all(&d)
                .map_err(|e| Fail::new(format!("cannot write file {path}: {}", os_error(&e))))?;
        }
    }
    stream.finish().ctx(format!("cannot close stream on domain '{name}'"))?;
    put!(ctl, "Screenshot saved to {path}, with type of {mime}");
    Ok(())
}

/// `send-key`
pub fn cmd_send_key(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let set = cmd.str("codeset")?.unwrap_or("linux");
    let holdtime = cmd.uint("holdtime")?.unwrap_or(0);
    // What was called `rfb` once is `qnum` today.
    let set = if set == "rfb" { "qnum" } else { set };
    let Some(codeset) = keycodes::CODESETS.iter().position(|c| *c == set) else {
        fail!("unknown codeset: '{set}'");
    };
    let mut keycodes_list = Vec::new();
    for word in cmd.argv("keycode") {
        if keycodes_list.len() == 16 {
            fail!("too many keycodes");
        }
        match keycodes::code(set, word) {
            Some(c) => keycodes_list.push(c),
            None => fail!("invalid keycode: '{word}'"),
        }
    }
    call!(
        ctl,
        DomainSendKey { dom, codeset: codeset as u32, holdtime, keycodes: keycodes_list, flags: 0 }
    )
}

/// `inject-nmi`
pub fn cmd_inject_nmi(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    call!(ctl, DomainInjectNmi { dom, flags: 0 })
}

/// `send-process-signal`
pub fn cmd_send_process_signal(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let text = cmd.req("pid")?;
    let Some(pid_value) = crate::virsh::cmd::parse_i64(text) else {
        fail!("Numeric value '{text}' for <pid> option is malformed or out of range");
    };
    let text = cmd.req("signame")?;
    let lower = text.to_lowercase();
    let short = lower.strip_prefix("sig_").or_else(|| lower.strip_prefix("sig")).unwrap_or(&lower);
    let words = crate::virsh::registry::words::SIGNAMES;
    let signum = match text.parse::<u32>() {
        Ok(n) => n,
        Err(_) => match words.iter().position(|w| *w == short) {
            Some(n) => n as u32,
            None => fail!("malformed signal name: {text}"),
        },
    };
    if pid_value == 0 {
        fail!("pid_value in virDomainSendProcessSignal must not be zero");
    }
    call!(ctl, DomainSendProcessSignal { dom, pid_value, signum, flags: 0 })
}

/// `domdisplay-reload`
pub fn cmd_domdisplay_reload(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let kind = cmd.uint("type")?.unwrap_or(0);
    let dom = domain(ctl, cmd)?;
    let name = dom.name.clone();
    call!(ctl, DomainGraphicsReload { dom, r#type: kind, flags: 0 })?;
    put!(ctl, "Reload domain '{name}' graphics display successfully");
    Ok(())
}
