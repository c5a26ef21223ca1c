//! The ironvirt program: the daemon and the command, one binary.
//!
//! What it does depends on its name and first argument: `libvirtd` or `ironvirt daemon` is the
//! daemon, `virtlogd` or `ironvirt logd` the log daemon, `virtlockd` or `ironvirt lockd` the lock daemon, `ironvirt __exec` the helper that becomes a guest's QEMU, all else a verb.

mod daemon;
mod keeper;
mod lockd;
mod logd;
mod virsh;

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let program = args.next().unwrap_or_else(|| "ironvirt".into());
    let program = Path::new(&program).file_name().unwrap_or(OsStr::new("ironvirt")).to_os_string();
    let args: Vec<_> = args.collect();
    let first = args.first().map(|arg| arg.as_os_str());
    // First of all, and before anything else is set up: a guest is waiting for it.
    if first == Some(OsStr::new(daemon::EXEC_HELPER)) {
        return host::spawn::helper_main();
    }
    let as_libvirtd = program == "libvirtd" || program == "virtqemud";
    let status = if as_libvirtd {
        daemon::main(args, true)
    } else if program == "virtlogd" {
        logd::main(args)
    } else if first == Some(OsStr::new("logd")) {
        logd::main(args.into_iter().skip(1).collect())
    } else if program == "virtlockd" {
        lockd::main(args)
    } else if first == Some(OsStr::new("lockd")) {
        lockd::main(args.into_iter().skip(1).collect())
    } else if first == Some(OsStr::new("daemon")) {
        daemon::main(args.into_iter().skip(1).collect(), false)
    } else {
        virsh::main(&program.to_string_lossy(), args)
    };
    // A status is what a shell can see of it: the low byte.
    ExitCode::from(u8::try_from(status & 0xff).unwrap_or(1))
}
