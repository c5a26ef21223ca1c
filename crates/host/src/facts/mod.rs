//! What this host is: processors, memory, firmware. Read from `/proc`, `/sys` and the processor.
//!
//! Functions with a `root` read below it, so that tests can show them other machines.

mod cache;
mod cpu;
mod firmware;
mod huge_pages;
mod kvm;
mod memory;
mod msr;

pub use cache::{Cache, caches};
pub use cpu::{
    CpuIdentity, CpuPlace, CpuTimes, cpu_clock_mhz, cpu_identity, cpu_list, cpu_places, cpu_times,
    cpuid_words, format_cpu_list, microcode, parse_cpu_list, physical_address_bits,
};
pub use firmware::{Smbios, machine_id, smbios};
pub use huge_pages::{HugePagePool, default_huge_page_size, huge_page_mounts, huge_page_size};
pub use kvm::{KvmLimits, KvmState, kvm_limits, kvm_state};
pub use memory::{HugePages, MemoryInfo, NumaCell, memory_info, numa_cells};
pub use msr::feature_msrs;

use std::path::Path;
use std::sync::OnceLock;

/// A small file of `/proc` or `/sys` as trimmed text; `None` if it is not there.
fn text(path: impl AsRef<Path>) -> Option<String> {
    let bytes = crate::files::read_bounded(path.as_ref(), 8 << 20).ok()?;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}

fn number<T: std::str::FromStr>(path: impl AsRef<Path>) -> Option<T> {
    text(path)?.parse().ok()
}

/// When the host was booted, in seconds since 1970 (the `btime` of `/proc/stat`), as the clock had it
/// when this process first asked: libvirtd, too, asks once, and the kernel counts every interrupt
/// for each answer.
pub fn boot_time() -> Option<u64> {
    static BOOTED: OnceLock<Option<u64>> = OnceLock::new();
    *BOOTED.get_or_init(|| {
        text("/proc/stat")?.lines().find_map(|l| l.strip_prefix("btime ")?.trim().parse().ok())
    })
}

/// How long the host is up, in seconds.
pub fn uptime() -> Option<f64> {
    text("/proc/uptime")?.split_whitespace().next()?.parse().ok()
}

/// The host's name as the kernel has it.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Seconds that the host's local time is ahead of UTC at `time` (seconds since the epoch).
pub fn utc_offset(time: i64) -> i32 {
    host_sys::utc_offset(time)
}

/// The machine's architecture as the kernel names it, for example `x86_64`.
pub fn architecture() -> String {
    rustix::system::uname().machine().to_string_lossy().into_owned()
}

/// The kernel's release.
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}
