//! A plan as text: what `--dry-run` prints and the golden tests compare.

use crate::launch_plan::LaunchPlan;
use crate::step::*;
use std::fmt::{self, Display, Formatter};

impl Display for ResultName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Display for Ids {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl Display for Arg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => f.write_str(text)?,
                Piece::Fd(name) | Piece::Port(name) => write!(f, "<{name}>")?,
                Piece::Cid(name) => write!(f, "<cid {name}>")?,
                Piece::VncDisplay(name) => write!(f, "<{name} - 5900>")?,
                Piece::Secret(name) => write!(f, "<{name}>")?,
                Piece::SecretIv(name) => write!(f, "<{name} iv>")?,
            }
        }
        Ok(())
    }
}

/// ` owner 1:2`, or nothing.
fn owner(ids: &Option<Ids>) -> String {
    ids.map(|ids| format!(" owner {ids}")).unwrap_or_default()
}

impl Display for Access {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Read => "read",
            Access::ReadWrite => "read-write",
        })
    }
}

impl Display for DeviceUse {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path { path, access: Access::Read } => write!(f, "{path} r"),
            Self::Path { path, access: Access::ReadWrite } => write!(f, "{path} rw"),
            Self::Major(major) => write!(f, "c {major}:*"),
        }
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Action::MakeDir { path, mode, owner: ids } => {
                write!(f, "make directory {path} mode {mode:o}{}", owner(ids))
            }
            Action::WriteFile { path, mode, owner: ids, content } => {
                let what = match content {
                    Content::Bytes(bytes) => format!("{} bytes", bytes.len()),
                    Content::Random(count) => format!("{count} random bytes"),
                    Content::Secret(_) => "a secret".to_string(),
                };
                write!(f, "write {path} mode {mode:o}{}: {what}", owner(ids))
            }
            Action::CopyFile { from, to, mode, owner: ids, reset } => {
                let when = if *reset { "" } else { " unless it exists" };
                write!(f, "copy {from} to {to} mode {mode:o}{}{when}", owner(ids))
            }
            Action::RequireFile { path, role, .. } => write!(f, "require {path} ({role})"),
            Action::Grant(grant) => {
                write!(f, "grant {} {}", grant.access, grant.path)?;
                match grant.owner {
                    Some(ids) => write!(f, " to {ids}")?,
                    None => write!(f, " (ownership unchanged)")?,
                }
                for (set, word) in [
                    (grant.shared, ", shared"),
                    (grant.optional, ", if there"),
                    (!grant.restore, ", not restored"),
                ] {
                    if set {
                        f.write_str(word)?;
                    }
                }
                write!(f, " ({})", grant.why)
            }
            Action::OpenFile { path, access, create_append } => {
                let how = if *create_append { " append" } else { "" };
                write!(f, "open {path} {access}{how}")
            }
            Action::OpenLog { path } => write!(f, "open log {path}"),
            Action::ListenUnix { path, mode, owner: ids } => {
                write!(f, "listen on {path} mode {mode:o}{}", owner(ids))
            }
            Action::ConnectUnix { path } => write!(f, "connect to {path}"),
            Action::ReservePort { purpose, listen, min, max, fixed } => match fixed {
                Some(port) => write!(f, "reserve port {port} on {listen} for {purpose}"),
                None => write!(f, "reserve a port of {min}-{max} on {listen} for {purpose}"),
            },
            Action::Tap(tap) => fmt_tap(tap, f),
            Action::VhostVsock { path, cid: Some(cid) } => write!(f, "open {path} for cid {cid}"),
            Action::VhostVsock { path, cid: None } => write!(f, "open {path} for a free cid"),
            Action::VhostNet { path, queues } => write!(f, "open {path} {queues} times"),
            Action::Secret(secret) => match (&secret.text, &secret.by) {
                (Some(_), _) => f.write_str("seal a text of the guest's definition"),
                (None, SecretBy::Uuid(uuid)) => write!(f, "seal secret {uuid}"),
                (None, SecretBy::Usage(usage)) => {
                    write!(f, "seal the {} secret of {usage}", secret.usage_type)
                }
            },
            Action::Assign(device) => write!(f, "assign {device}"),
            Action::Helper(helper) => fmt_helper(helper, f),
            Action::Cgroup(cgroup) => {
                write!(f, "control group {}/{}", cgroup.partition, cgroup.name)?;
                for (name, value) in &cgroup.settings {
                    write!(f, "\n    {name} = {value}")?;
                }
                // Images elsewhere are files, as a rule.
                let is_file = |device: &DeviceUse| match device {
                    DeviceUse::Path { path, .. } => !path.starts_with("/dev/"),
                    DeviceUse::Major(_) => false,
                };
                for device in cgroup.devices.iter().filter(|device| !is_file(device)) {
                    write!(f, "\n    device {device}")?;
                }
                Ok(())
            }
            Action::Exec(exec) => fmt_exec(exec, f),
            Action::Qmp { commands } => {
                f.write_str("qmp")?;
                for command in commands {
                    write!(f, "\n    {command}")?;
                }
                Ok(())
            }
            Action::Threads(settings) => {
                f.write_str("threads")?;
                for setting in settings {
                    let ThreadSetting { thread, setting, value } = setting;
                    write!(f, "\n    {thread} {setting} {value}")?;
                }
                Ok(())
            }
        }
    }
}

