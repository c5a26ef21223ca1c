//! Network interfaces for guests: taps, bridge ports. All calls act in the network namespace of the
//! calling thread.

use std::io;
use std::os::fd::OwnedFd;

/// A failed operation on an interface.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} interface {name}: {source}")]
pub struct NetdevError {
    /// What was tried.
    pub action: &'static str,
    /// The interface.
    pub name: String,
    /// Why it failed.
    pub source: io::Error,
}

fn fault(action: &'static str, name: &str) -> impl FnOnce(io::Error) -> NetdevError {
    let name = name.to_owned();
    move |source| NetdevError { action, name, source }
}

/// What a guest's tap should be.
#[derive(Clone, Debug)]
pub struct TapSpec {
    /// Its name; `%d` becomes a free number.
    pub name: String,
    /// How many queues.
    pub queues: u32,
    /// Whether segmentation offload passes.
    pub vnet_hdr: bool,
    /// The bridge it becomes a port of.
    pub bridge: Option<String>,
    /// The hardware address of the *host's* end.
    pub mac: Option<[u8; 6]>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// Whether to switch it on.
    pub up: bool,
}

/// A tap, which vanishes when the last of its queues is closed.
#[derive(Debug)]
pub struct TapDevice {
    /// The name it got.
    pub name: String,
    /// Its queues, to be passed to QEMU.
    pub queues: Vec<OwnedFd>,
}

/// Makes a tap as asked. On failure nothing is left.
///
/// # Errors
/// The step that failed; a missing bridge is named as the interface.
pub fn make_tap(spec: &TapSpec) -> Result<TapDevice, NetdevError> {
    let tap = host_sys::open_tap(&spec.name, spec.queues, spec.vnet_hdr, None)
        .map_err(fault("create", &spec.name))?;
    let device = TapDevice { name: tap.name, queues: tap.queues };
    if let Some(mac) = spec.mac {
        host_sys::set_interface_mac(&device.name, mac)
            .map_err(fault("set the address of", &device.name))?;
    }
    if let Some(mtu) = spec.mtu {
        host_sys::set_interface_mtu(&device.name, mtu)
            .map_err(fault("set the MTU of", &device.name))?;
    }
    if let Some(bridge) = &spec.bridge {
        host_sys::add_to_bridge(bridge, &device.name).map_err(fault("add a port to", bridge))?;
    }
    if spec.up {
        host_sys::set_interface_up(&device.name, true).map_err(fault("switch on", &device.name))?;
    }
    Ok(device)
}

/// Whether an interface is a bridge, by `/sys`, which shows the network namespace it was mounted in.
pub fn is_bridge(name: &str) -> bool {
    legal(name) && std::path::Path::new("/sys/class/net").join(name).join("bridge").is_dir()
}

/// The kernel's number of an interface; `None` if there is none of this name.
pub fn index(name: &str) -> Option<u32> {
    if !legal(name) {
        return None;
    }
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::DGRAM, None)
            .ok()?;
    rustix::net::netdevice::name_to_index(&socket, name).ok()
}

/// An interface's MTU in bytes, by `/sys` as [`is_bridge`].
pub fn mtu(name: &str) -> Option<u32> {
    if !legal(name) {
        return None;
    }
    std::fs::read_to_string(format!("/sys/class/net/{name}/mtu")).ok()?.trim().parse().ok()
}

/// Whether a name can be an interface's (and so is safe inside a path).
fn legal(name: &str) -> bool {
    !name.is_empty()
        && name.len() < 16
        && name != "."
        && name != ".."
        && !name.bytes().any(|b| b == b'/' || b == 0)
}
