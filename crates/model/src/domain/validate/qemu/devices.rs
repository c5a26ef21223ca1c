//! The other devices.

use xml::{OnOff, YesNo};

use super::super::{Faults, core};
use super::shares_memory;
use crate::domain::Domain;
use crate::domain::address::{self, Address};
use crate::domain::defaults::Machine;
use crate::domain::devices::Devices;
use crate::domain::devices::audio::AudioType;
use crate::domain::devices::filesystem::{AccessMode, Filesystem, FilesystemType};
use crate::domain::devices::graphics::GraphicsType;
use crate::domain::devices::input::{InputBus, InputType};
use crate::domain::devices::iommu::IommuModel;
use crate::domain::devices::memballoon::BalloonModel;
use crate::domain::devices::panic::{Panic, PanicModel};
use crate::domain::devices::shmem::ShmemModelName;
use crate::domain::devices::sound::SoundModel;
use crate::domain::devices::tpm::{TpmBackendType, TpmModel};
use crate::domain::devices::video::VideoType;
use crate::domain::devices::watchdog::WatchdogModel;

pub(super) fn check(d: &Domain, dev: &Devices, m: &Machine, out: &mut Faults) {
    inputs(dev, out);
    for s in &dev.sounds {
        if s.model == SoundModel::Ich7 {
            out.internal(
                "domain.sound-model",
                "Cannot automatically add a new PCI bus for a device with connect flags 00",
            );
        }
        for c in s.codecs.iter().filter(|c| !CODECS.contains(&c.kind.as_str())) {
            out.unsupported("domain.sound-codec", format!("unknown codec type '{}'", c.kind));
        }
    }
    if dev.memballoons.iter().any(|balloon| balloon.model == BalloonModel::Xen) {
        out.internal(
            "domain.balloon-model",
            "Cannot automatically add a new PCI bus for a device with connect flags 00",
        );
    }
    graphics(dev, out);
    videos(d, dev, out);
    watchdogs(dev, m, out);
    for p in &dev.panics {
        panics(p, m, out);
    }
    shmems(dev, out);
    if !dev.nvrams.is_empty() && !m.is_pseries() {
        out.unsupported("domain.nvram", "nvram device is only supported for PPC64");
    }
    for t in &dev.tpms {
        let proxy = t.model == Some(TpmModel::SpaprTpmProxy);
        if proxy && t.backend.kind != TpmBackendType::Passthrough {
            out.unsupported(
                "domain.tpm-proxy",
                "TPM Proxy model spapr-tpm-proxy requires 'Passthrough' backend",
            );
        }
    }
    iommus(d, dev, m, out);
    twins(d, out);
    let shared = shares_memory(d);
    for f in &dev.filesystems {
        filesystem(shared, f, m, out);
    }
    addresses(d, m, out);
}

/// Codecs of an HDA sound card.
const CODECS: [&str; 3] = ["duplex", "micro", "output"];

fn inputs(dev: &Devices, out: &mut Faults) {
    for i in &dev.inputs {
        if i.bus == Some(InputBus::Xen) {
            out.internal("domain.input-bus", "unsupported input bus xen");
        }
        let virtio = i.bus == Some(InputBus::Virtio);
        if i.kind == InputType::Passthrough && !virtio {
            out.unsupported(
                "domain.input-bus",
                "only bus 'virtio' is supported for 'passthrough' input devices",
            );
        }
        if let Some(model) = i.model {
            let name = model.as_str();
            if !virtio {
                out.unsupported(
                    "domain.input-model",
                    format!("only bus 'virtio' is supported for input model '{name}'"),
                );
            } else if name != "virtio" && i.kind != InputType::Passthrough {
                out.unsupported(
                    "domain.input-model",
                    format!(
                        "virtio (non-)transitional models are not supported for input type={}",
                        i.kind.as_str()
                    ),
                );
            }
        }
        if i.bus == Some(InputBus::Usb)
            && i.address.as_ref().is_some_and(|a| address::kind(a) != "usb")
        {
            out.xml("domain.usb-address", "Invalid address for a USB device");
        }
    }
}

