//! What an image is, by its first bytes.
//!
//! Only headers are read: at most [`HEADER`] bytes plus the name of the backing file. Nothing in
//! them is trusted; what makes no sense is left out.

use model::storage::EncryptionFormat;
use std::io;
use std::path::Path;

/// So many bytes from the start are looked at.
pub const HEADER: usize = 4096;

/// Longest name of a backing file (QEMU's limit).
const BACKING_MAX: usize = 1023;

/// What an image says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Image {
    /// libvirt's name of the format.
    pub format: &'static str,
    /// Size the guest sees in bytes, where the header says.
    pub capacity: Option<u64>,
    /// What it is an overlay of, as written in it.
    pub backing: Option<Backing>,
    /// Version of qcow2.
    pub compat: Option<&'static str>,
    /// Cluster size of qcow2 in bytes.
    pub cluster_size: Option<u64>,
    /// Features of qcow2.
    pub features: Option<Vec<&'static str>>,
    /// The file that holds the guest's bytes, as written in the image (qcow2).
    pub data_file: Option<String>,
    /// Encryption.
    pub encryption: Option<EncryptionFormat>,
}

/// The name of a backing file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backing {
    /// As written.
    pub name: String,
    /// Its format, when written.
    pub format: Option<String>,
}

/// Gives bytes from a place: as many as there are, up to so many.
pub trait ReadAt {
    /// Reads up to `length` bytes from `offset`.
    fn read_at(&self, offset: u64, length: usize) -> Vec<u8>;
}

impl ReadAt for &[u8] {
    fn read_at(&self, offset: u64, length: usize) -> Vec<u8> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let end = start.saturating_add(length).min(self.len());
        self.get(start..end).unwrap_or_default().to_vec()
    }
}

impl ReadAt for std::fs::File {
    fn read_at(&self, offset: u64, length: usize) -> Vec<u8> {
        use std::os::unix::fs::FileExt;
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match FileExt::read_at(self, rest, offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        bytes.truncate(filled);
        bytes
    }
}

/// A header's bytes; numbers beyond its end are absent.
struct Header(Vec<u8>);

impl Header {
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at.checked_add(N)?)?.try_into().ok()
    }
    fn starts(&self, magic: &[u8]) -> bool {
        self.0.starts_with(magic)
    }
    fn be16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_be_bytes)
    }
    fn be32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_be_bytes)
    }
    fn be64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_be_bytes)
    }
    fn le32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }
    fn le64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }
}

/// What the image in `file` is. `length` is the file's. What has no known header is raw.
pub fn probe(file: &impl ReadAt, length: u64) -> Image {
    let header = Header(file.read_at(0, HEADER));
    known(file, &header, length).unwrap_or(Image { format: "raw", ..Image::default() })
}

/// What the image at a path is. May block.
///
/// # Errors
/// It cannot be opened.
pub fn probe_path(path: &Path) -> io::Result<Image> {
    let file = super::dir::open(path)?;
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    Ok(probe(&file, length))
}

fn known(file: &impl ReadAt, header: &Header, length: u64) -> Option<Image> {
    let plain = |format, capacity| Some(Image { format, capacity, ..Image::default() });
    if header.starts(b"QFI\xfb") {
        return match header.be32(4)? {
            1 => Some(qcow(file, header)),
            2 | 3 => qcow2(file, header),
            _ => None,
        };
    }
    if header.starts(b"QED\0") {
        return Some(qed(file, header));
    }
    if header.starts(b"KDMV") && matches!(header.le32(4), Some(1..=3)) {
        return Some(vmdk(file, header));
    }
    if header.starts(b"conectix") && header.be32(12) == Some(0x10000) {
        return plain("vpc", header.be64(40));
    }
    if header.le32(64) == Some(0xbeda_107f) && header.le32(68) == Some(0x10001) {
        return plain("vdi", header.le64(368));
    }
    if header.starts(b"LUKS\xba\xbe") {
        return Some(luks(header, length));
    }
    if header.starts(b"WithouFreSpacExt") && header.le32(16) == Some(2) {
        return plain("ploop", header.le64(36).and_then(|sectors| sectors.checked_mul(512)));
    }
    if header.starts(b"OOOM") && header.be32(4) == Some(2) {
        return plain("cow", header.be64(1036));
    }
    if header.starts(b"Bochs Virtual HD Image") && header.le32(64) == Some(0x20000) {
        return plain("bochs", header.le64(84));
    }
    if header.starts(b"#!/bin/sh\n#V2.0 Format\nmodprobe cloop") {
        return plain("cloop", None);
    }
    // The primary volume descriptor stands in the seventeenth sector.
    if file.read_at(32769, 5) == b"CD001" {
        return plain("iso", None);
    }
    None
}

