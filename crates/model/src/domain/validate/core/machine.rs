//! Devices of which a machine has one, and the smaller ones.

use xml::{OnOff, YesNo};

use super::super::Faults;
use crate::domain::Domain;
use crate::domain::address::is_pci_place;
use crate::domain::defaults::Machine;
use crate::domain::devices::Devices;
use crate::domain::devices::audio::AudioIo;
use crate::domain::devices::controller::ControllerType;
use crate::domain::devices::filesystem::Filesystem;
use crate::domain::devices::input::{InputBus, InputType};
use crate::domain::devices::iommu::{IommuDriver, IommuModel};
use crate::domain::devices::memory::{MemoryDevice, MemoryModel};
use crate::domain::devices::shmem::ShmemModelName;
use crate::domain::devices::tpm::{TpmBackendType, TpmModel, TpmVersion};
use crate::domain::devices::video::VideoType;

pub(super) fn check(d: &Domain, dev: &Devices, out: &mut Faults) {
    panics(dev, out);
    for i in &dev.inputs {
        let ps2 = matches!(i.kind, InputType::Mouse | InputType::Keyboard);
        if i.bus == Some(InputBus::Ps2) && !ps2 {
            out.internal(
                "domain.input-bus",
                format!("ps2 bus does not support {} input device", i.kind.as_str()),
            );
        }
        let pathless = i.source.as_ref().is_some_and(|s| match i.kind {
            InputType::Passthrough => s.evdev.is_none(),
            InputType::Evdev => s.dev.is_none(),
            _ => false,
        });
        if pathless {
            out.xml("domain.input-evdev", "Missing evdev path for input device");
        }
        if i.kind == InputType::Evdev && i.bus.is_some() {
            out.unsupported("domain.input-bus", "input evdev doesn't support bus element");
        }
    }
    for f in dev.redir_filters.iter().flat_map(|f| &f.rules) {
        redir_rule(f, out);
    }
    if dev.redir_filters.len() > 1 {
        out.internal("domain.redirfilter", "only one set of redirection filter rule is supported");
    }
    audios(dev, out);
    videos(dev, out);
    tpms(dev, &Machine::of(d), out);
    for s in &dev.shmems {
        if s.name.contains('/') {
            out.unsupported("domain.shmem-name", "shmem name cannot include '/' character");
        }
        let model = s.model.as_ref().map(|m| m.kind);
        if s.msi.is_some() && s.server.is_none() && model != Some(ShmemModelName::IvshmemDoorbell) {
            out.xml("domain.shmem-msi", "msi option is only supported with a server");
        }
        if let Some(size) =
            s.size.as_ref().filter(|_| model != Some(ShmemModelName::IvshmemDoorbell))
        {
            let bytes = crate::domain::scalar::scale(size.size, size.unit.as_deref(), 1 << 20);
            if bytes.is_none_or(|b| b < 1 << 20 || !b.is_power_of_two()) {
                out.xml(
                    "domain.shmem-size",
                    "shmem size must be a power of 2 and at least 1 MiB (1024 KiB)",
                );
            }
        }
    }
    for v in &dev.vsocks {
        if v.cid.as_ref().and_then(|c| c.address).is_some_and(|a| a < 3) {
            out.unsupported("domain.vsock-cid", "guest CIDs must be >= 3");
        }
    }
    for f in &dev.filesystems {
        modes(f, out);
        let format = f.driver.as_ref().and_then(|d| d.format.as_deref());
        if let Some(bad) = format.filter(|format| !super::disk_source::FORMATS.contains(format)) {
            out.unsupported(
                "domain.filesystem-driver",
                format!("unknown driver format value '{bad}'"),
            );
        }
        if f.target.dir.is_empty() {
            let source = f.source.as_ref().and_then(|s| s.dir.as_deref()).unwrap_or_default();
            out.code(
                "domain.filesystem-target",
                diag::ErrorCode::NO_TARGET,
                format!("missing target information for device {source}"),
            );
        }
        if f.source.is_none() {
            out.code(
                "domain.filesystem-source",
                diag::ErrorCode::NO_SOURCE,
                format!("missing source information for device {}", f.target.dir),
            );
        }
    }
    for x in &dev.iommus {
        if x.model == IommuModel::Intel && x.address.is_some() {
            out.xml("domain.iommu-address", "iommu model 'intel' can't have address");
        }
        let remaps = |v: &IommuDriver| v.eim == Some(OnOff::On) && v.int_remap != Some(OnOff::On);
        if x.model == IommuModel::Intel && x.driver.as_ref().is_some_and(remaps) {
            out.unsupported(
                "domain.iommu-driver",
                "IOMMU eim requires interrupt remapping to be enabled",
            );
        }
        let extra = x.driver.as_ref().is_some_and(|v| {
            v.int_remap.is_some()
                || v.caching_mode.is_some()
                || v.eim.is_some()
                || v.iotlb.is_some()
                || v.aw_bits.is_some()
                || v.dma_translation.is_some()
        });
        if matches!(x.model, IommuModel::Virtio | IommuModel::Smmuv3) && extra {
            let model = x.model.as_str();
            out.xml(
                "domain.iommu-driver",
                format!("iommu model '{model}' doesn't support additional attributes"),
            );
        }
    }
    for m in &dev.memories {
        memory(m, out);
        if m.target.block.is_some_and(|block| !block.0.is_power_of_two()) {
            out.detail("domain.memory-block", "block size must be a power of two");
        }
    }
    let fits = |kib: u64| kib >= 4 && kib.is_power_of_two();
    if dev.pstores.iter().any(|p| !fits(p.size.0)) {
        out.xml("domain.pstore-size", "invalid size of ACPI ERST pstore device");
    }
    for c in &dev.controllers {
        let chassis = c.target.as_ref().and_then(|t| t.chassis_nr);
        if c.kind == ControllerType::Pci
            && let Some(n) = chassis.filter(|n| !(1..=255).contains(n))
        {
            out.unsupported(
                "domain.pci-target",
                format!("PCI controller chassisNr '{n}' out of range - must be 1-255"),
            );
        }
        let bus = c.target.as_ref().and_then(|t| t.bus_nr);
        if let Some(n) = bus.filter(|n| !(1..=254).contains(n)) {
            out.unsupported(
                "domain.pci-target",
                format!("PCI controller busNr '{n}' out of range - must be 1-254"),
            );
        }
    }
}

