//! Disks: what they are, statistics, jobs, size.

use super::*;
use crate::virsh::ctl::{put, say};
use crate::virsh::fail::{Context, fail};
use crate::virsh::table::Table;
use crate::virsh::util::{parse_xml, pretty};
use std::io::Write as _;
use xml::Element;

/// The attribute of a disk's source that names it, by the disk's type.
pub fn source_of(disk: Element<'_>) -> String {
    let Some(source) = disk.child("source") else {
        return String::new();
    };
    let attr = |n: &str| source.attr(n).unwrap_or_default().to_owned();
    match disk.attr("type").unwrap_or_default() {
        "block" => attr("dev"),
        "dir" => attr("dir"),
        "network" => attr("name"),
        "volume" => {
            let pool = attr("pool");
            if pool.is_empty() { attr("volume") } else { format!("{pool}/{}", attr("volume")) }
        }
        "vhostuser" | "vhostvdpa" | "nvme" => ["file", "dev", "path"]
            .iter()
            .map(|n| attr(n))
            .find(|v| !v.is_empty())
            .unwrap_or_default(),
        _ => attr("file"),
    }
}

/// (target, source) of every disk in a domain's XML.
pub fn disks(xml: &str) -> Outcome<Vec<(String, String)>> {
    let doc = parse_xml(xml)?;
    let list = elements(doc.root(), "disk")
        .map(|d| {
            let target = d.child("target").and_then(|t| t.attr("dev")).unwrap_or_default();
            (target.to_owned(), source_of(d))
        })
        .collect();
    Ok(list)
}

/// The devices of one kind.
pub fn elements<'a>(root: Element<'a>, kind: &'a str) -> impl Iterator<Item = Element<'a>> {
    root.child("devices").into_iter().flat_map(|d| d.children()).filter(move |e| e.name() == kind)
}

/// `domblklist`
pub fn cmd_domblklist(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = if cmd.has("inactive") { 2 } else { 0 };
    let details = cmd.has("details");
    let dom = domain(ctl, cmd)?;
    let xml = xml_of(ctl, &dom, flags)?;
    let doc = parse_xml(&xml)?;
    let mut table = if details {
        Table::new(["Type", "Device", "Target", "Source"])
    } else {
        Table::new(["Target", "Source"])
    };
    for d in elements(doc.root(), "disk") {
        let target = d.child("target").and_then(|t| t.attr("dev")).unwrap_or_default();
        if target.is_empty() {
            fail!("unable to query block list");
        }
        let source = source_of(d);
        let source = if source.is_empty() { "-" } else { &source };
        if details {
            let attr = |n: &str| d.attr(n).unwrap_or_default();
            table.row([attr("type"), attr("device"), target, source]);
        } else {
            table.row([target, source]);
        }
    }
    ctl.table(&table);
    Ok(())
}

fn size(v: u64, human: bool) -> String {
    if human {
        let (n, unit) = pretty(v);
        format!("{n:.3} {unit}")
    } else {
        v.to_string()
    }
}

/// `domblkinfo`
pub fn cmd_domblkinfo(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let human = cmd.has("human");
    if !cmd.has("all") {
        let Some(path) = cmd.str("device")?.map(str::to_owned) else {
            fail!("command 'domblkinfo' requires <device> option");
        };
        let i = call!(ctl, DomainGetBlockInfo { dom, path, flags: 0 })?;
        ctl.pair("Capacity:", size(i.capacity, human));
        ctl.pair("Allocation:", size(i.allocation, human));
        ctl.pair("Physical:", size(i.physical, human));
        return Ok(());
    }
    let active = is_active(ctl, &dom)?;
    let xml = xml_of(ctl, &dom, 0)?;
    let doc = parse_xml(&xml)?;
    let mut table = Table::new(["Target", "Capacity", "Allocation", "Physical"]);
    for d in elements(doc.root(), "disk") {
        let target = d.child("target").and_then(|t| t.attr("dev")).unwrap_or_default().to_owned();
        let empty = d.child("source").is_none();
        let network = d.attr("type") == Some("network");
        let info = if empty {
            None
        } else {
            match call!(
                ctl,
                DomainGetBlockInfo { dom: dom.clone(), path: target.clone(), flags: 0 }
            ) {
                Ok(i) => Some(i),
                // Remote storage of a stopped domain cannot be asked.
                Err(_) if network && !active => None,
                Err(f) => return Err(f),
            }
        };
        match info {
            Some(i) if i.capacity != 0 || i.allocation != 0 || i.physical != 0 => table.row([
                target,
                size(i.capacity, human),
                size(i.allocation, human),
                size(i.physical, human),
            ]),
            _ => table.row([target.as_str(), "-", "-", "-"]),
        }
    }
    ctl.table(&table);
    Ok(())
}

