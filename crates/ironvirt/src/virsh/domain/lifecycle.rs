//! From definition to shutdown.

use super::*;
use crate::virsh::ctl::{put, say};
use crate::virsh::dry;
use crate::virsh::explain;
use crate::virsh::fail::{Context, fail};
use crate::virsh::util::{read_file, uuid_text};

/// `define`
pub fn cmd_define(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let from = cmd.req("file")?;
    let xml = read_file(from)?;
    let text = xml.clone();
    let r = if cmd.has("validate") {
        call!(ctl, DomainDefineXmlFlags { xml, flags: 1 }).map(|r| r.dom)
    } else {
        call!(ctl, DomainDefineXml { xml }).map(|r| r.dom)
    };
    let dom = r.ctx(format!("Failed to define domain from {from}")).about(&text, from)?;
    if !ctl.quiet {
        explain::left_out(&text, from);
    }
    ctl.member("name", dom.name.clone());
    ctl.member("uuid", uuid_text(&dom.uuid));
    say!(ctl, "Domain '{}' defined from {from}\n", dom.name);
    Ok(())
}

/// `create`
pub fn cmd_create(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let from = cmd.req("file")?;
    let xml_desc = read_file(from)?;
    let fds = fds::numbers(cmd)?;
    let flags = cmd.flags(&[
        ("paused", 1),
        ("autodestroy", 1 << 1),
        ("validate", 1 << 4),
        ("reset-nvram", 1 << 5),
    ]);
    let text = xml_desc.clone();
    let created = if fds.is_empty() {
        call!(ctl, DomainCreateXml { xml_desc, flags }).map(|r| r.dom)
    } else {
        fds::duplicates(&fds).and_then(|fds| {
            let args = protocol::remote::DomainCreateXmlWithFilesArgs { xml_desc, flags };
            type P = protocol::remote::procs::DomainCreateXmlWithFiles;
            Ok(ctl.conn()?.call_with_fds::<P>(&args, &fds::borrowed(&fds))?.dom)
        })
    };
    let dom = created.ctx(format!("Failed to create domain from {from}")).about(&text, from)?;
    if !ctl.quiet {
        explain::left_out(&text, from);
    }
    ctl.member("name", dom.name.clone());
    ctl.member("uuid", uuid_text(&dom.uuid));
    ctl.member("id", dom.id);
    say!(ctl, "Domain '{}' created from {from}\n", dom.name);
    if cmd.has("console") {
        ctl.flush();
        console::attach(ctl, &dom, None, 0, false)?;
    }
    Ok(())
}

/// `start`
pub fn cmd_start(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = lookup(ctl, cmd.req("domain")?, false, true, true)?;
    if dom.id >= 0 {
        fail!("Domain is already active");
    }
    let fds = fds::numbers(cmd)?;
    let flags = cmd.flags(&[
        ("paused", 1),
        ("autodestroy", 1 << 1),
        ("bypass-cache", 1 << 2),
        ("force-boot", 1 << 3),
        ("reset-nvram", 1 << 5),
    ]);
    if dry::told(ctl, cmd, &dom, "start", "", flags)? {
        return Ok(());
    }
    let name = dom.name.clone();
    let started = if !fds.is_empty() {
        fds::duplicates(&fds).and_then(|fds| {
            let args = protocol::remote::DomainCreateWithFilesArgs { dom, flags };
            type P = protocol::remote::procs::DomainCreateWithFiles;
            Ok(ctl.conn()?.call_with_fds::<P>(&args, &fds::borrowed(&fds))?.dom)
        })
    } else if flags == 0 {
        call!(ctl, DomainCreate { dom: dom.clone() }).map(|()| dom)
    } else {
        call!(ctl, DomainCreateWithFlags { dom, flags }).map(|r| r.dom)
    };
    let dom = started.ctx(format!("Failed to start domain '{name}'"))?;
    say!(ctl, "Domain '{name}' started\n");
    if cmd.has("console") {
        ctl.flush();
        console::attach(ctl, &dom, None, 0, false)?;
    }
    Ok(())
}

/// `destroy`
pub fn cmd_destroy(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let name = dom.name.clone();
    let flags = cmd.flags(&[("graceful", 1), ("remove-logs", 2)]);
    if dry::told(ctl, cmd, &dom, "destroy", "", flags)? {
        return Ok(());
    }
    let done = if flags == 0 {
        call!(ctl, DomainDestroy { dom })
    } else {
        call!(ctl, DomainDestroyFlags { dom, flags })
    };
    done.ctx(format!("Failed to destroy domain '{name}'"))?;
    say!(ctl, "Domain '{name}' destroyed\n");
    Ok(())
}

