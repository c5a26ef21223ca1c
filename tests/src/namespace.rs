//! Tests on libvirt's real paths, inside a mount namespace of their own.

use std::process::Command;

/// The folders that a daemon without `--root` uses; each is an empty one inside the namespace.
/// All of `/run`, as pid files lie beside `/run/libvirt`.
pub const FOLDERS: [&str; 5] =
    ["/etc/libvirt", "/run", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt"];

const INSIDE: &str = "IRONVIRT_TEST_NAMESPACE";

/// Runs `body` in mount and process namespaces where all of [`FOLDERS`] are fresh, empty and private.
///
/// The test program is started again for this one test, so `test` must be the test's full name as
/// `cargo test` prints it. Skips (and says so) when the user may not make namespaces.
#[track_caller]
pub fn inside(test: &str, body: impl FnOnce()) {
    enter(test, &[], body);
}

/// As [`inside`], and in a network namespace that has a loopback interface and nothing else.
///
/// `/sys` still shows the network outside.
#[track_caller]
pub fn inside_network(test: &str, body: impl FnOnce()) {
    enter(test, &["--net"], || {
        crate::tool("ip", &["link", "set", "lo", "up"], "").ok();
        body();
    });
}

#[track_caller]
fn enter(test: &str, further: &[&str], body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some_and(|name| name == test) {
        // A failure of libvirtd's or QEMU's is told by their logs, which go with the namespace.
        let _logs = Logs;
        return body();
    }
    if !crate::paths::is_root() {
        eprintln!("skipped: {test} needs root for a mount namespace");
        return;
    }
    let mounts = FOLDERS
        .map(|folder| format!("mkdir -p {folder} && mount -t tmpfs -o mode=755 tmpfs {folder}"));
    // The shell stays: as process 1 it reaps orphans at once, like a host's init.
    let script = format!("{} && {{ \"$@\" & wait $!; }}", mounts.join(" && "));
    let exe = std::env::current_exe().expect("the path of this test");
    let output = Command::new("unshare")
        // Whatever the test starts ends with its process namespace.
        .args(["--pid", "--fork", "--kill-child", "--mount-proc", "--mount"])
        .args(further)
        .args(["--propagation", "private", "sh", "-c", &script, "sh"])
        .arg(exe)
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(INSIDE, test)
        .output()
        .expect("unshare runs");
    // Its own report is of no interest unless it is bad; what it had to remark is.
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success(),
        "{test} failed inside its namespace:\n{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

/// Says the ends of all logs when a test has failed.
struct Logs;

impl Drop for Logs {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for folder in ["/var/log/libvirt", "/var/log/libvirt/qemu"] {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                let Ok(text) = std::fs::read(entry.path()) else { continue };
                let text = String::from_utf8_lossy(&text);
                let lines: Vec<&str> = text.lines().collect();
                let from = lines.len().saturating_sub(60);
                println!("--- {}\n{}", entry.path().display(), lines[from..].join("\n"));
            }
        }
    }
}
