//! The command line of a domain.

use super::define::define;
use super::found::found;
use crate::answer::{Answer, either};
use crate::request::Request;
use crate::{emulator, host};
use model::domain::assign_aliases;
use model::domain::defaults::assign_usb_ports;
use plan::qemu::{Inputs, launch};
use plan::{Action, Arg, LaunchPlan, Piece, ResultName, Tap, TapKind};
use serde_json::Value;

/// Numbers of descriptors where they show. What has several queues counts on from its first.
fn descriptor(request: &Request<'_>, plan: &LaunchPlan, name: &str) -> u64 {
    if let Some((group, place)) = name.strip_prefix("fdgroup.").and_then(|n| n.rsplit_once('.')) {
        let fds = request.value("fds").get(group).and_then(|group| group.get("fds"));
        let place: usize = place.parse().unwrap_or(0);
        return fds.and_then(|fds| fds.get(place)).and_then(Value::as_u64).unwrap_or(0);
    }
    if name.ends_with("-vdpa") {
        return 1732;
    }
    if let Some((_, device)) = name.split_once("-vdpa.") {
        return request.value("vdpa_fds").get(device).and_then(Value::as_u64).unwrap_or(0);
    }
    let (_, part) = name.rsplit_once(['.', '-']).unwrap_or(("", name));
    let kind = part.trim_end_matches(|c: char| c.is_ascii_digit());
    let queue: u64 = part.get(kind.len()..).and_then(|n| n.parse().ok()).unwrap_or(0);
    match kind {
        // Sockets the daemon listens on for character devices and the monitor.
        "fd" if name.starts_with("char") || name.starts_with("monitor") => 1729,
        "fd" if is_own_tap(plan, name) => 3 + queue,
        "fd" => 102 + queue,
        "vhost" | "vhostfd" => 44 + queue,
        "vhostscsi" => 3,
        "tpm" => 1730,
        "cancel" => 1731,
        "vsock" => 6789,
        "log" => 1751,
        _ => 1750,
    }
}

/// Whether a descriptor is of a tap that belongs to no bridge.
fn is_own_tap(plan: &LaunchPlan, name: &str) -> bool {
    let device = name.rsplit_once('.').map_or(name, |(device, _)| device);
    plan.steps.iter().any(|step| {
        let named = step.result.as_ref().is_some_and(|result| result.0 == device);
        let own = |tap: &Tap| !matches!(tap.kind, TapKind::Bridge { .. });
        named && matches!(&step.action, Action::Tap(tap) if own(tap))
    })
}

/// What every look-up of a secret yields.
const SECRET: &str = "AQCVn5hO6HzFAhAAq0NCv8jtJcIcE+HOBlMQ1A";

/// The named secret as it is passed to QEMU.
fn sealed(plan: &LaunchPlan, name: &ResultName) -> String {
    let texts = plan.steps.iter().filter(|step| step.result.as_ref() == Some(name));
    let text = texts.into_iter().find_map(|step| match &step.action {
        Action::Secret(secret) => secret.text.clone(),
        _ => None,
    });
    let (mut key, mut iv) = ([0; 32], [0; 16]);
    host::random(&mut key);
    host::random(&mut iv);
    plan::secret::seal(&key, &iv, text.as_deref().unwrap_or(SECRET).as_bytes())
}

/// The vector that secrets are sealed with.
fn vector() -> String {
    let mut iv = [0; 16];
    host::random(&mut iv);
    plan::secret::base64(&iv)
}

fn render(request: &Request<'_>, plan: &LaunchPlan, arg: &Arg) -> String {
    let text = arg.render(|piece| match piece {
        Piece::Secret(name) => sealed(plan, name),
        Piece::SecretIv(_) => vector(),
        Piece::Fd(name) => descriptor(request, plan, &name.0).to_string(),
        Piece::Port(name) if name.0.contains("tls") => "5902".to_owned(),
        Piece::Port(name) if name.0.contains("spice") => "5901".to_owned(),
        Piece::Port(name) if name.0.contains("websocket") => "5700".to_owned(),
        Piece::Port(_) => "5900".to_owned(),
        Piece::Cid(_) => "42".to_owned(),
        Piece::VncDisplay(_) => "0".to_owned(),
        Piece::Text(text) => text.clone(),
    });
    // The socket of the TPM emulator is the same for all guests of that host.
    match text.strip_prefix("socket,id=chrtpm,path=") {
        Some(path) if path.contains("/swtpm/") => "socket,id=chrtpm,path=/dev/test".to_owned(),
        _ => text,
    }
}

/// A variable of the daemon's own environment.
fn inherited<'a>(request: &Request<'a>, name: &str) -> Option<&'a str> {
    match name {
        "PATH" => Some("/bin"),
        "USER" | "LOGNAME" => Some("test"),
        _ => request.value("env").get(name).and_then(Value::as_str),
    }
}

/// Where the guest's state comes from: what is at the daemon's standard input is handed on.
fn incoming(request: &Request<'_>) -> Option<String> {
    match request.str("migrate_from")? {
        "stdio" => {
            let fd = request.value("migrate_fd");
            let fd = fd.as_i64().or_else(|| fd.as_str().and_then(|text| text.parse().ok()));
            Some(format!("fd:{}", fd.unwrap_or(0)))
        }
        from => Some(from.to_owned()),
    }
}

/// The words with which QEMU is started.
pub fn domain_argv(request: &Request<'_>) -> Answer {
    either((|| {
        let caps = emulator::capabilities(request)?;
        let mut domain = define(request, &caps)?;
        if request.str("migrate_from").is_none() {
            assign_usb_ports(&mut domain);
        }
        assign_aliases(&mut domain);
        let (facts, settings) = (host::facts(request), host::settings(request));
        let installed = host::firmware(request.profile);
        let incoming = incoming(request);
        let found = found(request, &domain);
        let inputs = Inputs {
            caps: &caps,
            host: &facts,
            firmware: &installed,
            settings: &settings,
            found: &found,
            id: -1,
            incoming: incoming.as_deref(),
        };
        let plan = launch(&domain, &inputs).map_err(|findings| Answer::refused(findings, ""))?;
        let exec = plan.steps.iter().find_map(|step| match &step.action {
            Action::Exec(exec) => Some(exec),
            _ => None,
        });
        let exec = exec.ok_or_else(|| Answer::wrong("the plan starts no process"))?;
        let mut words: Vec<Value> = Vec::new();
        for (name, value) in &exec.env {
            if let Some(value) = value.as_deref().or_else(|| inherited(request, name)) {
                words.push(Value::String(format!("{name}={value}")));
            }
        }
        words.push(Value::String(exec.program.clone()));
        words.extend(exec.args.iter().map(|arg| Value::String(render(request, &plan, arg))));
        Ok(Answer::Out(Value::Array(words)))
    })())
}
