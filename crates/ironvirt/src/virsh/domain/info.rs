//! What a domain is and does: `dominfo`, `domstate`, ids and names, jobs, time.

use super::*;
use crate::virsh::ctl::put;
use crate::virsh::fail::{Context, fail};
use crate::virsh::util::{pretty, uuid_text};

/// The word for a state.
pub fn state_text(state: i32) -> &'static str {
    match state {
        1 => "running",
        2 => "idle",
        3 => "paused",
        4 => "in shutdown",
        5 => "shut off",
        6 => "crashed",
        7 => "pmsuspended",
        _ => "no state",
    }
}

/// The word for a state's reason.
pub fn reason_text(state: i32, reason: i32) -> &'static str {
    let words: &[&str] = match state {
        1 => &[
            "unknown",
            "booted",
            "migrated",
            "restored",
            "from snapshot",
            "unpaused",
            "migration canceled",
            "save canceled",
            "event wakeup",
            "crashed",
            "post-copy",
            "post-copy failed",
        ],
        3 => &[
            "unknown",
            "user",
            "migrating",
            "saving",
            "dumping",
            "I/O error",
            "watchdog",
            "from snapshot",
            "shutting down",
            "creating snapshot",
            "crashed",
            "starting up",
            "post-copy",
            "post-copy failed",
            "api error",
        ],
        4 => &["unknown", "user"],
        5 => &[
            "unknown",
            "shutdown",
            "destroyed",
            "crashed",
            "migrated",
            "saved",
            "failed",
            "from snapshot",
            "daemon",
        ],
        6 => &["unknown", "panicked"],
        _ => &["unknown"],
    };
    usize::try_from(reason).ok().and_then(|r| words.get(r).copied()).unwrap_or("unknown")
}

/// `domstate`
pub fn cmd_domstate(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let s = call!(ctl, DomainGetState { dom, flags: 0 })?;
    let text = state_text(s.state);
    ctl.member("state", text);
    if cmd.has("reason") {
        let reason = reason_text(s.state, s.reason);
        ctl.member("reason", reason);
        put!(ctl, "{text} ({reason})\n");
    } else {
        put!(ctl, "{text}\n");
    }
    Ok(())
}

/// `domid`
pub fn cmd_domid(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = lookup(ctl, cmd.req("domain")?, false, true, true)?;
    ctl.member("id", (dom.id >= 0).then_some(dom.id));
    match dom.id {
        -1 => put!(ctl, "-\n"),
        id => put!(ctl, "{id}\n"),
    }
    Ok(())
}

/// `domuuid`
pub fn cmd_domuuid(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = lookup(ctl, cmd.req("domain")?, true, false, true)?;
    ctl.member("uuid", uuid_text(&dom.uuid));
    put!(ctl, "{}\n", uuid_text(&dom.uuid));
    Ok(())
}

/// `domname`
pub fn cmd_domname(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = lookup(ctl, cmd.req("domain")?, true, true, false)?;
    ctl.member("name", dom.name.clone());
    put!(ctl, "{}\n", dom.name);
    Ok(())
}

/// `dominfo`
pub fn cmd_dominfo(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    match dom.id {
        -1 => ctl.pair("Id:", "-"),
        id => ctl.pair("Id:", id),
    }
    ctl.pair("Name:", &dom.name);
    ctl.pair("UUID:", uuid_text(&dom.uuid));
    if let Ok(os) = call!(ctl, DomainGetOsType { dom: dom.clone() }) {
        ctl.pair("OS Type:", os.r#type);
    }
    let info = call!(ctl, DomainGetInfo { dom: dom.clone() })?;
    ctl.pair("State:", state_text(i32::from(info.state)));
    ctl.pair("CPU(s):", info.nr_virt_cpu);
    if info.cpu_time != 0 {
        ctl.pair("CPU time:", format!("{:.1}s", info.cpu_time as f64 / 1e9));
    }
    if info.max_mem == u64::MAX {
        ctl.pair("Max memory:", "no limit");
    } else {
        ctl.pair("Max memory:", format!("{} KiB", info.max_mem));
    }
    ctl.pair("Used memory:", format!("{} KiB", info.memory));
    match call!(ctl, DomainIsPersistent { dom: dom.clone() }) {
        Ok(p) => ctl.pair("Persistent:", yes_no(p.persistent != 0)),
        Err(_) => ctl.pair("Persistent:", "unknown"),
    }
    let on_off = |v: i32| if v != 0 { "enable" } else { "disable" };
    if let Ok(a) = call!(ctl, DomainGetAutostart { dom: dom.clone() }) {
        ctl.pair("Autostart:", on_off(a.autostart));
    }
    if let Ok(a) = call!(ctl, DomainGetAutostartOnce { dom: dom.clone() }) {
        ctl.pair("Autostart Once:", on_off(a.autostart));
    }
    match call!(ctl, DomainHasManagedSaveImage { dom: dom.clone(), flags: 0 }) {
        Ok(m) => ctl.pair("Managed save:", yes_no(m.result != 0)),
        Err(_) => ctl.pair("Managed save:", "unknown"),
    }
    security(ctl, &dom)?;
    let messages =
        call!(ctl, DomainGetMessages { dom, flags: 0 }).map(|m| m.msgs).unwrap_or_default();
    if ctl.json() {
        if !messages.is_empty() {
            ctl.member("messages", messages);
        }
    } else {
        for (i, m) in messages.iter().enumerate() {
            ctl.pair(if i == 0 { "Messages:" } else { "" }, m);
        }
    }
    Ok(())
}

fn security(ctl: &mut Ctl, dom: &Dom) -> Outcome {
    let model = match call!(ctl, NodeGetSecurityModel) {
        Ok(m) => m,
        // Not every hypervisor has security models.
        Err(f) if f.is(3) => return Ok(()),
        Err(f) => return Err(f),
    };
    let text = |b: &[u8]| {
        let end = b.iter().position(|b| *b == 0).unwrap_or(b.len());
        String::from_utf8_lossy(&b[..end]).into_owned()
    };
    let name = text(&model.model.to_vec());
    if name.is_empty() {
        return Ok(());
    }
    ctl.pair("Security model:", name);
    ctl.pair("Security DOI:", text(&model.doi.to_vec()));
    if dom.id < 0 {
        return Ok(());
    }
    let label = call!(ctl, DomainGetSecurityLabel { dom: dom.clone() })?;
    let shown = text(&label.label.to_vec());
    if !shown.is_empty() {
        let mode = if label.enforcing != 0 { "enforcing" } else { "permissive" };
        ctl.pair("Security label:", format!("{shown} ({mode})"));
    }
    Ok(())
}

/// `yes` or `no`.
pub fn yes_no(v: bool) -> &'static str {
    if v { "yes" } else { "no" }
}

