//! passt: a process that gives the guest the host's own connections.

use super::super::build::{Build, Props};
use crate::step::{Action, Arg, Helper, Step, Undo};
use model::domain::devices::interface::*;
use serde_json::json;
use xml::YesNo;

impl Build<'_> {
    /// An interface of QEMU's that talks to passt over a stream.
    pub(super) fn passt(&mut self, nic: &Interface, alias: &str, element: &str) -> Option<Props> {
        self.need("netdev.stream", element);
        let socket = self.passt_process(nic, alias, false);
        let mut props = Props::default()
            .set("type", "stream")
            .set("addr", json!({"type": "unix", "path": socket}))
            .set("server", false);
        if self.has("netdev-stream-reconnect-miliseconds") {
            props = props.set("reconnect-ms", 5000);
        } else if self.has("netdev.stream.reconnect") {
            props = props.set("reconnect", 5);
        }
        Some(props)
    }

    /// Starts passt for an interface; its socket.
    pub(super) fn passt_process(
        &mut self,
        nic: &Interface,
        alias: &str,
        vhost_user: bool,
    ) -> String {
        let base = format!("{}/passt/{}-{alias}", self.set.run_dir, self.short_name);
        let (socket, pid_file) = (format!("{base}.socket"), format!("{base}-passt.pid"));
        let mut args: Vec<String> =
            ["--one-off", "--socket", &socket, "--pid", &pid_file].map(String::from).into();
        if vhost_user {
            args.push("--vhost-user".into());
        }
        let backend = nic.backend.clone().unwrap_or_default();
        if let Some(log) = &backend.log_file {
            args.extend(["--log-file".into(), log.clone()]);
        }
        if let Some(dev) = nic.source.as_ref().and_then(|source| source.dev.clone()) {
            args.extend(["--interface".into(), dev]);
        }
        for ip in &nic.ips {
            args.extend(["--address".into(), ip.address.clone()]);
            if let Some(prefix) = ip.prefix {
                args.extend(["--netmask".into(), prefix.to_string()]);
            }
        }
        for (option, value) in [("--hostname", &backend.hostname), ("--fqdn", &backend.fqdn)] {
            if let Some(value) = value {
                args.extend([option.into(), value.clone()]);
            }
        }
        for forward in &nic.port_forwards {
            args.push(if forward.proto == "udp" { "--udp-ports" } else { "--tcp-ports" }.into());
            args.push(forward_ports(forward));
        }
        let ids = self.ids();
        let dir = format!("{}/passt", self.set.run_dir);
        let folder = Step::new(Action::MakeDir { path: dir, mode: 0o755, owner: ids });
        self.steps.push(folder.undone_by(Undo::RemoveFile(socket.clone())));
        let helper = Helper {
            program: "passt".into(),
            args: args.into_iter().map(Arg::from).collect(),
            owner: ids,
            pid_file: Some(pid_file.clone()),
            socket: Some(socket.clone()),
            daemonizes: true,
            log: None,
            socket_owner: None,
            one_shot: false,
        };
        let step = Step::new(Action::Helper(helper)).undone_by(Undo::EndHelper { pid_file });
        self.steps.push(step);
        socket
    }
}

/// A port specification of passt: `ADDRESS%DEV/FIRST-LAST:TO-TO,~EXCLUDED`.
fn forward_ports(forward: &PortForward) -> String {
    let mut out = String::new();
    if let Some(address) = &forward.address {
        out.push_str(address);
    }
    if let Some(dev) = &forward.dev {
        out.push('%');
        out.push_str(dev);
    }
    if !out.is_empty() && !forward.ranges.is_empty() {
        out.push('/');
    }
    let mut ranges = Vec::new();
    for range in &forward.ranges {
        let mut text = String::new();
        if range.exclude == Some(YesNo::Yes) {
            text.push('~');
        }
        text.push_str(&range.start.to_string());
        if let Some(end) = range.end {
            text.push_str(&format!("-{end}"));
        }
        if let Some(to) = range.to {
            text.push_str(&format!(":{to}"));
            if let Some(end) = range.end {
                text.push_str(&format!("-{}", end - range.start.min(end) + to));
            }
        }
        ranges.push(text);
    }
    if ranges.is_empty() && out.is_empty() {
        return "all".into();
    }
    out.push_str(&ranges.join(","));
    out
}
