//! One device: a value of any kind, and its place among a domain's devices.

use crate::domain::alias::Alias;
use crate::domain::devices::*;
use crate::domain::{Domain, canonical, live, refine, reporters, validate};
use diag::{Diagnostic, ErrorCode, Severity};

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $element:literal $word:literal $list:ident $type:ty;)*) => {
        /// A kind of device, by its element.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum DeviceKind { $($(#[$doc])* $kind,)* }

        /// One device.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Device { $($(#[$doc])* $kind(Box<$type>),)* }

        impl DeviceKind {
            /// The kind with this element.
            pub fn of_element(name: &str) -> Option<Self> {
                match name {
                    $($element => Some(Self::$kind),)*
                    _ => None,
                }
            }

            /// The element's name.
            pub fn element(self) -> &'static str {
                match self { $(Self::$kind => $element,)* }
            }

            /// libvirt's word for it in messages.
            pub fn word(self) -> &'static str {
                match self { $(Self::$kind => $word,)* }
            }

            /// How many devices of the kind there are.
            pub fn count(self, devices: &Devices) -> usize {
                match self { $(Self::$kind => devices.$list.len(),)* }
            }

            /// Leaves only one device of the kind.
            pub fn keep_only(self, devices: &mut Devices, index: usize) {
                fn keep<T>(list: &mut Vec<T>, index: usize) {
                    let mut place = 0;
                    list.retain(|_| { place += 1; place - 1 == index });
                }
                match self { $(Self::$kind => keep(&mut devices.$list, index),)* }
            }
        }

        impl Device {
            /// Its kind.
            pub fn kind(&self) -> DeviceKind {
                match self { $(Self::$kind(_) => DeviceKind::$kind,)* }
            }

            /// Appends it to the devices of its kind.
            pub fn append(self, devices: &mut Devices) -> Place {
                match self {
                    $(Self::$kind(device) => {
                        devices.$list.push(*device);
                        Place { kind: DeviceKind::$kind, index: devices.$list.len() - 1 }
                    })*
                }
            }

            fn read_one(kind: DeviceKind, text: &str) -> xml::Parsed<Device> {
                match kind {
                    $(DeviceKind::$kind => {
                        let read = xml::read_str::<$type>(text, $element);
                        let value = read.value.map(|device| Self::$kind(Box::new(device)));
                        xml::Parsed { value, diagnostics: read.diagnostics }
                    })*
                }
            }
        }

        impl Place {
            /// The device at the place.
            pub fn get(self, devices: &Devices) -> Option<Device> {
                Some(match self.kind {
                    $(DeviceKind::$kind => {
                        Device::$kind(Box::new(devices.$list.get(self.index)?.clone()))
                    })*
                })
            }

            /// Puts another device of the same kind in its place.
            pub fn put(self, devices: &mut Devices, device: Device) {
                match device {
                    $(Device::$kind(device) => {
                        if let Some(slot) = devices.$list.get_mut(self.index) {
                            *slot = *device;
                        }
                    })*
                }
            }

            /// Takes the device away.
            pub fn remove(self, devices: &mut Devices) {
                match self.kind {
                    $(DeviceKind::$kind => {
                        if self.index < devices.$list.len() {
                            devices.$list.remove(self.index);
                        }
                    })*
                }
            }
        }
    };
}

