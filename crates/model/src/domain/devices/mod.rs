//! The devices of a domain, in the order libvirt writes them.

pub mod audio;
pub mod chardev;
pub mod controller;
pub mod crypto;
pub mod disk;
pub mod filesystem;
pub mod graphics;
pub mod hostdev;
pub mod hub;
pub mod input;
pub mod interface;
pub mod iommu;
pub mod lease;
pub mod memballoon;
pub mod memory;
pub mod nvram;
pub mod panic;
pub mod pstore;
pub mod redirdev;
pub mod rng;
pub mod shmem;
pub mod smartcard;
pub mod sound;
pub mod tpm;
pub mod video;
pub mod vsock;
pub mod watchdog;

use crate::domain::prelude::*;

/// All devices.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Devices {
    /// Path of the emulator.
    #[xml(child_text)]
    pub emulator: Option<String>,
    /// Element `<disk>`.
    #[xml(child, name = "disk")]
    pub disks: Vec<disk::Disk>,
    /// Element `<controller>`.
    #[xml(child, name = "controller")]
    pub controllers: Vec<controller::Controller>,
    /// Element `<lease>`.
    #[xml(child, name = "lease")]
    pub leases: Vec<lease::Lease>,
    /// Element `<filesystem>`.
    #[xml(child, name = "filesystem")]
    pub filesystems: Vec<filesystem::Filesystem>,
    /// Element `<interface>`.
    #[xml(child, name = "interface")]
    pub interfaces: Vec<interface::Interface>,
    /// Element `<smartcard>`.
    #[xml(child, name = "smartcard")]
    pub smartcards: Vec<smartcard::Smartcard>,
    /// Element `<serial>`.
    #[xml(child, name = "serial")]
    pub serials: Vec<chardev::Serial>,
    /// Element `<parallel>`.
    #[xml(child, name = "parallel")]
    pub parallels: Vec<chardev::Serial>,
    /// Element `<console>`.
    #[xml(child, name = "console")]
    pub consoles: Vec<chardev::Serial>,
    /// Element `<channel>`.
    #[xml(child, name = "channel")]
    pub channels: Vec<chardev::Serial>,
    /// Element `<input>`.
    #[xml(child, name = "input")]
    pub inputs: Vec<input::Input>,
    /// Element `<tpm>`.
    #[xml(child, name = "tpm")]
    pub tpms: Vec<tpm::Tpm>,
    /// Element `<graphics>`.
    #[xml(child)]
    pub graphics: Vec<graphics::Graphics>,
    /// Element `<sound>`.
    #[xml(child, name = "sound")]
    pub sounds: Vec<sound::Sound>,
    /// Element `<audio>`.
    #[xml(child, name = "audio")]
    pub audios: Vec<audio::Audio>,
    /// Element `<video>`.
    #[xml(child, name = "video")]
    pub videos: Vec<video::Video>,
    /// Element `<hostdev>`.
    #[xml(child, name = "hostdev")]
    pub hostdevs: Vec<hostdev::Hostdev>,
    /// Element `<redirdev>`.
    #[xml(child, name = "redirdev")]
    pub redirdevs: Vec<redirdev::RedirDev>,
    /// Element `<redirfilter>`.
    #[xml(child, name = "redirfilter")]
    pub redir_filters: Vec<redirdev::RedirFilter>,
    /// Element `<hub>`.
    #[xml(child, name = "hub")]
    pub hubs: Vec<hub::Hub>,
    /// Element `<watchdog>`.
    #[xml(child, name = "watchdog")]
    pub watchdogs: Vec<watchdog::Watchdog>,
    /// At most one.
    #[xml(child, name = "memballoon")]
    pub memballoons: Vec<memballoon::MemBalloon>,
    /// Element `<rng>`.
    #[xml(child, name = "rng")]
    pub rngs: Vec<rng::Rng>,
    /// At most one.
    #[xml(child, name = "nvram")]
    pub nvrams: Vec<nvram::NvramDevice>,
    /// Element `<panic>`.
    #[xml(child, name = "panic")]
    pub panics: Vec<panic::Panic>,
    /// Element `<shmem>`.
    #[xml(child, name = "shmem")]
    pub shmems: Vec<shmem::Shmem>,
    /// Element `<memory>`.
    #[xml(child, name = "memory")]
    pub memories: Vec<memory::MemoryDevice>,
    /// Element `<crypto>`.
    #[xml(child, name = "crypto")]
    pub cryptos: Vec<crypto::Crypto>,
    /// At most one.
    #[xml(child, name = "iommu")]
    pub iommus: Vec<iommu::Iommu>,
    /// At most one.
    #[xml(child, name = "vsock")]
    pub vsocks: Vec<vsock::Vsock>,
    /// At most one.
    #[xml(child, name = "pstore")]
    pub pstores: Vec<pstore::Pstore>,
}