/// Modes of `shutdown` and `reboot`: acpi 1, agent 2, initctl 4, signal 8, paravirt 16. The two
/// verbs end the list of them differently, with `last`.
fn modes(cmd: &Cmd, last: &str) -> Outcome<u32> {
    let Some(text) = cmd.str("mode")? else {
        return Ok(0);
    };
    let words = ["acpi", "agent", "initctl", "signal", "paravirt"];
    let mut flags = 0;
    for mode in text.split(',') {
        match words.iter().position(|w| *w == mode) {
            Some(i) => flags |= 1 << i,
            None => fail!(
                "Unknown mode {mode} value, expecting 'acpi', 'agent', 'initctl', 'signal'{last} 'paravirt'"
            ),
        }
    }
    Ok(flags)
}

/// `shutdown`
pub fn cmd_shutdown(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = modes(cmd, ", or")?;
    let dom = domain(ctl, cmd)?;
    let name = dom.name.clone();
    let done = if flags == 0 {
        call!(ctl, DomainShutdown { dom })
    } else {
        call!(ctl, DomainShutdownFlags { dom, flags })
    };
    done.ctx(format!("Failed to shutdown domain '{name}'"))?;
    say!(ctl, "Domain '{name}' is being shutdown\n");
    Ok(())
}

/// `reboot`
pub fn cmd_reboot(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = modes(cmd, " or")?;
    let dom = domain(ctl, cmd)?;
    let name = dom.name.clone();
    call!(ctl, DomainReboot { dom, flags }).ctx(format!("Failed to reboot domain '{name}'"))?;
    say!(ctl, "Domain '{name}' is being rebooted\n");
    Ok(())
}

/// `reset`
pub fn cmd_reset(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let name = dom.name.clone();
    call!(ctl, DomainReset { dom, flags: 0 }).ctx(format!("Failed to reset domain '{name}'"))?;
    say!(ctl, "Domain '{name}' was reset\n");
    Ok(())
}

/// `suspend`
pub fn cmd_suspend(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let name = dom.name.clone();
    call!(ctl, DomainSuspend { dom }).ctx(format!("Failed to suspend domain '{name}'"))?;
    say!(ctl, "Domain '{name}' suspended\n");
    Ok(())
}

/// `resume`
pub fn cmd_resume(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let name = dom.name.clone();
    call!(ctl, DomainResume { dom }).ctx(format!("Failed to resume domain '{name}'"))?;
    say!(ctl, "Domain '{name}' resumed\n");
    Ok(())
}

/// `autostart`
pub fn cmd_autostart(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let name = dom.name.clone();
    let autostart = i32::from(!cmd.has("disable"));
    let (mark, on) = if autostart == 1 { ("mark", "marked") } else { ("unmark", "unmarked") };
    if cmd.has("once") {
        call!(ctl, DomainSetAutostartOnce { dom, autostart })
            .ctx(format!("Failed to {mark} domain '{name}' as autostarted on next boot"))?;
        say!(ctl, "Domain '{name}' {on} as autostarted on next boot\n");
    } else {
        call!(ctl, DomainSetAutostart { dom, autostart })
            .ctx(format!("Failed to {mark} domain '{name}' as autostarted"))?;
        say!(ctl, "Domain '{name}' {on} as autostarted\n");
    }
    Ok(())
}

/// `domrename`
pub fn cmd_domrename(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let new_name = Some(cmd.req("new-name")?.to_owned());
    call!(ctl, DomainRename { dom, new_name, flags: 0 })?;
    say!(ctl, "Domain successfully renamed\n");
    Ok(())
}

/// `undefine`
pub fn cmd_undefine(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("nvram", "keep-nvram")?;
    cmd.exclusive("tpm", "keep-tpm")?;
    let flags = cmd.flags(&[
        ("managed-save", 1),
        ("snapshots-metadata", 2),
        ("nvram", 4),
        ("keep-nvram", 8),
        ("checkpoints-metadata", 16),
        ("tpm", 32),
        ("keep-tpm", 64),
    ]);
    cmd.requires("delete-storage-volume-snapshots", "remove-all-storage")?;
    if cmd.has("storage") && cmd.has("remove-all-storage") {
        fail!("Specified both --storage and --remove-all-storage");
    }
    if cmd.has("wipe-storage") && !cmd.has("storage") && !cmd.has("remove-all-storage") {
        fail!("'--wipe-storage' requires '--storage <string>' or '--remove-all-storage'");
    }
    let dom = domain(ctl, cmd)?;
    let name = dom.name.clone();
    if cmd.is_dry_run() {
        let mut then = Vec::new();
        for disk in storage_of(ctl, cmd, &dom)?.into_iter().filter(|disk| disk.vol.is_some()) {
            let volume = format!("volume '{}' ({})", disk.target, disk.source);
            if cmd.has("wipe-storage") {
                then.push(format!("overwrite {volume}"));
            }
            then.push(format!("delete {volume}"));
        }
        dry::told_with(ctl, cmd, &dom, ("undefine", "", flags), &then)?;
        return Ok(());
    }
    let saved = call!(ctl, DomainHasManagedSaveImage { dom: dom.clone(), flags: 0 });
    if !cmd.has("managed-save") && saved.is_ok_and(|r| r.result > 0) {
        fail!("Refusing to undefine while domain managed save image exists");
    }
    let volumes = storage_of(ctl, cmd, &dom)?;
    // As clients do, the call with flags is tried first and the old one where it is not known.
    let done = match call!(ctl, DomainUndefineFlags { dom: dom.clone(), flags }) {
        Err(f) if f.is(3) && flags == 0 => call!(ctl, DomainUndefine { dom }),
        other => other,
    };
    done.ctx(format!("Failed to undefine domain '{name}'"))?;
    say!(ctl, "Domain '{name}' has been undefined\n");
    remove_storage(ctl, cmd, volumes)
}

