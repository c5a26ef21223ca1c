//! Disks, and the files behind them.

use roxmltree::Node;

use super::expect::{
    Context, Device, Expected, alias, child, number, of, place, virtio_options, words,
};

/// Adds the block nodes of a source and what it stands on; returns the name of the uppermost.
fn nodes(node: Node, format: &str, expected: &mut Expected) -> Option<String> {
    let source = child(node, "source")?;
    // What is below has its number one element further up.
    let index = source.attribute("index").or(node.attribute("index"))?;
    let file = source.attribute("file").or(source.attribute("dev")).unwrap_or_default();
    let storage = format!("libvirt-{index}-storage");
    expected.nodes.insert(storage.clone(), (String::new(), file.to_owned()));
    if let Some(next) = child(node, "backingStore") {
        let format = of(next, "format", "type").unwrap_or("raw");
        nodes(next, format, expected);
    }
    // A raw file needs no node above it.
    if format == "raw" {
        return Some(storage);
    }
    let name = format!("libvirt-{index}-format");
    expected.nodes.insert(name.clone(), (format.to_owned(), file.to_owned()));
    Some(name)
}

/// A `<disk>`.
pub fn disk(context: &Context, node: Node, expected: &mut Expected) {
    let id = alias(node).expect("a live disk has an alias");
    let device = node.attribute("device").unwrap_or("disk");
    let bus = of(node, "target", "bus").expect("a disk has a bus");
    let format = of(node, "driver", "type").unwrap_or("raw");
    let drive = nodes(node, format, expected);
    let address = child(node, "address");
    let field = |name: &str| address.and_then(|address| address.attribute(name)).unwrap_or("0");
    let is_cd = device == "cdrom";
    let controller = |kind: &str| context.controller_alias(kind, field("controller"));
    let mut wanted = match bus {
        "virtio" => {
            let mut wanted = Device::new(id, "");
            wanted.kinds = context.virtio(node, "virtio-blk");
            let queues = of(node, "driver", "queues");
            wanted.maybe("num-queues", queues).maybe("queue-size", of(node, "driver", "queue_size"))
        }
        "scsi" => {
            let kind = match device {
                "cdrom" => "scsi-cd",
                "lun" => "scsi-block",
                _ => "scsi-hd",
            };
            let mut wanted = Device::new(id, kind);
            wanted.bus = controller("scsi").map(str::to_owned);
            let model = context
                .controller("scsi", field("controller"))
                .and_then(|controller| controller.attribute("model"));
            // Old host adapters have targets and no units below them.
            if matches!(model, Some("lsilogic" | "am53c974" | "dc390" | "buslogic")) {
                wanted.with("scsi-id", number(field("unit")))
            } else {
                wanted
                    .with("channel", number(field("bus")))
                    .with("scsi-id", number(field("target")))
                    .with("lun", number(field("unit")))
            }
        }
        "sata" => {
            let mut wanted = Device::new(id, if is_cd { "ide-cd" } else { "ide-hd" });
            wanted.bus = Some(match controller("sata") {
                Some(alias) if alias != "ide" => format!("{alias}.{}", field("unit")),
                _ => format!("ide.{}", field("unit")),
            });
            wanted.with("unit", 0)
        }
        "ide" => {
            let mut wanted = Device::new(id, if is_cd { "ide-cd" } else { "ide-hd" });
            wanted.bus = Some(format!("ide.{}", field("bus")));
            wanted.with("unit", number(field("unit")))
        }
        "fdc" => Device::new(id, "floppy").with("unit", number(field("unit"))),
        "usb" => {
            let wanted = Device::new(id, "usb-storage");
            wanted.maybe("removable", of(node, "target", "removable").map(super::expect::switch))
        }
        other => panic!("no expectation for disks on {other}"),
    };
    match drive {
        // This one hands the node to a SCSI disk of its own.
        Some(drive) if bus == "usb" => {
            expected.drives.insert(id.to_owned(), drive);
        }
        drive => wanted = wanted.maybe("drive", drive),
    }
    if let Some(thread) = of(node, "driver", "iothread") {
        wanted = wanted.with("iothread", format!("/objects/iothread{thread}"));
    }
    wanted = wanted.maybe("serial", words(node, "serial"));
    if let Some(wwn) = words(node, "wwn") {
        let wwn = u64::from_str_radix(wwn, 16).expect("a hexadecimal WWN");
        wanted = wanted.with("wwn", wwn);
    }
    wanted = wanted.maybe("vendor", words(node, "vendor"));
    wanted = wanted.maybe("product", words(node, "product"));
    if let Some(block) = child(node, "blockio") {
        for size in ["logical_block_size", "physical_block_size", "discard_granularity"] {
            wanted = wanted.maybe(size, block.attribute(size));
        }
    }
    if let Some(geometry) = child(node, "geometry") {
        for (attribute, property) in [("cyls", "cyls"), ("heads", "heads"), ("secs", "secs")] {
            wanted = wanted.maybe(property, geometry.attribute(attribute));
        }
    }
    wanted = wanted.maybe("rotation_rate", of(node, "target", "rotation_rate"));
    for (attribute, property) in [("error_policy", "werror"), ("rerror_policy", "rerror")] {
        let policy = of(node, "driver", attribute)
            .map(|word| if word == "enospace" { "enospc" } else { word });
        wanted = wanted.maybe(property, policy);
    }
    let wanted = virtio_options(node, place(context, node, wanted));
    expected.devices.push(wanted);
}
