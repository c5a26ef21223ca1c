//! What libvirt lets a guest be defined with, but not started.

use diag::{Diagnostic, ErrorCode};

use super::super::Faults;
use crate::domain::Domain;
use crate::domain::address;
use crate::domain::address::Address;
use crate::domain::defaults::Machine;
use crate::domain::devices::Devices;
use crate::domain::devices::chardev::{CharTargetType, Serial};
use crate::domain::devices::controller::ControllerType;
use crate::domain::devices::disk::{DiskBus, StorageType};
use crate::domain::devices::interface::InterfaceType;
use crate::domain::scalar::CpuSet;

/// Checks a domain that is about to start. `nodes` are the numbers of the host's NUMA nodes, where
/// they are known.
pub fn validate_start(d: &Domain, nodes: Option<&CpuSet>) -> Vec<Diagnostic> {
    let mut out = Faults::of_qemu();
    if let Some(nodes) = nodes {
        out.list.extend(unavailable_nodes(d, nodes));
    }
    if let Some(dev) = &d.devices {
        devices(dev, &Machine::of(d), &mut out);
        usb_buses(d, dev, &mut out);
    }
    out.list
}

/// NUMA nodes that memory is to come from and the host does not have.
pub fn unavailable_nodes(d: &Domain, nodes: &CpuSet) -> Vec<Diagnostic> {
    let mut out = Faults::of_qemu();
    let tune = d.numa_tune.iter();
    let memory = tune.clone().filter_map(|t| t.memory.as_ref()?.nodeset.as_ref());
    let cells = tune.flat_map(|t| &t.nodes).filter_map(|n| n.nodeset.as_ref());
    let modules = d.devices.iter().flat_map(|devices| &devices.memories);
    let modules = modules.filter_map(|m| m.source.as_ref()?.nodemask.as_ref());
    for set in memory.chain(cells).chain(modules) {
        if let Some(n) = set.iter().find(|n| !nodes.contains(*n)) {
            out.unsupported("start.numa-node", format!("NUMA node {n} is unavailable"));
        }
    }
    out.list
}

fn devices(dev: &Devices, m: &Machine, out: &mut Faults) {
    for x in &dev.disks {
        if x.target.bus == Some(DiskBus::Fdc) && m.is_pseries() {
            out.unsupported(
                "start.floppy",
                "PowerPC pseries machines do not support floppy device",
            );
        }
        let hosts = x.source.as_ref().filter(|_| x.kind == StorageType::Network);
        if let Some(s) = hosts
            && s.protocol.as_deref() == Some("iscsi")
            && s.hosts.len() != 1
        {
            out.internal("start.iscsi", "iSCSI protocol accepts only one host");
        }
    }
    if dev.parallels.len() > 3 {
        out.unsupported("start.parallel-count", "this QEMU machine has at most 3 parallel ports");
    }
    isa_serials(&dev.serials, out);
    for c in &dev.controllers {
        let model = c.model.as_deref().unwrap_or_default();
        if c.kind == ControllerType::Usb
            && c.ports.is_some()
            && !matches!(model, "" | "qemu-xhci" | "nec-xhci")
        {
            out.unsupported(
                "start.usb-ports",
                format!(
                    "usb controller type '{model}' doesn't support 'ports' with this QEMU binary"
                ),
            );
        }
    }
    let usb = || dev.controllers.iter().filter(|c| c.kind == ControllerType::Usb);
    if usb().any(|c| c.model.is_none()) {
        out.unsupported("start.usb-model", "no model provided for USB controller");
    }
    for s in &dev.shmems {
        if s.address.as_ref().is_some_and(|a| address::kind(a) != "pci") {
            out.unsupported(
                "start.shmem-address",
                "only 'pci' addresses are supported for the shared memory device",
            );
        }
    }
    let mut indexes = std::collections::BTreeSet::new();
    for x in &dev.interfaces {
        let mac = x.mac.as_ref().map(|m| m.address.to_string()).unwrap_or_default();
        let kind = x.kind.as_str();
        let tap = x.backend.as_ref().is_some_and(|b| b.tap.is_some());
        let taps = matches!(
            x.kind,
            InterfaceType::Ethernet
                | InterfaceType::Network
                | InterfaceType::Bridge
                | InterfaceType::Direct
        );
        if tap && !taps {
            out.unsupported(
                "start.nic-tap",
                format!(
                    "interface {mac} - custom tap device path is not supported for network interfaces of type {kind}"
                ),
            );
        }
        let several = x.driver.as_ref().and_then(|d| d.queues).is_some_and(|n| n > 1);
        let assigned = matches!(
            x.kind,
            InterfaceType::Vhostuser | InterfaceType::Vdpa | InterfaceType::Hostdev
        );
        if several && !taps && !assigned {
            out.unsupported(
                "start.nic-queues",
                format!(
                    "interface {mac} - multiqueue is not supported for network interfaces of type {kind}"
                ),
            );
        }
        if let Some(n) = x.acpi.as_ref().and_then(|a| a.index)
            && !indexes.insert(n)
        {
            out.code(
                "start.acpi-index",
                ErrorCode::CONFIG_UNSUPPORTED,
                format!("ACPI index '{n}' is used more than once"),
            );
        }
    }
}

/// A board has four serial ports on its ISA bus, each once.
fn isa_serials(serials: &[Serial], out: &mut Faults) {
    let mut taken = std::collections::BTreeSet::new();
    for serial in serials {
        let Some(target) = &serial.target else { continue };
        let port = target.port.unwrap_or_default().0;
        if target.kind != Some(CharTargetType::IsaSerial) {
            continue;
        }
        if port > 3 {
            out.internal(
                "start.serial-count",
                "Maximum supported number of ISA serial ports is '4'",
            );
            return;
        }
        if !taken.insert(port) {
            out.internal("start.serial-port", format!("target port '{port}' already allocated"));
            return;
        }
    }
}

fn usb_buses(d: &Domain, dev: &Devices, out: &mut Faults) {
    let there = |bus: u32| {
        dev.controllers.iter().any(|c| c.kind == ControllerType::Usb && c.index == Some(bus))
    };
    crate::domain::walk::look_at_each(d, &mut |i| {
        if let Some(Address::Usb(a)) = i.address
            && !there(a.bus)
        {
            let bus = a.bus;
            out.xml(
                "start.usb-bus",
                format!("USB bus {bus} requested but no controller with that index is present"),
            );
        }
    });
}
