//! Guests that start from another one's state.

use super::build::Build;

impl Build<'_> {
    /// `-incoming`: where the state comes from.
    pub(super) fn incoming(&mut self) {
        if let Some(from) = self.incoming.clone() {
            self.opt("-incoming", &from);
        }
    }
}
