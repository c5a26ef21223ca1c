//! Serial and parallel ports of the guest.

use super::super::build::{Build, Props};
use diag::ErrorCode;
use model::domain::devices::chardev::*;

impl Build<'_> {
    /// Serial ports.
    pub(in crate::qemu) fn serials(&mut self) {
        for serial in self.each("devices/serial", &self.dev.serials) {
            let alias = self.alias(&serial.alias, "<serial>");
            let chardev = self.chardev(&serial.source, &alias, "<serial>");
            let target = serial.target.clone().unwrap_or_default();
            let model = target.model.as_ref().map(|model| model.name.as_str());
            let driver = match (model, target.kind) {
                (
                    Some(
                        model @ ("isa-serial" | "pci-serial" | "usb-serial" | "isa-debugcon"
                        | "sclpconsole" | "sclplmconsole" | "spapr-vty"),
                    ),
                    _,
                ) => model,
                (Some("16550a" | "pl011"), _) => {
                    // Part of the board: it takes the next `-serial`.
                    self.opt("-serial", &format!("chardev:{chardev}"));
                    continue;
                }
                // Boards without an ISA bus have their ports built in.
                (None, None) if !matches!(self.arch.as_str(), "x86_64" | "i686") => {
                    self.opt("-serial", &format!("chardev:{chardev}"));
                    continue;
                }
                (None, None | Some(CharTargetType::IsaSerial)) => "isa-serial",
                (None, Some(CharTargetType::PciSerial)) => "pci-serial",
                (None, Some(CharTargetType::UsbSerial)) => "usb-serial",
                _ => {
                    self.fail_with(
                        "qemu.serial",
                        ErrorCode::INTERNAL_ERROR,
                        "Invalid target model for serial device",
                    );
                    continue;
                }
            };
            let mut props = Props::device(driver).set("chardev", chardev).set("id", alias);
            if driver == "isa-serial" {
                props = props.set("index", target.port.unwrap_or_default().0);
            }
            let place = self.place(&serial.address, "<serial>");
            self.device(props.extend(place));
        }
    }

    /// Parallel ports.
    pub(in crate::qemu) fn parallels(&mut self) {
        for parallel in self.each("devices/parallel", &self.dev.parallels) {
            let alias = self.alias(&parallel.alias, "<parallel>");
            let chardev = self.chardev(&parallel.source, &alias, "<parallel>");
            self.device(Props::device("isa-parallel").set("chardev", chardev).set("id", alias));
        }
    }
}
