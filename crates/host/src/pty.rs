//! Pseudo-terminals: opening the one QEMU made for a console, and making one.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

/// Makes a pseudo-terminal in raw mode: the controlling end and the path of the other.
///
/// # Errors
/// The system has no more of them.
pub fn make() -> io::Result<(OwnedFd, PathBuf)> {
    let control = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&control)?;
    unlockpt(&control)?;
    let path = ptsname(&control, Vec::new())?;
    let mut mode = tcgetattr(&control)?;
    mode.make_raw();
    tcsetattr(&control, OptionalActions::Now, &mode)?;
    Ok((control, PathBuf::from(path.to_string_lossy().into_owned())))
}

/// Opens a console's terminal, non-blocking and without making it ours. Only a character device
/// below `/dev/pts/` is opened: the path comes from a status file or from QEMU.
///
/// # Errors
/// The path is no pseudo-terminal (`InvalidInput`), or it cannot be opened.
pub fn open(path: &Path) -> io::Result<File> {
    let inside = path.strip_prefix("/dev/pts").ok().and_then(Path::to_str);
    if !inside.is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()) && !n.is_empty()) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let flags = OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
    let file =
        File::options().read(true).write(true).custom_flags(flags.bits() as i32).open(path)?;
    let mut mode = tcgetattr(&file)?;
    mode.make_raw();
    tcsetattr(&file, OptionalActions::Now, &mode)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn bytes_pass_unchanged() {
        let (control, path) = make().unwrap();
        let mut terminal = open(&path).unwrap();
        let mut control = File::from(control);
        terminal.write_all(b"a\nb\x03\r").unwrap();
        let mut buffer = [0; 5];
        control.read_exact(&mut buffer).unwrap();
        assert_eq!(&buffer, b"a\nb\x03\r");
        for path in ["/dev/null", "/dev/pts/../null", "/dev/pts/", "/etc/passwd"] {
            assert_eq!(
                open(Path::new(path)).unwrap_err().kind(),
                io::ErrorKind::InvalidInput,
                "{path}"
            );
        }
    }
}
