//! One line from QEMU: greeting, reply or event.

use serde_json::{Map, Value};

use crate::error::excerpt;
use crate::{CommandId, Event, ProtocolError, QmpError};

/// A QEMU version as its greeting and `query-version` give it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct QemuVersion {
    /// First number, 10 in 10.0.2.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub micro: u32,
    /// The distribution's package, for example `Debian 1:10.0.2+ds-2+deb13u1`; may be empty.
    pub package: String,
}

impl QemuVersion {
    /// libvirt's single number: `major * 1_000_000 + minor * 1_000 + micro`.
    pub fn as_number(&self) -> u64 {
        u64::from(self.major) * 1_000_000 + u64::from(self.minor) * 1_000 + u64::from(self.micro)
    }

    /// From the object `{"qemu":{"major":…,"minor":…,"micro":…},"package":"…"}`.
    pub fn from_value(value: &Value) -> Option<Self> {
        let qemu = value.get("qemu")?;
        let part = |name| qemu.get(name)?.as_u64().and_then(|n| u32::try_from(n).ok());
        Some(Self {
            major: part("major")?,
            minor: part("minor")?,
            micro: part("micro")?,
            package: value.get("package").and_then(Value::as_str).unwrap_or_default().to_owned(),
        })
    }
}

/// QEMU's first line on a new connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The version of QEMU.
    pub version: QemuVersion,
    /// Whether out-of-band commands may be negotiated.
    pub oob: bool,
}

/// One parsed line.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// The first line of a connection.
    Greeting(Greeting),
    /// The answer to a command. QEMU answers without id when it could not read the command.
    Reply {
        /// The id we gave the command.
        id: Option<CommandId>,
        /// What the command returned.
        result: Result<Value, QmpError>,
    },
    /// Something happened in the guest or in QEMU.
    Event(Event),
}

impl Message {
    /// Parses one line.
    ///
    /// # Errors
    /// The line is not JSON, or no message of QMP. Never panics, whatever the bytes; nesting is
    /// bounded by the JSON parser (128 levels).
    pub fn parse(line: &[u8]) -> Result<Self, ProtocolError> {
        let value: Value = serde_json::from_slice(line)
            .map_err(|e| ProtocolError::Json { detail: e.to_string(), excerpt: excerpt(line) })?;
        let unknown = || ProtocolError::Unknown { excerpt: excerpt(line) };
        let Value::Object(mut object) = value else { return Err(unknown()) };
        if let Some(result) = reply(&mut object) {
            // What we could not have given is nonsense, and what it answers is not known.
            let id = match object.get("id") {
                Some(id) => Some(CommandId::from_value(id).ok_or_else(unknown)?),
                None => None,
            };
            return Ok(Self::Reply { id, result });
        }
        if object.contains_key("event") {
            return Event::from_object(object).map(Self::Event).ok_or_else(unknown);
        }
        let greeting = object.get("QMP").and_then(greeting).ok_or_else(unknown)?;
        Ok(Self::Greeting(greeting))
    }
}

/// The `return` or `error` member, taken out of the object.
pub(crate) fn reply(object: &mut Map<String, Value>) -> Option<Result<Value, QmpError>> {
    if let Some(value) = object.get_mut("return") {
        return Some(Ok(value.take()));
    }
    let error = object.get("error")?;
    let text = |name| error.get(name).and_then(Value::as_str);
    Some(Err(QmpError {
        class: text("class").unwrap_or("GenericError").to_owned(),
        desc: text("desc").unwrap_or("QEMU gave no description of the error").to_owned(),
        command: String::new(),
    }))
}

fn greeting(value: &Value) -> Option<Greeting> {
    let version = QemuVersion::from_value(value.get("version")?)?;
    let oob = value
        .get("capabilities")
        .and_then(Value::as_array)
        .is_some_and(|list| list.iter().any(|c| c == "oob"));
    Some(Greeting { version, oob })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let greeting = br#"{"QMP": {"version": {"qemu": {"micro": 2, "minor": 0, "major": 10}, "package": "Debian 1"}, "capabilities": ["oob"]}}"#;
        let Ok(Message::Greeting(g)) = Message::parse(greeting) else { panic!("no greeting") };
        assert_eq!(
            (g.version.as_number(), g.version.package.as_str(), g.oob),
            (10_000_002, "Debian 1", true)
        );

        let reply = Message::parse(br#"{"id": 7, "return": {}}"#).unwrap();
        assert_eq!(
            reply,
            Message::Reply { id: Some(CommandId(7)), result: Ok(serde_json::json!({})) }
        );

        let error =
            Message::parse(br#"{"error": {"class": "GenericError", "desc": "no"}}"#).unwrap();
        let expected =
            QmpError { class: "GenericError".into(), desc: "no".into(), command: String::new() };
        assert_eq!(error, Message::Reply { id: None, result: Err(expected) });
    }

    #[test]
    fn no_messages() {
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        for line in
            ["", "[]", "{", "{}", "null", "{\"QMP\":{}}", "{\"event\":1}", "\u{0}", deep.as_str()]
        {
            assert!(Message::parse(line.as_bytes()).is_err(), "{line:.20}");
        }
    }
}
