//! Names of the devices that we make: a prefix and a number that no device of this daemon's life
//! had before, as libvirt does it. A name that comes back at once could be a device's that
//! somebody's hook script or monitoring still believes to be the old one.

use host::netdev::{self, NetdevError};
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU32, Ordering};

/// Tries before a name is given up: each of them lost a race, or met a device that is there.
const TRIES: u32 = 100_000;

/// The next number of a kind of device.
pub(super) struct Numbers(AtomicU32);

/// Numbers of taps.
pub(super) static TAPS: Numbers = Numbers(AtomicU32::new(0));

/// Numbers of macvtaps.
pub(super) static MACVTAPS: Numbers = Numbers(AtomicU32::new(0));

impl Numbers {
    /// Makes a device named by `pattern`, where `%d` stands for a free number.
    pub fn with_name<T>(
        &self,
        pattern: &str,
        mut make: impl FnMut(&str) -> Result<T, NetdevError>,
    ) -> Result<T, NetdevError> {
        let Some((before, after)) = pattern.split_once("%d") else { return make(pattern) };
        let mut tries = 0;
        loop {
            let number = self.0.fetch_add(1, Ordering::Relaxed);
            let name = format!("{before}{number}{after}");
            tries += 1;
            if tries < TRIES && netdev::index(&name).is_some() {
                continue;
            }
            match make(&name) {
                Err(error) if tries < TRIES && error.source.kind() == ErrorKind::AlreadyExists => {}
                result => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    fn taken() -> NetdevError {
        NetdevError { what: "make".into(), source: ErrorKind::AlreadyExists.into() }
    }

    #[test]
    fn each_name_is_given_once() {
        let numbers = Numbers(AtomicU32::new(7));
        let give = |pattern: &str| numbers.with_name(pattern, |name| Ok(name.to_owned())).ok();
        assert_eq!(give("none-such%d").as_deref(), Some("none-such7"));
        assert_eq!(give("none-such%dx").as_deref(), Some("none-such8x"));
        assert_eq!(give("fixed").as_deref(), Some("fixed"));
        assert_eq!(give("none-such%d").as_deref(), Some("none-such9"));
    }

    #[test]
    fn a_taken_name_is_passed_over_but_not_another_fault() {
        let numbers = Numbers(AtomicU32::new(0));
        let mut left = 3;
        let name = numbers.with_name("none-such%d", |name| {
            left -= 1;
            if left > 0 { Err(taken()) } else { Ok(name.to_owned()) }
        });
        assert_eq!(name.ok().as_deref(), Some("none-such2"));
        let error = numbers.with_name("none-such%d", |_| -> Result<(), _> {
            Err(NetdevError { what: "make".into(), source: io::ErrorKind::NotFound.into() })
        });
        assert!(error.is_err_and(|error| error.source.kind() == ErrorKind::NotFound));
        assert!(numbers.with_name("fixed", |_| -> Result<(), _> { Err(taken()) }).is_err());
    }
}
