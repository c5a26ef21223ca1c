//! How the guest boots: machine, firmware, kernel, boot order.

use super::devices::disk::{DiskSource, StorageType};
use crate::domain::prelude::*;

/// What kind of interface the guest's system sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum OsTypeName {
    /// `hvm`.
    #[default]
    Hvm,
    /// `xen`.
    Xen,
    /// `linux`.
    Linux,
    /// `xenpvh`.
    Xenpvh,
    /// `exe`.
    Exe,
    /// `uml`.
    Uml,
}

/// Which firmware is chosen automatically.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum FirmwareKind {
    /// `bios`.
    #[default]
    Bios,
    /// `efi`.
    Efi,
}

/// How the firmware image is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum LoaderType {
    /// `rom`.
    #[default]
    Rom,
    /// `pflash`.
    Pflash,
}

/// A class of device to boot from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum BootDev {
    /// `fd`.
    #[default]
    Fd,
    /// `hd`.
    Hd,
    /// `cdrom`.
    Cdrom,
    /// `network`.
    Network,
}

/// Where SMBIOS tables come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum SmbiosMode {
    /// `emulate`.
    #[default]
    Emulate,
    /// `host`.
    Host,
    /// `sysinfo`.
    Sysinfo,
}

/// What the table file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum AcpiTableType {
    /// `raw`.
    #[default]
    Raw,
    /// `rawset`.
    Rawset,
    /// `slic`.
    Slic,
    /// `msdm`.
    Msdm,
}

/// Image format of a firmware file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum FirmwareFormat {
    /// `raw`.
    #[default]
    Raw,
    /// `qcow2`.
    Qcow2,
}

/// The `<os>` block.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Os {
    /// Automatic firmware selection.
    #[xml(attr, empty_absent, fault = (ErrorCode::XML_ERROR, "unknown firmware value {}"))]
    pub firmware: Option<FirmwareKind>,
    /// What is booted.
    #[xml(child, name = "type")]
    pub kind: OsType,
    /// Features wanted of the firmware.
    #[xml(child, name = "firmware")]
    pub firmware_info: Option<OsFirmware>,
    /// First program of a container.
    #[xml(child_text)]
    pub init: Option<String>,
    /// Arguments of `init`.
    #[xml(child_text, name = "initarg")]
    pub init_args: Vec<String>,
    /// Environment of `init`.
    #[xml(child, name = "initenv")]
    pub init_env: Vec<InitEnv>,
    /// Working directory of `init`.
    #[xml(child_text, name = "initdir")]
    pub init_dir: Option<String>,
    /// User of `init`.
    #[xml(child_text, name = "inituser")]
    pub init_user: Option<String>,
    /// Group of `init`.
    #[xml(child_text, name = "initgroup")]
    pub init_group: Option<String>,
    /// Firmware image.
    #[xml(child)]
    pub loader: Option<Loader>,
    /// Variable store of the firmware.
    #[xml(child)]
    pub nvram: Option<Nvram>,
    /// Kernel image booted directly.
    #[xml(child_text)]
    pub kernel: Option<String>,
    /// Initial RAM disk.
    #[xml(child_text)]
    pub initrd: Option<String>,
    /// Kernel arguments.
    #[xml(child_text)]
    pub cmdline: Option<String>,
    /// Secure-boot shim loaded before the kernel.
    #[xml(child_text)]
    pub shim: Option<String>,
    /// Device tree.
    #[xml(child_text)]
    pub dtb: Option<String>,
    /// Root of a container that is booted from a kernel.
    #[xml(child_text)]
    pub root: Option<String>,
    /// ACPI tables given by the user.
    #[xml(child, empty_absent)]
    pub acpi: Option<OsAcpi>,
    /// Boot order by device class.
    #[xml(child)]
    pub boot: Vec<OsBoot>,
    /// Interactive boot menu.
    #[xml(child, needs = "enable")]
    pub bootmenu: Option<BootMenu>,
    /// Settings of the BIOS.
    #[xml(child, empty_absent)]
    pub bios: Option<OsBios>,
    /// Source of SMBIOS data.
    #[xml(child, needs = "mode")]
    pub smbios: Option<Smbios>,
}

/// Machine and architecture, and the interface kind as text.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct OsType {
    /// Guest architecture, e.g. `x86_64`.
    #[xml(attr, empty_absent)]
    pub arch: Option<String>,
    /// Machine type, canonical after defaults.
    #[xml(attr, empty_absent)]
    pub machine: Option<String>,
    /// `hvm` for full virtualization.
    #[xml(text)]
    pub name: OsTypeName,
}