struct Disk {
    target: String,
    source: String,
    vol: Option<protocol::remote::NonnullStorageVol>,
}

/// The volumes behind the disks that `--storage` or `--remove-all-storage` names.
fn storage_of(ctl: &mut Ctl, cmd: &Cmd, dom: &Dom) -> Outcome<Vec<Disk>> {
    let all = cmd.has("remove-all-storage");
    let wanted: Vec<String> = match cmd.str("storage")? {
        Some(s) => s.split(',').map(str::to_owned).collect(),
        None if all => Vec::new(),
        None => return Ok(Vec::new()),
    };
    if is_active(ctl, dom)? {
        fail!("Storage volume deletion is supported only on stopped domains");
    }
    let mut found = Vec::new();
    for (target, source) in block::disks(&xml_of(ctl, dom, 2)?)? {
        if source.is_empty() || !(all || wanted.iter().any(|w| *w == target || *w == source)) {
            continue;
        }
        let vol = call!(ctl, StorageVolLookupByPath { path: source.clone() }).map(|r| r.vol).ok();
        if vol.is_none() {
            ctl.error(&format!(
                "Storage volume '{target}'({source}) is not managed by libvirt. Remove it manually."
            ));
        }
        found.push(Disk { target, source, vol });
    }
    for w in &wanted {
        if !found.iter().any(|d| d.target == *w || d.source == *w) {
            fail!("Volume '{w}' was not found in domain's definition.\n");
        }
    }
    Ok(found)
}

fn remove_storage(ctl: &mut Ctl, cmd: &Cmd, disks: Vec<Disk>) -> Outcome {
    let mut failed = false;
    for d in disks {
        let Some(vol) = d.vol else { continue };
        if cmd.has("wipe-storage") {
            put!(ctl, "Wiping volume '{}'({}) ... ", d.target, d.source);
            ctl.flush();
            if let Err(f) = call!(ctl, StorageVolWipe { vol: vol.clone(), flags: 0 }) {
                ctl.error("Failed! Volume not removed.");
                f.lines.iter().for_each(|l| ctl.error(l));
                failed = true;
                continue;
            }
            put!(ctl, "Done.\n");
        }
        let flags = if cmd.has("delete-storage-volume-snapshots") { 2 } else { 0 };
        match call!(ctl, StorageVolDelete { vol, flags }) {
            Ok(()) => say!(ctl, "Volume '{}'({}) removed.\n", d.target, d.source),
            Err(f) => {
                ctl.error(&format!("Failed to remove storage volume '{}'({})", d.target, d.source));
                f.lines.iter().for_each(|l| ctl.error(l));
                failed = true;
            }
        }
    }
    if failed { Err(Fail::silent()) } else { Ok(()) }
}

/// `dompmsuspend`
pub fn cmd_dompmsuspend(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let duration = cmd.ull("duration")?.unwrap_or(0);
    let dom = domain(ctl, cmd)?;
    let target = match cmd.req("target")? {
        "mem" => 0,
        "disk" => 1,
        "hybrid" => 2,
        _ => fail!("Invalid target"),
    };
    let name = dom.name.clone();
    call!(ctl, DomainPmSuspendForDuration { dom, target, duration, flags: 0 })
        .ctx(format!("Domain '{name}' could not be suspended"))?;
    say!(ctl, "Domain '{name}' successfully suspended");
    Ok(())
}

/// `dompmwakeup`
pub fn cmd_dompmwakeup(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let name = dom.name.clone();
    call!(ctl, DomainPmWakeup { dom, flags: 0 })
        .ctx(format!("Domain '{name}' could not be woken up"))?;
    say!(ctl, "Domain '{name}' successfully woken up");
    Ok(())
}

/// `set-lifecycle-action`
pub fn cmd_set_lifecycle_action(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let index = |words: &[&str], text: &str| words.iter().position(|w| *w == text);
    let kind = cmd.req("type")?;
    let Some(t) = index(&["poweroff", "reboot", "crash"], kind) else {
        fail!("Invalid lifecycle type '{kind}'.");
    };
    let what = cmd.req("action")?;
    let actions = [
        "destroy",
        "restart",
        "rename-restart",
        "preserve",
        "coredump-destroy",
        "coredump-restart",
    ];
    let Some(a) = index(&actions, what) else {
        fail!("Invalid lifecycle action '{what}'.");
    };
    let dom = domain(ctl, cmd)?;
    call!(ctl, DomainSetLifecycleAction { dom, r#type: t as u32, action: a as u32, flags })
        .ctx("Unable to change lifecycle action.")
}
