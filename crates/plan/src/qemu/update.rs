//! What a running guest's emulator is told where a device of it changes.

use super::settings::Settings;
use crate::step::QmpCommand;
use model::domain::hotplug::update::Change;
use serde_json::{Value, json};

/// The commands that carry out a change of the device named `alias`; `now` is the time in seconds
/// of the epoch. A change of medium is no plain list of commands and one of the bridge is not QEMU's:
/// they yield none.
pub fn update(change: &Change, alias: &str, settings: &Settings, now: u64) -> Vec<QmpCommand> {
    let command = |name: &str, arguments: Value, secret: bool| QmpCommand {
        result: None,
        json: json!({"execute": name, "arguments": arguments}).to_string(),
        secret,
    };
    match change {
        Change::Password { protocol, password, connected, valid_to } => {
            let default = match *protocol {
                "vnc" => settings.vnc.password.clone(),
                _ => settings.spice.password.clone(),
            };
            let Some(password) = password.clone().or(default) else { return Vec::new() };
            let mut arguments = json!({"protocol": protocol, "password": password});
            if let (Some(action), Value::Object(map)) = (connected, &mut arguments) {
                map.insert("connected".into(), Value::from(*action));
            }
            let time = match valid_to {
                // Nobody gets in with an empty one.
                _ if password.is_empty() => "now".to_owned(),
                None => "never".to_owned(),
                Some(time) if *time <= now => "now".to_owned(),
                Some(time) => time.to_string(),
            };
            vec![
                command("set_password", arguments, true),
                command("expire_password", json!({"protocol": protocol, "time": time}), false),
            ]
        }
        // On the host alone, or no plain list.
        Change::Medium
        | Change::Bridge { .. }
        | Change::Bandwidth { .. }
        | Change::Vlan { .. }
        | Change::Coalesce { .. } => Vec::new(),
        Change::Link { up } => vec![command("set_link", json!({"name": alias, "up": up}), false)],
        Change::RequestedSize { bytes } => {
            let path = format!("/machine/peripheral/{alias}");
            let arguments = json!({"path": path, "property": "requested-size", "value": bytes});
            vec![command("qom-set", arguments, false)]
        }
    }
}
