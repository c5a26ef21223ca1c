//! Typed parameters: named values, as many of libvirt's calls take and give them.

use diag::{ErrorCode, VirError};

/// A value, in the width that libvirt gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Signed 32 bits.
    Int(i32),
    /// Unsigned 32 bits.
    UInt(u32),
    /// Signed 64 bits.
    LLong(i64),
    /// Unsigned 64 bits.
    ULLong(u64),
    /// A fraction.
    Double(f64),
    /// Yes or no.
    Bool(bool),
    /// Text.
    Text(String),
}

macro_rules! from {
    ($($kind:ty => $variant:ident),*) => {$(
        impl From<$kind> for Value {
            fn from(value: $kind) -> Self { Self::$variant(value) }
        }
    )*};
}
from!(i32 => Int, u32 => UInt, i64 => LLong, u64 => ULLong, f64 => Double, bool => Bool, String => Text);

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl Value {
    /// The kind of value.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Int(_) => Kind::Int,
            Self::UInt(_) => Kind::UInt,
            Self::LLong(_) => Kind::LLong,
            Self::ULLong(_) => Kind::ULLong,
            Self::Double(_) => Kind::Double,
            Self::Bool(_) => Kind::Bool,
            Self::Text(_) => Kind::Text,
        }
    }

    /// The value of a [`Kind::ULLong`] or [`Kind::UInt`].
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::ULLong(value) => Some(*value),
            Self::UInt(value) => Some((*value).into()),
            _ => None,
        }
    }

    /// The text of a [`Kind::Text`].
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The kinds of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // As the values'.
pub enum Kind {
    Int,
    UInt,
    LLong,
    ULLong,
    Double,
    Bool,
    Text,
}

impl Kind {
    /// libvirt's word in messages.
    fn word(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::UInt => "uint",
            Self::LLong => "llong",
            Self::ULLong => "ullong",
            Self::Double => "double",
            Self::Bool => "boolean",
            Self::Text => "string",
        }
    }
}

/// Named values in order.
pub type Params = Vec<(String, Value)>;

/// Refuses parameters that are not among `known`, are of another kind, or come twice.
///
/// # Errors
/// In libvirt's words.
pub fn validate(params: &[(String, Value)], known: &[(&str, Kind)]) -> Result<(), VirError> {
    let mut names: Vec<&str> = params.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    // libvirt looks at them in the order of their names.
    for (index, name) in names.iter().enumerate() {
        if index > 0 && names.get(index - 1) == Some(name) {
            return Err(VirError::invalid_arg(format!("parameter '{name}' occurs multiple times")));
        }
        let Some((_, expected)) = known.iter().find(|(known, _)| known == name) else {
            return Err(VirError::new(
                ErrorCode::ARGUMENT_UNSUPPORTED,
                format!("parameter '{name}' not supported"),
            ));
        };
        let given = params.iter().find(|(n, _)| n == name).map(|(_, value)| value.kind());
        if let Some(given) = given.filter(|given| given != expected) {
            return Err(VirError::invalid_arg(format!(
                "invalid type '{}' for parameter '{name}', expected '{}'",
                given.word(),
                expected.word()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_known_once_and_of_their_kind() {
        let known = [("a", Kind::ULLong), ("b", Kind::Text)];
        let check = |params: &[(&str, Value)], expected: Option<&str>| {
            let params: Params =
                params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            let error = validate(&params, &known).err().map(|error| error.detail);
            assert_eq!(error.as_deref(), expected, "{params:?}");
        };
        check(&[("a", 1_u64.into()), ("b", "x".into())], None);
        check(&[], None);
        check(&[("c", 1_u64.into())], Some("parameter 'c' not supported"));
        check(
            &[("a", "1".into())],
            Some("invalid type 'string' for parameter 'a', expected 'ullong'"),
        );
        check(
            &[("a", 1_u64.into()), ("a", 2_u64.into())],
            Some("parameter 'a' occurs multiple times"),
        );
    }
}
