//! A little D-Bus: calls, their answers with descriptors, and signals. The wire format is that of
//! the D-Bus Specification 0.43; messages are bounded and never trusted.

mod message;

pub use message::{Call, Message, Value, fuzz_one};

use crate::scm;
use message::{ANSWER, ERROR, broken, length, parse};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// The longest line of the conversation that a connection begins with.
const LINE_MAX: usize = 512;

/// Why a call was not answered.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// The bus is not there, the connection broke, or no answer came in time (`TimedOut`).
    #[error(transparent)]
    Lost(#[from] io::Error),
    /// The answer is an error.
    #[error("{name}: {text}")]
    Refused {
        /// Its name, for programs.
        name: String,
        /// Its text, for people.
        text: String,
    },
}

impl From<BusError> for io::Error {
    fn from(error: BusError) -> Self {
        match error {
            BusError::Lost(error) => error,
            refused @ BusError::Refused { .. } => Self::other(refused.to_string()),
        }
    }
}

/// The answer to a call.
#[derive(Debug)]
pub struct Answer {
    /// What it says.
    pub message: Message,
    /// The descriptors that came with it.
    pub fds: Vec<OwnedFd>,
}

/// A connection to a message bus. Its calls block.
#[derive(Debug)]
pub struct Bus {
    stream: UnixStream,
    /// When all answers have to be there; `None`: whenever.
    until: Option<Instant>,
    serial: u32,
    /// Received and not yet taken.
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Bus {
    /// Connects to the bus that listens at `path`, as the user that runs this process; by `until`
    /// the answers to this and to all calls have to be there.
    ///
    /// # Errors
    /// Nobody listens there, or the bus does not take us.
    pub fn connect(path: &Path, until: Instant) -> Result<Self, BusError> {
        let stream = connected(path, until)?;
        let until = Some(until);
        let mut bus = Self { stream, until, serial: 0, bytes: Vec::new(), fds: Vec::new() };
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

    /// Gives the next wait what is left of the time.
    fn watch_time(&self) -> io::Result<()> {
        let left = self.until.map(time_left).transpose()?;
        self.stream.set_read_timeout(left)
    }

    fn expect(&mut self, beginning: &str) -> io::Result<()> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.watch_time()?;
            self.stream.read_exact(&mut byte).map_err(in_time)?;
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
    pub fn subscribe(&mut self, interface: &str, member: &str) -> Result<(), BusError> {
        let rule = format!("type='signal',interface='{interface}',member='{member}'");
        self.call(&own("AddMatch", &[Value::Text(&rule)])).map(drop)
    }

    /// The names of services that the bus can start.
    ///
    /// # Errors
    /// As [`Bus::call`].
    pub fn activatable(&mut self) -> Result<Vec<String>, BusError> {
        let answer = self.call(&own("ListActivatableNames", &[]))?;
        answer.message.texts().ok_or_else(|| broken("an answer that is no list").into())
    }

    /// Lets [`Bus::receive`] wait without an end.
    pub fn wait_for_ever(&mut self) {
        self.until = None;
    }

    /// Calls and waits for the answer. Messages between are lost.
    ///
    /// # Errors
    /// The connection broke, no answer came in time, or the answer is an error.
    pub fn call(&mut self, call: &Call<'_>) -> Result<Answer, BusError> {
        self.serial += 1;
        self.stream.write_all(&call.bytes(self.serial)).map_err(in_time)?;
        loop {
            let message = self.receive()?;
            let fds = std::mem::take(&mut self.fds);
            match message.kind {
                ANSWER if message.answers == Some(self.serial) => {
                    return Ok(Answer { message, fds });
                }
                ERROR if message.answers == Some(self.serial) => {
                    let text = message.text().unwrap_or_default();
                    return Err(BusError::Refused { name: message.error, text });
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
            self.watch_time()?;
            let (count, fds) = match scm::receive(&self.stream, &mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                received => received.map_err(in_time)?,
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
fn own<'a>(member: &'a str, args: &'a [Value<'a>]) -> Call<'a> {
    let name = "org.freedesktop.DBus";
    Call { to: name, path: "/org/freedesktop/DBus", interface: name, member, args }
}

/// A connection; one to whom nobody listens any more, with more of them than wait for him already,
/// is not waited for either.
fn connected(path: &Path, until: Instant) -> io::Result<UnixStream> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // It counts for connecting, too (unix(7)).
    let left = Some(time_left(until)?);
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, left)?;
    let address = SocketAddrUnix::new(path)?;
    rustix::net::connect(&socket, &address).map_err(|error| in_time(error.into()))?;
    Ok(socket.into())
}

fn time_left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// The kernel says of what took too long that it would block.
fn in_time(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}
