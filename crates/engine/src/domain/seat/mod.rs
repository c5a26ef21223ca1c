//! What a person sits at: consoles, screens, keys.

pub mod console;
pub mod display;
mod history;
pub mod input;
pub(in crate::domain) mod keycodes;
