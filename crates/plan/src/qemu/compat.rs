//! What QEMU does with interfaces that will go away.

use super::build::{Build, Props};

impl Build<'_> {
    /// `-compat`, as `<qemu:deprecation>` says; without it, as QEMU likes.
    pub(super) fn compat(&mut self) {
        let Some(deprecation) = &self.d.qemu_deprecation else { return };
        let input = match deprecation.behavior.as_str() {
            "omit" => None,
            "reject" => Some("reject"),
            "crash" => Some("crash"),
            _ => return,
        };
        let hidden = Props::default().set("deprecated-output", "hide");
        self.json("-compat", hidden.opt("deprecated-input", input));
    }
}
