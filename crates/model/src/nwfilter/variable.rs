//! Variables in rules: `$NAME`, `$NAME[2]`, `$NAME[@1]`.

use std::fmt;

/// Which values of a variable are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VariableIndex {
    /// The one at this place, from 0.
    At(u32),
    /// Each in turn. Variables with the same iterator go in step; those with different ones are
    /// combined.
    Each(u32),
}

/// A variable in place of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// Which of its values.
    pub index: VariableIndex,
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

impl Variable {
    /// Reads a variable with its `$`; `None` when the text is none.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('$')?;
        let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let name = name.to_owned();
        if rest.is_empty() {
            return Some(Self { name, index: VariableIndex::Each(0) });
        }
        // What follows the bracket is not looked at.
        let inner = rest.strip_prefix('[')?.split_once(']')?.0.trim_ascii();
        let (digits, each) = match inner.strip_prefix('@') {
            Some(digits) => (digits, true),
            None => (inner, false),
        };
        let number = digits.parse().ok()?;
        let index = if each { VariableIndex::Each(number) } else { VariableIndex::At(number) };
        Some(Self { name, index })
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}", self.name)?;
        match self.index {
            VariableIndex::Each(0) => Ok(()),
            VariableIndex::Each(n) => write!(f, "[@{n}]"),
            VariableIndex::At(n) => write!(f, "[{n}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_and_written() {
        for (text, expected) in [
            ("$X", Some("$X")),
            ("$X[0]", Some("$X[0]")),
            ("$X[@0]", Some("$X")),
            ("$x_1[ @2 ]", Some("$x_1[@2]")),
            ("$X[2][1]", Some("$X[2]")),
            ("$", Some("$")),
            ("X", None),
            ("$X-Y", None),
            ("$X ", None),
            ("$X[", None),
            ("$X[@]", None),
            ("$X[a]", None),
            ("$X[99999999999]", None),
        ] {
            let got = Variable::parse(text).map(|v| v.to_string());
            assert_eq!(got.as_deref(), expected, "{text}");
        }
    }
}
