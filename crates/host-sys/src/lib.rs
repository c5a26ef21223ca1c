//! The one crate with unsafe code: system calls that neither std nor rustix wraps safely.
//!
//! Each function here is safe to call. What makes it so is said at each unsafe block. Nothing here
//! decides anything: what to do with a call belongs to the `host` crate.

mod bpf;
mod cpuid;
mod exec;
mod inherit;
mod kvm;
mod lock;
mod memory;
mod netdev;
mod perf;
mod sched;
mod signals;
mod time;
mod vsock;
mod writeout;

pub use bpf::{
    DeviceKey, DeviceTable, attach_device_program, device_programs, load_device_program,
    tables_of_program,
};
pub use cpuid::{CpuidLeaf, cpuid};
pub use exec::{Exec, die_with_parent, run_as};
pub use inherit::{close_on_exec_from, take_inherited, take_numbered};
pub use kvm::{kvm_feature_msr, kvm_max_vcpus, kvm_tsc};
pub use lock::{LockKind, LockOwner, lock_holder, set_lock};
pub use memory::{forget_code, give_back_freed};
pub use netdev::{
    Tap, add_to_bridge, configure_macvtap, create_bridge, delete_bridge, interface_mac,
    interface_mtu, kvm_api_version, open_tap, remove_from_bridge, set_interface_all_multicast,
    set_interface_coalesce, set_interface_group, set_interface_mac, set_interface_mtu,
    set_interface_multicast, set_interface_promiscuous, set_interface_up, tap_name,
};
pub use perf::count_events;
pub use sched::{SchedPolicy, set_scheduler};
pub use signals::IgnoredSignals;
pub use time::utc_offset;
pub use vsock::set_guest_cid;
pub use writeout::write_out;
