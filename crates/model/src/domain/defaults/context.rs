//! What the defaults depend on beside the document.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use units::{MacAddr, PciAddress, Uuid};

/// What an emulator offers, by the names libvirt gives its capability flags (`virtio-rng`,
/// `pcie-root-port`, `qemu-xhci`, …).
#[derive(Clone, Debug, Default)]
pub struct DeviceSupport {
    flags: BTreeSet<String>,
    kvm_gic: Vec<u8>,
    emulator: String,
}

impl DeviceSupport {
    /// From flag names.
    pub fn new<S: Into<String>>(flags: impl IntoIterator<Item = S>) -> Self {
        Self { flags: flags.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// With the versions of the ARM interrupt controller that KVM offers.
    #[must_use]
    pub fn with_kvm_gic(mut self, versions: impl IntoIterator<Item = u8>) -> Self {
        self.kvm_gic = versions.into_iter().collect();
        self
    }

    /// That of the emulator at `path`, of the given version.
    #[must_use]
    pub fn of(mut self, path: &str, (major, minor, micro): (u32, u32, u32)) -> Self {
        self.emulator = format!("{path} (version {major}.{minor}.{micro})");
        self
    }

    /// The emulator's path and version, for people; empty where it is not known.
    pub fn emulator(&self) -> &str {
        &self.emulator
    }

    /// The newest ARM interrupt controller that KVM offers.
    pub fn newest_kvm_gic(&self) -> Option<u8> {
        self.kvm_gic.iter().copied().max()
    }

    /// Whether the flag is set.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.contains(flag)
    }
}

/// One machine type of an emulator.
#[derive(Clone, Debug, Default)]
pub struct MachineInfo {
    /// Canonical name (`pc-q35-10.0`).
    pub name: String,
    /// Short name that stands for it (`q35`).
    pub alias: Option<String>,
    /// CPU model a guest gets without `<cpu>`, by the name libvirt shows (`qemu64`).
    pub default_cpu: Option<String>,
    /// Whether it is the emulator's default.
    pub is_default: bool,
}

/// Settings of the daemon that show in the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of the daemon's state; VNC sockets in it are generated ones.
    pub lib_dir: String,
    /// Folder of the daemon's agent sockets; generated paths below it are not stored.
    pub channel_dir: String,
    /// Host audio also for guests shown by VNC only.
    pub vnc_allow_host_audio: bool,
    /// Host audio also for guests without a display.
    pub nographics_allow_host_audio: bool,
    /// Sound output that the daemon's environment names (`QEMU_AUDIO_DRV`), as QEMU calls it.
    pub audio_driver: Option<String>,
    /// Driver of SDL's sound (`SDL_AUDIODRIVER`).
    pub sdl_audio_driver: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lib_dir: "/var/lib/libvirt/qemu".to_owned(),
            channel_dir: "/var/lib/libvirt/qemu/channel".to_owned(),
            vnc_allow_host_audio: false,
            nographics_allow_host_audio: false,
            audio_driver: None,
            sdl_audio_driver: None,
        }
    }
}

/// What the defaults depend on beside the document.
pub struct DefaultsContext<'a> {
    /// Architecture of a guest that names none.
    pub host_arch: &'a str,
    /// Emulator of a guest that names none.
    pub emulator: Option<&'a str>,
    /// Machine types of the emulator for the guest's virtualization type.
    pub machines: &'a [MachineInfo],
    /// What the emulator offers.
    pub devices: &'a DeviceSupport,
    /// Settings of the daemon.
    pub settings: &'a Settings,
    /// Fills a buffer with random bytes: for UUIDs and MACs.
    pub random: &'a mut dyn FnMut(&mut [u8]),
    /// IOMMU group of a PCI function of the host, where it has one.
    pub iommu_group: &'a dyn Fn(&PciAddress) -> Option<u32>,
    /// The document is new: today's better defaults may be chosen, USB addresses are assigned. Off
    /// when a stored document is read again.
    pub abi_update: bool,
}

impl std::fmt::Debug for DefaultsContext<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DefaultsContext")
            .field("host_arch", &self.host_arch)
            .field("emulator", &self.emulator)
            .field("abi_update", &self.abi_update)
            .finish_non_exhaustive()
    }
}

/// An emulator that offers nothing, and the daemon's settings as they are without a file of its own.
static NOTHING_KNOWN: LazyLock<(DeviceSupport, Settings)> = LazyLock::new(Default::default);

impl<'a> DefaultsContext<'a> {
    /// For a new document on a host of which only the architecture is known, no emulator: what comes
    /// out depends on the document, `host_arch` and the `random` bytes alone. A caller that knows more
    /// puts it in the place of the rest.
    pub fn without_emulator(host_arch: &'a str, random: &'a mut dyn FnMut(&mut [u8])) -> Self {
        let (devices, settings) = &*NOTHING_KNOWN;
        Self {
            host_arch,
            emulator: None,
            machines: &[],
            devices,
            settings,
            random,
            iommu_group: &|_| None,
            abi_update: true,
        }
    }
}

impl DefaultsContext<'_> {
    /// A random UUID.
    pub fn uuid(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        (self.random)(&mut bytes);
        Uuid::from_random_bytes(bytes)
    }

    /// A random MAC in QEMU's range, 52:54:00.
    pub fn mac(&mut self) -> MacAddr {
        let mut last = [0; 3];
        (self.random)(&mut last);
        MacAddr::generate([0x52, 0x54, 0x00], last)
    }
}
