//! Network interfaces through ioctl: taps, bridges, flags; and the one ioctl of KVM we need.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
const TUNGETIFF: libc::c_ulong = 0x8004_54d2;
/// From linux/if_tun.h: fail when there is an interface of this name.
const IFF_TUN_EXCL: libc::c_int = 0x8000;
// From linux/sockios.h.
const SIOCBRADDBR: libc::c_ulong = 0x89a0;
const SIOCBRDELBR: libc::c_ulong = 0x89a1;
const SIOCBRADDIF: libc::c_ulong = 0x89a2;
const SIOCBRDELIF: libc::c_ulong = 0x89a3;
const SIOCETHTOOL: libc::c_ulong = 0x8946;
/// From linux/ethtool.h: sets a `struct ethtool_coalesce`.
const ETHTOOL_SCOALESCE: u32 = 0xf;
const KVM_GET_API_VERSION: libc::c_ulong = 0xae00;

/// A tap interface, one descriptor for each queue. It vanishes with its last descriptor.
#[derive(Debug)]
pub struct Tap {
    /// The interface's name, as the kernel chose it.
    pub name: String,
    /// The queues.
    pub queues: Vec<OwnedFd>,
}

/// Creates (`create`) or attaches to a tap interface in this thread's network namespace. A name to
/// create may hold `%d`, which the kernel replaces by a free number. `vnet_hdr` lets segmentation
/// offload pass.
///
/// # Errors
/// No `/dev/net/tun`, no right to it (CAP_NET_ADMIN), a name that is too long or, to create, taken
/// (`ResourceBusy`), or, to attach to, of an interface that is no such tap (`InvalidInput`).
pub fn open_tap(name: &str, queues: u32, vnet_hdr: bool, create: bool) -> io::Result<Tap> {
    let mut flags = libc::IFF_TAP | libc::IFF_NO_PI;
    if vnet_hdr {
        flags |= libc::IFF_VNET_HDR;
    }
    if queues > 1 {
        flags |= libc::IFF_MULTI_QUEUE;
    }
    let mut tap = Tap { name: name.to_owned(), queues: Vec::new() };
    for queue in 0..queues.max(1) {
        let file = File::options().read(true).write(true).open("/dev/net/tun")?;
        let mut request = request(&tap.name)?;
        // Further queues attach to what the first one made.
        let exclusive = if create && queue == 0 { IFF_TUN_EXCL } else { 0 };
        request.ifr_ifru.ifru_flags = (flags | exclusive) as libc::c_short;
        // SAFETY: TUNSETIFF reads and writes one ifreq, which we own.
        check(unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &mut request) })?;
        tap.name = name_of(&request);
        tap.queues.push(file.into());
    }
    Ok(tap)
}

/// Sets what passes over a queue of a macvtap (an open `/dev/tapN`).
///
/// # Errors
/// The descriptor is no macvtap's.
pub fn configure_macvtap(
    queue: BorrowedFd<'_>,
    vnet_hdr: bool,
    multi_queue: bool,
) -> io::Result<()> {
    let mut flags = libc::IFF_TAP | libc::IFF_NO_PI;
    if vnet_hdr {
        flags |= libc::IFF_VNET_HDR;
    }
    if multi_queue {
        flags |= libc::IFF_MULTI_QUEUE;
    }
    let mut request = request("")?;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which we own; other devices refuse the number.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), TUNSETIFF, &mut request) })
}

/// The interface that a queue of a tap or macvtap belongs to.
///
/// # Errors
/// The descriptor is neither's.
pub fn tap_name(queue: BorrowedFd<'_>) -> io::Result<String> {
    let mut request = request("")?;
    // SAFETY: TUNGETIFF writes one ifreq, which we own; other devices refuse the number.
    check(unsafe { libc::ioctl(queue.as_raw_fd(), TUNGETIFF, &mut request) })?;
    Ok(name_of(&request))
}

/// Creates a bridge.
///
/// # Errors
/// The name is taken, or no CAP_NET_ADMIN.
pub fn create_bridge(name: &str) -> io::Result<()> {
    bridge_ioctl(SIOCBRADDBR, name)
}