fn graphics(dev: &Devices, out: &mut Faults) {
    for g in &dev.graphics {
        match g.kind {
            GraphicsType::Desktop => out.unsupported(
                "domain.graphics-type",
                "desktop graphics are not supported with this QEMU",
            ),
            GraphicsType::Vnc => {
                if let Some(n) = g.passwd.as_ref().map(String::len).filter(|n| *n > 8) {
                    out.unsupported(
                        "domain.graphics-password",
                        format!("VNC password is {n} characters long, only 8 permitted"),
                    );
                }
            }
            GraphicsType::Dbus => {
                let wanted = g.audio.as_ref().map(|audio| Some(audio.id));
                let found = dev.audios.iter().find(|a| wanted == Some(a.id));
                if found.is_some_and(|a| a.kind != AudioType::Dbus) {
                    out.unsupported(
                        "domain.graphics-audio",
                        "The associated audio is not of 'dbus' kind.",
                    );
                }
            }
            _ => {}
        }
    }
    let spice = dev.graphics.iter().any(|g| g.kind == GraphicsType::Spice);
    if dev.audios.iter().any(|a| a.kind == AudioType::Spice) && !spice {
        out.unsupported("domain.audio-type", "Spice audio is not supported without spice graphics");
    }
}

fn videos(d: &Domain, dev: &Devices, out: &mut Faults) {
    for (i, v) in dev.videos.iter().enumerate() {
        let Some(m) = &v.model else { continue };
        let kind = m.kind.as_str();
        if matches!(
            m.kind,
            VideoType::Xen | VideoType::Vbox | VideoType::Parallels | VideoType::Gop
        ) {
            out.unsupported(
                "domain.video-type",
                format!("domain configuration does not support video model '{kind}'"),
            );
        }
        let first_only = matches!(
            m.kind,
            VideoType::Vga
                | VideoType::Cirrus
                | VideoType::Vmvga
                | VideoType::Bochs
                | VideoType::Ramfb
        );
        if i > 0 && first_only {
            out.unsupported(
                "domain.video-secondary",
                format!("video type '{kind}' is only valid as primary video device"),
            );
        }
        if m.heads.is_some_and(|n| n != 1) && !matches!(m.kind, VideoType::Qxl | VideoType::Virtio)
        {
            out.unsupported(
                "domain.video-heads",
                format!("video type '{kind}' doesn't support multiple 'heads'"),
            );
        }
        if m.kind == VideoType::Vga && m.vram.is_some_and(|n| n < 1024) {
            out.unsupported(
                "domain.video-vram",
                "value for 'vram' must be at least 1 MiB (1024 KiB)",
            );
        }
        if m.kind == VideoType::Qxl && m.vgamem.is_some_and(|n| n < 1024) {
            out.unsupported(
                "domain.video-vram",
                "value for 'vgamem' must be at least 1 MiB (1024 KiB)",
            );
        }
        if m.acceleration.as_ref().is_some_and(|a| a.accel2d == Some(YesNo::Yes)) {
            out.unsupported(
                "domain.video-acceleration",
                "qemu does not support the accel2d setting",
            );
        }
        if m.acceleration.as_ref().is_some_and(|a| a.accel3d == Some(YesNo::Yes))
            && m.kind != VideoType::Virtio
        {
            out.unsupported(
                "domain.video-acceleration",
                "3d acceleration is supported only with 'virtio' video device",
            );
        }
        let memfd = d
            .memory_backing
            .as_ref()
            .and_then(|b| b.source.as_ref())
            .is_some_and(|s| s.kind == crate::domain::memory::MemorySourceType::Memfd);
        if m.kind == VideoType::Virtio && m.blob == Some(OnOff::On) && !memfd {
            out.unsupported(
                "domain.video-blob",
                "'blob' support for virtio-gpu devices requires a memfd memory backend",
            );
        }
        let Some(driver) = &v.driver else { continue };
        let vhost = driver.name.as_deref() == Some("vhostuser");
        if vhost && m.kind != VideoType::Virtio {
            out.unsupported(
                "domain.video-driver",
                "'vhostuser' driver is only supported with 'virtio' device",
            );
        }
        if m.kind != VideoType::Virtio {
            super::super::virtio_options(&driver.virtio, out);
        }
    }
}

