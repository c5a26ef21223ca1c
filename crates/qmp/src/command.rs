//! Commands: a name, arguments, and the type of the answer.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::ProtocolError;

/// The id by which a reply finds its command. A short number, because QEMU reads commands byte by
/// byte (about 3 µs each).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandId(pub u64);

impl CommandId {
    /// Reads the `id` member of a reply.
    pub fn from_value(value: &Value) -> Option<Self> {
        value.as_u64().map(Self)
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The answer of a command that returns nothing of use; accepts any value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ack;

impl<'de> Deserialize<'de> for Ack {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// A command for QEMU's monitor or the guest agent, whose answer has the type `R`.
pub struct Command<R = Value> {
    name: String,
    arguments: Option<Map<String, Value>>,
    oob: bool,
    reply: PhantomData<fn() -> R>,
}

impl<R> Clone for Command<R> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            arguments: self.arguments.clone(),
            oob: self.oob,
            reply: PhantomData,
        }
    }
}

impl<R> fmt::Debug for Command<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only the name: arguments may hold passwords, and Debug output ends in logs.
        f.debug_struct("Command").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<R> Command<R> {
    /// A command without arguments.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), arguments: None, oob: false, reply: PhantomData }
    }

    /// Adds one argument.
    #[must_use]
    pub fn arg(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.arguments.get_or_insert_default().insert(name.to_owned(), value.into());
        self
    }

    /// Adds one argument if there is a value.
    #[must_use]
    pub fn arg_opt(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.arg(name, value),
            None => self,
        }
    }

    /// Adds all members of a map as arguments.
    #[must_use]
    pub fn args(mut self, arguments: Map<String, Value>) -> Self {
        if !arguments.is_empty() {
            self.arguments.get_or_insert_default().extend(arguments);
        }
        self
    }

    /// Asks for out-of-band execution (`exec-oob`), which needs the capability negotiated.
    #[must_use]
    pub fn out_of_band(mut self) -> Self {
        self.oob = true;
        self
    }

    /// The command with another type of answer.
    pub fn with_reply<S>(self) -> Command<S> {
        Command { name: self.name, arguments: self.arguments, oob: self.oob, reply: PhantomData }
    }

    /// The command's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The command as bytes: compact JSON and a line end. The guest agent knows no ids.
    pub fn encode(&self, id: Option<CommandId>) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(if self.oob { b"{\"exec-oob\":" } else { b"{\"execute\":" });
        push_json(&mut out, &Value::from(self.name.as_str()));
        if let Some(arguments) = &self.arguments {
            out.extend_from_slice(b",\"arguments\":");
            // Writing a map of plain values into memory cannot fail.
            let _ = serde_json::to_writer(&mut out, arguments);
        }
        if let Some(id) = id {
            out.extend_from_slice(b",\"id\":");
            out.extend_from_slice(id.0.to_string().as_bytes());
        }
        out.extend_from_slice(b"}\n");
        out
    }
}

fn push_json(out: &mut Vec<u8>, value: &Value) {
    // As above: no I/O, no non-string keys, so no error.
    let _ = serde_json::to_writer(out, value);
}

impl<R: DeserializeOwned> Command<R> {
    /// Turns the value that QEMU returned into the command's answer.
    ///
    /// # Errors
    /// [`ProtocolError::Reply`] when it has another shape than documented.
    pub fn decode(&self, value: Value) -> Result<R, ProtocolError> {
        decode(&self.name, value)
    }
}

/// [`Command::decode`] for callers that kept only the command's name.
///
/// # Errors
/// [`ProtocolError::Reply`] when the value has another shape than documented.
pub fn decode<R: DeserializeOwned>(command: &str, value: Value) -> Result<R, ProtocolError> {
    serde_json::from_value(value)
        .map_err(|e| ProtocolError::Reply { command: command.to_owned(), detail: e.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn encoding_is_compact() {
        let check = |command: Command, id, expected: &str| {
            assert_eq!(String::from_utf8(command.encode(id)).unwrap(), expected);
        };
        check(Command::new("cont"), Some(CommandId(3)), "{\"execute\":\"cont\",\"id\":3}\n");
        check(Command::new("stop"), None, "{\"execute\":\"stop\"}\n");
        check(
            Command::new("qom-get").arg("path", "/machine").arg_opt("x", None::<bool>),
            Some(CommandId(12)),
            "{\"execute\":\"qom-get\",\"arguments\":{\"path\":\"/machine\"},\"id\":12}\n",
        );
        check(
            Command::new("a\"b\n").arg("v", json!([1, {"k": null}])).out_of_band(),
            None,
            "{\"exec-oob\":\"a\\\"b\\n\",\"arguments\":{\"v\":[1,{\"k\":null}]}}\n",
        );
    }

    #[test]
    fn debug_hides_arguments() {
        let command: Command = Command::new("set_password").arg("password", "geheim");
        assert!(!format!("{command:?}").contains("geheim"));
    }
}