/// Features the selected firmware must (not) have.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct OsFirmware {
    /// Element `<feature>`.
    #[xml(child, name = "feature")]
    pub features: Vec<FirmwareFeature>,
}

/// A firmware property that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum FirmwareFeatureName {
    /// `enrolled-keys`.
    #[default]
    EnrolledKeys,
    /// `secure-boot`.
    SecureBoot,
}

/// One wanted property.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct FirmwareFeature {
    /// Attribute `enabled`.
    #[xml(attr)]
    pub enabled: YesNo,
    /// Attribute `name`.
    #[xml(attr)]
    pub name: FirmwareFeatureName,
}

/// One environment variable.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct InitEnv {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: String,
    /// The text of the element.
    #[xml(text, default, skip_default)]
    pub value: String,
}

/// Firmware image.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Loader {
    /// Attribute `readonly`.
    #[xml(attr)]
    pub readonly: Option<YesNo>,
    /// Attribute `secure`.
    #[xml(attr)]
    pub secure: Option<YesNo>,
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: Option<LoaderType>,
    /// Attribute `stateless`.
    #[xml(attr)]
    pub stateless: Option<YesNo>,
    /// Attribute `format`.
    #[xml(attr)]
    pub format: Option<FirmwareFormat>,
    /// Absolute path of the image.
    #[xml(text)]
    pub path: Option<String>,
}

/// Variable store.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Nvram {
    /// Image the store is created from.
    #[xml(attr)]
    pub template: Option<String>,
    /// Attribute `templateFormat`.
    #[xml(attr, name = "templateFormat")]
    pub template_format: Option<FirmwareFormat>,
    /// Present when `source` is.
    #[xml(attr, name = "type")]
    pub kind: Option<StorageType>,
    /// Attribute `format`.
    #[xml(attr)]
    pub format: Option<FirmwareFormat>,
    /// The text of the element.
    #[xml(text)]
    pub path: Option<String>,
    /// Where the store lies, when not a plain path.
    #[xml(child)]
    pub source: Option<DiskSource>,
}

/// User-given ACPI tables.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct OsAcpi {
    /// Element `<table>`.
    #[xml(child, name = "table")]
    pub tables: Vec<AcpiTable>,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct AcpiTable {
    /// Attribute `type`.
    #[xml(attr, name = "type")]
    pub kind: AcpiTableType,
    /// The text of the element.
    #[xml(text, default, skip_default)]
    pub path: String,
}

/// One entry of the boot order.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct OsBoot {
    /// Attribute `dev`.
    #[xml(attr)]
    pub dev: BootDev,
}

/// Interactive boot menu.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct BootMenu {
    /// Attribute `enable`.
    #[xml(attr)]
    pub enable: YesNo,
    /// Milliseconds the menu waits.
    #[xml(attr)]
    pub timeout: Option<u32>,
}

/// BIOS settings.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct OsBios {
    /// Attribute `useserial`.
    #[xml(attr, name = "useserial", lenient)]
    pub use_serial: Option<YesNo>,
    /// Milliseconds before a retry; -1 is never.
    #[xml(attr, name = "rebootTimeout")]
    pub reboot_timeout: Option<i32>,
}

/// SMBIOS source.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Smbios {
    /// Attribute `mode`.
    #[xml(attr, fault = (ErrorCode::CONFIG_UNSUPPORTED, "unknown smbios mode '{}'"))]
    pub mode: SmbiosMode,
}

/// User and group mapping of a container or a shared folder.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct IdMap {
    /// Element `<uid>`.
    #[xml(child, name = "uid")]
    pub uids: Vec<IdMapEntry>,
    /// Element `<gid>`.
    #[xml(child, name = "gid")]
    pub gids: Vec<IdMapEntry>,
}

const IDMAP: (ErrorCode, &str) =
    (ErrorCode::XML_ERROR, "invalid idmap start/target/count settings");

/// One range.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct IdMapEntry {
    /// Attribute `start`.
    #[xml(attr, fault = IDMAP, missing = IDMAP)]
    pub start: u32,
    /// Attribute `target`.
    #[xml(attr, fault = IDMAP, missing = IDMAP)]
    pub target: u32,
    /// Attribute `count`.
    #[xml(attr, fault = IDMAP, missing = IDMAP)]
    pub count: u32,
}