/// A name that stands in the file; none when it is empty or runs out of the file.
fn name_at(file: &impl ReadAt, offset: u64, length: u64) -> Option<String> {
    let length = usize::try_from(length).ok().filter(|n| (1..=BACKING_MAX).contains(n))?;
    if offset == 0 {
        return None;
    }
    let bytes = file.read_at(offset, length);
    if bytes.len() < length {
        return None;
    }
    String::from_utf8(bytes).ok().filter(|name| !name.contains('\0'))
}

fn qcow(file: &impl ReadAt, header: &Header) -> Image {
    let name = header
        .be64(8)
        .zip(header.be32(16))
        .and_then(|(offset, length)| name_at(file, offset, u64::from(length)));
    Image {
        format: "qcow",
        capacity: header.be64(24),
        backing: name.map(|name| Backing { name, format: None }),
        encryption: (header.be32(36) == Some(1)).then_some(EncryptionFormat::Qcow),
        ..Image::default()
    }
}

fn qcow2(file: &impl ReadAt, header: &Header) -> Option<Image> {
    let version = header.be32(4)?;
    let name = header
        .be64(8)
        .zip(header.be32(16))
        .and_then(|(offset, length)| name_at(file, offset, u64::from(length)));
    let (mut features, mut start) = (None, 72);
    if version == 3 {
        let incompatible = header.be64(72).unwrap_or(0);
        let compatible = header.be64(80).unwrap_or(0);
        let mut found = Vec::new();
        if compatible & 1 != 0 {
            found.push("lazy_refcounts");
        }
        if incompatible & 1 << 4 != 0 {
            found.push("extended_l2");
        }
        if incompatible & 1 << 2 != 0 {
            found.push("data_file");
        }
        features = Some(found);
        start = header.be32(100).map_or(start, |length| length as usize);
    }
    let format = extension(header, start, 0xe279_2aca)
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|format| !format.is_empty());
    let external = features.as_ref().is_some_and(|found| found.contains(&"data_file"));
    let data_file = extension(header, start, 0x4441_5441)
        .filter(|_| external)
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|name| !name.is_empty() && !name.contains('\0'));
    let bits = header.be32(20).filter(|bits| (9..=21).contains(bits));
    Some(Image {
        format: "qcow2",
        capacity: header.be64(24),
        backing: name.map(|name| Backing { name, format }),
        data_file,
        compat: (version == 3).then_some("1.1"),
        cluster_size: bits.map(|bits| 1 << bits),
        features,
        encryption: match header.be32(32) {
            Some(1) => Some(EncryptionFormat::Qcow),
            Some(2) => Some(EncryptionFormat::Luks),
            _ => None,
        },
    })
}

/// The content of a qcow2 header extension.
fn extension(header: &Header, start: usize, wanted: u32) -> Option<Vec<u8>> {
    let mut at = start;
    // Each is at least eight bytes long, so this ends with the header at the latest.
    loop {
        let kind = header.be32(at)?;
        let length = header.be32(at.checked_add(4)?)? as usize;
        let content = at.checked_add(8)?;
        let end = content.checked_add(length)?;
        if kind == 0 {
            return None;
        }
        if kind == wanted {
            return header.0.get(content..end).map(<[u8]>::to_vec);
        }
        at = end.checked_next_multiple_of(8)?;
    }
}

fn qed(file: &impl ReadAt, header: &Header) -> Image {
    let features = header.le64(16).unwrap_or(0);
    let name = (features & 1 != 0)
        .then(|| header.le32(56).zip(header.le32(60)))
        .flatten()
        .and_then(|(offset, length)| name_at(file, u64::from(offset), u64::from(length)));
    // Bit 2 says that the backing file is raw whatever it looks like.
    let format = (features & 4 != 0).then(|| "raw".to_owned());
    Image {
        format: "qed",
        capacity: header.le64(48),
        backing: name.map(|name| Backing { name, format }),
        ..Image::default()
    }
}

