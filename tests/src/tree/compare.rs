//! The two held against each other.

use std::collections::{BTreeMap, BTreeSet};

use roxmltree::Document;

use super::expect::{self, Device, Expected};
use super::{Object, Seen};

/// How much was compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Elements of documents that are devices.
    pub named: usize,
    /// Devices and objects of QEMU.
    pub devices: usize,
    /// Properties.
    pub props: usize,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.named += other.named;
        self.devices += other.devices;
        self.props += other.props;
    }
}

/// Whether a property says what is wanted.
///
/// Numbers compare as numbers, and `on` is `true`: QEMU's types differ between devices that
/// libvirt treats alike.
fn agrees(wanted: &str, seen: &str) -> bool {
    let same = |text: &str| match text {
        "on" => "true".to_owned(),
        "off" => "false".to_owned(),
        other => match other.strip_prefix("0x").map(|digits| u64::from_str_radix(digits, 16)) {
            Some(Ok(number)) => number.to_string(),
            _ => other.to_owned(),
        },
    };
    same(wanted) == same(seen)
}

/// What is wrong with one object; empty when nothing is.
fn faults_of(wanted: &Device, seen: &Object, tally: &mut Tally) -> Vec<String> {
    let mut faults = Vec::new();
    tally.devices += 1;
    if !wanted.kinds.contains(&seen.kind) {
        faults.push(format!("is of type {}, not {:?}", seen.kind, wanted.kinds));
    }
    if let Some(bus) = &wanted.bus {
        tally.props += 1;
        let path = seen.prop("parent_bus").unwrap_or_default();
        let found = path.split('/').any(|part| part == bus || part == format!("{bus}.0"));
        if !found {
            faults.push(format!("is on the bus {path}, not on {bus}"));
        }
    }
    for (name, value) in &wanted.props {
        tally.props += 1;
        match seen.prop(name) {
            Some(said) if agrees(value, &said) => {}
            Some(said) => faults.push(format!("has {name}={said}, not {value}")),
            None => faults.push(format!("has no property {name} (wanted {value})")),
        }
    }
    faults
}

/// Compares objects that have ids, and takes what was found out of `seen`.
fn by_id(
    wanted: &[Device],
    seen: &mut BTreeMap<String, Object>,
    tally: &mut Tally,
    faults: &mut Vec<String>,
) {
    for device in wanted {
        let Some(id) = &device.id else { continue };
        match seen.remove(id) {
            Some(object) => {
                let wrong = faults_of(device, &object, tally);
                faults.extend(wrong.into_iter().map(|fault| format!("{id} {fault}")));
            }
            None => faults.push(format!("{id} ({:?}) is not there", device.kinds)),
        }
    }
}

/// Compares those that have none: each takes the first of its type that fits entirely.
fn without_id(
    wanted: &[Device],
    seen: &mut Vec<Object>,
    tally: &mut Tally,
    faults: &mut Vec<String>,
) {
    for device in wanted.iter().filter(|device| device.id.is_none()) {
        let fits = |object: &Object| faults_of(device, object, &mut Tally::default()).is_empty();
        match seen.iter().position(fits) {
            Some(place) => {
                faults_of(device, &seen.remove(place), tally);
            }
            None => faults.push(format!("no {:?} with {:?} is there", device.kinds, device.props)),
        }
    }
}

fn sets(what: &str, wanted: &BTreeSet<String>, seen: &BTreeSet<String>, faults: &mut Vec<String>) {
    for missing in wanted.difference(seen) {
        faults.push(format!("{what} {missing} is not there"));
    }
    for further in seen.difference(wanted) {
        faults.push(format!("{what} {further} is there and nobody asked for it"));
    }
}

