//! The D-Bus display, and the private bus it talks on.

use super::build::{Build, comma};
use super::settings::Settings;
use super::words::YesNo;
use crate::step::{Action, Content, Helper, Step, Undo};
use diag::ErrorCode;
use model::domain::devices::Devices;
use model::domain::devices::graphics::{Graphics, GraphicsType};

impl Build<'_> {
    /// `-display dbus`: peer to peer through the monitor, at a bus the domain names, or on a bus
    /// of the guest's own.
    pub(super) fn dbus_display(&mut self, graphics: &Graphics) {
        self.need("display-dbus", "<graphics type='dbus'>");
        let mut out = "dbus".to_string();
        if graphics.p2p == Some(YesNo::Yes) {
            out.push_str(",p2p=on");
        } else {
            let address = match &graphics.address {
                Some(address) => address.clone(),
                None => self.private_bus(),
            };
            out.push_str(&format!(",addr={}", comma(&address)));
        }
        if let Some(gl) = graphics.gl.as_ref().filter(|gl| gl.enable == Some(YesNo::Yes)) {
            out.push_str(",gl=on");
            if let Some(node) = self.render_node(gl.rendernode.as_ref()) {
                out.push_str(&format!(",rendernode={}", comma(&node)));
            }
        }
        // Unlike VNC, it plays sound only where the domain says so.
        if let Some(audio) = &graphics.audio {
            out.push_str(&format!(",audiodev=audio{}", audio.id));
        }
        self.opt("-display", &out);
    }

    /// The device node that renders: the one asked for, or the host's first. Without any there is
    /// nothing to render with.
    pub(super) fn render_node(&mut self, wanted: Option<&String>) -> Option<String> {
        let node = wanted.or_else(|| self.host.render_nodes.first()).cloned();
        if node.is_none() {
            let message = "this host has no DRM render node (/dev/dri/renderD*), and the domain \
                           names none with <gl rendernode=…>";
            self.fail_with("qemu.render-node", ErrorCode::SYSTEM_ERROR, message);
        }
        node
    }

    /// Starts a bus for this guest alone; its address.
    fn private_bus(&mut self) -> String {
        let dir = format!("{}/dbus", self.set.run_dir);
        let base = base(self.set, &self.short_name);
        let (socket, conf, pid_file) =
            (format!("{base}.sock"), format!("{base}.conf"), format!("{base}.pid"));
        let address = format!("unix:path={socket}");
        let programs = vec![
            Step::new(Action::MakeDir { path: dir, mode: 0o770, owner: self.ids() }),
            Step::new(Action::WriteFile {
                path: conf.clone(),
                mode: 0o600,
                owner: self.ids(),
                content: Content::Bytes(bus_configuration(&address).into_bytes()),
            })
            .undone_by(Undo::RemoveFile(conf.clone())),
            Step::new(Action::Helper(Helper {
                program: self.set.dbus_daemon.clone(),
                args: vec!["--nofork".into(), "--config-file".into(), conf.into()],
                owner: self.ids(),
                pid_file: Some(pid_file.clone()),
                socket: Some(socket),
                daemonizes: false,
                log: None,
                socket_owner: None,
                one_shot: false,
            }))
            .undone_by(Undo::EndHelper { pid_file }),
        ];
        if !self.steps.iter().any(|step| programs.last() == Some(step)) {
            self.steps.extend(programs);
        }
        address
    }
}

/// What the paths of a guest's own bus begin with.
fn base(set: &Settings, short_name: &str) -> String {
    format!("{}/dbus/{short_name}-dbus", set.run_dir)
}

/// Tells in a started guest where its own bus is.
pub(super) fn show_bus(devices: &mut Devices, set: &Settings, short_name: &str) {
    let own = |g: &&mut Graphics| g.kind == GraphicsType::Dbus && g.p2p != Some(YesNo::Yes);
    for graphics in devices.graphics.iter_mut().filter(own) {
        graphics.address.get_or_insert_with(|| format!("unix:path={}.sock", base(set, short_name)));
    }
}

/// A bus on which those who may open its socket may do everything.
fn bus_configuration(address: &str) -> String {
    // The address holds the guest's name, which may hold what XML gives a meaning.
    let address = address.replace('&', "&amp;").replace('<', "&lt;");
    format!(
        "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"\n \
         \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n\
         <busconfig>\n  <type>org.libvirt.qemu</type>\n  <listen>{address}</listen>\n  \
         <auth>EXTERNAL</auth>\n  <policy context='default'>\n    \
         <allow send_destination='*' eavesdrop='true'/>\n    <allow eavesdrop='true'/>\n    \
         <allow own='*'/>\n  </policy>\n</busconfig>\n"
    )
}
