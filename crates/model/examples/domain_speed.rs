//! How many domain documents are read, completed and written in a second on one core:
//! `cargo run --release -p model --example domain_speed -- FILE.xml`.

use std::time::{Duration, Instant};

use model::domain::defaults::{DefaultsContext, DeviceSupport, Settings, apply};
use model::domain::{FormatFlags, ParseOptions, format, parse};

fn once(text: &str, devices: &DeviceSupport, settings: &Settings) -> usize {
    let Some(mut domain) = parse(text, ParseOptions::default()).domain else { return 0 };
    let mut context = DefaultsContext {
        host_arch: "x86_64",
        emulator: Some("/usr/bin/qemu-system-x86_64"),
        machines: &[],
        devices,
        settings,
        random: &mut |bytes| bytes.fill(7),
        iommu_group: &|_| None,
        abi_update: true,
    };
    apply(&mut domain, &mut context);
    format(&domain, FormatFlags::default()).len()
}

fn main() -> Result<(), std::io::Error> {
    let Some(path) = std::env::args().nth(1) else {
        println!("usage: domain_speed FILE.xml");
        return Ok(());
    };
    let text = std::fs::read_to_string(path)?;
    let devices = DeviceSupport::new(["qemu-xhci", "virtio-scsi-pci", "pcie-root-port"]);
    let settings = Settings::default();
    let (start, mut count, mut bytes) = (Instant::now(), 0u32, 0);
    while start.elapsed() < Duration::from_secs(3) {
        bytes = once(&text, &devices, &settings);
        count += 1;
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    println!("{rate:.0} documents/s, {} lines, {bytes} bytes out", text.lines().count());
    Ok(())
}
