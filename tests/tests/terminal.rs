//! Our own command as a person uses it, on a pseudo terminal: console, shell, signals.

use tests::{Daemon, domains, guests, paths, python};

#[test]
fn console_shell_and_signals() {
    let daemon = Daemon::start();
    let name = "terminal";
    let serial = domains::serial_file(&daemon, name).display().to_string();
    let file = format!("<serial type='file'><source path='{serial}'/>");
    // Its log takes the file's place: what is said while nobody listens is there later.
    let pty = format!("<serial type='pty'><log file='{serial}'/>");
    let xml = domains::boot_sector(&daemon, name).replace(&file, &pty);
    assert!(xml.contains(&pty), "{xml}");
    daemon.define(&xml).ok();
    daemon.virsh("start terminal").ok();
    let home = daemon.write("home/.keep", "");
    let home = home.parent().expect("a folder").display().to_string();
    let program = paths::ironvirt().to_string_lossy();
    python("terminal", &[&*program, daemon.uri().as_str(), name, &home]).ok();
    // Gone, but not forgotten.
    let said = daemon.ironvirt("console terminal --history").ok();
    assert!(said.contains(guests::BOOT_SECTOR_LINE), "{said}");
    let by_name = daemon.ironvirt("console terminal --history --devname serial0").ok();
    assert_eq!(by_name, said);
    domains::discard(&daemon, name);

    let unkept = xml.replace(&pty, "<serial type='pty'>");
    daemon.define(&unkept).ok();
    let refused = daemon.ironvirt("console terminal --history");
    assert!(refused.stderr.contains("nothing keeps what was said on"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: <log file="), "{}", refused.stderr);
    let unknown = daemon.ironvirt("console terminal --history --devname serial7");
    assert!(unknown.stderr.contains("cannot find character device serial7"), "{}", unknown.stderr);
    domains::discard(&daemon, name);
}
