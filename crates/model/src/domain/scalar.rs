//! Values of domain XML that have a text form of their own: sizes with units, CPU sets.

use std::fmt;

use diag::ErrorCode;
pub use units::{MacAddr, Uuid};
use xml::{Element, Reader, Schema, ValueError, ValueKind, Writer, Xml, XmlValue};

/// A number written in hexadecimal with at least `W` digits.
pub type Hex<const W: usize> = xml::Hex<u64, W>;

/// A number that may also be written in hexadecimal (`0x2`) or octal (`02`); written in decimal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AnyBase(pub u32);

impl XmlValue for AnyBase {
    fn parse(text: &str) -> Result<Self, ValueError> {
        let digits = text.trim_ascii();
        let hex = digits.strip_prefix("0x").or(digits.strip_prefix("0X"));
        let value = match (hex, digits.strip_prefix('0')) {
            (Some(hex), _) => u32::from_str_radix(hex, 16).ok(),
            (None, Some(octal)) if !octal.is_empty() => u32::from_str_radix(octal, 8).ok(),
            _ => digits.parse().ok(),
        };
        value.map(Self).ok_or_else(|| ValueError::expected("non-negative integer value"))
    }
    fn write(&self, out: &mut String) {
        self.0.write(out);
    }
    fn kind() -> ValueKind {
        ValueKind::Integer { min: 0, max: u32::MAX.into() }
    }
}

/// A set of CPU or node numbers, read from `0-3,^2,8` and written as the shortest list of ranges.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct CpuSet {
    /// Inclusive ranges, ascending, with a gap between each and the next.
    ranges: Vec<(u32, u32)>,
}

/// The highest number a set may hold (libvirt's limit of a bitmap).
const MAX_CPU: u32 = 16384;

/// Bytes of a list from which its numbers are collected as bits.
const LONG_LIST: usize = 512;

impl CpuSet {
    /// Reads a list of numbers, ranges and exclusions.
    pub fn parse(text: &str) -> Option<Self> {
        // Adding to many ranges moves them; bits stay where they are.
        if text.len() > LONG_LIST {
            let mut bits = vec![false; MAX_CPU as usize];
            Self::items(text, |a, b, there| {
                if let Some(part) = bits.get_mut(a as usize..=b as usize) {
                    part.fill(there);
                }
            })?;
            let mut set = Self::default();
            for (n, _) in (0..).zip(bits).filter(|(_, there)| *there) {
                match set.ranges.last_mut() {
                    Some(last) if last.1 + 1 == n => last.1 = n,
                    _ => set.ranges.push((n, n)),
                }
            }
            return (!set.ranges.is_empty()).then_some(set);
        }
        let mut set = Self::default();
        Self::items(
            text,
            |a, b, there| if there { set.insert_range(a, b) } else { set.remove(a) },
        )?;
        (!set.ranges.is_empty()).then_some(set)
    }

    /// Calls `f` with the first and last number of each item, and whether they are in the set.
    fn items(text: &str, mut f: impl FnMut(u32, u32, bool)) -> Option<()> {
        for item in text.split(',') {
            let item = item.trim_ascii();
            let (item, exclude) = match item.strip_prefix('^') {
                Some(rest) => (rest.trim_ascii(), true),
                None => (item, false),
            };
            let (a, b) = match item.split_once('-') {
                Some((a, b)) if !exclude => (number(a)?, number(b)?),
                Some(_) => return None,
                None => {
                    let n = number(item)?;
                    (n, n)
                }
            };
            if a > b {
                return None;
            }
            f(a, b, !exclude);
        }
        Some(())
    }

    /// Adds all numbers from `a` to `b`.
    pub fn insert_range(&mut self, a: u32, b: u32) {
        // Those that the new one touches become one with it.
        let from = self.ranges.partition_point(|r| r.1.saturating_add(1) < a);
        let to = self.ranges.partition_point(|r| r.0 <= b.saturating_add(1)).max(from);
        match self.ranges.get(from..to) {
            Some([first, .., last] | [first @ last]) => {
                let whole = (a.min(first.0), b.max(last.1));
                self.ranges.drain(from + 1..to);
                self.ranges[from] = whole;
            }
            _ => self.ranges.insert(from, (a, b)),
        }
    }

