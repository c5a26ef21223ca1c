//! What QEMU has behind the devices of a guest, and what of it belongs to none of them: left by a
//! daemon that was killed while a device came or went, ours or libvirtd's.
//!
//! Only what bears a name of libvirt's scheme can be a leftover: what clients or the administrator
//! gave QEMU under names of their own is not looked at.

use crate::domain::view;
use crate::domain::vm::Vm;
use host::monitor::MonitorError;
use model::domain::Domain as Definition;
use model::domain::devices::disk::{BackingStore, Disk};
use plan::QmpCommand;
use qmp::{Value, cmd};
use serde_json::json;
use std::collections::BTreeSet;

/// What QEMU has.
#[derive(Clone, Debug, Default)]
pub(super) struct Inventory {
    /// Devices with names of their own.
    pub devices: BTreeSet<String>,
    /// Objects that clients can make: backends, secrets, credentials.
    pub objects: BTreeSet<String>,
    /// Host sides of interfaces.
    pub netdevs: BTreeSet<String>,
    /// Host sides of character devices.
    pub chardevs: BTreeSet<String>,
    /// Nodes of images.
    pub nodes: BTreeSet<String>,
    /// Sets of descriptors, and what was said of their members.
    pub fdsets: Vec<(i64, Vec<String>)>,
    /// Jobs work on images: which nodes they need only they know.
    pub has_jobs: bool,
}

/// What belongs to no device.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Strays {
    /// Nodes of images, the uppermost first.
    pub nodes: Vec<String>,
    /// Commands that remove the rest.
    pub commands: Vec<QmpCommand>,
    /// Sets of descriptors.
    pub fdsets: Vec<i64>,
}

impl Inventory {
    /// Asks QEMU, all at once.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn of(vm: &Vm) -> Result<Self, MonitorError> {
        let monitor = &vm.monitor;
        let (devices, objects, chardevs, nodes, jobs, fdsets, network) = tokio::join!(
            monitor.execute(cmd::qom_list("/machine/peripheral")),
            monitor.execute(cmd::qom_list("/objects")),
            monitor.execute(cmd::query_chardev()),
            super::release::node_names(vm),
            monitor.execute(cmd::query_block_jobs()),
            monitor.execute(cmd::query_fdsets()),
            // No command of QMP tells of those that no device has.
            monitor.execute(cmd::human_monitor_command("info network", None)),
        );
        Ok(Self {
            devices: devices?.into_iter().map(|property| property.name).collect(),
            objects: objects?.into_iter().map(|property| property.name).collect(),
            chardevs: chardevs?.into_iter().map(|chardev| chardev.label).collect(),
            nodes: nodes?,
            has_jobs: !jobs?.is_empty(),
            fdsets: fdsets?.iter().filter_map(fdset).collect(),
            netdevs: netdevs(&network?),
        })
    }

    /// What belongs to no device of the definition.
    pub fn strays(&self, definition: &Definition) -> Strays {
        let known = view::aliases(definition);
        // A device that only QEMU knows is not ours to judge, nor what it stands on.
        let stray = |alias: &str| {
            is_numbered(alias) && !known.contains(alias) && !self.devices.contains(alias)
        };
        let mut commands = Vec::new();
        let mut remove = |command: &str, id: &str| {
            let json = json!({"execute": command, "arguments": {"id": id}}).to_string();
            commands.push(QmpCommand { result: None, json, secret: false });
        };
        for netdev in &self.netdevs {
            if netdev.strip_prefix("host").is_some_and(&stray) {
                remove("netdev_del", netdev);
            }
        }
        for chardev in &self.chardevs {
            if chardev.strip_prefix("char").is_some_and(&stray) {
                remove("chardev-remove", chardev);
            }
        }
        let numbers = numbers(definition);
        let unused = |number: &u32| numbers.as_ref().is_some_and(|used| !used.contains(number));
        for object in &self.objects {
            let behind_device = ["objchar", "obj", "mem", "shmmem-"]
                .iter()
                .find_map(|prefix| object.strip_prefix(prefix))
                .map(|alias| alias.strip_suffix("_tls0").unwrap_or(alias));
            let image = object.strip_prefix("obj").unwrap_or(object);
            let behind_image = object_of_image(image).filter(|_| !self.has_jobs);
            if behind_device.is_some_and(&stray) || behind_image.as_ref().is_some_and(&unused) {
                remove("object-del", object);
            }
        }
        let disks = definition.devices.iter().flat_map(|devices| &devices.disks);
        let filters: BTreeSet<_> = disks.flat_map(plan::qemu::filter_nodes).collect();
        let mut nodes: Vec<_> = self
            .nodes
            .iter()
            .filter(|_| !self.has_jobs)
            .filter_map(|node| {
                let (layer, number) = layer(node)?;
                let stray = match LAYERS.get(layer) {
                    // Numbered like images, but none's.
                    Some(&FILTER) => numbers.is_some() && !filters.contains(node),
                    _ => unused(&number),
                };
                stray.then_some((layer, number, node.clone()))
            })
            .collect();
        nodes.sort();
        let fdsets = self.fdsets.iter().filter(|(_, said)| {
            !said.is_empty()
                && said.iter().all(|said| {
                    let node = said.trim_end_matches(|c: char| c.is_ascii_digit());
                    if let Some((_, number)) = layer(node) {
                        return !self.has_jobs && unused(&number);
                    }
                    let alias = said.split_once('-').map_or(said.as_str(), |(alias, _)| alias);
                    stray(alias)
                })
        });
        Strays {
            nodes: nodes.into_iter().map(|(_, _, node)| node).collect(),
            commands,
            fdsets: fdsets.map(|(id, _)| *id).collect(),
        }
    }
}

