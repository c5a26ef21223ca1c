//! Folders of the host in the guest.

use super::disk::DiskModel;
use crate::domain::os::IdMap;

use crate::domain::prelude::*;

/// Kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum FilesystemType {
    /// `mount`.
    #[default]
    Mount,
    /// `block`.
    Block,
    /// `file`.
    File,
    /// `template`.
    Template,
    /// `ram`.
    Ram,
    /// `bind`.
    Bind,
    /// `volume`.
    Volume,
}

/// How ownership is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum AccessMode {
    /// `passthrough`.
    #[default]
    Passthrough,
    /// `mapped`.
    Mapped,
    /// `squash`.
    Squash,
}

/// What several devices under one export mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum MultiDevs {
    /// `default`.
    #[default]
    Default,
    /// `remap`.
    Remap,
    /// `forbid`.
    Forbid,
    /// `warn`.
    Warn,
}

/// One shared folder.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Filesystem {
    /// Attribute `type`.
    #[xml(attr, name = "type", default)]
    pub kind: FilesystemType,
    /// Attribute `accessmode`.
    #[xml(attr, name = "accessmode", empty_absent)]
    pub access_mode: Option<AccessMode>,
    /// Attribute `fmode`.
    #[xml(attr)]
    pub fmode: Option<String>,
    /// Attribute `dmode`.
    #[xml(attr)]
    pub dmode: Option<String>,
    /// Attribute `multidevs`.
    #[xml(attr, name = "multidevs")]
    pub multi_devs: Option<MultiDevs>,
    /// Attribute `model`.
    #[xml(attr, empty_absent)]
    pub model: Option<DiskModel>,
    /// Element `<driver>`.
    #[xml(child, empty_absent)]
    pub driver: Option<FilesystemDriver>,
    /// Element `<binary>`.
    #[xml(child, empty_absent)]
    pub binary: Option<FilesystemBinary>,
    /// Element `<idmap>`.
    #[xml(child, empty_absent)]
    pub idmap: Option<IdMap>,
    /// Element `<source>`.
    #[xml(child)]
    pub source: Option<FilesystemSource>,
    /// Element `<target>`.
    #[xml(child)]
    pub target: FilesystemTarget,
    /// Presence of `<readonly/>`.
    #[xml(flag)]
    pub readonly: bool,
    /// Element `<space_hard_limit>`.
    #[xml(child)]
    pub space_hard_limit: Option<Bytes>,
    /// Element `<space_soft_limit>`.
    #[xml(child)]
    pub space_soft_limit: Option<Bytes>,
    /// Element `<boot>`.
    #[xml(child)]
    pub boot: Option<DeviceBoot>,
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

/// Who serves it.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct FilesystemDriver {
    /// Attribute `type`.
    #[xml(attr, name = "type", one_of = &["path", "handle", "loop", "nbd", "ploop", "mtp", "virtiofs"])]
    pub kind: Option<String>,
    /// Attribute `format`.
    #[xml(attr)]
    pub format: Option<String>,
    /// Attribute `name`.
    #[xml(attr)]
    pub name: Option<String>,
    /// Attribute `wrpolicy`.
    #[xml(attr, one_of = &["immediate"])]
    pub wrpolicy: Option<String>,
    /// Attribute `queue`.
    #[xml(attr, empty_absent, zero_absent, fault = (ErrorCode::XML_ERROR, "cannot parse queue size '{}' for virtiofs"))]
    pub queue: Option<u32>,
    /// virtio
    #[xml(flatten)]
    pub virtio: VirtioDriver,
}

/// virtiofsd and its options.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct FilesystemBinary {
    /// Attribute `path`.
    #[xml(attr, empty_absent)]
    pub path: Option<String>,
    /// Attribute `xattr`.
    #[xml(attr)]
    pub xattr: Option<OnOff>,
    /// Element `<cache>`.
    #[xml(child, needs = "mode")]
    pub cache: Option<CacheOption>,
    /// Element `<sandbox>`.
    #[xml(child, needs = "mode")]
    pub sandbox: Option<SandboxOption>,
    /// Element `<lock>`.
    #[xml(child, empty_absent)]
    pub lock: Option<LockOption>,
    /// Element `<thread_pool>`.
    #[xml(child, needs_text = "size")]
    pub thread_pool: Option<ThreadPoolOption>,
    /// Element `<openfiles>`.
    #[xml(child, name = "openfiles", needs_text = "max", empty_absent)]
    pub open_files: Option<OpenFilesOption>,
}

/// Cache mode.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CacheOption {
    /// Attribute `mode`.
    #[xml(attr, one_of = &["none", "always"])]
    pub mode: String,
}

/// Lock support.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct LockOption {
    /// Attribute `posix`.
    #[xml(attr)]
    pub posix: Option<OnOff>,
    /// Attribute `flock`.
    #[xml(attr)]
    pub flock: Option<OnOff>,
}

/// Sandbox mode.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct SandboxOption {
    /// Attribute `mode`.
    #[xml(attr, one_of = &["namespace", "chroot"])]
    pub mode: String,
}

/// Threads.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct ThreadPoolOption {
    /// Attribute `size`.
    #[xml(attr, fault = (ErrorCode::XML_ERROR, "cannot parse thread pool size '{}' for virtiofs"))]
    pub size: u32,
}

/// Limit of open files.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct OpenFilesOption {
    /// Attribute `max`.
    #[xml(attr, fault = (ErrorCode::XML_ERROR, "cannot parse openfiles '{}' for virtiofs"))]
    pub max: u64,
}

/// What is shared.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct FilesystemSource {
    /// Attribute `dev`.
    #[xml(attr)]
    pub dev: Option<String>,
    /// Attribute `dir`.
    #[xml(attr)]
    pub dir: Option<String>,
    /// Attribute `file`.
    #[xml(attr)]
    pub file: Option<String>,
    /// Attribute `name`.
    #[xml(attr)]
    pub name: Option<String>,
    /// Attribute `usage`.
    #[xml(attr)]
    pub usage: Option<String>,
    /// Attribute `units`.
    #[xml(attr)]
    pub units: Option<String>,
    /// Attribute `pool`.
    #[xml(attr)]
    pub pool: Option<String>,
    /// Attribute `volume`.
    #[xml(attr)]
    pub volume: Option<String>,
    /// Attribute `socket`.
    #[xml(attr)]
    pub socket: Option<String>,
}

impl FilesystemSource {
    /// What a source of this kind is named by, and no more; `None` where nothing names it. Where
    /// another process serves the folder, its socket does.
    pub fn of_kind(self, kind: FilesystemType) -> Option<Self> {
        let FilesystemSource { dev, dir, file, name, usage, units, pool, volume, socket } = self;
        let none = Self::default();
        let source = match kind {
            _ if socket.is_some() => Self { socket, ..none },
            FilesystemType::Mount | FilesystemType::Bind => Self { dir, ..none },
            FilesystemType::Block => Self { dev, ..none },
            FilesystemType::File => Self { file, ..none },
            FilesystemType::Template => Self { name, ..none },
            FilesystemType::Ram => Self { usage, units, ..none },
            FilesystemType::Volume => Self { pool, volume, ..none },
        };
        Some(source).filter(|source| *source != Self::default())
    }
}

/// Mount tag or mount point.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct FilesystemTarget {
    /// Attribute `dir`.
    #[xml(attr, missing = (ErrorCode::NO_TARGET, "missing target information for device"))]
    pub dir: String,
}
