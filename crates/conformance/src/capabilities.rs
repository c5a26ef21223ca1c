//! What hosts and emulators can do.

use crate::Operation;
use crate::answer::{Answer, either};
use crate::request::Request;
use crate::{emulator, host};
use diag::VirError;
use model::capabilities::domain::{Request as Wanted, domain_capabilities_xml};
use model::capabilities::firmware::{Firmware, FirmwareFile, FirmwareMapping};
use model::capabilities::qemu::Accel;

/// The operations of this area.
pub const OPERATIONS: &[Operation] = &[("domain-capabilities", domain_capabilities)];

/// A firmware of which only the file's path is known.
fn loader(path: &str, arch: &str) -> Firmware {
    let file = FirmwareFile { path: path.to_owned(), format: "raw".to_owned() };
    Firmware {
        source: path.to_owned(),
        interfaces: vec!["uefi".to_owned()],
        mapping: FirmwareMapping::Combined(file),
        targets: vec![(arch.to_owned(), vec!["*".to_owned()])],
        features: Vec::new(),
    }
}

fn domain_capabilities(request: &Request<'_>) -> Answer {
    either((|| {
        let mut caps = emulator::capabilities(request)?;
        caps.emulator = request.need("emulator")?.to_owned();
        let arch = request.need("arch")?;
        let accel = match request.str("virttype") {
            Some("kvm") => Accel::Kvm,
            _ => Accel::Tcg,
        };
        let mut facts = host::facts(request);
        facts.cpu.phys_bits = Some(64);
        facts.vfio = true;
        let firmware: Vec<Firmware> =
            request.list("loaders").iter().map(|path| loader(path, arch)).collect();
        let wanted = Wanted {
            caps: &caps,
            machine: request.str("machine"),
            arch,
            accel,
            firmware: &firmware,
        };
        domain_capabilities_xml(&facts, &wanted).map(Answer::text).map_err(|unknown| {
            Answer::Refused(VirError::invalid_arg(format!(
                "the machine '{}' is not supported by emulator '{}'",
                unknown.0, caps.emulator
            )))
        })
    })())
}
