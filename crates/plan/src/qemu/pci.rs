//! Names of PCI buses.

use super::build::Build;
use model::domain::devices::controller::ControllerType;

impl Build<'_> {
    /// QEMU's name of the PCI bus that the controller with this index provides.
    pub(super) fn pci_bus(&self, index: u32) -> Option<String> {
        let mut controllers = self.dev.controllers.iter();
        let controller =
            controllers.find(|c| c.kind == ControllerType::Pci && c.index.unwrap_or(0) == index)?;
        let alias = controller.alias.as_ref()?.name.clone();
        Some(match (controller.model.as_deref(), index) {
            // Buses of the board have the board's names, whatever the domain calls them.
            (Some("pcie-root"), 0) => "pcie.0".into(),
            (Some("pci-root"), 0) => if self.numbers_pci_buses() { "pci.0" } else { "pci" }.into(),
            // A further host bridge is a device, and its bus the first below it.
            (Some("pci-root"), _) => format!("{alias}.0"),
            _ => alias,
        })
    }

    /// Whether the board numbers its PCI buses. Old boards have one, without a number.
    fn numbers_pci_buses(&self) -> bool {
        match self.arch.as_str() {
            "x86_64" | "i686" | "s390" | "s390x" | "ppc" | "ppc64" | "ppc64le" => true,
            _ => {
                let rest = self.machine.strip_prefix("virt");
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
            }
        }
    }
}