/// The modes of new files and folders: three octal digits.
fn modes(f: &Filesystem, out: &mut Faults) {
    for (name, mode) in [("fmode", &f.fmode), ("dmode", &f.dmode)] {
        let Some(text) = mode else { continue };
        match u32::from_str_radix(text, 8) {
            Err(_) => out.xml(
                "domain.filesystem-mode",
                format!(
                    "Invalid value for attribute '{name}' in element 'filesystem': '{text}'. Expected non-negative integer value"
                ),
            ),
            Ok(n) if n > 0o777 => {
                out.xml("domain.filesystem-mode", format!("invalid {name}: '0{n:o}'"));
            }
            Ok(_) => {}
        }
    }
}

/// Devices of which libvirt reads only one.
fn counts(dev: &Devices, out: &mut Faults) {
    if dev.memballoons.len() > 1 {
        out.internal("domain.balloon-count", "only a single memory balloon device is supported");
    }
    if dev.nvrams.len() > 1 {
        out.internal("domain.device-count", "only a single nvram device is supported");
    }
    for (name, n) in
        [("IOMMU", dev.iommus.len()), ("vsock", dev.vsocks.len()), ("pstore", dev.pstores.len())]
    {
        if n > 1 {
            out.xml("domain.device-count", format!("only a single {name} device is supported"));
        }
    }
}

fn panics(dev: &Devices, out: &mut Faults) {
    let mut models = Vec::new();
    for p in &dev.panics {
        if !models.contains(&p.model) {
            models.push(p.model);
        } else {
            let model = p.model.unwrap_or_default();
            out.xml(
                "domain.panic-duplicate",
                format!("Multiple panic devices with model '{}'", model.as_str()),
            );
        }
    }
}

fn redir_rule(f: &crate::domain::devices::redirdev::RedirRule, out: &mut Faults) {
    let number = |text: &str| {
        let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |hex| (hex, 16));
        u32::from_str_radix(digits, radix).ok()
    };
    for (name, value, most, what) in [
        ("class", &f.class, 0xff, "Class code"),
        ("vendor", &f.vendor, 0xffff, "vendor"),
        ("product", &f.product, 0xffff, "product"),
    ] {
        let Some(text) = value else { continue };
        match number(text) {
            None => out.xml(
                "domain.redirfilter",
                format!(
                    "Invalid value for attribute '{name}' in element 'usbdev': '{text}'. Expected integer value"
                ),
            ),
            Some(n) if n > most => {
                out.internal("domain.redirfilter", format!("Invalid USB {what} {text}"));
            }
            _ => {}
        }
    }
    if let Some(v) = &f.version {
        let parts = v.split_once('.').map(|(a, b)| (a.parse::<u8>(), b.parse::<u8>()));
        if !matches!(parts, Some((Ok(major), Ok(minor))) if major < 100 && minor < 100) {
            out.xml("domain.redirfilter", format!("Cannot parse USB device version {v}"));
        }
    }
}

