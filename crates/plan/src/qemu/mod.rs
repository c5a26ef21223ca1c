//! Plans for QEMU guests.

mod settings;

pub use settings::{GraphicsSettings, Settings};
