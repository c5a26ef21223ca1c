//! The helper's side: one thread, no runtime, straight to exec.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use rustix::process::{Resource as Rlimit, Rlimit as RlimitValues};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::wire::*;
use crate::lock::PidFile;
use crate::lock_daemon::{self, PeerError};
use crate::scm;

/// Runs the exec helper. A binary calls this *first*, on its only thread, when it was started with
/// the argument of its [`super::Helper`]; standard input is the daemon's socket. Returns only when
/// the program was not started: `main` then returns the code and does nothing else.
pub fn helper_main() -> ExitCode {
    match io::stdin().as_fd().try_clone_to_owned() {
        Ok(fd) => run(UnixStream::from(fd)),
        Err(_) => ExitCode::from(125),
    }
}

/// Returns the exit code; nobody looks at it but a human with a debugger.
fn run(mut socket: UnixStream) -> ExitCode {
    let plan = match receive(&mut socket).and_then(|(text, fds)| prepare(text, fds)) {
        Ok(plan) => plan,
        Err(failure) => return report(&mut socket, &failure),
    };
    if socket.write_all(&[READY]).is_err() {
        return ExitCode::SUCCESS;
    }
    let mut word = [0];
    // End of file: the daemon died or changed its mind. Nothing was started, nothing is left.
    match socket.read(&mut word) {
        Ok(1) if word == [GO] => {}
        _ => return ExitCode::SUCCESS,
    }
    let mut keep = OwnedFd::from(socket);
    let program = plan.program.to_string_lossy().into_owned();
    let Err(error): io::Result<Infallible> = plan.run(&mut keep);
    report(&mut UnixStream::from(keep), &Failure::new(Step::Exec, program, &error))
}

fn report(socket: &mut UnixStream, failure: &Failure) -> ExitCode {
    let mut bytes = vec![ERROR];
    if serde_json::to_writer(&mut bytes, failure).is_ok() {
        // If the daemon is gone, nobody wants to know.
        let _ = socket.write_all(&bytes);
    }
    ExitCode::from(126)
}

fn receive(socket: &mut UnixStream) -> Result<(Text, Vec<OwnedFd>), Failure> {
    let read = |socket: &mut UnixStream| -> io::Result<(Text, Vec<OwnedFd>)> {
        let mut head = [0; 8];
        socket.read_exact(&mut head)?;
        let [a, b, c, d, e, f, g, h] = head;
        let (length, count) = (u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]));
        if length > MAX_TEXT || count > MAX_DESCRIPTORS {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut text = vec![0; length as usize];
        socket.read_exact(&mut text)?;
        let text = serde_json::from_slice(&text)?;
        let mut fds = Vec::new();
        while fds.len() < count as usize {
            let (bytes, new) = scm::receive(&*socket, &mut [0])?;
            if bytes == 0 || new.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            fds.extend(new);
        }
        Ok((text, fds))
    };
    read(socket).map_err(|e| Failure::new(Step::Receive, "", &e))
}