const STAT_NAMES: &[(&str, &str, &str)] = &[
    ("rd_operations", "rd_req", "number of read operations:"),
    ("rd_bytes", "rd_bytes", "number of bytes read:"),
    ("wr_operations", "wr_req", "number of write operations:"),
    ("wr_bytes", "wr_bytes", "number of bytes written:"),
    ("errs", "errs", "error count:"),
    ("flush_operations", "flush_operations", "number of flush operations:"),
    ("rd_total_times", "rd_total_times", "total duration of reads (ns):"),
    ("wr_total_times", "wr_total_times", "total duration of writes (ns):"),
    ("flush_total_times", "flush_total_times", "total duration of flushes (ns):"),
];

/// `domblkstat`
pub fn cmd_domblkstat(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    use protocol::TypedParams;
    let dom = domain(ctl, cmd)?;
    let path = cmd.raw("device").unwrap_or_default().to_owned();
    let human = cmd.has("human");
    let name = dom.name.clone();
    let failed = || format!("Failed to get block stats for domain '{name}' device '{path}'");
    let get = |ctl: &mut Ctl, nparams: i32| {
        call!(
            ctl,
            DomainBlockStatsFlags { dom: dom.clone(), path: path.clone(), nparams, flags: 4 }
        )
    };
    let params = match get(ctl, 0) {
        Ok(r) if r.nparams == 0 => return Ok(()),
        Ok(r) => get(ctl, r.nparams).ctx(failed())?.params,
        // A daemon without the newer call.
        Err(f) if f.is(3) => {
            let s = call!(ctl, DomainBlockStats { dom: dom.clone(), path: path.clone() })
                .ctx(failed())?;
            [
                ("rd_operations", s.rd_req),
                ("rd_bytes", s.rd_bytes),
                ("wr_operations", s.wr_req),
                ("wr_bytes", s.wr_bytes),
                ("errs", s.errs),
            ]
            .into_iter()
            .filter(|(_, v)| *v >= 0)
            .map(|(n, v)| protocol::TypedParam::new(n, v))
            .collect()
        }
        Err(f) => return Err(f),
    };
    if human {
        put!(ctl, "Device: {path}\n");
    }
    let line = |ctl: &mut Ctl, short: &str, long: &str, v: &protocol::TypedParamValue| {
        ctl.member(short, v.to_string());
        if human {
            put!(ctl, " {long:<31} {v}\n");
        } else {
            put!(ctl, "{path} {short} {v}\n");
        }
    };
    for (field, short, long) in STAT_NAMES {
        if let Some(v) = params.get_param(field) {
            line(ctl, short, long, v);
        }
    }
    for p in &params {
        if !STAT_NAMES.iter().any(|(f, ..)| *f == p.field) {
            line(ctl, &p.field, &p.field, &p.value);
        }
    }
    Ok(())
}

/// `domblkerror`
pub fn cmd_domblkerror(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let n = call!(ctl, DomainGetDiskErrors { dom: dom.clone(), maxerrors: 0, flags: 0 })?.nerrors;
    let errors = if n > 0 {
        call!(ctl, DomainGetDiskErrors { dom, maxerrors: n as u32, flags: 0 })?.errors
    } else {
        Vec::new()
    };
    if errors.is_empty() {
        say!(ctl, "No errors found\n");
    }
    for e in errors {
        let text = match e.error {
            0 => "no error",
            1 => "unspecified error",
            2 => "no space",
            _ => "unknown error",
        };
        ctl.member(&e.disk, text);
        put!(ctl, "{}: {text}\n", e.disk);
    }
    Ok(())
}

/// `domblkthreshold`
pub fn cmd_domblkthreshold(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dev = cmd.req("dev")?.to_owned();
    let threshold = cmd.scaled("threshold", 1, u64::MAX)?.unwrap_or(0);
    let dom = domain(ctl, cmd)?;
    call!(ctl, DomainSetBlockThreshold { dom, dev, threshold, flags: 0 })
}

/// `blockresize`
pub fn cmd_blockresize(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let disk = cmd.req("path")?.to_owned();
    let capacity = cmd.has("capacity");
    if cmd.has("size") && capacity {
        fail!("Options --size and --capacity are mutually exclusive");
    }
    let mut flags = if capacity { 2 } else { 0 };
    let mut size = cmd.scaled("size", 1024, u64::MAX)?.unwrap_or(0);
    // The call counts KiB unless told otherwise.
    if size % 1024 == 0 {
        size /= 1024;
    } else {
        flags |= 1;
    }
    if !cmd.has("size") && !capacity {
        fail!("Either --size or --capacity must be provided");
    }
    let dom = domain(ctl, cmd)?;
    call!(ctl, DomainBlockResize { dom, disk: disk.clone(), size, flags })
        .ctx(format!("Failed to resize block device '{disk}'"))?;
    say!(ctl, "Block device '{disk}' is resized");
    Ok(())
}

