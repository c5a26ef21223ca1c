//! Domains of QEMU: their XML and their command line.

mod argv;
pub mod define;
mod found;
mod hotplug;
mod memlock;
mod vcpus;
mod xml;

use crate::Operation;

/// The operations of this area.
pub const OPERATIONS: &[Operation] = &[
    ("domain-xml", xml::domain_xml),
    ("domain-argv", argv::domain_argv),
    ("domain-hotplug", hotplug::domain_hotplug),
    ("domain-memlock", memlock::domain_memlock),
    ("domain-vcpu-hotplug", vcpus::domain_vcpu_hotplug),
    ("domain-generic-xml", xml::generic_xml),
    ("domain-live-xml", xml::live_xml),
    ("domain-status-xml", xml::status_xml),
];
