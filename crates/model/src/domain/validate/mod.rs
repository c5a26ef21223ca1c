//! What libvirt refuses although each value by itself is right: rules across values.
//!
//! [`validate`] takes a domain with its defaults filled in and reports every fault at once, with
//! libvirt's codes and words. The rules of all of libvirt's drivers stand in `core`, those of its
//! QEMU driver in `qemu`; [`validate_core`] asks the former alone.

mod core;
mod qemu;

use diag::{Diagnostic, ErrorCode, Severity};

pub(crate) use qemu::duplicate_controllers;
pub use qemu::emulator::{validate_emulator, validate_host, validate_machine};
pub use qemu::start::validate_start;
pub use qemu::support::validate_support;

use super::Domain;
use super::alias::VirtioDriver;

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
    core::check(d, &mut out);
    qemu::check(d, &mut out);
    out.0
}

/// The part of [`validate`] that holds for every hypervisor.
pub fn validate_core(d: &Domain) -> Vec<Diagnostic> {
    let mut out = Faults(Vec::new());
    core::check(d, &mut out);
    out.0
}

/// What must be seen in the document as it was written, because the defaults would cover it.
pub(crate) fn written(d: &Domain) -> Vec<Diagnostic> {
    let mut out = Faults(Vec::new());
    core::written(d, &mut out);
    out.0
}

/// Options that only virtio devices have, on a device that is none.
fn virtio_options(v: &VirtioDriver, out: &mut Faults) {
    for (there, text) in [
        (v.iommu.is_some(), "iommu driver option is only supported for virtio devices"),
        (v.ats.is_some(), "ats driver option is only supported for virtio devices"),
        (v.packed.is_some(), "packed driver option is only supported for virtio devices"),
        (v.page_per_vq.is_some(), "page_per_vq option is only supported for virtio devices"),
    ] {
        if there {
            out.unsupported("domain.virtio-option", text);
        }
    }
}
