//! What QEMU does with interfaces that will go away.

use super::build::{Build, Props};

impl Build<'_> {
    /// `-compat`, as `<qemu:deprecation>` or else the settings say; without either, as QEMU likes.
    pub(super) fn compat(&mut self) {
        let own = self.d.qemu_deprecation.as_ref().map(|own| &own.behavior);
        let Some(behavior) = own.or(self.set.deprecation.as_ref()) else { return };
        let input = match behavior.as_str() {
            "omit" => None,
            "reject" => Some("reject"),
            "crash" => Some("crash"),
            _ => return,
        };
        let hidden = Props::default().set("deprecated-output", "hide");
        self.json("-compat", hidden.opt("deprecated-input", input));
    }
}