/// Backends as they are written: the defaults number those without a number.
pub(super) fn written(dev: &Devices, out: &mut Faults) {
    counts(dev, out);
    for _ in dev.audios.iter().filter(|a| a.id.is_none()) {
        out.xml("domain.audio-id", "Missing required attribute 'id' in element 'audio'");
    }
}

fn audios(dev: &Devices, out: &mut Faults) {
    let mut ids = std::collections::BTreeSet::new();
    for a in &dev.audios {
        if let Some(id) = a.id
            && !ids.insert(id)
        {
            out.xml("domain.audio-id", format!("audio ID {id} is used multiple times"));
        }
        let loose = |io: &AudioIo| {
            io.settings.is_some() && io.fixed_settings.is_none_or(|fixed| fixed == YesNo::No)
        };
        let unmixed = |io: &AudioIo| {
            io.fixed_settings == Some(YesNo::Yes) && io.mixing_engine != Some(YesNo::Yes)
        };
        if a.input.iter().chain(&a.output).any(unmixed) {
            out.unsupported("domain.audio-settings", "fixed audio settings requires mixing engine");
        }
        if a.input.iter().chain(&a.output).any(loose) {
            out.unsupported(
                "domain.audio-settings",
                "audio settings specified without fixed settings flag",
            );
        }
    }
    let sounds = dev.sounds.iter().filter_map(|s| s.audio.as_ref());
    let displays = dev.graphics.iter().filter_map(|g| g.audio.as_ref());
    for r in sounds.chain(displays) {
        if !ids.contains(&r.id) {
            out.xml("domain.audio-id", format!("no audio device with ID {}", r.id));
        }
    }
}

fn videos(dev: &Devices, out: &mut Faults) {
    let models = || dev.videos.iter().filter_map(|v| v.model.as_ref());
    if dev.videos.len() > 1 && models().any(|m| m.kind == VideoType::None) {
        out.unsupported(
            "domain.video-none",
            "a 'none' video type must be the only video device defined for the domain",
        );
    }
    if models().filter(|m| m.primary == Some(YesNo::Yes)).count() > 1 {
        out.unsupported("domain.video-primary", "Only one primary video device is supported");
    }
    for v in &dev.videos {
        let node = v.model.as_ref().and_then(|m| m.acceleration.as_ref());
        let helper = v.driver.as_ref().and_then(|driver| driver.name.as_deref());
        if node.is_some_and(|a| a.rendernode.is_some()) && helper != Some("vhostuser") {
            out.unsupported(
                "domain.video-acceleration",
                "unsupported rendernode accel attribute without 'vhostuser'",
            );
        }
    }
    for m in models() {
        let kind = m.kind.as_str();
        if let Some(r) = &m.resolution {
            if r.x == 0 || r.y == 0 {
                out.unsupported(
                    "domain.video-resolution",
                    "video resolution values must be greater than 0",
                );
            }
            let scales = matches!(
                m.kind,
                VideoType::Vga | VideoType::Qxl | VideoType::Virtio | VideoType::Bochs
            );
            if !scales {
                out.xml("domain.video-resolution", "model resolution is not supported");
            }
        }
        for (there, name) in [
            (m.ram.is_some(), "ram"),
            (m.vram64.is_some(), "vram64"),
            (m.vgamem.is_some(), "vgamem"),
        ] {
            if there && m.kind != VideoType::Qxl {
                out.unsupported(
                    "domain.video-memory",
                    format!("{name} attribute only supported for video type qxl"),
                );
            }
        }
        if m.blob == Some(OnOff::On) && m.kind != VideoType::Virtio {
            out.unsupported(
                "domain.video-blob",
                format!("video type '{kind}' does not support blob resources"),
            );
        }
    }
}

