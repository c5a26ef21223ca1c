//! What a host says of itself, in texts of others: `/proc/cpuinfo`, `/sys`, dmidecode.
//!
//! Everything here is a function of texts; who reads the files passes them, or a function that does.

mod cpu_counts;
mod cpuinfo;
mod dmidecode;
#[cfg(test)]
mod tests;

pub use cpu_counts::{CpuCounts, CpuTree, cpu_counts, cpu_mhz};
pub use cpuinfo::{arm_sysinfo, ppc_sysinfo, s390_sysinfo};
pub use dmidecode::dmi_sysinfo;

/// Feeds arbitrary bytes to every reader of this module; none may panic.
#[doc(hidden)]
pub fn fuzz_one(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let options = xml::WriteOptions::default();
    for sysinfo in [
        dmi_sysinfo(&text, |_| None),
        arm_sysinfo(&text),
        ppc_sysinfo(&text),
        s390_sysinfo(&text, &text),
    ] {
        let _ = xml::write(&sysinfo, "sysinfo", &options);
    }
    for arch in ["x86_64", "ppc64", "aarch64", "s390x"] {
        let _ = cpu_mhz(arch, &text);
        // Every file has this content; every folder has a few entries.
        let tree = CpuTree::read(
            |_| vec!["cpu0".to_owned(), "cpu1".to_owned(), "node0".to_owned()],
            |_| Some(text.clone().into_owned()),
        );
        let _ = cpu_counts(arch, &tree, 8);
    }
}
