//! Displays: VNC, SPICE, SDL and others.

use crate::domain::prelude::*;

/// Kind of display.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum GraphicsType {
    /// `sdl`.
    #[default]
    Sdl,
    /// `vnc`.
    Vnc,
    /// `rdp`.
    Rdp,
    /// `desktop`.
    Desktop,
    /// `spice`.
    Spice,
    /// `egl-headless`.
    EglHeadless,
    /// `dbus`.
    Dbus,
}

/// VNC sharing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum SharePolicy {
    /// `allow-exclusive`.
    #[default]
    AllowExclusive,
    /// `force-shared`.
    ForceShared,
    /// `ignore`.
    Ignore,
}

/// What happens to clients when the password changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum ConnectedAction {
    /// `keep`.
    #[default]
    Keep,
    /// `disconnect`.
    Disconnect,
    /// `fail`.
    Fail,
}

/// Whether a channel is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum SpiceMode {
    /// `any`.
    #[default]
    Any,
    /// `secure`.
    Secure,
    /// `insecure`.
    Insecure,
}

/// What a display listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum ListenType {
    /// `none`.
    #[default]
    None,
    /// `address`.
    Address,
    /// `network`.
    Network,
    /// `socket`.
    Socket,
}

/// One display; fields by type.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Graphics {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: GraphicsType,
    /// Attribute `p2p`.
    #[xml(attr)]
    pub p2p: Option<YesNo>,
    /// Attribute `address`.
    #[xml(attr)]
    pub address: Option<String>,
    /// Attribute `socket`.
    #[xml(attr, empty_absent)]
    pub socket: Option<String>,
    /// Attribute `port`.
    #[xml(attr)]
    pub port: Option<i32>,
    /// Attribute `tlsPort`.
    #[xml(attr, name = "tlsPort")]
    pub tls_port: Option<i32>,
    /// Attribute `autoport`.
    #[xml(attr, name = "autoport", lenient)]
    pub auto_port: Option<YesNo>,
    /// Attribute `websocket`.
    #[xml(attr, zero_absent)]
    pub websocket: Option<i32>,
    /// Attribute `websocketGenerated`.
    #[xml(attr, name = "websocketGenerated", live_only)]
    pub websocket_generated: Option<YesNo>,
    /// Attribute `display`.
    #[xml(attr)]
    pub display: Option<String>,
    /// Attribute `xauth`.
    #[xml(attr)]
    pub xauth: Option<String>,
    /// Attribute `fullscreen`.
    #[xml(attr)]
    pub fullscreen: Option<YesNo>,
    /// Attribute `replaceUser`.
    #[xml(attr, name = "replaceUser")]
    pub replace_user: Option<YesNo>,
    /// Attribute `multiUser`.
    #[xml(attr, name = "multiUser")]
    pub multi_user: Option<YesNo>,
    /// Attribute `listen`.
    #[xml(attr)]
    pub listen: Option<String>,
    /// Attribute `keymap`.
    #[xml(attr)]
    pub keymap: Option<String>,
    /// Attribute `sharePolicy`.
    #[xml(attr, name = "sharePolicy")]
    pub share_policy: Option<SharePolicy>,
    /// Attribute `powerControl`.
    #[xml(attr, name = "powerControl")]
    pub power_control: Option<YesNo>,
    /// Attribute `defaultMode`.
    #[xml(attr, name = "defaultMode")]
    pub default_mode: Option<SpiceMode>,
    /// Attribute `username`.
    #[xml(attr)]
    pub username: Option<String>,
    /// Attribute `passwd`.
    #[xml(attr, secret)]
    pub passwd: Option<String>,
    /// Attribute `passwdValidTo`.
    #[xml(attr, name = "passwdValidTo")]
    pub passwd_valid_to: Option<String>,
    /// Attribute `connected`.
    #[xml(attr)]
    pub connected: Option<ConnectedAction>,
    /// Attribute `wait`.
    #[xml(attr)]
    pub wait: Option<YesNo>,
    /// Element `<listen>`.
    #[xml(child, name = "listen")]
    pub listens: Vec<Listen>,
    /// Element `<gl>`.
    #[xml(child)]
    pub gl: Option<Gl>,
    /// Element `<audio>`.
    #[xml(child)]
    pub audio: Option<AudioRef>,
    /// Element `<channel>`.
    #[xml(child, name = "channel")]
    pub channels: Vec<SpiceChannel>,
    /// Element `<image>`.
    #[xml(child)]
    pub image: Option<SpiceImage>,
    /// Element `<jpeg>`.
    #[xml(child)]
    pub jpeg: Option<SpiceCompression>,
    /// Element `<zlib>`.
    #[xml(child)]
    pub zlib: Option<SpiceCompression>,
    /// Element `<playback>`.
    #[xml(child)]
    pub playback: Option<SpicePlayback>,
    /// Element `<streaming>`.
    #[xml(child)]
    pub streaming: Option<SpiceStreaming>,
    /// Element `<mouse>`.
    #[xml(child)]
    pub mouse: Option<GraphicsMouse>,
    /// Element `<clipboard>`.
    #[xml(child)]
    pub clipboard: Option<GraphicsClipboard>,
    /// Element `<filetransfer>`.
    #[xml(child, name = "filetransfer")]
    pub file_transfer: Option<FileTransfer>,
}

