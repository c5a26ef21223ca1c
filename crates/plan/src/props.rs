//! JSON objects that keep the order of their members, as QEMU's options are written.

use serde_json::{Map, Value};
use xml::{OnOff, YesNo};

/// A JSON object that keeps the order of its members.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Props(pub(crate) Map<String, Value>);

impl Props {
    /// Properties of a `-device`.
    pub(crate) fn device(driver: &str) -> Self {
        Self::default().set("driver", driver)
    }

    /// Properties of an `-object`.
    pub(crate) fn object(kind: &str, id: &str) -> Self {
        Self::default().set("qom-type", kind).set("id", id)
    }

    /// Adds a member.
    pub(crate) fn set(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.insert(key.to_string(), value.into());
        self
    }

    /// Adds a member if there is a value.
    pub(crate) fn opt<V: Into<Value>>(self, key: &str, value: Option<V>) -> Self {
        match value {
            Some(value) => self.set(key, value),
            None => self,
        }
    }

    /// Adds a switch (`true` or `false`) if it is given.
    pub(crate) fn on_off(self, key: &str, value: Option<impl Switch>) -> Self {
        self.opt(key, value.map(|value| value.on()))
    }

    /// Adds all members of another object.
    pub(crate) fn extend(mut self, other: Props) -> Self {
        self.0.extend(other.0);
        self
    }

    /// As a JSON value.
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }
}

impl From<Props> for Value {
    fn from(props: Props) -> Self {
        props.into_value()
    }
}

impl std::fmt::Display for Props {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match serde_json::to_string(&self.0) {
            Ok(text) => f.write_str(&text),
            Err(_) => Err(std::fmt::Error),
        }
    }
}

/// A two-valued XML word.
pub(crate) trait Switch: Copy {
    /// `yes` or `on`.
    fn on(self) -> bool;
    /// As QEMU's options spell it.
    fn word(self) -> &'static str {
        if self.on() { "on" } else { "off" }
    }
}

impl Switch for OnOff {
    fn on(self) -> bool {
        self == Self::On
    }
}

impl Switch for YesNo {
    fn on(self) -> bool {
        self == Self::Yes
    }
}
