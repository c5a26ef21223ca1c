//! How a comparison is declared, and what it finds.

use std::fmt::Display;

use diag::ErrorDomain;
use xml::{OnOff, YesNo};

use super::Mismatch;

/// Differences kept of one pair; there can be as many as devices.
const MOST: usize = 1000;

/// One field that must stay as it is.
pub(super) struct Rule<T> {
    /// Its place within the element, as a path.
    pub at: &'static str,
    /// libvirt's sentence, with `{target}` and `{source}` for the values.
    pub says: &'static str,
    /// The value, as the sentence shows it.
    pub value: fn(&T) -> String,
}

/// Collects the differences.
pub(super) struct Checker {
    pub found: Vec<Mismatch>,
    /// Who tells of what is found from now on.
    pub domain: ErrorDomain,
}

impl Default for Checker {
    fn default() -> Self {
        Self { found: Vec::new(), domain: ErrorDomain::DOMAIN }
    }
}

impl Checker {
    /// Compares two values by what is shown of them.
    pub fn compare(
        &mut self,
        path: impl FnOnce() -> String,
        says: &str,
        source: impl Display,
        target: impl Display,
    ) -> bool {
        let (source, target) = (source.to_string(), target.to_string());
        if source == target {
            return true;
        }
        self.add(path(), says, source, target);
        false
    }

    /// Notes a difference.
    pub fn add(&mut self, path: String, says: &str, source: String, target: String) {
        if self.found.len() >= MOST {
            return;
        }
        let message = fill(says, &source, &target);
        self.found.push(Mismatch { path, source, target, message, domain: self.domain });
    }

    /// Compares two values by all rules of their type.
    pub fn rules<T>(&mut self, path: &str, rules: &[Rule<T>], source: &T, target: &T) {
        for rule in rules {
            let (a, b) = ((rule.value)(source), (rule.value)(target));
            self.compare(|| join(path, rule.at), rule.says, a, b);
        }
    }

    /// Compares lists whose members have fixed places: first their number, then each with its
    /// counterpart.
    pub fn lists<T>(
        &mut self,
        element: &str,
        count_says: &str,
        source: &[T],
        target: &[T],
        mut each: impl FnMut(&mut Self, &str, &T, &T),
    ) {
        if !self.compare(|| element.to_owned(), count_says, source.len(), target.len()) {
            return;
        }
        for (i, (a, b)) in source.iter().zip(target).enumerate() {
            each(self, &format!("{element}[{}]", i + 1), a, b);
        }
    }
}

/// Puts the values into a sentence.
fn fill(says: &str, source: &str, target: &str) -> String {
    let mut out = String::with_capacity(says.len() + source.len() + target.len());
    let mut rest = says;
    while let Some(at) = rest.find('{') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("{source}") {
            out.push_str(source);
            rest = after;
        } else if let Some(after) = rest.strip_prefix("{target}") {
            out.push_str(target);
            rest = after;
        } else {
            out.push('{');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

/// A path within a path.
pub(super) fn join(path: &str, at: &str) -> String {
    match (path, at) {
        ("", at) => at.to_owned(),
        (path, "") => path.to_owned(),
        (path, at) => format!("{path}/{at}"),
    }
}

/// A text that may be absent.
pub(super) fn text(value: Option<&str>) -> String {
    value.unwrap_or("<null>").to_owned()
}

/// A number that counts as zero while absent.
pub(super) fn number<N: Display>(value: Option<N>) -> String {
    value.map_or_else(|| "0".to_owned(), |n| n.to_string())
}

/// A word that may be absent.
pub(super) fn word(value: Option<impl Display>, absent: &str) -> String {
    value.map_or_else(|| absent.to_owned(), |w| w.to_string())
}

/// A switch of three states.
pub(super) fn switch(value: Option<OnOff>) -> &'static str {
    match value {
        Some(OnOff::On) => "on",
        Some(OnOff::Off) => "off",
        None => "default",
    }
}

/// The same for yes and no.
pub(super) fn yes_no(value: Option<YesNo>) -> &'static str {
    match value {
        Some(YesNo::Yes) => "yes",
        Some(YesNo::No) => "no",
        None => "default",
    }
}
