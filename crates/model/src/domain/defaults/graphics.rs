//! Displays, their video card and the audio that goes with them.

use xml::YesNo;

use super::{DefaultsContext, Machine};
use crate::domain::Domain;
use crate::domain::devices::audio::{Audio, AudioType};
use crate::domain::devices::graphics::{Graphics, GraphicsType, Listen, ListenType};
use crate::domain::devices::video::{Video, VideoModel, VideoType};
use crate::domain::hotplug::update::seconds_of;

/// Fills in displays, video cards and audio backends.
pub(super) fn apply(d: &mut Domain, m: &Machine, ctx: &DefaultsContext<'_>) {
    let running = d.id.is_some();
    let dev = d.devices_mut();
    for g in &mut dev.graphics {
        if !running {
            drop_generated_sockets(g, ctx);
        }
        display(g, running);
    }
    if dev.videos.is_empty() && !dev.graphics.is_empty() {
        dev.videos.push(Video::default());
    }
    for v in &mut dev.videos {
        video(v, m, ctx);
    }
    primary(dev);
    audio(d, ctx);
}

/// One card is the primary one, the first where none says so, and it is kept first.
fn primary(dev: &mut crate::domain::devices::Devices) {
    let primary = |v: &Video| v.model.as_ref().and_then(|m| m.primary) == Some(YesNo::Yes);
    if let Some(i) = dev.videos.iter().position(primary) {
        let v = dev.videos.remove(i);
        dev.videos.insert(0, v);
    } else if let Some(first) = dev.videos.first_mut()
        && !first.model.as_ref().is_some_and(|x| x.kind == VideoType::None)
    {
        first.model.get_or_insert_default().primary = Some(YesNo::Yes);
    }
    for m in dev.videos.iter_mut().filter_map(|v| v.model.as_mut()) {
        m.primary = m.primary.filter(|p| *p == YesNo::Yes);
    }
}

/// The part that needs no hypervisor.
pub(super) fn apply_core(d: &mut Domain, ctx: &DefaultsContext<'_>) {
    let running = d.id.is_some();
    let dev = d.devices_mut();
    for g in &mut dev.graphics {
        drop_generated_sockets(g, ctx);
        display(g, running);
    }
    if dev.videos.is_empty() && dev.graphics.iter().any(|g| g.kind != GraphicsType::EglHeadless) {
        dev.videos.push(Video::default());
    }
    primary(dev);
}

/// A VNC socket in the daemon's own folder was made for an earlier run, and so was a bus.
fn drop_generated_sockets(g: &mut Graphics, ctx: &DefaultsContext<'_>) {
    let own = |p: &String| {
        p.strip_prefix(ctx.settings.lib_dir.as_str()).is_some_and(|r| r.starts_with('/'))
    };
    if g.kind == GraphicsType::Dbus {
        let run_dir = ctx.settings.channel_dir.strip_suffix("channel").unwrap_or_default();
        let buses = format!("unix:path={run_dir}dbus/");
        g.address = g.address.take().filter(|a| run_dir.is_empty() || !a.starts_with(&buses));
    }
    if g.kind != GraphicsType::Vnc {
        return;
    }
    g.socket = g.socket.take().filter(|s| !own(s));
    g.listens.retain(|l| l.kind != ListenType::Socket || l.socket.as_ref().is_none_or(|s| !own(s)));
}

/// Displays without a password to ask for have none; without one there is no end of its time, and
/// nobody whom it concerns. A time that is on no calendar is long over.
fn password(g: &mut Graphics) {
    if !matches!(g.kind, GraphicsType::Vnc | GraphicsType::Spice | GraphicsType::Rdp) {
        g.passwd = None;
    }
    if g.passwd.is_none() {
        g.passwd_valid_to = None;
        g.connected = None;
    }
    if let Some(to) = g.passwd_valid_to.as_mut().filter(|to| seconds_of(to).is_none()) {
        "1970-01-01T00:00:00".clone_into(to);
    }
}

/// It listens at no port: on a socket, or not at all.
fn without_port(g: &Graphics) -> bool {
    g.listens.first().is_some_and(|l| matches!(l.kind, ListenType::Socket | ListenType::None))
}

