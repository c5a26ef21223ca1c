//! Domains: the XML of a guest as typed values.
//!
//! [`parse`] reads, [`format`] writes, [`defaults`] fills in what the user left open, [`validate`]
//! says what is wrong. All are pure: randomness and facts of the host come in as parameters.

pub mod abi;
pub mod address;
pub mod alias;
mod aliases;
mod arch;
pub(crate) mod canonical;
pub mod clock;
pub mod container_capabilities;
pub mod cpu;
pub mod defaults;
pub mod definition;
pub mod devices;
pub mod features;
pub mod firmware;
#[doc(hidden)]
pub mod fuzzing;
pub mod hotplug;
mod inside;
pub mod launch_security;
pub mod lifecycle;
pub mod live;
pub mod live_change;
pub mod memory;
mod migratable;
pub mod opaque;
pub mod os;
mod partial;
mod prelude;
pub mod qemu_namespace;
mod refine;
mod reporters;
pub mod scalar;
pub mod seclabel;
pub mod status;
mod status_types;
pub mod sysinfo;
mod text;
pub mod tune;
pub mod validate;
pub mod walk;

pub use aliases::assign_aliases;
pub use arch::{ARCHITECTURES, ARCHITECTURES_AND_NONE};
pub use definition::{Domain, VirtType};
pub use inside::Inside;
pub use text::{FormatFlags, ParseOptions, Parsed, QEMU_NS, format, parse, write_domain};
pub(crate) use validate::MOST_FAULTS;
pub use validate::{
    unavailable_nodes, validate, validate_core, validate_emulator, validate_firmware,
    validate_host, validate_machine, validate_settings, validate_start, validate_support,
};

impl Domain {
    /// The devices; an empty set is made when there is none.
    pub fn devices_mut(&mut self) -> &mut devices::Devices {
        self.devices.get_or_insert_default()
    }
}
