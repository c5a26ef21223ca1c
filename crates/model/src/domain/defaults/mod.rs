//! What the user left open, filled in as libvirt does when a domain is defined.
//!
//! Pure: randomness and what is known of the host and the emulator come in through
//! [`DefaultsContext`]. The steps follow libvirt's order, because later ones see what earlier ones
//! added: machine and CPU, implied devices, type defaults, implied controllers, addresses.

mod chardevs;
mod context;
mod devices;
pub(crate) mod disks;
mod drive_addresses;
mod emulator;
mod graphics;
mod implied;
mod isolation;
mod machine;
mod memory;
mod pci;
mod pci_bus;
mod pci_chipset;
mod pci_fit;
mod pci_flags;
mod platform;
mod serial_addresses;
mod simple_addresses;
mod usb;

pub use context::{DefaultsContext, DeviceSupport, HostPciAddress, MachineInfo, Settings};
pub use disks::target_index;
pub use emulator::EmulatorDefaults;
pub(crate) use implied::insert_controller;
pub use machine::Machine;
pub(crate) use pci_fit::pci_fit;
pub use usb::assign as assign_usb_ports;
pub(crate) use usb::ports_of as usb_ports;

use diag::Diagnostic;

use super::Domain;

/// A domain with everything filled in, and what was.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The domain as it will be stored and started.
    pub domain: Domain,
    /// Paths of the values that were filled in or changed.
    pub filled: Vec<String>,
    /// Why it cannot be completed (no free PCI slot, for example). Empty when all is well.
    pub diagnostics: Vec<Diagnostic>,
}

/// Fills in what is open and says what was filled.
pub fn defaults(written: Domain, ctx: &mut DefaultsContext<'_>) -> Effective {
    let mut domain = written.clone();
    let diagnostics = apply(&mut domain, ctx);
    let filled = xml::diff(&written, &domain).into_iter().map(|c| c.path).collect();
    Effective { domain, filled, diagnostics }
}

/// Fills in what is open, in place; the quick form of [`defaults`].
pub fn apply(d: &mut Domain, ctx: &mut DefaultsContext<'_>) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    platform::apply(d, ctx, &mut out);
    let machine = Machine::of(d);
    implied::default_devices(d, &machine, ctx);
    chardevs::consoles(d);
    devices::apply(d, &machine, ctx);
    disks::apply(d);
    graphics::apply(d, &machine, ctx);
    chardevs::apply(d, &machine, ctx);
    drive_addresses::assign(d, &mut out);
    implied::controllers(d);
    implied::inputs(d, &machine);
    serial_addresses::assign(d);
    devices::controller_models(d, &machine, ctx, &mut out);
    simple_addresses::assign(d, &machine, &mut out);
    pci::assign(d, &machine, ctx, &mut out);
    if ctx.abi_update {
        usb::assign(d);
    }
    out
}

/// The part of [`apply`] that holds for every hypervisor: what the document implies by itself.
/// Machines, addresses and models stay as they are.
pub fn apply_core(d: &mut Domain, ctx: &mut DefaultsContext<'_>) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    platform::apply_core(d, ctx);
    implied::number_controllers(d);
    chardevs::consoles(d);
    devices::apply_core(d, ctx);
    disks::apply_core(d);
    graphics::apply_core(d, ctx);
    chardevs::apply_core(d);
    drive_addresses::assign(d, &mut out);
    implied::controllers(d);
    serial_addresses::assign_core(d);
    out
}

/// The sound of a guest that is shown by SPICE and names none: that of files older than `<audio>`.
pub(crate) fn spice_audio(d: &mut Domain) {
    graphics::spice_audio(d);
}

/// An error without a place in the text.
pub(crate) fn fault(
    out: &mut Vec<Diagnostic>,
    rule: &'static str,
    code: diag::ErrorCode,
    message: impl Into<String>,
) {
    out.push(Diagnostic {
        rule,
        severity: diag::Severity::Error,
        code,
        span: None,
        message: message.into(),
        hints: Vec::new(),
    });
}
