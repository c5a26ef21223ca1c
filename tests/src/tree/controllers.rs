//! Controllers: of PCI, USB, SCSI, SATA and what else other devices are attached to.

use roxmltree::Node;

use super::expect::{
    Context, Device, Expected, alias, child, number, of, place, switch, virtio_options,
};

/// A `<controller>`.
pub fn controller(context: &Context, node: Node, expected: &mut Expected) {
    let Some(id) = alias(node) else { return };
    let kind = node.attribute("type").unwrap_or_default();
    let model = node.attribute("model").unwrap_or_default();
    let index = number(node.attribute("index").unwrap_or("0"));
    let wanted = match kind {
        "pci" => pci(context, node, id, expected),
        "usb" => usb(node, id, model),
        "scsi" => scsi(context, node, id, model),
        "virtio-serial" => {
            let mut wanted = Device::new(id, "");
            wanted.kinds = context.virtio(node, "virtio-serial");
            let ports = node.attribute("ports");
            Some(wanted.maybe("max_ports", ports).maybe("vectors", node.attribute("vectors")))
        }
        "sata" if context.is_q35() && index == 0 => None,
        "sata" => Some(Device::new(id, "ich9-ahci")),
        // The machine's own.
        "ide" => None,
        "fdc" if context.is_q35() => Some(Device { id: None, ..Device::new("", "isa-fdc") }),
        "fdc" | "isa" => None,
        "ccid" => Some(Device::new(id, "usb-ccid")),
        other => panic!("no expectation for controllers of type {other}"),
    };
    if let Some(wanted) = wanted {
        let wanted = virtio_options(node, place(context, node, wanted));
        expected.devices.push(wanted);
    }
}

fn pci(context: &Context, node: Node, id: &str, expected: &mut Expected) -> Option<Device> {
    let model = node.attribute("model").unwrap_or_default();
    let kind = match model {
        "pcie-root" => return None,
        "pci-root" if context.arch.starts_with("ppc64") => {
            let target = child(node, "target")?;
            let place = number(target.attribute("index").unwrap_or("0"));
            if place == 0 {
                return None;
            }
            let node = child(target, "node").and_then(|node| node.text()).map(number);
            let wanted = Device::new(id, "spapr-pci-host-bridge").with("index", place);
            return Some(wanted.maybe("numa_node", node));
        }
        "pci-root" => return None,
        _ => of(node, "model", "name").unwrap_or_else(|| panic!("no expectation for {model}")),
    };
    // An expander comes with a bus, and on the old kind of PC with a bridge on it.
    match model {
        "pci-expander-bus" => {
            expected.built_in.extend(["pxb-host", "pci-bridge"].map(str::to_owned))
        }
        "pcie-expander-bus" => expected.built_in.push("pxb-host".to_owned()),
        _ => {}
    }
    let target = child(node, "target");
    let get = |name: &str| target.and_then(|target| target.attribute(name)).map(number);
    let mut wanted = Device::new(id, kind);
    wanted = match model {
        "pcie-root-port" | "pcie-switch-downstream-port" => {
            let hot = target.and_then(|target| target.attribute("hotplug")).map(switch);
            wanted.maybe("chassis", get("chassis")).maybe("port", get("port")).maybe("hotplug", hot)
        }
        "pci-bridge" => wanted.maybe("chassis_nr", get("chassisNr")),
        "pci-expander-bus" | "pcie-expander-bus" => {
            let numa = target.and_then(|target| child(target, "node")).and_then(|node| node.text());
            wanted.maybe("bus_nr", get("busNr")).maybe("numa_node", numa)
        }
        _ => wanted,
    };
    Some(wanted)
}

fn usb(node: Node, id: &str, model: &str) -> Option<Device> {
    let kind = match model {
        "none" => return None,
        "piix3-uhci" => "piix3-usb-uhci",
        "piix4-uhci" => "piix4-usb-uhci",
        "ehci" => "usb-ehci",
        "ich9-ehci1" => "ich9-usb-ehci1",
        "ich9-uhci1" => "ich9-usb-uhci1",
        "ich9-uhci2" => "ich9-usb-uhci2",
        "ich9-uhci3" => "ich9-usb-uhci3",
        "vt82c686b-uhci" => "vt82c686b-usb-uhci",
        "nec-xhci" => "nec-usb-xhci",
        same => same,
    };
    let mut wanted = Device::new(id, kind);
    // A companion has the alias of its master: it is known by its type.
    if let Some(first) = of(node, "master", "startport") {
        wanted.id = None;
        wanted = wanted.with("firstport", number(first));
        wanted = wanted.with("masterbus", format!("{id}.0"));
    }
    if let Some(ports) = node.attribute("ports") {
        wanted = wanted.with("p2", ports).with("p3", ports);
    }
    Some(wanted)
}

fn scsi(context: &Context, node: Node, id: &str, model: &str) -> Option<Device> {
    let kind = match model {
        "virtio-scsi" | "virtio-transitional" | "virtio-non-transitional" => {
            let mut wanted = Device::new(id, "");
            wanted.kinds = context.virtio(node, "virtio-scsi");
            for (attribute, property) in [
                ("queues", "num_queues"),
                ("cmd_per_lun", "cmd_per_lun"),
                ("max_sectors", "max_sectors"),
            ] {
                wanted = wanted.maybe(property, of(node, "driver", attribute));
            }
            let thread = of(node, "driver", "iothread");
            return Some(
                wanted.maybe("iothread", thread.map(|id| format!("/objects/iothread{id}"))),
            );
        }
        "lsilogic" => "lsi53c895a",
        "lsisas1068" => "mptsas1068",
        "lsisas1078" => "megasas",
        "ibmvscsi" => "spapr-vscsi",
        "vmpvscsi" => "pvscsi",
        "am53c974" => "am53c974",
        "dc390" => "dc390",
        other => panic!("no expectation for SCSI controllers {other}"),
    };
    Some(Device::new(id, kind))
}
