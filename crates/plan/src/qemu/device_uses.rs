//! Which devices of the host QEMU opens by itself, for the device list of its control group. What the
//! daemon opens for it (taps, vhost, vsock) is not among them.

use super::disk::has_managed_reservations;
use super::found::ScsiPlace;
use super::hostdev::scsi_place;
use super::words::{OnOff, YesNo};
use crate::step::{Access, DeviceUse};
use model::domain::Domain;
use model::domain::devices::Devices;
use model::domain::devices::audio::AudioType;
use model::domain::devices::chardev::{CharSourceElement, CharType, Serial};
use model::domain::devices::disk::{BackingStore, Disk, DiskSource};
use model::domain::devices::graphics::{Graphics, GraphicsType};
use model::domain::devices::hostdev::Hostdev;
use model::domain::devices::memory::MemoryModel;
use model::domain::devices::rng::RngBackendModel;
use model::domain::devices::tpm::TpmBackendType;
use model::domain::launch_security::LaunchSecurity;
use std::collections::BTreeMap;

/// Major numbers of character devices: ALSA's, OSS's (the kernel's `devices.txt`).
const ALSA: u32 = 116;
const OSS: u32 = 14;

/// The devices that a guest of this definition may use besides those that all may. Among them are
/// images that may be files: who carries it out looks. `render_node` is the host's first,
/// `scsi_generic` are the nodes of its SCSI devices, `writes` names disks on whose lower images a job
/// works.
pub fn device_uses(
    domain: &Domain,
    render_node: Option<&str>,
    scsi_generic: &BTreeMap<ScsiPlace, String>,
    writes: impl Fn(&str) -> bool,
) -> Vec<DeviceUse> {
    let mut uses = Uses::default();
    if let Some(LaunchSecurity::Sev(_) | LaunchSecurity::SevSnp(_)) = domain.launch_security {
        uses.both("/dev/sev");
    }
    if let Some(os) = &domain.os {
        let loader = os.loader.as_ref();
        if let Some(path) = loader.and_then(|loader| loader.path.as_ref()) {
            let read_only = loader.is_none_or(|loader| loader.readonly != Some(YesNo::No));
            uses.add(path, read_only);
        }
        if let Some(nvram) = &os.nvram {
            nvram.path.iter().for_each(|path| uses.both(path));
            nvram.source.iter().for_each(|source| uses.source(source, false));
        }
    }
    if let Some(devices) = &domain.devices {
        devices.disks.iter().for_each(|disk| uses.disk(disk, writes(&disk.target.dev)));
        uses.channels(devices);
        uses.graphics(&devices.graphics, render_node);
        uses.others(devices);
        for hostdev in &devices.hostdevs {
            let node = scsi_place(hostdev).and_then(|place| scsi_generic.get(&place));
            node.into_iter().for_each(|path| uses.add(path, hostdev.readonly));
        }
    }
    uses.0
}

#[derive(Default)]
struct Uses(Vec<DeviceUse>);

impl Uses {
    fn add(&mut self, path: &str, read_only: bool) {
        if path.is_empty() {
            return;
        }
        let access = if read_only { Access::Read } else { Access::ReadWrite };
        let new = DeviceUse::Path { path: path.to_owned(), access };
        if !self.0.contains(&new) {
            self.0.push(new);
        }
    }

    fn both(&mut self, path: &str) {
        self.add(path, false);
    }

    /// An image and the file that holds its bytes, whatever kind they are said to be of: of a
    /// volume, too, a start has noted here where it is.
    fn source(&mut self, source: &DiskSource, read_only: bool) {
        for source in std::iter::once(source).chain(source.data_source()) {
            if source.fdgroup.is_none() {
                [&source.file, &source.dev]
                    .into_iter()
                    .flatten()
                    .for_each(|path| self.add(path, read_only));
            }
        }
    }

    fn disk(&mut self, disk: &Disk, writes: bool) {
        for (depth, image) in disk.images().enumerate() {
            // Of what it stands on QEMU only reads, unless a job merges images.
            let read_only = if depth == 0 { disk.readonly } else { !writes };
            self.source(image.source, read_only);
        }
        if has_managed_reservations(disk) {
            self.both("/dev/mapper/control");
        }
        let Some(mirror) = disk.mirror.as_deref() else { return };
        mirror.source.iter().for_each(|source| self.source(source, false));
        let below = mirror.backing_store.as_deref().into_iter().flat_map(BackingStore::chain);
        below
            .filter_map(|layer| layer.source.as_ref())
            .for_each(|source| self.source(source, true));
    }

    /// What is behind the guest's ports.
    fn channels(&mut self, devices: &Devices) {
        let ports = [&devices.serials, &devices.parallels, &devices.consoles, &devices.channels];
        let ports = ports.into_iter().flatten().map(|port: &Serial| &port.source);
        let sources = ports.chain(devices.redirdevs.iter().map(|redirdev| &redirdev.source));
        let sources = sources.map(|source| (Some(source.kind), &source.sources));
        let cards = devices.smartcards.iter().map(|card| (card.source.kind, &card.source.sources));
        let rngs = devices.rngs.iter().map(|rng| &rng.backend.source);
        let all = sources.chain(cards).chain(rngs.map(|source| (source.kind, &source.sources)));
        let nodes = all.filter(|(kind, _)| *kind == Some(CharType::Dev));
        let paths = nodes.flat_map(|(_, sources): (_, &Vec<CharSourceElement>)| sources);
        paths.filter_map(|source| source.path.as_ref()).for_each(|path| self.both(path));
    }

