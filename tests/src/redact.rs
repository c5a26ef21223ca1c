//! Replaces what differs from run to run (UUIDs, MACs, temporary paths) by stable names, so that
//! transcripts can be compared as text. The same value always gets the same name.

use std::collections::HashMap;

/// Remembers the values seen so far; one for a whole transcript.
#[derive(Debug, Default)]
pub struct Redactor {
    fixed: Vec<(String, String)>,
    seen: HashMap<String, String>,
    uuids: usize,
    macs: usize,
}

impl Redactor {
    /// A redactor that knows these (value, name) pairs from the start.
    pub fn new(fixed: Vec<(String, String)>) -> Redactor {
        Redactor { fixed, ..Redactor::default() }
    }

    /// `text` with every varying value replaced.
    pub fn redact(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for (value, name) in &self.fixed {
            text = text.replace(value, name);
        }
        let mut out = String::with_capacity(text.len());
        let mut rest = text.as_str();
        while let Some(first) = rest.chars().next() {
            let after_word = out.chars().next_back().is_some_and(|c| c.is_ascii_alphanumeric());
            if !after_word && let Some(length) = shape(rest, UUID).or_else(|| shape(rest, MAC)) {
                let (value, tail) = rest.split_at(length);
                out.push_str(&self.name(value));
                rest = tail;
            } else {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        out
    }

    fn name(&mut self, value: &str) -> String {
        if let Some(name) = self.seen.get(value) {
            return name.clone();
        }
        let name = if value.len() == UUID.len() {
            self.uuids += 1;
            format!("[uuid-{}]", self.uuids)
        } else {
            self.macs += 1;
            format!("[mac-{}]", self.macs)
        };
        self.seen.insert(value.to_owned(), name.clone());
        name
    }
}

const UUID: &str = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
const MAC: &str = "xx:xx:xx:xx:xx:xx";

/// The length of `pattern` when `text` starts with it (x: a hex digit) and it ends there.
fn shape(text: &str, pattern: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let fits = bytes.len() >= pattern.len()
        && bytes.iter().zip(pattern.bytes()).all(|(byte, wanted)| match wanted {
            b'x' => byte.is_ascii_hexdigit(),
            other => *byte == other,
        });
    let ends = bytes.get(pattern.len()).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    (fits && ends).then_some(pattern.len())
}

#[cfg(test)]
mod tests {
    use super::Redactor;

    #[test]
    fn values_get_stable_names() {
        let mut redactor = Redactor::new(vec![("/var/tmp/iv-x".into(), "{root}".into())]);
        let text =
            "a 11111111-2222-3333-4444-555555555555 at /var/tmp/iv-x/run, mac 52:54:00:aa:bb:cc";
        assert_eq!(redactor.redact(text), "a [uuid-1] at {root}/run, mac [mac-1]");
        let again = "22222222-2222-3333-4444-555555555555 11111111-2222-3333-4444-555555555555.";
        assert_eq!(redactor.redact(again), "[uuid-2] [uuid-1].");
    }

    #[test]
    fn what_only_looks_alike_stays() {
        let text = "x11111111-2222-3333-4444-555555555555 12:34:56 52:54:00:aa:bb:ccc";
        assert_eq!(Redactor::default().redact(text), text);
    }
}
