//! An interface's script: it gets the device's name as its only argument.

use crate::domain::steps::system;
use diag::VirError;
use rustix::fs::MemfdFlags;
use std::fs::File;
use std::io::{Read, Seek};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a script may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Most bytes of a script's error output that an error tells.
const TOLD: u64 = 2048;

/// Runs a script with a device's name and waits for its end.
///
/// # Errors
/// It cannot be started, ends badly (its error output is told), or takes too long (and is ended).
pub(super) fn run(path: &str, device: &str) -> Result<(), VirError> {
    // Memory, not a pipe: what the script leaves running may hold it open.
    let mut said = rustix::fs::memfd_create("script", MemfdFlags::CLOEXEC)
        .map(File::from)
        .map_err(|error| system("cannot make a file in memory", &error.into()))?;
    let output = said.try_clone().map_err(|error| system("cannot keep a file open", &error))?;
    let mut child = Command::new(path)
        .arg(device)
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .spawn()
        .map_err(|error| system(&format!("Cannot run script '{path}'"), &error))?;
    let deadline = Instant::now() + DEADLINE;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => {
                let how = match status.code() {
                    Some(code) => format!("exit status {code}"),
                    None => status.to_string(),
                };
                return Err(VirError::internal(format!(
                    "Child process ({path} {device}) unexpected {how}: {}",
                    told(&mut said)
                )));
            }
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(2)),
            Ok(None) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(VirError::internal(format!(
                    "script '{path} {device}' did not end within {DEADLINE:?}"
                )));
            }
            Err(error) => return Err(system(&format!("lost script '{path}'"), &error)),
        }
    }
}

fn told(said: &mut File) -> String {
    let mut bytes = Vec::new();
    if said.rewind().is_ok() {
        let _ = said.take(TOLD).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn its_end_decides() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("script");
        let heard = dir.path().join("heard");
        for (end, expected) in
            [("exit 0", None), ("echo no >&2; exit 3", Some("unexpected exit status 3: no"))]
        {
            std::fs::write(&path, format!("#!/bin/sh\necho $* > {}\n{end}\n", heard.display()))
                .expect("a script");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("ours");
            let result = run(&path.to_string_lossy(), "vnet7");
            match expected {
                None => assert_eq!(result, Ok(())),
                Some(words) => {
                    let error = result.expect_err("it failed").message();
                    assert!(error.ends_with(words), "{error}");
                }
            }
            assert_eq!(std::fs::read_to_string(&heard).expect("it ran"), "vnet7\n");
        }
        assert!(run("/nonexistent/script", "vnet7").is_err());
    }
}
