//! What the emulator at hand lacks.

mod devices;

use diag::Diagnostic;
use xml::{OnOff, YesNo};

use super::Faults;
use crate::domain::Domain;
use crate::domain::cpu::CpuMode;
use crate::domain::defaults::{DeviceSupport, Machine};
use crate::domain::devices::Devices;
use crate::domain::devices::controller::{Controller, ControllerType};
use crate::domain::devices::disk::{Disk, DiskBus, DiskDevice, StorageType};
use crate::domain::devices::graphics::GraphicsType;
use crate::domain::devices::input::{InputBus, InputType};
use crate::domain::devices::memory::MemoryModel;
use crate::domain::devices::panic::PanicModel;
use crate::domain::devices::shmem::ShmemModelName;
use crate::domain::devices::sound::{Sound, SoundModel};
use crate::domain::devices::tpm::{Tpm, TpmBackendType, TpmModel};
use crate::domain::devices::video::{Video, VideoType};
use crate::domain::launch_security::LaunchSecurity;

/// Checks a domain against what its emulator offers. [`super::validate`] knows no emulator.
pub fn validate_support(d: &Domain, support: &DeviceSupport) -> Vec<Diagnostic> {
    let mut check = Check { support, out: Faults::of_qemu() };
    if let Some(features) = &d.features {
        if features.ps2.is_some() && Machine::of(d).is_x86() {
            let text = "ps2 feature is not available with this QEMU binary";
            if check.need("i8042", "domain.support-ps2", text) {
                let text = "ps2 feature state cannot be controlled with this QEMU binary";
                check.need("machine-i8042-opt", "domain.support-ps2", text);
            }
        }
        if features.async_teardown.as_ref().is_some_and(|f| f.enabled == Some(YesNo::Yes)) {
            let text = "asynchronous teardown is not available with this QEMU binary";
            check.need("run-with.async-teardown", "domain.support-async-teardown", text);
        }
        if features.smm.as_ref().is_some_and(|smm| smm.tseg.is_some()) {
            let text = "Setting TSEG size is not supported with this QEMU binary";
            check.need("mch.extended-tseg-mbytes", "domain.support-smm", text);
        }
        if features.vmport.is_some() {
            let text = "vmport is not available with this QEMU binary";
            check.need("machine-vmport-opt", "domain.support-vmport", text);
        }
    }
    if let Some(security) = &d.launch_security {
        let (flag, name) = match security {
            LaunchSecurity::Sev(_) => ("sev-guest", "sev"),
            LaunchSecurity::SevSnp(_) => ("sev-snp-guest", "sev-snp"),
            LaunchSecurity::S390Pv(_) => ("s390-pv-guest", "s390-pv"),
            LaunchSecurity::Tdx(_) => ("tdx-guest", "tdx"),
        };
        let text = format!("'{name}' launch security is not supported with this QEMU binary");
        check.need(flag, "domain.support-security", text);
    }
    if d.cpu.as_ref().and_then(|c| c.mode) == Some(CpuMode::Maximum) {
        let text = "maximum CPU is not supported by QEMU binary";
        check.need("cpu-max", "domain.support-cpu", text);
    }
    let mut pools = d.io_thread_ids.iter().flat_map(|ids| &ids.threads);
    let sized = pools.any(|t| t.thread_pool_min.is_some() || t.thread_pool_max.is_some())
        || d.default_io_thread
            .as_ref()
            .is_some_and(|t| t.thread_pool_min.is_some() || t.thread_pool_max.is_some());
    if sized {
        let text = "thread_pool_min and thread_pool_max is not supported by this QEMU binary";
        check.need("iothread.thread-pool-max", "domain.support-iothreads", text);
    }
    if let Some(dev) = &d.devices {
        check.more_devices(dev);
        check.devices(dev, d.max_memory.is_some());
    }
    check.out.list
}

/// The element that a rule is about.
fn element(rule: &'static str) -> &'static str {
    match rule.strip_prefix("domain.support-").unwrap_or(rule) {
        "security" => "launchSecurity",
        "lun" => "disk",
        "tls" => "source tlsHostname=…",
        "sata" | "scsi" | "pci" => "controller",
        "iothreads" => "iothreadids",
        name => name,
    }
}

/// The faults found so far, and what to compare with.
struct Check<'a> {
    support: &'a DeviceSupport,
    out: Faults,
}

