//! A little D-Bus: calls whose arguments are texts, their answers with descriptors, and signals. The
//! wire format is that of the D-Bus Specification 0.43; messages are bounded and never trusted.

use crate::scm;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// The longest message that is read; those of interest have some hundred bytes.
const MESSAGE_MAX: usize = 1 << 20;

/// The longest line of the conversation that a connection begins with.
const LINE_MAX: usize = 512;

/// Bytes before the header's fields: order, kind, flags, version, body, serial, length of fields.
const FIXED: usize = 16;

const CALL: u8 = 1;
const ANSWER: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// A message as far as it is of interest.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Message {
    kind: u8,
    big_endian: bool,
    interface: String,
    member: String,
    error: String,
    answers: Option<u32>,
    signature: String,
    body: Vec<u8>,
}

impl Message {
    /// Whether it is this signal.
    pub fn is_signal(&self, interface: &str, member: &str) -> bool {
        self.kind == SIGNAL && self.interface == interface && self.member == member
    }

    /// Its first argument, where that is a yes or no.
    pub fn yes(&self) -> Option<bool> {
        let value = self.body.first_chunk().filter(|_| self.signature.starts_with('b'))?;
        Some(word(*value, self.big_endian) != 0)
    }

    /// Its first argument, where that is a text.
    fn text(&self) -> Option<String> {
        let mut fields = Fields { bytes: &self.body, at: 0, big_endian: self.big_endian };
        self.signature.starts_with('s').then(|| fields.text()).flatten()
    }
}

/// Any bytes, no panic.
pub fn fuzz_one(data: &[u8]) {
    if let Some(length) = data.first_chunk().and_then(|head| length(head).ok()) {
        let message = parse(data.get(..length).unwrap_or(data));
        let _ = message.map(|message| (message.yes(), message.text()));
    }
}

fn word(bytes: [u8; 4], big_endian: bool) -> u32 {
    if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("D-Bus: {what}"))
}

fn is_big_endian(order: u8) -> io::Result<bool> {
    match order {
        b'l' => Ok(false),
        b'B' => Ok(true),
        _ => Err(broken("a message of no byte order")),
    }
}

/// How long the message is that begins so.
fn length(head: &[u8; FIXED]) -> io::Result<usize> {
    let big_endian = is_big_endian(head[0])?;
    let number = |at: usize| {
        let bytes = head.get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| usize::try_from(word(*bytes, big_endian)).unwrap_or(usize::MAX))
    };
    let (body, fields) = (number(4), number(12));
    if body > MESSAGE_MAX || fields > MESSAGE_MAX {
        return Err(broken("a message that is too long"));
    }
    Ok((FIXED + fields).next_multiple_of(8) + body)
}

/// Values one after the other.
struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u32> {
        self.at = self.at.next_multiple_of(4);
        Some(word(*self.take(4)?.first_chunk()?, self.big_endian))
    }

    fn text(&mut self) -> Option<String> {
        let length = usize::try_from(self.number()?).ok()?;
        self.words(length)
    }

    fn signature(&mut self) -> Option<String> {
        let length = usize::from(self.byte()?);
        self.words(length)
    }

    fn words(&mut self, length: usize) -> Option<String> {
        let words = String::from_utf8(self.take(length)?.to_vec()).ok()?;
        self.take(1)?;
        Some(words)
    }
}

/// Reads a whole message.
fn parse(bytes: &[u8]) -> io::Result<Message> {
    let head = bytes.first_chunk().ok_or_else(|| broken("a short message"))?;
    let whole = length(head)?;
    let big_endian = is_big_endian(head[0])?;
    let fields_end = FIXED
        + usize::try_from(word([head[12], head[13], head[14], head[15]], big_endian)).unwrap_or(0);
    let fields = bytes.get(..fields_end).ok_or_else(|| broken("a header that is cut short"))?;
    let body = bytes.get(fields_end.next_multiple_of(8)..whole);
    let body = body.ok_or_else(|| broken("a body that is cut short"))?.to_vec();
    let mut message = Message { kind: head[1], big_endian, body, ..Message::default() };
    let mut fields = Fields { bytes: fields, at: FIXED, big_endian };
    while fields.at < fields_end {
        fields.at = fields.at.next_multiple_of(8);
        // What comes behind one of an unknown type is of no interest either.
        let Some(()) = field(&mut fields, &mut message) else { break };
    }
    Ok(message)
}

