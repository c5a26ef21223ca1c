//! Serial, parallel, console and channel devices, and character sources.

use crate::domain::prelude::*;
use crate::domain::seclabel::DeviceSeclabel;

/// Kind of host side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum CharType {
    /// `null`.
    #[default]
    Null,
    /// `vc`.
    Vc,
    /// `pty`.
    Pty,
    /// `dev`.
    Dev,
    /// `file`.
    File,
    /// `pipe`.
    Pipe,
    /// `stdio`.
    Stdio,
    /// `udp`.
    Udp,
    /// `tcp`.
    Tcp,
    /// `unix`.
    Unix,
    /// `spicevmc`.
    Spicevmc,
    /// `spiceport`.
    Spiceport,
    /// `nmdm`.
    Nmdm,
    /// `qemu-vdagent`.
    QemuVdagent,
    /// `dbus`.
    Dbus,
}

/// Kind of guest side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum CharTargetType {
    /// `isa-serial`.
    #[default]
    IsaSerial,
    /// `usb-serial`.
    UsbSerial,
    /// `pci-serial`.
    PciSerial,
    /// `spapr-vio-serial`.
    SpaprVioSerial,
    /// `system-serial`.
    SystemSerial,
    /// `sclp-serial`.
    SclpSerial,
    /// `isa-debug`.
    IsaDebug,
    /// `serial`.
    Serial,
    /// `xen`.
    Xen,
    /// `uml`.
    Uml,
    /// `virtio`.
    Virtio,
    /// `lxc`.
    Lxc,
    /// `openvz`.
    Openvz,
    /// `sclp`.
    Sclp,
    /// `sclplm`.
    Sclplm,
    /// `guestfwd`.
    Guestfwd,
    /// `none`.
    None,
}

/// Who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum SocketMode {
    /// `connect`.
    #[default]
    Connect,
    /// `bind`.
    Bind,
    /// `client`.
    Client,
    /// `server`.
    Server,
}

/// What is spoken on a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum ProtocolType {
    /// `raw`.
    #[default]
    Raw,
    /// `telnet`.
    Telnet,
    /// `telnets`.
    Telnets,
    /// `tls`.
    Tls,
}

/// Whether the guest opened the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum ChannelState {
    /// `connected`.
    #[default]
    Connected,
    /// `disconnected`.
    Disconnected,
}

/// Mouse of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum MouseMode {
    /// `server`.
    #[default]
    Server,
    /// `client`.
    Client,
}

/// A serial, parallel, console or channel device.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Serial {
    /// Host side.
    #[xml(flatten)]
    pub source: CharSource,
    /// Element `<target>`.
    #[xml(child)]
    pub target: Option<CharTarget>,
    /// Element `<alias>`.
    #[xml(child, needs = "name")]
    pub alias: Option<Alias>,
    /// Element `<acpi>`.
    #[xml(child, empty_absent)]
    pub acpi: Option<DeviceAcpi>,
    /// Element `<address>`.
    #[xml(child)]
    pub address: Option<Address>,
}

/// Host side of a character device.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(check = CharSource::check)]
pub struct CharSource {
    /// Attribute `type`.
    #[xml(attr, name = "type", default = CharType::Pty)]
    pub kind: CharType,
    /// Attribute `tty`.
    #[xml(attr, live_only)]
    pub tty: Option<String>,
    /// Element `<source>`.
    #[xml(child, name = "source")]
    pub sources: Vec<CharSourceElement>,
    /// Element `<protocol>`.
    #[xml(child)]
    pub protocol: Option<CharProtocol>,
    /// Element `<log>`.
    #[xml(child, needs = "file")]
    pub log: Option<CharLog>,
}

