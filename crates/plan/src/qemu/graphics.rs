//! Displays.

use super::build::{Build, Props, Switch, comma, display_mark, port_mark};
use super::found::Found;
use super::words::YesNo;
use crate::step::{Action, QmpCommand, ResultName, Step, Undo};
use diag::ErrorCode;
use model::domain::Domain;
use model::domain::devices::graphics::*;

/// Fills in listen addresses and sockets that the configuration chooses.
pub(super) fn choose_listens(
    domain: &mut Domain,
    set: &super::Settings,
    found: &Found,
    private_dir: &str,
) {
    let Some(devices) = domain.devices.as_mut() else {
        return;
    };
    for graphics in &mut devices.graphics {
        let (defaults, name) = match graphics.kind {
            GraphicsType::Vnc => (&set.vnc, "vnc"),
            GraphicsType::Spice => (&set.spice, "spice"),
            _ => continue,
        };
        if graphics.listens.is_empty() {
            let address = graphics.listen.clone();
            graphics.listens.push(Listen {
                kind: ListenType::Address,
                address,
                ..Listen::default()
            });
        }
        for listen in &mut graphics.listens {
            match listen.kind {
                ListenType::Address if listen.address.is_none() => {
                    if defaults.auto_unix_socket {
                        listen.kind = ListenType::Socket;
                        listen.socket = Some(format!("{private_dir}/{name}.sock"));
                        listen.from_config = Some(1);
                        (graphics.port, graphics.tls_port) = (None, None);
                        (graphics.auto_port, graphics.websocket) = (None, None);
                    } else {
                        listen.address = Some(defaults.listen.clone());
                        listen.from_config = Some(1);
                    }
                }
                ListenType::Network => {
                    let name = listen.network.as_deref().unwrap_or_default();
                    listen.address = found.network_addresses.get(name).cloned();
                }
                ListenType::Socket if listen.socket.is_none() => {
                    listen.socket = Some(format!("{private_dir}/{name}.sock"));
                    listen.auto_generated = Some(YesNo::Yes);
                }
                _ => {}
            }
        }
        let first = graphics.listens.first();
        if let Some(listen) = first.filter(|listen| listen.kind == ListenType::Address) {
            graphics.listen = listen.address.clone();
        }
        let first = graphics.listens.first();
        let vnc = graphics.kind == GraphicsType::Vnc;
        if let Some(listen) = first.filter(|listen| vnc && listen.kind == ListenType::Socket) {
            graphics.socket.clone_from(&listen.socket);
        }
    }
}

