//! Changing a device that is there: what a running guest can take, and what not.

mod disk;
mod graphics;
mod interface;
mod memory;

pub use graphics::seconds_of;
pub use interface::limits;

use super::device::{Device, DeviceKind, Place};
use super::{error, find, support};
use crate::domain::Domain;
use crate::domain::devices::Devices;
use crate::domain::devices::interface::{Bandwidth, Coalesce, InterfaceType, Vlan};
use diag::{ErrorCode, VirError};

/// What a running guest's emulator is told about a changed device.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A display's password, and how long it holds.
    Password {
        /// `vnc` or `spice`.
        protocol: &'static str,
        /// The password; none: the daemon's own default, if it has one.
        password: Option<String>,
        /// What becomes of who is connected.
        connected: Option<&'static str>,
        /// Until when, in seconds of the epoch; none: for ever.
        valid_to: Option<u64>,
    },
    /// Another medium is in the drive, or none.
    Medium,
    /// The cable of an interface is plugged in or pulled.
    Link {
        /// It is plugged in.
        up: bool,
    },
    /// An interface is connected to another bridge.
    Bridge {
        /// The host's end of the interface.
        port: String,
        /// The bridge that it leaves.
        from: String,
        /// The bridge that it joins.
        to: String,
    },
    /// The limits of what passes an interface are others.
    Bandwidth {
        /// The host's end of the interface.
        device: String,
        /// What kind of interface it is.
        kind: InterfaceType,
        /// The limits that it has.
        from: Option<Box<Bandwidth>>,
        /// The limits that it is to have.
        to: Option<Box<Bandwidth>>,
    },
    /// An interface tells of more or fewer received frames at a time.
    Coalesce {
        /// The host's end of the interface.
        device: String,
        /// How many it was told to collect at most.
        from: Option<Coalesce>,
        /// How many it is to collect.
        to: Option<Coalesce>,
    },
    /// The host's end of an interface is in other VLANs.
    Vlan {
        /// The port of the bridge.
        device: String,
        /// Those that it is in.
        from: Option<Vlan>,
        /// Those that it is to be in.
        to: Option<Vlan>,
    },
    /// The memory that a device is to have.
    RequestedSize {
        /// In bytes.
        bytes: u64,
    },
}

/// A running guest's device as it is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Updated {
    /// Which one.
    pub place: Place,
    /// Its definition then.
    pub device: Device,
    /// What the emulator is told, in order; nothing where only the daemon needs to know.
    pub changes: Vec<Change>,
}

fn unsupported(text: impl Into<String>) -> VirError {
    error(ErrorCode::OPERATION_UNSUPPORTED, text)
}

/// Works out what changes for a running guest where a device is to be as `wanted`.
///
/// # Errors
/// There is no such device, or it cannot be changed that way; libvirt's words.
pub fn running(domain: &Domain, wanted: &Device) -> Result<Updated, VirError> {
    support::running(support::Verb::Update, wanted.kind())?;
    let nothing = Devices::default();
    let devices = domain.devices.as_ref().unwrap_or(&nothing);
    match wanted {
        Device::Disk(disk) => disk::running(devices, disk),
        Device::Graphics(graphics) => graphics::running(devices, graphics),
        Device::Interface(nic) => interface::running(domain, devices, nic),
        Device::Memory(memory) => memory::running(domain, devices, memory),
        // The kinds above are all that can be changed.
        _ => Err(unsupported("the device cannot be changed")),
    }
}

/// Where in a stored definition the device is that `wanted` is to replace.
///
/// # Errors
/// There is none, or its kind cannot be replaced; libvirt's words.
pub fn stored(domain: &Domain, wanted: &Device) -> Result<Place, VirError> {
    support::stored(support::Verb::Update, wanted.kind())?;
    let invalid = |text: String| error(ErrorCode::INVALID_ARG, text);
    match wanted {
        Device::Disk(disk) => find::stored(domain, wanted)
            .map_err(|_| invalid(format!("target {} doesn't exist.", disk.target.dev))),
        Device::Graphics(graphics) => find::stored(domain, wanted).map_err(|_| {
            invalid(format!(
                "cannot find existing graphics type '{}' device to modify",
                graphics.kind.as_str()
            ))
        }),
        Device::Memory(_) => {
            find::stored(domain, wanted).map_err(|_| invalid("memory not found".to_owned()))
        }
        _ => find::stored(domain, wanted),
    }
}

/// A replacement of a stored device keeps what it does not say: name and address.
pub fn replacement(domain: &Domain, place: Place, wanted: Device) -> Device {
    let old = domain.devices.as_ref().and_then(|devices| place.get(devices));
    let Some(old) = old else { return wanted };
    match (wanted, old) {
        (Device::Disk(mut new), Device::Disk(old)) => {
            if new.address.is_none() && new.target.bus == old.target.bus {
                new.address = old.address;
            }
            new.target.bus = new.target.bus.or(old.target.bus);
            Device::Disk(new)
        }
        (Device::Interface(mut new), Device::Interface(old)) => {
            new.address = new.address.or(old.address);
            new.alias = new.alias.or(old.alias);
            Device::Interface(new)
        }
        (Device::Memory(mut new), Device::Memory(old)) => {
            new.address = new.address.or(old.address);
            Device::Memory(new)
        }
        (new, _) => new,
    }
}

fn place(kind: DeviceKind, index: usize) -> Place {
    Place { kind, index }
}