/// A field of the header: its number and a variant.
fn field(fields: &mut Fields<'_>, message: &mut Message) -> Option<()> {
    let code = fields.byte()?;
    let kind = fields.signature()?;
    match (code, kind.as_str()) {
        (5, "u") => message.answers = Some(fields.number()?),
        (8, "g") => message.signature = fields.signature()?,
        (_, "u") => drop(fields.number()?),
        (_, "g") => drop(fields.signature()?),
        (code, "s" | "o") => {
            let text = fields.text()?;
            match code {
                2 => message.interface = text,
                3 => message.member = text,
                4 => message.error = text,
                _ => {}
            }
        }
        _ => return None,
    }
    Some(())
}

/// A call: whom, which object, what.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The bus name of who is called.
    pub to: &'a str,
    /// The object.
    pub path: &'a str,
    /// The interface.
    pub interface: &'a str,
    /// The method.
    pub member: &'a str,
    /// Its arguments, all texts.
    pub args: &'a [&'a str],
}

impl Call<'_> {
    fn bytes(&self, serial: u32) -> Vec<u8> {
        let text = |out: &mut Vec<u8>, text: &str| {
            out.resize(out.len().next_multiple_of(4), 0);
            out.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend(text.as_bytes());
            out.push(0);
        };
        let mut body = Vec::new();
        self.args.iter().for_each(|arg| text(&mut body, arg));
        // The header's fields are counted from a multiple of 8, as in the message.
        let mut fields = Vec::new();
        let parts = [
            (1, "o", self.path),
            (2, "s", self.interface),
            (3, "s", self.member),
            (6, "s", self.to),
        ];
        for (code, kind, value) in parts {
            fields.resize(fields.len().next_multiple_of(8), 0);
            fields.extend([code, 1, kind.as_bytes()[0], 0]);
            text(&mut fields, value);
        }
        if !self.args.is_empty() {
            fields.resize(fields.len().next_multiple_of(8), 0);
            let signature = "s".repeat(self.args.len());
            fields.extend([8, 1, b'g', 0, u8::try_from(signature.len()).unwrap_or(u8::MAX)]);
            fields.extend(signature.as_bytes());
            fields.push(0);
        }
        let count = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes();
        let mut out = vec![b'l', CALL, 0, 1];
        out.extend(count(&body));
        out.extend(serial.to_le_bytes());
        out.extend(count(&fields));
        out.extend(&fields);
        out.resize(out.len().next_multiple_of(8), 0);
        out.extend(&body);
        out
    }
}

