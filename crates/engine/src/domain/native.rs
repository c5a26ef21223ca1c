//! `domxml-to-native`: a guest's command line for people, who have no descriptors to hand over.
//!
//! As libvirt does: sockets and files are named by their paths, every network interface is a plain
//! tap, a TPM has nothing behind it, and a VNC display that is to be found at the start is the first.

use super::start::quoted;
use model::domain::Domain as Definition;
use model::domain::devices::interface::{Interface, InterfaceType};
use model::domain::devices::tpm::TpmBackendType;
use plan::{Action, Arg, LaunchPlan, Piece, ResultName, Step};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;

/// Makes every interface one that needs nothing of this host: nothing but its model and hardware
/// address stays, its place and name are given anew.
pub(super) fn without_host(definition: &mut Definition) {
    let Some(devices) = definition.devices.as_mut() else { return };
    for interface in &mut devices.interfaces {
        *interface = Interface {
            kind: InterfaceType::Ethernet,
            mac: interface.mac.take(),
            model: interface.model.take(),
            ..Interface::default()
        };
    }
}

/// The command line with its environment, on one line.
pub(super) fn text(
    plan: &LaunchPlan,
    definition: &Definition,
    daemon: &BTreeMap<String, OsString>,
) -> String {
    let Some(exec) = plan.exec() else { return String::new() };
    let variable = |(name, value): &(String, Option<String>)| {
        // What has no value of its own is the daemon's.
        let value = match value {
            Some(value) => value.clone(),
            None => daemon.get(name)?.to_string_lossy().into_owned(),
        };
        Some(format!("{name}={}", quoted(&value)))
    };
    let mut words: Vec<String> = exec.env.iter().filter_map(variable).collect();
    words.push(exec.program.clone());
    let emulated_tpm = definition
        .devices
        .iter()
        .flat_map(|devices| &devices.tpms)
        .any(|tpm| tpm.backend.kind == TpmBackendType::Emulator);
    let mut places = Places::new(&plan.steps, emulated_tpm);
    let mut args = exec.args.iter();
    while let Some(arg) = args.next() {
        if arg.0 == [Piece::Text("-add-fd".to_owned())] {
            places.set(args.next());
        } else {
            words.push(quoted(&places.word(arg)));
        }
    }
    words.join(" ")
}

/// What stands behind the results that arguments mention.
struct Places<'a> {
    steps: HashMap<&'a ResultName, &'a Action>,
    /// Files that are emptied at the start.
    emptied: Vec<&'a str>,
    /// Files behind `/dev/fdset/N`.
    sets: Vec<(String, &'a str)>,
    emulated_tpm: bool,
    /// Number of the next descriptor of which nothing is known.
    next: u32,
}

impl<'a> Places<'a> {
    fn new(steps: &'a [Step], emulated_tpm: bool) -> Self {
        let emptied = steps.iter().filter_map(|step| match &step.action {
            Action::WriteFile { path, .. } => Some(path.as_str()),
            _ => None,
        });
        Self {
            steps: steps.iter().filter_map(|s| Some((s.result.as_ref()?, &s.action))).collect(),
            emptied: emptied.collect(),
            sets: Vec::new(),
            emulated_tpm,
            // Below are the standard streams.
            next: 3,
        }
    }

    /// Remembers the file of a set of descriptors.
    fn set(&mut self, arg: Option<&'a Arg>) {
        let Some(Arg(pieces)) = arg else { return };
        let (Some(Piece::Text(head)), Some(Piece::Fd(name))) = (pieces.first(), pieces.get(1))
        else {
            return;
        };
        let number = head.trim_start_matches("set=").trim_end_matches(",fd=");
        if let Some(Action::OpenFile { path, .. }) = self.steps.get(name) {
            self.sets.push((format!("/dev/fdset/{number}"), path));
        }
    }

    fn word(&mut self, arg: &Arg) -> String {
        let mut out = String::new();
        for piece in &arg.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                // Both are found at the start.
                Piece::VncDisplay(_) | Piece::Cid(_) => out.push('0'),
                Piece::Fd(name) => match self.steps.get(name) {
                    Some(Action::ListenUnix { path, .. }) if out.ends_with("fd=") => {
                        out.truncate(out.len() - "fd=".len());
                        out.push_str("path=");
                        out.push_str(&path.replace(',', ",,"));
                    }
                    _ => out.push_str(&self.number()),
                },
                _ => out.push_str(&self.number()),
            }
        }
        for (set, path) in &self.sets {
            out = self.named(&out, set, path);
        }
        if self.emulated_tpm && out.starts_with("socket,id=chrtpm,") {
            out = "null,id=chrtpm".to_owned();
        }
        out
    }

    /// The argument with the file in place of the set. A file that is emptied before is not
    /// appended to.
    fn named(&self, arg: &str, set: &str, path: &str) -> String {
        let emptied = self.emptied.contains(&path);
        let path = path.replace(',', ",,");
        if emptied {
            let arg = arg.replace(&format!("path={set},append=on"), &format!("path={path}"));
            arg.replace(
                &format!("logfile={set},logappend=on"),
                &format!("logfile={path},logappend=off"),
            )
        } else {
            let arg = arg.replace(&format!("path={set},"), &format!("path={path},"));
            arg.replace(&format!("logfile={set},"), &format!("logfile={path},"))
        }
    }

    fn number(&mut self) -> String {
        self.next += 1;
        (self.next - 1).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::Access;

    #[test]
    fn descriptors_become_paths() {
        let open = |path: &str, name: &str| {
            let action = Action::OpenFile {
                path: path.into(),
                access: Access::ReadWrite,
                create_append: true,
            };
            Step::new(action).yields(name)
        };
        let listen = Action::ListenUnix { path: "/m,n".into(), mode: 0, owner: None };
        let empty = Action::WriteFile {
            path: "/new".into(),
            mode: 0,
            owner: None,
            content: plan::Content::Bytes(Vec::new()),
        };
        let steps = [
            Step::new(listen).yields("m.fd"),
            Step::new(empty),
            open("/new", "a"),
            open("/old", "b"),
        ];
        let fd = |name: &str| Piece::Fd(ResultName::new(name));
        let text = |text: &str| Piece::Text(text.into());
        let sets = [
            Arg(vec![text("set=0,fd="), fd("a"), text(",opaque=a")]),
            Arg(vec![text("set=1,fd="), fd("b"), text(",opaque=b")]),
        ];
        let mut places = Places::new(&steps, true);
        sets.iter().for_each(|set| places.set(Some(set)));
        for (arg, expected) in [
            (
                vec![text("socket,id=m,fd="), fd("m.fd"), text(",server=on")],
                "socket,id=m,path=/m,,n,server=on",
            ),
            (vec![text("file,id=a,path=/dev/fdset/0,append=on")], "file,id=a,path=/new"),
            (vec![text("file,id=b,path=/dev/fdset/1,append=on")], "file,id=b,path=/old,append=on"),
            (
                vec![text("pty,id=c,logfile=/dev/fdset/0,logappend=on")],
                "pty,id=c,logfile=/new,logappend=off",
            ),
            (vec![text("tap,fd="), fd("tap")], "tap,fd=3"),
            (vec![text("socket,id=chrtpm,path=/x")], "null,id=chrtpm"),
        ] {
            assert_eq!(places.word(&Arg(arg)), expected);
        }
    }
}