fn watchdogs(dev: &Devices, m: &Machine, out: &mut Faults) {
    for model in [WatchdogModel::Itco, WatchdogModel::Ib700, WatchdogModel::Diag288] {
        if dev.watchdogs.iter().filter(|w| w.model == model).count() > 1 {
            let model = model.as_str();
            out.unsupported(
                "domain.watchdog-count",
                format!("domain can only have one watchdog with model '{model}'"),
            );
        }
    }
    let mut actions: Vec<_> = Vec::new();
    for w in &dev.watchdogs {
        let found = w.address.as_ref().map(address::kind);
        match w.model {
            WatchdogModel::Diag288 if !m.is_s390() => out.unsupported(
                "domain.watchdog-machine",
                "diag288 model of watchdog is allowed for s390 and s390x only",
            ),
            WatchdogModel::Ib700 if !m.takes_isa_devices() => out.unsupported(
                "domain.watchdog-machine",
                "ib700 model of watchdog cannot be used with this machine type",
            ),
            WatchdogModel::Itco if !m.is_q35() => out.unsupported(
                "domain.watchdog-machine",
                "itco model of watchdog is only part of q35 machine",
            ),
            WatchdogModel::I6300esb if found.is_some_and(|kind| kind != "pci") => out.unsupported(
                "domain.watchdog-address",
                "i6300esb model of watchdog can go only on PCI bus",
            ),
            WatchdogModel::Ib700 if found.is_some_and(|kind| kind != "isa") => out.unsupported(
                "domain.watchdog-address",
                "ib700 model of watchdog does not support configuring the address",
            ),
            WatchdogModel::Diag288 if found.is_some() => out.unsupported(
                "domain.watchdog-address",
                "diag288 model of watchdog is virtual and cannot go on any bus.",
            ),
            _ => {}
        }
        if !actions.contains(&w.action) {
            actions.push(w.action);
        }
    }
    if actions.len() > 1 {
        out.unsupported(
            "domain.watchdog-action",
            "watchdogs with different actions are not supported with this QEMU binary",
        );
    }
}

fn panics(p: &Panic, m: &Machine, out: &mut Faults) {
    let Some(model) = p.model else {
        let text = "no panic model provided, and no default for the architecture and machine type";
        out.unsupported("domain.panic-model", text);
        return;
    };
    let found = p.address.as_ref().map(address::kind);
    let fixed = matches!(model, PanicModel::Pseries | PanicModel::Hyperv | PanicModel::S390);
    match model {
        PanicModel::Pseries if !m.is_pseries() => out.unsupported(
            "domain.panic-machine",
            "only pSeries guests support panic device of model 'pseries'",
        ),
        PanicModel::S390 if !m.is_s390() => out.unsupported(
            "domain.panic-machine",
            "only S390 guests support panic device of model 's390'",
        ),
        PanicModel::Hyperv if !m.is_x86() => out.unsupported(
            "domain.panic-machine",
            "only i686 and x86_64 guests support panic device of model 'hyperv'",
        ),
        PanicModel::Isa if found.is_some_and(|kind| kind != "isa") => {
            out.unsupported("domain.panic-address", "panic is supported only with ISA address type")
        }
        PanicModel::Pvpanic if found.is_some_and(|kind| kind != "pci") => out
            .unsupported("domain.panic-address", "pvpanic is supported only with PCI address type"),
        _ => {}
    }
    if fixed && p.address.is_some() {
        out.unsupported(
            "domain.panic-address",
            format!(
                "setting the panic device address is not supported for model '{}'",
                model.as_str()
            ),
        );
    }
}

fn shmems(dev: &Devices, out: &mut Faults) {
    for s in &dev.shmems {
        match s.model.as_ref().map(|m| m.kind) {
            None | Some(ShmemModelName::Ivshmem) => {
                out.unsupported("domain.shmem-model", "ivshmem device is no longer supported");
            }
            Some(ShmemModelName::IvshmemPlain) if s.server.is_some() => out.unsupported(
                "domain.shmem-server",
                "shmem model 'ivshmem-plain' is supported only with server option disabled",
            ),
            Some(ShmemModelName::IvshmemDoorbell) => {
                if s.server.is_none() {
                    out.unsupported(
                        "domain.shmem-server",
                        "shmem model 'ivshmem-doorbell' is supported only with server option enabled",
                    );
                }
                if s.size.is_some() {
                    out.unsupported(
                        "domain.shmem-size",
                        "shmem model 'ivshmem-doorbell' does not support size setting",
                    );
                }
            }
            _ => {}
        }
    }
}

fn iommus(d: &Domain, dev: &Devices, m: &Machine, out: &mut Faults) {
    for x in &dev.iommus {
        match x.model {
            IommuModel::Intel if !m.is_q35() => out.unsupported(
                "domain.iommu-machine",
                "IOMMU device: 'intel' is only supported with Q35 machines",
            ),
            IommuModel::Smmuv3 if !m.is_arm_virt() => out.unsupported(
                "domain.iommu-machine",
                "IOMMU device: 'smmuv3' is only supported with ARM Virt machines",
            ),
            IommuModel::Virtio => {
                if !m.is_q35() && !m.is_arm_virt() {
                    out.unsupported(
                        "domain.iommu-machine",
                        "IOMMU device: 'virtio' is only supported with Q35 and ARM Virt machines",
                    );
                }
                if !matches!(x.address, Some(Address::Pci(_)) | None) {
                    out.unsupported(
                        "domain.iommu-address",
                        "IOMMU device: 'virtio' needs a PCI address",
                    );
                }
                if d.features.as_ref().is_none_or(|f| !f.acpi) {
                    out.unsupported("domain.iommu-acpi", "IOMMU device: 'virtio' requires ACPI");
                }
            }
            _ => {}
        }
    }
}

