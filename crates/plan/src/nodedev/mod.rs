//! Mediated devices: commands of mdevctl.

use model::nodedev::{Mdev, mdevctl::device_json};

use crate::Command;

/// What is done with a mediated device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MdevAction {
    /// It is made, for as long as the host runs.
    Create,
    /// It is defined.
    Define,
    /// A defined one is made.
    Start,
    /// It is taken away; its definition stays.
    Stop,
    /// Its definition is removed.
    Undefine,
}

/// The command for an action on a device; `parent` is the address of the device it is made on, which
/// only making and defining need. What mdevctl prints for a device without UUID is its UUID.
pub fn mdevctl(action: MdevAction, mdev: &Mdev, parent: &str) -> Command {
    let verb = match action {
        MdevAction::Create | MdevAction::Start => "start",
        MdevAction::Define => "define",
        MdevAction::Stop => "stop",
        MdevAction::Undefine => "undefine",
    };
    let mut command = Command::new("mdevctl").arg(verb);
    if matches!(action, MdevAction::Create | MdevAction::Define) {
        command = command.arg(format!("--parent={parent}")).arg("--jsonfile=/dev/stdin");
        command.stdin = Some(device_json(mdev));
    }
    match &mdev.uuid {
        Some(uuid) => command.arg(format!("--uuid={uuid}")),
        None => command,
    }
}

/// The command that makes a defined device start with the host, or not.
pub fn mdevctl_autostart(mdev: &Mdev, on: bool) -> Command {
    let command = Command::new("mdevctl").arg("modify");
    let command = match &mdev.uuid {
        Some(uuid) => command.arg("--uuid").arg(uuid.to_string()),
        None => command,
    };
    command.arg(if on { "--auto" } else { "--manual" })
}

/// The command that lists devices as JSON: the defined ones, or those there are.
pub fn mdevctl_list(defined: bool) -> Command {
    let command = Command::new("mdevctl").arg("list").arg("--dumpjson");
    if defined { command.arg("--defined") } else { command }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::nodedev::{MdevAttr, MdevConfig};

    fn mdev() -> Mdev {
        let attr = MdevAttr { name: "a\"".to_owned(), value: "v".to_owned() };
        Mdev {
            defined: MdevConfig { type_id: "t-1".to_owned(), attrs: vec![attr] },
            uuid: "c7a5fdbd-edaf-9455-926a-d65c16db1809".parse().ok(),
            ..Mdev::default()
        }
    }

    #[test]
    fn commands() {
        let uuid = "--uuid=c7a5fdbd-edaf-9455-926a-d65c16db1809";
        for (action, verb) in [
            (MdevAction::Start, "start"),
            (MdevAction::Stop, "stop"),
            (MdevAction::Undefine, "undefine"),
        ] {
            let command = mdevctl(action, &mdev(), "0.0.0052");
            assert_eq!(command.argv(), ["mdevctl", verb, uuid]);
            assert_eq!(command.stdin, None);
        }
        let command = mdevctl(MdevAction::Define, &mdev(), "0.0.0052");
        assert_eq!(command.args, ["define", "--parent=0.0.0052", "--jsonfile=/dev/stdin", uuid]);
        let json = r#"{"mdev_type":"t-1","start":"manual","attrs":[{"a\"":"v"}]}"#;
        assert_eq!(command.stdin.as_deref(), Some(json));
        let unnamed = Mdev { uuid: None, ..mdev() };
        let command = mdevctl(MdevAction::Create, &unnamed, "matrix");
        assert_eq!(command.args, ["start", "--parent=matrix", "--jsonfile=/dev/stdin"]);
        assert_eq!(mdevctl_list(true).args, ["list", "--dumpjson", "--defined"]);
        assert_eq!(mdevctl_autostart(&unnamed, false).args, ["modify", "--manual"]);
    }
}