impl Build<'_> {
    /// Whether a display other than `none` will be opened by QEMU itself.
    fn own_display(&self) -> bool {
        !self.dev.graphics.is_empty()
    }

    /// `-display none`, for guests without any display.
    pub(super) fn display_none(&mut self) {
        if !self.own_display() {
            self.because("QEMU opens no window: there is no display");
            self.opt("-display", "none");
        }
    }

    /// All displays.
    pub(super) fn graphics(&mut self) {
        for (index, graphics) in self.each("devices/graphics", &self.dev.graphics).enumerate() {
            let same = self.dev.graphics.iter().take(index).any(|g| g.kind == graphics.kind);
            if same {
                self.fail(
                    "qemu.graphics",
                    "only 1 graphics device of each type (sdl, vnc, spice, headless, dbus, rdp) \
                     is supported",
                );
                return;
            }
            if graphics.listens.len() > 1 {
                let message = "QEMU does not support multiple listens for one graphics device.";
                self.fail("qemu.graphics-listen", message);
                return;
            }
            for listen in graphics.listens.iter().filter(|l| l.kind == ListenType::Network) {
                if listen.address.is_none() {
                    let network = listen.network.as_deref().unwrap_or_default();
                    let message = format!("no network with matching name '{network}'");
                    self.fail_with("qemu.graphics-listen", ErrorCode::NO_NETWORK, message);
                }
            }
            match graphics.kind {
                GraphicsType::Vnc => self.vnc(graphics, index),
                GraphicsType::Spice => self.spice(graphics, index),
                GraphicsType::EglHeadless => {
                    self.need("egl-headless", "<graphics type='egl-headless'>");
                    let node = graphics.gl.as_ref().and_then(|gl| gl.rendernode.clone());
                    let node = self.render_node(node.as_ref());
                    let mut out = "egl-headless".to_string();
                    if let Some(node) = node {
                        out.push_str(&format!(",rendernode={}", comma(&node)));
                    }
                    self.opt("-display", &out);
                }
                GraphicsType::Sdl => {
                    self.need("sdl", "<graphics type='sdl'>");
                    if graphics.fullscreen.is_some_and(Switch::on) {
                        self.flag("-full-screen");
                    }
                    let gl = graphics.gl.as_ref().and_then(|gl| gl.enable);
                    let gl = gl.map_or(String::new(), |on| format!(",gl={}", on.word()));
                    self.opt("-display", &format!("sdl{gl}"));
                }
                GraphicsType::Dbus => self.dbus_display(graphics),
                // QEMU hears nothing of it.
                GraphicsType::Rdp if self.found.rdp => {}
                GraphicsType::Rdp => {
                    self.fail("qemu.graphics", "rdp graphics are not supported with this QEMU")
                }
                other => {
                    let kind = format!("{other:?}").to_lowercase();
                    self.fail(
                        "qemu.graphics",
                        format!("<graphics type='{kind}'> is not supported yet"),
                    );
                }
            }
        }
    }

    /// A TCP port: a fixed one, or one reserved at start; as text for the option.
    fn port(
        &mut self,
        purpose: &'static str,
        name: &str,
        listen: &str,
        wanted: Option<i32>,
        automatic: bool,
        range: (u16, u16),
    ) -> String {
        let fixed =
            wanted.filter(|port| *port > 0 && !automatic).and_then(|p| u16::try_from(p).ok());
        let step = Step::new(Action::ReservePort {
            purpose,
            listen: listen.to_string(),
            min: range.0,
            max: range.1,
            fixed,
        });
        self.steps.push(step.yields(name).undone_by(Undo::ReleasePort(ResultName::new(name))));
        match fixed {
            Some(port) => port.to_string(),
            None => port_mark(name),
        }
    }

    /// The audio back end of a display.
    fn audio_of(&self, graphics: &Graphics) -> Option<String> {
        let wanted = graphics.audio.as_ref().map(|audio| audio.id);
        let id = wanted.or_else(|| self.dev.audios.first().and_then(|audio| audio.id))?;
        Some(format!("audio{id}"))
    }

    fn vnc(&mut self, graphics: &Graphics, index: usize) {
        self.need("vnc", "<graphics type='vnc'>");
        let listen = graphics.listens.first().cloned().unwrap_or_default();
        let automatic =
            graphics.auto_port == Some(YesNo::Yes) || graphics.port.is_some_and(|p| p < 0);
        let mut out = match listen.kind {
            ListenType::Socket => {
                let path = listen.socket.clone().unwrap_or_default();
                format!("vnc=unix:{}", comma(&path))
            }
            ListenType::Address | ListenType::Network => {
                let address = listen.address.clone().unwrap_or_else(|| self.set.vnc.listen.clone());
                let fixed = graphics.port.unwrap_or_default();
                if !automatic && !(5900..=65535).contains(&fixed) {
                    self.fail("qemu.vnc-port", "vnc port must be in range [5900,65535]");
                    return;
                }
                let name = if index == 0 { "vnc.port".into() } else { format!("vnc{index}.port") };
                let range = self.set.vnc.ports;
                let port = self.port("vnc", &name, &address, graphics.port, automatic, range);
                // Displays count from port 5900.
                let display = match port.parse::<u32>() {
                    Ok(port) => port.saturating_sub(5900).to_string(),
                    Err(_) => display_mark(&name),
                };
                let address = if address.contains(':') { format!("[{address}]") } else { address };
                let mut out = format!("{address}:{display}");
                if let Some(wanted) = graphics.websocket.filter(|port| *port == -1 || *port > 0) {
                    let name = format!("{}.websocket", name.trim_end_matches(".port"));
                    let address = listen.address.clone().unwrap_or_default();
                    let range = self.set.vnc.websocket_ports;
                    let port = self.port(
                        "vnc-websocket",
                        &name,
                        &address,
                        Some(wanted),
                        wanted < 0,
                        range,
                    );
                    out.push_str(&format!(",websocket={port}"));
                }
                out
            }
            ListenType::None => "none".to_string(),
        };
        if let Some(policy) = graphics.share_policy {
            let word = match policy {
                SharePolicy::AllowExclusive => "allow-exclusive",
                SharePolicy::ForceShared => "force-shared",
                SharePolicy::Ignore => "ignore",
            };
            out.push_str(&format!(",share={word}"));
        }
        let password = graphics.passwd.clone().or_else(|| self.set.vnc.password.clone());
        if let Some(password) = &password {
            out.push_str(",password=on");
            let action = graphics.connected.map(|connected| match connected {
                ConnectedAction::Keep => "keep",
                ConnectedAction::Disconnect => "disconnect",
                ConnectedAction::Fail => "fail",
            });
            self.set_password("vnc", password, action, graphics);
        }
        if let Some(dir) = self.set.vnc.tls_dir.clone() {
            let mut props = Props::object("tls-creds-x509", "vnc-tls-creds0")
                .set("dir", dir)
                .set("endpoint", "server")
                .set("verify-peer", self.set.vnc.tls_verify);
            if let Some(uuid) = self.set.vnc.tls_secret.clone() {
                let id = "vnc-tls-creds0-secret0";
                self.secret(id, "tls", crate::step::SecretBy::Uuid(uuid));
                props = props.set("passwordid", id);
            }
            self.object(props);
            out.push_str(",tls-creds=vnc-tls-creds0");
        }
        if self.set.vnc.sasl_dir.is_some() {
            out.push_str(",sasl=on");
        }
        if let Some(on) = graphics.power_control {
            out.push_str(&format!(",power-control={}", on.word()));
        }
        if let Some(audio) = self.audio_of(graphics) {
            out.push_str(&format!(",audiodev={audio}"));
        }
        self.opt("-vnc", &out);
        if let Some(keymap) = &graphics.keymap {
            self.opt("-k", keymap);
        }
    }

    /// Sets a display's password through the monitor.
    fn set_password(
        &mut self,
        protocol: &str,
        password: &str,
        connected: Option<&str>,
        graphics: &Graphics,
    ) {
        let mut arguments = Props::default().set("protocol", protocol).set("password", password);
        arguments = arguments.opt("connected", connected);
        let text = serde_json::json!({"execute": "set_password", "arguments": arguments.0});
        self.commands.push(QmpCommand { result: None, json: text.to_string(), secret: true });
        let until = graphics.passwd_valid_to.as_deref();
        let time = until.and_then(model::domain::hotplug::update::seconds_of);
        let time = match time {
            // Nobody gets in with an empty one.
            _ if password.is_empty() => "now".to_string(),
            None => "never".to_string(),
            Some(time) => time.to_string(),
        };
        let text = serde_json::json!({
            "execute": "expire_password",
            "arguments": {"protocol": protocol, "time": time},
        });
        self.commands.push(QmpCommand { result: None, json: text.to_string(), secret: false });
    }

    fn spice(&mut self, graphics: &Graphics, index: usize) {
        self.need("spice", "<graphics type='spice'>");
        let listen = graphics.listens.first().cloned().unwrap_or_default();
        let tls = self.set.spice.tls_dir.clone();
        let (plain, secure) = spice_ports(graphics, tls.is_some());
        let mut out = String::new();
        let add = |out: &mut String, text: &str| {
            if !out.is_empty() {
                out.push(',');
            }
            out.push_str(text);
        };
        let chosen = listen.kind == ListenType::Address || listen.kind == ListenType::Network;
        if chosen && secure.is_some() && tls.is_none() {
            self.fail_with(
                "qemu.spice-tls",
                ErrorCode::CONFIG_UNSUPPORTED,
                "Auto allocation of spice TLS port requested but spice TLS is disabled in qemu.conf",
            );
            return;
        }
        match listen.kind {
            ListenType::Address | ListenType::Network => {
                let address =
                    listen.address.clone().unwrap_or_else(|| self.set.spice.listen.clone());
                let range = self.set.spice.ports;
                let suffix = if index == 0 { String::new() } else { index.to_string() };
                for (purpose, option, wanted) in
                    [("spice", "port", plain), ("spice-tls", "tls-port", secure)]
                {
                    let Some(wanted) = wanted else { continue };
                    let name = format!("spice{suffix}.{option}");
                    let (auto, fixed) = (wanted == ANY_PORT, Some(wanted));
                    let port = self.port(purpose, &name, &address, fixed, auto, range);
                    add(&mut out, &format!("{option}={port}"));
                }
                add(&mut out, &format!("addr={}", comma(&address)));
            }
            ListenType::Socket => {
                let path = listen.socket.clone().unwrap_or_default();
                add(&mut out, &format!("unix=on,addr={}", comma(&path)));
            }
            ListenType::None => add(&mut out, "port=0"),
        }
        if self.set.spice.sasl_dir.is_some() {
            add(&mut out, "sasl=on");
        }
        if let Some(mouse) = &graphics.mouse {
            let word = if mouse.mode == "client" { "on" } else { "off" };
            add(&mut out, &format!("agent-mouse={word}"));
        }
        match graphics.passwd.clone().or_else(|| self.set.spice.password.clone()) {
            Some(password) => {
                let action = graphics.connected.map(|connected| match connected {
                    ConnectedAction::Keep => "keep",
                    ConnectedAction::Disconnect => "disconnect",
                    ConnectedAction::Fail => "fail",
                });
                self.set_password("spice", &password, action, graphics);
            }
            None if self.set.spice.sasl_dir.is_none() => add(&mut out, "disable-ticketing=on"),
            None => {}
        }
        // Nothing is encrypted on a socket, or on a descriptor that a client brings.
        let offers = (!chosen || plain.is_some(), chosen && secure.is_some());
        if let Some(dir) = tls.as_ref().filter(|_| offers.1) {
            add(&mut out, &format!("x509-dir={}", comma(dir)));
        }
        if let Some(text) = spice_lacks(graphics, offers) {
            self.fail_with("qemu.spice-channels", ErrorCode::CONFIG_UNSUPPORTED, text);
        }
        match graphics.default_mode {
            Some(SpiceMode::Secure) => add(&mut out, "tls-channel=default"),
            Some(SpiceMode::Insecure) => add(&mut out, "plaintext-channel=default"),
            _ => {}
        }
        for channel in &graphics.channels {
            match channel.mode {
                SpiceMode::Secure => add(&mut out, &format!("tls-channel={}", channel.name)),
                SpiceMode::Insecure => {
                    add(&mut out, &format!("plaintext-channel={}", channel.name))
                }
                SpiceMode::Any => {}
            }
        }
        if let Some(image) = &graphics.image {
            add(&mut out, &format!("image-compression={}", image.compression));
        }
        if let Some(jpeg) = &graphics.jpeg {
            add(&mut out, &format!("jpeg-wan-compression={}", jpeg.compression));
        }
        if let Some(zlib) = &graphics.zlib {
            add(&mut out, &format!("zlib-glz-wan-compression={}", zlib.compression));
        }
        if let Some(playback) = &graphics.playback {
            add(&mut out, &format!("playback-compression={}", playback.compression.word()));
        }
        if let Some(streaming) = &graphics.streaming {
            add(&mut out, &format!("streaming-video={}", streaming.mode));
        }
        if graphics.clipboard.as_ref().is_some_and(|clipboard| clipboard.copypaste == YesNo::No) {
            add(&mut out, "disable-copy-paste=on");
        }
        if graphics.file_transfer.as_ref().is_some_and(|transfer| transfer.enable == YesNo::No) {
            add(&mut out, "disable-agent-file-xfer=on");
        }
        if let Some(gl) = graphics.gl.as_ref().filter(|gl| gl.enable == Some(YesNo::Yes)) {
            add(&mut out, "gl=on");
            if let Some(node) = self.render_node(gl.rendernode.as_ref()) {
                add(&mut out, &format!("rendernode={}", comma(&node)));
            }
        }
        add(&mut out, "seamless-migration=on");
        self.opt("-spice", &out);
        if let Some(keymap) = &graphics.keymap {
            self.opt("-k", keymap);
        }
    }
}

