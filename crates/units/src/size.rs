//! Sizes with libvirt's units.

use std::fmt;

/// Why a size cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ScaleError {
    /// The unit is none of libvirt's.
    UnknownUnit(String),
    /// The size in bytes is beyond the limit.
    TooLarge {
        /// The number as given.
        value: u64,
        /// The unit as given.
        unit: String,
    },
}

impl fmt::Display for ScaleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownUnit(unit) => write!(f, "unknown suffix '{unit}'"),
            Self::TooLarge { value, unit } => write!(f, "value too large: {value}{unit}"),
        }
    }
}

impl std::error::Error for ScaleError {}

/// Bytes in one of the unit, case ignored: `b`, `byte`, `bytes`; `KB` is 1000, `k` and `KiB` are
/// 1024, and so on for M, G, T, P, E.
pub fn unit_factor(unit: &str) -> Option<u64> {
    let lower = unit.to_ascii_lowercase();
    if matches!(&*lower, "b" | "byte" | "bytes") {
        return Some(1);
    }
    let mut letters = lower.chars();
    let power = match letters.next()? {
        'k' => 1,
        'm' => 2,
        'g' => 3,
        't' => 4,
        'p' => 5,
        'e' => 6,
        _ => return None,
    };
    match letters.as_str() {
        "" | "ib" => Some(1u64 << (10 * power)),
        "b" => 1000u64.checked_pow(power),
        _ => None,
    }
}

/// The size in bytes of `value` times `unit`; without a unit, times `default_factor`.
///
/// # Errors
///
/// The unit is unknown, or the size is beyond `limit` bytes.
pub fn scale(
    value: u64,
    unit: Option<&str>,
    default_factor: u64,
    limit: u64,
) -> Result<u64, ScaleError> {
    let factor = match unit {
        None | Some("") => default_factor,
        Some(u) => unit_factor(u).ok_or_else(|| ScaleError::UnknownUnit(u.to_owned()))?,
    };
    value
        .checked_mul(factor)
        .filter(|n| *n <= limit)
        .ok_or_else(|| ScaleError::TooLarge { value, unit: unit.unwrap_or("").to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_scale() {
        for (value, unit, expected) in [
            (1, None, Ok(1024)),
            (3, Some("b"), Ok(3)),
            (3, Some("Bytes"), Ok(3)),
            (1, Some("k"), Ok(1024)),
            (1, Some("KB"), Ok(1000)),
            (1, Some("kib"), Ok(1024)),
            (2, Some("MB"), Ok(2_000_000)),
            (2, Some("G"), Ok(2 << 30)),
            (7, Some("EiB"), Ok(7 << 60)),
            (0, Some("E"), Ok(0)),
            (1, Some("kb "), Err(ScaleError::UnknownUnit("kb ".into()))),
            (1, Some("bib"), Err(ScaleError::UnknownUnit("bib".into()))),
            (16, Some("E"), Err(ScaleError::TooLarge { value: 16, unit: "E".into() })),
        ] {
            assert_eq!(scale(value, unit, 1024, u64::MAX), expected, "{value} {unit:?}");
        }
        assert!(scale(2, Some("k"), 1, 2047).is_err());
        assert_eq!(scale(2, Some("k"), 1, 2048), Ok(2048));
    }
}