kinds! {
    /// `<disk>`.
    Disk "disk" "disk" disks disk::Disk;
    /// `<controller>`.
    Controller "controller" "controller" controllers controller::Controller;
    /// `<lease>`.
    Lease "lease" "lease" leases lease::Lease;
    /// `<filesystem>`.
    Filesystem "filesystem" "filesystem" filesystems filesystem::Filesystem;
    /// `<interface>`.
    Interface "interface" "net" interfaces interface::Interface;
    /// `<smartcard>`.
    Smartcard "smartcard" "smartcard" smartcards smartcard::Smartcard;
    /// `<serial>`.
    Serial "serial" "chr" serials chardev::Serial;
    /// `<parallel>`.
    Parallel "parallel" "chr" parallels chardev::Serial;
    /// `<console>`.
    Console "console" "chr" consoles chardev::Serial;
    /// `<channel>`.
    Channel "channel" "chr" channels chardev::Serial;
    /// `<input>`.
    Input "input" "input" inputs input::Input;
    /// `<tpm>`.
    Tpm "tpm" "tpm" tpms tpm::Tpm;
    /// `<graphics>`.
    Graphics "graphics" "graphics" graphics graphics::Graphics;
    /// `<sound>`.
    Sound "sound" "sound" sounds sound::Sound;
    /// `<audio>`.
    Audio "audio" "audio" audios audio::Audio;
    /// `<video>`.
    Video "video" "video" videos video::Video;
    /// `<hostdev>`.
    Hostdev "hostdev" "hostdev" hostdevs hostdev::Hostdev;
    /// `<redirdev>`.
    Redirdev "redirdev" "redirdev" redirdevs redirdev::RedirDev;
    /// `<hub>`.
    Hub "hub" "hub" hubs hub::Hub;
    /// `<watchdog>`.
    Watchdog "watchdog" "watchdog" watchdogs watchdog::Watchdog;
    /// `<memballoon>`.
    Memballoon "memballoon" "memballoon" memballoons memballoon::MemBalloon;
    /// `<rng>`.
    Rng "rng" "rng" rngs rng::Rng;
    /// `<nvram>`.
    Nvram "nvram" "nvram" nvrams nvram::NvramDevice;
    /// `<panic>`.
    Panic "panic" "panic" panics panic::Panic;
    /// `<shmem>`.
    Shmem "shmem" "shmem" shmems shmem::Shmem;
    /// `<memory>`.
    Memory "memory" "memory" memories memory::MemoryDevice;
    /// `<crypto>`.
    Crypto "crypto" "crypto" cryptos crypto::Crypto;
    /// `<iommu>`.
    Iommu "iommu" "iommu" iommus iommu::Iommu;
    /// `<vsock>`.
    Vsock "vsock" "vsock" vsocks vsock::Vsock;
    /// `<pstore>`.
    Pstore "pstore" "pstore" pstores pstore::Pstore;
}

impl DeviceKind {
    /// A character device in front of the guest.
    pub fn is_chardev(self) -> bool {
        matches!(self, Self::Serial | Self::Parallel | Self::Console | Self::Channel)
    }
}

/// Where a device is among those of a domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Its kind.
    pub kind: DeviceKind,
    /// Its place among those of its kind.
    pub index: usize,
}

impl Place {
    /// The name of the device at the place.
    pub fn alias(self, domain: &Domain) -> Option<String> {
        let mut found = None;
        crate::domain::walk::look_at_each(domain, &mut |info| {
            if info.element == self.kind.element() && info.index == self.index {
                found = info.alias.as_ref().map(|alias| alias.name.clone());
            }
        });
        found
    }

    /// Where the device with this name is. The console that repeats the first serial port is the
    /// serial port.
    pub fn of_alias(domain: &Domain, name: &str) -> Option<Self> {
        let mut found = None;
        crate::domain::walk::look_at_each(domain, &mut |info| {
            let is_it = info.alias.as_ref().is_some_and(|alias| alias.name == name);
            if is_it && found.is_none() {
                let kind = DeviceKind::of_element(info.element);
                found = kind.map(|kind| Self { kind, index: info.index });
            }
        });
        found
    }
}

impl Device {
    /// Calls `change` with a domain that has this device alone, and takes what became of it.
    pub(super) fn alone(self, change: impl FnOnce(&mut Domain)) -> Option<Self> {
        let mut domain = Domain::default();
        let place = self.append(domain.devices_mut());
        change(&mut domain);
        place.get(domain.devices_mut())
    }

