//! Whether guests can run on KVM here. That `/dev/kvm` opens does not prove it: in a nested host
//! the device may be there and the processor unable.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use host_sys::cpuid;

/// The answer, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvmState {
    /// It can be used.
    Usable,
    /// There is no `/dev/kvm`.
    NoDevice,
    /// `/dev/kvm` cannot be opened (error number).
    NotOpened(i32),
    /// The device does not answer as KVM.
    NotKvm,
    /// The processor shows no virtualization (`vmx` or `svm`).
    NoExtension,
}

impl KvmState {
    /// Why it cannot be used, for a human; `None` when it can.
    pub fn reason(&self) -> Option<String> {
        match self {
            Self::Usable => None,
            Self::NoDevice => Some("there is no /dev/kvm".to_owned()),
            Self::NotOpened(errno) => Some(format!(
                "/dev/kvm cannot be opened: {}",
                std::io::Error::from_raw_os_error(*errno)
            )),
            Self::NotKvm => Some("/dev/kvm does not answer as KVM".to_owned()),
            Self::NoExtension => Some("the processor shows neither vmx nor svm".to_owned()),
        }
    }
}

/// Probes KVM: the device opens, speaks version 12, and (on x86) the processor has the extension.
pub fn kvm_state() -> KvmState {
    let file = match File::options().read(true).write(true).open(Path::new("/dev/kvm")) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return KvmState::NoDevice,
        Err(e) => return KvmState::NotOpened(e.raw_os_error().unwrap_or(0)),
    };
    if host_sys::kvm_api_version(file.as_fd()).ok() != Some(12) {
        return KvmState::NotKvm;
    }
    if cfg!(target_arch = "x86_64") && !has_extension() {
        return KvmState::NoExtension;
    }
    KvmState::Usable
}

fn has_extension() -> bool {
    let vmx = cpuid(1, 0).is_some_and(|l| l.ecx & (1 << 5) != 0);
    let svm = cpuid(0x8000_0001, 0).is_some_and(|l| l.ecx & (1 << 2) != 0);
    vmx || svm
}

/// What KVM says of guests' processors; nothing where its device does not open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KvmLimits {
    /// Most virtual CPUs of one guest.
    pub max_vcpus: Option<u32>,
    /// Hertz of the time stamp counter, and whether guests can have another rate. Only where it
    /// counts evenly: the rate of any other says nothing.
    pub tsc: Option<(u64, bool)>,
}

/// Asks KVM for its limits. That the device answers does not mean that guests can use it; see
/// [`kvm_state`].
pub fn kvm_limits() -> KvmLimits {
    let opened = File::options().read(true).write(true).open(Path::new("/dev/kvm"));
    let Ok(kvm) = opened else { return KvmLimits::default() };
    let even = cpuid(0x8000_0007, 0).is_some_and(|leaf| leaf.edx & (1 << 8) != 0);
    KvmLimits {
        max_vcpus: host_sys::kvm_max_vcpus(kvm.as_fd()).ok(),
        tsc: even.then(|| host_sys::kvm_tsc(kvm.as_fd()).ok()).flatten(),
    }
}
