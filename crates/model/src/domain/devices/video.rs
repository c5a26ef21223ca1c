//! Video cards.

use crate::domain::prelude::*;

/// Device the guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum VideoType {
    /// `default`.
    #[default]
    Default,
    /// `vga`.
    Vga,
    /// `cirrus`.
    Cirrus,
    /// `vmvga`.
    Vmvga,
    /// `xen`.
    Xen,
    /// `vbox`.
    Vbox,
    /// `qxl`.
    Qxl,
    /// `parallels`.
    Parallels,
    /// `virtio`.
    Virtio,
    /// `gop`.
    Gop,
    /// `none`.
    None,
    /// `bochs`.
    Bochs,
    /// `ramfb`.
    Ramfb,
}

/// Where the VGA is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum VgaConf {
    /// `io`.
    #[default]
    Io,
    /// `on`.
    On,
    /// `off`.
    Off,
}

/// One video card.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Video {
    /// Element `<driver>`.
    #[xml(child)]
    pub driver: Option<VideoDriver>,
    /// Element `<model>`.
    #[xml(child)]
    pub model: Option<VideoModel>,
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

/// Backend and transport.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct VideoDriver {
    /// virtio
    #[xml(flatten)]
    pub virtio: VirtioDriver,
    /// Attribute `name`.
    #[xml(attr, one_of = &["qemu", "vhostuser"])]
    pub name: Option<String>,
    /// Attribute `vgaconf`.
    #[xml(attr)]
    pub vgaconf: Option<VgaConf>,
}

/// Model and memory, KiB.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct VideoModel {
    /// Attribute `type`.
    #[xml(attr, name = "type", default)]
    pub kind: VideoType,
    /// Attribute `ram`.
    #[xml(attr)]
    pub ram: Option<u32>,
    /// Attribute `vram`.
    #[xml(attr, zero_absent)]
    pub vram: Option<u32>,
    /// Attribute `vram64`.
    #[xml(attr)]
    pub vram64: Option<u32>,
    /// Attribute `vgamem`.
    #[xml(attr)]
    pub vgamem: Option<u32>,
    /// Attribute `heads`.
    #[xml(attr)]
    pub heads: Option<u32>,
    /// Attribute `primary`.
    #[xml(attr, lenient)]
    pub primary: Option<YesNo>,
    /// Attribute `blob`.
    #[xml(attr)]
    pub blob: Option<OnOff>,
    /// Attribute `edid`.
    #[xml(attr)]
    pub edid: Option<OnOff>,
    /// Element `<acceleration>`.
    #[xml(child)]
    pub acceleration: Option<Acceleration>,
    /// Element `<resolution>`.
    #[xml(child)]
    pub resolution: Option<Resolution>,
}

/// 2D and 3D.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Acceleration {
    /// Attribute `accel3d`.
    #[xml(attr)]
    pub accel3d: Option<YesNo>,
    /// Attribute `accel2d`.
    #[xml(attr)]
    pub accel2d: Option<YesNo>,
    /// Attribute `rendernode`.
    #[xml(attr)]
    pub rendernode: Option<String>,
}

/// Preferred resolution.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Resolution {
    /// Attribute `x`.
    #[xml(attr)]
    pub x: u32,
    /// Attribute `y`.
    #[xml(attr)]
    pub y: u32,
}
