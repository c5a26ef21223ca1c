//! Plans for QEMU guests.
//!
//! [`launch`] turns an effective domain into a [`crate::LaunchPlan`]; [`observe`] puts what
//! executing it yielded into the live definition. The command line's parts lie in one small file
//! a device, each a block of methods of `build::Build`.

mod accel;
mod again;
mod balloon;
mod boot;
mod build;
mod chardev;
mod clock;
mod commandline;
mod compat;
mod controllers;
mod cpu;
mod crypto;
mod dbus;
mod device_uses;
mod disk;
mod environment;
mod filesystem;
mod flags;
mod found;
mod graphics;
mod guest_cpu;
mod hmat;
mod hostdev;
pub(crate) mod hotplug;
mod incoming;
mod input;
mod lacking;
mod launch;
mod launch_security;
mod live;
mod machine;
mod memlock;
mod memory;
mod memory_device;
mod misc;
mod nbdkit;
mod net;
mod noted;
mod numa;
mod observe;
mod pci;
mod pflash;
mod power;
mod pstore;
#[cfg(test)]
mod recorded;
mod resources;
mod rng;
mod settings;
mod shmem;
mod smartcard;
mod sound;
mod swtpm;
mod time;
mod tpm;
mod update;
mod usb;
mod vhost_user_gpu;
mod video;
mod vsock;
mod watchdog;
mod words;
mod zpci;

pub use again::helper_again;
pub use device_uses::device_uses;
pub(crate) use disk::private::note_nodes;
pub use disk::{drive_id, filter_nodes};
pub use found::{FdGroup, Found, FoundVolume, Nbdkit, ScsiPlace};
pub use guest_cpu::resolve as expand_host_model;
pub use hotplug::{
    InUse, images, images_of_descriptors, last_node, medium, medium_inside, plug, resolve_volumes,
    settle_device, show_volumes, unplug,
};
pub use launch::{Inputs, launch, short_name};
pub use memlock::{MemoryLock, memory_lock};
pub use memory::huge_page_folder;
pub use model::domain::firmware::{NoFirmware, select as select_firmware};
pub use observe::{Observed, ResultValue, Results, is_observed, observe, observe_plugged, verify};
pub use resources::cgroup_settings;
pub use settings::{GraphicsSettings, Settings, TlsSettings};
pub use update::update;
