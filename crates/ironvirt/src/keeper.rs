//! What `logd` and `lockd` have in common: their arguments, going into the background, being ready.

use crate::daemon::{self, Args, Parsed};
use engine::Layout;
use engine::conf::ConfFile;
use engine::conf::known::Known;
use keepers::reexec;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs a small daemon with its arguments, as read and as given, and with what a predecessor left.
type Run = fn(Args, Vec<OsString>, Option<Vec<u8>>) -> Result<(), String>;

/// Most of a log that is looked at for why a daemon did not start.
const LAST_WORDS: u64 = 4096;

/// A small daemon.
pub struct Keeper {
    /// The word that makes this program it.
    pub word: &'static str,
    /// How libvirt calls it: its sockets, its files.
    pub name: &'static str,
    /// The help text.
    pub help: &'static str,
    /// Runs it in the foreground.
    pub run: Run,
}

impl Keeper {
    /// How our own daemon starts one for a tree, where none answers: it ends some time after its last guest.
    pub fn helper(&self, args: &Args) -> host::spawn::Helper {
        let mut words: Vec<OsString> = vec![self.word.into(), "--daemon".into()];
        if let Some(root) = &args.root {
            let root = std::path::absolute(root).unwrap_or(root.clone());
            words.extend(["--root".into(), root.into()]);
        }
        if args.session {
            words.push("--session".into());
        }
        words.extend(["--timeout".into(), "60".into()]);
        host::spawn::Helper { program: "/proc/self/exe".into(), args: words }
    }

    /// Runs the daemon; returns the exit status.
    pub fn main(&self, words: Vec<OsString>) -> i32 {
        let args = match daemon::parse(words.clone()) {
            Ok(Parsed::Run(args)) => args,
            Ok(Parsed::Help) => {
                print!("{}", self.help);
                return 0;
            }
            Ok(Parsed::Version) => {
                println!("ironvirt {}", env!("CARGO_PKG_VERSION"));
                return 0;
            }
            Err(message) => {
                eprintln!("error: {message}");
                return 2;
            }
        };
        // First of all: their numbers must not be given to anything else.
        let state = match args.resume.map(reexec::inherited_state).transpose() {
            Ok(state) => state,
            Err(error) => {
                eprintln!("error: cannot take over from the predecessor: {error}");
                return 1;
            }
        };
        daemon::start_log(args.verbose);
        let result = match args.background {
            true => self.background(&args, &words),
            false => self.foreground(args, words, state),
        };
        match result {
            Ok(()) => 0,
            Err(message) => {
                eprintln!("error: {message}");
                1
            }
        }
    }

    fn foreground(
        &self,
        args: Args,
        words: Vec<OsString>,
        state: Option<Vec<u8>>,
    ) -> Result<(), String> {
        if args.detached {
            // Whoever started us, a terminal's end is not ours.
            let _ = rustix::process::setsid();
        }
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        (self.run)(args, words, state)
    }

    /// Starts this program again without `--daemon`, in a session of its own, and waits until it is
    /// ready.
    fn background(&self, args: &Args, words: &[OsString]) -> Result<(), String> {
        let layout = self.layout(args)?;
        host::files::make_folder(&layout.log, 0o755).map_err(|error| error.to_string())?;
        let path = layout.log.join(format!("{}.log", self.name));
        let log = File::options().create(true).append(true).open(&path);
        let log = log.map_err(|error| format!("cannot open '{}': {error}", path.display()))?;
        let said_before = log.metadata().map_or(0, |metadata| metadata.len());
        let words = words.iter().filter(|word| *word != "-d" && *word != "--daemon");
        let mut child = Command::new("/proc/self/exe")
            .arg(self.word)
            .args(words)
            .arg("--detached")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .current_dir("/")
            .spawn()
            .map_err(|error| format!("cannot start in the background: {error}"))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        match line.starts_with("ready") {
            true => Ok(()),
            false => {
                // Its last words are written before it is gone.
                let _ = child.wait();
                let said = host::files::read_tail(&path, said_before, LAST_WORDS);
                let said = said.unwrap_or_default();
                let last = said.lines().rev().find_map(|line| line.strip_prefix("error: "));
                Err(match last {
                    Some(words) => format!("it did not start: {words}"),
                    None => format!("it did not start; '{}' says why", path.display()),
                })
            }
        }
    }

    /// Where it has its files.
    pub fn layout(&self, args: &Args) -> Result<Layout, String> {
        let mut layout = daemon::layout(&Args { pid_file: None, ..args.clone() })?;
        layout.pid_file = match &args.pid_file {
            Some(path) => std::path::absolute(path).map_err(|error| error.to_string())?,
            None => layout.pid_file.with_file_name(format!("{}.pid", self.name)),
        };
        Ok(layout)
    }

    /// How the successor is started.
    pub fn arguments(&self, words: &[OsString]) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec![self.word.into()];
        let resume = words.iter().position(|word| word == reexec::ARGUMENT);
        arguments.extend(words.iter().enumerate().filter_map(|(at, word)| match resume {
            Some(resume) if at == resume || at == resume + 1 => None,
            _ => Some(word.clone()),
        }));
        arguments
    }

    /// The sockets that a service manager made: the clients', then the admin's.
    pub fn activated(&self) -> Vec<OwnedFd> {
        let mut activated = daemon::activated_sockets();
        activated.retain(|(name, _)| name.starts_with(&format!("{}-", self.name)));
        activated.sort_by_key(|(name, _)| name.contains("admin"));
        activated.into_iter().map(|(_, fd)| fd).collect()
    }
}

/// Tells whoever waits that clients may come, or that they may not any more.
pub fn announce(ready: bool) {
    if !ready {
        return daemon::tell_manager("STOPPING=1");
    }
    daemon::tell_manager("READY=1");
    let mut out = std::io::stdout();
    let _ = writeln!(out, "ready");
    let _ = out.flush();
}

/// Reads a configuration file, which may be missing unless `must_exist`.
pub fn read_conf(path: &Path, must_exist: bool, known: &Known) -> Result<ConfFile, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => {
            return Ok(ConfFile::default());
        }
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let conf = ConfFile::parse(&path.display().to_string(), &text).map_err(|e| e.to_string())?;
    known.check(&conf).map_err(|error| error.to_string())?;
    Ok(conf)
}

/// `max_clients` and `admin_max_clients`.
pub fn max_clients(conf: &ConfFile) -> Result<(usize, usize), String> {
    let number = |name: &str, default: i64| {
        let number = conf.number(name).map_err(|error| error.to_string())?.unwrap_or(default);
        usize::try_from(number).map_err(|_| conf.invalid(name, "must not be negative").to_string())
    };
    Ok((number("max_clients", 1024)?, number("admin_max_clients", 5)?))
}
