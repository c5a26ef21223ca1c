//! QEMU's migration parameters that are set for a migration and put back after it.
//!
//! They are asked for (`query-migrate-parameters`) before a migration changes them, kept in the
//! guest's private file, and set again (`migrate-set-parameters`) afterwards.

use crate::props::Props;
use serde_json::Value;

/// A parameter's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamValue {
    /// A number.
    Number(u64),
    /// A switch.
    Bool(bool),
    /// A text.
    Text(String),
}

impl std::fmt::Display for ParamValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Bool(true) => f.write_str("yes"),
            Self::Bool(false) => f.write_str("no"),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// What a parameter holds.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Number,
    Bool,
    Text,
}

use Kind::{Bool, Number, Text};

/// The parameters that migrations set, in the order in which they are kept. Those that QEMU has
/// beyond these are nobody's to change here.
const KNOWN: &[(&str, Kind)] = &[
    ("cpu-throttle-initial", Number),
    ("cpu-throttle-increment", Number),
    ("tls-creds", Text),
    ("tls-hostname", Text),
    ("max-bandwidth", Number),
    ("downtime-limit", Number),
    ("block-incremental", Bool),
    ("xbzrle-cache-size", Number),
    ("max-postcopy-bandwidth", Number),
    ("multifd-channels", Number),
    ("multifd-compression", Text),
    ("multifd-zlib-level", Number),
    ("multifd-zstd-level", Number),
    ("avail-switchover-bandwidth", Number),
    ("multifd-qatzip-level", Number),
    ("direct-io", Bool),
];

/// Values of some parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(Vec<(&'static str, ParamValue)>);

impl Params {
    /// From the reply of `query-migrate-parameters`: what is known of it.
    pub fn from_reply(reply: &Value) -> Self {
        let known = KNOWN.iter().filter_map(|(name, kind)| {
            let value = reply.get(*name)?;
            let value = match kind {
                Number => ParamValue::Number(value.as_u64()?),
                Bool => ParamValue::Bool(value.as_bool()?),
                Text => ParamValue::Text(value.as_str()?.to_string()),
            };
            Some((*name, value))
        });
        Self(known.collect())
    }

    /// Names and values, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &ParamValue)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// Arguments of `migrate-set-parameters`.
    pub fn arguments(&self) -> Props {
        self.0.iter().fold(Props::default(), |props, (name, value)| match value {
            ParamValue::Number(number) => props.set(name, *number),
            ParamValue::Bool(on) => props.set(name, *on),
            ParamValue::Text(text) => props.set(name, text.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_parameters_and_values_are_left_alone() {
        let reply = json!({"tls-creds": "", "downtime-limit": 7, "max-bandwidth": "x", "new": 1});
        let params = Params::from_reply(&reply);
        assert_eq!(params.arguments().to_string(), r#"{"tls-creds":"","downtime-limit":7}"#);
    }
}