/// Where it leads; UDP has two of them.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CharSourceElement {
    /// Attribute `mode`.
    #[xml(attr)]
    pub mode: Option<SocketMode>,
    /// Attribute `path`.
    #[xml(attr)]
    pub path: Option<String>,
    /// Attribute `host`.
    #[xml(attr)]
    pub host: Option<String>,
    /// Attribute `service`.
    #[xml(attr)]
    pub service: Option<String>,
    /// Attribute `tls`.
    #[xml(attr)]
    pub tls: Option<YesNo>,
    /// Attribute `tlsFromConfig`.
    #[xml(attr, name = "tlsFromConfig", live_only)]
    pub tls_from_config: Option<String>,
    /// Attribute `append`.
    #[xml(attr)]
    pub append: Option<OnOff>,
    /// Attribute `channel`.
    #[xml(attr)]
    pub channel: Option<String>,
    /// Attribute `master`.
    #[xml(attr)]
    pub master: Option<String>,
    /// Attribute `slave`.
    #[xml(attr)]
    pub slave: Option<String>,
    /// Element `<seclabel>`.
    #[xml(child, name = "seclabel")]
    pub seclabels: Vec<DeviceSeclabel>,
    /// Element `<reconnect>`.
    #[xml(child, needs = "enabled")]
    pub reconnect: Option<Reconnect>,
    /// Element `<clipboard>`.
    #[xml(child)]
    pub clipboard: Option<Clipboard>,
    /// Element `<mouse>`.
    #[xml(child)]
    pub mouse: Option<AgentMouse>,
}

/// Reconnection of a client socket, seconds.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Reconnect {
    /// Attribute `enabled`.
    #[xml(attr)]
    pub enabled: Option<YesNo>,
    /// Attribute `timeout`.
    #[xml(attr)]
    pub timeout: Option<u32>,
}

/// Clipboard sharing.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct Clipboard {
    /// Attribute `copypaste`.
    #[xml(attr)]
    pub copypaste: YesNo,
}

/// Mouse mode.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct AgentMouse {
    /// Attribute `mode`.
    #[xml(attr)]
    pub mode: MouseMode,
}

/// Protocol.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CharProtocol {
    /// Attribute `type`.
    #[xml(attr, name = "type", lenient)]
    pub kind: Option<ProtocolType>,
}

/// Log file.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CharLog {
    /// Attribute `file`.
    #[xml(attr)]
    pub file: String,
    /// Attribute `append`.
    #[xml(attr)]
    pub append: Option<OnOff>,
}

/// What the guest sees.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CharTarget {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: Option<CharTargetType>,
    /// guestfwd.
    #[xml(attr)]
    pub address: Option<String>,
    /// Attribute `name`.
    #[xml(attr)]
    pub name: Option<String>,
    /// Attribute `state`.
    #[xml(attr, live_only, lenient)]
    pub state: Option<ChannelState>,
    /// Attribute `port`; as libvirt keeps it, that from 2^31 on is negative.
    #[xml(attr)]
    pub port: Option<CharPort>,
    /// Element `<model>`.
    #[xml(child, needs_text = "name")]
    pub model: Option<CharTargetModel>,
}

/// Number of a port. libvirt reads it without a sign and keeps it with one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct CharPort(pub i32);

impl CharPort {
    /// What counts as no number.
    pub const NONE: Self = Self(-1);
}

impl xml::XmlValue for CharPort {
    const ESCAPED: bool = false;

    fn parse(text: &str) -> Result<Self, xml::ValueError> {
        let number: Option<i64> = text.trim_ascii_start().parse().ok();
        // Without a sign, or with one and then the complement.
        let bits = number.and_then(|n| u32::try_from(n.unsigned_abs()).ok().map(|bits| (n, bits)));
        match bits {
            Some((n, bits)) if n < 0 => Ok(Self(bits.wrapping_neg().cast_signed())),
            Some((_, bits)) => Ok(Self(bits.cast_signed())),
            None => Err(xml::ValueError::expected("integer value")),
        }
    }
    fn write(&self, out: &mut String) {
        self.0.write(out);
    }
    fn kind() -> xml::ValueKind {
        <u32 as xml::XmlValue>::kind()
    }
}

/// Device of a serial port.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CharTargetModel {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: String,
}

impl CharSource {
    /// The protocol says something for a TCP connection only; elsewhere it is not read.
    fn check(&mut self, el: xml::Element<'_>, r: &mut xml::Reader) {
        check_protocol(self.kind, &mut self.protocol, el, r);
    }
}

/// Judges, or drops, the protocol of a host side of this kind.
pub(super) fn check_protocol(
    kind: CharType,
    protocol: &mut Option<CharProtocol>,
    el: xml::Element<'_>,
    r: &mut xml::Reader,
) {
    if kind != CharType::Tcp {
        *protocol = None;
        return;
    }
    let Some(protocol) = el.child("protocol") else { return };
    if let Some(attr) = protocol.attr_node("type")
        && let Err(e) = <ProtocolType as xml::XmlValue>::parse(attr.value())
    {
        r.bad_attr(attr, protocol, &e);
    }
}
