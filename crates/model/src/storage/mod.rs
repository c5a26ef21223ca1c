//! Storage pools and volumes: their XML, and what each pool type has.
//!
//! Reading takes two steps. The declared mapping reads what is there; [`Pool::parse`] and
//! [`Volume::parse`] then apply what depends on the pool's type: which parts of `<source>` count,
//! which must be there, defaults, known formats. What a type has no use for is dropped, so that
//! writing needs no further rules.
//!
//! Sources: `storagepool.rng`, `storagevol.rng`, formatstorage.html, and answers of libvirt 11.3.

mod capabilities;
mod encryption;
mod path;
mod permissions;
mod pool;
mod size;
mod source;
#[cfg(test)]
mod tests;
mod types;
mod volume;

pub use capabilities::pool_capabilities;
pub use encryption::{
    Cipher, Encryption, EncryptionEngine, EncryptionFormat, EncryptionSecret, IvGen,
};
pub use path::sanitize;
pub use permissions::Permissions;
pub use pool::{ConfigOptions, Cow, Features, MountOptions, Pool, PoolTarget, Refresh};
pub use size::{Size, scaled};
pub use source::{Adapter, AdapterType, Auth, Device, Host, Initiator, Source};
pub use types::{FILE_FORMATS, PoolType, VolumeType};
pub use volume::{Parsing, Timestamps, Volume, VolumeTarget};

/// Reads arbitrary text as pool and as volume of every kind of pool; must not panic.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(pool) = Pool::parse(text).value {
        let written = pool.to_xml(0);
        // What was written is read again, and to the same value.
        assert_eq!(Pool::parse(&written).value.as_ref(), Some(&pool), "{written}");
    }
    for kind in PoolType::ALL {
        let options = Parsing { capacity_optional: true };
        if let Some(volume) = Volume::parse(text, *kind, options).value {
            let _ = volume.to_xml();
        }
    }
}
