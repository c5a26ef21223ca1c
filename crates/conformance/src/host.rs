//! The host every request assumes, as the contract of the data fixes it.

use model::capabilities::firmware::Firmware;
use model::capabilities::host::{Cell, HostFacts, KvmState};
use model::capabilities::vhost_user::VhostUserBackend;
use model::domain::cpu::{Cpu, CpuFeature, CpuModel};
use plan::Ids;
use plan::qemu::Settings;
use std::collections::BTreeMap;
use std::path::Path;

use crate::request::{Profile, Request};

/// Seconds since 1970 on that host.
const NOW: i64 = 1_234_567_890;

/// Byte `n` of everything random is `n`.
pub fn random(buffer: &mut [u8]) {
    for (place, byte) in buffer.iter_mut().enumerate() {
        *byte = place as u8;
    }
}

/// PCI functions that exist: domain, bus, slot, function, IOMMU group.
const PCI: [(u32, u8, u8, u8, u32); 23] = [
    (0, 0, 0, 0, 0),
    (0, 0, 1, 0, 1),
    (0, 0, 2, 0, 2),
    (0, 0, 3, 0, 3),
    (1, 0, 0, 0, 4),
    (1, 1, 0, 0, 5),
    (1, 1, 0, 1, 5),
    (5, 0x80, 0, 0, 6),
    (5, 0x90, 1, 0, 7),
    (5, 0x90, 1, 1, 7),
    (5, 0x90, 1, 2, 7),
    (5, 0x90, 1, 3, 7),
    (0, 0x0a, 1, 0, 8),
    (0, 0x0a, 2, 0, 8),
    (0, 0x0a, 3, 0, 8),
    (0, 6, 0x12, 0, 9),
    (0, 6, 0x12, 1, 10),
    (0, 6, 0x12, 2, 11),
    (0x21, 0xde, 0x1f, 0, 12),
    (0x21, 0xde, 0x1f, 1, 13),
    (0, 1, 0, 0, 14),
    (0, 2, 0, 0, 15),
    (0, 3, 0, 0, 16),
];

/// IOMMU group of a PCI function.
pub fn iommu_group(a: &units::PciAddress) -> Option<u32> {
    let wanted = (a.domain, a.bus, a.slot, a.function);
    PCI.iter().find(|(d, b, s, f, _)| (*d, *b, *s, *f) == wanted).map(|found| found.4)
}

/// Facts of the host.
pub fn facts(request: &Request<'_>) -> HostFacts {
    let arch = request.value("host").get("arch").and_then(|arch| arch.as_str());
    let versions = request.list("tpm_versions");
    let versions = if versions.is_empty() { vec!["1.2", "2.0"] } else { versions };
    HostFacts {
        arch: arch.unwrap_or("x86_64").to_owned(),
        kvm: KvmState::Usable,
        swtpm_versions: versions.into_iter().map(str::to_owned).collect(),
        qemu_rdp: true,
        now: NOW,
        utc_offset: -1800,
        page_sizes_kib: vec![4, 2048, 1_048_576],
        cdrom_drives: vec!["/dev/cdrom".to_owned()],
        cells: (0..4).map(|id| Cell { id, ..Cell::default() }).collect(),
        described_cpu: described_cpu(request),
        numa_advice: model::domain::scalar::CpuSet::parse("0-3"),
        vhost_user: descriptors(&request.profile.vhost_user_dirs)
            .values()
            .filter_map(|(_, text)| VhostUserBackend::parse(text))
            .collect(),
        render_nodes: vec!["/dev/dri/foo".to_owned()],
        ..HostFacts::default()
    }
}

