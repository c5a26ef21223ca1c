//! One image of a chain.

use model::domain::devices::disk::{
    CacheMode, DetectZeroes, DiscardMode, DiskAuth, DiskSource, Encryption, IoMode, StorageType,
};

/// Names of the `-object`s that an image's nodes refer to; each made before the nodes are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    /// Secret that logs us in.
    pub auth: Option<String>,
    /// Secrets that decrypt the image, in the order of the XML.
    pub encryption: Vec<String>,
    /// Secret that holds HTTP cookies.
    pub cookie: Option<String>,
    /// TLS credentials.
    pub tls: Option<String>,
    /// Manager of persistent reservations.
    pub reservations: Option<String>,
}

/// Descriptors that were handed in for an image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FdSet {
    /// `/dev/fdset/N`.
    pub path: String,
    /// There is only one: QEMU cannot open the image again with other rights.
    pub single: bool,
    /// They allow writing, also where the image is not to be written.
    pub writable: bool,
}

/// How an image is opened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageOptions {
    /// Nothing is written.
    pub read_only: bool,
    /// Use of the host's page cache.
    pub cache: Option<CacheMode>,
    /// How the kernel is asked.
    pub io: Option<IoMode>,
    /// What becomes of a guest's discards.
    pub discard: Option<DiscardMode>,
    /// What becomes of a guest's zeroes.
    pub detect_zeroes: Option<DetectZeroes>,
    /// Discarded clusters stay allocated (qcow2).
    pub discard_no_unref: Option<bool>,
    /// Size of the metadata cache in bytes (qcow2).
    pub metadata_cache: Option<u64>,
}

/// One image of a chain, with all that its nodes need.
#[derive(Clone, Debug, PartialEq)]
pub struct Image<'a> {
    /// Kind of source; a volume is resolved to what it is.
    pub kind: StorageType,
    /// Where the bytes are.
    pub source: &'a DiskSource,
    /// libvirt's name of the format.
    pub format: &'a str,
    /// Seen by the guest in a floppy drive.
    pub floppy: bool,
    /// A drive of the host, passed through as such.
    pub host_drive: bool,
    /// Descriptor set the file is opened from, instead of its path.
    pub fdset: Option<FdSet>,
    /// Socket of the nbdkit that serves the image.
    pub nbdkit: Option<String>,
    /// The key of the SSH server is not checked.
    pub ssh_unchecked: bool,
    /// As which user and group an NFS server is asked; `None`: as what QEMU is.
    pub server_ids: (Option<u32>, Option<u32>),
    /// Credentials.
    pub auth: Option<&'a DiskAuth>,
    /// Encryption.
    pub encryption: Option<&'a Encryption>,
    /// Named objects.
    pub objects: Objects,
    /// How it is opened.
    pub options: ImageOptions,
    /// Log level of network libraries.
    pub debug: Option<u32>,
    /// The file that holds the guest's bytes, where the image itself holds only what it knows of
    /// them (qcow2).
    pub data: Option<Box<Image<'a>>>,
    /// The node of that file, once it is made.
    pub data_node: Option<String>,
    /// Name of the storage node.
    pub storage_node: String,
    /// Name of the node that shows a part of the storage.
    pub slice_node: String,
    /// Name of the format node.
    pub format_node: String,
}

/// The user and group that a source on an NFS server names. Numbers are what they say, `+7` or `7`;
/// `named` tells the ids of names, of a group if so.
pub fn server_ids(
    source: &DiskSource,
    named: impl Fn(&str, bool) -> Option<u32>,
) -> (Option<u32>, Option<u32>) {
    let id = |text: Option<&String>, group: bool| {
        let text = text?;
        let number = text.strip_prefix('+').unwrap_or(text);
        named(text, group).or_else(|| number.parse().ok())
    };
    let identity = source.identity.as_deref();
    (
        id(identity.and_then(|i| i.user.as_ref()), false),
        id(identity.and_then(|i| i.group.as_ref()), true),
    )
}

impl<'a> Image<'a> {
    /// An image at `source`, its nodes not yet named.
    pub fn new(kind: StorageType, source: &'a DiskSource, format: &'a str) -> Self {
        Self {
            kind,
            source,
            format,
            floppy: false,
            host_drive: false,
            fdset: None,
            nbdkit: None,
            ssh_unchecked: false,
            server_ids: server_ids(source, |_, _| None),
            auth: source.auth.as_deref(),
            encryption: source.encryption.as_deref(),
            objects: Objects::default(),
            options: ImageOptions::default(),
            debug: None,
            data: None,
            data_node: None,
            storage_node: String::new(),
            slice_node: String::new(),
            format_node: String::new(),
        }
    }

    /// The protocol of a network source; empty for others.
    pub fn protocol(&self) -> &'a str {
        match self.kind {
            StorageType::Network => self.source.protocol.as_deref().unwrap_or_default(),
            _ => "",
        }
    }

    /// The part of the storage that holds the image: offset and size in bytes.
    pub fn storage_slice(&self) -> Option<(u64, u64)> {
        let slices = &self.source.slices.as_ref()?.slices;
        slices.iter().find(|slice| slice.kind == "storage").map(|slice| (slice.offset, slice.size))
    }

    /// The encryption is the storage library's affair (librbd), not the format's.
    pub fn encrypted_by_storage(&self) -> bool {
        self.encryption.is_some_and(|encryption| encryption.engine.as_deref() == Some("librbd"))
    }

    /// The encryption that the format node has.
    pub fn format_encryption(&self) -> Option<&'a Encryption> {
        self.encryption.filter(|_| !self.encrypted_by_storage())
    }

    /// The image is plain bytes: neither a format nor encryption stands above the storage.
    pub fn is_plain(&self) -> bool {
        self.format == "raw" && self.format_encryption().is_none()
    }

    /// Whether a format node is needed: always without `elide` (emulators whose block jobs cannot
    /// be told a raw backing file's format), else where there is a format, or where descriptors
    /// that allow writing are to be used for reading only.
    pub fn needs_format(&self, elide: bool) -> bool {
        !elide
            || !self.is_plain()
            || self
                .fdset
                .as_ref()
                .is_some_and(|set| set.single && set.writable && self.options.read_only)
    }

    /// Whether the image has a node for a part of its storage.
    pub fn has_slice_node(&self) -> bool {
        self.storage_slice().is_some()
    }

    /// The node that the storage shows: the slice where there is one.
    pub fn effective_storage(&self) -> &str {
        if self.has_slice_node() { &self.slice_node } else { &self.storage_node }
    }

    /// The node that stands for the image.
    pub fn effective_node(&self, elide: bool) -> &str {
        if self.needs_format(elide) { &self.format_node } else { self.effective_storage() }
    }
}