/// Deletes a bridge, which must be down.
///
/// # Errors
/// There is none of this name, it is up, or no CAP_NET_ADMIN.
pub fn delete_bridge(name: &str) -> io::Result<()> {
    bridge_ioctl(SIOCBRDELBR, name)
}

fn bridge_ioctl(number: libc::c_ulong, name: &str) -> io::Result<()> {
    let request = request(name)?;
    let socket = control_socket()?;
    // SAFETY: both calls read a null-terminated name of at most IFNAMSIZ bytes, which `ifr_name` is.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), number, request.ifr_name.as_ptr()) })
}

/// Makes an interface a port of a bridge.
///
/// # Errors
/// Either does not exist, the port belongs to another bridge (`ResourceBusy`), or no right to it.
pub fn add_to_bridge(bridge: &str, port: &str) -> io::Result<()> {
    port_ioctl(SIOCBRADDIF, bridge, port)
}

/// Takes an interface out of a bridge.
///
/// # Errors
/// As [`add_to_bridge`]; `InvalidInput` when it is no port of it.
pub fn remove_from_bridge(bridge: &str, port: &str) -> io::Result<()> {
    port_ioctl(SIOCBRDELIF, bridge, port)
}

fn port_ioctl(number: libc::c_ulong, bridge: &str, port: &str) -> io::Result<()> {
    let socket = control_socket()?;
    let mut index = request(port)?;
    // SAFETY: SIOCGIFINDEX reads and writes one ifreq, which we own.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFINDEX, &mut index) })?;
    let mut request = request(bridge)?;
    // SAFETY: the call above filled the integer member of the union.
    request.ifr_ifru.ifru_ifindex = unsafe { index.ifr_ifru.ifru_ifindex };
    // SAFETY: both calls read one ifreq.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), number, &mut request) })
}

/// Switches an interface on or off.
///
/// # Errors
/// It does not exist, or no CAP_NET_ADMIN.
pub fn set_interface_up(name: &str, up: bool) -> io::Result<()> {
    set_interface_flag(name, libc::IFF_UP, up)
}

/// Has an interface take frames for every address (or no longer).
///
/// # Errors
/// As [`set_interface_up`].
pub fn set_interface_promiscuous(name: &str, on: bool) -> io::Result<()> {
    set_interface_flag(name, libc::IFF_PROMISC, on)
}

/// Has an interface take frames for groups (or no longer).
///
/// # Errors
/// As [`set_interface_up`].
pub fn set_interface_multicast(name: &str, on: bool) -> io::Result<()> {
    set_interface_flag(name, libc::IFF_MULTICAST, on)
}

/// Has an interface take frames for every group (or no longer).
///
/// # Errors
/// As [`set_interface_up`].
pub fn set_interface_all_multicast(name: &str, on: bool) -> io::Result<()> {
    set_interface_flag(name, libc::IFF_ALLMULTI, on)
}

fn set_interface_flag(name: &str, bit: libc::c_int, on: bool) -> io::Result<()> {
    let socket = control_socket()?;
    let mut request = request(name)?;
    // SAFETY: SIOCGIFFLAGS reads and writes one ifreq, which we own.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &mut request) })?;
    // SAFETY: the call above filled the flags member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    let bit = bit as libc::c_short;
    let wanted = if on { flags | bit } else { flags & !bit };
    if wanted == flags {
        return Ok(());
    }
    request.ifr_ifru.ifru_flags = wanted;
    // SAFETY: SIOCSIFFLAGS reads one ifreq.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &mut request) })
}

/// An interface's MTU in bytes.
///
/// # Errors
/// It does not exist.
pub fn interface_mtu(name: &str) -> io::Result<u32> {
    let socket = control_socket()?;
    let mut request = request(name)?;
    // SAFETY: SIOCGIFMTU reads and writes one ifreq, which we own.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU, &mut request) })?;
    // SAFETY: the call above filled the MTU member of the union.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    u32::try_from(mtu).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Sets an interface's MTU in bytes.
///
/// # Errors
/// It does not exist, refuses the value, or no CAP_NET_ADMIN.
pub fn set_interface_mtu(name: &str, mtu: u32) -> io::Result<()> {
    let socket = control_socket()?;
    let mut request = request(name)?;
    request.ifr_ifru.ifru_mtu = i32::try_from(mtu).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: SIOCSIFMTU reads one ifreq.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFMTU, &mut request) })
}

