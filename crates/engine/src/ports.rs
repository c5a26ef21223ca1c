//! Ports that running guests listen on: no two get the same.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Ports in use by guests of this daemon.
#[derive(Debug, Default)]
pub struct Ports {
    taken: Mutex<BTreeSet<u16>>,
}

impl Ports {
    /// Takes the first port from `min` to `max` that neither a guest nor anybody else on this
    /// machine listens on.
    pub fn reserve(&self, listen: &str, min: u16, max: u16) -> Option<u16> {
        let mut taken = self.lock();
        let port = (min..=max).find(|port| !taken.contains(port) && is_free(listen, *port))?;
        taken.insert(port);
        Some(port)
    }

    /// Takes exactly this port; false if another guest has it.
    pub fn take(&self, port: u16) -> bool {
        self.lock().insert(port)
    }

    /// Gives a port back.
    pub fn release(&self, port: u16) {
        self.lock().remove(&port);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<u16>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// True if nobody listens there. An address that cannot be bound at all (it is not this
/// machine's) counts as free: QEMU's own error will name it.
pub(crate) fn is_free(listen: &str, port: u16) -> bool {
    let address = listen.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    match TcpListener::bind(SocketAddr::new(address, port)) {
        Ok(_) => true,
        Err(error) => error.kind() != std::io::ErrorKind::AddrInUse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_somebody_listens_on_is_passed_over_and_a_released_one_used_again() {
        let busy = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = busy.local_addr().expect("bound").port();
        let ports = Ports::default();
        assert_eq!(ports.reserve("127.0.0.1", port, port), None);
        drop(busy);
        assert_eq!(ports.reserve("127.0.0.1", port, port), Some(port));
        assert_eq!(ports.reserve("127.0.0.1", port, port), None);
        ports.release(port);
        assert_eq!(ports.reserve("127.0.0.1", port, port), Some(port));
    }
}
