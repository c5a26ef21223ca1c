//! Sound cards.

use crate::domain::prelude::*;

/// Device the guest sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum SoundModel {
    /// `sb16`.
    #[default]
    Sb16,
    /// `es1370`.
    Es1370,
    /// `pcspk`.
    Pcspk,
    /// `ac97`.
    Ac97,
    /// `ich6`.
    Ich6,
    /// `ich9`.
    Ich9,
    /// `usb`.
    Usb,
    /// `ich7`.
    Ich7,
    /// `virtio`.
    Virtio,
}

/// One sound card.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Sound {
    /// Attribute `model`.
    #[xml(attr)]
    pub model: SoundModel,
    /// Attribute `multichannel`.
    #[xml(attr)]
    pub multichannel: Option<YesNo>,
    /// Attribute `streams`.
    #[xml(attr, nonzero)]
    pub streams: Option<u32>,
    /// Element `<codec>`.
    #[xml(child, name = "codec")]
    pub codecs: Vec<Codec>,
    /// Element `<audio>`.
    #[xml(child)]
    pub audio: Option<super::graphics::AudioRef>,
    /// Element `<alias>`.
    #[xml(child, needs = "name")]
    pub alias: Option<Alias>,
    /// Element `<acpi>`.
    #[xml(child, empty_absent)]
    pub acpi: Option<DeviceAcpi>,
    /// Element `<address>`.
    #[xml(child)]
    pub address: Option<Address>,
    /// Element `<driver>`.
    #[xml(child, empty_absent)]
    pub driver: Option<VirtioDriver>,
}

/// HDA codec.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Codec {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: String,
}
