//! Network interfaces for guests: taps, bridge ports, macvtaps. All calls act in the network
//! namespace of the calling thread.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::netlink::{self, MacvtapMode, PortVlan};

/// How long the node of a new macvtap may take to appear below `/dev`.
const NODE_PATIENCE: Duration = Duration::from_secs(5);

/// A failed operation on an interface.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {source}")]
pub struct NetdevError {
    /// What could not be done, with the interface's name, in libvirt's words where it has some.
    pub what: String,
    /// Why.
    pub source: io::Error,
}

fn fault(what: impl Into<String>) -> impl FnOnce(io::Error) -> NetdevError {
    let what = what.into();
    move |source| NetdevError { what, source }
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
    /// Whether that port is kept from the bridge's other isolated ports.
    pub isolated: bool,
    /// The hardware address of the *host's* end.
    pub mac: Option<[u8; 6]>,
    /// MTU in bytes; a port of a bridge takes the bridge's where this is `None`.
    pub mtu: Option<u32>,
}

/// A tap, which vanishes when the last of its queues is closed.
#[derive(Debug)]
pub struct TapDevice {
    /// The name it got.
    pub name: String,
    /// Its queues, to be passed to QEMU.
    pub queues: Vec<OwnedFd>,
}

/// Makes a tap as asked and switches it on. On failure nothing is left.
///
/// # Errors
/// The step that failed. `AlreadyExists` when there is an interface of that name.
pub fn make_tap(spec: &TapSpec) -> Result<TapDevice, NetdevError> {
    let mtu = match (&spec.mtu, &spec.bridge) {
        (Some(mtu), _) => Some(*mtu),
        // Before the tap joins: a port with another MTU would change the bridge's.
        (None, Some(bridge)) => Some(
            host_sys::interface_mtu(bridge)
                .map_err(fault(format!("Cannot get interface MTU on '{bridge}'")))?,
        ),
        (None, None) => None,
    };
    check_length(&spec.name)?;
    let tap = host_sys::open_tap(&spec.name, spec.queues, spec.vnet_hdr, true)
        .map_err(taken)
        .map_err(fault(format!("Unable to create tap device {}", spec.name)))?;
    let device = TapDevice { name: tap.name, queues: tap.queues };
    let name = &device.name;
    if let Some(mac) = spec.mac {
        set_mac(name, mac)?;
    }
    if let Some(mtu) = mtu {
        host_sys::set_interface_mtu(name, mtu)
            .map_err(fault(format!("Cannot set interface MTU on '{name}'")))?;
    }
    if let Some(bridge) = &spec.bridge {
        host_sys::add_to_bridge(bridge, name)
            .map_err(fault(format!("Unable to add bridge {bridge} port {name}")))?;
        if spec.isolated {
            index(name)
                .ok_or_else(|| io::ErrorKind::NotFound.into())
                .and_then(netlink::isolate_port)
                .map_err(fault(format!("Unable to isolate port {name} of bridge {bridge}")))?;
        }
    }
    switch_on(name)?;
    Ok(device)
}

/// Opens a tap or macvtap that somebody else made; it stays as it is.
///
/// # Errors
/// There is none of this name, it is of another kind, or it has fewer queues than asked for.
pub fn open_existing(name: &str, queues: u32, vnet_hdr: bool) -> Result<TapDevice, NetdevError> {
    let number = index(name)
        .ok_or_else(|| io::Error::from_raw_os_error(rustix::io::Errno::NODEV.raw_os_error()))
        .map_err(fault(format!("Unable to get index for interface {name}")))?;
    if let Ok(queues) = macvtap_queues(name, number, queues, vnet_hdr) {
        return Ok(TapDevice { name: name.to_owned(), queues });
    }
    let tap = host_sys::open_tap(name, queues, vnet_hdr, false).map_err(fault(format!(
        "Unable to open tap device {name} \
         (it may be of another kind, in use, or have been created with another number of queues)"
    )))?;
    Ok(TapDevice { name: tap.name, queues: tap.queues })
}

/// What a guest's macvtap should be.
#[derive(Clone, Debug)]
pub struct MacvtapSpec {
    /// Its name.
    pub name: String,
    /// The device below.
    pub lower: String,
    /// How it reaches its neighbours.
    pub mode: MacvtapMode,
    /// The guest's hardware address, which is the macvtap's too.
    pub mac: [u8; 6],
    /// How many queues.
    pub queues: u32,
    /// Whether segmentation offload passes.
    pub vnet_hdr: bool,
}

