//! Documents in, documents as libvirtd 11.3 stores them out: `golden/NAME.xml` → `NAME.out.xml`.
//!
//! `UPDATE=1 cargo test -p model` rewrites the expected files. All but `win11-tpm` and `spice` were
//! written by a libvirtd with QEMU 10.0; that one had neither SPICE nor a TPM emulator.

use std::fs;
use std::path::Path;

use model::domain::defaults::{DefaultsContext, DeviceSupport, MachineInfo, apply};
use model::domain::{Domain, FormatFlags, ParseOptions, format, parse};

const FLAGS: &[&str] = &[
    "cirrus-vga",
    "VGA",
    "qxl",
    "piix3-usb-uhci",
    "ich9-usb-ehci1",
    "pci-ohci",
    "nec-usb-xhci",
    "qemu-xhci",
    "lsi",
    "virtio-scsi-pci",
    "rtl8139",
    "e1000",
    "virtio-net",
    "pcie-root-port",
    "pcie-pci-bridge",
    "intel-iommu",
];

fn machines() -> Vec<MachineInfo> {
    [("pc-i440fx-10.0", Some("pc"), true), ("pc-q35-10.0", Some("q35"), false)]
        .into_iter()
        .map(|(name, alias, is_default)| MachineInfo {
            name: name.to_owned(),
            alias: alias.map(str::to_owned),
            default_cpu: Some("qemu64".to_owned()),
            is_default,
        })
        .collect()
}

fn effective(text: &str) -> Domain {
    let parsed = parse(text, ParseOptions::default());
    let mut domain = parsed.domain.unwrap_or_else(|| panic!("{:#?}", parsed.diagnostics));
    let machines = machines();
    let faults = apply(
        &mut domain,
        &mut DefaultsContext {
            emulator: Some("/usr/bin/qemu-system-x86_64"),
            machines: &machines,
            devices: &DeviceSupport::new(FLAGS.iter().copied()),
            ..DefaultsContext::without_emulator("x86_64", &mut |b| b.fill(7))
        },
    );
    assert_eq!(faults, []);
    domain
}

const WRITE: FormatFlags = FormatFlags { live: false, secure: true, migratable: false };

fn cases() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut names: Vec<_> = fs::read_dir(&dir)
        .expect("golden folder")
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|n| n.ends_with(".xml") && !n.ends_with(".out.xml"))
        .collect();
    names.sort();
    assert!(!names.is_empty());
    names
        .into_iter()
        .map(|n| {
            let p = dir.join(&n);
            (p.to_string_lossy().into_owned(), fs::read_to_string(p).expect("case"))
        })
        .collect()
}

#[test]
fn defaults_are_libvirts() {
    let mut wrong = Vec::new();
    for (path, text) in cases() {
        let out = path.replace(".xml", ".out.xml");
        let got = format(&effective(&text), WRITE);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&out, &got).expect("write");
        }
        let expected = fs::read_to_string(&out).unwrap_or_default();
        if got != expected {
            wrong.push(format!("{path}:\n{}", first_difference(&expected, &got)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn stored_documents_are_stable() {
    for (path, text) in cases() {
        let once = format(&effective(&text), WRITE);
        let twice = format(&effective(&once), WRITE);
        assert!(once == twice, "{path}:\n{}", first_difference(&once, &twice));
    }
}

fn first_difference(a: &str, b: &str) -> String {
    let (mut a, mut b) = (a.lines(), b.lines());
    let mut n = 0;
    loop {
        n += 1;
        match (a.next(), b.next()) {
            (None, None) => return "no difference".to_owned(),
            (x, y) if x == y => {}
            (x, y) => {
                return format!(
                    "line {n}\n  expected: {}\n  got:      {}",
                    x.unwrap_or("(end)"),
                    y.unwrap_or("(end)")
                );
            }
        }
    }
}

#[test]
fn effective_documents_have_no_fault() {
    for (path, text) in cases() {
        assert_eq!(model::domain::validate(&effective(&text)), [], "{path}");
    }
}

/// The names a libvirtd 11.3 gave to the devices of this guest when it started it.
#[test]
fn device_names_are_libvirts() {
    let (_, text) = cases().into_iter().find(|c| c.0.ends_with("all-buses.xml")).expect("case");
    let mut d = effective(&text);
    model::domain::assign_aliases(&mut d);
    d.id = Some(1);
    let live = format(&d, FormatFlags { live: true, ..FormatFlags::default() });
    let names: Vec<&str> = live
        .split("<alias name='")
        .skip(1)
        .filter_map(|rest| rest.split('\'').next())
        .filter(|n| !n.starts_with("pci.") && !n.starts_with("pcie."))
        .collect();
    assert_eq!(
        names,
        [
            "virtio-disk0",
            "scsi0-0-0-0",
            "sata0-0-1",
            "usb-disk2",
            "scsi0",
            "usb",
            "ide",
            "virtio-serial0",
            "net0",
            "serial0",
            "serial1",
            "serial0",
            "channel0",
            "input0",
            "input1",
            "input2",
            "sound0",
            "video0",
            "hub0",
            "watchdog0",
            "watchdog1",
            "balloon0",
            "rng0",
        ]
    );
    assert!(live.starts_with("<domain type='qemu' id='1'>\n"));
    // Back to the configuration: nothing of it is left.
    let inactive = format(&d, WRITE);
    assert_eq!(inactive, format(&effective(&text), WRITE));
}