/// The CPUs that a request may name.
fn described_cpu(request: &Request<'_>) -> Option<Cpu> {
    const HASWELL: &str = "vme ds acpi ss ht tm pbe dtes64 monitor ds_cpl vmx smx est tm2 xtpr \
                           pdcm osxsave f16c rdrand cmt pdpe1gb abm invtsc lahf_lm";
    let name = request.value("host").get("cpu")?.as_str()?;
    let (vendor, features) = match name {
        // The host of nearly all requests; guests get what the recorded emulator shows there.
        "core2duo" => return None,
        "Haswell" => (Some("Intel"), HASWELL),
        _ => (None, ""),
    };
    let feature = |name: &str| CpuFeature { policy: None, name: name.to_owned() };
    Some(Cpu {
        model: Some(CpuModel { fallback: None, vendor_id: None, name: Some(name.to_owned()) }),
        vendor: vendor.map(str::to_owned),
        features: features.split_whitespace().map(feature).collect(),
        ..Cpu::default()
    })
}

/// Settings of the daemon: the fixed ones, and what the request sets in qemu.conf.
pub fn settings(request: &Request<'_>) -> Settings {
    let mut settings = Settings::system("", Ids { uid: 0, gid: 0 });
    settings.run_dir = "/var/run/libvirt/qemu".to_owned();
    settings.channel_dir = "/var/run/libvirt/qemu/channel".to_owned();
    // No security model.
    settings.ids = None;
    settings.dynamic_ownership = false;
    settings.hugetlbfs =
        vec![("/dev/hugepages2M".to_owned(), 2048), ("/dev/hugepages1G".to_owned(), 1_048_576)];
    settings.spice.password = Some("123456".to_owned());
    let conf = request.value("conf");
    let on = |name: &str| conf.get(name).and_then(serde_json::Value::as_i64) == Some(1);
    let text = |name: &str| conf.get(name).and_then(|value| value.as_str()).map(str::to_owned);
    for (name, graphics) in [("vnc", &mut settings.vnc), ("spice", &mut settings.spice)] {
        graphics.tls_dir = on(&format!("{name}_tls")).then(|| format!("/etc/pki/libvirt-{name}"));
        graphics.tls_verify = on(&format!("{name}_tls_x509_verify"));
        graphics.tls_secret = text(&format!("{name}_tls_x509_secret_uuid"));
        graphics.sasl_dir = on(&format!("{name}_sasl")).then(|| "/etc/sasl2".to_owned());
        graphics.auto_unix_socket = on(&format!("{name}_auto_unix_socket"));
    }
    settings.vnc_allow_host_audio = on("vnc_allow_host_audio");
    settings.nographics_allow_host_audio = on("nographics_allow_host_audio");
    settings.dump_guest_core = on("dump_guest_core");
    settings.vhost_net = Some("/dev/vhost-net".to_owned());
    settings.chardev_tls.enabled = on("chardev_tls");
    // Servers ask their clients for a certificate unless told not to.
    settings.chardev_tls.verify =
        conf.get("chardev_tls_x509_verify").and_then(serde_json::Value::as_i64) != Some(0);
    settings.chardev_tls.secret = text("chardev_tls_x509_secret_uuid");
    settings.nbd_tls.enabled = on("nbd_tls");
    settings.nbd_tls.secret = text("nbd_tls_x509_secret_uuid");
    settings
}

/// Descriptors in these folders by file name, each with its name on the system and its text; one
/// in a later folder is hidden by one of the same name in an earlier one.
fn descriptors(folders: &BTreeMap<String, String>) -> BTreeMap<String, (String, String)> {
    let mut files = BTreeMap::new();
    for (system, folder) in folders {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let (true, Ok(mut text)) =
                (name.ends_with(".json"), std::fs::read_to_string(entry.path()))
            {
                // A link was kept as a file that holds its target.
                if let Ok(target) = std::fs::read_to_string(Path::new(folder).join(text.trim())) {
                    text = target;
                }
                files.entry(name.clone()).or_insert((format!("{system}/{name}"), text));
            }
        }
    }
    files
}

/// Installed firmware.
pub fn firmware(profile: &Profile) -> Vec<Firmware> {
    let files = descriptors(&profile.firmware_dirs);
    files.values().filter_map(|(source, text)| Firmware::parse(source, text).ok()).collect()
}