/// A tag of virtiofs is the guest's only name for a folder.
fn twins(d: &Domain, out: &mut Faults) {
    let all = d.devices.as_ref().map_or(&[][..], |devices| &devices.filesystems);
    let by_helper = |f: &&Filesystem| {
        f.driver.as_ref().is_some_and(|driver| driver.kind.as_deref() == Some("virtiofs"))
    };
    for f in all.iter().filter(by_helper) {
        let tag = &f.target.dir;
        if all.iter().filter(|other| other.target.dir == *tag).count() > 1 {
            out.unsupported(
                "domain.filesystem-twice",
                format!("filesystem target '{tag}' specified twice"),
            );
            return;
        }
    }
}

fn filesystem(shared: bool, f: &Filesystem, m: &Machine, out: &mut Faults) {
    let driver = f.driver.as_ref().and_then(|d| d.kind.as_deref());
    if f.kind != FilesystemType::Mount {
        out.unsupported("domain.filesystem-type", "only supports mount filesystem type");
    }
    if f.space_hard_limit.is_some() || f.space_soft_limit.is_some() {
        out.unsupported(
            "domain.filesystem-limit",
            "filesystem usage limits are not supported with QEMU",
        );
    }
    if matches!(driver, Some("loop" | "nbd" | "ploop")) {
        // Filesystems of containers: on PCI no place is found for one.
        if m.is_s390() {
            out.unsupported("domain.filesystem-driver", "Filesystem driver type not supported");
        } else {
            out.internal(
                "domain.filesystem-driver",
                "Cannot automatically add a new PCI bus for a device with connect flags 00",
            );
        }
    }
    if let Some(kind @ ("mtp" | "handle")) = driver
        && f.access_mode.is_some_and(|a| a != AccessMode::Passthrough)
    {
        out.unsupported(
            "domain.filesystem-access",
            format!("{kind} only supports passthrough accessmode"),
        );
    }
    let modes = f.fmode.is_some() || f.dmode.is_some();
    let mapped = f.access_mode == Some(AccessMode::Mapped);
    if modes && !mapped {
        out.unsupported(
            "domain.filesystem-mode",
            "fmode and dmode must be used with accessmode=mapped",
        );
    }
    if driver != Some("virtiofs") {
        if f.boot.is_some() {
            out.unsupported("domain.filesystem-boot", "boot order is only supported for virtiofs");
        }
        return;
    }
    if f.boot.is_some() && matches!(f.address, Some(Address::Ccw(_))) {
        out.unsupported(
            "domain.filesystem-boot",
            "setting virtiofs boot order is supported only with PCI bus",
        );
    }
    let socket = f.source.as_ref().is_some_and(|source| source.socket.is_some());
    if !socket && f.access_mode.is_some_and(|a| a != AccessMode::Passthrough) {
        out.unsupported(
            "domain.filesystem-access",
            "virtiofs only supports passthrough accessmode",
        );
    }
    if f.driver.as_ref().is_some_and(|d| d.wrpolicy.is_some()) {
        out.unsupported("domain.filesystem-driver", "virtiofs does not support wrpolicy");
    }
    if modes && mapped {
        out.unsupported("domain.filesystem-mode", "virtiofs does not support fmode and dmode");
    }
    for (there, name) in [
        (f.model.is_some(), "model"),
        (f.driver.as_ref().is_some_and(|d| d.format.is_some()), "format"),
        (f.multi_devs.is_some(), "multidevs"),
    ] {
        if there {
            let text = format!("virtiofs does not support {name}");
            out.unsupported("domain.filesystem-driver", text);
        }
    }
    if !shared {
        out.unsupported("domain.shared-memory", "'virtiofs' requires shared memory");
    }
}

/// Address kinds that only some machines or devices have.
fn addresses(d: &Domain, m: &Machine, out: &mut Faults) {
    core::unassigned(d, true, out);
    crate::domain::walk::look_at_each(d, &mut |i| match i.address {
        Some(Address::Ccw(_)) if !m.is_ccw() => out.unsupported(
            "domain.ccw-address",
            format!("CCW addresses are not supported by machine type '{}'", m.name),
        ),
        Some(Address::VirtioS390(_)) => {
            out.xml("domain.address", "virtio-s390 bus doesn't have an address");
        }
        Some(Address::Pci(a)) if a.zpci.is_some() && !m.is_s390() => {
            out.unsupported("domain.zpci", "This QEMU binary doesn't support zPCI");
        }
        _ => {}
    });
}
