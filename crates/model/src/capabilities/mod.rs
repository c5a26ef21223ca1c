//! What the host and its hypervisors can do, and the XML that says so.

pub mod domain;
pub mod firmware;
pub mod host;
mod host_xml;
pub mod hypervisor_cpu;
pub mod qemu;
pub mod resctrl;
mod text;
pub mod vhost_user;

pub use crate::cpu::x86 as cpu;
pub use host_xml::{GuestCaps, SecModel, capabilities_xml, host_cpu_xml, shows_virtualisation};
