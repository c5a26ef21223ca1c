//! The other devices.

use std::collections::HashSet;

use super::Faults;
use crate::domain::address::Address;
use crate::domain::defaults::Machine;
use crate::domain::devices::Devices;
use crate::domain::devices::chardev::{CharSource, CharType, ProtocolType};
use crate::domain::devices::hostdev::HostdevType;
use crate::domain::devices::input::{InputBus, InputType};
use crate::domain::devices::iommu::IommuModel;
use crate::domain::devices::panic::PanicModel;
use crate::domain::devices::tpm::{TpmModel, TpmVersion};

pub(super) fn check(dev: &Devices, m: &Machine, out: &mut Faults) {
    counts(dev, out);
    for i in &dev.inputs {
        let ps2 = matches!(i.kind, InputType::Mouse | InputType::Keyboard);
        if i.bus == Some(InputBus::Ps2) && !ps2 {
            out.internal(
                "domain.input-bus",
                format!("ps2 bus does not support {} input device", i.kind.as_str()),
            );
        }
    }
    // The first console repeats the first serial port.
    let copy = usize::from(!dev.serials.is_empty()).min(dev.consoles.len());
    let consoles = dev.consoles.get(copy..).unwrap_or_default();
    for c in dev.serials.iter().chain(&dev.parallels).chain(consoles).chain(&dev.channels) {
        source(&c.source, out);
    }
    for c in &dev.channels {
        if c.target.as_ref().and_then(|t| t.kind).is_none() {
            out.xml("domain.channel-target", "target type must be specified for channel device");
        }
    }
    for t in &dev.tpms {
        if t.backend.version == Some(TpmVersion::V12) {
            if t.model == Some(TpmModel::TpmCrb) {
                out.unsupported(
                    "domain.tpm-version",
                    "unsupported interface 'tpm-crb' for TPM 1.2",
                );
            }
            if m.is_arm() {
                out.unsupported(
                    "domain.tpm-version",
                    format!("TPM 1.2 is not supported on architecture '{}'", m.arch),
                );
            }
        }
    }
    for s in &dev.shmems {
        if s.name.contains('/') {
            out.unsupported("domain.shmem-name", "shmem name cannot include '/' character");
        }
        if s.msi.is_some() && s.server.is_none() {
            out.xml("domain.shmem-msi", "msi option is only supported with a server");
        }
    }
    for v in &dev.vsocks {
        if v.cid.as_ref().and_then(|c| c.address).is_some_and(|a| a < 3) {
            out.unsupported("domain.vsock-cid", "guest CIDs must be >= 3");
        }
    }
    iommus(dev, m, out);
    hostdevs(dev, out);
    let mut panics = Vec::new();
    for p in &dev.panics {
        let model = p.model.unwrap_or_default();
        if !panics.contains(&p.model) {
            panics.push(p.model);
        } else {
            out.xml(
                "domain.panic-duplicate",
                format!("Multiple panic devices with model '{}'", model.as_str()),
            );
        }
        if matches!(model, PanicModel::Pseries | PanicModel::Hyperv | PanicModel::S390)
            && p.address.is_some()
        {
            out.unsupported(
                "domain.panic-address",
                format!(
                    "setting the panic device address is not supported for model '{}'",
                    model.as_str()
                ),
            );
        }
    }
    let mut audios = HashSet::new();
    for a in &dev.audios {
        if a.id.is_some() && !audios.insert(a.id) {
            out.xml(
                "domain.audio-id",
                format!("audio ID {} is used multiple times", a.id.unwrap_or(0)),
            );
        }
    }
    for f in &dev.filesystems {
        if f.boot.is_some() && matches!(f.address, Some(Address::Ccw(_))) {
            out.unsupported(
                "domain.filesystem-boot",
                "setting virtiofs boot order is supported only with PCI bus",
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
}

fn counts(dev: &Devices, out: &mut Faults) {
    if dev.memballoons.len() > 1 {
        out.internal("domain.balloon-count", "only a single memory balloon device is supported");
    }
    let tpms = dev.tpms.iter().filter(|t| t.model != Some(TpmModel::SpaprTpmProxy)).count();
    if tpms > 1 {
        out.unsupported("domain.tpm-count", "only a single TPM non-proxy device is supported");
    }
    if dev.tpms.len() - tpms > 1 {
        out.unsupported("domain.tpm-count", "only a single TPM Proxy device is supported");
    }
    for (name, n) in [
        ("nvram", dev.nvrams.len()),
        ("iommu", dev.iommus.len()),
        ("vsock", dev.vsocks.len()),
        ("pstore", dev.pstores.len()),
    ] {
        if n > 1 {
            out.unsupported(
                "domain.device-count",
                format!("only a single {name} device is supported"),
            );
        }
    }
}

fn source(s: &CharSource, out: &mut Faults) {
    let first = s.sources.first();
    match s.kind {
        CharType::Dev | CharType::File | CharType::Pipe
            if first.and_then(|e| e.path.as_ref()).is_none() =>
        {
            out.internal("domain.char-path", "Missing source path attribute for char device");
        }
        CharType::Tcp => {
            if first.and_then(|e| e.host.as_ref()).is_none() {
                out.internal("domain.char-host", "Missing source host attribute for char device");
            }
            if first.and_then(|e| e.service.as_ref()).is_none() {
                out.internal(
                    "domain.char-service",
                    "Missing source service attribute for char device",
                );
            }
            if s.protocol
                .as_ref()
                .is_some_and(|p| matches!(p.kind, ProtocolType::Telnets | ProtocolType::Tls))
            {
                let name = s.protocol.as_ref().map_or("tls", |p| p.kind.as_str());
                out.unsupported(
                    "domain.char-protocol",
                    format!("tcp chardev protocol '{name}' not supported"),
                );
            }
        }
        _ => {}
    }
}

fn iommus(dev: &Devices, m: &Machine, out: &mut Faults) {
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
                let extra = x.driver.as_ref().is_some_and(|v| {
                    v.int_remap.is_some()
                        || v.caching_mode.is_some()
                        || v.eim.is_some()
                        || v.iotlb.is_some()
                        || v.aw_bits.is_some()
                        || v.dma_translation.is_some()
                });
                if extra {
                    out.xml(
                        "domain.iommu-driver",
                        "iommu model 'virtio' doesn't support additional attributes",
                    );
                }
                if !matches!(x.address, Some(Address::Pci(_)) | None) {
                    out.unsupported(
                        "domain.iommu-address",
                        "IOMMU device: 'virtio' needs a PCI address",
                    );
                }
            }
            _ => {}
        }
    }
}

