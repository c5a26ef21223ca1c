//! Live questions and changes of processors, memory, disks and threads.

pub mod block;
pub mod memory;
pub mod peek;
pub mod resize;
pub(in crate::domain) mod threads;
pub mod vcpus;
