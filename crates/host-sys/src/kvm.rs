//! What KVM says of the processor.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `KVM_GET_MSRS`: `_IOWR(0xAE, 0x88, struct kvm_msrs)`, whose fixed part has 8 bytes.
const KVM_GET_MSRS: libc::c_ulong = 0xc008_ae88;

/// Calls of `/dev/kvm` and of what it makes that carry a plain number: `_IO(0xAE, …)`.
const KVM_CREATE_VM: libc::c_ulong = 0xae01;
const KVM_CHECK_EXTENSION: libc::c_ulong = 0xae03;
const KVM_CREATE_VCPU: libc::c_ulong = 0xae41;
const KVM_GET_TSC_KHZ: libc::c_ulong = 0xaea3;

/// Extensions that `KVM_CHECK_EXTENSION` is asked for.
const CAP_NR_VCPUS: libc::c_ulong = 9;
const CAP_TSC_CONTROL: libc::c_ulong = 60;
const CAP_MAX_VCPUS: libc::c_ulong = 66;

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

/// One of the calls above.
fn call(fd: BorrowedFd<'_>, request: libc::c_ulong, number: libc::c_ulong) -> io::Result<i32> {
    // SAFETY: these calls take a number and no pointer; other devices refuse them.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request, number) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// How many virtual CPUs one guest may have at most.
///
/// # Errors
/// The descriptor is no `/dev/kvm`.
pub fn kvm_max_vcpus(kvm: BorrowedFd<'_>) -> io::Result<u32> {
    let asked = |extension| {
        let found = call(kvm, KVM_CHECK_EXTENSION, extension)?;
        Ok::<_, io::Error>(u32::try_from(found).unwrap_or(0))
    };
    let most = match asked(CAP_MAX_VCPUS)? {
        // Before Linux 3.0 there is the recommended number alone.
        0 => asked(CAP_NR_VCPUS)?,
        most => most,
    };
    // Without either, the interface promises four.
    Ok(if most == 0 { 4 } else { most })
}

/// Hertz of the time stamp counter that guests see, and whether KVM can give them another rate.
/// Makes a virtual machine that never runs.
///
/// # Errors
/// The descriptor is no `/dev/kvm`, or KVM cannot make a machine or tell the rate.
pub fn kvm_tsc(kvm: BorrowedFd<'_>) -> io::Result<(u64, bool)> {
    let make = |fd: BorrowedFd<'_>, request| {
        let made = call(fd, request, 0)?;
        // SAFETY: the call returned a descriptor that nobody else owns.
        Ok::<_, io::Error>(unsafe { OwnedFd::from_raw_fd(made) })
    };
    let machine = make(kvm, KVM_CREATE_VM)?;
    let cpu = make(machine.as_fd(), KVM_CREATE_VCPU)?;
    let khz = u64::try_from(call(cpu.as_fd(), KVM_GET_TSC_KHZ, 0)?).unwrap_or(0);
    let scaling = call(machine.as_fd(), KVM_CHECK_EXTENSION, CAP_TSC_CONTROL)?;
    Ok((khz * 1000, scaling > 0))
}
