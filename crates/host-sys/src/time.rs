//! The host's time zone.

/// Seconds that local time is ahead of UTC at `time` (seconds since the epoch), as the C library
/// knows the host's zone; 0 where it has no answer.
pub fn utc_offset(time: i64) -> i32 {
    let time: libc::time_t = time;
    let mut broken = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are to live values of the right types; localtime_r fills the second one
    // or returns null, and zeroes are a valid `tm` as well.
    let (found, broken) = unsafe {
        let found = libc::localtime_r(&time, broken.as_mut_ptr());
        (!found.is_null(), broken.assume_init())
    };
    if found { i32::try_from(broken.tm_gmtoff).unwrap_or(0) } else { 0 }
}
