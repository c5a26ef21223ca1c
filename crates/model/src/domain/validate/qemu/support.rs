//! What the emulator at hand lacks.

use diag::Diagnostic;
use xml::OnOff;

use super::Faults;
use crate::domain::Domain;
use crate::domain::defaults::DeviceSupport;
use crate::domain::devices::disk::{DiskBus, DiskDevice};
use crate::domain::devices::graphics::GraphicsType;
use crate::domain::devices::tpm::{TpmBackendType, TpmModel};
use crate::domain::devices::video::VideoType;

/// Checks a domain against what its emulator offers. [`super::validate`] knows no emulator.
pub fn validate_support(d: &Domain, support: &DeviceSupport) -> Vec<Diagnostic> {
    let mut out = Faults::of_qemu();
    let ps2 = d.features.as_ref().and_then(|f| f.ps2.as_ref());
    if ps2.is_some() && !support.has("machine-i8042-opt") {
        out.unsupported(
            "domain.support-ps2",
            "ps2 feature state cannot be controlled with this QEMU binary",
        );
    }
    let Some(dev) = &d.devices else { return out.list };
    for g in &dev.graphics {
        let flag = match g.kind {
            GraphicsType::Vnc => "vnc",
            GraphicsType::Sdl => "sdl",
            GraphicsType::Spice => "spice",
            GraphicsType::EglHeadless => "egl-headless",
            GraphicsType::Dbus => "display-dbus",
            _ => continue,
        };
        if !support.has(flag) {
            out.unsupported(
                "domain.support-graphics",
                format!("{} graphics are not supported with this QEMU", g.kind.as_str()),
            );
        }
    }
    for v in dev.videos.iter().filter_map(|v| v.model.as_ref()) {
        let flags: &[&str] = match v.kind {
            VideoType::Vga => &["VGA"],
            VideoType::Cirrus => &["cirrus-vga"],
            VideoType::Vmvga => &["vmware-svga"],
            VideoType::Qxl => &["qxl"],
            VideoType::Virtio => &["virtio-gpu", "virtio-gpu-ccw", "virtio-vga"],
            VideoType::Bochs => &["bochs-display"],
            VideoType::Ramfb => &["ramfb"],
            _ => continue,
        };
        if !flags.iter().any(|f| support.has(f)) {
            out.unsupported(
                "domain.support-video",
                format!("domain configuration does not support video model '{}'", v.kind.as_str()),
            );
        }
        if v.blob == Some(OnOff::On) && !support.has("virtio-gpu.blob") {
            out.unsupported(
                "domain.support-video",
                format!("video type '{}' does not support blob resources", v.kind.as_str()),
            );
        }
    }
    for x in &dev.disks {
        if x.device == DiskDevice::Lun
            && x.target.bus == Some(DiskBus::Virtio)
            && !support.has("virtio-blk-pci.scsi")
        {
            out.unsupported(
                "domain.support-lun",
                "This QEMU doesn't support SCSI emulation with 'virtio-blk' device",
            );
        }
        let Some(s) = &x.source else { continue };
        if s.encryption.as_ref().is_some_and(|e| e.format == "luks-any")
            && !support.has("rbd-encryption-luks-any")
        {
            out.unsupported(
                "domain.support-encryption",
                "luks-any encryption is not supported by this QEMU binary",
            );
        }
        if s.tls_hostname.is_some() && !support.has("blockdev.nbd.tls-hostname") {
            out.unsupported(
                "domain.support-tls",
                "'tlsHostname' field is not supported by this QEMU",
            );
        }
    }
    for t in &dev.tpms {
        let flag = match t.backend.kind {
            TpmBackendType::Passthrough => "tpm-passthrough",
            TpmBackendType::Emulator | TpmBackendType::External => "tpm-emulator",
        };
        if !support.has(flag) {
            out.unsupported(
                "domain.support-tpm",
                format!(
                    "The QEMU executable does not support TPM backend type {}",
                    t.backend.kind.as_str()
                ),
            );
        }
        let flag = match t.model {
            Some(TpmModel::TpmTis) => "tpm-tis",
            Some(TpmModel::TpmCrb) => "tpm-crb",
            Some(TpmModel::TpmSpapr) => "tpm-spapr",
            _ => continue,
        };
        if !support.has(flag) && !support.has("tpm-tis-device") {
            out.unsupported(
                "domain.support-tpm",
                format!(
                    "The QEMU executable does not support TPM model {}",
                    t.model.map_or("", |m| m.as_str())
                ),
            );
        }
    }
    out.list
}
