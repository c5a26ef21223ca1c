//! What can go wrong: QEMU's own errors, and bytes that are no QMP.

/// An error that QEMU (or the guest agent) answered to one command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{desc}")]
pub struct QmpError {
    /// The error class, for example `GenericError`, `CommandNotFound`, `DeviceNotFound`.
    pub class: String,
    /// QEMU's sentence for a human.
    pub desc: String,
    /// The command that it was said to; empty where that is not known.
    pub command: String,
}

impl QmpError {
    /// Whether QEMU does not know the command at all (an older version, or a build without it).
    pub fn is_command_not_found(&self) -> bool {
        self.class == "CommandNotFound"
    }

    /// Whether the named device does not exist.
    pub fn is_device_not_found(&self) -> bool {
        self.class == "DeviceNotFound"
    }
}

/// The peer sent something that is no QMP; the connection is of no further use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// A line grew beyond the limit without an end.
    #[error("monitor line longer than {limit} bytes")]
    LineTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// A line is not JSON (or is nested deeper than the parser allows).
    #[error("monitor sent malformed JSON: {detail} in '{excerpt}'")]
    Json {
        /// What the JSON parser said.
        detail: String,
        /// The start of the line.
        excerpt: String,
    },
    /// A line is JSON, but neither greeting, reply nor event.
    #[error("monitor sent an unknown message '{excerpt}'")]
    Unknown {
        /// The start of the line.
        excerpt: String,
    },
    /// A reply has another shape than the command's documented one.
    #[error("unexpected reply to {command}: {detail}")]
    Reply {
        /// The command that was answered.
        command: String,
        /// What does not fit.
        detail: String,
    },
}

/// The first bytes of a line, printable, for an error message.
pub(crate) fn excerpt(line: &[u8]) -> String {
    const LIMIT: usize = 120;
    let cut = line.get(..LIMIT).unwrap_or(line);
    let mut text: String = String::from_utf8_lossy(cut)
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if line.len() > LIMIT {
        text.push('…');
    }
    text
}
