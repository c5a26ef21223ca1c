//! `ironvirt logd`: the log daemon, in virtlogd's place.

use crate::daemon::{self, Args};
use crate::keeper::{self, Keeper};
use engine::conf::{ConfFile, known};
use keepers::log::file::Limits;
use keepers::log::{Config, Reloaded};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LOGD: Keeper = Keeper {
    word: "logd",
    name: "virtlogd",
    help: "\
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
",
    run,
};

/// How our own daemon starts one for a tree.
pub fn helper(args: &Args) -> host::spawn::Helper {
    LOGD.helper(args)
}

/// Runs the daemon; returns the exit status.
pub fn main(words: Vec<OsString>) -> i32 {
    LOGD.main(words)
}

fn run(args: Args, words: Vec<OsString>, state: Option<Vec<u8>>) -> Result<(), String> {
    let layout = LOGD.layout(&args)?;
    // Settings of guests that cannot be read must not cost their logs.
    let guest = daemon::read_settings(&layout).map_or(0, |s| s.qemu.ids.map_or(0, |ids| ids.uid));
    let path = args.config.clone().unwrap_or_else(|| layout.etc.join("virtlogd.conf"));
    let must_exist = args.config.is_some();
    let read = move |path: &Path| keeper::read_conf(path, must_exist, &known::VIRTLOGD);
    let max_clients = keeper::max_clients(&read(&path)?)?;
    let log_root = layout.log.clone();
    let config = Config {
        socket: layout.run.join("virtlogd-sock"),
        admin_socket: layout.run.join("virtlogd-admin-sock"),
        pid_file: layout.pid_file.clone(),
        activated: LOGD.activated(),
        guest,
        max_clients,
        timeout: args.timeout,
        load: Box::new(move || settings(&read(&path)?, &log_root)),
        state,
        arguments: LOGD.arguments(&words),
        announce: Box::new(keeper::announce),
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