/// `domcontrol`
pub fn cmd_domcontrol(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let c = call!(ctl, DomainGetControlInfo { dom, flags: 0 })?;
    let state = match c.state {
        0 => "ok",
        1 => "background job",
        2 => "occupied",
        3 => "error",
        _ => "unknown",
    };
    if c.state == 3 {
        let why = match c.details {
            1 => "unknown",
            2 => "monitor failure",
            3 => "internal (locking) error",
            _ => "",
        };
        put!(ctl, "{state}: {why}\n");
    } else if c.state != 0 {
        put!(ctl, "{state} ({:.3}s)\n", c.state_time as f64 / 1000.0);
    } else {
        put!(ctl, "{state}\n");
    }
    Ok(())
}

fn job_type(t: i32) -> &'static str {
    match t {
        0 => "None",
        1 => "Bounded",
        2 => "Unbounded",
        3 => "Completed",
        4 => "Failed",
        5 => "Cancelled",
        _ => "unknown",
    }
}

fn operation(op: i64) -> &'static str {
    match op {
        1 => "Start",
        2 => "Save",
        3 => "Restore",
        4 => "Incoming migration",
        5 => "Outgoing migration",
        6 => "Snapshot",
        7 => "Snapshot revert",
        8 => "Dump",
        9 => "Backup",
        10 => "Snapshot delete",
        _ => "Unknown",
    }
}

