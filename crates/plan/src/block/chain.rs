//! The images of a disk.

use super::{Image, ImageOptions};
use crate::props::Switch;
use model::domain::devices::disk::{
    BackingStore, CacheMode, CacheSize, Disk, DiskDevice, DiskDriver, DiskSource, MetadataCache,
    StorageType,
};

/// The images of a disk, its top first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chain<'a> {
    /// The images; none for an empty drive.
    pub images: Vec<Image<'a>>,
    /// The XML says that nothing lies below the last; else QEMU follows what headers say.
    pub ends: bool,
}

/// Whether a source of this kind names something.
pub fn names_something(kind: StorageType, source: &DiskSource) -> bool {
    source.file.is_some()
        || source.dev.is_some()
        || source.dir.is_some()
        || source.protocol.is_some()
        || source.volume.is_some()
        || source.address.is_some()
        || matches!(kind, StorageType::Vhostuser | StorageType::Vhostvdpa)
}

/// Bytes of a size with unit; bytes where none is given.
fn bytes(size: &CacheSize) -> Option<u64> {
    units::scale(size.size, size.unit.as_deref(), 1, u64::MAX).ok()
}

fn cache_bytes(cache: Option<&MetadataCache>) -> Option<u64> {
    bytes(cache?.max_size.as_ref()?)
}

impl<'a> Chain<'a> {
    /// The images of `disk`, opened as its driver says; nodes and objects are not yet named.
    pub fn new(disk: &'a Disk) -> Self {
        let driver = &disk.driver.clone().unwrap_or_default();
        let Some(source) = disk.source.as_ref().filter(|s| names_something(disk.kind, s)) else {
            return Self::default();
        };
        let format = disk.driver.as_ref().and_then(|driver| driver.kind.as_deref());
        let format = format.unwrap_or("raw");
        // A running guest's volume says what it is.
        let kind = source.actual_type.unwrap_or(disk.kind);
        let mut top = Image::new(kind, source, format);
        let tray = matches!(disk.device, DiskDevice::Cdrom);
        top.options = ImageOptions {
            read_only: disk.readonly || tray,
            detect_zeroes: driver.detect_zeroes,
            discard_no_unref: driver.discard_no_unref.map(Switch::on),
            metadata_cache: cache_bytes(driver.metadata_cache.as_ref()),
            ..shared(disk, driver)
        };
        top.floppy = disk.device == DiskDevice::Floppy;
        // Only the image says whether the guest may write.
        top.data = data(source, ImageOptions { read_only: false, ..top.options.clone() });
        // Credentials and encryption may stand beside the source.
        top.auth = top.auth.or(disk.auth.as_deref());
        top.encryption = top.encryption.or(disk.encryption.as_deref());
        let mut chain = Self { images: vec![top], ends: false };
        for layer in disk.layers() {
            let Some(image) = backing(layer, shared(disk, driver)) else {
                chain.ends = true;
                break;
            };
            chain.images.push(image);
        }
        chain
    }
}

/// The cache mode of a disk: what guests share must not linger in one host's page cache.
pub fn cache_mode(disk: &Disk) -> Option<CacheMode> {
    let given = disk.driver.as_ref().and_then(|driver| driver.cache);
    match given.filter(|mode| *mode != CacheMode::Default) {
        None if disk.shareable && !disk.readonly => Some(CacheMode::None),
        mode => mode,
    }
}

/// Options that hold for every image of a chain.
fn shared(disk: &Disk, driver: &DiskDriver) -> ImageOptions {
    ImageOptions {
        cache: cache_mode(disk),
        io: driver.io,
        discard: driver.discard,
        ..ImageOptions::default()
    }
}

fn backing<'a>(store: &'a BackingStore, shared: ImageOptions) -> Option<Image<'a>> {
    let source = store.source.as_ref()?;
    let format = store.format.as_ref();
    let kind = store.kind.unwrap_or_default();
    let mut image = Image::new(kind, source, format.map_or("raw", |format| &format.kind));
    image.options = ImageOptions {
        read_only: true,
        metadata_cache: cache_bytes(format.and_then(|format| format.metadata_cache.as_ref())),
        ..shared.clone()
    };
    image.data = data(source, ImageOptions { read_only: true, ..shared });
    Some(image)
}

/// The file that holds the bytes of an image.
fn data(source: &DiskSource, options: ImageOptions) -> Option<Box<Image<'_>>> {
    let store = source.data_store.as_deref()?;
    let mut image = Image::new(store.kind, store.source.as_ref()?, "raw");
    // What is said of the image's format does not concern it.
    image.options = ImageOptions { discard_no_unref: None, metadata_cache: None, ..options };
    Some(Box::new(image))
}
