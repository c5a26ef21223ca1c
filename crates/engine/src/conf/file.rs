//! Reader of libvirt's configuration format: `name = value` lines where a value is a number, a
//! quoted string or a bracketed list of strings; `#` starts a comment.
//!
//! The format is described by the comments of the shipped `qemu.conf` and `libvirtd.conf`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// A value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfValue {
    /// A whole number.
    Number(i64),
    /// A string.
    Text(String),
    /// A list of strings.
    List(Vec<String>),
}

/// What is wrong with a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}")]
pub struct ConfError {
    /// The file.
    pub file: String,
    /// The line, counted from 1.
    pub line: usize,
    /// The fault and what was expected.
    pub message: String,
}

/// The settings of one file.
#[derive(Debug, Default)]
pub struct ConfFile {
    name: String,
    settings: BTreeMap<String, (usize, ConfValue)>,
    /// The settings that somebody asked for.
    asked: Mutex<BTreeSet<String>>,
    /// Those that are known at all.
    known: Mutex<BTreeSet<String>>,
}

impl ConfFile {
    /// Reads `text`; `name` is for messages.
    ///
    /// # Errors
    /// Names line and fault of the first line that is not in the format.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfError> {
        let mut reader = Reader { file: name, rest: text, line: 1 };
        let mut settings = BTreeMap::new();
        while let Some((key, line, value)) = reader.setting()? {
            settings.insert(key, (line, value));
        }
        Ok(Self { name: name.to_owned(), settings, ..Self::default() })
    }

    fn get(&self, name: &str) -> Option<&(usize, ConfValue)> {
        let found = self.settings.get(name)?;
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        Some(found)
    }

    /// Counts what was asked for so far as known, and as not asked for.
    pub(super) fn forget_asked(&self) {
        let asked = std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner));
        self.known.lock().unwrap_or_else(PoisonError::into_inner).extend(asked);
    }

    /// What is set and nobody asked for, so that it has no effect: each as `FILE:LINE: NAME`. What is
    /// known and switched off (0, "none" or an empty list) need not be told.
    pub fn unheeded(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let off = |value: &ConfValue| match value {
            ConfValue::Number(number) => *number == 0,
            ConfValue::Text(text) => text == "none",
            ConfValue::List(list) => list.is_empty(),
        };
        let meant = |(name, (_, value)): &(&String, &(usize, ConfValue))| {
            !asked.contains(*name) && (!known.contains(*name) || !off(value))
        };
        let unheeded = self.settings.iter().filter(meant);
        unheeded.map(|(name, (line, _))| format!("{}:{line}: {name}", self.name)).collect()
    }

    /// Tells the log of settings that have no effect.
    pub fn tell_unheeded(&self) {
        for setting in self.unheeded() {
            tracing::warn!(setting, "has no effect: nothing here depends on it");
        }
    }

    /// The names that are set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.settings.keys().map(String::as_str)
    }

    /// The string set as `name`.
    ///
    /// # Errors
    /// When it is set to something else.
    pub fn text(&self, name: &str) -> Result<Option<&str>, ConfError> {
        match self.get(name) {
            None => Ok(None),
            Some((_, ConfValue::Text(text))) => Ok(Some(text)),
            Some((line, _)) => Err(self.wrong(*line, name, "a quoted string")),
        }
    }

    /// The number set as `name`.
    ///
    /// # Errors
    /// When it is set to something else.
    pub fn number(&self, name: &str) -> Result<Option<i64>, ConfError> {
        match self.get(name) {
            None => Ok(None),
            Some((_, ConfValue::Number(number))) => Ok(Some(*number)),
            Some((line, _)) => Err(self.wrong(*line, name, "a whole number")),
        }
    }

    /// The switch set as `name`: 0 or 1.
    ///
    /// # Errors
    /// When it is set to something else.
    pub fn switch(&self, name: &str) -> Result<Option<bool>, ConfError> {
        match self.get(name) {
            None => Ok(None),
            Some((_, ConfValue::Number(0))) => Ok(Some(false)),
            Some((_, ConfValue::Number(1))) => Ok(Some(true)),
            Some((line, _)) => Err(self.wrong(*line, name, "0 or 1")),
        }
    }

    /// The list set as `name`; a single string counts as a list of one.
    ///
    /// # Errors
    /// When it is set to a number.
    pub fn list(&self, name: &str) -> Result<Option<Vec<String>>, ConfError> {
        match self.get(name) {
            None => Ok(None),
            Some((_, ConfValue::List(list))) => Ok(Some(list.clone())),
            Some((_, ConfValue::Text(text))) => Ok(Some(vec![text.clone()])),
            Some((line, _)) => Err(self.wrong(*line, name, "a list of quoted strings")),
        }
    }

    /// An error about the value of `name`.
    pub fn invalid(&self, name: &str, message: &str) -> ConfError {
        let line = self.settings.get(name).map_or(0, |(line, _)| *line);
        ConfError { file: self.name.clone(), line, message: format!("{name}: {message}") }
    }

    fn wrong(&self, line: usize, name: &str, expected: &str) -> ConfError {
        ConfError { file: self.name.clone(), line, message: format!("{name}: expected {expected}") }
    }
}

