//! Somebody between the daemon and QEMU's monitor, who hears every command and can do harm at any
//! of them: QEMU dies or stops, an answer is no answer.
//!
//! The monitor's socket is moved aside while no daemon runs, and ours takes its place: the daemon
//! that takes the guest over connects to us.

use std::collections::BTreeMap;
use std::fs;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::Signal;

use crate::{Daemon, processes};

/// When harm is done to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// QEMU has not heard it.
    Before,
    /// QEMU has done it; the daemon is not told.
    After,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// QEMU is killed.
    Kill,
    /// QEMU is stopped, until somebody lets it go on.
    Stop,
    /// The daemon gets these bytes in place of the answer.
    Say(&'static [u8]),
    /// The connection ends.
    HangUp,
}

#[derive(Debug, Default)]
struct State {
    /// Harm to come, and at which command, counted from 0.
    armed: Option<(usize, When, Harm)>,
    /// The commands heard since it was armed.
    heard: Vec<String>,
    /// The id of the command whose answer is kept back (which may have none).
    kept_back: Option<Option<String>>,
    /// It was done.
    done: bool,
    qemu: i32,
    /// The daemon's end, for what QEMU never said.
    daemon: Option<UnixStream>,
    /// Answers given in QEMU's place, by command.
    answers: BTreeMap<String, serde_json::Value>,
}

/// Who stands between.
#[derive(Debug)]
pub struct Between {
    state: Arc<Mutex<State>>,
}

impl Between {
    /// Takes its place at a running guest: the daemon is killed for it and started again.
    ///
    /// # Panics
    /// The guest does not run, or its folder is not where it is expected.
    #[track_caller]
    pub fn step_in(daemon: &mut Daemon, name: &str) -> Between {
        Between::all(daemon, &[name]).remove(0)
    }

    /// The same at several guests.
    ///
    /// # Panics
    /// As [`Between::step_in`].
    #[track_caller]
    pub fn all(daemon: &mut Daemon, names: &[&str]) -> Vec<Between> {
        let ids: Vec<_> =
            names.iter().map(|name| daemon.virsh_words(&["domid", name]).ok()).collect();
        daemon.kill();
        let folder = daemon.path("var/lib/libvirt/qemu");
        let between = names.iter().zip(&ids).map(|(name, id)| {
            let own = format!("domain-{}-{name}", id.trim());
            let socket = folder.join(&own).join("monitor.sock");
            // Another may stand there already.
            let free = (0..).map(|number| daemon.path(&format!("{own}.monitor{number}")));
            let behind = free.into_iter().find(|path| !path.exists()).expect("a free name");
            fs::rename(&socket, &behind).expect("the monitor's socket");
            let qemu = daemon.qemus().into_iter().find(|&pid| {
                let named = format!("guest={name},");
                processes::command_line(pid).iter().any(|word| word.starts_with(&named))
            });
            Between::at(&socket, behind, qemu.expect("its QEMU"))
        });
        let between = between.collect();
        daemon.launch();
        between
    }

