//! `ironvirt lockd`: the lock daemon, in virtlockd's place.

use crate::daemon::Args;
use crate::keeper::{self, Keeper};
use engine::conf::known;
use keepers::lock::Config;
use std::ffi::OsString;
use std::time::Duration;

const LOCKD: Keeper = Keeper {
    word: "lockd",
    name: "virtlockd",
    help: "\
Usage: ironvirt lockd [OPTION]…

  --root DIR       keep everything below DIR
  --session        be a user's own daemon
  --config FILE    read FILE instead of etc/libvirt/virtlockd.conf
  --timeout SECS   end after SECS without a lock and without clients
  --daemon         go on in the background once ready
  --pid-file FILE  lock FILE instead of run/virtlockd.pid
  --verbose        log more
  --help, --version

It holds the locks of guests' disks for lock_manager = \"lockd\" of qemu.conf.
SIGUSR1 replaces it by the program that is installed now, and no lock is lost; SIGTERM ends it as
soon as no guest holds a lock any more.
Started under the name virtlockd it does the same.
",
    run,
};

/// How our own daemon starts one for a tree.
pub fn helper(args: &Args) -> host::spawn::Helper {
    LOCKD.helper(args)
}

/// Runs the daemon; returns the exit status.
pub fn main(words: Vec<OsString>) -> i32 {
    LOCKD.main(words)
}

fn run(args: Args, words: Vec<OsString>, state: Option<Vec<u8>>) -> Result<(), String> {
    let layout = LOCKD.layout(&args)?;
    let path = args.config.clone().unwrap_or_else(|| layout.etc.join("virtlockd.conf"));
    let conf = keeper::read_conf(&path, args.config.is_some(), &known::VIRTLOCKD)?;
    let config = Config {
        socket: layout.run.join("virtlockd-sock"),
        admin_socket: layout.run.join("virtlockd-admin-sock"),
        pid_file: layout.pid_file.clone(),
        activated: LOCKD.activated(),
        max_clients: keeper::max_clients(&conf)?,
        timeout: args.timeout,
        state,
        arguments: LOCKD.arguments(&words),
        announce: Box::new(keeper::announce),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("locks")
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start threads: {error}"))?;
    let result = runtime.block_on(keepers::lock::serve(config));
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}