fn tpms(dev: &Devices, m: &Machine, out: &mut Faults) {
    let proxies = dev.tpms.iter().filter(|t| t.model == Some(TpmModel::SpaprTpmProxy)).count();
    if dev.tpms.len() - proxies > 1 {
        out.unsupported("domain.tpm-count", "only a single TPM non-proxy device is supported");
    }
    if proxies > 1 {
        out.unsupported("domain.tpm-count", "only a single TPM Proxy device is supported");
    }
    for t in &dev.tpms {
        let b = &t.backend;
        if b.version == Some(TpmVersion::V12) {
            if let Some(model @ (TpmModel::TpmCrb | TpmModel::TpmSpapr)) = t.model {
                out.unsupported(
                    "domain.tpm-version",
                    format!("TPM 1.2 is not supported for model '{}'", model.as_str()),
                );
            }
            let old = m.is_x86() || m.is_ppc64();
            if !old {
                out.unsupported(
                    "domain.tpm-version",
                    format!("TPM 1.2 is not supported on architecture '{}'", m.arch),
                );
            }
        }
        if b.kind == TpmBackendType::Emulator && b.version != Some(TpmVersion::V20) {
            for (there, name) in [
                (b.active_pcr_banks.is_some(), "active_pcr_banks"),
                (b.profile.is_some(), "profile"),
            ] {
                if there {
                    out.xml("domain.tpm-version", format!("<{name}/> requires TPM version '2.0'"));
                }
            }
        }
        if b.kind == TpmBackendType::Emulator
            && let Some(s) =
                b.source.as_ref().filter(|s| !matches!(s.kind.as_str(), "file" | "dir"))
        {
            out.xml(
                "domain.tpm-source",
                format!("Invalid value for attribute 'type' in element 'source': '{}'.", s.kind),
            );
        }
        if b.kind == TpmBackendType::External {
            match &b.source {
                None => out.xml("domain.tpm-source", "missing external TPM backend source type"),
                Some(s) if s.kind != "unix" => out.xml(
                    "domain.tpm-source",
                    "only source type 'unix' is supported for external TPM device",
                ),
                Some(s) if s.mode.is_some_and(|m| m.as_str() != "connect") => out.xml(
                    "domain.tpm-source",
                    "only 'connect' mode is supported for external TPM device",
                ),
                _ => {}
            }
        }
    }
}

/// The smallest label area of an NVDIMM, KiB.
const LEAST_LABEL: u64 = 128;

fn memory(m: &MemoryDevice, out: &mut Faults) {
    let size = m.target.size.0;
    let path = m.source.as_ref().is_some_and(|s| s.path.is_some());
    let model = m.model.as_str();
    match m.model {
        MemoryModel::Nvdimm | MemoryModel::VirtioPmem if !path => {
            out.detail("domain.memory-path", format!("path is required for model '{model}'"));
        }
        MemoryModel::Nvdimm => {
            if m.discard == Some(YesNo::Yes) {
                out.unsupported("domain.memory-discard", "discard is not supported for nvdimms");
            }
            if let Some(l) = &m.target.label {
                if l.size.0 < LEAST_LABEL {
                    out.xml("domain.memory-label", "nvdimm label must be at least 128KiB");
                }
                if l.size.0 >= size {
                    out.xml("domain.memory-label", "label size must be smaller than NVDIMM size");
                }
            }
        }
        MemoryModel::VirtioPmem => {
            if m.access.is_some_and(|a| a != crate::domain::memory::MemoryAccess::Shared) {
                out.unsupported(
                    "domain.memory-access",
                    "shared access mode required for virtio-pmem device",
                );
            }
            if m.target.node.is_some() {
                out.unsupported("domain.memory-node", "virtio-pmem does not support NUMA nodes");
            }
        }
        MemoryModel::VirtioMem => {
            let block = m.target.block.map_or(0, |b| b.0);
            let requested = m.target.requested.map_or(0, |r| r.0);
            if requested > size {
                out.detail(
                    "domain.memory-requested",
                    format!("requested size must be smaller than or equal to @size ({size}KiB)"),
                );
            }
            // That it is a power of two is asked of every device that has one.
            if m.target.block.is_none() {
                out.detail("domain.memory-block", "block size must be a power of two");
            } else if block.is_power_of_two() {
                if block < 2048 {
                    out.detail(
                        "domain.memory-block",
                        "block size too small, must be at least 2048KiB",
                    );
                } else if !requested.is_multiple_of(block) {
                    out.detail(
                        "domain.memory-block",
                        "requested size must be an integer multiple of block size",
                    );
                }
            }
        }
        MemoryModel::Dimm | MemoryModel::SgxEpc => {}
    }
    if m.address.as_ref().is_some_and(is_pci_place)
        && matches!(m.model, MemoryModel::Dimm | MemoryModel::Nvdimm)
    {
        out.unsupported(
            "domain.memory-address",
            format!("only 'dimm' addresses are supported for the memory device model '{model}'"),
        );
    }
}
