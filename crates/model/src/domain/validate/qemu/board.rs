//! What boards and architectures never have, whatever their emulator is built with.

use super::super::Faults;
use crate::domain::Domain;
use crate::domain::defaults::Machine;
use crate::domain::devices::Devices;
use crate::domain::devices::controller::ControllerType;
use crate::domain::devices::input::InputBus;
use xml::{OnOff, YesNo};

pub(super) fn check(d: &Domain, m: &Machine, out: &mut Faults) {
    features(d, m, out);
    cpu(d, m, out);
    firmware(d, m, out);
    let sleeps =
        d.pm.as_ref().is_some_and(|pm| pm.suspend_to_mem.is_some() || pm.suspend_to_disk.is_some());
    if sleeps && !m.is_x86() {
        out.unsupported("domain.pm", "setting ACPI S3/S4 not supported");
    }
}

fn features(d: &Domain, m: &Machine, out: &mut Faults) {
    let Some(f) = &d.features else { return };
    let mut refuse = |there: bool, name: &str| {
        if there {
            out.unsupported(
                "domain.feature-machine",
                format!(
                    "{name} not supported for architecture '{}' or machine type '{}'",
                    m.arch, m.name
                ),
            );
        }
    };
    refuse(f.ioapic.is_some() && !m.is_x86(), "The 'ioapic' feature is");
    let spinlock = f.pvspinlock.as_ref().is_some_and(|state| state.state == Some(OnOff::On));
    refuse(spinlock && !m.is_x86(), "The 'pvspinlock' feature is");
    refuse(f.hyperv.is_some() && !m.is_x86() && !m.is_arm_virt(), "Hyperv features are");
    if f.ps2.is_some() && !m.is_x86() {
        out.unsupported("domain.ps2", "ps2 feature is not available with this QEMU binary");
    }
}

fn cpu(d: &Domain, m: &Machine, out: &mut Faults) {
    let Some(cpu) = d.cpu.as_ref().filter(|_| !m.is_x86()) else { return };
    for (there, what) in [
        (cpu.max_phys_addr.is_some(), "CPU maximum physical address bits specification"),
        (cpu.cache.is_some(), "CPU cache specification"),
    ] {
        if there {
            let text = format!("{what} is not supported for '{}' architecture", m.arch);
            out.unsupported("domain.cpu-arch", text);
        }
    }
}

fn firmware(d: &Domain, m: &Machine, out: &mut Faults) {
    let Some(os) = &d.os else { return };
    if os.bios.as_ref().is_some_and(|bios| bios.use_serial == Some(YesNo::Yes)) && !m.is_x86() {
        out.unsupported(
            "domain.bios-serial",
            "BIOS serial console only supported on x86 architectures",
        );
    }
}

/// Devices and controllers, which libvirt looks at after those of the PCI bus.
pub(super) fn devices(dev: &Devices, m: &Machine, out: &mut Faults) {
    if dev.inputs.iter().any(|input| input.bus == Some(InputBus::Ps2)) && !m.is_x86() {
        out.unsupported("domain.input-bus", "ps2 is not supported by this QEMU binary");
    }
    let ide = || dev.controllers.iter().filter(|c| c.kind == ControllerType::Ide);
    let never = m.is_q35()
        || m.is_arm()
        || m.is_s390()
        || m.is_ppc() && m.name != "g3beige"
        || m.is_riscv()
        || m.is_loongarch();
    if never && ide().next().is_some() {
        out.unsupported(
            "domain.ide-controller",
            "IDE controllers are unsupported for this QEMU binary or machine type",
        );
    }
    let single = m.is_i440fx() || m.name == "g3beige";
    if single && ide().any(|c| c.index.is_some_and(|index| index > 0)) {
        out.unsupported(
            "domain.ide-controller",
            "Only a single IDE controller is supported for this machine type",
        );
    }
    if dev.controllers.iter().any(|c| c.kind == ControllerType::Isa) {
        out.internal(
            "domain.isa-controller",
            "Cannot automatically add a new PCI bus for a device with connect flags 00",
        );
    }
    if !dev.parallels.is_empty() && (m.is_s390() || m.is_pseries()) {
        out.unsupported("domain.parallel", "parallel ports are not supported");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{ParseOptions, parse};

    fn check_board(arch: &str, machine: &str, inside: &str, expected: &[&str]) {
        let text = format!(
            "<domain type='qemu'><name>a</name><memory>1</memory>\
             <os><type arch='{arch}' machine='{machine}'>hvm</type></os>{inside}</domain>"
        );
        let domain = parse(&text, ParseOptions::default()).domain.expect("a domain");
        let mut faults = Faults::of_qemu();
        check(&domain, &Machine::of(&domain), &mut faults);
        if let Some(dev) = &domain.devices {
            devices(dev, &Machine::of(&domain), &mut faults);
        }
        let found: Vec<String> = faults.list.into_iter().map(|fault| fault.message).collect();
        assert_eq!(found, expected, "{arch} {machine} {inside}");
    }

    #[test]
    fn the_board_decides() {
        let pm = "<pm><suspend-to-mem enabled='no'/></pm>";
        check_board("aarch64", "virt", pm, &["setting ACPI S3/S4 not supported"]);
        check_board("x86_64", "q35", pm, &[]);
        check_board("aarch64", "virt", "<pm/>", &[]);
        let hyperv = "<features><hyperv><relaxed state='on'/></hyperv></features>";
        check_board("aarch64", "virt-10.0", hyperv, &[]);
        check_board(
            "riscv64",
            "virt",
            hyperv,
            &[
                "Hyperv features are not supported for architecture 'riscv64' or machine type 'virt'",
            ],
        );
        check_board(
            "s390x",
            "s390-ccw-virtio",
            "<cpu><cache mode='disable'/></cpu>",
            &["CPU cache specification is not supported for 's390x' architecture"],
        );
    }

    #[test]
    fn controllers_that_no_board_has() {
        let ide = |index| format!("<devices><controller type='ide' index='{index}'/></devices>");
        let never = "IDE controllers are unsupported for this QEMU binary or machine type";
        let single = "Only a single IDE controller is supported for this machine type";
        check_board("x86_64", "pc", &ide(0), &[]);
        check_board("x86_64", "pc", &ide(1), &[single]);
        check_board("x86_64", "q35", &ide(0), &[never]);
        check_board("ppc64", "pseries", &ide(0), &[never]);
        check_board("ppc", "g3beige", &ide(0), &[]);
        check_board("ppc", "g3beige", &ide(1), &[single]);
        let parallel = "<devices><parallel type='pty'/></devices>";
        check_board("ppc64", "pseries", parallel, &["parallel ports are not supported"]);
    }
}