/// One listener.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Listen {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: ListenType,
    /// Attribute `address`.
    #[xml(attr)]
    pub address: Option<String>,
    /// Attribute `network`.
    #[xml(attr)]
    pub network: Option<String>,
    /// Attribute `socket`.
    #[xml(attr, empty_absent)]
    pub socket: Option<String>,
    /// Attribute `fromConfig`.
    #[xml(attr, name = "fromConfig", live_only)]
    pub from_config: Option<u32>,
    /// Attribute `autoGenerated`.
    #[xml(attr, name = "autoGenerated", live_only)]
    pub auto_generated: Option<YesNo>,
}

/// OpenGL.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Gl {
    /// Attribute `enable`.
    #[xml(attr)]
    pub enable: Option<YesNo>,
    /// Attribute `rendernode`.
    #[xml(attr)]
    pub rendernode: Option<String>,
}

/// Audio backend.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct AudioRef {
    /// Attribute `id`.
    #[xml(attr)]
    pub id: u32,
}

/// Security of one channel.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct SpiceChannel {
    /// Attribute `name`.
    #[xml(attr, one_of = &[
        "main", "display", "inputs", "cursor", "playback", "record", "smartcard", "usbredir",
    ])]
    pub name: String,
    /// Attribute `mode`.
    #[xml(attr)]
    pub mode: SpiceMode,
}

/// Image compression.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct SpiceImage {
    /// Attribute `compression`.
    #[xml(attr, one_of = &["auto_glz", "auto_lz", "quic", "glz", "lz", "off"])]
    pub compression: String,
}

/// WAN compression.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct SpiceCompression {
    /// Attribute `compression`.
    #[xml(attr, one_of = &["auto", "never", "always"])]
    pub compression: String,
}

/// Audio compression.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct SpicePlayback {
    /// Attribute `compression`.
    #[xml(attr)]
    pub compression: OnOff,
}

/// Video streaming.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct SpiceStreaming {
    /// Attribute `mode`.
    #[xml(attr, one_of = &["filter", "all", "off"])]
    pub mode: String,
}

/// Mouse mode.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct GraphicsMouse {
    /// Attribute `mode`.
    #[xml(attr, one_of = &["client", "server"])]
    pub mode: String,
}

/// Clipboard.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct GraphicsClipboard {
    /// Attribute `copypaste`.
    #[xml(attr)]
    pub copypaste: YesNo,
}

/// File transfer.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct FileTransfer {
    /// Attribute `enable`.
    #[xml(attr)]
    pub enable: YesNo,
}