/// A port that the daemon chooses.
const ANY_PORT: i32 = -1;

/// The ports that a SPICE display is to have, plain and encrypted: its own, or [`ANY_PORT`].
fn spice_ports(graphics: &Graphics, tls: bool) -> (Option<i32>, Option<i32>) {
    if graphics.auto_port != Some(YesNo::Yes) {
        return (graphics.port.filter(|p| *p != 0), graphics.tls_port.filter(|p| *p != 0));
    }
    // As many as its channels need.
    let modes =
        || graphics.channels.iter().map(|channel| channel.mode).chain(graphics.default_mode);
    let any = graphics.default_mode.is_none_or(|mode| mode == SpiceMode::Any);
    let needs = |mode| any || modes().any(|own| own == mode);
    let plain = needs(SpiceMode::Insecure);
    let secure = modes().any(|mode| mode == SpiceMode::Secure) || any && tls;
    (plain.then_some(ANY_PORT), secure.then_some(ANY_PORT))
}

/// What channels are to be and the display does not offer: plain connections, encrypted ones.
fn spice_lacks(graphics: &Graphics, offers: (bool, bool)) -> Option<&'static str> {
    let lacks = |mode| match mode {
        SpiceMode::Any => false,
        SpiceMode::Insecure => !offers.0,
        SpiceMode::Secure => !offers.1,
    };
    let mut channels = graphics.channels.iter().map(|channel| channel.mode);
    match graphics.default_mode.filter(|mode| lacks(*mode)) {
        Some(SpiceMode::Secure) => Some(
            "spice defaultMode secure requested in XML configuration, but TLS connection is not \
             available",
        ),
        Some(_) => Some(
            "spice defaultMode insecure requested in XML configuration, but plaintext connection \
             is not available",
        ),
        None => channels.find(|mode| lacks(*mode)).map(|mode| match mode {
            SpiceMode::Secure => {
                "spice secure channels set in XML configuration, but TLS connection is not available"
            }
            _ => {
                "spice insecure channels set in XML configuration, but plaintext connection is not \
                 available"
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_the_configuration_chooses_leaves_no_port() {
        let text = "<domain type='qemu'><name>x</name><memory>1</memory><os><type>hvm</type></os>\
                    <devices><graphics type='vnc' port='-1' autoport='yes'/></devices></domain>";
        let options = model::domain::ParseOptions { live: false };
        let mut domain = model::domain::parse(text, options).domain.expect("a definition");
        let mut settings = super::super::Settings::session("/l", "/r", "/g");
        settings.vnc.auto_unix_socket = true;
        choose_listens(&mut domain, &settings, &Found::default(), "/p");
        let vnc = &domain.devices.expect("devices").graphics[0];
        assert_eq!(vnc.socket.as_deref(), Some("/p/vnc.sock"));
        assert_eq!((vnc.port, vnc.auto_port), (None, None));
    }

    fn spice(attributes: &str, inside: &str) -> Graphics {
        let text = format!(
            "<domain type='qemu'><name>x</name><memory>1</memory><os><type>hvm</type></os>\
             <devices><graphics type='spice' {attributes}>{inside}</graphics></devices></domain>"
        );
        let domain = model::domain::parse(&text, model::domain::ParseOptions::default()).domain;
        domain.expect("a definition").devices.expect("devices").graphics.remove(0)
    }

    #[test]
    fn a_display_has_the_ports_that_its_channels_need() {
        let any = Some(ANY_PORT);
        let channel = |mode: &str| format!("<channel name='main' mode='{mode}'/>");
        for (attributes, inside, tls, expected) in [
            ("autoport='yes'", String::new(), false, (any, None)),
            ("autoport='yes'", String::new(), true, (any, any)),
            ("autoport='yes' defaultMode='secure'", String::new(), true, (None, any)),
            ("autoport='yes' defaultMode='insecure'", String::new(), true, (any, None)),
            ("autoport='yes' defaultMode='secure'", channel("insecure"), true, (any, any)),
            ("autoport='yes'", channel("secure"), false, (any, any)),
            ("autoport='no' port='5901' tlsPort='-1'", String::new(), true, (Some(5901), any)),
            ("autoport='no' tlsPort='5901'", String::new(), true, (None, Some(5901))),
        ] {
            let found = spice_ports(&spice(attributes, &inside), tls);
            assert_eq!(found, expected, "{attributes} {inside} {tls}");
        }
    }

    #[test]
    fn channels_are_refused_what_the_display_does_not_offer() {
        let channel = |mode: &str| format!("<channel name='main' mode='{mode}'/>");
        for (attributes, inside, offers, expected) in [
            ("", String::new(), (false, false), None),
            ("defaultMode='secure'", String::new(), (true, false), Some("defaultMode secure")),
            ("defaultMode='insecure'", String::new(), (false, true), Some("defaultMode insecure")),
            ("", channel("secure"), (true, false), Some("secure channels")),
            ("", channel("insecure"), (false, true), Some("insecure channels")),
            ("defaultMode='secure'", channel("insecure"), (true, true), None),
        ] {
            let found = spice_lacks(&spice(attributes, &inside), offers);
            let same = found.is_some() == expected.is_some();
            let said = found.is_some_and(|text| expected.is_some_and(|part| text.contains(part)));
            assert!(same && (said || found.is_none()), "{attributes} {inside}: {found:?}");
        }
    }
}
