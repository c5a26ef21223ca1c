//! Our own command as a person uses it, on a pseudo terminal: console, shell, signals.

use tests::{Daemon, domains, paths, python};

#[test]
fn console_shell_and_signals() {
    let daemon = Daemon::start();
    let name = "terminal";
    let serial = domains::serial_file(&daemon, name).display().to_string();
    let file = format!("<serial type='file'><source path='{serial}'/>");
    let xml = domains::boot_sector(&daemon, name).replace(&file, "<serial type='pty'>");
    assert!(xml.contains("<serial type='pty'>"), "{xml}");
    daemon.define(&xml).ok();
    daemon.virsh("start terminal").ok();
    let home = daemon.write("home/.keep", "");
    let home = home.parent().expect("a folder").display().to_string();
    let program = paths::ironvirt().to_string_lossy();
    python("terminal", &[&*program, daemon.uri().as_str(), name, &home]).ok();
    domains::discard(&daemon, name);
}
