//! The few requests of the kernel's route netlink protocol that no ioctl offers: making a macvtap,
//! removing a link, options of a bridge's port. Numbers are those of `linux/rtnetlink.h`,
//! `linux/if_link.h` and `linux/netlink.h`.
//!
//! All calls act in the network namespace of the calling thread.

use std::io;
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_SETLINK: u16 = 19;
const NLMSG_ERROR: u16 = 2;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
pub(crate) const NLM_F_EXCL: u16 = 0x200;
pub(crate) const NLM_F_CREATE: u16 = 0x400;
const NLA_F_NESTED: u16 = 0x8000;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_MACVLAN_MODE: u16 = 1;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_BRIDGE_VLAN_INFO: u16 = 2;
const BRIDGE_VLAN_INFO_PVID: u16 = 2;
const BRIDGE_VLAN_INFO_UNTAGGED: u16 = 4;

const AF_UNSPEC: u8 = 0;
const AF_BRIDGE: u8 = 7;

/// Length of the header before each message.
const HEADER: usize = 16;

/// How a macvtap's traffic reaches other macvtaps on the same lower device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacvtapMode {
    /// Not at all.
    Private,
    /// Through the switch that the lower device is plugged into.
    Vepa,
    /// Directly.
    Bridge,
    /// It has the lower device for itself.
    Passthrough,
}

impl MacvtapMode {
    /// The mode that libvirt's XML calls so.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "private" => Some(Self::Private),
            "vepa" => Some(Self::Vepa),
            "bridge" => Some(Self::Bridge),
            "passthrough" => Some(Self::Passthrough),
            _ => None,
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Private => 1,
            Self::Vepa => 2,
            Self::Bridge => 4,
            Self::Passthrough => 8,
        }
    }
}

/// Makes a macvtap named `name` on the interface numbered `lower`.
///
/// # Errors
/// The name is taken (`AlreadyExists`), the lower device cannot carry one in this mode, or no right
/// to it.
pub fn create_macvtap(
    name: &str,
    lower: u32,
    mode: MacvtapMode,
    mac: Option<[u8; 6]>,
) -> io::Result<()> {
    exchange(&macvtap_message(name, lower, mode, mac))
}

/// Removes the link with this number.
///
/// # Errors
/// There is none, it is of a kind that cannot be removed, or no right to it.
pub fn delete_link(index: u32) -> io::Result<()> {
    exchange(&Message::link(RTM_DELLINK, 0, AF_UNSPEC, index))
}

/// Keeps the bridge port numbered `index` from the bridge's other isolated ports.
///
/// # Errors
/// It is no bridge's port, or no right to it.
pub fn isolate_port(index: u32) -> io::Result<()> {
    exchange(&isolate_message(index))
}

/// What a bridge's port has to do with a VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortVlan {
    /// Its traffic passes with its tag.
    Tagged,
    /// What comes without a tag belongs to it; it leaves with its tag.
    NativeTagged,
    /// What comes without a tag belongs to it, and leaves without.
    NativeUntagged,
    /// Its traffic does not pass.
    Leave,
}

/// Sets what the bridge port numbered `index` has to do with a VLAN.
///
/// # Errors
/// The kernel filters no VLANs, the port is no bridge's or not in a VLAN that it is to leave
/// (`NotFound`), there is no such VLAN, or no right to it.
pub fn set_port_vlan(index: u32, id: u16, how: PortVlan) -> io::Result<()> {
    exchange(&vlan_message(index, id, how))
}

fn vlan_message(index: u32, id: u16, how: PortVlan) -> Message {
    let (kind, flags) = match how {
        PortVlan::Tagged => (RTM_SETLINK, 0),
        PortVlan::NativeTagged => (RTM_SETLINK, BRIDGE_VLAN_INFO_PVID),
        PortVlan::NativeUntagged => {
            (RTM_SETLINK, BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED)
        }
        PortVlan::Leave => (RTM_DELLINK, 0),
    };
    let mut message = Message::link(kind, 0, AF_BRIDGE, index);
    message.nested(IFLA_AF_SPEC | NLA_F_NESTED, |port| {
        let info = [flags.to_ne_bytes(), id.to_ne_bytes()].concat();
        port.attribute(IFLA_BRIDGE_VLAN_INFO, &info);
    });
    message
}

/// Makes the interface numbered `index` a port of the bridge numbered `bridge`, at once: what it was
/// a port of before, it leaves.
///
/// # Errors
/// The second is no bridge, or no right to either.
pub fn set_master(index: u32, bridge: u32) -> io::Result<()> {
    let mut message = Message::link(RTM_SETLINK, 0, AF_UNSPEC, index);
    message.attribute(IFLA_MASTER, &bridge.to_ne_bytes());
    exchange(&message)
}

fn macvtap_message(name: &str, lower: u32, mode: MacvtapMode, mac: Option<[u8; 6]>) -> Message {
    let mut message = Message::link(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, AF_UNSPEC, 0);
    if let Some(mac) = mac {
        message.attribute(IFLA_ADDRESS, &mac);
    }
    message.attribute(IFLA_LINK, &lower.to_ne_bytes());
    let mut text = name.as_bytes().to_vec();
    text.push(0);
    message.attribute(IFLA_IFNAME, &text);
    message.nested(IFLA_LINKINFO, |info| {
        info.attribute(IFLA_INFO_KIND, b"macvtap");
        info.nested(IFLA_INFO_DATA, |data| {
            data.attribute(IFLA_MACVLAN_MODE, &mode.number().to_ne_bytes());
        });
    });
    message
}

