//! Domain backups: which disks are copied, to where, and since which checkpoint.
//!
//! What a client sends is checked against `domainbackup.rng` in any case, so everything that is not
//! known is a fault. The daemon's own form says more: the state of each disk and private data.
//!
//! Sources: the schema, formatbackup.html, and answers of libvirt 11.3.

mod align;
#[cfg(test)]
mod tests;

use std::net::Ipv6Addr;

use diag::ErrorCode;
use xml::{Element, Parsed, Reader, WriteOptions, Xml, XmlEnum, YesNo};

use crate::domain::devices::disk::{Encryption, EncryptionSecret};
use crate::domain::opaque::Opaque;
use crate::domain::seclabel::DeviceSeclabel;
use crate::object::{self, fault};

/// A backup.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct Backup {
    /// Who moves the data.
    #[xml(attr, default = BackupMode::Push)]
    pub mode: BackupMode,
    /// The checkpoint since which changes are copied; everything when there is none.
    #[xml(child_text)]
    pub incremental: Option<String>,
    /// Where a client fetches the data.
    #[xml(child)]
    pub server: Option<Server>,
    /// What is copied.
    #[xml(child)]
    pub disks: Option<BackupDisks>,
    /// The daemon's own state.
    #[xml(child, name = "privateData", live_only)]
    pub private_data: Option<Opaque>,
}

/// Who moves the data of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum BackupMode {
    /// The emulator, into targets.
    Push,
    /// A client, from a server.
    Pull,
}

/// A server of disks' data (NBD).
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct Server {
    /// How it is reached.
    #[xml(attr, default = Transport::Tcp)]
    pub transport: Transport,
    /// Whether it is encrypted.
    #[xml(attr)]
    pub tls: Option<YesNo>,
    /// Host it listens on.
    #[xml(attr)]
    pub name: Option<String>,
    /// Port it listens on.
    #[xml(attr)]
    pub port: Option<u32>,
    /// Path of its socket.
    #[xml(attr)]
    pub socket: Option<String>,
    /// Name of the descriptors it listens on.
    #[xml(attr)]
    pub fdgroup: Option<String>,
}

/// How a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum Transport {
    /// By TCP.
    Tcp,
    /// By a socket in the file system.
    Unix,
    /// By descriptors handed over.
    Fd,
}

/// Disks of a backup.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct BackupDisks {
    /// Each of them.
    #[xml(child, name = "disk")]
    pub disks: Vec<BackupDisk>,
}

/// A disk of a backup.
#[derive(Clone, Debug, PartialEq, Xml)]
pub struct BackupDisk {
    /// Its name in the guest.
    #[xml(attr)]
    pub name: String,
    /// Whether it is copied.
    #[xml(attr, default = YesNo::Yes)]
    pub backup: YesNo,
    /// How far it is; in the daemon's own form only.
    #[xml(attr, live_only)]
    pub state: Option<DiskState>,
    /// What the copy or the scratch space is.
    #[xml(attr, name = "type")]
    pub kind: Option<StoreType>,
    /// How much is copied.
    #[xml(attr)]
    pub backupmode: Option<DiskMode>,
    /// The checkpoint since which changes are copied.
    #[xml(attr)]
    pub incremental: Option<String>,
    /// Its name on the server.
    #[xml(attr)]
    pub exportname: Option<String>,
    /// Name of its bitmap on the server.
    #[xml(attr)]
    pub exportbitmap: Option<String>,
    /// Number of the copy's node; in the daemon's own form only.
    #[xml(attr, live_only)]
    pub index: Option<u32>,
    /// Format of the copy or the scratch space.
    #[xml(child)]
    pub driver: Option<BackupDriver>,
    /// Space for what the guest overwrites while a client fetches.
    #[xml(child)]
    pub scratch: Option<Store>,
    /// The copy.
    #[xml(child)]
    pub target: Option<Store>,
}

/// How far the copy of a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum DiskState {
    /// It has not begun.
    None,
    /// It is under way.
    Running,
    /// It is done.
    Complete,
    /// It failed.
    Failed,
    /// It is being given up.
    Cancelling,
    /// It was given up.
    Cancelled,
}

/// What a copy or scratch space is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum StoreType {
    /// A file.
    File,
    /// A block device.
    Block,
}

/// How much of a disk is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
pub enum DiskMode {
    /// Everything.
    Full,
    /// Changes since a checkpoint.
    Incremental,
}

/// Format of a copy or scratch space.
#[derive(Clone, Debug, PartialEq, Eq, Xml)]
pub struct BackupDriver {
    /// The format.
    #[xml(attr, name = "type")]
    pub kind: String,
}

/// A copy or scratch space.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Store {
    /// Path of a file.
    #[xml(attr)]
    pub file: Option<String>,
    /// Path of a block device.
    #[xml(attr)]
    pub dev: Option<String>,
    /// Security labels.
    #[xml(child, name = "seclabel")]
    pub seclabels: Vec<DeviceSeclabel>,
    /// Its encryption.
    #[xml(child)]
    pub encryption: Option<Encryption>,
}