/// `domjobinfo`
pub fn cmd_domjobinfo(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    cmd.requires("keep-completed", "completed")?;
    let mut flags = 0;
    if cmd.has("completed") {
        flags |= 1;
    }
    if cmd.has("keep-completed") {
        flags |= 2;
    }
    let r = match call!(ctl, DomainGetJobStats { dom: dom.clone(), flags }) {
        // A driver without statistics may still know the job.
        Err(f) if f.is(3) && flags == 0 => {
            let i = call!(ctl, DomainGetJobInfo { dom })?;
            let p = |n: &str, v: u64| protocol::TypedParam::new(n, v);
            protocol::remote::DomainGetJobStatsRet {
                r#type: i.r#type,
                params: vec![
                    p("time_elapsed", i.time_elapsed),
                    p("time_remaining", i.time_remaining),
                    p("data_total", i.data_total),
                    p("data_processed", i.data_processed),
                    p("data_remaining", i.data_remaining),
                    p("memory_total", i.mem_total),
                    p("memory_processed", i.mem_processed),
                    p("memory_remaining", i.mem_remaining),
                    p("disk_total", i.file_total),
                    p("disk_processed", i.file_processed),
                    p("disk_remaining", i.file_remaining),
                ],
            }
        }
        other => other?,
    };
    use protocol::TypedParams;
    let p = r.params;
    if cmd.has("rawstats") {
        if ctl.json() {
            ctl.member("Job type", r.r#type);
        } else {
            put!(ctl, "Job type: {}\n\n", r.r#type);
        }
        for item in &p {
            put!(ctl, "{}: {}\n", item.field, item.value);
        }
        return Ok(());
    }
    job_line(ctl, "Job type:", &format!("{:<12}", job_type(r.r#type)));
    if !(1..=2).contains(&r.r#type)
        && !((3..=4).contains(&r.r#type) && (cmd.has("completed") || cmd.has("anystats")))
    {
        return Ok(());
    }
    let u = |f: &str| p.get_param(f).and_then(|v| v.as_u64());
    let op = p.get_param("operation").and_then(|v| v.as_i64()).unwrap_or(0);
    job_line(ctl, "Operation:", &format!("{:<12}", operation(op)));
    let time = |ctl: &mut Ctl, label: &str, f: &str| {
        if let Some(v) = u(f) {
            job_line(ctl, label, &format!("{v:<12} ms"));
        }
    };
    time(ctl, "Time elapsed:", "time_elapsed");
    time(ctl, "Time elapsed w/o network:", "time_elapsed_net");
    if r.r#type == 1 {
        time(ctl, "Time remaining:", "time_remaining");
    }
    let size = |ctl: &mut Ctl, label: &str, f: &str| {
        if let Some(v) = u(f) {
            let (n, unit) = pretty(v);
            job_line(ctl, label, &format!("{n:.3} {unit}"));
        }
    };
    for (label, f) in [
        ("Data processed:", "data_processed"),
        ("Data remaining:", "data_remaining"),
        ("Data total:", "data_total"),
        ("Memory processed:", "memory_processed"),
        ("Memory remaining:", "memory_remaining"),
        ("Memory total:", "memory_total"),
    ] {
        let group = if label.starts_with("Data") { "data_total" } else { "memory_total" };
        if u(group).is_some_and(|v| v != 0) {
            size(ctl, label, f);
        }
    }
    if let Some(v) = u("memory_bps") {
        let (n, unit) = pretty(v);
        job_line(ctl, "Memory bandwidth:", &format!("{n:.3} {unit}/s"));
    }
    let count = |ctl: &mut Ctl, label: &str, f: &str| {
        if let Some(v) = u(f) {
            job_line(ctl, label, &format!("{v:<12}"));
        }
    };
    let unit = |ctl: &mut Ctl, label: &str, f: &str, unit: &str| {
        if let Some(v) = u(f) {
            job_line(ctl, label, &format!("{v:<12} {unit}"));
        }
    };
    unit(ctl, "Dirty rate:", "memory_dirty_rate", "pages/s");
    unit(ctl, "Page size:", "memory_page_size", "bytes");
    count(ctl, "Iteration:", "memory_iteration");
    count(ctl, "Postcopy requests:", "memory_postcopy_requests");
    for (label, f) in [
        ("File processed:", "disk_processed"),
        ("File remaining:", "disk_remaining"),
        ("File total:", "disk_total"),
    ] {
        if u("disk_total").is_some_and(|v| v != 0) {
            size(ctl, label, f);
        }
    }
    count(ctl, "Constant pages:", "memory_constant");
    count(ctl, "Normal pages:", "memory_normal");
    size(ctl, "Normal data:", "memory_normal_bytes");
    let ended = r.r#type == 3;
    time(ctl, if ended { "Total downtime:" } else { "Expected downtime:" }, "downtime");
    time(ctl, "Setup time:", "setup_time");
    size(ctl, "Compression cache:", "compression_cache");
    size(ctl, "Compressed data:", "compression_bytes");
    count(ctl, "Auto converge throttle:", "auto_converge_throttle");
    if let Some(e) = p.get_param("errmsg") {
        job_line(ctl, "Error message:", &e.to_string());
    }
    Ok(())
}

fn job_line(ctl: &mut Ctl, label: &str, value: &str) {
    if ctl.json() {
        ctl.member(label.trim_end_matches(':'), value.trim());
    } else {
        put!(ctl, "{label:<17} {value}\n");
    }
}

/// `domjobabort`
pub fn cmd_domjobabort(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    if cmd.has("postcopy") {
        call!(ctl, DomainAbortJobFlags { dom, flags: 1 })
    } else {
        call!(ctl, DomainAbortJob { dom })
    }
}

/// `domtime`
pub fn cmd_domtime(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("time", "now")?;
    cmd.exclusive("time", "sync")?;
    cmd.exclusive("now", "sync")?;
    let dom = domain(ctl, cmd)?;
    let given = cmd.ll("time")?;
    if given.is_some() || cmd.has("now") || cmd.has("sync") {
        let seconds = match given {
            Some(s) => s,
            None if cmd.has("now") => crate::virsh::util::now().as_secs() as i64,
            None => 0,
        };
        return call!(
            ctl,
            DomainSetTime { dom, seconds, nseconds: 0, flags: u32::from(cmd.has("sync")) }
        );
    }
    let t = call!(ctl, DomainGetTime { dom, flags: 0 })?;
    if cmd.has("pretty") {
        put!(ctl, "Time: {}", crate::virsh::util::timestamp(t.seconds));
    } else {
        put!(ctl, "Time: {}", t.seconds);
    }
    Ok(())
}

/// `domhostname`
pub fn cmd_domhostname(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let flags = match cmd.str("source")? {
        None => 0,
        Some("lease") => 1,
        Some("agent") => 2,
        Some(other) => fail!("Unknown data source '{other}'"),
    };
    let r = call!(ctl, DomainGetHostname { dom, flags }).ctx("failed to get hostname")?;
    put!(ctl, "{}\n", r.hostname);
    Ok(())
}