/// `blockjob`
pub fn cmd_blockjob(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let path = cmd.req("path")?.to_owned();
    cmd.exclusive("raw", "abort")?;
    cmd.exclusive("raw", "pivot")?;
    cmd.exclusive("raw", "async")?;
    cmd.exclusive("raw", "bandwidth")?;
    cmd.exclusive("info", "abort")?;
    cmd.exclusive("info", "bandwidth")?;
    let dom = domain(ctl, cmd)?;
    if cmd.has("bandwidth") {
        let (bandwidth, in_bytes) = bandwidth(cmd)?;
        let flags = u32::from(in_bytes);
        return call!(ctl, DomainBlockJobSetSpeed { dom, path, bandwidth, flags });
    }
    if cmd.has("abort") || cmd.has("pivot") || cmd.has("async") {
        let flags = cmd.flags(&[("async", 1), ("pivot", 2)]);
        return call!(ctl, DomainBlockJobAbort { dom, path, flags });
    }
    let get = |ctl: &mut Ctl, flags: u32| {
        call!(ctl, DomainGetBlockJobInfo { dom: dom.clone(), path: path.clone(), flags })
    };
    let info = match get(ctl, 1) {
        Err(f) if f.is(8) => get(ctl, 0)?,
        other => other?,
    };
    if cmd.has("raw") {
        if info.found != 0 {
            put!(
                ctl,
                " type={}\n bandwidth={}\n cur={}\n end={}\n",
                info.r#type,
                info.bandwidth,
                info.cur,
                info.end
            );
        }
        return Ok(());
    }
    if info.found == 0 {
        say!(ctl, "No current block job for {path}");
        return Ok(());
    }
    let kind = match info.r#type {
        1 => "Block Pull",
        2 => "Block Copy",
        3 => "Block Commit",
        4 => "Active Block Commit",
        5 => "Backup",
        _ => "Unknown job",
    };
    let remaining = info.end.saturating_sub(info.cur);
    progress(ctl, kind, remaining, info.end);
    if info.bandwidth != 0 {
        let (n, unit) = pretty(info.bandwidth);
        put!(ctl, "    Bandwidth limit: {} bytes/s ({n:.3} {unit}/s)", info.bandwidth);
    }
    put!(ctl, "\n");
    Ok(())
}

/// `Label: [ 57.00 %]` on standard error, never 100 before the end.
pub fn progress(ctl: &mut Ctl, label: &str, remaining: u64, total: u64) {
    if !ctl.json() {
        let percent = percentage(remaining, total);
        let _ = write!(std::io::stderr(), "\r{label}: [{percent:5.2} %]");
    }
}

/// Done part in percent.
pub fn percentage(remaining: u64, total: u64) -> f64 {
    if remaining == 0 {
        return 100.0;
    }
    if total == 0 {
        return 0.0;
    }
    let p = 100.0 - remaining as f64 * 100.0 / total as f64;
    p.min(99.99)
}

/// The bandwidth option, and whether it is in bytes/s: with `--bytes`, or a size with a unit. A plain
/// number is of MiB/s; what is too great, or below nothing, is the daemon's to refuse.
pub(super) fn bandwidth(cmd: &Cmd) -> Outcome<(u64, bool)> {
    let plain = cmd.raw("bandwidth").filter(|_| !cmd.has("bytes")).map(str::trim);
    let plain = plain.and_then(|text| {
        let below = || text.parse::<i64>().ok().map(|value| value as u64);
        text.parse::<u64>().ok().or_else(below)
    });
    if let Some(mib) = plain {
        return Ok((mib, false));
    }
    let bytes = cmd.scaled("bandwidth", 1, u64::MAX)?;
    Ok((bytes.unwrap_or(0), cmd.has("bytes") || bytes.is_some()))
}

