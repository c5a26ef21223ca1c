//! The cache file's form: one JSON object, whose head says what it was made from.

use super::QemuCaps;
use serde::{Deserialize, Serialize};

/// Raised whenever [`QemuCaps`] or a feature rule changes its meaning.
const FORMAT: u32 = 2;

/// What a cached probe was made from; any difference means: probe again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct CacheKey {
    /// Path of the binary.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its modification time, nanoseconds since the epoch.
    pub mtime_ns: i64,
    /// When it last was changed in any way, nanoseconds since the epoch: a package may set the other
    /// time back.
    #[serde(default)]
    pub ctime_ns: i64,
    /// When the folder of what it loads (displays, devices) last changed; 0 where there is none.
    #[serde(default)]
    pub modules_ns: i64,
    /// Version of the program that wrote the file, and [`super::rules_id`].
    pub writer: String,
    /// Kernel release and whether `/dev/kvm` works, as the answers depend on both.
    pub host: String,
}

/// Why a cache file is of no use. All of them mean: probe again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheError {
    /// Not our JSON (cut short, or another format).
    Malformed(String),
    /// Written for another binary, host or program version.
    Stale,
}

impl std::fmt::Display for CacheError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Malformed(detail) => write!(f, "capability cache is not readable: {detail}"),
            Self::Stale => f.write_str("capability cache was made from something else"),
        }
    }
}

impl std::error::Error for CacheError {}

#[derive(Serialize)]
struct CacheOut<'a> {
    format: u32,
    key: &'a CacheKey,
    caps: &'a QemuCaps,
}

#[derive(Deserialize)]
struct CacheIn<'a> {
    format: u32,
    key: CacheKey,
    #[serde(borrow)]
    caps: &'a serde_json::value::RawValue,
}

impl QemuCaps {
    /// The text of a cache file.
    pub fn to_cache(&self, key: &CacheKey) -> String {
        let out = CacheOut { format: FORMAT, key, caps: self };
        // Maps with string keys and plain values always serialise.
        serde_json::to_string(&out).unwrap_or_default()
    }

    /// Reads a cache file that must have been made from `key`.
    ///
    /// # Errors
    /// The file is malformed or stale.
    pub fn from_cache(text: &str, key: &CacheKey) -> Result<Self, CacheError> {
        let malformed = |error: serde_json::Error| CacheError::Malformed(error.to_string());
        let file: CacheIn = serde_json::from_str(text).map_err(malformed)?;
        if file.format != FORMAT || file.key != *key {
            return Err(CacheError::Stale);
        }
        serde_json::from_str(file.caps.get()).map_err(malformed)
    }
}