    fn graphics(&mut self, graphics: &[Graphics], render_node: Option<&str>) {
        for graphics in graphics {
            let gl = graphics.gl.as_ref();
            let enabled = gl.is_some_and(|gl| gl.enable == Some(YesNo::Yes));
            let renders = match graphics.kind {
                GraphicsType::EglHeadless => true,
                GraphicsType::Spice | GraphicsType::Dbus => enabled,
                _ => false,
            };
            let node = gl.and_then(|gl| gl.rendernode.as_deref()).or(render_node);
            node.filter(|_| renders).into_iter().for_each(|node| self.both(node));
        }
    }

    fn others(&mut self, devices: &Devices) {
        for rng in &devices.rngs {
            if rng.backend.model == RngBackendModel::Random {
                self.both(rng.backend.device.as_deref().unwrap_or("/dev/random"));
            }
        }
        for tpm in &devices.tpms {
            if tpm.backend.kind == TpmBackendType::Passthrough {
                let path = tpm.backend.device.as_ref().and_then(|device| device.path.as_deref());
                self.both(path.unwrap_or("/dev/tpm0"));
            }
        }
        for source in devices.inputs.iter().filter_map(|input| input.source.as_ref()) {
            [&source.evdev, &source.dev].into_iter().flatten().for_each(|path| self.both(path));
        }
        devices.hostdevs.iter().filter_map(usb_node).for_each(|path| self.both(&path));
        for memory in &devices.memories {
            if memory.model == MemoryModel::SgxEpc {
                self.both("/dev/sgx_vepc");
                self.add("/dev/sgx_provision", true);
            }
            let path = memory.source.as_ref().and_then(|source| source.path.as_ref());
            path.into_iter().for_each(|path| self.both(path));
        }
        let blob = |on: Option<OnOff>| on == Some(OnOff::On);
        if devices
            .videos
            .iter()
            .any(|video| video.model.as_ref().is_some_and(|model| blob(model.blob)))
        {
            self.both("/dev/udmabuf");
        }
        if !devices.sounds.is_empty() {
            for audio in &devices.audios {
                let majors: &[u32] = match audio.kind {
                    AudioType::Alsa | AudioType::Sdl => &[ALSA],
                    AudioType::Oss => &[OSS, ALSA],
                    _ => &[],
                };
                self.0.extend(majors.iter().map(|major| DeviceUse::Major(*major)));
            }
        }
    }
}

/// The node of a USB device of the host.
fn usb_node(hostdev: &Hostdev) -> Option<String> {
    let address = hostdev.source.as_ref()?.address.as_ref()?;
    let bus: u32 = address.bus.as_deref()?.parse().ok()?;
    let device = address.device?.0;
    Some(format!("/dev/bus/usb/{bus:03}/{device:03}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::domain::{ParseOptions, parse};

    fn uses(devices: &str, writes: bool) -> Vec<String> {
        let text = format!(
            "<domain type='qemu' id='1'><name>a</name><memory>1</memory><os><type>hvm</type></os>\
             <devices>{devices}</devices></domain>"
        );
        let parsed = parse(&text, ParseOptions { live: true });
        let domain = parsed.domain.expect("a domain");
        let told =
            device_uses(&domain, Some("/dev/dri/renderD128"), &BTreeMap::default(), |_| writes);
        told.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_definition_names() {
        let block = |rest: &str| {
            format!(
                "<disk type='block'><driver type='qcow2'/><source dev='/dev/a'/>\
                 <backingStore type='block'><format type='raw'/><source dev='/dev/b'/>\
                 <backingStore/></backingStore><target dev='vda'/>{rest}</disk>"
            )
        };
        let copy = "<mirror type='block' job='copy'><format type='raw'/>\
                    <source dev='/dev/c'/></mirror>";
        let none: &[&str] = &[];
        for (devices, expected) in [
            (block(""), &["/dev/a rw", "/dev/b r"][..]),
            (block("<readonly/>"), &["/dev/a r", "/dev/b r"]),
            (block(copy), &["/dev/a rw", "/dev/b r", "/dev/c rw"]),
            ("<serial type='dev'><source path='/dev/ttyS0'/></serial>".into(), &["/dev/ttyS0 rw"]),
            ("<serial type='file'><source path='/dev/ttyS0'/></serial>".into(), none),
            (
                "<rng model='virtio'><backend model='random'>/dev/hwrng</backend></rng>".into(),
                &["/dev/hwrng rw"],
            ),
            ("<input type='evdev'><source dev='/dev/e'/></input>".into(), &["/dev/e rw"]),
            (
                "<hostdev mode='subsystem' type='usb'><source><address bus='2' device='9'/>\
                 </source></hostdev>"
                    .into(),
                &["/dev/bus/usb/002/009 rw"],
            ),
            ("<graphics type='egl-headless'/>".into(), &["/dev/dri/renderD128 rw"]),
            ("<graphics type='vnc'/>".into(), none),
            ("<sound model='ac97'/><audio id='1' type='alsa'/>".into(), &["c 116:*"]),
            ("<audio id='1' type='alsa'/>".into(), none),
        ] {
            assert_eq!(uses(&devices, false), expected, "{devices}");
        }
        assert_eq!(uses(&block(""), true), ["/dev/a rw", "/dev/b rw"]);
    }
}
