//! Devices that an emulator has or has not.

use super::Check;
use crate::domain::devices::Devices;
use crate::domain::devices::chardev::Serial;
use crate::domain::devices::controller::{Controller, ControllerType};
use crate::domain::devices::crypto::CryptoBackendModel;
use crate::domain::devices::filesystem::{Filesystem, MultiDevs};
use crate::domain::devices::hostdev::HostdevType;
use crate::domain::devices::input::{Input, InputBus, InputType};
use crate::domain::devices::iommu::{Iommu, IommuModel};
use crate::domain::devices::memballoon::MemBalloon;
use crate::domain::devices::rng::{Rng, RngBackendModel};
use crate::domain::devices::smartcard::{Smartcard, SmartcardMode};

/// Bridges that an emulator may lack: QEMU's name, and the feature.
const BRIDGES: &[(&str, &str)] = &[
    ("pci-bridge", "pci-bridge"),
    ("i82801b11-bridge", "dmi-to-pci-bridge"),
    ("pcie-pci-bridge", "pcie-pci-bridge"),
    ("pcie-root-port", "pcie-root-port"),
    ("ioh3420", "ioh3420"),
    ("x3130-upstream", "x3130-upstream"),
    ("xio3130-downstream", "xio3130-downstream"),
    ("pxb", "pxb"),
    ("pxb-pcie", "pxb-pcie"),
    ("spapr-pci-host-bridge", "spapr-pci-host-bridge"),
];

/// Serial ports that an emulator may lack; the feature is called as the device.
const PORTS: &[&str] = &["isa-serial", "pci-serial", "usb-serial"];

impl Check<'_> {
    /// Devices that are one of a kind.
    pub(super) fn more_devices(&mut self, dev: &Devices) {
        dev.controllers.iter().for_each(|x| self.bridge(x));
        dev.filesystems.iter().for_each(|x| self.filesystem(x));
        for nic in &dev.interfaces {
            let driver = nic.driver.as_ref();
            if driver.is_some_and(|driver| driver.rss.or(driver.rss_hash_report).is_some()) {
                let text = "virtio rss is not supported with this QEMU binary";
                self.need("virtio-net.rss", "domain.support-interface", text);
            }
        }
        dev.smartcards.iter().for_each(|x| self.smartcard(x));
        dev.serials.iter().for_each(|x| self.serial(x));
        dev.inputs.iter().for_each(|x| self.input(x));
        if !dev.redirdevs.is_empty() {
            let text = "USB redirection is not supported by this version of QEMU";
            self.need("usb-redir", "domain.support-redirdev", text);
        }
        if dev.hostdevs.iter().any(|x| x.kind == Some(HostdevType::ScsiHost)) {
            let text = "This QEMU doesn't support vhost-scsi devices";
            self.need("vhost-scsi", "domain.support-hostdev", text);
        }
        dev.memballoons.iter().for_each(|x| self.balloon(x));
        dev.rngs.iter().for_each(|x| self.rng(x));
        dev.iommus.iter().for_each(|x| self.iommu(x));
        if !dev.vsocks.is_empty() {
            let text = "vsock device is not supported with this QEMU binary";
            self.need("vhost-vsock", "domain.support-vsock", text);
        }
        for crypto in &dev.cryptos {
            let rule = "domain.support-crypto";
            let there = self.need("virtio-crypto", rule, "crypto model virtio is not supported");
            if there && crypto.backend.model == CryptoBackendModel::Lkcf {
                let text = "crypto backend lkcf is not supported";
                self.need("cryptodev-backend-lkcf", rule, text);
            }
        }
    }

    fn bridge(&mut self, x: &Controller) {
        if x.kind != ControllerType::Pci {
            return;
        }
        let Some(model) = &x.pci_model else { return };
        if let Some((name, flag)) = BRIDGES.iter().find(|(name, _)| *name == model.name) {
            let text = format!("The '{name}' device is not supported by this QEMU binary");
            self.need(flag, "domain.support-pci", text);
        }
    }

    fn filesystem(&mut self, x: &Filesystem) {
        let driver = x.driver.as_ref().and_then(|driver| driver.kind.as_deref());
        if x.multi_devs.is_some_and(|m| m != MultiDevs::Default) {
            let text = "multidevs is not supported with this QEMU binary";
            self.need("fsdev.multidevs", "domain.support-filesystem", text);
        }
        if driver == Some("virtiofs") {
            let text = "virtiofs is not supported with this QEMU binary";
            self.need("vhost-user-fs", "domain.support-filesystem", text);
        }
    }

    fn smartcard(&mut self, x: &Smartcard) {
        let (flag, mode) = match x.mode {
            SmartcardMode::Passthrough => ("ccid-passthru", "passthrough"),
            _ => ("ccid-emulated", "host"),
        };
        let text = format!("this QEMU binary lacks smartcard {mode} mode support");
        self.need(flag, "domain.support-smartcard", text);
    }

    fn serial(&mut self, x: &Serial) {
        let model = x.target.as_ref().and_then(|target| target.model.as_ref());
        let Some(name) = model.map(|model| model.name.as_str()) else { return };
        if PORTS.contains(&name) {
            let text = format!("'{name}' is not supported in this QEMU binary");
            self.need(name, "domain.support-serial", text);
        }
    }

    fn input(&mut self, x: &Input) {
        if x.bus != Some(InputBus::Virtio) {
            return;
        }
        let flags = match x.kind {
            InputType::Mouse => ["virtio-mouse", "virtio-mouse-ccw"],
            InputType::Tablet => ["virtio-tablet", "virtio-tablet-ccw"],
            InputType::Keyboard => ["virtio-keyboard", "virtio-keyboard-ccw"],
            InputType::Passthrough | InputType::Evdev => return,
        };
        let [name, _] = flags;
        let text = format!("{name} is not supported by this QEMU binary");
        self.need_any(&flags, "domain.support-input", text);
    }

    fn balloon(&mut self, x: &MemBalloon) {
        let rule = "domain.support-memballoon";
        if x.auto_deflate.is_some() {
            let text = "deflate-on-oom is not supported by this QEMU binary";
            self.need("virtio-balloon-pci.deflate-on-oom", rule, text);
        }
        if x.free_page_reporting.is_some() {
            let text = "freePageReporting is not supported by this QEMU binary";
            self.need("virtio-balloon.free-page-reporting", rule, text);
        }
    }

    fn rng(&mut self, x: &Rng) {
        let flag = match x.backend.model {
            RngBackendModel::Random => "rng-random",
            RngBackendModel::Egd => "rng-egd",
            RngBackendModel::Builtin => "rng-builtin",
        };
        let text = format!("this qemu doesn't support the {flag} backend");
        self.need(flag, "domain.support-rng", text);
    }

    fn iommu(&mut self, x: &Iommu) {
        let flags: &[&str] = match x.model {
            IommuModel::Intel => &["intel-iommu"],
            // Before it could be told so, QEMU let devices pass by the IOMMU while it boots.
            IommuModel::Virtio => &["virtio-iommu-pci", "virtio-iommu.boot-bypass"],
            IommuModel::Smmuv3 => return,
        };
        let name = x.model.as_str();
        let text = format!("IOMMU device: '{name}' is not supported with this QEMU binary");
        for flag in flags {
            if !self.need(flag, "domain.support-iommu", text.clone()) {
                break;
            }
        }
    }
}
