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
mod foreign_addresses;
mod graphics;
mod implied;
mod isolation;
mod machine;
pub(crate) mod memory;
mod pci;
mod pci_bus;
mod pci_chipset;
mod pci_fit;
mod pci_flags;
mod platform;
mod serial_addresses;
mod simple_addresses;
mod usb;

pub use chardevs::forget_generated_channels;
pub use context::{DefaultsContext, DeviceSupport, MachineInfo, Settings};
pub use disks::{complete_images, target_index};
pub use emulator::{EmulatorDefaults, has_default_cpu};
pub(crate) use implied::insert_controller;
pub use machine::Machine;
pub(crate) use pci::is_open;
pub(crate) use pci_fit::{no_hotplug, pci_fit};
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
    foreign_addresses::drop(d.devices_mut(), &machine);
    implied::default_devices(d, &machine, ctx);
    chardevs::consoles(d);
    let missing_ps2 = implied::unnamed_ps2(d);
    devices::apply(d, &machine, ctx);
    disks::apply(d);
    graphics::apply(d, &machine, ctx);
    chardevs::apply(d, &machine, ctx);
    drive_addresses::assign(d, &mut out);
    implied::controllers(d);
    implied::inputs(d, &machine, missing_ps2);
    serial_addresses::assign(d);
    devices::controller_models(d, &machine, ctx, &mut out);
    simple_addresses::assign(d, &machine, &mut out);
    pci::assign(d, &machine, ctx, &mut out);
    if ctx.abi_update {
        usb::assign(d);
    }
    out
}