/// A macvtap, which stays until [`remove_macvtap`].
#[derive(Debug)]
pub struct Macvtap {
    /// Its name.
    pub name: String,
    /// The kernel's number of it, which no later interface gets.
    pub index: u32,
    /// Its queues, to be passed to QEMU.
    pub queues: Vec<OwnedFd>,
    /// What the lower device's hardware address was, where the guest's took its place
    /// (passthrough).
    pub lower_mac: Option<[u8; 6]>,
}

/// Makes a macvtap and switches it and the device below on. On failure nothing is left, except that
/// the lower device may stay on.
///
/// # Errors
/// The step that failed. `AlreadyExists` when there is an interface of that name.
pub fn make_macvtap(spec: &MacvtapSpec) -> Result<Macvtap, NetdevError> {
    check_length(&spec.name)?;
    let no_lower = || fault(format!("Unable to get index for interface {}", spec.lower));
    let lower = index(&spec.lower)
        .ok_or_else(|| io::Error::from_raw_os_error(rustix::io::Errno::NODEV.raw_os_error()))
        .map_err(no_lower())?;
    let lower_mac = match spec.mode {
        MacvtapMode::Passthrough => Some(
            host_sys::interface_mac(&spec.lower)
                .map_err(fault(format!("Cannot get interface MAC on '{}'", spec.lower)))?,
        ),
        _ => None,
    };
    let macs = spec.mac.map(|byte| format!("{byte:02x}")).join(":");
    netlink::create_macvtap(&spec.name, lower, spec.mode, Some(spec.mac)).map_err(fault(
        format!("error creating macvtap interface {}@{} ({macs})", spec.name, spec.lower),
    ))?;
    let finish = || {
        let number = index(&spec.name)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
            .map_err(fault(format!("Unable to get index for interface {}", spec.name)))?;
        if lower_mac.is_some() {
            set_mac(&spec.lower, spec.mac)?;
        }
        let queues = wait_for_queues(spec, number)
            .map_err(fault(format!("cannot open macvtap device '/dev/tap{number}'")))?;
        switch_on(&spec.lower)?;
        switch_on(&spec.name)?;
        Ok((number, queues))
    };
    match finish() {
        Ok((index, queues)) => Ok(Macvtap { name: spec.name.clone(), index, queues, lower_mac }),
        Err(error) => {
            if let Some(number) = index(&spec.name) {
                let _ = netlink::delete_link(number);
            }
            if let Some(mac) = lower_mac {
                let _ = set_mac(&spec.lower, mac);
            }
            Err(error)
        }
    }
}

/// Removes the macvtap that has this name and number; one that is gone already is no fault.
///
/// # Errors
/// The kernel refuses.
pub fn remove_macvtap(name: &str, number: u32) -> Result<(), NetdevError> {
    // Numbers start anew with the host: one alone could be any interface's.
    if index(name) != Some(number) {
        return Ok(());
    }
    match netlink::delete_link(number) {
        Err(error) if error.raw_os_error() != Some(rustix::io::Errno::NODEV.raw_os_error()) => {
            Err(fault(format!("error destroying network device {name}"))(error))
        }
        _ => Ok(()),
    }
}

/// The number of the interface `name` if it is a macvtap with this hardware address (`xx:xx:…`).
pub fn macvtap_with(name: &str, mac: &str) -> Option<u32> {
    let number = index(name)?;
    let folder = std::path::Path::new("/sys/class/net").join(name);
    let address = std::fs::read_to_string(folder.join("address")).ok()?;
    let is_it = folder.join("macvtap").is_dir() && address.trim_end().eq_ignore_ascii_case(mac);
    is_it.then_some(number)
}

/// Sets an interface's hardware address.
///
/// # Errors
/// It does not exist, refuses the address, or no right to it.
pub fn set_mac(name: &str, mac: [u8; 6]) -> Result<(), NetdevError> {
    host_sys::set_interface_mac(name, mac)
        .map_err(fault(format!("Cannot set interface MAC on '{name}'")))
}

/// Sets an interface's hardware address, unless that is its own already.
///
/// # Errors
/// Those of [`set_mac`].
pub fn set_mac_if_other(name: &str, mac: [u8; 6]) -> Result<(), NetdevError> {
    match host_sys::interface_mac(name) {
        Ok(own) if own == mac => Ok(()),
        _ => set_mac(name, mac),
    }
}