fn isolate_message(index: u32) -> Message {
    let mut message = Message::link(RTM_SETLINK, 0, AF_BRIDGE, index);
    message.nested(IFLA_PROTINFO | NLA_F_NESTED, |port| {
        port.attribute(IFLA_BRPORT_ISOLATED, &[1]);
    });
    message
}

/// A request being put together.
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// A request with its header; `body` is the structure that its kind has before the attributes.
    pub(crate) fn new(kind: u16, flags: u16, body: &[&[u8]]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        // Sequence number 1; port 0 is the kernel.
        bytes[8..12].copy_from_slice(&1u32.to_ne_bytes());
        bytes.extend(body.concat());
        Self(bytes)
    }

    /// A request about a link, with `struct ifinfomsg`.
    fn link(kind: u16, flags: u16, family: u8, index: u32) -> Self {
        // No flags of the interface, and none to change.
        Self::new(kind, flags, &[&[family, 0, 0, 0], &index.to_ne_bytes(), &[0; 8]])
    }

    pub(crate) fn attribute(&mut self, kind: u16, payload: &[u8]) {
        self.nested(kind, |message| message.0.extend_from_slice(payload));
    }

    pub(crate) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0, 0]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        fill(self);
        // All payloads here are short: names of at most 15 bytes, numbers, tables of 1024 bytes.
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    pub(crate) fn finish(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        bytes[..4].copy_from_slice(&(self.0.len() as u32).to_ne_bytes());
        bytes
    }
}

/// Sends a request and waits for the kernel's acknowledgement.
pub(crate) fn exchange(message: &Message) -> io::Result<()> {
    let socket = open()?;
    send(&socket, &message.finish(), SendFlags::empty())?;
    let mut buffer = vec![0; 8192];
    let (length, _) = recv(&socket, &mut buffer, RecvFlags::empty())?;
    match answer(buffer.get(..length).unwrap_or_default()) {
        Some(0) => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(number)),
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn open() -> io::Result<OwnedFd> {
    // No protocol number is 0, which is NETLINK_ROUTE.
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?)
}

/// The error number of an acknowledgement (0: done); `None` for anything else.
fn answer(bytes: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(bytes.get(HEADER..HEADER + 4)?.try_into().ok()?);
    (kind == NLMSG_ERROR && code <= 0).then(|| code.saturating_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_macvtap_request_is_laid_out_as_the_kernel_reads_it() {
        let bytes = macvtap_message("tap", 7, MacvtapMode::Bridge, Some([1, 2, 3, 4, 5, 6]));
        let bytes = bytes.finish();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(u32::from_ne_bytes(bytes[..4].try_into().unwrap()) as usize, bytes.len());
        let mut expected = Vec::new();
        for (length, kind, payload) in [
            (10u16, 1u16, &[1, 2, 3, 4, 5, 6, 0, 0][..]),
            (8, 5, &7u32.to_ne_bytes()),
            (8, 3, b"tap\0"),
            (28, 18, &[]),
            (11, 1, b"macvtap\0"),
            (12, 2, &[]),
            (8, 1, &4u32.to_ne_bytes()),
        ] {
            expected.extend_from_slice(&length.to_ne_bytes());
            expected.extend_from_slice(&kind.to_ne_bytes());
            expected.extend_from_slice(payload);
        }
        assert_eq!(bytes[32..], expected);
    }

    /// As libvirtd 11.3 sends them.
    #[test]
    fn vlans_of_a_port() {
        for (how, kind, flags) in [
            (PortVlan::Tagged, 0x13, 0),
            (PortVlan::NativeTagged, 0x13, 2),
            (PortVlan::NativeUntagged, 0x13, 6),
            (PortVlan::Leave, 0x11, 0),
        ] {
            let bytes = vlan_message(0x13, 42, how).finish();
            assert_eq!(bytes.len(), 44);
            assert_eq!(bytes[4..8], [kind, 0, 5, 0], "{how:?}");
            let body = [7, 0, 0, 0, 0x13, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            assert_eq!(bytes[16..32], body, "{how:?}");
            assert_eq!(bytes[32..], [12, 0, 0x1a, 0x80, 8, 0, 2, 0, flags, 0, 42, 0], "{how:?}");
        }
    }

    #[test]
    fn answers() {
        let acknowledgement = |kind: u16, code: i32| {
            let mut bytes = vec![0; HEADER];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes.extend_from_slice(&code.to_ne_bytes());
            bytes
        };
        assert_eq!(answer(&acknowledgement(NLMSG_ERROR, 0)), Some(0));
        assert_eq!(answer(&acknowledgement(NLMSG_ERROR, -17)), Some(17));
        assert_eq!(answer(&acknowledgement(NLMSG_ERROR, 17)), None);
        assert_eq!(answer(&acknowledgement(RTM_NEWLINK, 0)), None);
        assert_eq!(answer(&[0; 12]), None);
    }

    #[test]
    fn modes() {
        for (name, number) in [("private", 1), ("vepa", 2), ("bridge", 4), ("passthrough", 8)] {
            assert_eq!(MacvtapMode::parse(name).map(MacvtapMode::number), Some(number));
        }
        assert_eq!(MacvtapMode::parse("passthru"), None);
    }
}