/// A connection to a message bus. Its calls block.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    serial: u32,
    /// Received and not yet taken.
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Bus {
    /// Connects to the bus that listens at `path`, as the user that runs this process; `patience`:
    /// how long each answer may take.
    ///
    /// # Errors
    /// Nobody listens there, or the bus does not take us.
    pub fn connect(path: &Path, patience: Duration) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        let mut bus = Self { stream, serial: 0, bytes: Vec::new(), fds: Vec::new() };
        let uid = rustix::process::geteuid().as_raw().to_string();
        let uid: String = uid.bytes().map(|digit| format!("{digit:02x}")).collect();
        bus.stream.write_all(format!("\0AUTH EXTERNAL {uid}\r\n").as_bytes())?;
        bus.expect("OK ")?;
        bus.stream.write_all(b"NEGOTIATE_UNIX_FD\r\n")?;
        bus.expect("AGREE_UNIX_FD")?;
        bus.stream.write_all(b"BEGIN\r\n")?;
        bus.call(&own("Hello", &[]))?;
        Ok(bus)
    }

    fn expect(&mut self, beginning: &str) -> io::Result<()> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            line.extend(byte);
            if line.len() > LINE_MAX {
                return Err(broken("a line without an end"));
            }
        }
        let line = String::from_utf8_lossy(&line);
        if !line.starts_with(beginning) {
            return Err(broken(&format!("refused: {}", line.trim())));
        }
        Ok(())
    }

    /// Has the bus send signals of an interface's member, which `receive` then returns.
    ///
    /// # Errors
    /// As [`Bus::call`].
    pub fn subscribe(&mut self, interface: &str, member: &str) -> io::Result<()> {
        let rule = format!("type='signal',interface='{interface}',member='{member}'");
        self.call(&own("AddMatch", &[&rule])).map(drop)
    }

    /// Lets [`Bus::receive`] wait without an end.
    ///
    /// # Errors
    /// Those of the system.
    pub fn wait_for_ever(&self) -> io::Result<()> {
        self.stream.set_read_timeout(None)
    }

    /// Calls and waits for the answer; the descriptors that came with it. Messages between are lost.
    ///
    /// # Errors
    /// The connection broke, no answer came in time, or the answer is an error.
    pub fn call(&mut self, call: &Call<'_>) -> io::Result<Vec<OwnedFd>> {
        self.serial += 1;
        self.stream.write_all(&call.bytes(self.serial))?;
        loop {
            let message = self.receive()?;
            let fds = std::mem::take(&mut self.fds);
            match message.kind {
                ANSWER if message.answers == Some(self.serial) => return Ok(fds),
                ERROR if message.answers == Some(self.serial) => {
                    let why = message.text().unwrap_or_default();
                    return Err(io::Error::other(format!("{}: {why}", message.error)));
                }
                _ => {}
            }
        }
    }

    /// The next message.
    ///
    /// # Errors
    /// The connection broke or ended.
    pub fn receive(&mut self) -> io::Result<Message> {
        loop {
            if let Some(head) = self.bytes.first_chunk() {
                let length = length(head)?;
                if self.bytes.len() >= length {
                    let rest = self.bytes.split_off(length);
                    return parse(&std::mem::replace(&mut self.bytes, rest));
                }
            }
            let mut buffer = [0; 4096];
            let (count, fds) = match scm::receive(&self.stream, &mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                received => received?,
            };
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.bytes.extend(buffer.iter().take(count));
            self.fds.extend(fds);
        }
    }
}

/// A call to the bus itself.
fn own<'a>(member: &'a str, args: &'a [&'a str]) -> Call<'a> {
    let name = "org.freedesktop.DBus";
    Call { to: name, path: "/org/freedesktop/DBus", interface: name, member, args }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_read_back() {
        let call = Call {
            to: "org.example",
            path: "/org/example",
            interface: "org.example.Thing",
            member: "Do",
            args: &["one", ""],
        };
        let bytes = call.bytes(7);
        assert_eq!(length(bytes.first_chunk().unwrap()).unwrap(), bytes.len());
        let message = parse(&bytes).unwrap();
        assert_eq!((message.kind, message.signature.as_str()), (CALL, "ss"));
        assert_eq!(
            (message.interface.as_str(), message.member.as_str()),
            ("org.example.Thing", "Do")
        );
        assert_eq!(message.text().as_deref(), Some("one"));
        for end in 0..bytes.len() {
            assert!(parse(&bytes[..end]).is_err(), "{end}");
        }
    }

    #[test]
    fn signals_of_either_byte_order_say_yes_or_no() {
        for (order, yes) in [(b'l', [1, 0, 0, 0]), (b'B', [0, 0, 0, 1])] {
            let number = |n: u32| if order == b'l' { n.to_le_bytes() } else { n.to_be_bytes() };
            let mut fields = vec![2, 1, b's', 0];
            fields.extend(number(5));
            fields.extend(b"a.b.c\0\0\0");
            fields.extend([3, 1, b's', 0]);
            fields.extend(number(2));
            fields.extend(b"Go\0\0\0\0\0\0");
            fields.extend([8, 1, b'g', 0, 1, b'b', 0]);
            let mut bytes = vec![order, SIGNAL, 0, 1];
            bytes.extend([number(4), number(9)].concat());
            bytes.extend(number(u32::try_from(fields.len()).unwrap()));
            bytes.extend(fields);
            bytes.resize(bytes.len().next_multiple_of(8), 0);
            bytes.extend(yes);
            let message = parse(&bytes).unwrap();
            assert!(message.is_signal("a.b.c", "Go") && !message.is_signal("a.b.c", "Stop"));
            assert_eq!(message.yes(), Some(true));
        }
    }

    #[test]
    fn hostile_lengths_are_refused() {
        let mut head = [0; FIXED];
        assert!(length(&head).is_err());
        head[0] = b'l';
        head[4..8].fill(0xff);
        assert!(length(&head).is_err());
    }
}
