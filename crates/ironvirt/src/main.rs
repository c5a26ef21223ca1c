//! The ironvirt program.

fn main() {}
