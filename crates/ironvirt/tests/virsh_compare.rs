//! Our command beside the real virsh, byte by byte, over the same daemon's test driver.
//!
//! Set `IRONVIRT_TEST_LIBVIRTD_SOCKET` to the socket of a daemon that offers `test:///default`, with
//! `virsh` 11.3 installed. Each line of `tests/virsh/*.cmds` is one command line.

use std::path::Path;
use std::process::{Command, Stdio};

fn run(program: &str, uri: &str, line: &str) -> (Option<i32>, String, String) {
    let out = Command::new(program)
        .args(["-c", uri, line])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

#[test]
fn same_bytes_as_virsh() {
    let Some(socket) = std::env::var_os("IRONVIRT_TEST_LIBVIRTD_SOCKET") else {
        eprintln!("SKIPPED: IRONVIRT_TEST_LIBVIRTD_SOCKET is not set; nothing was compared");
        return;
    };
    let version = Command::new("virsh").arg("--version").output();
    let Ok(version) = version else {
        eprintln!("SKIPPED: virsh is not installed; nothing was compared");
        return;
    };
    assert_eq!(
        String::from_utf8_lossy(&version.stdout).trim(),
        "11.3.0",
        "the texts are those of virsh 11.3.0"
    );
    let uri = format!("test+unix:///default?socket={}", socket.to_string_lossy());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/virsh");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of command lines")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.extension().is_some_and(|e| e == "cmds"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    let (mut compared, mut different) = (0, Vec::new());
    for file in files {
        for line in std::fs::read_to_string(&file).expect("command lines").lines() {
            if line.is_empty() || line.starts_with("# ") {
                continue;
            }
            compared += 1;
            let theirs = run("virsh", &uri, line);
            let ours = run(env!("CARGO_BIN_EXE_ironvirt"), &uri, line);
            if theirs != ours {
                different.push(format!("{line}\n  virsh: {theirs:?}\n  ours:  {ours:?}"));
            }
        }
    }
    println!("{compared} command lines compared");
    assert!(different.is_empty(), "{}", different.join("\n"));
}
