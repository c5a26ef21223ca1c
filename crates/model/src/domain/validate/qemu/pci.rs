//! The PCI topology: controllers, their options, and what may be plugged in where.

use super::super::Faults;
use crate::domain::Domain;
use crate::domain::address::Address;
use crate::domain::defaults::{Machine, pci_fit};
use crate::domain::devices::Devices;
use crate::domain::devices::controller::{Controller, ControllerType};

pub(super) fn check(d: &Domain, dev: &Devices, m: &Machine, out: &mut Faults) {
    let cells = d.cpu.as_ref().and_then(|c| c.numa.as_ref()).map_or(0, |n| n.cells.len());
    for c in dev.controllers.iter().filter(|c| c.kind == ControllerType::Pci) {
        one(c, m, cells, out);
    }
    for fault in pci_fit(d, m) {
        out.xml("domain.pci-address", fault);
    }
}

fn one(c: &Controller, m: &Machine, cells: usize, out: &mut Faults) {
    let index = c.index.unwrap_or(0);
    let model = c.model.as_deref().unwrap_or_default();
    let root = matches!(model, "pci-root" | "pcie-root");
    if root && c.address.is_some() {
        out.unsupported(
            "domain.pci-root-address",
            "pci-root and pcie-root controllers should not have an address",
        );
    }
    if root && index != 0 && !m.has_many_pci_roots() {
        out.xml("domain.pci-root", "pci-root and pcie-root controllers should have index 0");
    }
    if index == 0
        && let Some(want) = m.implied_pci_root()
        && model != want
    {
        let model = if model.is_empty() { "(null)" } else { model };
        out.xml(
            "domain.pci-root",
            format!(
                "The PCI controller with index='0' must be model='{want}' for this machine type, but model='{model}' was found instead"
            ),
        );
    }
    if model == "pci-expander-bus" && !m.is_i440fx() {
        out.unsupported(
            "domain.pci-expander",
            "pci-expander-bus controllers are only supported on 440fx-based machinetypes",
        );
    }
    if model == "pcie-expander-bus" && !(m.is_q35() || m.is_arm_virt()) {
        out.unsupported(
            "domain.pci-expander",
            "pcie-expander-bus controllers are not supported with this machine type",
        );
    }
    let target = c.target.clone().unwrap_or_default();
    if let Some(node) = target.node
        && !(m.is_pseries() && root && index == 0)
        && node as usize >= cells
    {
        out.xml(
            "domain.pci-node",
            format!(
                "{model} with index {index} is configured for a NUMA node ({node}) not present in the domain's <cpu><numa> array ({cells})"
            ),
        );
    }
    if m.is_pseries() && root {
        if index == 0 && target.node.is_some() {
            out.unsupported(
                "domain.pci-node",
                "The PCI controller with index=0 can't be associated with a NUMA node",
            );
        }
        if let Some(n) = target.index {
            if (index == 0) != (n == 0) {
                out.unsupported(
                    "domain.pci-target",
                    "Only the PCI controller with index 0 can have target index 0, and vice versa",
                );
            }
            if n > 30 {
                out.unsupported(
                    "domain.pci-target",
                    format!("PCI controller target index '{n}' out of range - must be 0-30"),
                );
            }
        }
    }
    options(c, m, out);
    if let Some(Address::Pci(a)) = &c.address
        && a.bus.0 >= u64::from(index)
        && index != 0
    {
        let bus = a.bus.0;
        out.unsupported(
            "domain.pci-index",
            format!(
                "PCI controller at index {index} (0x{index:02x}) has bus='0x{bus:02x}', but index must be larger than bus"
            ),
        );
    }
}

/// The QEMU devices that a model can be.
fn names(model: &str) -> &'static [&'static str] {
    match model {
        "pci-bridge" => &["pci-bridge"],
        "dmi-to-pci-bridge" => &["i82801b11-bridge"],
        "pcie-to-pci-bridge" => &["pcie-pci-bridge"],
        "pcie-root-port" => &["pcie-root-port", "ioh3420"],
        "pcie-switch-upstream-port" => &["x3130-upstream"],
        "pcie-switch-downstream-port" => &["xio3130-downstream"],
        "pci-expander-bus" => &["pxb"],
        "pcie-expander-bus" => &["pxb-pcie"],
        "pci-root" => &["spapr-pci-host-bridge"],
        _ => &[],
    }
}

/// All devices that PCI controllers can be.
const NAMES: [&str; 10] = [
    "pci-bridge",
    "i82801b11-bridge",
    "pcie-pci-bridge",
    "pcie-root-port",
    "ioh3420",
    "x3130-upstream",
    "xio3130-downstream",
    "pxb",
    "pxb-pcie",
    "spapr-pci-host-bridge",
];

fn options(c: &Controller, m: &Machine, out: &mut Faults) {
    let model = c.model.as_deref().unwrap_or_default();
    let index = c.index.unwrap_or(0);
    let name = c.pci_model.as_ref().map(|m| m.name.as_str());
    if let Some(name) = name.filter(|name| !NAMES.contains(name)) {
        out.xml(
            "domain.pci-model",
            format!("Invalid value for attribute 'name' in element 'model': '{name}'."),
        );
        return;
    }
    let shown = name.unwrap_or("(null)");
    let allowed = names(model);
    if name.is_some_and(|name| !allowed.contains(&name))
        || model == "pci-root" && name.is_some() && !m.is_pseries()
    {
        out.unsupported(
            "domain.pci-model",
            format!(
                "Option 'modelName' has invalid value for PCI controller with index '{index}', model '{model}' and modelName '{shown}'"
            ),
        );
    }
    let t = c.target.clone().unwrap_or_default();
    let port = matches!(model, "pcie-root-port" | "pcie-switch-downstream-port");
    let expander = matches!(model, "pci-expander-bus" | "pcie-expander-bus");
    for (option, there, fits) in [
        ("chassisNr", t.chassis_nr.is_some(), model == "pci-bridge"),
        ("chassis", t.chassis.is_some(), port),
        ("port", t.port.is_some(), port),
        ("busNr", t.bus_nr.is_some(), expander),
        ("numaNode", t.node.is_some(), expander || model == "pci-root" && m.is_pseries()),
        ("index", t.index.is_some(), model == "pci-root" && m.is_pseries()),
        ("pcihole64", c.pcihole64.is_some(), matches!(model, "pci-root" | "pcie-root")),
        ("hotplug", t.hotplug.is_some(), port || matches!(model, "pci-root" | "pci-bridge")),
    ] {
        if there && !fits {
            out.unsupported(
                "domain.pci-option",
                format!(
                    "Option '{option}' is not valid for PCI controller with index '{index}', model '{model}' and modelName '{shown}'"
                ),
            );
        }
    }
}