fn fmt_tap(tap: &Tap, f: &mut Formatter<'_>) -> fmt::Result {
    match &tap.kind {
        TapKind::Bridge { bridge, isolated } => {
            let isolated = if *isolated { " isolated" } else { "" };
            write!(f, "tap on bridge {bridge}{isolated}")?;
        }
        TapKind::Ethernet { managed, script, down_script } => {
            let managed = if *managed { "" } else { " (existing)" };
            write!(f, "tap{managed}")?;
            if let Some(script) = script {
                write!(f, " script {script}")?;
            }
            if let Some(script) = down_script {
                write!(f, " downscript {script}")?;
            }
        }
        TapKind::Macvtap { lower, mode } => write!(f, "macvtap on {lower} mode {mode}")?,
    }
    let generated = match tap.kind {
        TapKind::Macvtap { .. } => "macvtap%d",
        _ => "vnet%d",
    };
    let name = tap.name.as_deref().unwrap_or(generated);
    write!(f, " named {name} mac {} queues {}", tap.mac, tap.queues)?;
    if tap.vnet_hdr {
        f.write_str(" vnet-hdr")?;
    }
    if let Some(mtu) = tap.mtu {
        write!(f, " mtu {mtu}")?;
    }
    if !tap.traffic.is_empty() {
        write!(f, "\n    limit {}", tap.traffic)?;
    }
    if let Some(vlans) = &tap.vlans {
        write!(f, "\n    vlan {vlans}")?;
    }
    if let Some(frames) = tap.coalesce {
        write!(f, "\n    tell of at most {frames} frames at a time")?;
    }
    for address in &tap.addresses {
        write!(f, "\n    address {address}")?;
    }
    for route in &tap.routes {
        write!(f, "\n    route {route}")?;
    }
    Ok(())
}

fn fmt_helper(helper: &Helper, f: &mut Formatter<'_>) -> fmt::Result {
    let kind = if helper.one_shot { "run" } else { "helper" };
    write!(f, "{kind} {}{}", helper.program, owner(&helper.owner))?;
    for arg in &helper.args {
        write!(f, "\n    {arg}")?;
    }
    for (name, value) in
        [("pid file", &helper.pid_file), ("socket", &helper.socket), ("log", &helper.log)]
    {
        if let Some(value) = value {
            write!(f, "\n    [{name} {value}]")?;
        }
    }
    Ok(())
}

fn fmt_exec(exec: &Exec, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "exec {}{}", exec.program, owner(&exec.owner))?;
    write!(f, "\n    [pid file {}] [cwd {}]", exec.pid_file, exec.cwd)?;
    for (name, limit) in &exec.rlimits {
        write!(f, "\n    [limit {name} {limit}]")?;
    }
    for (name, value) in &exec.env {
        match value {
            Some(value) => write!(f, "\n    {name}={value}")?,
            None => write!(f, "\n    {name} (inherited)")?,
        }
    }
    for fd in &exec.extra_fds {
        write!(f, "\n    [pass {fd}]")?;
    }
    let mut args = exec.args.iter().peekable();
    while let Some(arg) = args.next() {
        write!(f, "\n    {arg}")?;
        // An option and its value stand on one line.
        if matches!(arg.0.first(), Some(Piece::Text(text)) if text.starts_with('-'))
            && let Some(value) = args.peek()
            && !matches!(value.0.first(), Some(Piece::Text(text)) if text.starts_with('-'))
        {
            write!(f, " {value}")?;
            args.next();
        }
    }
    Ok(())
}

impl Display for QmpCommand {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(result) = &self.result {
            write!(f, "{result} = ")?;
        }
        if self.secret {
            let name = self.json.split('"').nth(3).unwrap_or("?");
            return write!(f, "{name} (arguments hidden)");
        }
        f.write_str(&self.json)
    }
}

impl Display for Undo {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Undo::RemoveTree(path) => write!(f, "remove tree {path}"),
            Undo::RemoveFile(path) | Undo::RemoveSocket(path) => write!(f, "remove {path}"),
            Undo::RemoveIfCreated(path) => write!(f, "remove {path} if this start made it"),
            Undo::RestoreOwner(path) => write!(f, "restore owner of {path}"),
            Undo::RemoveLink(name) => write!(f, "remove link <{name}>"),
            Undo::ReleasePort(name) => write!(f, "release port <{name}>"),
            Undo::EndHelper { pid_file } => write!(f, "end helper {pid_file}"),
            Undo::RemoveCgroup(name) => write!(f, "remove control group {name}"),
            Undo::EndQemu => f.write_str("end qemu"),
        }
    }
}

impl Display for LaunchPlan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "start {} ({}) as id {}", self.domain, self.uuid, self.id)?;
        for step in &self.steps {
            f.write_str("* ")?;
            if let Some(result) = &step.result {
                write!(f, "{result} = ")?;
            }
            writeln!(f, "{}", step.action)?;
            if let Some((undo, when)) = &step.undo {
                let when = match when {
                    UndoWhen::Always => "",
                    UndoWhen::FailedStart => " (failed start only)",
                };
                writeln!(f, "    undo: {undo}{when}")?;
            }
        }
        writeln!(f, "monitor {} <{}>", self.monitor.path, self.monitor.fd)?;
        writeln!(f, "resume {}", self.resume)
    }
}
