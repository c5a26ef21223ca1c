//! Options of a rule, as ebtables and iptables take them.

use model::nwfilter::{Condition, Rule, Value};

/// Where a tool wants the sign of negation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// `! --option value`
    Before,
    /// `--option ! value`
    After,
}

/// The options of a rule, in the making.
pub(super) struct Options<'a> {
    pub(super) rule: &'a Rule,
    /// The packets go the other way: source and destination change places.
    pub(super) reversed: bool,
    sign: Sign,
    pub(super) args: Vec<String>,
}

/// A value as the tools take it; numbers are decimal.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Number { number, .. } => number.to_string(),
        // Only numbers are written differently by kind.
        value => value.text(model::nwfilter::Kind::Comment),
    }
}

/// A number in hexadecimal.
pub(super) fn hex(value: &Value) -> String {
    match value {
        Value::Number { number, .. } => format!("{number:#x}"),
        value => text(value),
    }
}

impl<'a> Options<'a> {
    pub(super) fn new(rule: &'a Rule, reversed: bool, sign: Sign) -> Self {
        Self { rule, reversed, sign, args: Vec::new() }
    }

    /// Adds words.
    pub(super) fn words<T: Into<String>>(&mut self, words: impl IntoIterator<Item = T>) {
        self.args.extend(words.into_iter().map(Into::into));
    }

    /// The first of two when the rule is not reversed, otherwise the second.
    pub(super) fn side<T>(&self, source: T, destination: T) -> T {
        if self.reversed { destination } else { source }
    }

    /// Adds an option with values, maybe negated.
    pub(super) fn push(&mut self, option: &str, negated: bool, values: &[&str]) {
        let (before, after) = (self.sign == Sign::Before, self.sign == Sign::After);
        self.words((negated && before).then_some("!"));
        self.words([option]);
        self.words((negated && after).then_some("!"));
        self.words(values.iter().copied());
    }

    /// The condition on an attribute, where there is one.
    pub(super) fn condition(&self, attribute: &str) -> Option<&'a Condition> {
        self.rule.condition(attribute)
    }

    /// Adds the option for an attribute, where there is a condition on it.
    pub(super) fn value(&mut self, option: &str, attribute: &str) {
        self.value_as(option, attribute, text);
    }

    /// The same, with the value as `form` writes it.
    pub(super) fn value_as(&mut self, option: &str, attribute: &str, form: fn(&Value) -> String) {
        if let Some(condition) = self.condition(attribute) {
            self.push(option, condition.negated, &[&form(&condition.value)]);
        }
    }

    /// Adds the option for an attribute and a second one: `first/second`. The second means
    /// nothing without the first.
    pub(super) fn pair(&mut self, option: &str, first: &str, sep: char, second: &str) {
        if let Some(condition) = self.condition(first) {
            let mut words = text(&condition.value);
            if let Some(second) = self.rule.value(second) {
                words.push(sep);
                words.push_str(&text(second));
            }
            self.push(option, condition.negated, &[&words]);
        }
    }
}