/// Does every step that can fail before *go*, those that need rights first.
fn prepare(text: Text, mut fds: Vec<OwnedFd>) -> Result<host_sys::Exec, Failure> {
    let receive = |detail| Failure::new(Step::Receive, "", &io::Error::other(detail));
    let log = fds.pop().ok_or_else(|| receive("no log descriptor"))?;
    if fds.len() != text.numbers.len() {
        return Err(receive("descriptors missing"));
    }

    rustix::process::setsid().map_err(|e| Failure::new(Step::Session, "", &e.into()))?;
    // The first of these writes may wait some milliseconds for the kernel, the others do not: all
    // go together, and before anything else that costs time.
    for path in text.cgroups {
        let path = path.path();
        join(&path).map_err(|e| Failure::new(Step::Cgroup, path.to_string_lossy(), &e))?;
    }
    // Held open, hence in force, for the program's life.
    let mut held = Vec::new();
    if let Some(path) = text.pid_file {
        let path = path.path();
        let file = PidFile::acquire(&path)
            .map_err(|e| Failure::new(Step::PidFile, path.to_string_lossy(), &e.into_io()))?;
        held.push(OwnedFd::from(file.into_file()));
    }
    if let Some((socket, guest)) = text.locks {
        let socket = socket.path();
        // By this process itself: the lock daemon goes by who connected.
        held.push(lock_daemon::hold(&socket, &guest).map_err(|error| {
            let error = match error {
                PeerError::Io(error) => error,
                refused => io::Error::other(refused.to_string()),
            };
            Failure::new(Step::Lock, socket.to_string_lossy(), &error)
        })?);
    }
    if let Some(score) = text.oom_score_adj {
        write_existing(Path::new("/proc/self/oom_score_adj"), score.to_string().as_bytes())
            .map_err(|e| Failure::new(Step::OomScore, score.to_string(), &e))?;
    }
    for limit in text.limits {
        set_limit(limit)
            .map_err(|e| Failure::new(Step::Limit, format!("{:?}", limit.resource), &e))?;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(text.umask));
    let directory = text.directory.path();
    rustix::process::chdir(&directory)
        .map_err(|e| Failure::new(Step::Directory, directory.to_string_lossy(), &e.into()))?;
    become_user(text.user.as_ref(), text.clear_capabilities, text.no_new_privs).map_err(|e| {
        let name = text.user.as_ref().map(|u| format!("{}:{}", u.uid, u.gid)).unwrap_or_default();
        Failure::new(Step::User, name, &e)
    })?;

    let mut placed: Vec<(OwnedFd, i32)> = fds.into_iter().zip(text.numbers).collect();
    let null = File::options().read(true).write(true).open("/dev/null");
    let null = null.map_err(|e| Failure::new(Step::Exec, "/dev/null", &e))?;
    placed.push((null.into(), 0));
    let copy = log.try_clone().map_err(|e| Failure::new(Step::Exec, "log", &e))?;
    placed.push((log, 1));
    placed.push((copy, 2));
    for fd in held {
        // It needs some number nobody asked for.
        let number = placed.iter().map(|(_, n)| *n).max().unwrap_or(2).saturating_add(1);
        placed.push((fd, number));
    }

    let c_string =
        |bytes: Vec<u8>| CString::new(bytes).map_err(|_| receive("a null byte in the command"));
    let program = c_string(text.program.into_bytes())?;
    let mut args = vec![program.clone()];
    for arg in text.args {
        args.push(c_string(arg.into_bytes())?);
    }
    let mut env = Vec::new();
    for (name, value) in text.env {
        let mut entry = name.into_bytes();
        entry.push(b'=');
        entry.extend(value.into_bytes());
        env.push(c_string(entry)?);
    }
    Ok(host_sys::Exec { program, args, env, fds: placed })
}

/// Moves this process. "0" stands for the writer itself, whatever pid namespace is looked from.
fn join(path: &Path) -> io::Result<()> {
    write_existing(path, b"0")
}

fn write_existing(path: &Path, bytes: &[u8]) -> io::Result<()> {
    File::options().write(true).open(path)?.write_all(bytes)
}

fn set_limit(limit: ResourceLimit) -> io::Result<()> {
    let resource = match limit.resource {
        Resource::Core => Rlimit::Core,
        Resource::Memlock => Rlimit::Memlock,
        Resource::Nofile => Rlimit::Nofile,
        Resource::Nproc => Rlimit::Nproc,
        Resource::Rtprio => Rlimit::Rtprio,
    };
    Ok(rustix::process::setrlimit(
        resource,
        RlimitValues { current: limit.soft, maximum: limit.hard },
    )?)
}

fn become_user(user: Option<&Credentials>, clear: bool, no_new_privs: bool) -> io::Result<()> {
    use rustix::process::{Gid, Uid};
    if no_new_privs {
        rustix::thread::set_no_new_privs(true)?;
    }
    if let Some(user) = user {
        // (uid_t)-1 means "leave alone" to the kernel: never accept it as a user.
        if user.uid == u32::MAX || user.gid == u32::MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // Calls for the thread are calls for the process here: there is one thread.
        let groups: Vec<Gid> = user.groups.iter().map(|&g| Gid::from_raw(g)).collect();
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        rustix::thread::set_thread_groups(&groups)?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    }
    let stays_root = rustix::process::geteuid().is_root();
    if clear && stays_root {
        // exec gives root everything of the bounding set back, so that has to go first.
        drop_bounding_set()?;
    }
    if clear || !stays_root {
        let none = CapabilitySet::empty();
        rustix::thread::set_capabilities(
            None,
            CapabilitySets { effective: none, permitted: none, inheritable: none },
        )?;
        // Absent from kernels before 4.3, where there is nothing to clear.
        let _ = rustix::thread::clear_ambient_capability_set();
    }
    Ok(())
}

fn drop_bounding_set() -> io::Result<()> {
    for capability in CapabilitySet::all().iter() {
        // The kernel may know fewer than rustix: those are not in the set.
        if rustix::thread::capability_is_in_bounding_set(capability).unwrap_or(false) {
            rustix::thread::remove_capability_from_bounding_set(capability)?;
        }
    }
    Ok(())
}
