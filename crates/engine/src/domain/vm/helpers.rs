//! The helpers of a running guest (emulated TPM, network, shared folders, …): one that ends before
//! its guest is told of, in the daemon's log and the guest's and by `why`.

use super::Message;
use crate::domain::start::teardown::is_helper;
use host::process::Process;
use plan::Undo;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;

/// How long a helper's end waits for the end of its guest: some end by themselves when QEMU does.
const AFTER: Duration = Duration::from_secs(2);

/// A helper that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::domain) struct Ended {
    /// Its pid file, by which it is known.
    pub pid_file: String,
    /// Its program's name.
    pub name: String,
    pub pid: u32,
}

/// Those that are watched, by their pid files.
#[derive(Debug, Default)]
pub(super) struct Helpers(BTreeSet<String>);

impl Helpers {
    /// Watches those that what is to be taken back names, and no others.
    pub fn watch(
        &mut self,
        undo: &[Undo],
        runtime: &tokio::runtime::Handle,
        inbox: &mpsc::UnboundedSender<Message>,
    ) {
        let there: BTreeSet<String> = undo.iter().filter_map(pid_file).map(str::to_owned).collect();
        for new in there.difference(&self.0) {
            runtime.spawn(watch(new.clone(), inbox.clone()));
        }
        self.0 = there;
    }

    /// Whether the guest still has it.
    pub fn has(&self, ended: &Ended) -> bool {
        self.0.contains(&ended.pid_file)
    }
}

fn pid_file(step: &Undo) -> Option<&str> {
    match step {
        Undo::EndHelper { pid_file } => Some(pid_file),
        _ => None,
    }
}

async fn watch(pid_file: String, inbox: mpsc::UnboundedSender<Message>) {
    let path = pid_file.clone();
    let found = tokio::task::spawn_blocking(move || {
        let pid = host::lock::written_pid(Path::new(&path))?;
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let process = Process::open(pid).ok().filter(|_| is_helper(pid, &path));
        Some((pid, name.trim().to_owned(), process))
    });
    // Without a pid file there is none: a guest that libvirtd started need not have it.
    let Ok(Some((pid, name, process))) = found.await else { return };
    let name = match process {
        Some(process) => {
            let _ = process.exited().await;
            name
        }
        // It ended while no daemon ran; another process may have its number.
        None => Path::new(&pid_file).file_stem().unwrap_or_default().to_string_lossy().into_owned(),
    };
    tokio::time::sleep(AFTER).await;
    // Nobody listens when the guest has ended, too.
    let _ = inbox.send(Message::HelperEnded(Ended { pid_file, name, pid }));
}