/// `running`: what was chosen at the start stays.
fn display(g: &mut Graphics, running: bool) {
    password(g);
    match g.kind {
        GraphicsType::Vnc => {
            let refused = g.auto_port == Some(YesNo::No);
            let auto =
                !refused && (g.auto_port == Some(YesNo::Yes) || matches!(g.port, None | Some(-1)));
            let socket = g.socket.is_some() || without_port(g);
            if socket {
                g.auto_port = None;
                g.port = None;
                g.websocket = None;
            } else if auto {
                g.port = g.port.filter(|port| running && *port > 0).or(Some(-1));
                g.auto_port = Some(YesNo::Yes);
            } else {
                g.auto_port = Some(YesNo::No);
                // None at all, which no start takes.
                g.port = g.port.filter(|port| !matches!(port, 0 | -1));
            }
        }
        GraphicsType::Spice => {
            let none = without_port(g);
            let auto =
                g.auto_port == Some(YesNo::Yes) || g.port == Some(-1) && g.tls_port == Some(-1);
            if none {
                g.auto_port = None;
                g.port = None;
                g.tls_port = None;
            } else if auto {
                g.auto_port = Some(YesNo::Yes);
                g.port = g.port.filter(|port| running && *port > 0);
                g.tls_port = g.tls_port.filter(|port| running && *port > 0);
            } else if matches!(g.port, None | Some(0)) && matches!(g.tls_port, None | Some(0)) {
                // Nothing to listen on.
                g.auto_port = None;
                g.port = None;
                g.tls_port = None;
                g.listens = vec![Listen {
                    kind: ListenType::None,
                    address: None,
                    network: None,
                    socket: None,
                    from_config: None,
                    auto_generated: None,
                }];
            } else {
                g.auto_port = Some(YesNo::No);
                if g.port == Some(0) {
                    g.port = None;
                }
                if g.tls_port == Some(0) {
                    g.tls_port = None;
                }
            }
        }
        GraphicsType::Rdp => {
            let auto = g.auto_port == Some(YesNo::Yes) || matches!(g.port, None | Some(0));
            if auto {
                g.port = Some(0);
                g.auto_port = Some(YesNo::Yes);
            } else {
                g.auto_port = Some(YesNo::No);
            }
        }
        _ => return,
    }
    listens(g, running);
}

/// The first `<listen>` and the attributes of the display say the same.
fn listens(g: &mut Graphics, running: bool) {
    if g.listens.is_empty() {
        let kind = if g.socket.is_some() { ListenType::Socket } else { ListenType::Address };
        g.listens.push(Listen {
            kind,
            address: g.listen.clone().filter(|_| kind == ListenType::Address),
            network: None,
            socket: g.socket.clone(),
            from_config: None,
            auto_generated: None,
        });
    }
    let Some(first) = g.listens.first_mut() else { return };
    // A socket beside an address wins.
    if g.kind == GraphicsType::Vnc
        && first.kind == ListenType::Address
        && let Some(socket) = g.socket.clone()
    {
        first.kind = ListenType::Socket;
        first.socket = Some(socket);
        first.address = None;
    }
    match first.kind {
        ListenType::Address => {
            if first.address.as_deref() == Some("") {
                first.address = None;
            }
            if first.address.is_none() {
                first.address = g.listen.clone().filter(|l| !l.is_empty());
            }
            g.listen = first.address.clone();
            g.socket = None;
        }
        ListenType::Network => {
            // Where the network is on the host is known once the guest runs.
            g.listen = first.address.clone().filter(|_| running);
            g.socket = None;
        }
        ListenType::Socket => {
            if first.socket.is_none() {
                first.socket = g.socket.clone();
            }
            g.socket = first.socket.clone().filter(|_| g.kind == GraphicsType::Vnc);
            g.listen = None;
        }
        ListenType::None => {
            g.listen = None;
            g.socket = None;
        }
    }
}

