//! Everything that a QEMU says of its devices.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Monitor;

/// An object of QEMU's tree.
#[derive(Clone, Debug, Default)]
pub struct Object {
    /// Its QOM type.
    pub kind: String,
    /// Its readable properties.
    pub props: BTreeMap<String, Value>,
}

impl Object {
    /// A property as text: strings bare, all else as JSON.
    pub fn prop(&self, name: &str) -> Option<String> {
        self.props.get(name).map(text)
    }
}

/// A value as text: strings bare, all else as JSON.
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What one QEMU is made of.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The machine.
    pub machine: Object,
    /// Devices that have an id.
    pub devices: BTreeMap<String, Object>,
    /// Devices made by an argument that names no id.
    pub nameless: Vec<Object>,
    /// Types of the devices that the machine made itself, each with how many there are; without
    /// CPUs.
    pub built_in: BTreeMap<String, usize>,
    /// PCI devices without an id: slot, function, class.
    pub built_in_pci: BTreeSet<(u64, u64, u64)>,
    /// User-creatable objects.
    pub objects: BTreeMap<String, Object>,
    /// Character devices: label and what is behind.
    pub chardevs: BTreeMap<String, String>,
    /// Named block nodes: name and driver, file name.
    pub nodes: BTreeMap<String, (String, String)>,
    /// Block nodes of drives, by the path or id of the device.
    pub drives: BTreeMap<String, String>,
    /// Network back ends.
    pub netdevs: BTreeSet<String>,
    /// Audio back ends.
    pub audiodevs: BTreeSet<String>,
    /// CPUs that are plugged: their `props`.
    pub cpus: Vec<Value>,
    /// CPUs that are plugged or can be.
    pub possible_cpus: usize,
    /// What queries without arguments return, by name.
    pub answers: BTreeMap<String, Value>,
}

/// Questions whose answers are kept as they are.
const QUERIES: [&str; 10] = [
    "query-uuid",
    "query-name",
    "query-memory-size-summary",
    "query-memory-devices",
    "query-iothreads",
    "query-tpm",
    "query-vnc",
    "query-spice",
    "query-rx-filter",
    "query-status",
];

fn entries(list: Option<Value>) -> Vec<(String, String)> {
    let list = list.and_then(|list| list.as_array().cloned()).unwrap_or_default();
    let field = |entry: &Value, key: &str| text(&entry[key]);
    list.iter().map(|entry| (field(entry, "name"), field(entry, "type"))).collect()
}

/// The children of a container: name and type.
fn children(monitor: &mut Monitor, path: &str) -> Vec<(String, String)> {
    let list = monitor.ask("qom-list", json!({"path": path}));
    entries(list)
        .into_iter()
        .filter_map(|(name, kind)| {
            let kind = kind.strip_prefix("child<")?.strip_suffix('>')?.to_owned();
            Some((name, kind))
        })
        .collect()
}

fn object(monitor: &mut Monitor, path: &str, kind: &str) -> Object {
    let list = monitor.ask("qom-list", json!({"path": path}));
    let names: Vec<String> = entries(list)
        .into_iter()
        .filter(|(name, kind)| !kind.starts_with("child<") && name != "type")
        // QEMU 10.0 ends when Arm's board with a virtio-iommu is asked which IOMMU it has.
        .filter(|(name, _)| !(path == "/machine" && name == "iommu"))
        .map(|(name, _)| name)
        .collect();
    let questions: Vec<(&str, Value)> =
        names.iter().map(|name| ("qom-get", json!({"path": path, "property": name}))).collect();
    let values = monitor.ask_all(&questions);
    let props = names.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?)));
    Object { kind: kind.to_owned(), props: props.collect() }
}

fn objects(monitor: &mut Monitor, container: &str) -> BTreeMap<String, Object> {
    children(monitor, container)
        .into_iter()
        .map(|(name, kind)| {
            let found = object(monitor, &format!("{container}/{name}"), &kind);
            (name, found)
        })
        .collect()
}

fn pci(devices: &Value, found: &mut BTreeSet<(u64, u64, u64)>) {
    for device in devices.as_array().into_iter().flatten() {
        if device["qdev_id"] == "" {
            let class = device["class_info"]["class"].as_u64();
            let place = (device["slot"].as_u64(), device["function"].as_u64(), class);
            if let (Some(slot), Some(function), Some(class)) = place {
                found.insert((slot, function, class));
            }
        }
        pci(&device["pci_bridge"]["devices"], found);
    }
}

impl Seen {
    /// Asks a paused QEMU for everything.
    pub fn read(monitor: &mut Monitor) -> Seen {
        let mut seen = Seen {
            machine: object(monitor, "/machine", ""),
            devices: objects(monitor, "/machine/peripheral"),
            nameless: objects(monitor, "/machine/peripheral-anon").into_values().collect(),
            objects: objects(monitor, "/objects"),
            ..Seen::default()
        };
        for (name, kind) in children(monitor, "/machine/unattached") {
            if name.starts_with("device[") && !kind.ends_with("-cpu") {
                *seen.built_in.entry(kind).or_default() += 1;
            }
        }
        for bus in monitor.ask("query-pci", json!({})).iter().filter_map(Value::as_array).flatten()
        {
            pci(&bus["devices"], &mut seen.built_in_pci);
        }
        let list = |answer: Option<Value>| {
            answer.and_then(|answer| answer.as_array().cloned()).unwrap_or_default()
        };
        for chardev in list(monitor.ask("query-chardev", json!({}))) {
            seen.chardevs.insert(text(&chardev["label"]), text(&chardev["filename"]));
        }
        for node in list(monitor.ask("query-named-block-nodes", json!({"flat": true}))) {
            let about = (text(&node["drv"]), text(&node["file"]));
            seen.nodes.insert(text(&node["node-name"]), about);
        }
        for drive in list(monitor.ask("query-block", json!({}))) {
            let node = text(&drive["inserted"]["node-name"]);
            seen.drives.insert(text(&drive["qdev"]), node);
        }
        for audio in list(monitor.ask("query-audiodevs", json!({}))) {
            seen.audiodevs.insert(text(&audio["id"]));
        }
        seen.cpus = list(monitor.ask("query-cpus-fast", json!({})))
            .into_iter()
            .map(|cpu| cpu["props"].clone())
            .collect();
        seen.possible_cpus = list(monitor.ask("query-hotpluggable-cpus", json!({})))
            .iter()
            .filter_map(|cpu| cpu["vcpus-count"].as_u64())
            .sum::<u64>() as usize;
        let network = monitor.ask("human-monitor-command", json!({"command-line": "info network"}));
        // A back end and its device are two lines, ` \ hostnet0: index=0,...` the former.
        for line in network.iter().filter_map(Value::as_str).flat_map(str::lines) {
            if let Some((name, rest)) = line.trim_start_matches([' ', '\\']).split_once(": ")
                && !rest.contains("type=nic")
            {
                seen.netdevs.insert(name.to_owned());
            }
        }
        for query in QUERIES {
            if let Some(answer) = monitor.ask(query, json!({})) {
                seen.answers.insert(query.to_owned(), answer);
            }
        }
        seen
    }
}