/// How a document is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parsing {
    /// It is the daemon's own form.
    pub internal: bool,
}

/// Reads a `<domainbackup>` document.
pub fn parse(text: &str, parsing: Parsing) -> Parsed<Backup> {
    object::with_rest(text, &REST, |text| read(text, parsing))
}

/// What a backup is without some of its parts.
const REST: object::Rest =
    object::Rest { attrs: &[], children: &[], asks: &[("backup.schema", &["@mode", "server"])] };

fn read(text: &str, parsing: Parsing) -> Parsed<Backup> {
    let refine = |_: Element<'_>, d: &mut diag::Diagnostic| {
        // The schema lets a security label have several labels, of which one counts.
        let labels = d.rule == "xml.repeated-element" && d.message.contains("'label'");
        if !parsing.internal && !labels {
            object::against_schema(d);
        }
    };
    object::read(text, "domainbackup", refine, |backup: &mut Backup, el, cx| {
        if !parsing.internal {
            check(backup, el, cx);
        }
        for disk in backup.disks.iter_mut().flat_map(|disks| &mut disks.disks) {
            disk.drop_unused(backup.mode);
        }
    })
}

/// Writes a `<domainbackup>` document; with `internal` the daemon's own form.
pub fn format(backup: &Backup, internal: bool, options: &WriteOptions) -> String {
    xml::write(backup, "domainbackup", &WriteOptions { live: internal, ..*options })
}

/// Formats a backup may be written in (`storageFormat` of the schema).
const FORMATS: &[&str] = &[
    "raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop", "cow",
    "qcow", "qcow2", "qed", "vmdk", "luks",
];

fn refuse(cx: &mut Reader, el: Element<'_>, message: String) {
    fault(cx, el, "backup.schema", ErrorCode::XML_INVALID_SCHEMA, message);
}

/// What the schema says beyond the mapping.
fn check(backup: &Backup, el: Element<'_>, cx: &mut Reader) {
    match (backup.mode, &backup.server) {
        (BackupMode::Pull, None) => {
            refuse(
                cx,
                el,
                "Missing required element 'server' in element 'domainbackup'".to_owned(),
            );
        }
        (BackupMode::Push, Some(_)) => {
            refuse(cx, el, "a backup with mode 'push' has no server".to_owned());
        }
        _ => {}
    }
    if let (Some(server), Some(el)) = (&backup.server, el.child("server")) {
        let host = |name: &str| {
            let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-');
            !name.is_empty() && name.bytes().all(plain) || name.parse::<Ipv6Addr>().is_ok()
        };
        let absolute = |path: &String| object::is_absolute_path(path);
        let needed = match server.transport {
            Transport::Tcp if !server.name.as_ref().is_some_and(|name| host(name)) => Some("name"),
            Transport::Unix if !server.socket.as_ref().is_some_and(absolute) => Some("socket"),
            Transport::Fd if server.fdgroup.is_none() => Some("fdgroup"),
            _ => None,
        };
        if let Some(attr) = needed {
            let transport = server.transport;
            refuse(cx, el, format!("transport '{transport}' of <server> needs attribute '{attr}'"));
        }
        if let (Transport::Unix, Some(socket)) = (server.transport, &server.socket)
            && absolute(socket)
            && !socket.starts_with('/')
        {
            let message = format!("backup socket path '{socket}' must be absolute");
            fault(cx, el, "backup.socket", ErrorCode::XML_ERROR, message);
        }
        let stray = match server.transport {
            Transport::Tcp => server.socket.is_some() || server.fdgroup.is_some(),
            Transport::Unix => {
                server.name.is_some() || server.port.is_some() || server.fdgroup.is_some()
            }
            Transport::Fd => {
                server.name.is_some() || server.port.is_some() || server.socket.is_some()
            }
        };
        if stray {
            refuse(
                cx,
                el,
                format!("attributes of <server> do not fit transport '{}'", server.transport),
            );
        }
    }
    if let Some(private) = el.child("privateData") {
        refuse(cx, private, "Unknown element 'privateData' in element 'domainbackup'".to_owned());
    }
    if let (Some(list), Some(el)) = (&backup.disks, el.child("disks"))
        && list.disks.is_empty()
    {
        refuse(cx, el, "Missing required element 'disk' in element 'disks'".to_owned());
    }
    let elements = el.child("disks").into_iter().flat_map(|disks| disks.children());
    for (disk, el) in backup.disks.iter().flat_map(|disks| &disks.disks).zip(elements) {
        if let Some(message) = disk.misfit(backup.mode, el) {
            refuse(cx, el, message);
        } else if disk.driver.as_ref().is_some_and(|driver| driver.kind == "luks") {
            // The schema lists it, and nothing can write it.
            let message = "unknown storage source format 'luks'";
            fault(cx, el, "backup.format", ErrorCode::XML_ERROR, message);
        }
    }
}

