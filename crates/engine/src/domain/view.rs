//! Facts read out of a definition: for listings, for the lifecycle, for events.

use super::record::{Config, Live, Summary};
use lifecycle::{OnEvent, PowerPolicy};
use model::domain::devices::chardev::Serial;
use model::domain::devices::disk::{Disk, DiskSource};
use model::domain::lifecycle::LifecycleAction;
use model::domain::{Domain as Definition, FormatFlags};
use qmp::Value;
use std::collections::BTreeSet;

impl Summary {
    /// The facts of a definition.
    pub fn of(definition: &Definition) -> Self {
        let memory_max_kib = definition.memory.as_ref().map_or(0, |memory| memory.size.0);
        let vcpus_max = definition.vcpu.as_ref().map_or(1, |vcpu| vcpu.maximum);
        Self {
            memory_max_kib,
            memory_kib: definition.current_memory.map_or(memory_max_kib, |kib| kib.0),
            vcpus_max,
            vcpus: definition.vcpu.as_ref().and_then(|vcpu| vcpu.current).unwrap_or(vcpus_max),
            os_type: definition.os.as_ref().map_or("hvm", |os| os.kind.name.as_str()).into(),
        }
    }

    /// The facts of a domain of which nothing is known any more.
    pub fn nothing() -> Self {
        Self { memory_max_kib: 0, memory_kib: 0, vcpus_max: 0, vcpus: 0, os_type: "hvm".into() }
    }
}

impl Config {
    /// The compact form of a definition.
    pub fn of(definition: &Definition) -> Self {
        let flags = FormatFlags { secure: true, ..FormatFlags::default() };
        let xml = model::domain::format(definition, flags);
        Self {
            has_secrets: has_secrets(definition),
            xml: xml.into_boxed_str(),
            summary: Summary::of(definition),
        }
    }
}

/// True if the definition holds something that is shown only on request: what `<graphics>` marks
/// as secret, and cookies of images on the network.
fn has_secrets(definition: &Definition) -> bool {
    let Some(devices) = &definition.devices else { return false };
    let graphics = devices.graphics.iter().any(|one| {
        one.passwd.is_some() || one.passwd_valid_to.is_some() || one.connected.is_some()
    });
    let cookies = |image: &DiskSource| {
        std::iter::successors(Some(image), |image| image.data_source())
            .any(|image| image.cookies.is_some())
    };
    let mirror =
        |disk: &Disk| disk.mirror.as_ref().and_then(|m| m.source.as_ref()).is_some_and(cookies);
    graphics
        || devices
            .disks
            .iter()
            .any(|disk| disk.images().any(|image| cookies(image.source)) || mirror(disk))
}

impl Live {
    /// The live XML without secrets.
    pub fn xml(&self) -> &str {
        self.xml.get_or_init(|| {
            let flags = FormatFlags { live: true, ..FormatFlags::default() };
            model::domain::format(&self.definition, flags).into_boxed_str()
        })
    }
}

/// What the definition says about power-off, reboot and crash.
pub fn power_policy(definition: &Definition) -> PowerPolicy {
    let of = |action: Option<LifecycleAction>, default| match action {
        None => default,
        Some(LifecycleAction::Restart | LifecycleAction::RenameRestart) => OnEvent::Restart,
        Some(LifecycleAction::Preserve) => OnEvent::Preserve,
        Some(LifecycleAction::Destroy) => OnEvent::Destroy,
        Some(LifecycleAction::CoredumpDestroy) => OnEvent::DumpAndDestroy,
        Some(LifecycleAction::CoredumpRestart) => OnEvent::DumpAndRestart,
    };
    PowerPolicy {
        poweroff: of(definition.on_poweroff, OnEvent::Destroy),
        reboot: of(definition.on_reboot, OnEvent::Restart),
        crash: of(definition.on_crash, OnEvent::Destroy),
    }
}

/// The number of the image whose node this is, where it is one of ours.
pub fn number_of_node(node: &str) -> Option<u32> {
    let rest = node.strip_prefix("libvirt-")?;
    let (number, layer) = rest.split_once('-')?;
    LAYERS.contains(&layer).then(|| number.parse().ok())?
}

/// The layers of an image that are nodes of their own, the uppermost first.
pub const LAYERS: [&str; 3] = ["format", "slice-sto", "storage"];

/// The node that stands for an image, of those that QEMU has: of its format, where that has a node of
/// its own, else of its storage.
pub fn node_of_image(nodes: &BTreeSet<String>, number: u32) -> Option<String> {
    let names = LAYERS.into_iter().map(|layer| format!("libvirt-{number}-{layer}"));
    names.into_iter().find(|name| nodes.contains(name))
}

/// The names of nodes in an answer to `query-named-block-nodes`.
pub fn node_names(nodes: &[Value]) -> BTreeSet<String> {
    let name = |node: &Value| node.get("node-name")?.as_str().map(str::to_owned);
    nodes.iter().filter_map(name).collect()
}

/// Alias and source path of the disk that an event names by a node of one of its images or, as older
/// QEMUs do, by the drive, or by the device's path in QEMU's tree; empty where unknown.
pub fn disk_of_drive(definition: &Definition, drive: &str) -> (String, String) {
    let wanted = match drive.strip_prefix("/machine/peripheral/") {
        Some(path) => path.split('/').next().unwrap_or_default(),
        None => drive.trim_start_matches("drive-"),
    };
    let number = number_of_node(drive);
    let disks = definition.devices.iter().flat_map(|devices| &devices.disks);
    for disk in disks {
        let alias = disk.alias.as_ref().map_or("", |alias| alias.name.as_str());
        let images = || super::tuning::threshold::images(disk);
        let by_node = number.is_some_and(|n| images().iter().any(|(index, _)| *index == n));
        if by_node || (alias == wanted && !alias.is_empty()) {
            return (alias.to_owned(), source_path(disk).unwrap_or_default().to_owned());
        }
    }
    (String::new(), String::new())
}

/// The path that a disk's source names, if it is one.
pub fn source_path(disk: &Disk) -> Option<&str> {
    let source = disk.source.as_ref()?;
    source.file.as_deref().or(source.dev.as_deref()).or(source.name.as_deref())
}

/// True for the channel of the guest agent.
pub fn is_agent(channel: &Serial) -> bool {
    let name = channel.target.as_ref().and_then(|target| target.name.as_deref());
    name == Some("org.qemu.guest_agent.0")
}

/// The channel of the guest agent.
pub fn agent_channel(definition: &Definition) -> Option<&Serial> {
    let mut channels = definition.devices.iter().flat_map(|devices| &devices.channels);
    channels.find(|channel| is_agent(channel))
}

/// The socket of the guest agent's channel on the host.
pub fn agent_path(definition: &Definition) -> Option<&str> {
    let channel = agent_channel(definition)?;
    channel.source.sources.iter().find_map(|source| source.path.as_deref())
}

/// The names of all devices, parts of the board too.
pub fn aliases(definition: &Definition) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    model::domain::walk::look_at_each(definition, &mut |info| {
        names.extend(info.alias.as_ref().map(|alias| alias.name.clone()));
    });
    names
}