/// The names that libvirt gives devices which come and go, without their numbers; disks apart, of
/// whose images the numbers tell.
const KINDS: [&str; 18] = [
    "channel",
    "console",
    "crypto",
    "dimm",
    "fs",
    "hostdev",
    "input",
    "net",
    "nvdimm",
    "parallel",
    "redir",
    "rng",
    "serial",
    "shmem",
    "smartcard",
    "virtiomem",
    "virtiopmem",
    "vsock",
];

/// Whether libvirt gives devices such names.
fn is_numbered(alias: &str) -> bool {
    let kind = alias.trim_end_matches(|c: char| c.is_ascii_digit());
    kind.len() < alias.len() && KINDS.contains(&kind)
}

/// The number in the name of something that belongs to an image.
fn image_number(name: &str) -> Option<u32> {
    name.strip_prefix("libvirt-")?.split_once('-')?.0.parse().ok()
}

/// The number of the image that a secret or a credential is for.
pub(super) fn object_of_image(name: &str) -> Option<u32> {
    let (_, rest) = name.strip_prefix("libvirt-")?.split_once('-')?;
    let ours = ["storage", "format"].iter().any(|layer| rest.starts_with(layer));
    image_number(name).filter(|_| ours)
}

/// A filter above the images of a disk.
const FILTER: &str = "filter";

/// What nodes are of a disk, the uppermost first.
const LAYERS: [&str; 4] = [FILTER, "format", "slice-sto", "storage"];

/// Which of [`LAYERS`] a node is, and its number.
fn layer(node: &str) -> Option<(usize, u32)> {
    let number = image_number(node)?;
    let (_, layer) = node.strip_prefix("libvirt-")?.split_once('-')?;
    Some((LAYERS.iter().position(|name| *name == layer)?, number))
}

/// The numbers of a definition's images; none where an image has none.
fn numbers(definition: &Definition) -> Option<BTreeSet<u32>> {
    let mut all = BTreeSet::new();
    for disk in definition.devices.iter().flat_map(|devices| &devices.disks) {
        all.extend(numbers_of(disk)?);
    }
    Some(all)
}

fn numbers_of(disk: &Disk) -> Option<BTreeSet<u32>> {
    let mut all = BTreeSet::new();
    let Some(source) = &disk.source else { return Some(all) };
    all.insert(source.index?);
    all.extend(source.data_source().and_then(|data| data.index));
    let mirror = disk.mirror.as_deref();
    let copied = mirror.and_then(|mirror| mirror.backing_store.as_deref());
    for layer in disk.layers().chain(copied.into_iter().flat_map(BackingStore::chain)) {
        all.extend(layer.index);
        let source = layer.source.as_ref();
        all.extend(source.and_then(|source| source.index));
        all.extend(source.and_then(|source| source.data_source()?.index));
    }
    all.extend(mirror.and_then(|mirror| mirror.source.as_ref()?.index));
    Some(all)
}