impl BackupDisk {
    /// Why the schema does not allow it.
    fn misfit(&self, mode: BackupMode, el: Element<'_>) -> Option<String> {
        let pull = mode == BackupMode::Pull;
        if !object::is_disk_name(&self.name) {
            return Some(format!("'{}' is no name of a disk", self.name));
        }
        if self.state.is_some() || self.index.is_some() {
            return Some("a disk's state and index belong to the daemon".to_owned());
        }
        if self.backupmode == Some(DiskMode::Full) && self.incremental.is_some() {
            return Some("a full backup of a disk has no attribute 'incremental'".to_owned());
        }
        if !pull && (self.exportname.is_some() || self.exportbitmap.is_some()) {
            return Some("only a backup with mode 'pull' exports disks".to_owned());
        }
        let (store, other, name) = match mode {
            BackupMode::Pull => (&self.scratch, &self.target, "scratch"),
            BackupMode::Push => (&self.target, &self.scratch, "target"),
        };
        if other.is_some() {
            return Some(format!("a disk of a backup with mode '{mode}' has a <{name}>"));
        }
        let plain = self.kind.is_none() && store.is_none() && self.driver.is_none();
        if self.backup == YesNo::No && !plain {
            return Some("a disk with backup='no' has no type, driver and place".to_owned());
        }
        match (mode, self.kind) {
            (BackupMode::Push, None) if !plain => {
                return Some(format!("a disk with a <{name}> or <driver> has attribute 'type'"));
            }
            (BackupMode::Pull, None)
                if self.backup == YesNo::Yes && el.attr("backup").is_some() =>
            {
                return Some("a disk with backup='yes' has attribute 'type'".to_owned());
            }
            (BackupMode::Pull, Some(StoreType::Block)) if store.is_none() => {
                return Some(format!("a disk with type='block' has a <{name}>"));
            }
            (BackupMode::Pull, _) if self.driver.is_some() && store.is_none() => {
                return Some(format!("a disk with a <driver> has a <{name}>"));
            }
            _ => {}
        }
        if let Some(driver) = &self.driver {
            let known =
                if pull { driver.kind == "qcow2" } else { FORMATS.contains(&driver.kind.as_str()) };
            if !known {
                return Some(format!("'{}' is no format of a <{name}>", driver.kind));
            }
        }
        let store = store.as_ref()?;
        let (path, attr) = match self.kind.unwrap_or(StoreType::File) {
            StoreType::File => (&store.file, "file"),
            StoreType::Block => (&store.dev, "dev"),
        };
        if !path.as_ref().is_some_and(|path| object::is_absolute_path(path)) {
            return Some(format!("attribute '{attr}' of <{name}> is an absolute path"));
        }
        for label in &store.seclabels {
            let lone = label.relabel == Some(YesNo::No) || label.label_skip == Some(YesNo::Yes);
            if lone == label.label.is_some() {
                return Some("a <seclabel> has a <label>, or turns labelling off".to_owned());
            }
        }
        if let Some(encryption) = &store.encryption {
            let bad = |secret: &&EncryptionSecret| {
                secret.kind != "passphrase" || secret.uuid.is_some() == secret.usage.is_some()
            };
            if encryption.secrets.iter().any(|secret| bad(&secret)) {
                return Some(
                    "a <secret> has type='passphrase', and either a UUID or a usage".to_owned(),
                );
            }
            if encryption.format != "luks" {
                return Some(format!("a <{name}> is encrypted with format 'luks' or not at all"));
            }
            if encryption.secrets.len() != 1 {
                return Some(format!("the <encryption> of a <{name}> has one <secret>"));
            }
            if encryption.cipher.is_some() != encryption.ivgen.is_some() {
                return Some("<cipher> and <ivgen> stand together or not at all".to_owned());
            }
        }
        None
    }

    /// Drops what means nothing: everything about a copy that is not made, and the store of the
    /// other mode.
    fn drop_unused(&mut self, mode: BackupMode) {
        match mode {
            BackupMode::Pull => self.target = None,
            BackupMode::Push => self.scratch = None,
        }
        if self.backup == YesNo::No {
            let (name, state) = (std::mem::take(&mut self.name), self.state);
            *self = Self { state, ..Self::left_out(name) };
        }
    }

    /// A disk that is not copied.
    fn left_out(name: String) -> Self {
        Self {
            name,
            backup: YesNo::No,
            state: None,
            kind: None,
            backupmode: None,
            incremental: None,
            exportname: None,
            exportbitmap: None,
            index: None,
            driver: None,
            scratch: None,
            target: None,
        }
    }
}

/// Reads arbitrary bytes; what was written must be read again, and be written as the same.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for internal in [false, true] {
        let parsing = Parsing { internal };
        let Some(mut backup) = parse(text, parsing).value else { continue };
        let private = backup.private_data.take();
        let write = |backup: &Backup| format(backup, internal, &WriteOptions::default());
        let written = write(&backup);
        let again = parse(&written, parsing).value;
        // The schema asks for the type of a disk that says backup='yes', which is always written,
        // but takes one that says neither.
        let untyped = backup.disks().iter().any(|disk| disk.kind.is_none());
        if again.is_some() || backup.mode == BackupMode::Push || !untyped {
            assert_eq!(again.as_ref().map(write), Some(written));
        }
        backup.private_data = private;
        let _ = backup.align(&[], "x");
    }
}
