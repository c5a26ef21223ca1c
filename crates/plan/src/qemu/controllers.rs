//! Controllers: the buses of the guest.

use super::build::{Build, Props};
use super::disk::device::iothread_mapping;
use super::words::{Address, OnOff};
use model::domain::devices::controller::{Controller, ControllerType};
use model::domain::devices::disk::DiskModel;

/// In which order kinds of controllers appear.
const ORDER: [ControllerType; 7] = [
    ControllerType::Pci,
    ControllerType::Usb,
    ControllerType::Scsi,
    ControllerType::Ide,
    ControllerType::Sata,
    ControllerType::VirtioSerial,
    ControllerType::Isa,
];

impl Build<'_> {
    /// Global properties of controllers that the board brings along.
    pub(super) fn global_controllers(&mut self) {
        for controller in self.each("devices/controller", &self.dev.controllers) {
            if controller.kind != ControllerType::Pci {
                continue;
            }
            if let Some(hole) = &controller.pcihole64 {
                let device = match controller.model.as_deref() {
                    Some("pci-root") => "i440FX-pcihost",
                    Some("pcie-root") => "q35-pcihost",
                    _ => continue,
                };
                self.opt("-global", &format!("{device}.pci-hole64-size={}K", hole.size));
            }
        }
        let hotplug = self.dev.controllers.iter().find_map(|controller| {
            let root = controller.model.as_deref() == Some("pci-root");
            controller.target.as_ref().filter(|_| root).and_then(|target| target.hotplug)
        });
        if let Some(hotplug) = hotplug.filter(|_| self.i440fx()) {
            self.need("piix4.acpi-root-pci-hotplug", "<target hotplug=…/> of the PCI root");
            let word = if hotplug == OnOff::On { "on" } else { "off" };
            self.opt("-global", &format!("PIIX4_PM.acpi-root-pci-hotplug={word}"));
        }
    }

    /// Readers of smart cards: USB devices, which may hang behind hubs.
    pub(super) fn readers(&mut self) {
        for controller in self.each("devices/controller", &self.dev.controllers) {
            if controller.kind == ControllerType::Ccid {
                let id = self.alias(&controller.alias, "<controller type='ccid'>");
                let place = self.place(&controller.address, "<controller type='ccid'>");
                self.device(Props::device("usb-ccid").set("id", id).extend(place));
            }
        }
    }

    /// One controller that comes to a running guest.
    pub(super) fn plugged_controller(&mut self, controller: &Controller) {
        match controller.kind {
            ControllerType::Scsi => self.scsi_controller(controller),
            ControllerType::VirtioSerial => self.serial_controller(controller),
            other => {
                let text = format!("'{}' controller cannot be hot plugged.", other.as_str());
                self.fail_with("qemu.hotplug", diag::ErrorCode::OPERATION_UNSUPPORTED, text);
            }
        }
    }

    /// All controllers that are devices of their own.
    pub(super) fn controllers(&mut self) {
        let controllers = &self.dev.controllers;
        for kind in ORDER {
            for controller in
                self.each("devices/controller", controllers).filter(|c| c.kind == kind)
            {
                if kind == ControllerType::Ide && self.i440fx() {
                    if controller.index.unwrap_or(0) > 0 {
                        let message =
                            "Only a single IDE controller is supported for this machine type";
                        self.fail("qemu.ide-controller", message);
                    }
                    continue;
                }
                match kind {
                    ControllerType::Pci => self.pci_controller(controller),
                    ControllerType::Usb => self.usb_controller(controller),
                    ControllerType::Scsi => self.scsi_controller(controller),
                    ControllerType::Sata => self.sata_controller(controller),
                    ControllerType::VirtioSerial => self.serial_controller(controller),
                    _ => {}
                }
            }
        }
        let floppy = Some(model::domain::devices::disk::DiskBus::Fdc);
        let fdc = controllers.iter().any(|c| c.kind == ControllerType::Fdc)
            && self.dev.disks.iter().any(|disk| disk.target.bus == floppy);
        if fdc && self.machine.starts_with("pseries") {
            self.fail("qemu.floppy", "PowerPC pseries machines do not support floppy device");
        }
        if fdc && self.q35() {
            let mut props = Props::device("isa-fdc");
            for (unit, key) in [(0, "bootindexA"), (1, "bootindexB")] {
                props = props.opt(key, self.floppy_boot_index(unit));
            }
            self.device(props);
        }
        for controller in controllers {
            if controller.kind == ControllerType::Xenbus {
                let name = format!("{:?}", controller.kind).to_lowercase();
                self.fail(
                    "qemu.controller",
                    format!("<controller type='{name}'> is not supported by QEMU guests here"),
                );
            }
        }
    }

    fn pci_controller(&mut self, controller: &Controller) {
        let element = "<controller type='pci'>";
        let model = controller.model.as_deref().unwrap_or_default();
        if model == "pcie-root" || (model == "pci-root" && controller.index.unwrap_or(0) == 0) {
            return;
        }
        let id = self.alias(&controller.alias, element);
        let name = controller.pci_model.as_ref().map(|model| model.name.clone());
        let Some(name) = name else {
            self.fail(
                "qemu.pci-controller",
                format!("<controller type='pci' model='{model}'> has no <model name=…/>"),
            );
            return;
        };
        let target = controller.target.clone().unwrap_or_default();
        let mut props = Props::device(&name);
        props = match model {
            // A further host bridge of a POWER guest; the first is part of the board.
            "pci-root" => {
                props.opt("index", target.index).set("id", id).opt("numa_node", target.node)
            }
            "pci-bridge" => props
                .opt("chassis_nr", target.chassis_nr)
                .opt("mem-reserve", target.mem_reserve.map(|kib| kib * 1024))
                .set("id", id),
            "pcie-root-port" | "pcie-switch-downstream-port" => {
                let props = props
                    .opt("port", target.port.map(|port| port.0))
                    .opt("chassis", target.chassis)
                    .set("id", id);
                props.opt("hotplug", target.hotplug.map(|hotplug| hotplug == OnOff::On))
            }
            "pci-expander-bus" | "pcie-expander-bus" => {
                props.opt("bus_nr", target.bus_nr).set("id", id).opt("numa_node", target.node)
            }
            "pcie-to-pci-bridge" | "dmi-to-pci-bridge" | "pcie-switch-upstream-port" => {
                props.set("id", id)
            }
            other => {
                self.fail(
                    "qemu.pci-controller",
                    format!("<controller type='pci' model='{other}'> is not known"),
                );
                return;
            }
        };
        let place = self.place(&controller.address, element);
        if place.0.contains_key("multifunction") {
            self.because("functions of one slot: the first says that there are more");
        }
        self.device(props.extend(place));
    }

    fn usb_controller(&mut self, controller: &Controller) {
        let element = "<controller type='usb'>";
        let Some(model) = controller.model.as_deref() else {
            return self.fail("qemu.usb-controller", "no model provided for USB controller");
        };
        if model == "none" {
            return;
        }
        let driver = match model {
            "piix3-uhci" => "piix3-usb-uhci",
            "piix4-uhci" => "piix4-usb-uhci",
            "ehci" => "usb-ehci",
            "ich9-ehci1" => "ich9-usb-ehci1",
            "ich9-uhci1" => "ich9-usb-uhci1",
            "ich9-uhci2" => "ich9-usb-uhci2",
            "ich9-uhci3" => "ich9-usb-uhci3",
            "vt82c686b-uhci" => "vt82c686b-usb-uhci",
            "pci-ohci" => "pci-ohci",
            "nec-xhci" => "nec-usb-xhci",
            "qemu-xhci" => "qemu-xhci",
            "qusb1" | "qusb2" => {
                return self.fail(
                    "qemu.usb-controller",
                    "USB controller model type 'qusb1' or 'qusb2' is not supported in qemu",
                );
            }
            other => {
                self.fail(
                    "qemu.usb-controller",
                    format!("<controller type='usb' model='{other}'> is not known"),
                );
                return;
            }
        };
        if !self.caps.types.is_empty() && !self.caps.types.contains(driver) {
            let message =
                format!("USB controller model '{model}' not supported in this QEMU binary");
            return self.fail("qemu.usb-controller", message);
        }
        let id = self.alias(&controller.alias, element);
        let mut props = Props::device(driver);
        if let Some(ports) = controller.ports {
            props = props.set("p2", ports).set("p3", ports);
        }
        // Companions share the name of their master, which is theirs to lead.
        props = match &controller.master {
            Some(master) => {
                let bus = self.controller(ControllerType::Usb, controller.index.unwrap_or(0));
                let bus = format!("{}.0", bus.unwrap_or(&id));
                props.set("masterbus", bus).set("firstport", master.startport)
            }
            None => props.set("id", id),
        };
        let place = self.place(&controller.address, element);
        self.device(props.extend(place));
    }

    fn scsi_controller(&mut self, controller: &Controller) {
        let element = "<controller type='scsi'>";
        let id = self.alias(&controller.alias, element);
        let model = controller.model.as_deref().unwrap_or("lsilogic");
        let driver = controller.driver.clone().unwrap_or_default();
        let flavour = match model {
            "virtio-scsi" => Some(DiskModel::Virtio),
            "virtio-transitional" => Some(DiskModel::VirtioTransitional),
            "virtio-non-transitional" => Some(DiskModel::VirtioNonTransitional),
            _ => None,
        };
        let props = match (flavour, model) {
            (Some(flavour), _) => {
                if driver.iothreads.is_some() {
                    self.need("virtio-scsi.iothread-mapping", "<driver><iothreads>");
                }
                let name = self.virtio_name("virtio-scsi", &controller.address, Some(flavour));
                let virtio = &driver.virtio;
                Props::device(&name)
                    .on_off("iommu_platform", virtio.iommu)
                    .on_off("ats", virtio.ats)
                    .opt("iothread", driver.iothread.map(|n| format!("iothread{n}")))
                    .on_off("packed", virtio.packed)
                    .on_off("page-per-vq", virtio.page_per_vq)
                    .set("id", id)
                    .opt("num_queues", driver.queues)
                    .opt("iothread-vq-mapping", iothread_mapping(driver.iothreads.as_ref()))
                    .opt("cmd_per_lun", driver.cmd_per_lun)
                    .opt("max_sectors", driver.max_sectors)
                    .on_off("ioeventfd", driver.ioeventfd)
            }
            // Part of the board.
            (None, "ncr53c90") if self.arch == "sparc" => return,
            (None, "ncr53c90") => {
                return self.fail(
                    "qemu.scsi-controller",
                    "ncr53c90 SCSI controller is not a built-in for this machine",
                );
            }
            (None, "lsilogic") => Props::device("lsi").set("id", id),
            (None, "lsisas1078") => Props::device("megasas").set("id", id),
            (None, "lsisas1068") => Props::device("mptsas1068").set("id", id),
            (None, "vmpvscsi") => Props::device("pvscsi").set("id", id),
            (None, "dc390") => Props::device("dc-390").set("id", id),
            (None, "am53c974") => Props::device("am53c974").set("id", id),
            (None, "ibmvscsi") => Props::device("spapr-vscsi").set("id", id),
            (None, other) => {
                self.fail("qemu.scsi-controller", format!("Unsupported controller model: {other}"));
                return;
            }
        };
        let place = self.place(&controller.address, element);
        self.device(props.extend(place));
    }

    fn sata_controller(&mut self, controller: &Controller) {
        // The first one of a q35 board is part of it.
        if self.q35() && controller.index.unwrap_or(0) == 0 {
            return;
        }
        let id = self.alias(&controller.alias, "<controller type='sata'>");
        let place = self.place(&controller.address, "<controller type='sata'>");
        self.device(Props::device("ahci").set("id", id).extend(place));
    }

    fn serial_controller(&mut self, controller: &Controller) {
        let element = "<controller type='virtio-serial'>";
        let id = self.alias(&controller.alias, element);
        let flavour = match controller.model.as_deref() {
            Some("virtio-transitional") => Some(DiskModel::VirtioTransitional),
            Some("virtio-non-transitional") => Some(DiskModel::VirtioNonTransitional),
            _ => None,
        };
        let name = self.virtio_name("virtio-serial", &controller.address, flavour);
        let driver = controller.driver.as_ref().map(|driver| &driver.virtio);
        let props = Props::device(&name)
            .extend(Self::virtio_options(driver))
            .set("id", id)
            .opt("max_ports", controller.ports)
            .opt("vectors", controller.vectors);
        let place = self.place(&controller.address, element);
        self.device(props.extend(place));
    }

    /// USB hubs.
    pub(super) fn hubs(&mut self) {
        for hub in self.each("devices/hub", &self.dev.hubs) {
            let id = self.alias(&hub.alias, "<hub>");
            let place = self.place(&hub.address, "<hub>");
            self.device(Props::device("usb-hub").set("id", id).extend(place));
        }
    }

    /// The guest's IOMMU.
    pub(super) fn iommu(&mut self) {
        use super::build::Switch;
        use model::domain::devices::iommu::IommuModel;
        for iommu in self.each("devices/iommu", &self.dev.iommus) {
            let driver = iommu.driver.clone().unwrap_or_default();
            match iommu.model {
                IommuModel::Intel => {
                    self.need("intel-iommu", "<iommu model='intel'>");
                    let id = self.alias(&iommu.alias, "<iommu>");
                    let props = Props::device("intel-iommu")
                        .set("id", id)
                        .opt("intremap", driver.int_remap.map(Switch::word))
                        .on_off("caching-mode", driver.caching_mode)
                        .opt("eim", driver.eim.map(Switch::word))
                        .on_off("device-iotlb", driver.iotlb)
                        .opt("aw-bits", driver.aw_bits)
                        .on_off("dma-translation", driver.dma_translation);
                    self.device(props);
                }
                IommuModel::Virtio => {
                    self.need("virtio-iommu-pci", "<iommu model='virtio'>");
                    let id = self.alias(&iommu.alias, "<iommu>");
                    let place = self.place(&iommu.address, "<iommu model='virtio'>");
                    self.device(Props::device("virtio-iommu").set("id", id).extend(place));
                }
                // An option of the board.
                IommuModel::Smmuv3 => {}
            }
        }
    }

    /// Boot position of the floppy drive with this unit number.
    pub(super) fn floppy_boot_index(&self, unit: u32) -> Option<u32> {
        let orders = self.boot_orders();
        let drive = self.dev.disks.iter().enumerate().find(|(_, disk)| {
            disk.target.bus == Some(model::domain::devices::disk::DiskBus::Fdc)
                && matches!(&disk.address, Some(Address::Drive(drive)) if drive.unit == unit)
        });
        drive.and_then(|(index, _)| orders.disks.get(index).copied().flatten())
    }
}