    fn at(socket: &Path, behind: PathBuf, qemu: i32) -> Between {
        let listener = UnixListener::bind(socket).expect("a socket in its place");
        let state = Arc::new(Mutex::new(State { qemu, ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for daemon in listener.incoming() {
                let Ok(daemon) = daemon else { return };
                let Ok(qemu) = UnixStream::connect(&behind) else { return };
                relay(&shared, daemon, qemu);
            }
        });
        Between { state }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Does harm at the command with this number, counted from now.
    pub fn arm(&self, step: usize, when: When, harm: Harm) {
        let mut state = self.lock();
        state.armed = Some((step, when, harm));
        state.heard.clear();
        state.kept_back = None;
        state.done = false;
    }

    /// Does nothing any more, whatever comes; the commands heard since it was armed.
    pub fn disarm(&self) -> Vec<String> {
        let mut state = self.lock();
        state.armed = None;
        std::mem::take(&mut state.heard)
    }

    /// Whether the harm was done.
    pub fn is_done(&self) -> bool {
        self.lock().done
    }

    /// Has QEMU say that something happened, which it did not.
    ///
    /// # Panics
    /// No daemon is connected.
    #[track_caller]
    pub fn say(&self, event: &str, data: serde_json::Value) {
        let timestamp = serde_json::json!({"seconds": 1, "microseconds": 0});
        let event = serde_json::json!({"event": event, "data": data, "timestamp": timestamp});
        let state = self.lock();
        let daemon = state.daemon.as_ref().expect("a daemon that is connected");
        assert!(send(daemon, format!("{event}\r\n").as_bytes(), &[]), "{event}");
    }

    /// Answers a command in QEMU's place from now on.
    pub fn answer(&self, command: &str, with: serde_json::Value) {
        self.lock().answers.insert(command.to_owned(), with);
    }

    /// Leaves the answers to QEMU again.
    pub fn answer_no_more(&self) {
        self.lock().answers.clear();
    }

    /// Ends the daemon's connection, at once.
    pub fn hang_up(&self) {
        if let Some(daemon) = self.lock().daemon.take() {
            let _ = daemon.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Its QEMU.
    pub fn qemu(&self) -> i32 {
        self.lock().qemu
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries one connection, both ways, until either end is gone.
fn relay(state: &Arc<Mutex<State>>, daemon: UnixStream, qemu: UnixStream) {
    let both = (daemon.try_clone().expect("a socket"), qemu.try_clone().expect("a socket"));
    lock(state).daemon = daemon.try_clone().ok();
    let shared = Arc::clone(state);
    let up = std::thread::spawn(move || {
        let (daemon, qemu) = both;
        each_line(&daemon, |line, fds| {
            let what = command(line);
            let harm = shared_harm(&shared, &what, &daemon);
            !harm.is_some_and(|ends| ends) && (harm.is_some() || send(&qemu, line, &fds))
        });
        let _ = qemu.shutdown(std::net::Shutdown::Both);
        let _ = daemon.shutdown(std::net::Shutdown::Both);
    });
    let shared = Arc::clone(state);
    std::thread::spawn(move || {
        each_line(&qemu, |line, fds| {
            let is_answer = ["return", "error"].iter().any(|it| value(line, it).is_some());
            let mut state = lock(&shared);
            // A command that is alone has no id, nor has its answer.
            if !is_answer || state.kept_back != Some(value(line, "id")) {
                drop(state);
                return send(&daemon, line, &fds);
            }
            state.kept_back = None;
            let Some((_, _, harm)) = state.armed.take() else { return true };
            !do_harm(&mut state, harm, &daemon)
        });
        let _ = daemon.shutdown(std::net::Shutdown::Both);
        let _ = qemu.shutdown(std::net::Shutdown::Both);
    });
    // QEMU has one client at a time: the next connection waits for the end of this one.
    let _ = up.join();
}

/// Counts a command, and does what is to be done before it: whether the connection ends; nothing if
/// it goes on to QEMU.
fn shared_harm(
    state: &Mutex<State>,
    (name, id): &(Option<String>, Option<String>),
    daemon: &UnixStream,
) -> Option<bool> {
    let mut state = lock(state);
    let name = name.as_deref().unwrap_or("nothing");
    if name == "qmp_capabilities" {
        return None;
    }
    if let Some(answer) = state.answers.get(name) {
        let mut answer = serde_json::json!({"return": answer});
        if let Some(id) = id.as_deref().and_then(|id| serde_json::from_str(id).ok()) {
            answer["id"] = id;
        }
        return Some(!send(daemon, format!("{answer}\r\n").as_bytes(), &[]));
    }
    state.heard.push(name.to_owned());
    let heard = state.heard.len() - 1;
    match state.armed {
        Some((step, When::Before, harm)) if step == heard => {
            state.armed = None;
            let ends = do_harm(&mut state, harm, daemon);
            // A stopped QEMU finds the command when it goes on.
            (harm != Harm::Stop).then_some(ends)
        }
        Some((step, When::After, _)) if step == heard => {
            state.kept_back = Some(id.clone());
            None
        }
        _ => None,
    }
}

/// Whether the connection ends with it.
fn do_harm(state: &mut State, harm: Harm, daemon: &UnixStream) -> bool {
    state.done = true;
    match harm {
        Harm::Kill => processes::signal(state.qemu, Signal::KILL),
        Harm::Stop => processes::signal(state.qemu, Signal::STOP),
        Harm::Say(bytes) => drop(send(daemon, bytes, &[])),
        Harm::HangUp => {}
    }
    harm == Harm::HangUp
}

/// The name of a command and its id.
fn command(line: &[u8]) -> (Option<String>, Option<String>) {
    (value(line, "execute"), value(line, "id"))
}

/// A member of a JSON object, as text.
fn value(line: &[u8], member: &str) -> Option<String> {
    let object: serde_json::Value = serde_json::from_slice(line).ok()?;
    match object.get(member)? {
        serde_json::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

fn send(to: &UnixStream, mut bytes: &[u8], fds: &[OwnedFd]) -> bool {
    let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(fds.len()))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)), "room for descriptors");
    }
    while !bytes.is_empty() {
        let Ok(sent) = sendmsg(to, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)
        else {
            return false;
        };
        control.clear();
        bytes = &bytes[sent..];
    }
    true
}

/// Hands on line by line, with the descriptors that came with its first byte, until the end of the
/// stream or until told not to go on.
fn each_line(from: &UnixStream, mut take: impl FnMut(&[u8], Vec<OwnedFd>) -> bool) {
    let (mut kept, mut fds) = (Vec::new(), Vec::new());
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 16 << 10];
        let mut into = [IoSliceMut::new(&mut bytes)];
        let count = match recvmsg(from, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC) {
            Ok(message) if message.bytes > 0 => message.bytes,
            _ => return,
        };
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(list) = part {
                fds.extend(list);
            }
        }
        kept.extend_from_slice(&bytes[..count]);
        while let Some(end) = kept.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = kept.drain(..=end).collect();
            if !take(&line, std::mem::take(&mut fds)) {
                return;
            }
        }
    }
}
