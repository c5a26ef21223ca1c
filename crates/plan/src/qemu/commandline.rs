//! `<qemu:commandline>`: arguments as the user gave them.

use super::build::Build;

impl Build<'_> {
    /// The user's own arguments, at the very end.
    pub(super) fn own_arguments(&mut self) {
        if let Some(own) = &self.d.qemu_commandline {
            for arg in &own.args {
                self.args.push(crate::step::Arg::text(arg.value.clone()));
            }
        }
    }
}
