//! Sleep states, and what QEMU does when the guest powers off.

use super::build::{Build, Switch};

impl Build<'_> {
    /// Sleep states.
    pub(super) fn power(&mut self) {
        self.flag("-no-shutdown");
        let known = self.caps.machine(self.accel, &self.machine).is_some_and(|m| m.acpi.is_some());
        if !known && self.x86() && !self.features().acpi {
            // Before the machine told whether it has ACPI, an option switched it off.
            self.flag("-no-acpi");
        }
        let Some(pm) = self.d.pm.clone() else {
            return;
        };
        let device = if self.q35() { "ICH9-LPC" } else { "PIIX4_PM" };
        for (state, name) in [(pm.suspend_to_mem, "s3"), (pm.suspend_to_disk, "s4")] {
            if let Some(state) = state {
                let disabled = u8::from(!state.enabled.on());
                self.opt("-global", &format!("{device}.disable_{name}={disabled}"));
            }
        }
    }
}
