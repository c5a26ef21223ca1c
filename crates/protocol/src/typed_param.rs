//! Typed parameters: named values of seven types, used by many calls and events.

use xdr::{Decode, Decoder, Encode, Encoder, Error, Result};

use crate::STRING_MAX;

/// A named value.
#[derive(Clone, Debug, PartialEq)]
pub struct TypedParam {
    /// The name, as `cpu.time` (see the `field` modules of [`consts`](crate::consts)).
    pub field: String,
    /// The value.
    pub value: TypedParamValue,
}

/// The value of a typed parameter. The wire's type numbers are 1 to 7 in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum TypedParamValue {
    /// Signed 32 bits.
    Int(i32),
    /// Unsigned 32 bits.
    UInt(u32),
    /// Signed 64 bits.
    LLong(i64),
    /// Unsigned 64 bits.
    ULLong(u64),
    /// A floating-point number.
    Double(f64),
    /// Yes or no.
    Boolean(bool),
    /// A string.
    String(String),
}

/// A Rust value that is a typed parameter's value; its type decides the wire's.
pub trait ParamValue {
    /// The value.
    fn into_value(self) -> TypedParamValue;
}

macro_rules! param_value {
    ($($t:ty => $variant:ident,)*) => {$(
        impl ParamValue for $t {
            fn into_value(self) -> TypedParamValue {
                TypedParamValue::$variant(self.into())
            }
        }
    )*};
}

param_value! {
    i32 => Int,
    u32 => UInt,
    i64 => LLong,
    u64 => ULLong,
    f64 => Double,
    bool => Boolean,
    String => String,
    &str => String,
}

impl ParamValue for TypedParamValue {
    fn into_value(self) -> TypedParamValue {
        self
    }
}

impl TypedParam {
    /// A parameter; the value's Rust type (i32, u32, i64, u64, f64, bool, string) decides the wire's type.
    pub fn new(field: impl Into<String>, value: impl ParamValue) -> Self {
        Self { field: field.into(), value: value.into_value() }
    }
}

impl TypedParamValue {
    /// The type's number on the wire and in the API.
    #[must_use]
    pub fn type_number(&self) -> i32 {
        match self {
            Self::Int(_) => 1,
            Self::UInt(_) => 2,
            Self::LLong(_) => 3,
            Self::ULLong(_) => 4,
            Self::Double(_) => 5,
            Self::Boolean(_) => 6,
            Self::String(_) => 7,
        }
    }

    /// Any integer that is not negative, whatever its width.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Int(v) => u64::try_from(*v).ok(),
            Self::UInt(v) => Some(u64::from(*v)),
            Self::LLong(v) => u64::try_from(*v).ok(),
            Self::ULLong(v) => Some(*v),
            _ => None,
        }
    }

    /// Any integer that fits, whatever its width.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(v) => Some(i64::from(*v)),
            Self::UInt(v) => Some(i64::from(*v)),
            Self::LLong(v) => Some(*v),
            Self::ULLong(v) => i64::try_from(*v).ok(),
            _ => None,
        }
    }

    /// The string, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(s) => Some(s),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Boolean(b) => Some(*b),
            _ => None,
        }
    }
}

/// As virsh prints them: booleans as yes and no, doubles with six decimals.
impl std::fmt::Display for TypedParamValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(v) => v.fmt(f),
            Self::UInt(v) => v.fmt(f),
            Self::LLong(v) => v.fmt(f),
            Self::ULLong(v) => v.fmt(f),
            Self::Double(v) => write!(f, "{v:.6}"),
            Self::Boolean(v) => f.write_str(if *v { "yes" } else { "no" }),
            Self::String(v) => f.write_str(v),
        }
    }
}

/// Conveniences for lists of typed parameters.
pub trait TypedParams {
    /// The first value with this name.
    fn get_param(&self, field: &str) -> Option<&TypedParamValue>;
}

impl TypedParams for [TypedParam] {
    fn get_param(&self, field: &str) -> Option<&TypedParamValue> {
        self.iter().find(|p| p.field == field).map(|p| &p.value)
    }
}

impl Encode for TypedParam {
    fn encode(&self, e: &mut Encoder) {
        e.string(&self.field, STRING_MAX);
        e.int(self.value.type_number());
        match &self.value {
            TypedParamValue::Int(v) => e.int(*v),
            TypedParamValue::UInt(v) => e.uint(*v),
            TypedParamValue::LLong(v) => e.hyper(*v),
            TypedParamValue::ULLong(v) => e.uhyper(*v),
            TypedParamValue::Double(v) => e.double(*v),
            TypedParamValue::Boolean(v) => e.bool(*v),
            TypedParamValue::String(v) => e.string(v, STRING_MAX),
        }
    }
}

impl Decode for TypedParam {
    const MIN_SIZE: usize = 12;
    fn decode(d: &mut Decoder<'_>) -> Result<Self> {
        let field = d.string(STRING_MAX)?;
        let at = d.position();
        let value = match d.int()? {
            1 => TypedParamValue::Int(d.int()?),
            2 => TypedParamValue::UInt(d.uint()?),
            3 => TypedParamValue::LLong(d.hyper()?),
            4 => TypedParamValue::ULLong(d.uhyper()?),
            5 => TypedParamValue::Double(d.double()?),
            // An int on the wire: any value but 0 means yes.
            6 => TypedParamValue::Boolean(d.int()? != 0),
            7 => TypedParamValue::String(d.string(STRING_MAX)?),
            value => return Err(Error::UnknownVariant { what: "type of a parameter", at, value }),
        };
        Ok(Self { field, value })
    }
}