fn vmdk(file: &impl ReadAt, header: &Header) -> Image {
    let descriptor = file.read_at(512, 20 << 10);
    let text = descriptor.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let field = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name));
    let overlay = field("parentCID=").is_some_and(|id| !id.eq_ignore_ascii_case("ffffffff"));
    let name = field("parentFileNameHint=\"")
        .filter(|_| overlay)
        .and_then(|rest| rest.split('"').next())
        .filter(|name| !name.is_empty() && name.len() <= BACKING_MAX);
    Image {
        format: "vmdk",
        capacity: header.le64(12).and_then(|sectors| sectors.checked_mul(512)),
        backing: name
            .map(|name| Backing { name: name.to_owned(), format: Some("vmdk".to_owned()) }),
        ..Image::default()
    }
}

/// LUKS counts as raw that is encrypted; version 1 says where the content starts.
fn luks(header: &Header, length: u64) -> Image {
    let (format, capacity) = match header.be16(6) {
        Some(2) => (EncryptionFormat::Luks2, None),
        _ => {
            let payload = header.be32(104).map(|sectors| u64::from(sectors) * 512);
            (EncryptionFormat::Luks, payload.and_then(|payload| length.checked_sub(payload)))
        }
    };
    Image { format: "raw", capacity, encryption: Some(format), ..Image::default() }
}

/// Probes arbitrary bytes; must not panic.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    let _ = probe(&data, data.len() as u64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Image {
        probe(&bytes, bytes.len() as u64)
    }

    /// A qcow2 header of version 3 with a backing file and its format.
    fn overlay() -> Vec<u8> {
        let mut bytes = vec![0; 512];
        bytes[..4].copy_from_slice(b"QFI\xfb");
        bytes[7] = 3;
        bytes[8..16].copy_from_slice(&400u64.to_be_bytes());
        bytes[16..20].copy_from_slice(&6u32.to_be_bytes());
        bytes[20..24].copy_from_slice(&16u32.to_be_bytes());
        bytes[24..32].copy_from_slice(&(10u64 << 20).to_be_bytes());
        bytes[72..80].copy_from_slice(&(1u64 << 4).to_be_bytes());
        bytes[80..88].copy_from_slice(&1u64.to_be_bytes());
        bytes[100..104].copy_from_slice(&104u32.to_be_bytes());
        bytes[104..108].copy_from_slice(&0x6803_f857u32.to_be_bytes());
        bytes[108..112].copy_from_slice(&3u32.to_be_bytes());
        bytes[120..124].copy_from_slice(&0xe279_2acau32.to_be_bytes());
        bytes[124..128].copy_from_slice(&3u32.to_be_bytes());
        bytes[128..131].copy_from_slice(b"raw");
        bytes[400..406].copy_from_slice(b"/a.img");
        bytes
    }

    #[test]
    fn qcow2_says_what_it_is() {
        let image = of(&overlay());
        assert_eq!(image.format, "qcow2");
        assert_eq!(image.capacity, Some(10 << 20));
        assert_eq!(image.cluster_size, Some(65536));
        assert_eq!(image.compat, Some("1.1"));
        assert_eq!(image.features.as_deref(), Some(&["lazy_refcounts", "extended_l2"][..]));
        let backing = Backing { name: "/a.img".into(), format: Some("raw".into()) };
        assert_eq!(image.backing, Some(backing));
    }

    #[test]
    fn a_header_cut_anywhere_is_read_as_far_as_it_goes() {
        let whole = overlay();
        for length in 0..whole.len() {
            let _ = of(&whole[..length]);
        }
        assert_eq!(of(&whole[..100]).backing, None);
        assert_eq!(of(&whole[..100]).capacity, Some(10 << 20));
    }

    #[test]
    fn hostile_numbers_are_not_followed() {
        for at in (4..132).step_by(4) {
            let mut bytes = overlay();
            bytes[at..at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
            let _ = of(&bytes);
        }
    }

    #[test]
    fn other_formats() {
        let mut iso = vec![0; 40960];
        iso[32769..32774].copy_from_slice(b"CD001");
        assert_eq!(of(&iso).format, "iso");
        assert_eq!(of(b"").format, "raw");
        assert_eq!(of(b"QFI\xfb\0\0\0\x09").format, "raw");
        let mut luks = vec![0; 8192];
        luks[..8].copy_from_slice(b"LUKS\xba\xbe\0\x01");
        luks[104..108].copy_from_slice(&8u32.to_be_bytes());
        let image = of(&luks);
        assert_eq!((image.format, image.capacity), ("raw", Some(4096)));
        assert_eq!(image.encryption, Some(EncryptionFormat::Luks));
    }
}
