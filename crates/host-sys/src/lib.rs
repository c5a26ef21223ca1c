//! The one crate with unsafe code: system calls without a safe wrapper elsewhere.
