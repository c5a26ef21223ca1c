//! What a guest said on a console before somebody connected.
//!
//! The terminal itself keeps nothing: QEMU drops what is said while nobody listens, and a daemon
//! that listened all the time would take the words from whoever opens the terminal by its name
//! (`virsh ttyconsole`). What is kept is the device's `<log>` file, which the log daemon bounds and
//! which outlives guest and daemons; its end is the history.

use crate::domain::seat::console::alias_of;
use crate::engine::Engine;
use diag::{ErrorCode, VirError};
use host::access::{OpenMode, open};
use host::log_daemon::LogDaemon;
use model::domain::Domain as Definition;
use model::domain::devices::chardev::Serial;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The most that is shown, in bytes: what a person scrolls through.
const MOST: u64 = 64 << 10;

impl Engine {
    /// The end of what was said on `device`.
    ///
    /// # Errors
    /// When nothing keeps it, or the file cannot be read.
    pub(super) async fn history_of(self: &Arc<Self>, device: &Serial) -> Result<Vec<u8>, VirError> {
        let log = device.source.log.as_ref().ok_or_else(|| unkept(device))?;
        let (engine, path) = (Arc::clone(self), PathBuf::from(&log.file));
        crate::blocking(move || {
            if engine.settings.log_daemon
                && let Ok(mut daemon) = LogDaemon::connect(&engine.layout.log_daemon_socket())
            {
                // What is still on its way to the file gets there first. A daemon that does not have
                // the file open has written all it ever got.
                let _ = daemon.position(&path.to_string_lossy());
            }
            tail(&path, engine.guest_uid(), MOST).map_err(|error| {
                let what = format!("cannot read the console's log '{}': {error}", path.display());
                VirError::new(ErrorCode::SYSTEM_ERROR, what)
            })
        })
        .await
    }
}

fn unkept(device: &Serial) -> VirError {
    let name = match alias_of(device) {
        "" => "the console",
        name => name,
    };
    VirError::new(
        ErrorCode::OPERATION_UNSUPPORTED,
        format!("nothing keeps what was said on {name} while nobody listened"),
    )
    .hint(
        "<log file='/var/log/libvirt/qemu/NAME-serial0.log' append='on'/> in the <serial> (or \
         <console>) keeps it from the guest's next start on",
    )
}

/// The last `most` bytes of a log, those before it rolled over included.
fn tail(path: &Path, guest: u32, most: u64) -> io::Result<Vec<u8>> {
    let mut older = path.as_os_str().to_owned();
    older.push(".0");
    let mut text = Vec::new();
    for (name, must) in [(path, true), (Path::new(&older), false)] {
        let room = most.saturating_sub(text.len() as u64);
        let mut file = match open(name, guest, OpenMode::Read) {
            Ok(file) => file,
            Err(_) if !must => break,
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            // A pipe or a device keeps nothing.
            return if must { Err(io::ErrorKind::Unsupported.into()) } else { Ok(text) };
        }
        file.seek(SeekFrom::Start(metadata.len().saturating_sub(room)))?;
        let mut piece = Vec::new();
        file.take(room).read_to_end(&mut piece)?;
        piece.append(&mut text);
        text = piece;
        if text.len() as u64 >= most {
            break;
        }
    }
    Ok(text)
}

/// The device of a stored definition that a running guest would know by the alias `name`, or by
/// nothing: the first console.
pub(super) fn find_stored<'a>(
    definition: &'a Definition,
    name: Option<&str>,
) -> Option<&'a Serial> {
    let devices = definition.devices.as_ref()?;
    let Some(name) = name else {
        return devices.consoles.first().or_else(|| devices.serials.first());
    };
    let lists = [
        ("serial", &devices.serials),
        ("console", &devices.consoles),
        ("parallel", &devices.parallels),
    ];
    lists.into_iter().find_map(|(kind, list)| {
        let number: usize = name.strip_prefix(kind)?.parse().ok()?;
        list.get(number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_reaches_back_over_its_rolling() {
        let dir = tempfile::tempdir().expect("a folder");
        let log = dir.path().join("log");
        assert!(tail(&log, 0, 10).is_err());
        std::fs::write(&log, "fghij").expect("a file");
        assert_eq!(tail(&log, 0, 10).expect("short"), b"fghij");
        std::fs::write(dir.path().join("log.0"), "0123456789abcde").expect("a file");
        for (most, expected) in
            [(3, "hij"), (5, "fghij"), (7, "defghij"), (99, "0123456789abcdefghij")]
        {
            assert_eq!(tail(&log, 0, most).expect("read"), expected.as_bytes(), "{most}");
        }
        assert!(tail(Path::new("/dev/null"), 0, 10).is_err());
    }

    #[test]
    fn devices_of_a_guest_that_does_not_run_are_found_by_their_number() {
        let text = "<domain type='qemu'><name>x</name><memory>1024</memory><os><type>hvm</type></os>\
            <devices><serial type='pty'><log file='/a'/></serial><serial type='pty'/>\
            <console type='pty'><log file='/c'/></console></devices></domain>";
        let options = model::domain::ParseOptions { live: false };
        let definition = model::domain::parse(text, options).domain.expect("a definition");
        let check = |name: Option<&str>, expected: Option<Option<&str>>| {
            let found = find_stored(&definition, name);
            let log = |device: &Serial| device.source.log.clone().map(|log| log.file);
            assert_eq!(found.map(log), expected.map(|file| file.map(str::to_owned)), "{name:?}");
        };
        check(None, Some(Some("/c")));
        check(Some("serial0"), Some(Some("/a")));
        check(Some("serial1"), Some(None));
        check(Some("serial2"), None);
        check(Some("monitor"), None);
    }
}
