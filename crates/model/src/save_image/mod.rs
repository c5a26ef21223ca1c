//! Images of saved guests: the header and the texts before the guest's memory.
//!
//! The layout is libvirt's (observed in files of libvirtd 11.3), so that either reads what the
//! other wrote. Numbers are in the byte order of the host that wrote them:
//!
//! ```text
//!  0  16 bytes  "LibvirtQemudSave", or "LibvirtQemudPart" until the image is complete
//! 16  u32       version: 2
//! 20  u32       length of the texts with their padding
//! 24  u32       1: the guest ran and is to run again
//! 28  u32       format of what follows the texts
//! 32  u32       where the cookie is, from the start of the texts; 0: there is none
//! 36  14 × u32  zero
//! 92            the domain's XML, a zero byte, the cookie, a zero byte, padding
//! ```
//!
//! The padding leaves room for a longer XML: an edit never moves the memory.

mod cookie;

pub use cookie::SaveCookie;

/// Length of the header in bytes.
pub const HEADER_LEN: usize = 92;

/// Most bytes of texts that are read: a definition is bounded, and so is its cookie.
pub const TEXTS_MAX: u32 = 64 << 20;

/// Room behind the texts for edits.
const PADDING: usize = 64 << 10;

const COMPLETE: &[u8; 16] = b"LibvirtQemudSave";
const PARTIAL: &[u8; 16] = b"LibvirtQemudPart";
const VERSION: u32 = 2;

/// What follows the texts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SaveFormat {
    /// QEMU's migration stream.
    #[default]
    Raw,
    /// The stream through gzip.
    Gzip,
    /// The stream through bzip2.
    Bzip2,
    /// The stream through xz.
    Xz,
    /// The stream through lzop.
    Lzop,
    /// The stream through zstd.
    Zstd,
    /// QEMU's mapped-ram: every page at a place of its own, holes where there is nothing.
    Sparse,
}

impl SaveFormat {
    /// All formats, in the order of their numbers in the header.
    pub const ALL: [Self; 7] =
        [Self::Raw, Self::Gzip, Self::Bzip2, Self::Xz, Self::Lzop, Self::Zstd, Self::Sparse];

    /// The name in settings and calls.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Lzop => "lzop",
            Self::Zstd => "zstd",
            Self::Sparse => "sparse",
        }
    }

    /// The format with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == name)
    }

    fn number(self) -> u32 {
        let at = Self::ALL.iter().position(|format| *format == self);
        at.and_then(|at| u32::try_from(at).ok()).unwrap_or(0)
    }
}

/// Why a file is no image that can be used. The words are libvirt's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageFault {
    /// Shorter than a header.
    #[error("failed to read qemu header")]
    NoHeader,
    /// It begins with something else.
    #[error("image magic is incorrect")]
    Magic,
    /// Whoever wrote it did not come to the end.
    #[error("save image is incomplete")]
    Incomplete,
    /// Written by a later libvirt.
    #[error("image version is not supported ({0} > 2)")]
    Version(u32),
    /// No texts, or more than there can be.
    #[error("invalid header data length: {0}")]
    Length(u32),
    /// A number that stands for no format.
    #[error("unsupported save image format: {0}")]
    Format(u32),
    /// It ends before the XML does.
    #[error("failed to read domain XML")]
    NoXml,
    /// It ends before the cookie does.
    #[error("failed to read cookie")]
    NoCookie,
    /// The cookie is none.
    #[error("the save cookie cannot be read: {0}")]
    Cookie(String),
    /// A new XML that does not fit into the place of the old.
    #[error("new xml too large to fit in file")]
    NoRoom,
}

impl ImageFault {
    /// The file never was an image, or is one that nobody finished: nothing of a guest is in it.
    pub fn is_worthless(&self) -> bool {
        matches!(self, Self::NoHeader | Self::Magic | Self::Incomplete)
    }
}

/// The header of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveHeader {
    /// The guest ran and is to run again.
    pub running: bool,
    /// What follows the texts.
    pub format: SaveFormat,
    /// Length of the texts with their padding.
    pub data_len: u32,
    /// Where the cookie is in the texts; 0: there is none.
    pub cookie_offset: u32,
}

