//! Domains of QEMU: their XML and their command line.

use crate::Operation;
use crate::answer::{Answer, accepted, either};
use crate::request::Request;
use crate::{emulator, host};
use model::capabilities::qemu::{Accel, QemuCaps};
use model::domain::defaults::{self, DefaultsContext, EmulatorDefaults};
use model::domain::{
    Domain, FormatFlags, ParseOptions, VirtType, assign_aliases, format, parse, status, validate,
    validate_emulator, validate_support,
};
use plan::qemu::{Inputs, launch, select_firmware};
use plan::{Action, Arg, Piece};
use serde_json::Value;

/// The operations of this area.
pub const OPERATIONS: &[Operation] = &[
    ("domain-xml", domain_xml),
    ("domain-argv", domain_argv),
    ("domain-live-xml", live_xml),
    ("domain-status-xml", status_xml),
];

/// A domain as the daemon would define it.
fn define(request: &Request<'_>, caps: &QemuCaps) -> Result<Domain, Answer> {
    let text = request.need("xml")?;
    let parsed = parse(text, ParseOptions::default());
    let mut domain = accepted(parsed.domain, parsed.diagnostics, text)?;
    let facts = host::facts(request);
    let set = host::settings(request);
    let accel = if domain.kind == VirtType::Kvm { Accel::Kvm } else { Accel::Tcg };
    let emulator = EmulatorDefaults::new(caps, accel);
    let settings = defaults::Settings {
        lib_dir: set.lib_dir.clone(),
        channel_dir: set.channel_dir.clone(),
        vnc_allow_host_audio: set.vnc_allow_host_audio,
        nographics_allow_host_audio: set.nographics_allow_host_audio,
    };
    let mut context = DefaultsContext {
        host_arch: &facts.arch,
        emulator: Some(&caps.emulator),
        machines: &emulator.machines,
        devices: &emulator.devices,
        settings: &settings,
        random: &mut host::random,
        abi_update: request.flag("abi_update"),
    };
    let mut findings = defaults::apply(&mut domain, &mut context);
    findings.extend(validate_emulator(&domain, Some(caps), accel));
    findings.extend(validate_support(&domain, &emulator.devices));
    let mut domain = accepted(Some(domain), findings, "")?;
    choose_firmware(request, &mut domain, &facts.arch, &set.nvram_dir)?;
    let findings = validate(&domain);
    accepted(Some(domain), findings, "")
}

fn choose_firmware(
    request: &Request<'_>,
    domain: &mut Domain,
    host_arch: &str,
    nvram_dir: &str,
) -> Result<(), Answer> {
    let Some(os) = domain.os.as_ref() else { return Ok(()) };
    if os.firmware.is_none() && os.loader.is_none() {
        return Ok(());
    }
    let machine = os.kind.machine.clone().unwrap_or_default();
    let arch = os.kind.arch.clone().unwrap_or_else(|| host_arch.to_owned());
    let installed = host::firmware(request.profile);
    select_firmware(domain, &installed, nvram_dir, &machine, &arch)
        .map_err(|error| Answer::Refused(diag::VirError::failed(error.0)))
}

fn domain_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let caps = emulator::capabilities(request)?;
        let domain = define(request, &caps)?;
        Ok(Answer::text(format(&domain, FormatFlags { secure: true, ..FormatFlags::default() })))
    })())
}

/// Numbers of descriptors where they show.
fn descriptor(name: &str) -> String {
    let number = match name {
        "monitor.fd" => 1729,
        _ => 1750,
    };
    number.to_string()
}

fn render(arg: &Arg) -> String {
    arg.render(|piece| match piece {
        Piece::Fd(name) => descriptor(&name.0),
        Piece::Port(name) if name.0.contains("spice.tls") => "5902".to_owned(),
        Piece::Port(name) if name.0.contains("spice") => "5901".to_owned(),
        Piece::Port(_) => "5900".to_owned(),
        Piece::VncDisplay(_) => "0".to_owned(),
        Piece::Text(text) => text.clone(),
    })
}

fn domain_argv(request: &Request<'_>) -> Answer {
    either((|| {
        let caps = emulator::capabilities(request)?;
        let mut domain = define(request, &caps)?;
        assign_aliases(&mut domain);
        let (facts, settings) = (host::facts(request), host::settings(request));
        let installed = host::firmware(request.profile);
        let inputs =
            Inputs { caps: &caps, host: &facts, firmware: &installed, settings: &settings, id: -1 };
        let plan = launch(&domain, &inputs).map_err(|findings| Answer::refused(findings, ""))?;
        let exec = plan.steps.iter().find_map(|step| match &step.action {
            Action::Exec(exec) => Some(exec),
            _ => None,
        });
        let exec = exec.ok_or_else(|| Answer::wrong("the plan starts no process"))?;
        let mut words: Vec<Value> = Vec::new();
        for (name, value) in &exec.env {
            if let Some(value) = value {
                words.push(Value::String(format!("{name}={value}")));
            }
        }
        words.push(Value::String(exec.program.clone()));
        words.extend(exec.args.iter().map(|arg| Value::String(render(arg))));
        Ok(Answer::Out(Value::Array(words)))
    })())
}

fn live_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let text = request.need("xml")?;
        let parsed = parse(text, ParseOptions { live: true });
        let mut domain = accepted(parsed.domain, parsed.diagnostics, text)?;
        domain.id.get_or_insert(1337);
        let live = request.str("format") == Some("live");
        Ok(Answer::text(format(&domain, FormatFlags { live, secure: true, migratable: false })))
    })())
}

fn status_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let text = request.need("xml")?;
        let parsed = status::parse(text);
        let status = accepted(parsed.status, parsed.diagnostics, text)?;
        Ok(Answer::text(status::format(&status)))
    })())
}
