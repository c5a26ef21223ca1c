//! Entry point of the fuzz target: any bytes, no panic.

use super::defaults::{DefaultsContext, DeviceSupport, MachineInfo, apply};
use super::{FormatFlags, ParseOptions, assign_aliases, format, parse, validate};

/// Reads bytes as a domain; what can be read is completed, checked, named and written, and what was
/// written must be readable.
pub fn fuzz_one(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for live in [false, true] {
        let Some(mut d) = parse(text, ParseOptions { live }).domain else { continue };
        let machines = [MachineInfo {
            name: "pc-q35-10.0".to_owned(),
            alias: Some("q35".to_owned()),
            default_cpu: Some("qemu64".to_owned()),
            is_default: true,
        }];
        let _ = apply(
            &mut d,
            &mut DefaultsContext {
                machines: &machines,
                devices: &DeviceSupport::new(["qemu-xhci", "virtio-scsi-pci"]),
                ..DefaultsContext::without_emulator("x86_64", &mut |b| b.fill(1))
            },
        );
        let _ = validate(&d);
        assign_aliases(&mut d);
        let out = format(&d, FormatFlags { live, secure: true, migratable: false });
        assert!(!out.is_empty());
    }
    let _ = super::status::parse(text);
}
