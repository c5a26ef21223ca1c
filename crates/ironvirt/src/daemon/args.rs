//! The daemon's command line: our own, and libvirtd's where clients start it by that name.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// What the daemon was asked to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    /// `--root`.
    pub root: Option<PathBuf>,
    /// `--session`: a user's own daemon; with `--root`, its files lie there as a system daemon's would.
    pub session: bool,
    /// `--config`: libvirtd.conf.
    pub config: Option<PathBuf>,
    /// `--timeout`: end after this long without clients and guests.
    pub timeout: Option<Duration>,
    /// `--daemon`: go to the background.
    pub background: bool,
    /// `--modular`: also listen on the modular daemons' sockets.
    pub modular: bool,
    /// `--verbose`.
    pub verbose: bool,
    /// `--pid-file`: locked in place of run/libvirtd.pid.
    pub pid_file: Option<PathBuf>,
    /// `--detached`: leave the session of whoever started us (hidden).
    pub detached: bool,
    /// `--resume`: the descriptor of what a predecessor left (hidden).
    pub resume: Option<i32>,
}

/// A request that is answered with text instead of a daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Be a daemon.
    Run(Args),
    /// `--help`.
    Help,
    /// `--version`.
    Version,
}

/// The text of `--help`.
pub const HELP: &str = "\
Usage: ironvirt daemon [OPTION]…

  --root DIR       keep everything below DIR (etc/libvirt, run/libvirt, …)
  --session        be a user's own daemon (qemu:///session), also below --root
  --config FILE    read FILE instead of etc/libvirt/libvirtd.conf
  --timeout SECS   end after SECS without clients and running guests
  --daemon         go on in the background once ready
  --modular        also listen on the sockets of libvirt's modular daemons
  --pid-file FILE  lock FILE instead of run/libvirtd.pid
  --verbose        log more
  --help, --version

Started under the name libvirtd it takes libvirtd's options of the same names.
";

/// Reads the arguments (without the program's name).
///
/// # Errors
/// In words, for an option that is unknown or lacks its value.
pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Parsed, String> {
    let mut parsed = Args::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let text = arg.to_str().ok_or_else(|| format!("argument {arg:?} is no UTF-8 text"))?;
        let (name, inline) = match text.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(OsString::from(value))),
            _ => (text, None),
        };
        let mut value = || {
            inline.clone().or_else(|| args.next()).ok_or_else(|| format!("{name} needs a value"))
        };
        match name {
            "--root" => parsed.root = Some(PathBuf::from(value()?)),
            "--config" | "-f" => parsed.config = Some(PathBuf::from(value()?)),
            "--pid-file" | "-p" => parsed.pid_file = Some(PathBuf::from(value()?)),
            "--timeout" | "-t" => {
                let seconds = value()?;
                let seconds =
                    seconds.to_str().and_then(|text| text.parse().ok()).ok_or_else(|| {
                        format!("--timeout needs a number of seconds, not {seconds:?}")
                    })?;
                parsed.timeout = Some(Duration::from_secs(seconds));
            }
            "--detached" => parsed.detached = true,
            "--resume" => {
                let number = value()?;
                let number = number.to_str().and_then(|text| text.parse().ok());
                parsed.resume = Some(number.ok_or("--resume needs a descriptor's number")?);
            }
            "--session" => parsed.session = true,
            "--daemon" | "-d" => parsed.background = true,
            "--modular" => parsed.modular = true,
            "--verbose" | "-v" => parsed.verbose = true,
            // libvirtd's: listening on TCP is asked for in its configuration file nowadays.
            "--listen" | "-l" => {}
            "--help" | "-h" => return Ok(Parsed::Help),
            "--version" | "-V" => return Ok(Parsed::Version),
            other => return Err(format!("unknown option '{other}'; --help lists all")),
        }
    }
    Ok(Parsed::Run(parsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Result<Parsed, String> {
        parse(words.iter().map(OsString::from))
    }

    #[test]
    fn options_with_values_in_both_forms() {
        let expected = Args {
            root: Some("/r".into()),
            timeout: Some(Duration::from_secs(120)),
            ..Args::default()
        };
        assert_eq!(read(&["--root", "/r", "--timeout=120"]), Ok(Parsed::Run(expected)));
    }

    #[test]
    fn faults_are_named() {
        for (words, expected) in [
            (&["--rot"][..], "unknown option '--rot'; --help lists all"),
            (&["--root"], "--root needs a value"),
            (&["--timeout", "x"], "--timeout needs a number of seconds, not \"x\""),
        ] {
            assert_eq!(read(words), Err(expected.to_owned()));
        }
    }
}
