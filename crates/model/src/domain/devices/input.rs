//! Mice, keyboards, tablets, evdev.

use super::disk::DiskModel;
use crate::domain::prelude::*;

/// Kind of input device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum InputType {
    /// `mouse`.
    #[default]
    Mouse,
    /// `tablet`.
    Tablet,
    /// `keyboard`.
    Keyboard,
    /// `passthrough`.
    Passthrough,
    /// `evdev`.
    Evdev,
}

/// Its bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum InputBus {
    /// `ps2`.
    #[default]
    Ps2,
    /// `usb`.
    Usb,
    /// `xen`.
    Xen,
    /// `parallels`.
    Parallels,
    /// `virtio`.
    Virtio,
}

/// What is grabbed together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum EvdevGrab {
    /// `all`.
    #[default]
    All,
}

/// Keys that toggle the grab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum EvdevToggle {
    /// `ctrl-ctrl`.
    #[default]
    CtrlCtrl,
    /// `alt-alt`.
    AltAlt,
    /// `shift-shift`.
    ShiftShift,
    /// `meta-meta`.
    MetaMeta,
    /// `scrolllock`.
    Scrolllock,
    /// `ctrl-scrolllock`.
    CtrlScrolllock,
}

/// One input device.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Input {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: InputType,
    /// Attribute `bus`.
    #[xml(attr)]
    pub bus: Option<InputBus>,
    /// Attribute `model`.
    #[xml(attr)]
    pub model: Option<DiskModel>,
    /// Element `<driver>`.
    #[xml(child, empty_absent)]
    pub driver: Option<VirtioDriver>,
    /// Element `<source>`.
    #[xml(child)]
    pub source: Option<InputSource>,
    /// Element `<alias>`.
    #[xml(child, needs = "name")]
    pub alias: Option<Alias>,
    /// Element `<acpi>`.
    #[xml(child, empty_absent)]
    pub acpi: Option<DeviceAcpi>,
    /// Element `<address>`.
    #[xml(child)]
    pub address: Option<Address>,
}

/// Event device of the host.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct InputSource {
    /// Attribute `evdev`.
    #[xml(attr)]
    pub evdev: Option<String>,
    /// Attribute `dev`.
    #[xml(attr)]
    pub dev: Option<String>,
    /// Attribute `grab`.
    #[xml(attr)]
    pub grab: Option<EvdevGrab>,
    /// Attribute `grabToggle`.
    #[xml(attr, name = "grabToggle")]
    pub grab_toggle: Option<EvdevToggle>,
    /// Attribute `repeat`.
    #[xml(attr)]
    pub repeat: Option<OnOff>,
}