struct Reader<'a> {
    file: &'a str,
    rest: &'a str,
    line: usize,
}

impl Reader<'_> {
    fn setting(&mut self) -> Result<Option<(String, usize, ConfValue)>, ConfError> {
        self.skip_space_and_comments(true);
        if self.rest.is_empty() {
            return Ok(None);
        }
        let line = self.line;
        let length = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')))
            .unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(length);
        if name.is_empty() || !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return Err(self.error("expected the name of a setting"));
        }
        let name = name.to_owned();
        self.rest = rest;
        self.skip_blanks();
        if !self.take('=') {
            return Err(self.error(&format!("expected '=' after '{name}'")));
        }
        self.skip_blanks();
        let value = self.value()?;
        self.skip_space_and_comments(false);
        if !self.rest.is_empty() && !self.rest.starts_with(['\n', '\r']) {
            return Err(self.error(&format!("unexpected text after the value of '{name}'")));
        }
        Ok(Some((name, line, value)))
    }

    fn value(&mut self) -> Result<ConfValue, ConfError> {
        if self.take('[') {
            return self.list();
        }
        if self.rest.starts_with(['"', '\'']) {
            return Ok(ConfValue::Text(self.text()?));
        }
        let length =
            self.rest.find(|c: char| !(c.is_ascii_digit() || c == '-')).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(length);
        let number = digits
            .parse()
            .map_err(|_| self.error("expected a number, a quoted string or a list"))?;
        self.rest = rest;
        Ok(ConfValue::Number(number))
    }

    fn list(&mut self) -> Result<ConfValue, ConfError> {
        let mut items = Vec::new();
        loop {
            self.skip_space_and_comments(true);
            if self.take(']') {
                return Ok(ConfValue::List(items));
            }
            items.push(self.text()?);
            self.skip_space_and_comments(true);
            if !self.take(',') && !self.rest.starts_with(']') {
                return Err(self.error("expected ',' or ']' in a list"));
            }
        }
    }

    /// A quoted string; three double quotes enclose one that spans lines.
    fn text(&mut self) -> Result<String, ConfError> {
        for quote in ["\"\"\"", "\"", "'"] {
            let Some(rest) = self.rest.strip_prefix(quote) else { continue };
            let Some(end) = rest.find(quote) else {
                return Err(self.error("a string is not closed"));
            };
            let (text, after) = rest.split_at(end);
            if quote.len() == 1 && text.contains('\n') {
                return Err(self.error("a string is not closed"));
            }
            self.line += text.matches('\n').count();
            self.rest = after.get(quote.len()..).unwrap_or_default();
            return Ok(text.to_owned());
        }
        Err(self.error("expected a quoted string"))
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    fn skip_space_and_comments(&mut self, lines: bool) {
        loop {
            self.skip_blanks();
            if self.rest.starts_with('#') {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.rest = self.rest.get(end..).unwrap_or_default();
            } else if lines && self.take('\n') {
                self.line += 1;
            } else if !(lines && self.take('\r')) {
                return;
            }
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn error(&self, message: &str) -> ConfError {
        ConfError { file: self.file.to_owned(), line: self.line, message: message.to_owned() }
    }
}

/// Fuzz target: any bytes.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    let _ = ConfFile::parse("fuzz", &String::from_utf8_lossy(data));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_of_values() {
        let conf = ConfFile::parse(
            "qemu.conf",
            "# comment\nuser = \"root\"  # trailing\nmax_files=7\nneg = -1\n\
             list = [\n  \"a\", # why\n  'b',\n]\nempty = []\nlong = \"\"\"x\ny\"\"\"\n",
        )
        .expect("reads");
        assert_eq!(conf.text("user"), Ok(Some("root")));
        assert_eq!(conf.number("max_files"), Ok(Some(7)));
        assert_eq!(conf.number("neg"), Ok(Some(-1)));
        assert_eq!(conf.list("list"), Ok(Some(vec!["a".into(), "b".into()])));
        assert_eq!(conf.list("empty"), Ok(Some(vec![])));
        assert_eq!(conf.text("long"), Ok(Some("x\ny")));
        assert_eq!(conf.text("absent"), Ok(None));
    }

    #[test]
    fn faults_name_file_line_and_expectation() {
        for (text, expected) in [
            ("a = 1\nb 2\n", "f:2: expected '=' after 'b'"),
            ("a = \"x", "f:1: a string is not closed"),
            ("a = [ \"x\" \"y\" ]", "f:1: expected ',' or ']' in a list"),
            ("a = yes", "f:1: expected a number, a quoted string or a list"),
            ("\n\n= 3", "f:3: expected the name of a setting"),
            ("a = 1 2", "f:1: unexpected text after the value of 'a'"),
        ] {
            let error = ConfFile::parse("f", text).expect_err(text);
            assert_eq!(error.to_string(), expected);
        }
        let conf = ConfFile::parse("f", "a = 1").expect("reads");
        assert_eq!(
            conf.text("a").expect_err("number").to_string(),
            "f:1: a: expected a quoted string"
        );
    }
}
