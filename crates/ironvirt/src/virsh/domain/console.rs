//! The guest's console in this terminal.

use super::*;
use crate::virsh::conn::{Received, Stream, StreamItem};
use crate::virsh::ctl::say;
use crate::virsh::fail::fail;
use crate::virsh::registry::Opt;
use crate::virsh::signals::RawTerminal;
use crate::virsh::util::os_error;
use protocol::remote::DomainOpenConsoleArgs;
use rustix::event::{PollFd, PollFlags, poll};
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The option, which virsh does not have and its help page does not list.
pub static HISTORY: Opt = Opt::flag("history", "begin with what was said before");

/// `console`
pub fn cmd_console(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let name = cmd.str("devname")?.map(str::to_owned);
    let mut flags = cmd.flags(&[("force", 1), ("safe", 2)]);
    if cmd.has_own(&HISTORY) {
        flags |= dispatch::CONSOLE_HISTORY;
    }
    attach(ctl, &dom, name, flags, cmd.has("resume"))
}

/// What a domain that does not run said last.
fn replay(ctl: &mut Ctl, args: &DomainOpenConsoleArgs) -> Outcome {
    let stream = open(ctl, args)?;
    ctl.flush();
    output(&stream, &AtomicBool::new(false))?;
    stream.finish().or(Ok(()))
}

fn open(ctl: &mut Ctl, args: &DomainOpenConsoleArgs) -> Outcome<Stream> {
    let opened = ctl.conn()?.open_stream::<protocol::remote::procs::DomainOpenConsole>(args);
    let ((), stream) = opened.map_err(|fail| {
        let refused = fail.lines.iter().any(|line| line.contains("unsupported flags ("));
        match args.flags & dispatch::CONSOLE_HISTORY != 0 && refused {
            true => fail.before("the daemon is another than Ironvirt, which keeps no history"),
            false => fail,
        }
    })?;
    Ok(stream)
}

/// Connects this terminal to a console of the domain until the guest or the user ends it.
pub fn attach(
    ctl: &mut Ctl,
    dom: &Dom,
    dev_name: Option<String>,
    flags: u32,
    resume: bool,
) -> Outcome {
    let state = call!(ctl, DomainGetState { dom: dom.clone(), flags: 0 })
        .map_err(|f| f.before("Unable to get domain status"))?
        .state;
    let args = DomainOpenConsoleArgs { dom: dom.clone(), dev_name, flags };
    if state == 5 {
        if flags & dispatch::CONSOLE_HISTORY != 0 {
            return replay(ctl, &args);
        }
        fail!("The domain is not running");
    }
    if !std::io::stdin().is_terminal() {
        fail!("Cannot run interactive console without a controlling TTY");
    }
    let stream = open(ctl, &args)?;
    say!(ctl, "Connected to domain '{}'\n", dom.name);
    let escape = ctl.escape.clone();
    let typed = escape.text.trim_start_matches('^').to_owned();
    let how =
        if escape.text.starts_with('^') { format!(" (Ctrl + {typed})") } else { String::new() };
    say!(ctl, "Escape character is {}{how}\n", escape.text);
    ctl.flush();
    if resume {
        call!(ctl, DomainResume { dom: dom.clone() })?;
    }
    // Dropped on every way out; a signal restores the terminal too.
    let _raw = RawTerminal::enter()?;
    relay(stream, escape.byte)
}

/// Copies both ways; one thread reads the guest, this one the keyboard.
fn relay(stream: Stream, escape: u8) -> Outcome {
    let done = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let r = output(&stream, &done);
            done.store(true, Ordering::Relaxed);
            r
        });
        let typed = input(&stream, &done, escape);
        done.store(true, Ordering::Relaxed);
        match reader.join() {
            Ok(r) => typed.and(r),
            Err(_) => Err(Fail::silent()),
        }
    });
    if result.is_ok() {
        // The guest may have ended the stream already: then there is nothing left to say.
        let _ = stream.abort();
    }
    result
}

fn output(stream: &Stream, done: &AtomicBool) -> Outcome {
    while !done.load(Ordering::Relaxed) {
        match stream.recv_timeout(Duration::from_millis(50))? {
            Received::Item(StreamItem::Data(data)) => {
                let mut out = std::io::stdout().lock();
                if out.write_all(&data).and_then(|()| out.flush()).is_err() {
                    break;
                }
            }
            Received::End => break,
            Received::Item(StreamItem::Hole(_)) | Received::TimedOut => {}
        }
    }
    Ok(())
}

fn input(stream: &Stream, done: &AtomicBool, escape: u8) -> Outcome {
    let stdin = std::io::stdin();
    let mut buffer = [0u8; 1024];
    let wait = rustix::event::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    while !done.load(Ordering::Relaxed) {
        let mut fds = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut fds, Some(&wait)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => continue,
            Ok(_) => {}
            Err(e) => fail!("cannot wait for input: {}", os_error(&e.into())),
        }
        let n = match rustix::io::read(&stdin, &mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(n) => n,
        };
        let typed = &buffer[..n];
        match typed.iter().position(|b| *b == escape) {
            Some(i) => {
                stream.send(&typed[..i])?;
                break;
            }
            None => stream.send(typed)?,
        }
    }
    Ok(())
}
