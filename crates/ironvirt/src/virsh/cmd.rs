//! A parsed command: its options and typed access to their values, with virsh's error texts.

use super::fail::{Fail, Outcome, fail};
use super::registry::{Command, Kind, Opt};

/// One command with its arguments.
#[derive(Clone)]
pub struct Cmd {
    /// The definition.
    pub def: &'static Command,
    /// (option name, value) in the order given; switches carry an empty value.
    pub values: Vec<(&'static str, String)>,
    /// `--help` was among the options.
    pub help: bool,
    /// Faults of the command line that do not keep it from running.
    pub notes: Vec<String>,
}

impl Cmd {
    /// The option was given.
    pub fn is_dry_run(&self) -> bool {
        self.has_own(&super::dry::OPTION)
    }

    /// Whether an option that virsh does not have was given.
    pub fn has_own(&self, option: &Opt) -> bool {
        self.values.iter().any(|(name, _)| *name == option.name)
    }

    /// Whether the option was given.
    pub fn has(&self, name: &str) -> bool {
        debug_assert!(
            self.def.opts.iter().any(|o| o.name == name),
            "{} has no option {name}",
            self.def.name
        );
        self.values.iter().any(|(n, _)| *n == name)
    }

    /// The value as given, whatever it is.
    pub fn raw(&self, name: &str) -> Option<&str> {
        debug_assert!(
            self.def.opts.iter().any(|o| o.name == name),
            "{} has no option {name}",
            self.def.name
        );
        self.values.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_str())
    }

    /// The string value; an empty one is refused unless the option allows it.
    pub fn str(&self, name: &str) -> Outcome<Option<&str>> {
        match self.raw(name) {
            Some("") if !self.def.opts.iter().any(|o| o.name == name && o.empty_ok) => {
                fail!("Failed to get option '{name}': Option argument is empty")
            }
            v => Ok(v),
        }
    }

    /// The value of a required option.
    pub fn req(&self, name: &str) -> Outcome<&str> {
        self.str(name)?.ok_or_else(Fail::silent)
    }

    /// All values of the option that takes the remaining words.
    pub fn argv(&self, name: &str) -> Vec<&str> {
        self.values.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.as_str()).collect()
    }

    fn number<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> Outcome<Option<T>> {
        let Some(text) = self.raw(name) else {
            return Ok(None);
        };
        match read(text) {
            Some(v) => Ok(Some(v)),
            None => {
                fail!("Numeric value '{text}' for <{name}> option is malformed or out of range")
            }
        }
    }

    /// A signed number.
    pub fn int(&self, name: &str) -> Outcome<Option<i32>> {
        self.number(name, |t| parse_i64(t).and_then(|v| v.try_into().ok()))
    }

    /// An unsigned number; negative input is refused.
    pub fn uint(&self, name: &str) -> Outcome<Option<u32>> {
        self.number(name, |t| parse_u64(t).and_then(|v| v.try_into().ok()))
    }

    /// A signed 64-bit number.
    pub fn ll(&self, name: &str) -> Outcome<Option<i64>> {
        self.number(name, parse_i64)
    }

    /// An unsigned 64-bit number; negative input is refused.
    pub fn ull(&self, name: &str) -> Outcome<Option<u64>> {
        self.number(name, parse_u64)
    }

    /// A number with an optional size suffix, in bytes. `scale` is the unit without a suffix.
    pub fn scaled(&self, name: &str, scale: u64, max: u64) -> Outcome<Option<u64>> {
        let Some(text) = self.raw(name) else {
            return Ok(None);
        };
        match scaled_int(text, scale, max) {
            Ok(v) => Ok(Some(v)),
            Err(detail) => {
                let mut f = Fail::new(format!(
                    "Scaled numeric value '{text}' for <{name}> option is malformed or out of range"
                ));
                f.lines.extend(detail);
                Err(f)
            }
        }
    }

    /// Seconds as milliseconds, as `--timeout` options want it: at least 1.
    pub fn timeout_ms(&self, name: &str) -> Outcome<Option<u32>> {
        self.number(name, |t| {
            let v: u32 = parse_u64(t)?.try_into().ok()?;
            (v >= 1).then_some(v)?;
            let ms = v.checked_mul(1000)?;
            (ms <= i32::MAX as u32).then_some(ms)
        })
    }

    /// Refuses two switches together.
    pub fn exclusive(&self, a: &str, b: &str) -> Outcome {
        if self.has(a) && self.has(b) {
            fail!("Options --{a} and --{b} are mutually exclusive");
        }
        Ok(())
    }

    /// The second option needs the first.
    pub fn requires(&self, given: &str, needed: &str) -> Outcome {
        if self.has(given) && !self.has(needed) {
            fail!("Option --{needed} is required by option --{given}");
        }
        Ok(())
    }

    /// Sum of the flags whose switch is on.
    pub fn flags(&self, table: &[(&str, u32)]) -> u32 {
        table.iter().filter(|(n, _)| self.has(n)).fold(0, |acc, (_, f)| acc | f)
    }

    /// `--current`, `--live` and `--config` as the API's flags; they exclude each other as in virsh.
    pub fn affect(&self) -> Outcome<u32> {
        self.exclusive("current", "live")?;
        self.exclusive("current", "config")?;
        Ok(self.flags(&[("live", 1), ("config", 2)]))
    }
}

