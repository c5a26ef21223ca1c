//! ABI stability: whether one definition may take the place of another without the guest noticing.
//!
//! Migration, restore and the revert to a snapshot continue a guest with a definition that somebody
//! handed in. Where it lies, what its disks' files are called or how fast they may be is free to
//! change; what the guest's own software sees is not. [`check`] compares two effective definitions
//! (with their defaults filled in, [`super::defaults`]) and names each difference with libvirt's
//! words, found by asking libvirt 11.3.
//!
//! The rules of a type are a table of [`rule::Rule`]s: where the field is, how a difference is
//! told, and how to get the value. What no table can say (lists within lists) is a function beside.

mod address;
mod chardevs;
mod cpu;
mod devices;
mod features;
mod guest;
mod memory;
mod platform;
mod rule;
mod storage;
mod sysinfo;

use std::fmt;

use diag::{ErrorCode, ErrorDomain, VirError};

use super::Domain;

/// What the definitions that are compared stand for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Scope {
    /// Both are stored: what the guest had when it stopped counts as a part of them.
    #[default]
    Stored,
    /// The source runs. What changes by itself while a guest runs (the size of the balloon) is not
    /// compared.
    Running,
}

/// One thing the guest would see change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// Where, from the `<domain>` on: `devices/disk[2]/target/@dev`. Devices count from one.
    pub path: String,
    /// What the guest has.
    pub source: String,
    /// What it would get.
    pub target: String,
    /// libvirt's sentence.
    pub message: String,
    /// The part of libvirt that tells of such a difference.
    pub domain: ErrorDomain,
}

/// The definitions describe different machines. There is at least one difference, and the first is
/// the one that libvirt would tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AbiError {
    /// All of them, in libvirt's order.
    pub mismatches: Vec<Mismatch>,
}

impl fmt::Display for AbiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mismatches.first().map_or("", |m| &m.message))
    }
}

impl std::error::Error for AbiError {}

impl AbiError {
    /// The error for a client: libvirt's sentence for the first difference; the further ones are
    /// hints.
    pub fn to_vir(&self) -> VirError {
        let domain = self.mismatches.first().map_or(ErrorDomain::DOMAIN, |m| m.domain);
        let mut error = VirError::new(ErrorCode::CONFIG_UNSUPPORTED, self.to_string());
        for further in self.mismatches.iter().skip(1) {
            error = error.hint(format!("{}: {}", further.path, further.message));
        }
        error.from_domain(domain)
    }
}

/// Compares two stored definitions. See [`check_in`].
///
/// # Errors
/// The differences that the guest would see.
pub fn check(source: &Domain, target: &Domain) -> Result<(), AbiError> {
    check_in(Scope::Stored, source, target)
}

/// Compares what a guest has (`source`) with what it would get (`target`). Both must have their
/// defaults filled in: an absent value and its default are the same machine.
///
/// # Errors
/// The differences that the guest would see.
pub fn check_in(scope: Scope, source: &Domain, target: &Domain) -> Result<(), AbiError> {
    let mut cx = rule::Checker::default();
    guest::check(scope, source, target, &mut cx);
    features::check(source, target, &mut cx);
    sysinfo::check(&source.sysinfo, &target.sysinfo, &mut cx);
    cpu::check(source, target, &mut cx);
    guest::check_timers(source, target, &mut cx);
    devices::check(source, target, &mut cx);
    guest::check_backing(source, target, &mut cx);
    if cx.found.is_empty() { Ok(()) } else { Err(AbiError { mismatches: cx.found }) }
}

#[cfg(test)]
mod tests;
