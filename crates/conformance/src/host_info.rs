//! What a host says of itself.

use crate::Operation;
use crate::answer::{Answer, either};
use crate::request::Request;
use diag::VirError;
use model::host_info::{
    CpuTree, arm_sysinfo, cpu_counts, cpu_mhz, dmi_sysinfo, ppc_sysinfo, s390_sysinfo,
};
use std::path::Path;

/// The operations of this area.
pub const OPERATIONS: &[Operation] =
    &[("node-cpu-info", node_cpu_info), ("sysinfo-xml", sysinfo_xml)];

/// A file's content; bytes outside UTF-8 do not matter here.
fn text(path: &Path) -> Option<String> {
    std::fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn node_cpu_info(request: &Request<'_>) -> Answer {
    either((|| {
        let arch = request.need("arch")?;
        let root = Path::new(request.need("sysfs")?);
        let cpuinfo = text(Path::new(request.need("cpuinfo")?)).unwrap_or_default();
        let tree =
            CpuTree::read(|folder| entries(&root.join(folder)), |file| text(&root.join(file)));
        // KVM of POWER hosts runs cores of eight threads.
        let subcore = if arch.starts_with("ppc64") { 8 } else { 0 };
        let counts = cpu_counts(arch, &tree, subcore);
        Ok(Answer::text(format!(
            "CPUs: {}/{}, MHz: {}, Nodes: {}, Sockets: {}, Cores: {}, Threads: {}",
            counts.cpus,
            counts.present,
            cpu_mhz(arch, &cpuinfo),
            counts.nodes,
            counts.sockets,
            counts.cores,
            counts.threads
        )))
    })())
}

fn sysinfo_xml(request: &Request<'_>) -> Answer {
    either((|| {
        let file = |name: &str| request.str(name).and_then(|path| text(Path::new(path)));
        let (dmi, cpuinfo) = (file("sysinfo"), file("cpuinfo").unwrap_or_default());
        // dmidecode shows line breaks as dots; alone a string is printed as it is.
        let alone = |number: u32| {
            let start = format!("String {number}: ");
            let listing = dmi.as_deref().unwrap_or_default();
            let line = listing.lines().find_map(|line| line.trim_start().strip_prefix(&start))?;
            Some(line.replace('.', "\n"))
        };
        let info = match (request.need("arch")?, &dmi) {
            ("s390" | "s390x", _) => s390_sysinfo(dmi.as_deref().unwrap_or_default(), &cpuinfo),
            ("ppc" | "ppc64" | "ppc64le", _) => ppc_sysinfo(&cpuinfo),
            ("i686" | "x86_64" | "armv6l" | "armv7l" | "aarch64", Some(dmi)) => {
                dmi_sysinfo(dmi, alone)
            }
            ("armv6l" | "armv7l" | "aarch64", None) => arm_sysinfo(&cpuinfo),
            _ => {
                let message = "Host SMBIOS information is not available";
                return Err(Answer::Refused(VirError::config(message)));
            }
        };
        Ok(Answer::text(xml::write(&info, "sysinfo", &xml::WriteOptions::default())))
    })())
}
