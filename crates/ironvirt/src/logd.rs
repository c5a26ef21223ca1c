//! `ironvirt logd`: the log daemon, in virtlogd's place.

use crate::daemon::{self, Args, Parsed};
use engine::Layout;
use engine::conf::{ConfFile, known};
use keepers::log::file::Limits;
use keepers::log::{Config, Reloaded};
use keepers::reexec;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const HELP: &str = "\
Usage: ironvirt logd [OPTION]…

  --root DIR       keep everything below DIR
  --session        be a user's own daemon
  --config FILE    read FILE instead of etc/libvirt/virtlogd.conf
  --timeout SECS   end after SECS without a guest that writes and without clients
  --daemon         go on in the background once ready
  --pid-file FILE  lock FILE instead of run/virtlogd.pid
  --verbose        log more
  --help, --version

SIGUSR1 replaces it by the program that is installed now, without a guest noticing; SIGHUP reads
the settings again; SIGTERM ends it as soon as no guest writes to a log any more.
Started under the name virtlogd it does the same.
";

/// How our own daemon starts one for a tree, where none answers: it ends some time after its last guest.
pub fn helper(args: &Args) -> host::spawn::Helper {
    let mut words: Vec<OsString> = vec!["logd".into(), "--daemon".into()];
    if let Some(root) = &args.root {
        words.extend(["--root".into(), std::path::absolute(root).unwrap_or(root.clone()).into()]);
    }
    if args.session {
        words.push("--session".into());
    }
    words.extend(["--timeout".into(), "60".into()]);
    host::spawn::Helper { program: "/proc/self/exe".into(), args: words }
}

/// Runs the daemon; returns the exit status.
pub fn main(words: Vec<OsString>) -> i32 {
    let args = match daemon::parse(words.clone()) {
        Ok(Parsed::Run(args)) => args,
        Ok(Parsed::Help) => {
            print!("{HELP}");
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
    let result = if args.background { background(&args, &words) } else { run(args, words, state) };
    match result {
        Ok(()) => 0,
        Err(message) => {
            eprintln!("error: {message}");
            1
        }
    }
}

/// Starts this program again without `--daemon`, in a session of its own, and waits until it is
/// ready.
fn background(args: &Args, words: &[OsString]) -> Result<(), String> {
    let layout = layout(args)?;
    host::files::make_folder(&layout.log, 0o755).map_err(|error| error.to_string())?;
    let path = layout.log.join("virtlogd.log");
    let log = File::options().create(true).append(true).open(&path);
    let log = log.map_err(|error| format!("cannot open '{}': {error}", path.display()))?;
    let words = words.iter().filter(|word| *word != "-d" && *word != "--daemon");
    let mut child = Command::new("/proc/self/exe")
        .arg("logd")
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
        false => Err(format!("it did not start; '{}' says why", path.display())),
    }
}

fn layout(args: &Args) -> Result<Layout, String> {
    let mut layout = daemon::layout(&Args { pid_file: None, ..args.clone() })?;
    layout.pid_file = match &args.pid_file {
        Some(path) => std::path::absolute(path).map_err(|error| error.to_string())?,
        None => layout.pid_file.with_file_name("virtlogd.pid"),
    };
    Ok(layout)
}

fn run(args: Args, words: Vec<OsString>, state: Option<Vec<u8>>) -> Result<(), String> {
    if args.detached {
        // Whoever started us, a terminal's end is not ours.
        let _ = rustix::process::setsid();
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let layout = layout(&args)?;
    // Settings of guests that cannot be read must not cost their logs.
    let guest = daemon::read_settings(&layout).map_or(0, |s| s.qemu.ids.map_or(0, |ids| ids.uid));
    let path = args.config.clone().unwrap_or_else(|| layout.etc.join("virtlogd.conf"));
    let must_exist = args.config.is_some();
    let conf = read_conf(&path, must_exist)?;
    let number = |name: &str, default: i64| {
        let number = conf.number(name).map_err(|error| error.to_string())?.unwrap_or(default);
        usize::try_from(number).map_err(|_| conf.invalid(name, "must not be negative").to_string())
    };
    let max_clients = (number("max_clients", 1024)?, number("admin_max_clients", 5)?);
    let log_root = layout.log.clone();
    let mut arguments: Vec<OsString> = vec!["logd".into()];
    let resume = words.iter().position(|word| word == reexec::ARGUMENT);
    arguments.extend(words.iter().enumerate().filter_map(|(at, word)| match resume {
        Some(resume) if at == resume || at == resume + 1 => None,
        _ => Some(word.clone()),
    }));
    let mut activated = daemon::activated_sockets();
    // The clients' socket goes first.
    activated.retain(|(name, _)| name.starts_with("virtlogd-"));
    activated.sort_by_key(|(name, _)| name.contains("admin"));
    let activated = activated.into_iter().map(|(_, fd)| fd).collect();
    let config = Config {
        socket: layout.run.join("virtlogd-sock"),
        admin_socket: layout.run.join("virtlogd-admin-sock"),
        pid_file: layout.pid_file.clone(),
        activated,
        guest,
        max_clients,
        timeout: args.timeout,
        load: Box::new(move || settings(&read_conf(&path, must_exist)?, &log_root)),
        state,
        arguments,
        announce: Box::new(announce),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("logs")
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))?;
    let result = runtime.block_on(keepers::log::serve(config));
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}

fn announce(ready: bool) {
    if !ready {
        return daemon::tell_manager("STOPPING=1");
    }
    daemon::tell_manager("READY=1");
    let mut out = std::io::stdout();
    let _ = writeln!(out, "ready");
    let _ = out.flush();
}

fn read_conf(path: &Path, must_exist: bool) -> Result<ConfFile, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => {
            return Ok(ConfFile::default());
        }
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let conf = ConfFile::parse(&path.display().to_string(), &text).map_err(|e| e.to_string())?;
    known::VIRTLOGD.check(&conf).map_err(|error| error.to_string())?;
    Ok(conf)
}

fn settings(conf: &ConfFile, log_root: &Path) -> Result<Reloaded, String> {
    let number = |name: &str| {
        let number = conf.number(name).map_err(|error| error.to_string())?;
        Ok::<_, String>(number.and_then(|number| u64::try_from(number).ok()))
    };
    let default = Limits::default();
    let backups = number("max_backups")?.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let limits = Limits {
        max_size: number("max_size")?.unwrap_or(default.max_size),
        max_backups: backups.unwrap_or(default.max_backups),
    };
    let root = conf.text("log_root").map_err(|error| error.to_string())?;
    let root = root.map_or_else(|| log_root.to_owned(), PathBuf::from);
    let days = number("max_age_days")?.filter(|days| *days > 0);
    let expiry = days.map(|days| (root, Duration::from_secs(days.saturating_mul(86_400))));
    Ok(Reloaded { limits, expiry })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_virtlogds() {
        let read = |text: &str| {
            settings(&ConfFile::parse("virtlogd.conf", text).expect("conf"), Path::new("/l"))
        };
        let none = read("").expect("defaults");
        assert_eq!((none.limits, none.expiry), (Limits::default(), None));
        let text = "max_size = 1000\nmax_backups = 0\nmax_age_days = 2\n";
        let some = read(text).expect("settings");
        assert_eq!(some.limits, Limits { max_size: 1000, max_backups: 0 });
        assert_eq!(some.expiry, Some(("/l".into(), Duration::from_secs(172_800))));
        assert!(read("max_size = \"big\"\n").is_err());
    }
}
