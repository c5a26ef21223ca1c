//! Displays: the password and how long it holds, and nothing else.

use super::{Change, Updated, place, unsupported};
use crate::domain::devices::Devices;
use crate::domain::devices::graphics::{ConnectedAction, Graphics, GraphicsType, ListenType};
use crate::domain::hotplug::device::{Device, DeviceKind};
use crate::domain::hotplug::error;
use diag::{ErrorCode, VirError};
use xml::YesNo;

/// Works out what changes.
pub(super) fn running(devices: &Devices, wanted: &Graphics) -> Result<Updated, VirError> {
    let kind = wanted.kind.as_str();
    let found = devices.graphics.iter().position(|there| there.kind == wanted.kind);
    let Some((index, old)) = found.and_then(|i| Some((i, devices.graphics.get(i)?))) else {
        return Err(error(
            ErrorCode::DEVICE_MISSING,
            format!("cannot find existing graphics device to modify of type '{kind}'"),
        ));
    };
    let protocol = match wanted.kind {
        GraphicsType::Vnc => "vnc",
        GraphicsType::Spice => "spice",
        _ => {
            return Err(error(
                ErrorCode::INTERNAL_ERROR,
                format!("unable to change config on '{kind}' graphics type"),
            ));
        }
    };
    listens(old, wanted, kind)?;
    let automatic = |graphics: &Graphics| {
        // A port that is not said is chosen, as is -1.
        let chosen = graphics.port.is_none_or(|port| port == -1);
        graphics.auto_port.map_or(chosen, |auto| auto == YesNo::Yes)
    };
    let ports = |graphics: &Graphics| (graphics.port, graphics.tls_port.filter(|port| *port > 0));
    let fixed = !automatic(wanted);
    if automatic(old) != automatic(wanted) || fixed && ports(old) != ports(wanted) {
        return Err(unsupported(format!("cannot change port settings on {protocol} graphics")));
    }
    if old.keymap != wanted.keymap {
        return Err(unsupported(format!("cannot change keymap setting on {protocol} graphics")));
    }
    let mut changes = Vec::new();
    let timed = old.passwd_valid_to.is_some() || wanted.passwd_valid_to.is_some();
    // One whose time runs starts anew, whether it is the same or not.
    if timed || old.connected != wanted.connected || old.passwd != wanted.passwd {
        changes.push(Change::Password {
            protocol,
            password: wanted.passwd.clone(),
            connected: wanted.connected.map(|action| match action {
                ConnectedAction::Keep => "keep",
                ConnectedAction::Disconnect => "disconnect",
                ConnectedAction::Fail => "fail",
            }),
            valid_to: wanted.passwd_valid_to.as_deref().and_then(seconds_of),
        });
    }
    let device = Graphics {
        passwd: wanted.passwd.clone(),
        passwd_valid_to: wanted.passwd_valid_to.clone(),
        connected: wanted.connected,
        ..old.clone()
    };
    Ok(Updated {
        place: place(DeviceKind::Graphics, index),
        device: Device::Graphics(Box::new(device)),
        changes,
    })
}

/// Where it listens stays.
fn listens(old: &Graphics, wanted: &Graphics, kind: &str) -> Result<(), VirError> {
    let default = |graphics: &Graphics| {
        // Without an element of its own the attribute stands for one.
        let mut listens = graphics.listens.clone();
        if listens.is_empty() {
            listens.push(crate::domain::devices::graphics::Listen {
                kind: ListenType::Address,
                address: graphics.listen.clone(),
                ..Default::default()
            });
        }
        listens
    };
    let (old, wanted) = (default(old), default(wanted));
    if old.len() != wanted.len() {
        let text = format!("cannot change the number of listen addresses on '{kind}' graphics");
        return Err(unsupported(text));
    }
    for (old, wanted) in old.iter().zip(&wanted) {
        if old.kind != wanted.kind {
            let text = format!("cannot change the type of listen address on '{kind}' graphics");
            return Err(unsupported(text));
        }
        let (same, what) = match old.kind {
            ListenType::Address => (old.address == wanted.address, "listen address"),
            ListenType::Network => (old.network == wanted.network, "listen address"),
            ListenType::Socket => (old.socket == wanted.socket, "listen socket"),
            ListenType::None => (true, ""),
        };
        if !same {
            return Err(unsupported(format!("cannot change {what} setting on '{kind}' graphics")));
        }
    }
    Ok(())
}

/// The seconds of the epoch that `YYYY-MM-DDTHH:MM:SS` (universal time) stands for.
pub fn seconds_of(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('T')?;
    let numbers = |text: &str, by: char| -> Option<[u64; 3]> {
        let parts: Option<Vec<u64>> = text.split(by).map(|part| part.parse().ok()).collect();
        parts?.try_into().ok()
    };
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 31,
    };
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=length).contains(&day)
    {
        return None;
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Years that begin in March have their leap day last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ParseOptions, parse};

    fn display(attributes: &str) -> Devices {
        let text = format!(
            "<domain type='qemu' id='1'><name>a</name><memory>1</memory><os><type>hvm</type></os>\
             <devices><graphics type='vnc' {attributes}/></devices></domain>"
        );
        let domain = parse(&text, ParseOptions { live: true }).domain.expect("a domain");
        domain.devices.expect("devices")
    }

    /// A definition's own words for a chosen port change the password of the guest that has it.
    #[test]
    fn a_chosen_port_is_the_chosen_port() {
        let chosen = display("port='5901' autoport='yes'");
        let fixed = display("port='5901' autoport='no'");
        for (attributes, is_chosen) in
            [("port='-1'", true), ("autoport='yes'", true), ("", true), ("port='5901'", false)]
        {
            let wanted = display(&format!("{attributes} passwd='y'")).graphics.remove(0);
            assert_eq!(running(&chosen, &wanted).is_ok(), is_chosen, "{attributes}");
            assert_eq!(running(&fixed, &wanted).is_ok(), !is_chosen, "{attributes}");
        }
    }

    #[test]
    fn times_are_seconds_of_the_epoch() {
        for (text, expected) in [
            ("1970-01-01T00:00:00", Some(0)),
            ("2011-05-31T16:11:22", Some(1_306_858_282)),
            ("2024-02-29T23:59:59", Some(1_709_251_199)),
            ("2024-13-01T00:00:00", None),
            ("2100-02-29T00:00:00", None),
            ("2024-02-28T23:60:00", None),
            ("2024-01-01", None),
        ] {
            assert_eq!(seconds_of(text), expected, "{text}");
        }
    }
}