    /// Takes one number away.
    pub fn remove(&mut self, n: u32) {
        if let Some(at) = self.position(n) {
            let (a, b) = self.ranges.remove(at);
            if n < b {
                self.ranges.insert(at, (n + 1, b));
            }
            if a < n {
                self.ranges.insert(at, (a, n - 1));
            }
        }
    }

    /// Whether a number is in the set.
    pub fn contains(&self, n: u32) -> bool {
        self.position(n).is_some()
    }

    /// The place of the range that a number is in.
    fn position(&self, n: u32) -> Option<usize> {
        let at = self.ranges.partition_point(|r| r.1 < n);
        self.ranges.get(at).filter(|r| r.0 <= n).map(|_| at)
    }

    /// The inclusive ranges, ascending.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.ranges
    }

    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.ranges.iter().flat_map(|&(a, b)| a..=b)
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.ranges.iter().map(|&(a, b)| (b - a) as usize + 1).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The highest number.
    pub fn max(&self) -> Option<u32> {
        self.ranges.last().map(|r| r.1)
    }

    /// Whether the two have a number in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (few, many) = if self.ranges.len() < other.ranges.len() {
            (&self.ranges, &other.ranges)
        } else {
            (&other.ranges, &self.ranges)
        };
        few.iter().any(|&(a, b)| {
            // The first range that does not end before this one starts.
            let at = many.partition_point(|r| r.1 < a);
            many.get(at).is_some_and(|r| r.0 <= b)
        })
    }

    /// Adds all numbers of another set; says whether it had one of them already.
    pub(crate) fn take_in(&mut self, other: &Self) -> bool {
        let shared = self.overlaps(other);
        for &(a, b) in &other.ranges {
            self.insert_range(a, b);
        }
        shared
    }
}

fn number(text: &str) -> Option<u32> {
    let text = text.trim_ascii();
    if text.is_empty() || !text.bytes().all(|c| c.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|n| *n < MAX_CPU)
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, &(a, b)) in self.ranges.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            if a == b {
                write!(f, "{a}")?;
            } else {
                write!(f, "{a}-{b}")?;
            }
        }
        Ok(())
    }
}

impl XmlValue for CpuSet {
    const ESCAPED: bool = false;

    fn parse(text: &str) -> Result<Self, ValueError> {
        Self::parse(text).ok_or_else(|| ValueError::expected("a list such as 0-3,5,^2"))
    }
    fn write(&self, out: &mut String) {
        out.push_str(&self.to_string());
    }
    fn kind() -> ValueKind {
        ValueKind::Named("CPU set")
    }
}

/// The number of bytes a unit stands for, `None` when there is no such unit. Units are those of
/// libvirt: `b`/`bytes`, `k`/`KiB` (1024), `KB` (1000), and so on to `E`, in any case.
pub fn unit_bytes(unit: &str) -> Option<u64> {
    let lower = unit.to_ascii_lowercase();
    if matches!(lower.as_str(), "b" | "byte" | "bytes") {
        return Some(1);
    }
    let power = "kmgtpe".find(lower.chars().next()?)? as u32 + 1;
    match lower.get(1..)? {
        "" | "ib" => Some(1024u64.pow(power)),
        "b" => Some(1000u64.pow(power)),
        _ => None,
    }
}

/// `value` in `unit` (or in units of `default` bytes) as bytes; `None` when the unit is unknown or
/// the result too big.
pub fn scale(value: u64, unit: Option<&str>, default: u64) -> Option<u64> {
    let factor = match unit.filter(|u| !u.is_empty()) {
        Some(u) => unit_bytes(u)?,
        None => default,
    };
    value.checked_mul(factor)
}

