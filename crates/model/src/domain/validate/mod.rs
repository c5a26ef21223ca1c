//! What libvirt refuses although each value by itself is right: rules across values.
//!
//! [`validate`] takes a domain with its defaults filled in and reports every fault at once, with
//! libvirt's codes and words. The rules of all of libvirt's drivers stand in `core`, those of its
//! QEMU driver in `qemu`; [`validate_core`] asks the former alone.

mod core;
mod qemu;

use diag::{Diagnostic, ErrorCode, ErrorDomain, Severity};

pub(crate) use qemu::duplicate_controllers;
pub use qemu::emulator::{validate_emulator, validate_host, validate_machine, validate_settings};
pub use qemu::start::{unavailable_nodes, validate_start};
pub use qemu::support::validate_support;

use super::Domain;
use super::alias::VirtioDriver;
use super::devices::disk::{DiskSource, StorageType};

/// Collects faults.
pub(crate) struct Faults {
    list: Vec<Diagnostic>,
    /// Who says so, unless the words are known to be another's.
    reporter: Option<ErrorDomain>,
}

/// Faults kept of one document; pairs of thousands of devices have millions.
pub(crate) const MOST_FAULTS: usize = 1000;

/// Words of the QEMU driver for what is asked for every driver here.
const OF_QEMU: &[&str] =
    &["shmem size must be a power of 2", "need at least one serial port to use BIOS serial output"];

/// What is wrong with an image by itself, such as one that a snapshot names; no places.
pub(crate) fn check_image(kind: StorageType, source: &DiskSource) -> Vec<Diagnostic> {
    let mut faults = Faults::new();
    core::image(kind, source, &mut faults);
    faults.list
}

impl Faults {
    /// None yet; those that come are of the part that reads domains.
    fn new() -> Self {
        Self { list: Vec::new(), reporter: None }
    }

    /// None yet; those that come are of the QEMU driver.
    fn of_qemu() -> Self {
        Self { list: Vec::new(), reporter: Some(ErrorDomain::QEMU) }
    }

    /// No more are kept.
    pub(crate) fn is_full(&self) -> bool {
        self.list.len() >= MOST_FAULTS
    }

    fn add(&mut self, rule: &'static str, code: ErrorCode, message: impl Into<String>) {
        if self.is_full() {
            return;
        }
        let mut fault = Diagnostic {
            rule,
            severity: Severity::Error,
            code,
            span: None,
            message: message.into(),
            domain: None,
            hints: Vec::new(),
        };
        super::reporters::name(&mut fault);
        fault.domain = fault.domain.or(self.reporter);
        if fault.domain.is_none() && OF_QEMU.iter().any(|words| fault.message.starts_with(words)) {
            fault.domain = Some(ErrorDomain::QEMU);
        }
        self.list.push(fault);
    }

    /// Says what to do about the fault added last.
    pub(crate) fn hint(&mut self, hint: impl Into<String>) {
        if let Some(last) = self.list.last_mut() {
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
    let mut out = Faults::new();
    core::check(d, &mut out);
    out.reporter = Some(ErrorDomain::QEMU);
    qemu::check(d, &mut out);
    out.list
}

/// The part of [`validate`] that is asked before a firmware is chosen.
pub fn validate_firmware(d: &Domain) -> Vec<Diagnostic> {
    let mut out = Faults::new();
    core::firmware(d, &mut out);
    out.list
}

/// The part of [`validate`] that holds for every hypervisor.
pub fn validate_core(d: &Domain) -> Vec<Diagnostic> {
    let mut out = Faults::new();
    core::check(d, &mut out);
    out.list
}

/// What must be seen in the document as it was written, because the defaults would cover it.
pub(crate) fn written(d: &Domain) -> Vec<Diagnostic> {
    let mut out = Faults::new();
    core::written(d, &mut out);
    out.list
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
