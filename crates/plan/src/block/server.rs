//! Servers of network images.

use crate::props::Props;
use model::domain::devices::disk::{NetworkHost, NetworkTransport};
use serde_json::Value;

/// The port a protocol listens on where the XML names none; 0 leaves it to the library.
pub(super) fn default_port(protocol: &str) -> u32 {
    match protocol {
        "nbd" => 10809,
        "http" => 80,
        "https" => 443,
        "ftp" => 21,
        "ftps" => 990,
        "tftp" => 69,
        "iscsi" => 3260,
        "gluster" => 24007,
        "ssh" => 22,
        "sheepdog" => 7000,
        "nfs" => 2049,
        "vxhs" => 9999,
        _ => 0,
    }
}

/// The port of a server.
pub(super) fn port(host: &NetworkHost, protocol: &str) -> String {
    match &host.port {
        Some(port) => port.clone(),
        // Only of TCP the usual port is known.
        None if host.transport == Some(NetworkTransport::Rdma) => "0".to_string(),
        None => default_port(protocol).to_string(),
    }
}

/// A server as QEMU's `SocketAddress`.
pub(super) fn socket_address(host: &NetworkHost, protocol: &str) -> Value {
    if host.transport == Some(NetworkTransport::Unix) {
        let path = host.socket.clone().unwrap_or_default();
        return Props::default().set("type", "unix").set("path", path).into();
    }
    Props::default().set("type", "inet").extend(inet(host, protocol)).into()
}

/// A server as host and port.
pub(super) fn inet(host: &NetworkHost, protocol: &str) -> Props {
    Props::default()
        .set("host", host.name.clone().unwrap_or_default())
        .set("port", port(host, protocol))
}

/// A name as it stands in a URI: an IPv6 address in brackets.
pub(super) fn uri_host(name: &str) -> String {
    if name.contains(':') { format!("[{name}]") } else { name.to_string() }
}
