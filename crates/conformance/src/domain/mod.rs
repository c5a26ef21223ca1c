//! Domains of QEMU: their XML and their command line.

mod argv;
mod define;
mod found;
mod memlock;
mod xml;

use crate::Operation;

/// The operations of this area.
pub const OPERATIONS: &[Operation] = &[
    ("domain-xml", xml::domain_xml),
    ("domain-argv", argv::domain_argv),
    ("domain-memlock", memlock::domain_memlock),
    ("domain-generic-xml", xml::generic_xml),
    ("domain-live-xml", xml::live_xml),
    ("domain-status-xml", xml::status_xml),
];
