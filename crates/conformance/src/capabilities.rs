//! What hosts and emulators can do.

use crate::Operation;
use crate::answer::{Answer, either};
use crate::request::Request;
use crate::{emulator, host};
use diag::VirError;
use model::capabilities::domain::{Request as Wanted, domain_capabilities_xml};
use model::capabilities::qemu::Accel;
use serde_json::Value;

/// The operations of this area.
pub const OPERATIONS: &[Operation] = &[("domain-capabilities", domain_capabilities)];

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
        facts.cpu.phys_bits = (arch != "s390x").then_some(64);
        facts.cpu.model =
            request.value("host").get("cpu").and_then(Value::as_str).map(str::to_owned);
        // The counts of SEV guests of that host.
        facts.cpu.cpuid.insert((0x8000_001f, 0), [0, 0, 509, 451]);
        facts.vfio = true;
        let firmware = host::firmware(request.profile);
        let loaders: Vec<String> = request.list("loaders").into_iter().map(str::to_owned).collect();
        let wanted = Wanted {
            caps: &caps,
            machine: request.str("machine"),
            arch,
            accel,
            hvf: request.str("virttype") == Some("hvf"),
            without_deprecated: false,
            firmware: &firmware,
            loaders: Some(&loaders),
            default_loaders: &[],
        };
        domain_capabilities_xml(&facts, &wanted).map(Answer::text).map_err(|unknown| {
            Answer::Refused(VirError::invalid_arg(format!(
                "the machine '{}' is not supported by emulator '{}'",
                unknown.0, caps.emulator
            )))
        })
    })())
}