fn fdset(set: &Value) -> Option<(i64, Vec<String>)> {
    let members = set.get("fds")?.as_array()?;
    let said = |member: &Value| {
        member.get("opaque").and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    Some((set.get("fdset-id")?.as_i64()?, members.iter().map(said).collect()))
}

/// The host sides in the answer to `info network`.
fn netdevs(text: &str) -> BTreeSet<String> {
    let name = |line: &str| {
        let line = line.trim().trim_start_matches('\\').trim_start();
        let (name, rest) = line.split_once(": index=")?;
        let nic = rest.split(',').any(|word| word == "type=nic");
        (!nic).then(|| name.to_owned())
    };
    text.lines().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(devices: &str) -> Definition {
        let text = format!(
            "<domstatus state='running' reason='booted' pid='1'><monitor path='/m' type='unix'/>\
             <domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os>\
             <devices>{devices}</devices></domain></domstatus>"
        );
        (*model::domain::status::parse(&text).status.expect("a status").domain).clone()
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const DISK: &str = "<disk type='file'><source file='/a' index='2'/>\
        <backingStore type='file' index='3'><format type='qcow2'/><source file='/b'/>\
        <backingStore/></backingStore><target dev='vda' bus='virtio'/>\
        <throttlefilters><throttlefilter group='x'/></throttlefilters>\
        <alias name='virtio-disk0'/></disk>";

    #[test]
    fn what_has_a_device_stays_and_what_has_none_goes() {
        let rng = "<rng model='virtio'><backend model='builtin'/><alias name='rng0'/></rng>";
        let definition = definition(&format!("{DISK}{rng}"));
        let found = Inventory {
            devices: set(&["virtio-disk0", "rng0", "net7"]),
            objects: set(&[
                "objrng0",
                "objrng1",
                "memdimm4",
                "libvirt-2-format-encryption-secret0",
                "libvirt-9-format-encryption-secret0",
                "objlibvirt-9-storage_tls0",
                "iothread1",
                "libvirt-9-backend-auth-secret0",
                "memory0",
                "objects0",
                "throttle-x",
                "mine",
                "masterKey0",
                "pc.ram",
            ]),
            netdevs: set(&["hostnet7", "hostnet8", "mine0"]),
            chardevs: set(&["charmonitor", "charserial0", "charchannel1", "chardev7x", "mine"]),
            nodes: set(&[
                "libvirt-2-storage",
                "libvirt-2-format",
                "libvirt-3-format",
                "libvirt-4-filter",
                "libvirt-9-storage",
                "libvirt-9-format",
                "libvirt-10-storage",
                "libvirt-5-backend",
                "libvirt-pflash0-storage",
                "#block123",
                "mine",
            ]),
            fdsets: vec![
                (0, vec!["rng0".into()]),
                (1, vec!["net9-tap0".into(), "net9-vhost0".into()]),
                (2, vec!["somebody's".into()]),
                (3, Vec::new()),
            ],
            has_jobs: false,
        };
        let strays = found.strays(&definition);
        assert_eq!(strays.nodes, ["libvirt-9-format", "libvirt-9-storage", "libvirt-10-storage"]);
        let said: Vec<_> = strays.commands.iter().map(|command| command.json.clone()).collect();
        let expected: Vec<_> = [
            ("netdev_del", "hostnet8"),
            ("chardev-remove", "charserial0"),
            ("chardev-remove", "charchannel1"),
            ("object-del", "libvirt-9-format-encryption-secret0"),
            ("object-del", "memdimm4"),
            ("object-del", "objlibvirt-9-storage_tls0"),
            ("object-del", "objrng1"),
        ]
        .iter()
        .map(|(name, id)| json!({"execute": name, "arguments": {"id": id}}).to_string())
        .collect();
        assert_eq!(said.iter().collect::<BTreeSet<_>>(), expected.iter().collect::<BTreeSet<_>>());
        assert_eq!(strays.fdsets, [1]);
    }

    #[test]
    fn images_are_left_alone_where_nobody_knows_whose_they_are() {
        let nodes = set(&["libvirt-9-storage"]);
        let objects = set(&["libvirt-9-format-encryption-secret0"]);
        let found = Inventory { nodes, objects, ..Inventory::default() };
        assert_eq!(found.strays(&definition(DISK)).nodes.len(), 1);
        // Somebody else's, whose numbers are not told.
        let unnumbered = DISK.replace(" index='2'", "");
        assert_eq!(found.strays(&definition(&unnumbered)), Strays::default());
        // A copy, a commit or a backup may need it.
        let busy = Inventory { has_jobs: true, ..found };
        assert_eq!(busy.strays(&definition(DISK)), Strays::default());
    }

    #[test]
    fn host_sides_of_interfaces() {
        let text = "net0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:00:00:01\r\n \
                    \\ hostnet0: index=0,type=user,net=10.0.2.0,restrict=off\r\n\
                    hostnet1: index=0,type=tap,fd=3\r\nnonsense\r\n";
        assert_eq!(netdevs(text), set(&["hostnet0", "hostnet1"]));
    }
}