/// Where libvirt looks for a size, as its words for a bad one have it: sizes of the guest are found
/// from the top.
fn path_of(el: Element<'_>) -> String {
    let name = el.name();
    match el.parent().map(|parent| parent.name()) {
        Some("domain") => format!("./{name}[1]"),
        Some("memtune") => format!("./memtune/{name}[1]"),
        _ => format!("./{name}"),
    }
}

/// An element without text is a size of nothing.
fn read_scaled(el: Element<'_>, cx: &mut Reader, default: u64, to: u64) -> Option<u64> {
    let unit = cx.attr(el, "unit");
    let text = el.string_value();
    let text = text.trim_ascii();
    if text.is_empty() {
        return Some(0);
    }
    let Ok(value) = text.parse::<u64>() else {
        let words = format!("Invalid value '{text}' for element or attribute '{}'", path_of(el));
        let hints = vec!["Expected a number that is not negative.".to_owned()];
        cx.error("xml.invalid-value", ErrorCode::XML_ERROR, el.text_span(), words, hints);
        return None;
    };
    let name = unit.map_or("", |u| u.value());
    if let (false, None, Some(unit)) = (name.is_empty(), unit_bytes(name), unit) {
        let words = format!("unknown suffix '{name}'");
        let hints = vec!["Units are bytes, KiB, MiB, GiB, TiB and the like.".to_owned()];
        cx.error("xml.unit", ErrorCode::INVALID_ARG, unit.value_span(), words, hints);
        return None;
    }
    match scale(value, Some(name), default) {
        // Rounding up may leave what can be said in bytes.
        Some(bytes) if bytes.div_ceil(to).checked_mul(to).is_some() => Some(bytes.div_ceil(to)),
        _ => {
            let words = format!("value too large: {value}{name}");
            cx.error("xml.unit", ErrorCode::OVERFLOW, el.text_span(), words, Vec::new());
            None
        }
    }
}

/// An element whose text is a size: read in any unit, kept and written in KiB (rounded up).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, PartialOrd, Ord, Hash)]
pub struct Kib(pub u64);

impl Xml for Kib {
    fn read(el: Element<'_>, cx: &mut Reader) -> Option<Self> {
        read_scaled(el, cx, 1024, 1024).map(Self)
    }
    fn write_attrs(&self, w: &mut Writer) {
        w.attr_str("unit", "KiB");
    }
    fn write_children(&self, w: &mut Writer) {
        w.text(&self.0);
    }
    fn schema() -> Schema {
        Schema::new()
    }
}

/// An element whose text is a size: read in any unit, kept and written in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, PartialOrd, Ord, Hash)]
pub struct Bytes(pub u64);

impl Xml for Bytes {
    fn read(el: Element<'_>, cx: &mut Reader) -> Option<Self> {
        read_scaled(el, cx, 1, 1).map(Self)
    }
    fn write_attrs(&self, w: &mut Writer) {
        w.attr_str("unit", "bytes");
    }
    fn write_children(&self, w: &mut Writer) {
        w.text(&self.0);
    }
    fn schema() -> Schema {
        Schema::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_sets_are_canonical() {
        for (text, expected) in [
            ("0-3,^2", "0-1,3"),
            ("3,1,2", "1-3"),
            ("1-4,8-20,525", "1-4,8-20,525"),
            (" 5 , 7 ", "5,7"),
        ] {
            assert_eq!(CpuSet::parse(text).expect(text).to_string(), expected, "{text}");
        }
        for bad in ["", "a", "3-1", "^1", "1-", "99999", "1,,2"] {
            assert_eq!(CpuSet::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn units() {
        for (unit, bytes) in
            [("KiB", 1024), ("k", 1024), ("KB", 1000), ("b", 1), ("MiB", 1 << 20), ("G", 1 << 30)]
        {
            assert_eq!(unit_bytes(unit), Some(bytes), "{unit}");
        }
        assert_eq!(unit_bytes("x"), None);
        assert_eq!(unit_bytes(""), None);
    }
}