/// Makes an interface a port of `bridge` instead of what it was a port of.
///
/// # Errors
/// One of them is not there, or it cannot be.
pub fn move_to_bridge(name: &str, bridge: &str) -> Result<(), NetdevError> {
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let action = || format!("Unable to add bridge {bridge} port {name}");
    let number = index(name).ok_or_else(missing).map_err(fault(action()))?;
    let master = index(bridge).ok_or_else(missing).map_err(fault(action()))?;
    netlink::set_master(number, master).map_err(fault(action()))
}

/// Has an interface tell of received frames only so many at a time; 0: of each.
///
/// # Errors
/// It does not exist, or has no such setting.
pub fn set_coalesce(name: &str, frames: u32) -> Result<(), NetdevError> {
    host_sys::set_interface_coalesce(name, frames)
        .map_err(fault(format!("Cannot set coalesce info on '{name}'")))
}

/// The VLANs of a bridge's port could not be set.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct VlanError(pub io::Error);

/// The VLAN of every port of which nothing was said.
const DEFAULT_VLAN: u16 = 1;

/// Has a bridge's port leave VLANs and join others; of neither the default one. To join none is to be
/// in the default one again. Where that fails, it is in those again that it was to leave.
///
/// # Errors
/// It is no bridge's port, or its kernel does not filter VLANs.
pub fn set_vlans(
    name: &str,
    leave: &[(u16, PortVlan)],
    join: &[(u16, PortVlan)],
) -> Result<(), VlanError> {
    let number = index(name).ok_or_else(|| VlanError(io::ErrorKind::NotFound.into()))?;
    let default = [(DEFAULT_VLAN, PortVlan::NativeUntagged)];
    let or_default = |vlans: &[(u16, PortVlan)]| -> Vec<_> {
        if vlans.is_empty() { default.to_vec() } else { vlans.to_vec() }
    };
    let exchange = |leave: &[(u16, PortVlan)], join: &[(u16, PortVlan)]| {
        for (id, _) in leave {
            match netlink::set_port_vlan(number, *id, PortVlan::Leave) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        join.iter().try_for_each(|(id, how)| netlink::set_port_vlan(number, *id, *how))
    };
    let (leave, join) = (or_default(leave), or_default(join));
    exchange(&leave, &join).map_err(|error| {
        let _ = exchange(&join, &leave);
        VlanError(error)
    })
}

fn switch_on(name: &str) -> Result<(), NetdevError> {
    host_sys::set_interface_up(name, true)
        .map_err(fault(format!("Cannot set interface flags on '{name}'")))
}

/// The device's node appears with the device, but where udev makes it, a moment later.
fn wait_for_queues(spec: &MacvtapSpec, number: u32) -> io::Result<Vec<OwnedFd>> {
    let deadline = Instant::now() + NODE_PATIENCE;
    loop {
        match macvtap_queues(&spec.name, number, spec.queues, spec.vnet_hdr) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

fn macvtap_queues(
    name: &str,
    number: u32,
    queues: u32,
    vnet_hdr: bool,
) -> io::Result<Vec<OwnedFd>> {
    let mut all = Vec::new();
    for _ in 0..queues.max(1) {
        let queue: OwnedFd = std::fs::File::options()
            .read(true)
            .write(true)
            .open(format!("/dev/tap{number}"))?
            .into();
        host_sys::configure_macvtap(queue.as_fd(), vnet_hdr, queues > 1)?;
        // The numbers of two network namespaces meet in one /dev.
        if host_sys::tap_name(queue.as_fd())? != name {
            return Err(io::Error::other("the device's node belongs to another interface"));
        }
        all.push(queue);
    }
    Ok(all)
}

/// The kernel says "busy" of a tap's name that is in use, whoever has it.
fn taken(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::ResourceBusy {
        return io::ErrorKind::AlreadyExists.into();
    }
    error
}

fn check_length(name: &str) -> Result<(), NetdevError> {
    // With its final zero a name has at most 16 bytes.
    if name.len() > 15 {
        let error = io::Error::from_raw_os_error(rustix::io::Errno::RANGE.raw_os_error());
        return Err(fault(format!("Network interface name '{name}' is too long"))(error));
    }
    Ok(())
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