/// A number as strtoll with base 0 reads it, without anything after it.
pub fn parse_i64(text: &str) -> Option<i64> {
    let t = text.trim_start();
    let (neg, digits) = match t.as_bytes().first()? {
        b'-' => (true, t.get(1..)?),
        b'+' => (false, t.get(1..)?),
        _ => (false, t),
    };
    let v = magnitude(digits)?;
    if neg { 0i64.checked_sub_unsigned(v) } else { i64::try_from(v).ok() }
}

/// As [`parse_i64`], refusing a minus sign.
pub fn parse_u64(text: &str) -> Option<u64> {
    let t = text.trim_start();
    magnitude(t.strip_prefix('+').unwrap_or(t))
}

fn magnitude(digits: &str) -> Option<u64> {
    // Numbers are decimal: virsh reads them with base 10.
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

/// Reads a size with an optional suffix (`k`, `KiB`, `kB`, …). The error may carry libvirt's detail.
pub fn scaled_int(text: &str, scale: u64, max: u64) -> Result<u64, Option<String>> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let value: u64 = digits.parse().map_err(|_| None)?;
    let factor = if suffix.is_empty() {
        scale
    } else {
        suffix_factor(suffix)
            .ok_or_else(|| Some(format!("invalid argument: unknown suffix '{suffix}'")))?
    };
    let too_large = || Some(format!("numerical overflow: value too large: {value}{suffix}"));
    let bytes = value.checked_mul(factor).ok_or_else(too_large)?;
    if bytes > max {
        return Err(too_large());
    }
    Ok(bytes)
}

fn suffix_factor(suffix: &str) -> Option<u64> {
    let lower = suffix.to_ascii_lowercase();
    if lower == "b" || lower == "byte" || lower == "bytes" {
        return Some(1);
    }
    let power = "kmgtpe".find(lower.chars().next()?)? as u32 + 1;
    match lower.get(1..)? {
        "" | "ib" => 1024u64.checked_pow(power),
        "b" => 1000u64.checked_pow(power),
        _ => None,
    }
}

/// `<string>` or `<number>`, as error texts and help name the kind.
pub fn kind_word(kind: Kind) -> &'static str {
    if kind == Kind::Int { "number" } else { "string" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let max = u64::MAX;
        for (text, scale, expected) in [
            ("42MB", 1024, Ok(42_000_000)),
            ("42M", 1024, Ok(42 << 20)),
            ("42", 1024, Ok(42 << 10)),
            ("1GiB", 1, Ok(1 << 30)),
            ("7b", 1024, Ok(7)),
            ("abc", 1, Err(None)),
            ("-1", 1, Err(None)),
            ("42WB", 1, Err(Some("invalid argument: unknown suffix 'WB'".to_owned()))),
        ] {
            assert_eq!(scaled_int(text, scale, max), expected, "{text}");
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(parse_i64("-1"), Some(-1));
        assert_eq!(parse_i64("42WB"), None);
        assert_eq!(parse_u64("-1"), None);
        assert_eq!(parse_u64(""), None);
        assert_eq!(parse_i64("-9223372036854775808"), Some(i64::MIN));
    }
}