impl SaveHeader {
    /// Reads the first [`HEADER_LEN`] bytes of a file (or as many as it has).
    ///
    /// # Errors
    /// In the order in which libvirt looks: length, magic, version, length of the texts.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageFault> {
        let bytes = bytes.get(..HEADER_LEN).ok_or(ImageFault::NoHeader)?;
        let (magic, _) = bytes.split_first_chunk::<16>().ok_or(ImageFault::NoHeader)?;
        match magic {
            COMPLETE => {}
            PARTIAL => return Err(ImageFault::Incomplete),
            _ => return Err(ImageFault::Magic),
        }
        let number = |index: usize| {
            let at = 16 + 4 * index;
            let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
            word.map_or(0, u32::from_ne_bytes)
        };
        // A version beyond ours may be ours from a host of the other byte order.
        let swapped = number(0) > VERSION;
        let number = |index| if swapped { number(index).swap_bytes() } else { number(index) };
        if number(0) > VERSION {
            return Err(ImageFault::Version(number(0)));
        }
        let data_len = number(1);
        if data_len == 0 {
            return Err(ImageFault::Length(0));
        }
        let format = usize::try_from(number(3)).ok().and_then(|at| SaveFormat::ALL.get(at));
        let cookie_offset = number(4);
        if cookie_offset > data_len {
            return Err(ImageFault::NoXml);
        }
        if data_len > TEXTS_MAX {
            // What is said first of one that lies: the part that cannot be there.
            return Err(if cookie_offset == 0 { ImageFault::NoXml } else { ImageFault::NoCookie });
        }
        let format = *format.ok_or(ImageFault::Format(number(3)))?;
        Ok(Self { running: number(2) != 0, format, data_len, cookie_offset })
    }

    /// The header's bytes; `complete`: everything that belongs behind it is there.
    pub fn bytes(&self, complete: bool) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        let magic = if complete { COMPLETE } else { PARTIAL };
        let numbers = [
            VERSION,
            self.data_len,
            u32::from(self.running),
            self.format.number(),
            self.cookie_offset,
        ];
        let content = magic.iter().copied().chain(numbers.into_iter().flat_map(u32::to_ne_bytes));
        for (slot, byte) in bytes.iter_mut().zip(content) {
            *slot = byte;
        }
        bytes
    }

    /// Where the guest's memory begins.
    pub fn memory_offset(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.data_len)
    }

    /// Takes the texts apart; `texts` are the bytes behind the header (or as many as there are).
    ///
    /// # Errors
    /// When they end too early or are no text.
    pub fn texts<'a>(&self, texts: &'a [u8]) -> Result<Texts<'a>, ImageFault> {
        let length = usize::try_from(self.data_len).unwrap_or(usize::MAX);
        let cookie_at = usize::try_from(self.cookie_offset).unwrap_or(usize::MAX);
        let xml_len = if cookie_at > 0 { cookie_at } else { length };
        let xml = texts.get(..xml_len).ok_or(ImageFault::NoXml)?;
        let xml = text(xml).ok_or(ImageFault::NoXml)?;
        let cookie = match cookie_at {
            0 => None,
            at => {
                let cookie = texts.get(at..length).ok_or(ImageFault::NoCookie)?;
                Some(text(cookie).ok_or(ImageFault::NoCookie)?).filter(|text| !text.is_empty())
            }
        };
        Ok(Texts { xml, cookie })
    }
}

/// The texts of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Texts<'a> {
    /// The guest's definition.
    pub xml: &'a str,
    /// What the definition does not say ([`SaveCookie`]).
    pub cookie: Option<&'a str>,
}

/// What stands before the first zero byte.
fn text(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    std::str::from_utf8(bytes.get(..end)?).ok()
}

/// The texts of a new image as bytes, and the header that goes with them.
///
/// # Errors
/// [`ImageFault::NoRoom`] when they are longer than any reader takes.
pub fn compose(
    texts: Texts<'_>,
    running: bool,
    format: SaveFormat,
) -> Result<(SaveHeader, Vec<u8>), ImageFault> {
    let (bytes, cookie_offset) = joined(texts)?;
    let length = bytes.len() + PADDING;
    let data_len = fitting(length)?;
    Ok((SaveHeader { running, format, data_len, cookie_offset }, padded(bytes, length)))
}

/// The texts of an image that get others, in the place of the old ones.
///
/// # Errors
/// [`ImageFault::NoRoom`] when they do not fit there.
pub fn replace(
    header: SaveHeader,
    texts: Texts<'_>,
    running: bool,
) -> Result<(SaveHeader, Vec<u8>), ImageFault> {
    let (bytes, cookie_offset) = joined(texts)?;
    let length = usize::try_from(header.data_len).unwrap_or(0);
    if bytes.len() > length {
        return Err(ImageFault::NoRoom);
    }
    Ok((SaveHeader { running, cookie_offset, ..header }, padded(bytes, length)))
}

fn joined(texts: Texts<'_>) -> Result<(Vec<u8>, u32), ImageFault> {
    let mut bytes = texts.xml.as_bytes().to_vec();
    bytes.push(0);
    let mut cookie_offset = 0;
    if let Some(cookie) = texts.cookie {
        cookie_offset = fitting(bytes.len())?;
        bytes.extend_from_slice(cookie.as_bytes());
        bytes.push(0);
    }
    Ok((bytes, cookie_offset))
}

fn fitting(length: usize) -> Result<u32, ImageFault> {
    u32::try_from(length).ok().filter(|len| *len <= TEXTS_MAX).ok_or(ImageFault::NoRoom)
}

fn padded(mut bytes: Vec<u8>, length: usize) -> Vec<u8> {
    bytes.resize(length, 0);
    bytes
}

/// Reads arbitrary bytes as the beginning of an image; what was understood is written and read
/// again.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    let Ok(header) = SaveHeader::parse(data) else { return };
    assert_eq!(SaveHeader::parse(&header.bytes(true)), Ok(header));
    let Ok(texts) = header.texts(data.get(HEADER_LEN..).unwrap_or_default()) else { return };
    if let Some(cookie) = texts.cookie {
        let _ = SaveCookie::parse(cookie);
    }
    if let Ok((again, bytes)) = compose(texts, header.running, header.format) {
        assert_eq!(again.texts(&bytes), Ok(texts));
    }
    if let Ok((again, bytes)) = replace(header, texts, !header.running) {
        assert_eq!(again.texts(&bytes), Ok(texts));
    }
}

#[cfg(test)]
mod tests;
