//! What libvirt refuses although each value by itself is right: rules across values.
//!
//! [`validate`] takes a domain with its defaults filled in and reports every fault at once, in the
//! order in which libvirt would meet them, with libvirt's codes and words.

mod controllers;
mod devices;
mod disks;
mod emulator;
mod interfaces;
mod memory;
mod places;
mod platform;
mod support;
mod unique;
mod videos;

use diag::{Diagnostic, ErrorCode, Severity};

pub use emulator::{validate_emulator, validate_machine};
pub use support::validate_support;

use super::Domain;
use super::defaults::Machine;

/// Collects faults.
pub(crate) struct Faults(Vec<Diagnostic>);

/// Faults kept of one document; pairs of thousands of devices have millions.
const MOST_FAULTS: usize = 1000;

impl Faults {
    /// No more are kept.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MOST_FAULTS
    }

    fn add(&mut self, rule: &'static str, code: ErrorCode, message: impl Into<String>) {
        if self.is_full() {
            return;
        }
        self.0.push(Diagnostic {
            rule,
            severity: Severity::Error,
            code,
            span: None,
            message: message.into(),
            hints: Vec::new(),
        });
    }

    /// Says what to do about the fault added last.
    pub(crate) fn hint(&mut self, hint: impl Into<String>) {
        if let Some(last) = self.0.last_mut() {
            last.hints.push(hint.into());
        }
    }

    /// The document is wrong in itself.
    pub(crate) fn xml(&mut self, rule: &'static str, message: impl Into<String>) {
        self.add(rule, ErrorCode::XML_ERROR, message);
    }

    /// The configuration asks for what there is not.
    pub(crate) fn unsupported(&mut self, rule: &'static str, message: impl Into<String>) {
        self.add(rule, ErrorCode::CONFIG_UNSUPPORTED, message);
    }

    /// What libvirt reports as an internal error.
    pub(crate) fn internal(&mut self, rule: &'static str, message: impl Into<String>) {
        self.add(rule, ErrorCode::INTERNAL_ERROR, message);
    }

    /// What libvirt reports without a category.
    pub(crate) fn detail(&mut self, rule: &'static str, message: impl Into<String>) {
        self.add(rule, ErrorCode::XML_DETAIL, message);
    }

    /// Any other code.
    pub(crate) fn code(&mut self, rule: &'static str, code: ErrorCode, message: impl Into<String>) {
        self.add(rule, code, message);
    }
}

/// Checks a domain whose defaults are filled in. An empty list means it can be defined.
pub fn validate(d: &Domain) -> Vec<Diagnostic> {
    let mut out = Faults(Vec::new());
    let m = Machine::of(d);
    platform::check(d, &m, &mut out);
    memory::check(d, &mut out);
    unique::check(d, &mut out);
    if let Some(dev) = &d.devices {
        places::addresses(d, dev, &m, &mut out);
        controllers::check(dev, &m, &mut out);
        places::drives(d, dev, &m, &mut out);
        disks::check(d, dev, &mut out);
        interfaces::check(dev, &mut out);
        videos::check(dev, &mut out);
        devices::check(dev, &m, &mut out);
    }
    out.0
}
