//! Being a service: telling the service manager we are ready, and taking over its sockets.
//!
//! The variables `NOTIFY_SOCKET`, `LISTEN_FDS` and `LISTEN_PID` are read by the program, not here.

use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sends a state (`READY=1`, `STOPPING=1`, `STATUS=…`) to the service manager's socket, the value
/// of `NOTIFY_SOCKET`: a path, or `@` and an abstract name.
///
/// # Errors
/// The socket refuses, or the value is neither.
pub fn notify(socket: &str, state: &str) -> io::Result<()> {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None if socket.starts_with('/') => SocketAddr::from_pathname(socket)?,
        None => return Err(io::ErrorKind::InvalidInput.into()),
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

/// Takes the sockets that a service manager passed, given the values of `LISTEN_PID` and
/// `LISTEN_FDS`; none when they are meant for another process. To be called once, first thing.
///
/// # Errors
/// One of them is not open.
pub fn take_listen_fds(listen_pid: &str, listen_fds: &str) -> io::Result<Vec<OwnedFd>> {
    if listen_pid.parse() != Ok(std::process::id()) {
        return Ok(Vec::new());
    }
    let count: u32 =
        listen_fds.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    host_sys::take_inherited(3, count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_arrive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let server = UnixDatagram::bind(&path).unwrap();
        notify(path.to_str().unwrap(), "READY=1").unwrap();
        let mut buffer = [0; 32];
        let length = server.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"READY=1");
        let name = format!("host-notify-{}", std::process::id());
        let server =
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        notify(&format!("@{name}"), "STOPPING=1").unwrap();
        assert_eq!(server.recv(&mut buffer).unwrap(), 10);
        assert!(notify("relative", "x").is_err());
        assert!(take_listen_fds("1", "3").unwrap().is_empty());
    }
}