/// `blockpull`
pub fn cmd_blockpull(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let path = cmd.req("path")?.to_owned();
    let base = cmd.str("base")?.map(str::to_owned);
    let (bandwidth, in_bytes) = bandwidth(cmd)?;
    let wait = waiting(cmd)?;
    let dom = domain(ctl, cmd)?;
    let mut flags = 0;
    if cmd.has("keep-relative") {
        flags |= 0x10;
    }
    if in_bytes {
        flags |= 0x40;
    }
    if base.is_some() || flags & 0x10 != 0 {
        call!(
            ctl,
            DomainBlockRebase { dom: dom.clone(), path: path.clone(), base, bandwidth, flags }
        )?;
    } else {
        call!(ctl, DomainBlockPull { dom: dom.clone(), path: path.clone(), bandwidth, flags })?;
    }
    if !wait {
        say!(ctl, "Block Pull started");
        return Ok(());
    }
    wait_for_job(ctl, cmd, &dom, &path, "Block Pull", false)?;
    say!(ctl, "\nPull complete");
    Ok(())
}

fn waiting(cmd: &Cmd) -> Outcome<bool> {
    for needs in ["verbose", "async"] {
        cmd.requires(needs, "wait")?;
    }
    Ok(cmd.has("wait"))
}

/// The same of jobs that have a second phase, which `ends` end.
pub(super) fn waiting_for(cmd: &Cmd, ends: [&str; 2]) -> Outcome<bool> {
    let waits = ["timeout", "wait"].iter().chain(&ends).any(|name| cmd.has(name));
    for needs in ["async", "verbose"] {
        if cmd.has(needs) && !waits {
            let [one, other] = ends;
            fail!("--{needs} requires at least one of --timeout, --wait, --{one}, or --{other}");
        }
    }
    Ok(waits)
}

/// Waits until the job ended (or, for jobs with two phases, is ready).
pub(super) fn wait_for_job(
    ctl: &mut Ctl,
    cmd: &Cmd,
    dom: &Dom,
    path: &str,
    label: &str,
    until_ready: bool,
) -> Outcome {
    let deadline = cmd
        .timeout_ms("timeout")?
        .map(|ms| std::time::Instant::now() + std::time::Duration::from_millis(u64::from(ms)));
    let mut first = true;
    loop {
        let info = call!(
            ctl,
            DomainGetBlockJobInfo { dom: dom.clone(), path: path.to_owned(), flags: 0 }
        )?;
        let ready = until_ready && info.end > 0 && info.cur == info.end;
        // That it is ready is shown once, at the end.
        if info.found == 0 || (ready && !first) {
            break;
        }
        first = false;
        if cmd.has("verbose") {
            progress(ctl, label, info.end - info.cur.min(info.end), info.end);
        }
        if ready {
            break;
        }
        if deadline.is_some_and(|d| std::time::Instant::now() >= d) {
            let flags = u32::from(cmd.has("async"));
            call!(ctl, DomainBlockJobAbort { dom: dom.clone(), path: path.to_owned(), flags })?;
            fail!("\n{label} aborted");
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    if cmd.has("verbose") {
        progress(ctl, label, 0, 1);
    }
    Ok(())
}

/// `blockcommit`
pub fn cmd_blockcommit(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let disk = cmd.req("path")?.to_owned();
    cmd.exclusive("pivot", "keep-overlay")?;
    let base = cmd.str("base")?.map(str::to_owned);
    let top = cmd.str("top")?.map(str::to_owned);
    let wait = waiting_for(cmd, ["pivot", "keep-overlay"])?;
    let (bandwidth, in_bytes) = bandwidth(cmd)?;
    let mut flags =
        cmd.flags(&[("shallow", 1), ("delete", 2), ("active", 4), ("keep-relative", 8)]);
    if in_bytes {
        flags |= 16;
    }
    let finish = cmd.has("pivot") || cmd.has("keep-overlay");
    if finish {
        flags |= 4;
    }
    let active = flags & 4 != 0;
    let dom = domain(ctl, cmd)?;
    call!(
        ctl,
        DomainBlockCommit { dom: dom.clone(), disk: disk.clone(), base, top, bandwidth, flags }
    )?;
    if !wait {
        if active {
            say!(ctl, "Active Block Commit started");
        } else {
            say!(ctl, "Block Commit started");
        }
        return Ok(());
    }
    wait_for_job(ctl, cmd, &dom, &disk, "Block commit", active)?;
    if cmd.has("pivot") {
        call!(ctl, DomainBlockJobAbort { dom, path: disk, flags: 2 })
            .ctx("failed to pivot job for disk")?;
        say!(ctl, "\nSuccessfully pivoted");
    } else if cmd.has("keep-overlay") {
        call!(ctl, DomainBlockJobAbort { dom, path: disk, flags: 0 })
            .ctx("failed to finish job for disk")?;
        say!(ctl, "\nCommit complete, overlay image kept");
    } else if active {
        say!(ctl, "\nNow in synchronized phase");
    } else {
        say!(ctl, "\nCommit complete");
    }
    Ok(())
}