/// An interface's hardware address.
///
/// # Errors
/// It does not exist.
pub fn interface_mac(name: &str) -> io::Result<[u8; 6]> {
    let socket = control_socket()?;
    let mut request = request(name)?;
    // SAFETY: SIOCGIFHWADDR reads and writes one ifreq, which we own.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFHWADDR, &mut request) })?;
    // SAFETY: the call above filled the address member of the union.
    let data = unsafe { request.ifr_ifru.ifru_hwaddr.sa_data };
    Ok(std::array::from_fn(|i| data[i] as u8))
}

/// Sets an interface's hardware address.
///
/// # Errors
/// It does not exist, refuses the value, or no CAP_NET_ADMIN.
pub fn set_interface_mac(name: &str, mac: [u8; 6]) -> io::Result<()> {
    let socket = control_socket()?;
    let mut request = request(name)?;
    let mut data = [0; 14];
    for (slot, byte) in data.iter_mut().zip(mac) {
        *slot = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_hwaddr = libc::sockaddr { sa_family: libc::ARPHRD_ETHER, sa_data: data };
    // SAFETY: SIOCSIFHWADDR reads one ifreq.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFHWADDR, &mut request) })
}

/// Has an interface take frames for a group (or no longer).
///
/// # Errors
/// It does not exist, its list is full, the group is not on it, or no CAP_NET_ADMIN.
pub fn set_interface_group(name: &str, group: [u8; 6], on: bool) -> io::Result<()> {
    let socket = control_socket()?;
    let mut request = request(name)?;
    let mut data = [0; 14];
    for (slot, byte) in data.iter_mut().zip(group) {
        *slot = byte as libc::c_char;
    }
    let family = libc::AF_UNSPEC as libc::sa_family_t;
    request.ifr_ifru.ifru_hwaddr = libc::sockaddr { sa_family: family, sa_data: data };
    let number = if on { libc::SIOCADDMULTI } else { libc::SIOCDELMULTI };
    // SAFETY: both read one ifreq.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), number, &mut request) })
}

/// Sets after how many received frames at most an interface tells of them (0: of each); all else about
/// it is left to the device.
///
/// # Errors
/// It does not exist, has no such setting, or no CAP_NET_ADMIN.
pub fn set_interface_coalesce(name: &str, frames: u32) -> io::Result<()> {
    let socket = control_socket()?;
    let mut request = request(name)?;
    // struct ethtool_coalesce: the command, microseconds, frames, and 20 more settings.
    let mut settings = [0u32; 23];
    settings[0] = ETHTOOL_SCOALESCE;
    settings[2] = frames;
    request.ifr_ifru.ifru_data = settings.as_mut_ptr().cast();
    // SAFETY: SIOCETHTOOL reads one ifreq and, for this command, the structure it points to, which is
    // ours and outlives the call.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &mut request) })
}

/// The version of KVM's interface that an open `/dev/kvm` speaks; 12 since 2007.
///
/// # Errors
/// The descriptor is no `/dev/kvm`.
pub fn kvm_api_version(kvm: BorrowedFd<'_>) -> io::Result<i32> {
    // SAFETY: KVM_GET_API_VERSION takes no argument; other devices refuse the number.
    let version = unsafe { libc::ioctl(kvm.as_raw_fd(), KVM_GET_API_VERSION, 0) };
    if version < 0 { Err(io::Error::last_os_error()) } else { Ok(version) }
}

/// A socket that interface ioctls go through; it belongs to this thread's network namespace.
fn control_socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}

fn request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: ifreq is integers and bytes; all zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero: the name's end.
    if name.len() >= request.ifr_name.len() || name.bytes().any(|b| b == 0 || b == b'/') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = byte as libc::c_char;
    }
    Ok(request)
}

fn name_of(request: &libc::ifreq) -> String {
    let bytes: Vec<u8> =
        request.ifr_name.iter().map(|&c| c as u8).take_while(|&b| b != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