    /// Its common parts: name and address.
    pub fn with_info(self, change: &mut dyn FnMut(&mut Option<Alias>)) -> Self {
        let kept = self.clone();
        self.alone(|domain| {
            crate::domain::walk::for_each_info(domain, &mut |info| change(info.alias));
        })
        .unwrap_or(kept)
    }

    /// Fills in the bus that a disk's target stands for, where it names none.
    pub fn guess_bus(&mut self) {
        if let Self::Disk(disk) = self
            && disk.target.bus.is_none()
        {
            let floppy = disk.device == disk::DiskDevice::Floppy;
            let of_name = crate::domain::defaults::disks::bus_of_name(&disk.target.dev);
            disk.target.bus = Some(if floppy { disk::DiskBus::Fdc } else { of_name });
        }
    }

    /// Its name, where it has one.
    pub fn alias(&self) -> Option<String> {
        let mut name = None;
        let _ = self.clone().with_info(&mut |alias| {
            name = alias.as_ref().map(|alias| alias.name.clone());
        });
        name
    }

    /// Its address, where it has one.
    pub fn address(&self) -> Option<crate::domain::address::Address> {
        let mut address = None;
        let _ = self.clone().alone(|domain| {
            crate::domain::walk::look_at_each(domain, &mut |info| {
                address.clone_from(info.address);
            });
        });
        address
    }
}

/// A device as read, and what was found.
#[derive(Clone, Debug)]
pub struct ReadDevice {
    /// The device, when there was no error.
    pub device: Option<Device>,
    /// Every finding, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads the document of one device. `running`: what only a running guest's device has (its name,
/// its pseudo-terminal) is kept, as it tells which one is meant.
pub fn read(text: &str, running: bool) -> ReadDevice {
    let element = match xml::Document::parse(text) {
        Ok(document) => document.root().name().to_owned(),
        Err(diagnostics) => return ReadDevice { device: None, diagnostics },
    };
    let Some(kind) = DeviceKind::of_element(&element) else {
        let mut diagnostics = Vec::new();
        crate::domain::defaults::fault(
            &mut diagnostics,
            "domain.device-type",
            ErrorCode::CONFIG_UNSUPPORTED,
            format!("unknown device type '{element}'"),
        );
        return ReadDevice { device: None, diagnostics };
    };
    let xml::Parsed { value, mut diagnostics } = Device::read_one(kind, text);
    refine::refine(&mut diagnostics, text);
    diagnostics.iter_mut().for_each(reporters::name);
    let device = value.and_then(|device| {
        device.alone(|domain| {
            canonical::canonicalize(domain, &mut diagnostics);
            diagnostics.extend(validate::written(domain));
            if !running {
                live::strip(domain);
            }
        })
    });
    let failed = diagnostics.iter().any(|finding| finding.severity == Severity::Error);
    ReadDevice { device: device.filter(|_| !failed), diagnostics }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_read_by_its_element() {
        let read = |text: &str| super::read(text, true);
        let rng = read("<rng model='virtio'><backend model='builtin'/><alias name='rng3'/></rng>");
        let rng = rng.device.expect("a device");
        assert_eq!((rng.kind(), rng.alias().as_deref()), (DeviceKind::Rng, Some("rng3")));
        for (text, expected) in [
            ("<foo/>", "unknown device type 'foo'"),
            ("<disk><source file='/a'/></disk>", "missing target information for device"),
        ] {
            let read = read(text);
            assert!(read.device.is_none());
            assert_eq!(read.diagnostics[0].message, expected);
        }
        assert!(read("<disk").device.is_none());
    }

    #[test]
    fn what_is_stored_has_no_name_of_a_running_guest() {
        let text = "<rng model='virtio'><backend model='builtin'/><alias name='rng3'/></rng>";
        assert_eq!(read(text, false).device.expect("read").alias(), None);
    }
}
