//! What KVM says of the processor.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `KVM_GET_MSRS`: `_IOWR(0xAE, 0x88, struct kvm_msrs)`, whose fixed part has 8 bytes.
const KVM_GET_MSRS: libc::c_ulong = 0xc008_ae88;

/// `struct kvm_msrs` with room for one `struct kvm_msr_entry`.
#[repr(C)]
struct OneMsr {
    count: u32,
    pad: u32,
    index: u32,
    reserved: u32,
    data: u64,
}

/// The value that KVM gives a model-specific register which tells of features; `None` where KVM
/// does not know the register.
///
/// # Errors
/// The descriptor is no `/dev/kvm`, or KVM tells no registers (before Linux 4.17).
pub fn kvm_feature_msr(kvm: BorrowedFd<'_>, index: u32) -> io::Result<Option<u64>> {
    let mut one = OneMsr { count: 1, pad: 0, index, reserved: 0, data: 0 };
    // SAFETY: the structure has the layout the call expects, with the one entry that `count`
    // announces, and outlives the call, which writes to `data` alone.
    let read = unsafe { libc::ioctl(kvm.as_raw_fd(), KVM_GET_MSRS, &raw mut one) };
    match read {
        1 => Ok(Some(one.data)),
        0 => Ok(None),
        _ => Err(io::Error::last_os_error()),
    }
}
