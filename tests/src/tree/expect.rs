//! What a domain's live XML says that QEMU must be made of.

use std::collections::{BTreeMap, BTreeSet};

use roxmltree::{Document, Node};

use super::{controllers, kinds, storage};

/// A device that must be there.
#[derive(Clone, Debug, Default)]
pub struct Device {
    /// Its id; `None` for devices that get none.
    pub id: Option<String>,
    /// QOM types of which it may be.
    pub kinds: Vec<String>,
    /// Properties and their values as text.
    pub props: Vec<(String, String)>,
    /// What the path of its bus must contain, between slashes or at the end.
    pub bus: Option<String>,
}

impl Device {
    /// A device of this id and type.
    pub fn new(id: impl Into<String>, kind: impl Into<String>) -> Device {
        Device { id: Some(id.into()), kinds: vec![kind.into()], ..Device::default() }
    }

    /// With a property of this value.
    pub fn with(mut self, name: &str, value: impl ToString) -> Device {
        self.props.push((name.to_owned(), value.to_string()));
        self
    }

    /// With a property, where the document gives a value.
    pub fn maybe(self, name: &str, value: Option<impl ToString>) -> Device {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }
}

/// Everything that must be there, and nothing else of these sorts may be.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// Devices, other than those of the machine itself.
    pub devices: Vec<Device>,
    /// Objects: id, type, properties.
    pub objects: Vec<Device>,
    /// Labels of character devices, with a part of their description.
    pub chardevs: BTreeMap<String, String>,
    /// Block nodes: name to driver (empty: whichever) and file.
    pub nodes: BTreeMap<String, (String, String)>,
    /// Block nodes of drives whose device does not say, by its id.
    pub drives: BTreeMap<String, String>,
    /// Network back ends.
    pub netdevs: BTreeSet<String>,
    /// Audio back ends.
    pub audiodevs: BTreeSet<String>,
    /// Properties of the machine.
    pub machine: Vec<(String, String)>,
    /// Devices that arguments add to those of the machine without an id, by type.
    pub built_in: Vec<String>,
    /// Devices that the domain's XML names; of the machine or added.
    pub named: usize,
}

/// The first child of this name.
pub fn child<'a>(node: Node<'a, 'a>, name: &str) -> Option<Node<'a, 'a>> {
    node.children().find(|child| child.has_tag_name(name))
}

/// An attribute of a child.
pub fn of<'a>(node: Node<'a, 'a>, name: &str, attribute: &str) -> Option<&'a str> {
    child(node, name)?.attribute(attribute)
}

/// The text of a child.
pub fn words<'a>(node: Node<'a, 'a>, name: &str) -> Option<&'a str> {
    child(node, name)?.text()
}

/// A number, decimal or with `0x`.
pub fn number(text: &str) -> u64 {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.unwrap_or_else(|_| panic!("{text} is no number"))
}

/// `yes` and `on` as QEMU's `true`.
pub fn switch(text: &str) -> &'static str {
    if matches!(text, "yes" | "on") { "true" } else { "false" }
}

/// A size in bytes, from an element with a `unit`.
pub fn bytes(node: Node) -> u64 {
    let unit = match node.attribute("unit").unwrap_or("KiB") {
        "b" | "bytes" => 1,
        "KiB" | "K" => 1 << 10,
        "MiB" | "M" => 1 << 20,
        "GiB" | "G" => 1 << 30,
        other => panic!("unit {other}"),
    };
    number(node.text().unwrap_or_default().trim()) * unit
}

/// What expectations depend on beyond one element.
pub struct Context<'a> {
    /// `<domain>`.
    pub domain: Node<'a, 'a>,
    /// `x86_64` and so on.
    pub arch: &'a str,
    /// Full name of the machine type.
    pub machine: &'a str,
}

impl<'a> Context<'a> {
    /// The elements below `<devices>`.
    pub fn devices(&self) -> impl Iterator<Item = Node<'a, 'a>> {
        let devices = child(self.domain, "devices").expect("a domain has devices");
        devices.children().filter(Node::is_element)
    }

    /// The controller of this type and index.
    pub fn controller(&self, kind: &str, index: &str) -> Option<Node<'a, 'a>> {
        self.devices().find(|node| {
            node.has_tag_name("controller")
                && node.attribute("type") == Some(kind)
                && node.attribute("index").map(number) == Some(number(index))
        })
    }

    /// Alias of the controller of this type and index.
    pub fn controller_alias(&self, kind: &str, index: &str) -> Option<&'a str> {
        alias(self.controller(kind, index)?)
    }

    /// Whether the machine is a PC with the old chip set, the new one, or neither.
    pub fn is_pc(&self) -> bool {
        self.machine.starts_with("pc-i440fx")
    }

    /// The new one.
    pub fn is_q35(&self) -> bool {
        self.machine.starts_with("pc-q35")
    }

    /// How names of virtio devices end for an element: by where it is.
    pub fn virtio(&self, node: Node<'a, 'a>, stem: &str) -> Vec<String> {
        let model = node.attribute("model").or_else(|| of(node, "model", "type"));
        let place = match of(node, "address", "type") {
            Some("ccw") => "ccw",
            Some("virtio-mmio") => "device",
            _ => "pci",
        };
        let model = model.unwrap_or_default();
        let further = ["virtio-transitional", "virtio-non-transitional"]
            .into_iter()
            .find(|known| *known == model)
            .and_then(|known| known.strip_prefix("virtio"))
            .unwrap_or_default();
        vec![format!("{stem}-{place}{further}")]
    }
}