fn hostdevs(dev: &Devices, out: &mut Faults) {
    let mut ramfb = 0;
    for (i, h) in dev.hostdevs.iter().enumerate() {
        if h.source.is_none() {
            out.xml("domain.hostdev-source", "Missing <source> element in hostdev device");
        }
        let same = |x: &crate::domain::devices::hostdev::Hostdev| {
            x.kind == h.kind && x.source.is_some() && x.source == h.source
        };
        if dev.hostdevs.iter().take(i).any(same) {
            out.xml(
                "domain.hostdev-duplicate",
                "Hostdev already exists in the domain configuration",
            );
        }
        if h.kind != Some(HostdevType::Scsi) {
            if h.rawio.is_some() {
                out.xml("domain.hostdev-rawio", "rawio is only supported for scsi host device");
            }
            if h.sgio.is_some() {
                out.xml("domain.hostdev-sgio", "sgio is only supported for scsi host device");
            }
        }
        if h.kind == Some(HostdevType::ScsiHost) && h.boot.is_some() {
            out.unsupported(
                "domain.hostdev-boot",
                "booting from assigned devices is not supported by vhost SCSI devices",
            );
        }
        if h.kind == Some(HostdevType::Mdev) {
            let model = h.model.as_deref().unwrap_or_default();
            let kind = match (&h.address, model) {
                (Some(Address::Drive(_)), _) => Some("drive"),
                (Some(Address::Pci(_)), "vfio-ccw" | "vfio-ap") => Some("pci"),
                (Some(Address::Ccw(_)), "vfio-pci" | "vfio-ap") => Some("ccw"),
                _ => None,
            };
            if let Some(kind) = kind {
                out.xml(
                    "domain.hostdev-address",
                    format!(
                        "Unsupported address type '{kind}' with mediated device model '{model}'"
                    ),
                );
            }
            if h.source
                .as_ref()
                .is_some_and(|s| s.address.as_ref().is_none_or(|a| a.uuid.is_none()))
            {
                out.unsupported(
                    "domain.hostdev-mdev",
                    "Missing 'uuid' attribute for element <address>",
                );
            }
            if h.display == Some(xml::OnOff::On) && dev.graphics.is_empty() {
                out.unsupported(
                    "domain.hostdev-display",
                    "graphics device is needed for attribute value 'display=on' in <hostdev>",
                );
            }
            ramfb += usize::from(h.ramfb == Some(xml::OnOff::On));
        }
    }
    if ramfb > 1 {
        out.unsupported("domain.hostdev-ramfb", "Only one vgpu device can have 'ramfb' enabled");
    }
}
