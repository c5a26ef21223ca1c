//! Where on its bus a disk sits.

use super::super::build::{Build, Props};
use super::super::words::Address;
use model::domain::address::DriveAddress;
use model::domain::devices::controller::ControllerType;
use model::domain::devices::disk::*;

impl Build<'_> {
    /// Where on its bus a disk sits.
    pub(super) fn drive_place(
        &mut self,
        disk: &Disk,
        bus: DiskBus,
        element: &str,
    ) -> Option<Props> {
        let Some(Address::Drive(drive)) = &disk.address else {
            if disk.address.is_none() {
                if bus == DiskBus::Xen {
                    let text = "unsupported disk bus 'xen' with device setup";
                    self.fail_with("qemu.disk-bus", diag::ErrorCode::INTERNAL_ERROR, text);
                } else {
                    self.fail("qemu.address", format!("{element} has no address"));
                }
                return None;
            }
            return Some(self.place(&disk.address, element));
        };
        let kind = match bus {
            DiskBus::Ide => ControllerType::Ide,
            DiskBus::Sata => ControllerType::Sata,
            DiskBus::Scsi => ControllerType::Scsi,
            _ => ControllerType::Fdc,
        };
        let controllers = &self.dev.controllers;
        let controller =
            controllers.iter().find(|c| c.kind == kind && c.index.unwrap_or(0) == drive.controller);
        let name = controller.and_then(|c| c.alias.as_ref()).map(|alias| alias.name.clone());
        let Some(name) = name else {
            let number = drive.controller;
            self.fail(
                "qemu.controller",
                format!("{element} sits on controller {number}, which does not exist"),
            );
            return None;
        };
        // The bus of a controller on the board has QEMU's name, whatever the controller is called.
        let on_board = drive.controller == 0
            && (bus == DiskBus::Ide && self.i440fx() || bus == DiskBus::Sata && self.q35());
        let name = if on_board { "ide".to_string() } else { name };
        Some(match bus {
            DiskBus::Ide => {
                Props::default().set("bus", format!("{name}.{}", drive.bus)).set("unit", drive.unit)
            }
            DiskBus::Sata => Props::default().set("bus", format!("{name}.{}", drive.unit)),
            DiskBus::Fdc => Props::default().set("unit", drive.unit),
            _ => scsi_bus(&name, controller.and_then(|c| c.model.as_deref()), drive),
        })
    }

    /// Where on a SCSI bus a device sits.
    pub(in crate::qemu) fn scsi_place(
        &mut self,
        address: &Option<Address>,
        element: &str,
    ) -> Option<Props> {
        let Some(Address::Drive(drive)) = address else {
            self.fail("qemu.address", format!("{element} has no address on a SCSI bus"));
            return None;
        };
        let mut controllers = self.dev.controllers.iter();
        let controller = controllers
            .find(|c| c.kind == ControllerType::Scsi && c.index.unwrap_or(0) == drive.controller);
        let Some(name) = self.controller(ControllerType::Scsi, drive.controller) else {
            let number = drive.controller;
            self.fail(
                "qemu.controller",
                format!("{element} sits on controller {number}, which does not exist"),
            );
            return None;
        };
        Some(scsi_bus(name, controller.and_then(|c| c.model.as_deref()), drive))
    }
}

/// A place on the bus of a SCSI controller.
fn scsi_bus(name: &str, model: Option<&str>, drive: &DriveAddress) -> Props {
    let model = model.unwrap_or("lsilogic");
    let props = Props::default().set("bus", format!("{name}.0"));
    if matches!(model, "lsilogic" | "am53c974" | "dc390" | "ncr53c90") {
        // Parallel SCSI: one number tells a device.
        props.set("scsi-id", drive.unit)
    } else {
        props.set("channel", 0).set("scsi-id", drive.target).set("lun", drive.unit)
    }
}