/// The alias of an element.
pub fn alias<'a>(node: Node<'a, 'a>) -> Option<&'a str> {
    of(node, "alias", "name")
}

/// Adds what an element's `<address>`, `<boot>` and `<driver>` say of any device.
pub fn place(context: &Context, node: Node, mut device: Device) -> Device {
    device = device.maybe("bootindex", of(node, "boot", "order"));
    device = device.maybe("acpi-index", of(node, "acpi", "index"));
    if let Some(rom) = child(node, "rom") {
        device = device.maybe("rombar", rom.attribute("bar").map(|bar| u8::from(bar == "on")));
    }
    let Some(address) = child(node, "address") else { return device };
    let get = |name: &str| address.attribute(name);
    let field = |name: &str| number(get(name).unwrap_or("0"));
    match get("type") {
        Some("pci") => {
            let bus = field("bus").to_string();
            let parent = context.controller("pci", &bus);
            device.bus = parent.and_then(alias).map(|alias| match alias {
                // The expander itself is no place to be at.
                "pci" => "pci.0".to_owned(),
                other => other.to_owned(),
            });
            device = device
                .with("legacy-addr", format!("{:02x}.{:x}", field("slot"), field("function")));
            // QEMU's igb has functions of its own and always says so.
            if !device.kinds.iter().any(|kind| kind == "igb") {
                let several = get("multifunction").unwrap_or("off");
                device = device.with("multifunction", switch(several));
            }
        }
        Some("ccw") => {
            let id = (field("cssid"), field("ssid"), field("devno"));
            device = device.with("devno", format!("{:x}.{:x}.{:04x}", id.0, id.1, id.2));
        }
        Some("usb") => {
            device.bus =
                context.controller_alias("usb", get("bus").unwrap_or("0")).map(str::to_owned);
            device = device.maybe("port", get("port"));
        }
        Some("virtio-serial") => {
            let controller = get("controller").unwrap_or("0");
            device.bus = context.controller_alias("virtio-serial", controller).map(str::to_owned);
            device = device.with("nr", field("port"));
        }
        Some("ccid") => {
            let controller = get("controller").unwrap_or("0");
            device.bus = context.controller_alias("ccid", controller).map(str::to_owned);
        }
        Some("spapr-vio") => device = device.maybe("reg", get("reg").map(number)),
        Some("isa") => {
            device = device.maybe("iobase", get("iobase").map(number));
            device = device.maybe("irq", get("irq").map(number));
        }
        _ => {}
    }
    device
}

/// The options of virtio devices that stand in `<driver>`.
pub fn virtio_options(node: Node, mut device: Device) -> Device {
    for (attribute, property) in [
        ("iommu", "iommu_platform"),
        ("ats", "ats"),
        ("packed", "packed"),
        ("page_per_vq", "page-per-vq"),
    ] {
        device = device.maybe(property, of(node, "driver", attribute).map(switch));
    }
    device
}

/// Reads a live document.
pub fn expected(document: &Document) -> Expected {
    let domain = document.root_element();
    let kind = child(domain, "os").and_then(|os| child(os, "type")).expect("a type of guest");
    let context = Context {
        domain,
        arch: kind.attribute("arch").expect("an architecture"),
        machine: kind.attribute("machine").expect("a machine type"),
    };
    let mut expected = Expected::default();
    // Of every guest: its monitor, the key of its secrets.
    expected.chardevs.insert("charmonitor".into(), "unix:".into());
    expected.objects.push(Device::new("masterKey0", "secret"));
    kinds::domain(&context, &mut expected);
    for node in context.devices() {
        let before = expected.devices.len();
        match node.tag_name().name() {
            "disk" => storage::disk(&context, node, &mut expected),
            "controller" => controllers::controller(&context, node, &mut expected),
            _ => kinds::device(&context, node, &mut expected),
        }
        // What a guest on s390 sees at a PCI place has a companion that says so.
        let zpci = child(node, "address").and_then(|address| child(address, "zpci"));
        if let (Some(zpci), Some(alias)) = (zpci, alias(node)) {
            let get = |name: &str| number(zpci.attribute(name).unwrap_or("0"));
            expected.devices.push(
                Device::new(format!("zpci{}", get("uid")), "zpci")
                    .with("uid", get("uid"))
                    .with("fid", get("fid"))
                    .with("target", alias),
            );
        }
        expected.named += usize::from(alias(node).is_some() || expected.devices.len() > before);
    }
    expected
}