/// Finds a place for each device that has none, in a domain whose defaults are there otherwise.
pub fn assign_places(d: &mut Domain, ctx: &mut DefaultsContext<'_>) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    let machine = Machine::of(d);
    simple_addresses::assign(d, &machine, &mut out);
    pci::assign(d, &machine, ctx, &mut out);
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

/// Adds an error without a place in the text, unless there are very many already.
pub(crate) fn fault(
    out: &mut Vec<Diagnostic>,
    rule: &'static str,
    code: diag::ErrorCode,
    message: impl Into<String>,
) {
    if out.len() >= super::validate::MOST_FAULTS {
        return;
    }
    let mut fault = Diagnostic {
        rule,
        severity: diag::Severity::Error,
        code,
        span: None,
        message: message.into(),
        domain: None,
        hints: Vec::new(),
    };
    super::reporters::name(&mut fault);
    out.push(fault);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ParseOptions, parse, validate};

    /// What is told first of a guest with these devices on a machine: of the defaults, then of the
    /// checks.
    fn first(machine: &str, devices: &str) -> (u32, String) {
        let text = format!(
            "<domain type='qemu'><name>a</name><memory>262144</memory>\
             <os><type arch='x86_64' machine='{machine}'>hvm</type></os>\
             <devices>{devices}</devices></domain>"
        );
        let parsed = parse(&text, ParseOptions::default());
        let mut d = parsed.domain.unwrap_or_else(|| panic!("{:?}", parsed.diagnostics));
        let mut faults =
            apply(&mut d, &mut DefaultsContext::without_emulator("x86_64", &mut |b| b.fill(1)));
        faults.extend(validate(&d));
        faults.first().map_or((0, String::new()), |f| (f.code.0, f.message.clone()))
    }

    #[test]
    fn faults_in_libvirts_order() {
        let disk = |dev: &str, rest: &str| {
            format!("<disk><source file='/a'/><target dev='{dev}' bus='sata'/>{rest}</disk>")
        };
        let at = "<address type='drive' controller='0' bus='0' target='0' unit='1'/>";
        for (machine, devices, code, says) in [
            ("pc-q35-10.0", disk("fd", ""), 27, "Unknown disk name 'fd' and no address specified"),
            ("pc-q35-10.0", disk("hd", at), 67, "invalid disk target 'hd'"),
            ("pc-q35-10.0", disk("fd", at), 1, "Invalid harddisk device name: fd"),
            (
                "xenfv",
                "<interface type='user'><model type='virtio'/></interface>".to_owned(),
                27,
                "No PCI buses available",
            ),
            (
                "pc-i440fx-10.0",
                "<controller type='ide'/><controller type='ide' index='0'/>".repeat(2),
                27,
                "Multiple 'ide' controllers with index '0'",
            ),
            (
                "pc-q35-10.0",
                "<controller type='usb' index='0' model='qemu-xhci'/>".repeat(2),
                27,
                "Duplicate USB controllers with index 0",
            ),
            ("pc-i440fx-10.0", "<interface><mac/><model/></interface>".to_owned(), 0, ""),
        ] {
            assert_eq!(first(machine, &devices), (code, says.to_owned()), "{machine} {devices}");
        }
    }

    /// Indexes of the controllers of a kind, in their order, after the defaults.
    fn indexes(devices: &str, kind: &str) -> Vec<u32> {
        let text = format!(
            "<domain type='qemu'><name>a</name><memory>1</memory><os><type arch='x86_64' \
             machine='pc-i440fx-10.0'>hvm</type></os><devices>{devices}</devices></domain>"
        );
        let mut d = parse(&text, ParseOptions::default()).domain.unwrap();
        apply(&mut d, &mut DefaultsContext::without_emulator("x86_64", &mut |b| b.fill(1)));
        let all = d.devices.iter().flat_map(|v| &v.controllers);
        all.filter(|c| c.kind.as_str() == kind).filter_map(|c| c.index).collect()
    }

    #[test]
    fn controllers_without_an_index_get_the_least_that_is_free() {
        type Given<'a> = &'a [Option<u32>];
        // Observed of libvirt 11.3.
        let scsi: [(Given<'_>, &[u32]); 6] = [
            (&[Some(5), Some(1), None], &[1, 5, 0]),
            (&[None, Some(5), Some(1)], &[0, 1, 5]),
            (&[Some(2), None, Some(0)], &[0, 2, 1]),
            (&[Some(1), None, None, Some(0)], &[0, 1, 2, 3]),
            (&[None, Some(1), Some(0), None], &[2, 0, 1, 3]),
            (&[Some(0), Some(2), None], &[0, 2, 1]),
        ];
        let index = |n: &Option<u32>| n.map_or(String::new(), |n| format!("index='{n}'"));
        for (given, expected) in scsi {
            let one = |n| format!("<controller type='scsi' {} model='virtio-scsi'/>", index(n));
            let text: String = given.iter().map(one).collect();
            assert_eq!(indexes(&text, "scsi"), expected, "{given:?}");
        }
        let usb = |model: &str, n: Option<u32>| {
            format!("<controller type='usb' {} model='{model}'/>", index(&n))
        };
        let text = usb("ich9-uhci1", None)
            + &usb("ich9-ehci1", None)
            + &usb("nec-xhci", Some(3))
            + &usb("ehci", None);
        assert_eq!(indexes(&text, "usb"), [0, 0, 1, 3]);
        let text = usb("ich9-ehci1", Some(5))
            + &usb("ich9-uhci1", None)
            + &usb("ich9-uhci2", None)
            + &usb("nec-xhci", None);
        assert_eq!(indexes(&text, "usb"), [0, 5, 5, 5]);
    }

    #[test]
    fn an_input_without_a_bus_does_not_stand_for_the_implied_one() {
        for (bus, expected) in [("bus='ps2'", 2), ("", 3)] {
            let text = format!(
                "<domain type='qemu'><name>a</name><memory>1</memory><os><type arch='x86_64' \
                 machine='pc-i440fx-10.0'>hvm</type></os><devices><input type='keyboard' {bus}/>\
                 </devices></domain>"
            );
            let mut d = parse(&text, ParseOptions::default()).domain.unwrap();
            apply(&mut d, &mut DefaultsContext::without_emulator("x86_64", &mut |b| b.fill(1)));
            assert_eq!(d.devices.unwrap().inputs.len(), expected, "{bus}");
        }
    }

    /// The lines of a domain with this part, after the defaults, that hold a word.
    fn lines(part: &str, word: &str) -> Vec<String> {
        let text = format!(
            "<domain type='qemu'><name>a</name><memory>262144</memory><os><type arch='x86_64' \
             machine='pc-i440fx-10.0'>hvm</type></os>{part}</domain>"
        );
        let mut d = parse(&text, ParseOptions::default()).domain.unwrap();
        apply(&mut d, &mut DefaultsContext::without_emulator("x86_64", &mut |b| b.fill(1)));
        let text = crate::domain::format(&d, crate::domain::FormatFlags::default());
        text.lines().map(str::trim).filter(|line| line.contains(word)).map(str::to_owned).collect()
    }

    #[test]
    fn of_a_distance_named_twice_the_last_holds_and_the_first_the_other_way() {
        let cells = "<cpu><numa><cell cpus='0' memory='131072'><distances>\
                     <sibling id='1' value='31'/><sibling id='1' value='21'/></distances></cell>\
                     <cell cpus='1' memory='131072'/></numa></cpu><vcpu>2</vcpu>";
        let expected = [
            "<sibling id='0' value='10'/>",
            "<sibling id='1' value='21'/>",
            "<sibling id='0' value='31'/>",
            "<sibling id='1' value='10'/>",
        ];
        assert_eq!(lines(cells, "<sibling"), expected);
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        let limit = |kib: u64| format!("<memtune><hard_limit>{kib}</hard_limit></memtune>");
        assert_eq!(lines(&limit(9_007_199_254_740_991), "hard_limit"), [""; 0]);
        assert_eq!(lines(&limit(5), "hard_limit"), ["<hard_limit unit='KiB'>5</hard_limit>"]);
        let pages =
            "<memoryBacking><hugepages><page size='2048' nodeset='0'/></hugepages></memoryBacking>";
        assert_eq!(lines(pages, "<page "), ["<page size='2048' unit='KiB'/>"]);
        let disk = |protocol: &str| {
            let disk = format!(
                "<devices><disk type='network'><source protocol='{protocol}' name='a/b'>\
                 <host name='h' port='0'/></source><target dev='vda'/></disk></devices>"
            );
            lines(&disk, "<host ")
        };
        assert_eq!(disk("https"), ["<host name='h' port='443'/>"]);
        assert_eq!(disk("rbd"), ["<host name='h'/>"]);
    }
}
