//! A real Linux under TCG: it boots, talks, obeys the power button, reboots and crashes.

use tests::{Daemon, domains, guests, paths, processes, python, wait};

/// Starts a Linux guest on a fresh daemon.
fn boot(name: &str, arguments: &str, extra: &str) -> Daemon {
    let daemon = Daemon::start();
    daemon.define(&domains::linux(name, guests::linux(), arguments, extra)).ok();
    daemon.virsh_words(&["start", name]).ok();
    daemon
}

/// Waits until the guest's shell answers on the console, which means that it is up.
fn wait_for_shell(daemon: &Daemon, name: &str) {
    python("console_stream", &[daemon.uri().as_str(), name]).ok();
}

#[test]
fn its_console_is_a_stream_in_both_directions() {
    let daemon = boot("stream", "", "");
    wait_for_shell(&daemon, "stream");
    domains::discard(&daemon, "stream");
}

#[test]
fn virsh_console_talks_to_its_shell() {
    let daemon = boot("console", "", "");
    python("virsh_console", &["virsh", daemon.uri().as_str(), "console"]).ok();
    domains::discard(&daemon, "console");
}

#[test]
fn our_own_console_talks_to_its_shell() {
    let daemon = boot("ourconsole", "", "");
    let program = paths::ironvirt().to_string_lossy();
    python("virsh_console", &[&*program, daemon.uri().as_str(), "ourconsole"]).ok();
    domains::discard(&daemon, "ourconsole");
}

#[test]
fn the_power_button_turns_it_off() {
    let daemon = boot("button", "", "");
    wait_for_shell(&daemon, "button");
    daemon.virsh("shutdown button").ok();
    daemon.wait_for_state("button", "shut off (shutdown)");
    assert!(daemon.qemus().is_empty());
    daemon.virsh("undefine button").ok();
}

#[test]
fn reboot_by_the_power_button_starts_it_again() {
    let daemon = boot("reboot", "", "");
    wait_for_shell(&daemon, "reboot");
    let id = daemon.virsh("domid reboot").ok();
    daemon.virsh("reboot reboot").ok();
    // The same QEMU boots once more: `uptime` starts over, the id stays.
    wait_for_shell(&daemon, "reboot");
    assert_eq!(daemon.virsh("domid reboot").ok(), id);
    assert_eq!(daemon.virsh("domstate reboot --reason").ok().trim(), "running (booted)");
    domains::discard(&daemon, "reboot");
}

#[test]
fn it_may_turn_itself_off() {
    let daemon = boot("halt", "selftest=halt", "");
    daemon.wait_for_state("halt", "shut off (shutdown)");
    daemon.virsh("undefine halt").ok();
}

#[test]
fn on_poweroff_restart_boots_it_again() {
    let daemon = boot("again", "selftest=halt", "<on_poweroff>restart</on_poweroff>");
    // It turns itself off again and again, and is always running: watch the resets.
    std::thread::sleep(std::time::Duration::from_secs(8));
    let state = daemon.virsh("domstate again").ok();
    assert_eq!(state.trim(), "running");
    domains::discard(&daemon, "again");
}

#[test]
fn a_crash_ends_it_when_on_crash_says_destroy() {
    let daemon = boot("crash", "selftest=panic", "<on_crash>destroy</on_crash>");
    daemon.wait_for_state("crash", "shut off (crashed)");
    daemon.virsh("undefine crash").ok();
}

#[test]
fn a_crash_is_kept_when_on_crash_says_preserve() {
    let daemon = boot("kept", "selftest=panic", "<on_crash>preserve</on_crash>");
    daemon.wait_for_state("kept", "crashed (panicked)");
    daemon.virsh("destroy kept").ok();
    daemon.wait_for_state("kept", "shut off (destroyed)");
    daemon.virsh("undefine kept").ok();
}

#[test]
fn a_qemu_that_is_killed_is_a_crash() {
    let daemon = boot("killed", "", "");
    if daemon.is_external() {
        return domains::discard(&daemon, "killed");
    }
    let qemus = daemon.qemus();
    assert_eq!(qemus.len(), 1, "one guest, one QEMU");
    processes::signal(qemus[0], rustix::process::Signal::KILL);
    daemon.wait_for_state("killed", "shut off (crashed)");
    // It can be started again.
    daemon.virsh("start killed").ok();
    wait::until("the new QEMU", || (daemon.qemus().len() == 1).then_some(()));
    domains::discard(&daemon, "killed");
}
