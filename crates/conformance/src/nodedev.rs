//! Node devices and mediated devices.

use crate::Operation;
use crate::answer::{Answer, accepted, either};
use crate::request::Request;
use diag::{ErrorCode, VirError};
use model::nodedev::{Capability, Device, Mdev, format, mdevctl, parse, parse_new};
use plan::Command;
use plan::nodedev::{MdevAction, mdevctl_autostart, mdevctl_list};
use serde_json::{Value, json};
use xml::WriteOptions;

/// The operations of this area.
pub const OPERATIONS: &[Operation] = &[
    ("nodedev-xml", nodedev_xml),
    ("nodedev-mdevctl", nodedev_mdevctl),
    ("nodedev-mdevctl-list", nodedev_mdevctl_list),
];

fn device(request: &Request<'_>) -> Result<Device, Answer> {
    let text = request.need("xml")?;
    let parsed = parse(text);
    accepted(parsed.value, parsed.diagnostics, text)
}

fn nodedev_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let mut device = device(request)?;
        for capability in &mut device.capabilities {
            if let Capability::Storage(storage) = capability {
                storage.measure(|medium| if medium { 2048 } else { 512 });
            }
        }
        let live = !request.flag("inactive");
        Ok(Answer::text(format(&device, &WriteOptions { live, ..WriteOptions::default() })))
    })())
}

/// Addresses of the devices this host has.
fn parent_address(name: &str) -> Option<&'static str> {
    match name {
        "pci_0000_00_02_0" => Some("0000:00:02.0"),
        "ap_matrix" => Some("matrix"),
        "css_0_0_0052" => Some("0.0.0052"),
        _ => None,
    }
}

fn commands(commands: &[Command]) -> Answer {
    let stdin = commands.iter().find_map(|command| command.stdin.clone());
    let all: Vec<Value> = commands.iter().map(|command| json!(command.argv())).collect();
    Answer::Out(json!({"commands": all, "stdin": stdin}))
}

fn nodedev_mdevctl(request: &Request<'_>) -> Answer {
    either((|| {
        let word = request.need("command")?;
        if word == "list-defined" {
            return Ok(commands(&[mdevctl_list(true)]));
        }
        let text = request.need("xml")?;
        let parsed = parse_new(text);
        let device = accepted(parsed.value, parsed.diagnostics, text)?;
        let mdev: &Mdev = device
            .capabilities
            .iter()
            .find_map(|capability| match capability {
                Capability::Mdev(mdev) => Some(mdev),
                _ => None,
            })
            .ok_or_else(|| Answer::wrong("no mediated device"))?;
        let action = match word {
            "create" => MdevAction::Create,
            "define" => MdevAction::Define,
            "start" => MdevAction::Start,
            "stop" => MdevAction::Stop,
            "undefine" => MdevAction::Undefine,
            "autostart-on-off" => {
                let both = [mdevctl_autostart(mdev, true), mdevctl_autostart(mdev, false)];
                return Ok(commands(&both));
            }
            _ => return Ok(Answer::Unsupported),
        };
        let parent = device.parent.as_ref().and_then(|parent| parent.name.as_deref());
        let address = parent.and_then(parent_address);
        if address.is_none() && matches!(action, MdevAction::Create | MdevAction::Define) {
            let parent = parent.unwrap_or_default();
            let message = format!("Unable to find address for parent device '{parent}'");
            return Err(Answer::Refused(VirError::new(ErrorCode::PARSE_FAILED, message)));
        }
        Ok(commands(&[plan::nodedev::mdevctl(action, mdev, address.unwrap_or_default())]))
    })())
}

fn nodedev_mdevctl_list(request: &Request<'_>) -> Answer {
    either((|| {
        let known = ["pci_0000_00_02_0", "ap_matrix", "css_0_0_0052"];
        let name = |address: &str| {
            let found = known.iter().find(|name| parent_address(name) == Some(address));
            found.map(|name| (*name).to_owned())
        };
        let devices = mdevctl::parse_list(request.need("json")?, name)
            .map_err(|error| Answer::Refused(VirError::internal(error.to_string())))?;
        let all = devices.iter().map(|device| format(device, &WriteOptions::default()));
        Ok(Answer::Out(all.map(Value::String).collect()))
    })())
}
