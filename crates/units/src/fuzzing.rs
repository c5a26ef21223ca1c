//! Entry point of the fuzz target: any text, no panic.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use crate::{CpuSet, MacAddr, PciAddress, Uuid, base64, check_name, scale};

/// Reads bytes as each of the types; what was read must be written and read again as the same.
pub fn fuzz_one(data: &[u8]) {
    if let Some(bytes) = base64::decode(data) {
        assert_eq!(base64::decode(base64::encode(&bytes).as_bytes()), Some(bytes));
    }
    let set = CpuSet::from_le_bytes(data);
    assert!(set.to_string().parse() == Ok(set.clone()) || set.is_empty(), "{set}");
    let Ok(text) = std::str::from_utf8(data) else { return };
    again::<CpuSet>(text);
    again::<MacAddr>(text);
    again::<PciAddress>(text);
    again::<Uuid>(text);
    let _ = check_name(text);
    let _ = scale(3, Some(text), 1024, u64::MAX);
}

fn again<T: FromStr + Display + PartialEq + Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let written = value.to_string();
        assert!(written.is_empty() || written.parse().ok() == Some(value), "{written}");
    }
}
