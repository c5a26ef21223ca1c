//! Commands on the host and the hypervisor.

mod cells;
mod cpu;
mod node;

pub use cells::*;
pub use cpu::*;
pub use node::*;
