//! What a finished plan asks of an emulator that does not have it.
//!
//! Most needs are rules of their own, with libvirt's words. What no rule knows (a board's adapter in
//! another board's guest, a back end that was left out of the build) is looked up here, in what the
//! emulator said that it has, so that nothing was touched when it is refused.

use crate::because::Place;
use crate::hot_plan::PlugPlan;
use crate::launch_plan::LaunchPlan;
use crate::step::Arg;
use diag::{Diagnostic, ErrorCode, Severity};
use model::capabilities::qemu::{Accel, QemuCaps};
use serde_json::Value;

/// Other names that QEMU has for devices, besides those of virtio devices without their transport.
const ALIASES: &[(&str, &str)] = &[
    ("ac97", "AC97"),
    ("ahci", "ich9-ahci"),
    ("e1000-82540em", "e1000"),
    ("es1370", "ES1370"),
    ("lsi", "lsi53c895a"),
];

/// What comes after the name of a virtio device that is given without its transport.
const TRANSPORTS: &[&str] = &["-pci", "-ccw", "-device"];

/// Other names of character devices' back ends.
const BACKENDS: &[(&str, &str)] = &[("tty", "serial"), ("parport", "parallel")];

/// Something that an argument needs: what sort of thing it is, and its name.
type Need = (&'static str, String);

/// The member `key` of an option's value; of one that is no JSON, the first word where `head`.
fn member(value: &str, key: &str, head: bool) -> Option<String> {
    if value.starts_with('{') {
        let value: Value = serde_json::from_str(value).ok()?;
        return value.get(key)?.as_str().map(str::to_owned);
    }
    let named = |part: &str| part.strip_prefix(key)?.strip_prefix('=').map(str::to_owned);
    let first = value.split(',').next().filter(|first| head && !first.contains('='));
    first.map(str::to_owned).or_else(|| value.split(',').find_map(named))
}

/// What an option, or the command that stands for it in a guest that runs, needs.
fn need(option: &str, value: &Arg) -> Option<Need> {
    // Places stand inside of texts, or for numbers: any number makes it JSON again.
    let text = || value.render(|_| "0".into());
    Some(match option {
        "-device" | "device_add" => ("device", member(&text(), "driver", true)?),
        "-object" | "object-add" => ("object", member(&text(), "qom-type", true)?),
        "-netdev" | "netdev_add" => ("network back end", member(&text(), "type", true)?),
        "-blockdev" | "blockdev-add" => ("block driver", member(&text(), "driver", true)?),
        "-audiodev" => ("audio back end", member(&text(), "driver", true)?),
        "-display" => ("display", member(&text(), "type", true)?),
        "-chardev" | "chardev-add" => {
            let text = text();
            let kind = match serde_json::from_str::<Value>(&text) {
                Ok(value) => value.get("backend")?.get("type")?.as_str()?.to_owned(),
                Err(_) => member(&text, "backend", true)?,
            };
            ("character device", kind)
        }
        "-cpu" => ("CPU model", member(&text(), "", true)?),
        _ => return None,
    })
}

/// Whether the emulator has it. What it was not asked about, it has.
fn has(caps: &QemuCaps, accel: Option<Accel>, (sort, name): &(&str, String)) -> bool {
    let kind = |name: &str| caps.types.is_empty() || caps.types.contains(name);
    let among = |option: &str| caps.backends.get(option).is_none_or(|names| names.contains(name));
    match *sort {
        "device" => {
            let alias = ALIASES.iter().find(|(alias, _)| alias == name);
            let virtio = || {
                name.starts_with("virtio-")
                    && TRANSPORTS.iter().any(|transport| kind(&format!("{name}{transport}")))
            };
            kind(alias.map_or(name, |(_, driver)| driver)) || virtio()
        }
        "object" => kind(name),
        "character device" => {
            let alias = BACKENDS.iter().find(|(alias, _)| alias == name);
            kind(&format!("chardev-{}", alias.map_or(name.as_str(), |(_, backend)| backend)))
        }
        "network back end" => among("-netdev"),
        "block driver" => among("-blockdev"),
        "audio back end" => among("-audiodev"),
        "display" => among("-display"),
        "CPU model" => accel.and_then(|accel| caps.accel(accel)).is_none_or(|accel| {
            accel.cpus.is_empty()
                || accel.cpus.iter().any(|model| model.name.eq_ignore_ascii_case(name))
        }),
        _ => true,
    }
}

fn fault(caps: &QemuCaps, element: &str, (sort, name): &Need) -> Diagnostic {
    let (major, minor, micro) = caps.version;
    let emulator = &caps.emulator;
    Diagnostic {
        rule: "qemu.lacking",
        severity: Severity::Error,
        code: ErrorCode::CONFIG_UNSUPPORTED,
        span: None,
        message: format!(
            "<{element}> needs the {sort} '{name}', which {emulator} (version \
             {major}.{minor}.{micro}) lacks"
        ),
        domain: None,
        hints: Vec::new(),
    }
}

/// The name of an element as a message has it: `devices/sound[2]` is `sound[2]`.
fn shown(place: Place) -> String {
    let text = place.to_string();
    text.strip_prefix("devices/").map_or(text.clone(), str::to_owned)
}

impl LaunchPlan {
    /// What this start needs of the emulator and `caps` do not have, each thing once: the element,
    /// what is missing, and the emulator's version. Arguments that the definition gives as they are
    /// are not looked at.
    pub fn lacking(&self, caps: &QemuCaps, accel: Accel) -> Vec<Diagnostic> {
        let args = self.exec().map_or(&[][..], |exec| exec.args.as_slice());
        let mut faults: Vec<Diagnostic> = Vec::new();
        for (pair, because) in args.windows(2).zip(self.reasons.args.iter().skip(1)) {
            let [option, value] = pair else { continue };
            let place = because.place;
            if place.element == "qemu:commandline" {
                continue;
            }
            let option = option.render(|_| String::new());
            let missing = need(&option, value).filter(|need| !has(caps, Some(accel), need));
            let Some(need) = missing else { continue };
            // What every guest has is of no element.
            let element = if place.element.is_empty() { "domain".into() } else { shown(place) };
            let fault = fault(caps, &element, &need);
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
        faults
    }
}

impl PlugPlan {
    /// The same of a device (by its element's name) that is to come to a running guest.
    pub fn lacking(&self, caps: &QemuCaps, element: &str) -> Vec<Diagnostic> {
        let needs = self.commands.iter().filter_map(|c| need(c.name, &c.arguments));
        let missing = needs.filter(|need| !has(caps, None, need));
        let mut faults: Vec<Diagnostic> = Vec::new();
        for fault in missing.map(|need| fault(caps, element, &need)) {
            if !faults.contains(&fault) {
                faults.push(fault);
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::recorded;
    use model::capabilities::qemu::{AccelCaps, CpuDefinition};

    fn caps() -> QemuCaps {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let cpu = CpuDefinition { name: "POWER9".into(), ..CpuDefinition::default() };
        QemuCaps {
            types: set(&[
                "e1000",
                "ich9-ahci",
                "virtio-net-ccw",
                "secret",
                "chardev-socket",
                "chardev-serial",
            ]),
            backends: [("-netdev".to_owned(), set(&["tap", "user"]))].into(),
            tcg: Some(AccelCaps { cpus: vec![cpu], ..AccelCaps::default() }),
            ..recorded::caps()
        }
    }

    #[test]
    fn needs_are_looked_up_by_all_their_names() {
        let check = |option: &str, value: &str, expected: &str| {
            let need = need(option, &Arg::text(value));
            let missing = need.filter(|need| !has(&caps(), Some(Accel::Tcg), need));
            let shown = missing.map_or(String::new(), |(sort, name)| format!("{sort} {name}"));
            assert_eq!(shown, expected, "{option} {value}");
        };
        check("-device", r#"{"driver":"e1000","id":"net0"}"#, "");
        check("-device", r#"{"driver":"e1000-82540em"}"#, "");
        check("-device", "e1000,id=net0", "");
        check("-device", "driver=e1000,id=net0", "");
        check("-device", r#"{"driver":"ahci"}"#, "");
        check("-device", r#"{"driver":"lsi"}"#, "device lsi");
        check("-device", r#"{"driver":"virtio-net"}"#, "");
        check("-device", r#"{"driver":"virtio-net-pci"}"#, "device virtio-net-pci");
        check("-device", r#"{"driver":"virtio-rng"}"#, "device virtio-rng");
        check("device_add", r#"{"driver":"spapr-vscsi"}"#, "device spapr-vscsi");
        check("-object", r#"{"qom-type":"secret","id":"a"}"#, "");
        check("-object", "rng-random,id=b", "object rng-random");
        check("object-add", r#"{"qom-type":"iothread"}"#, "object iothread");
        check("-netdev", r#"{"type":"tap","fd":"3"}"#, "");
        check("-netdev", "vde,id=n", "network back end vde");
        check("-chardev", "socket,id=charmonitor,fd=3", "");
        check("-chardev", "tty,id=a,path=/dev/x", "");
        check("-chardev", "spicevmc,id=a", "character device spicevmc");
        let udp = r#"{"id":"a","backend":{"type":"udp","data":{}}}"#;
        check("chardev-add", udp, "character device udp");
        check("-cpu", "power9,x=on", "");
        check("-cpu", "POWER12", "CPU model POWER12");
        // Of this nothing is known.
        check("-blockdev", r#"{"driver":"rbd","node-name":"n"}"#, "");
        check("-name", "guest=x", "");
    }
}
