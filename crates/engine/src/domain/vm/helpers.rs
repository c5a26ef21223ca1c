//! The helpers of a running guest (emulated TPM, network, shared folders, …): one that ends before
//! its guest is started anew where that gives the guest its device back (passt, nbdkit, the manager
//! of reservations); else it is told of, in the daemon's log and the guest's and by `why`.

use super::Message;
use crate::domain::start::steps;
use crate::domain::start::teardown::is_helper;
use crate::engine::Engine;
use diag::VirError;
use host::process::Process;
use model::domain::Domain as Definition;
use plan::{Action, Step, Undo};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How long a helper's end waits for the end of its guest: some end by themselves when QEMU does.
const AFTER: Duration = Duration::from_secs(2);

/// The same of one that stays when QEMU ends: only a device that leaves ends it.
const SOON: Duration = Duration::from_millis(200);

/// How often within [`WITHIN`] a helper is started anew: what ends more often will do so again.
const TIMES: usize = 5;

/// See [`TIMES`].
const WITHIN: Duration = Duration::from_secs(60);

/// A helper that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::domain) struct Ended {
    /// Its pid file, by which it is known.
    pub pid_file: String,
    /// Its program's name.
    pub name: String,
    pub pid: u32,
    /// Why it was not started anew, where that was tried.
    pub not_again: Option<String>,
}

/// Those that are watched, by their pid files.
#[derive(Debug, Default)]
pub(super) struct Helpers {
    there: BTreeSet<String>,
    /// Those that are being started anew.
    starting: BTreeMap<String, JoinHandle<()>>,
    /// When they were lately.
    started: BTreeMap<String, Vec<Instant>>,
}

impl Helpers {
    /// Watches those that what is to be taken back names, and no others.
    pub fn watch(
        &mut self,
        undo: &[Undo],
        runtime: &tokio::runtime::Handle,
        inbox: &mpsc::UnboundedSender<Message>,
    ) {
        let there: BTreeSet<String> = undo.iter().filter_map(pid_file).map(str::to_owned).collect();
        for new in there.difference(&self.there) {
            runtime.spawn(watch(new.clone(), inbox.clone()));
        }
        self.there = there;
    }

    /// Whether the guest still has it.
    pub fn has(&self, pid_file: &str) -> bool {
        self.there.contains(pid_file)
    }

    /// The pid file of a helper, by its last part.
    pub fn named(&self, tail: &str) -> Option<String> {
        self.there.iter().find(|pid_file| pid_file.ends_with(tail)).cloned()
    }

    /// Whether somebody starts it anew already, or has done so since `ended` ended.
    pub fn is_back(&self, ended: &Ended) -> bool {
        self.starting.contains_key(&ended.pid_file)
            || host::lock::written_pid(Path::new(&ended.pid_file))
                .is_some_and(|pid| pid != ended.pid && is_helper(pid, &ended.pid_file))
    }

    /// Starts a helper anew, once; its end is told as [`Message::HelperAgain`]. `ended`: what is
    /// told of it where that fails.
    pub fn start_again(
        &mut self,
        engine: &Arc<Engine>,
        domain: (Arc<str>, [u8; 16]),
        definition: Definition,
        ended: Ended,
        inbox: &mpsc::UnboundedSender<Message>,
    ) {
        if self.starting.contains_key(&ended.pid_file) {
            return;
        }
        let times = self.started.entry(ended.pid_file.clone()).or_default();
        times.retain(|time| time.elapsed() < WITHIN);
        let often = times.len() >= TIMES;
        times.push(Instant::now());
        let (again, inbox, pid_file) = (Arc::clone(engine), inbox.clone(), ended.pid_file.clone());
        let name = pid_file.clone();
        let task = engine.runtime().spawn(async move {
            let done =
                crate::blocking(move || again.start_again(domain, &definition, &name, often));
            let done = done.await;
            let _ = inbox.send(Message::HelperAgain(ended, done));
        });
        self.starting.insert(pid_file, task);
    }

    /// It was tried: whether the helper is there is to be seen.
    pub fn tried(
        &mut self,
        pid_file: &str,
        runtime: &tokio::runtime::Handle,
        inbox: &mpsc::UnboundedSender<Message>,
    ) {
        self.starting.remove(pid_file);
        runtime.spawn(watch(pid_file.to_owned(), inbox.clone()));
    }

    /// It was not started.
    pub fn forget_start(&mut self, pid_file: &str) {
        self.starting.remove(pid_file);
    }

    /// Waits until nobody is being started: what is then taken back takes all with it.
    pub async fn settle(&mut self) {
        for (_, task) in std::mem::take(&mut self.starting) {
            let _ = task.await;
        }
    }
}

impl Engine {
    /// Starts the helper with this pid file anew; false for one of which that is no use. `often`: it
    /// was done too often lately. Blocks.
    fn start_again(
        &self,
        (name, uuid): (Arc<str>, [u8; 16]),
        definition: &Definition,
        pid_file: &str,
        often: bool,
    ) -> Result<bool, VirError> {
        let helper = self.with_inputs(definition, |inputs| {
            plan::qemu::helper_again(definition, inputs, pid_file)
        })?;
        let Some(helper) = helper else { return Ok(false) };
        let program = helper.program.rsplit('/').next().unwrap_or_default();
        if often {
            let text = format!("'{program}' ended {TIMES} times within {WITHIN:?}");
            return Err(VirError::internal(text));
        }
        tracing::info!(domain = %name, "starting '{program}' anew");
        self.note_in_log(&name, uuid, &format!("Starting external device: {program}"));
        // Those of the one before: the new one makes its own.
        for left in [Some(pid_file), helper.socket.as_deref()].into_iter().flatten() {
            let path = host::access::place(Path::new(left), self.guest_uid());
            let _ = path.and_then(|place| std::fs::remove_file(place.path()));
        }
        steps::perform(self, &name, &Step::new(Action::Helper(helper)), &mut Default::default())?;
        let live = self.registry.by_name(&name).and_then(|domain| domain.snapshot().live.clone());
        if let Some(live) = live {
            let undo = Undo::EndHelper { pid_file: pid_file.to_owned() };
            self.place_helpers(&name, live.pid, std::iter::once(&undo));
        }
        Ok(true)
    }
}

fn pid_file(step: &Undo) -> Option<&str> {
    match step {
        Undo::EndHelper { pid_file } => Some(pid_file),
        _ => None,
    }
}

/// Whether it is one of those that stay when QEMU ends, and that disks hang on.
fn serves_disks(pid_file: &str) -> bool {
    let name = pid_file.rsplit('/').next().unwrap_or_default();
    name.starts_with("nbdkit-") || name.starts_with("pr-helper")
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
        // It ended while no daemon ran, or before anybody looked; another process may have its
        // number. Its file is called after it.
        None => {
            let stem = Path::new(&pid_file).file_stem().unwrap_or_default().to_string_lossy();
            let program = ["passt", "swtpm", "slirp"].into_iter().find(|it| stem.ends_with(it));
            program.map_or_else(|| stem.into_owned(), str::to_owned)
        }
    };
    tokio::time::sleep(if serves_disks(&pid_file) { SOON } else { AFTER }).await;
    // Nobody listens when the guest has ended, too.
    let _ = inbox.send(Message::HelperEnded(Ended { pid_file, name, pid, not_again: None }));
}