fn video(v: &mut Video, m: &Machine, ctx: &DefaultsContext<'_>) {
    let model = v.model.get_or_insert_default();
    if model.kind == VideoType::Default {
        model.kind = default_video(m, ctx);
    }
    // A size of nothing is a size that is not given.
    for size in [&mut model.ram, &mut model.vram, &mut model.vram64, &mut model.vgamem] {
        *size = size.filter(|n| *n != 0);
    }
    // What draws on several screens is asked for none of its own number: QEMU's default.
    let many = matches!(model.kind, VideoType::Qxl | VideoType::Virtio);
    let nothing = many && model.heads == Some(0);
    match model.kind {
        VideoType::Vga | VideoType::Cirrus | VideoType::Vmvga | VideoType::Bochs => {
            model.vram.get_or_insert(16384);
            model.heads.get_or_insert(1);
        }
        VideoType::Qxl => {
            model.ram.get_or_insert(65536);
            model.vram.get_or_insert(65536);
            model.vgamem.get_or_insert(16384);
            model.heads.get_or_insert(1);
        }
        VideoType::Xen => {
            model.vram.get_or_insert(4096);
            model.heads.get_or_insert(1);
        }
        VideoType::None => {
            *model = VideoModel { kind: VideoType::None, ..VideoModel::default() };
        }
        _ => {
            model.heads.get_or_insert(1);
        }
    }
    if nothing {
        model.heads = None;
    }
    // Sizes of memory are powers of two, also where QEMU has no use for them.
    let sizes = [&mut model.ram, &mut model.vram, &mut model.vram64, &mut model.vgamem];
    for size in sizes.into_iter().flatten() {
        // What has no such neighbour stays; QEMU refuses it by name.
        *size = size.checked_next_power_of_two().unwrap_or(*size);
    }
}

/// What a guest with a display but no `<video>` gets.
fn default_video(m: &Machine, ctx: &DefaultsContext<'_>) -> VideoType {
    if m.is_virt() || m.is_s390() {
        return VideoType::Virtio;
    }
    if m.is_ppc64() {
        return VideoType::Vga;
    }
    if ctx.devices.has("cirrus-vga") { VideoType::Cirrus } else { VideoType::Vga }
}

/// Sound goes where the display is, for SPICE.
pub(super) fn spice_audio(d: &mut Domain) {
    let dev = d.devices_mut();
    if dev.audios.is_empty() && dev.graphics.iter().any(|g| g.kind == GraphicsType::Spice) {
        dev.audios.push(Audio { id: Some(1), kind: AudioType::Spice, ..Audio::default() });
    }
}

/// What the environment of the daemon names, in QEMU's old words.
fn audio_of_environment(ctx: &DefaultsContext<'_>) -> Option<AudioType> {
    Some(match ctx.settings.audio_driver.as_deref()? {
        "pa" => AudioType::Pulseaudio,
        "wav" => AudioType::File,
        name => <AudioType as xml::XmlValue>::parse(name).ok()?,
    })
}

fn audio(d: &mut Domain, ctx: &DefaultsContext<'_>) {
    let dev = d.devices_mut();
    if dev.audios.is_empty() {
        // The last display that has to do with sound decides.
        let mut kind = None;
        for g in &dev.graphics {
            match g.kind {
                GraphicsType::Vnc if ctx.settings.vnc_allow_host_audio => kind = None,
                GraphicsType::Vnc | GraphicsType::Rdp => kind = Some(AudioType::None),
                GraphicsType::Spice => kind = Some(AudioType::Spice),
                // The desktop's own.
                GraphicsType::Sdl | GraphicsType::Desktop => kind = None,
                GraphicsType::EglHeadless | GraphicsType::Dbus => {}
            }
        }
        if dev.graphics.is_empty() && !ctx.settings.nographics_allow_host_audio {
            kind = Some(AudioType::None);
        }
        if let Some(kind) = kind.or_else(|| audio_of_environment(ctx)) {
            let driver =
                if kind == AudioType::Sdl { ctx.settings.sdl_audio_driver.clone() } else { None };
            dev.audios.push(Audio { id: Some(1), kind, driver, ..Audio::default() });
        }
    }
    let mut next = 1;
    for a in &mut dev.audios {
        let id = *a.id.get_or_insert(next);
        next = next.max(id).saturating_add(1);
    }
}