/// Everything in which a QEMU differs from its live document. `bare` is a QEMU of the same domain
/// without devices; `own` are the labels of character devices that belong to the test.
pub fn compare(live: &str, mut seen: Seen, bare: &Seen, own: &[&str]) -> (Vec<String>, Tally) {
    let document = Document::parse(live).expect("the daemon writes XML");
    let expected = expect::expected(&document);
    let mut faults = Vec::new();
    let mut tally = Tally { named: expected.named, ..Tally::default() };

    by_id(&expected.devices, &mut seen.devices, &mut tally, &mut faults);
    // A companion of a USB controller has an id that no element shows.
    let mut further: Vec<Object> = std::mem::take(&mut seen.nameless);
    let companions = expected.devices.iter().filter(|device| device.id.is_none());
    let kinds: BTreeSet<&String> = companions.flat_map(|device| &device.kinds).collect();
    let ids: Vec<String> = seen
        .devices
        .iter()
        .filter(|(_, object)| kinds.contains(&object.kind))
        .map(|(id, _)| id.clone())
        .collect();
    further.extend(ids.iter().filter_map(|id| seen.devices.remove(id)));
    without_id(&expected.devices, &mut further, &mut tally, &mut faults);
    let unknown = seen.devices.iter().map(|(id, object)| (id.as_str(), object));
    for (id, object) in unknown.chain(further.iter().map(|object| ("a device", object))) {
        faults.push(format!("{id} of type {} is there and nobody asked for it", object.kind));
    }

    by_id(&expected.objects, &mut seen.objects, &mut tally, &mut faults);
    let mut objects: Vec<Object> = seen.objects.into_values().collect();
    without_id(&expected.objects, &mut objects, &mut tally, &mut faults);
    for object in objects {
        faults.push(format!("an object of type {} is there and nobody asked for it", object.kind));
    }

    machine(&expected, &seen.machine, &mut tally, &mut faults);
    backends(&expected, &seen.chardevs, &seen.nodes, own, &mut tally, &mut faults);
    sets("network back end", &expected.netdevs, &seen.netdevs, &mut faults);
    sets("audio back end", &expected.audiodevs, &seen.audiodevs, &mut faults);

    let mut built_in = bare.built_in.clone();
    for kind in &expected.built_in {
        *built_in.entry(kind.clone()).or_default() += 1;
    }
    if built_in != seen.built_in {
        faults.push(format!("the machine has {:?}, a bare one {built_in:?}", seen.built_in));
    }
    let places: BTreeSet<&str> = expected
        .devices
        .iter()
        .filter(|device| device.id.is_none())
        .flat_map(|device| &device.props)
        .filter(|(name, _)| name == "legacy-addr")
        .map(|(_, place)| place.as_str())
        .collect();
    for (slot, function, class) in seen.built_in_pci.difference(&bare.built_in_pci) {
        // Virtual functions of a network card come with it.
        let is_virtual = *class == 0x200 && expected.built_in.iter().any(|kind| kind == "igbvf");
        if !places.contains(format!("{slot:02x}.{function:x}").as_str()) && !is_virtual {
            faults.push(format!("something of class {class:#x} is at {slot:02x}.{function:x}"));
        }
    }
    for place in bare.built_in_pci.difference(&seen.built_in_pci) {
        faults.push(format!("the machine's own PCI device at {place:?} is missing"));
    }
    for (id, node) in &expected.drives {
        let mut found =
            seen.drives.iter().filter(|(path, _)| path.split('/').any(|part| part == id));
        if !found.any(|(_, said)| said == node) {
            faults.push(format!("{id} does not stand on {node}: {:?}", seen.drives));
        }
    }
    processors(&document, &seen.cpus, seen.possible_cpus, &mut tally, &mut faults);
    let uuid = expect::words(document.root_element(), "uuid").unwrap_or_default();
    let said = seen.answers.get("query-uuid").map(|answer| answer["UUID"] == uuid);
    if said != Some(true) {
        faults.push(format!("the UUID is not {uuid}"));
    }
    (faults, tally)
}

fn machine(expected: &Expected, seen: &Object, tally: &mut Tally, faults: &mut Vec<String>) {
    for (name, value) in &expected.machine {
        tally.props += 1;
        let said = match name.split_once('.') {
            Some((outer, inner)) => {
                seen.props.get(outer).and_then(|value| value.get(inner)).map(super::seen::text)
            }
            None => seen.prop(name),
        };
        match said {
            Some(said) if agrees(value, &said) => {}
            said => faults.push(format!("the machine has {name}={said:?}, not {value}")),
        }
    }
}

fn backends(
    expected: &Expected,
    chardevs: &BTreeMap<String, String>,
    nodes: &BTreeMap<String, (String, String)>,
    own: &[&str],
    tally: &mut Tally,
    faults: &mut Vec<String>,
) {
    for (label, about) in &expected.chardevs {
        tally.props += 1;
        match chardevs.get(label) {
            Some(said) if said.contains(about) => {}
            said => faults.push(format!("character device {label} is {said:?}, not {about}")),
        }
    }
    // A port that several programs share has a device of QEMU's own before it.
    let asked = |label: &String| expected.chardevs.contains_key(label);
    for label in chardevs.keys().filter(|label| !asked(label)) {
        if !own.contains(&label.as_str()) && !label.starts_with("vc") {
            faults.push(format!("character device {label} is there and nobody asked for it"));
        }
    }
    for (name, (driver, file)) in &expected.nodes {
        tally.props += 1;
        match nodes.get(name) {
            Some((said, at)) if (driver.is_empty() || said == driver) && at.contains(file) => {}
            said => faults.push(format!("block node {name} is {said:?}, not {driver} of {file}")),
        }
    }
    for (name, about) in nodes.iter().filter(|(name, _)| !expected.nodes.contains_key(*name)) {
        faults.push(format!("block node {name} is there and nobody asked for it: {about:?}"));
    }
}

fn processors(
    document: &Document,
    cpus: &[serde_json::Value],
    possible: usize,
    tally: &mut Tally,
    faults: &mut Vec<String>,
) {
    let domain = document.root_element();
    let Some(vcpu) = expect::child(domain, "vcpu") else { return };
    let all = vcpu.text().map_or(1, |text| expect::number(text.trim())) as usize;
    let current = vcpu.attribute("current").map_or(all, |text| expect::number(text) as usize);
    tally.props += 2;
    if cpus.len() != current {
        faults.push(format!("{} CPUs are plugged, not {current}", cpus.len()));
    }
    // A machine whose CPUs cannot be plugged lists none.
    if possible != 0 && possible != all {
        faults.push(format!("{possible} CPUs are possible, not {all}"));
    }
    let topology = expect::child(domain, "cpu").and_then(|cpu| expect::child(cpu, "topology"));
    for (attribute, property) in [
        ("sockets", "socket-id"),
        ("dies", "die-id"),
        ("cores", "core-id"),
        ("threads", "thread-id"),
    ] {
        let Some(count) = topology.and_then(|topology| topology.attribute(attribute)) else {
            continue;
        };
        let ids: Vec<u64> = cpus.iter().filter_map(|cpu| cpu[property].as_u64()).collect();
        tally.props += 1;
        if ids.iter().any(|id| *id >= expect::number(count)) && !cpus.is_empty() {
            let what = format!("{property}s {ids:?} for {count} {attribute}");
            // Machines of POWER count cores through all sockets.
            if property != "core-id" {
                faults.push(what);
            }
        }
    }
}
