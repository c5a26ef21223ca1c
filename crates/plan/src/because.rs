//! Why a plan does what it does: kept as data beside each argument, step and command, by the very
//! code that makes them, so that what `ironvirt explain` says is what was decided.

use crate::launch_plan::LaunchPlan;
use crate::step::Piece;
use std::borrow::Cow;
use std::fmt;

/// An element of the guest's definition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Names of elements below `<domain>`, joined by slashes; empty: nothing in the definition.
    pub element: &'static str,
    /// Which of the elements of that name, from 0.
    pub index: Option<u32>,
}

impl fmt::Display for Place {
    /// As XPath counts: `devices/disk[2]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "{}[{}]", self.element, u64::from(index) + 1),
            None => f.write_str(self.element),
        }
    }
}

/// Why something is part of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Because {
    /// The element that asks for it.
    pub place: Place,
    /// The rule behind it, in words; empty where the element says all.
    pub rule: Cow<'static, str>,
    /// Capabilities of the emulator that were looked at while it was made, and whether it has them.
    pub asked: Vec<(&'static str, bool)>,
}

impl fmt::Display for Because {
    /// On one line: the element, the rule, the capabilities.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.place.element.is_empty() {
            parts.push(format!("<{}>", self.place));
        }
        if !self.rule.is_empty() {
            parts.push(self.rule.to_string());
        }
        for (flag, has) in &self.asked {
            parts.push(format!("QEMU {} '{flag}'", if *has { "has" } else { "lacks" }));
        }
        f.write_str(&parts.join("; "))
    }
}

/// The reasons of a whole plan, each list as long as what it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    /// Of the arguments of [`crate::Exec`].
    pub args: Vec<Because>,
    /// Of [`LaunchPlan::steps`].
    pub steps: Vec<Because>,
    /// Of the commands of [`LaunchPlan::prelude`].
    pub commands: Vec<Because>,
}

/// What a line of an explanation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An option of the command line with its value.
    Argument,
    /// A step before QEMU runs: a file, a descriptor, a helper, a control group.
    Step,
    /// A command of the conversation before the guest runs.
    Command,
}

impl Subject {
    /// `argument`, `step` or `command`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Argument => "argument",
            Self::Step => "step",
            Self::Command => "command",
        }
    }
}

/// One thing that a start does, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained<'a> {
    /// What it is.
    pub subject: Subject,
    /// It, as text: words of the command line; a step or command as plans show it.
    pub text: Vec<String>,
    /// Why it is there.
    pub because: &'a Because,
}

impl LaunchPlan {
    /// Everything the start would do, in order, with its reasons.
    pub fn explain(&self) -> Vec<Explained<'_>> {
        let mut out: Vec<Explained<'_>> = Vec::new();
        let single =
            |subject, text: String, because| Explained { subject, text: vec![text], because };
        for (step, because) in self.steps.iter().zip(&self.reasons.steps) {
            match &step.action {
                crate::Action::Exec(exec) => {
                    for (arg, because) in exec.args.iter().zip(&self.reasons.args) {
                        let is_option = matches!(
                            arg.0.first(), Some(Piece::Text(text)) if text.starts_with('-')
                        );
                        let text = arg.to_string();
                        match out.last_mut().filter(|_| !is_option) {
                            Some(last) if last.subject == Subject::Argument => last.text.push(text),
                            _ => out.push(single(Subject::Argument, text, because)),
                        }
                    }
                }
                crate::Action::Qmp { commands } => {
                    for (command, because) in commands.iter().zip(&self.reasons.commands) {
                        out.push(single(Subject::Command, command.to_string(), because));
                    }
                }
                action => out.push(single(Subject::Step, action.to_string(), because)),
            }
        }
        out
    }
}
