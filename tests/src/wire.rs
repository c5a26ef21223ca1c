//! libvirt's RPC frames by hand, independent of our own codec: to send what no client would.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Number of libvirt's remote program.
pub const REMOTE_PROGRAM: u32 = 0x2000_8086;

/// Procedures used by tests, with their numbers in the remote program.
pub mod procedure {
    /// Opens a connection to a driver.
    pub const CONNECT_OPEN: u32 = 1;
    /// The driver's type as text.
    pub const CONNECT_GET_TYPE: u32 = 3;
    /// The domain with a name.
    pub const DOMAIN_LOOKUP_BY_NAME: u32 = 23;
    /// Starts a domain with the host, or no longer.
    pub const DOMAIN_SET_AUTOSTART: u32 = 29;
    /// Stops a domain's virtual CPUs.
    pub const DOMAIN_SUSPEND: u32 = 34;
    /// For whom the client acts.
    pub const CONNECT_SET_IDENTITY: u32 = 419;
    /// The list of authentication methods.
    pub const AUTH_LIST: u32 = 66;
}

/// A frame as it goes over the wire: length, header, body.
pub fn frame(program: u32, procedure: u32, kind: u32, serial: u32, body: &[u8]) -> Vec<u8> {
    let length = 28 + body.len() as u32;
    let words = [length, program, 1, procedure, kind, serial, 0];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    bytes.extend_from_slice(body);
    bytes
}

/// A call of the remote program.
pub fn call(procedure: u32, serial: u32, body: &[u8]) -> Vec<u8> {
    frame(REMOTE_PROGRAM, procedure, 0, serial, body)
}

/// The body of an open call for `qemu:///system` (or session), flags 0.
pub fn open_body(session: bool) -> Vec<u8> {
    let name: &[u8] = if session { b"qemu:///session" } else { b"qemu:///system" };
    // optional string: present, length, bytes padded to 4; then the flags
    let mut body = vec![0, 0, 0, 1];
    body.extend_from_slice(&(name.len() as u32).to_be_bytes());
    body.extend_from_slice(name);
    body.resize(body.len().next_multiple_of(4), 0);
    body.extend_from_slice(&[0; 4]);
    body
}

/// A string of a body: length, bytes, padding.
pub fn string(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A raw connection; reads give up after ten seconds.
pub fn connect(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).expect("the daemon's socket accepts");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket option");
    stream.set_write_timeout(Some(Duration::from_secs(10))).expect("a socket option");
    stream
}

/// Reads one frame without its length word; `None` at the end of the stream or after ten seconds.
pub fn read_frame(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let length = u32::from_be_bytes(length) as usize;
    assert!((28..=33_554_432).contains(&length), "the daemon sent a frame of {length} bytes");
    let mut rest = vec![0; length - 4];
    stream.read_exact(&mut rest).ok()?;
    Some(rest)
}

/// Sends a call and reads its answer: (status word, body).
pub fn ask(stream: &mut UnixStream, procedure: u32, serial: u32, body: &[u8]) -> (u32, Vec<u8>) {
    stream.write_all(&call(procedure, serial, body)).expect("the call is taken");
    let answer = read_frame(stream).expect("the call is answered");
    let status = u32::from_be_bytes(answer[20..24].try_into().expect("four bytes"));
    (status, answer[24..].to_vec())
}

/// A connection that is past authentication and open.
pub fn open(socket: &Path, session: bool) -> UnixStream {
    let mut stream = connect(socket);
    assert_eq!(ask(&mut stream, procedure::AUTH_LIST, 1, &[]).0, 0, "the list of methods");
    let open = open_body(session);
    assert_eq!(ask(&mut stream, procedure::CONNECT_OPEN, 2, &open).0, 0, "the open call");
    stream
}