impl Check<'_> {
    /// Whether the emulator has one of `flags`. Refuses, in libvirt's words, what needs it if not;
    /// says beside what of the domain needs what, and which emulator lacks it.
    fn need_any(&mut self, flags: &[&str], rule: &'static str, text: impl Into<String>) -> bool {
        if flags.iter().any(|flag| self.support.has(flag)) {
            return true;
        }
        self.out.unsupported(rule, text);
        self.explain(flags, rule);
        false
    }

    fn need(&mut self, flag: &str, rule: &'static str, text: impl Into<String>) -> bool {
        self.need_any(&[flag], rule, text)
    }

    /// Adds to the last fault which element asks for what, and who lacks it.
    fn explain(&mut self, flags: &[&str], rule: &'static str) {
        let emulator = self.support.emulator();
        if !emulator.is_empty() {
            let lacks: Vec<String> = flags.iter().map(|flag| format!("'{flag}'")).collect();
            let (element, lacks) = (element(rule), lacks.join(" and "));
            self.out.hint(format!("<{element}>: {emulator} lacks {lacks}"));
        }
    }

    /// `room`: memory devices may be plugged.
    fn devices(&mut self, dev: &Devices, room: bool) {
        dev.disks.iter().for_each(|disk| self.disk(disk));
        dev.controllers.iter().for_each(|controller| self.controller(controller));
        for input in &dev.inputs {
            if input.kind == InputType::Passthrough && input.bus == Some(InputBus::Virtio) {
                let text = "virtio-input-host is not supported by this QEMU binary";
                self.need("virtio-input-host", "domain.support-input", text);
            }
        }
        for hostdev in &dev.hostdevs {
            let (flag, name) = match hostdev.model.as_deref() {
                Some("vfio-ap") => ("vfio-ap", "AP"),
                Some("vfio-ccw") => ("vfio-ccw", "CCW"),
                _ => continue,
            };
            let text =
                format!("VFIO {name} device assignment is not supported by this version of QEMU");
            self.need(flag, "domain.support-hostdev", text);
        }
        dev.sounds.iter().for_each(|sound| self.sound(sound));
        dev.videos.iter().for_each(|video| self.video(video));
        for graphics in &dev.graphics {
            let flag = match graphics.kind {
                GraphicsType::Vnc => "vnc",
                GraphicsType::Sdl => "sdl",
                GraphicsType::Spice => "spice",
                GraphicsType::EglHeadless => "egl-headless",
                GraphicsType::Dbus => "display-dbus",
                _ => continue,
            };
            let kind = graphics.kind.as_str();
            let text = format!("{kind} graphics are not supported with this QEMU");
            self.need(flag, "domain.support-graphics", text);
            if graphics.power_control.is_some() && graphics.kind == GraphicsType::Vnc {
                let text = "VNC power control is not available";
                self.need("vnc-power-control", "domain.support-graphics", text);
            }
        }
        // Without room for any, that is what is wrong.
        for memory in dev.memories.iter().filter(|_| room) {
            if self.memory(memory.model) && memory.target.dynamic_memslots.is_some() {
                let text = "virtio-mem does not support dynamicMemslots";
                self.need("virtio-mem-pci.dynamic-memslots", "domain.support-memory", text);
            }
        }
        for panic in &dev.panics {
            let (flag, name) = match panic.model {
                Some(PanicModel::Isa) => ("pvpanic", "ISA panic"),
                Some(PanicModel::Pvpanic) => ("pvpanic-pci", "PCI pvpanic"),
                _ => continue,
            };
            let text = format!("the QEMU binary does not support the {name} device");
            self.need(flag, "domain.support-panic", text);
        }
        for shmem in &dev.shmems {
            let flag = match shmem.model.as_ref().map(|model| model.kind) {
                Some(ShmemModelName::IvshmemPlain) => "ivshmem-plain",
                Some(ShmemModelName::IvshmemDoorbell) => "ivshmem-doorbell",
                _ => continue,
            };
            let text = format!("shmem model '{flag}' is not supported by this QEMU binary");
            self.need(flag, "domain.support-shmem", text);
        }
        if !dev.pstores.is_empty() {
            let text = "acpi-erst backend of pstore device is not supported";
            self.need("acpi-erst", "domain.support-pstore", text);
        }
        dev.tpms.iter().for_each(|tpm| self.tpm(tpm));
    }

    fn disk(&mut self, disk: &Disk) {
        let virtio = disk.target.bus == Some(DiskBus::Virtio);
        // What no lun can be is told instead.
        let iscsi = || disk.source.as_ref().is_some_and(|s| s.protocol.as_deref() == Some("iscsi"));
        let lun = match disk.kind {
            StorageType::Block | StorageType::Volume => true,
            StorageType::Network => iscsi(),
            _ => false,
        };
        if disk.device == DiskDevice::Lun && virtio && lun {
            let text = "This QEMU doesn't support SCSI emulation with 'virtio-blk' device";
            self.need("virtio-blk-pci.scsi", "domain.support-lun", text);
        }
        if disk.kind == StorageType::Vhostvdpa {
            let text = "vhostvdpa disk is not supported with this QEMU binary";
            self.need("virtio-blk-vhost-vdpa", "domain.support-disk", text);
        }
        if disk.device == DiskDevice::Lun && disk.target.bus == Some(DiskBus::Scsi) {
            let text = "This QEMU doesn't support scsi-block for lun passthrough";
            self.need("scsi-block", "domain.support-lun", text);
        }
        if disk.kind == StorageType::Vhostuser {
            let text = "vhostuser disk is not supported with this QEMU binary";
            self.need("vhost-user-blk", "domain.support-disk", text);
        }
        if disk.target.rotation_rate.is_some() && !self.support.has("rotation-rate") {
            let (rule, text) =
                ("domain.support-disk", "rotation rate is not supported with this QEMU");
            self.out.internal(rule, text);
            self.explain(&["rotation-rate"], rule);
        }
        let driver = disk.driver.as_ref();
        if driver.is_some_and(|driver| driver.iothreads.is_some()) && virtio {
            let dev = &disk.target.dev;
            let text =
                format!("IOThread mapping for disk '{dev}' is not available with this QEMU binary");
            self.need("virtio-blk.iothread-mapping", "domain.support-disk", text);
        }
        if driver.is_some_and(|driver| driver.queue_size.is_some()) && virtio {
            let text = "queue-size property isn't supported by this QEMU binary";
            self.need("virtio-blk.queue-size", "domain.support-disk", text);
        }
        let Some(source) = &disk.source else { return };
        if source.encryption.as_ref().is_some_and(|e| e.format == "luks-any") {
            let text = "luks-any encryption is not supported by this QEMU binary";
            self.need("rbd-encryption-luks-any", "domain.support-encryption", text);
        }
        if source.tls_hostname.is_some() {
            let text = "'tlsHostname' field is not supported by this QEMU";
            self.need("blockdev.nbd.tls-hostname", "domain.support-tls", text);
        }
    }

    fn controller(&mut self, controller: &Controller) {
        let (flag, what) = match (controller.kind, controller.model.as_deref()) {
            (ControllerType::Sata, _) => {
                let text = "SATA is not supported with this QEMU binary";
                self.need("ich9-ahci", "domain.support-sata", text);
                return;
            }
            (ControllerType::Scsi, Some(model)) if model.starts_with("virtio-") => {
                let text = "This QEMU doesn't support virtio scsi controller";
                self.need("virtio-scsi-pci", "domain.support-scsi", text);
                return;
            }
            (ControllerType::Scsi, Some("lsilogic")) => ("lsi", "LSI 53C895A SCSI"),
            (ControllerType::Scsi, Some("lsisas1068")) => {
                ("mptsas1068", "LSI SAS1068 (MPT Fusion)")
            }
            (ControllerType::Scsi, Some("lsisas1078")) => ("megasas", "LSI SAS1078 (MegaRAID)"),
            (ControllerType::Scsi, Some("vmpvscsi")) => {
                ("pvscsi", "pvscsi (VMware paravirtual SCSI)")
            }
            _ => return,
        };
        let text = format!("This QEMU doesn't support the {what} controller");
        self.need(flag, "domain.support-scsi", text);
    }

    fn sound(&mut self, sound: &Sound) {
        let rule = "domain.support-sound";
        if sound.model == SoundModel::Virtio {
            let text = "virtio-sound controller is not supported in this QEMU binary";
            self.need("virtio-sound", rule, text);
        }
        if sound.model == SoundModel::Ich9 {
            let text = "The ich9-intel-hda audio controller is not supported in this QEMU binary";
            self.need("ich9-intel-hda", rule, text);
        }
        if !matches!(sound.model, SoundModel::Ich6 | SoundModel::Ich9) {
            return;
        }
        for codec in &sound.codecs {
            let flag = match codec.kind.as_str() {
                "duplex" => "hda-duplex",
                "micro" => "hda-micro",
                "output" => "hda-output",
                _ => continue,
            };
            self.need(flag, rule, format!("{flag} not supported in this QEMU binary"));
        }
    }

    fn video(&mut self, video: &Video) {
        let Some(model) = &video.model else { return };
        let kind = model.kind.as_str();
        let rule = "domain.support-video";
        let flags: &[&str] = match model.kind {
            VideoType::Vga => &["VGA"],
            VideoType::Cirrus => &["cirrus-vga"],
            VideoType::Vmvga => &["vmware-svga"],
            VideoType::Qxl => &["qxl"],
            VideoType::Virtio => &["virtio-gpu", "virtio-gpu-ccw", "virtio-vga"],
            VideoType::Bochs => &["bochs-display"],
            VideoType::Ramfb => &["ramfb"],
            _ => return,
        };
        let text = format!("domain configuration does not support video model '{kind}'");
        self.need_any(flags, rule, text);
        if model.blob == Some(OnOff::On) {
            let text = format!("video type '{kind}' does not support blob resources");
            self.need("virtio-gpu.blob", rule, text);
        }
        // With a helper of its own it is the helper that draws.
        let helper = video.driver.as_ref().and_then(|driver| driver.name.as_deref());
        let drawn = model.acceleration.as_ref().and_then(|a| a.accel3d) == Some(YesNo::Yes);
        if drawn && model.kind == VideoType::Virtio && helper != Some("vhostuser") {
            let text = "3d acceleration is not supported by this QEMU binary";
            self.need_any(&["virtio-gpu-gl-pci", "virtio-vga-gl"], rule, text);
        }
    }

    fn memory(&mut self, model: MemoryModel) -> bool {
        let (flags, what): (&[&str], _) = match model {
            MemoryModel::VirtioPmem => (&["virtio-pmem-pci"], "virtio-pmem"),
            MemoryModel::VirtioMem => (&["virtio-mem-pci", "virtio-mem-ccw"], "virtio-mem"),
            MemoryModel::SgxEpc => (&["sgx-epc"], "sgx epc"),
            MemoryModel::Dimm => (&["pc-dimm"], "memory hotplug"),
            MemoryModel::Nvdimm => (&["nvdimm"], "nvdimm"),
        };
        let text = format!("{what} isn't supported by this QEMU binary");
        self.need_any(flags, "domain.support-memory", text)
    }

    fn tpm(&mut self, tpm: &Tpm) {
        let rule = "domain.support-tpm";
        let refused = |what: &str, name: &str, support: &DeviceSupport| {
            let path = support.emulator().split(" (").next().unwrap_or_default();
            let path = if path.is_empty() { String::new() } else { format!(" {path}") };
            format!("The QEMU executable{path} does not support TPM {what} {name}")
        };
        let flag = match tpm.backend.kind {
            TpmBackendType::Passthrough => "tpm-passthrough",
            TpmBackendType::Emulator | TpmBackendType::External => "tpm-emulator",
        };
        let text = refused("backend type", tpm.backend.kind.as_str(), self.support);
        self.need(flag, rule, text);
        let Some(model) = tpm.model else { return };
        let flags: &[&str] = match model {
            TpmModel::TpmTis => &["tpm-tis"],
            TpmModel::TpmCrb => &["tpm-crb"],
            TpmModel::TpmSpapr => &["tpm-spapr"],
            TpmModel::SpaprTpmProxy => &["spapr-tpm-proxy"],
        };
        self.need_any(flags, rule, refused("model", model.as_str(), self.support));
    }
}
