//! Guests that do not answer: whatever waits for one of them, nobody else does.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::Signal;
use tests::wire::{self, procedure};
use tests::{Daemon, domains, processes, wait};

/// A client does five calls at a time: enough clients to fill any pool of threads.
const CLIENTS: usize = 120;
const CALLS: u32 = 5;

/// Whether something came in; waits for nothing.
fn has_answer(stream: &UnixStream) -> bool {
    stream.set_nonblocking(true).expect("a socket option");
    let mut byte = [0];
    let seen = rustix::net::recv(stream, &mut byte, rustix::net::RecvFlags::PEEK).is_ok();
    stream.set_nonblocking(false).expect("a socket option");
    seen
}

#[test]
fn changes_queued_on_a_stuck_guest_keep_nobody_else_waiting() {
    let mut daemon = Daemon::start();
    if daemon.is_external() {
        return;
    }
    daemon.define(&domains::boot_sector(&daemon, "stuck")).ok();
    daemon.virsh("start stuck").ok();
    let qemu = daemon.qemus();
    let mut holder = wire::open(daemon.socket(), daemon.session());
    let name = wire::string("stuck");
    let (status, dom) = wire::ask(&mut holder, procedure::DOMAIN_LOOKUP_BY_NAME, 3, &name);
    assert_eq!(status, 0, "the guest is there");

    processes::signal(qemu[0], Signal::STOP);
    holder.write_all(&wire::call(procedure::DOMAIN_SUSPEND, 4, &dom)).expect("sent");
    wait::until("the job to be held", || {
        (!daemon.virsh("domcontrol stuck").ok().starts_with("ok")).then_some(())
    });
    let mut waiting: Vec<_> =
        (0..CLIENTS).map(|_| wire::open(daemon.socket(), daemon.session())).collect();
    for stream in &mut waiting {
        for serial in 0..CALLS {
            let body = [dom.as_slice(), &[0, 0, 0, (serial % 2) as u8]].concat();
            let call = wire::call(procedure::DOMAIN_SET_AUTOSTART, 10 + serial, &body);
            stream.write_all(&call).expect("sent");
        }
    }

    daemon.define(&domains::minimal("other")).ok();
    daemon.virsh("dumpxml other").ok();
    daemon.virsh("start other").ok();
    daemon.virsh("dumpxml stuck").ok();
    // A new definition of the guest waits for nothing that is done with it.
    let stored = daemon.virsh("dumpxml stuck --inactive").ok();
    let titled = stored.replace("</uuid>", "</uuid>\n  <title>defined meanwhile</title>");
    daemon.define(&titled).ok();
    assert_eq!(daemon.virsh("dumpxml stuck --inactive").ok(), titled);
    daemon.virsh_with_file("create", &domains::minimal("transient")).ok();
    daemon.virsh("undefine other").ok();
    daemon.virsh("destroy other").ok();
    daemon.virsh("destroy transient").ok();
    for _ in 0..4 {
        // Together they would wait for longer than a change does.
        daemon.virsh("domstats --nowait").ok();
    }
    let early = waiting.iter().chain([&holder]).filter(|stream| has_answer(stream)).count();
    assert_eq!(early, 0, "the others did wait until the guest answered");

    processes::signal(qemu[0], Signal::CONT);
    for stream in waiting.iter_mut().chain([&mut holder]) {
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a socket option");
    }
    let read = |stream: &mut UnixStream| {
        let answer = wire::read_frame(stream).expect("an answer");
        assert_eq!(answer[20..24], [0; 4], "{}", String::from_utf8_lossy(&answer));
    };
    read(&mut holder);
    for stream in &mut waiting {
        (0..CALLS).for_each(|_| read(stream));
    }
    daemon.wait_for_state("stuck", "paused (user)");
    daemon.virsh("destroy stuck").ok();
    daemon.assert_well();
}
