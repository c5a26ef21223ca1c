//! Typed parameters between the wire and the engine.

use diag::VirError;
use engine::typed::{Params, Value};
use protocol::{TypedParam, TypedParamValue};

/// The parameters of a message.
pub(crate) fn from_wire(params: Vec<TypedParam>) -> Params {
    let value = |value| match value {
        TypedParamValue::Int(value) => Value::Int(value),
        TypedParamValue::UInt(value) => Value::UInt(value),
        TypedParamValue::LLong(value) => Value::LLong(value),
        TypedParamValue::ULLong(value) => Value::ULLong(value),
        TypedParamValue::Double(value) => Value::Double(value),
        TypedParamValue::Boolean(value) => Value::Bool(value),
        TypedParamValue::String(value) => Value::Text(value),
    };
    params.into_iter().map(|param| (param.field, value(param.value))).collect()
}

/// Parameters for a message.
pub(crate) fn to_wire(params: impl IntoIterator<Item = (String, Value)>) -> Vec<TypedParam> {
    let value = |value| match value {
        Value::Int(value) => TypedParamValue::Int(value),
        Value::UInt(value) => TypedParamValue::UInt(value),
        Value::LLong(value) => TypedParamValue::LLong(value),
        Value::ULLong(value) => TypedParamValue::ULLong(value),
        Value::Double(value) => TypedParamValue::Double(value),
        Value::Bool(value) => TypedParamValue::Boolean(value),
        Value::Text(value) => TypedParamValue::String(value),
    };
    params.into_iter().map(|(field, content)| TypedParam { field, value: value(content) }).collect()
}

/// The first `wanted` parameters for a message, and how many go with it. A client that wants none
/// asks how many there are: `all`.
pub(crate) fn some(
    wanted: i32,
    all: usize,
    get: impl FnOnce() -> Result<Params, VirError>,
) -> Result<(Vec<TypedParam>, i32), VirError> {
    if wanted == 0 {
        return Ok((Vec::new(), i32::try_from(all).unwrap_or(i32::MAX)));
    }
    let wanted = usize::try_from(wanted).unwrap_or(0);
    let params = to_wire(get()?.into_iter().take(wanted));
    let count = i32::try_from(params.len()).unwrap_or(i32::MAX);
    Ok((params, count))
}
