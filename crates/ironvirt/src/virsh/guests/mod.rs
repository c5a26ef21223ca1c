//! `guests`: starting and stopping all guests with their host, as libvirt-guests does, with its
//! settings and its note of which guests ran.

mod settings;

use super::cmd::Cmd;
use super::conn::call;
use super::ctl::{Ctl, put};
use super::fail::{Context, Fail, Outcome};
use super::util::{parse_uuid, uuid_text};
use protocol::remote::NonnullDomain as Dom;
use settings::{FILES, OnShutdown, Settings};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the guests that ran are noted: a line for each URI, with the UUIDs behind it.
const NOTE: &str = "/var/lib/libvirt/libvirt-guests";

/// How often guests are looked at that were asked to shut down.
const LOOK: Duration = Duration::from_millis(250);

const BYPASS_CACHE_ON_START: u32 = 4;
const BYPASS_CACHE_ON_SAVE: u32 = 1;
const ACTIVE: u32 = 1;
const SYNC: u32 = 1;

/// `guests`
pub fn cmd_guests(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let settings = read_settings(cmd.str("config")?)?;
    let note = PathBuf::from(cmd.str("note")?.unwrap_or(NOTE));
    match cmd.req("action")? {
        "start" => start(ctl, &settings, &note),
        "stop" => stop(ctl, &settings, &note),
        "status" => status(ctl, &settings, &note),
        other => {
            Err(Fail::new(format!("unknown action '{other}': expected start, stop or status")))
        }
    }
}

fn read_settings(file: Option<&str>) -> Outcome<Settings> {
    let path = match file {
        Some(file) => Some(file),
        None => FILES.into_iter().find(|file| Path::new(file).exists()),
    };
    let Some(path) = path else { return Ok(Settings::default()) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| Fail::new(format!("cannot read '{path}': {error}")))?;
    Settings::parse(&text).map_err(|fault| Fail::new(format!("{path}: {fault}")))
}

/// The URIs to look at, as the note names them; one given on the command line goes before.
fn uris(ctl: &Ctl, settings: &Settings) -> Vec<String> {
    match &ctl.uri {
        Some(uri) => vec![uri.clone()],
        None if settings.uris.is_empty() => vec!["default".to_owned()],
        None => settings.uris.clone(),
    }
}

fn connect(ctl: &mut Ctl, uri: &str) -> Outcome {
    let wanted = (uri != "default").then(|| uri.to_owned());
    if ctl.uri != wanted {
        ctl.disconnect();
        ctl.uri = wanted;
    }
    ctl.conn().map(|_| ())
}

/// Runs `work` for each URI. One that cannot be reached keeps nobody else from it.
fn for_each(
    ctl: &mut Ctl,
    uris: &[String],
    mut work: impl FnMut(&mut Ctl, &str) -> Outcome<bool>,
) -> bool {
    let given = ctl.uri.clone();
    let mut well = true;
    for uri in uris {
        match connect(ctl, uri).and_then(|()| work(ctl, uri)) {
            Ok(done) => well &= done,
            Err(fail) => {
                ctl.error(&format!("{uri}: {}", fail.lines.join(": ")));
                well = false;
            }
        }
    }
    ctl.disconnect();
    ctl.uri = given;
    well
}

fn ended(well: bool) -> Outcome {
    if well {
        Ok(())
    } else {
        Err(Fail::new("not all guests were brought to where they should be"))
    }
}

fn running(ctl: &mut Ctl) -> Outcome<Vec<Dom>> {
    let listed = call!(ctl, ConnectListAllDomains { need_results: 1, flags: ACTIVE });
    let mut domains = listed.ctx("Failed to list domains")?.domains;
    domains.sort_by_key(|dom| dom.id);
    Ok(domains)
}

fn place(uri: &str) -> String {
    if uri == "default" { "default URI".to_owned() } else { format!("{uri} URI") }
}

fn start(ctl: &mut Ctl, settings: &Settings, note: &Path) -> Outcome {
    let Ok(noted) = std::fs::read_to_string(note) else { return Ok(()) };
    let mut well = true;
    if settings.start_on_boot {
        let lines = noted.lines().filter_map(|line| line.split_once(' '));
        for (uri, uuids) in lines {
            well &= for_each(ctl, &[uri.to_owned()], |ctl, uri| {
                put!(ctl, "Resuming guests on {}...\n", place(uri));
                start_all(ctl, uuids, settings)
            });
        }
    }
    // Guests that could not be started are there to be started by hand; the next boot does not
    // start what did not run before it.
    std::fs::remove_file(note)
        .map_err(|error| Fail::new(format!("cannot remove '{}': {error}", note.display())))?;
    ended(well)
}

fn start_all(ctl: &mut Ctl, uuids: &str, settings: &Settings) -> Outcome<bool> {
    let mut well = true;
    let mut first = true;
    for uuid in uuids.split_whitespace() {
        let found = parse_uuid(uuid)
            .ok_or_else(|| Fail::new(format!("'{uuid}' is no UUID")))
            .and_then(|uuid| call!(ctl, DomainLookupByUuid { uuid }));
        let dom = match found {
            Ok(found) => found.dom,
            Err(fail) => {
                ctl.error(&fail.lines.join(": "));
                well = false;
                continue;
            }
        };
        let name = dom.name.clone();
        if dom.id >= 0 {
            put!(ctl, "Resuming guest {name}: already active\n");
            continue;
        }
        if !std::mem::take(&mut first) {
            std::thread::sleep(Duration::from_secs(settings.start_delay));
        }
        let flags = if settings.bypass_cache { BYPASS_CACHE_ON_START } else { 0 };
        match call!(ctl, DomainCreateWithFlags { dom: dom.clone(), flags }) {
            Ok(started) => {
                put!(ctl, "Resuming guest {name}: done\n");
                if settings.sync_time {
                    sync_time(ctl, started.dom);
                }
            }
            Err(fail) => {
                ctl.error(&format!("Resuming guest {name}: {}", fail.lines.join(": ")));
                well = false;
            }
        }
        ctl.flush();
    }
    Ok(well)
}

/// A guest that slept goes on with the time it had. Needs its agent, so it may fail.
fn sync_time(ctl: &mut Ctl, dom: Dom) {
    let name = dom.name.clone();
    let set = call!(ctl, DomainSetTime { dom, seconds: 0, nseconds: 0, flags: SYNC });
    if let Err(fail) = set {
        put!(ctl, "Time of guest {name} not set: {}\n", fail.lines.join(": "));
    }
}

fn stop(ctl: &mut Ctl, settings: &Settings, note: &Path) -> Outcome {
    let uris = uris(ctl, settings);
    let mut text = String::new();
    // First of all which guests run, so that what is stopped half-way is known, too.
    let mut found = Vec::new();
    let mut well = for_each(ctl, &uris, |ctl, uri| {
        let mut domains = running(ctl)?;
        let names: Vec<&str> = domains.iter().map(|dom| dom.name.as_str()).collect();
        put!(ctl, "Running guests on {}: {}\n", place(uri), names.join(", "));
        if settings.skips_transient() {
            let (kept, left) = split_transient(ctl, domains);
            if !left.is_empty() {
                put!(ctl, "Left running, as they are transient: {}\n", left.join(", "));
            }
            domains = kept;
        }
        if !domains.is_empty() {
            let uuids: Vec<String> = domains.iter().map(|dom| uuid_text(&dom.uuid)).collect();
            text.push_str(&format!("{uri} {}\n", uuids.join(" ")));
        }
        found.push((uri.to_owned(), domains));
        Ok(true)
    });
    if !text.is_empty() {
        let written = host::files::write_atomic(
            note,
            text.as_bytes(),
            host::files::WriteMode { mode: 0o644, owner: None, durable: true },
        );
        written.map_err(|error| Fail::new(error.to_string()))?;
    }
    for (uri, mut domains) in found {
        // What was started last may need what was started before it.
        domains.reverse();
        well &= for_each(ctl, &[uri], |ctl, uri| match settings.on_shutdown {
            OnShutdown::Suspend => {
                put!(ctl, "Suspending guests on {}...\n", place(uri));
                Ok(suspend(ctl, &domains, settings))
            }
            OnShutdown::Shutdown => {
                put!(ctl, "Shutting down guests on {}...\n", place(uri));
                Ok(shut_down(ctl, &domains, settings))
            }
        });
    }
    ended(well)
}

/// Those that stay defined, and the names of the others.
fn split_transient(ctl: &mut Ctl, domains: Vec<Dom>) -> (Vec<Dom>, Vec<String>) {
    let (mut kept, mut left) = (Vec::new(), Vec::new());
    for dom in domains {
        match call!(ctl, DomainIsPersistent { dom: dom.clone() }) {
            Ok(answer) if answer.persistent != 1 => left.push(dom.name),
            _ => kept.push(dom),
        }
    }
    (kept, left)
}

fn suspend(ctl: &mut Ctl, domains: &[Dom], settings: &Settings) -> bool {
    let mut well = true;
    for dom in domains {
        let flags = if settings.bypass_cache { BYPASS_CACHE_ON_SAVE } else { 0 };
        match call!(ctl, DomainManagedSave { dom: dom.clone(), flags }) {
            Ok(_) => put!(ctl, "Suspending {}: done\n", dom.name),
            Err(fail) => {
                ctl.error(&format!("Suspending {}: {}", dom.name, fail.lines.join(": ")));
                well = false;
            }
        }
        ctl.flush();
    }
    well
}

fn is_on(ctl: &mut Ctl, dom: &Dom) -> bool {
    call!(ctl, DomainIsActive { dom: dom.clone() }).is_ok_and(|answer| answer.active == 1)
}

/// At most `parallel` at a time (none: one after the other), each, or then all together, for as long
/// as the settings allow.
fn shut_down(ctl: &mut Ctl, domains: &[Dom], settings: &Settings) -> bool {
    let patience = (settings.timeout > 0).then(|| Duration::from_secs(settings.timeout));
    let overall = patience.filter(|_| settings.parallel > 0).map(|time| Instant::now() + time);
    let at_once = settings.parallel.max(1);
    let mut waiting: std::collections::VecDeque<&Dom> = domains.iter().collect();
    let mut asked: Vec<(&Dom, Option<Instant>)> = Vec::new();
    let mut well = true;
    while !waiting.is_empty() || !asked.is_empty() {
        while asked.len() < at_once
            && overall.is_none_or(|end| Instant::now() < end)
            && let Some(dom) = waiting.pop_front()
        {
            put!(ctl, "Starting shutdown on guest: {}\n", dom.name);
            match call!(ctl, DomainShutdown { dom: dom.clone() }) {
                Ok(()) => {
                    asked.push((
                        dom,
                        overall.or_else(|| patience.map(|time| Instant::now() + time)),
                    ));
                }
                Err(_) if !is_on(ctl, dom) => {}
                Err(fail) => {
                    ctl.error(&format!("{}: {}", dom.name, fail.lines.join(": ")));
                    well = false;
                }
            }
        }
        ctl.flush();
        let mut left = Vec::new();
        for (dom, end) in asked {
            if !is_on(ctl, dom) {
                put!(ctl, "Shutdown of guest {} complete.\n", dom.name);
            } else if end.is_some_and(|end| Instant::now() >= end) {
                ctl.error(&format!("Shutdown of guest {} failed to complete in time.", dom.name));
                well = false;
            } else {
                left.push((dom, end));
            }
        }
        asked = left;
        if asked.is_empty() && overall.is_some_and(|end| Instant::now() >= end) {
            for dom in waiting.drain(..) {
                ctl.error(&format!("Guest {} was not asked: the time is over.", dom.name));
                well = false;
            }
        }
        if !asked.is_empty() {
            std::thread::sleep(LOOK);
        }
    }
    well
}

fn status(ctl: &mut Ctl, settings: &Settings, note: &Path) -> Outcome {
    let uris = uris(ctl, settings);
    let well = for_each(ctl, &uris, |ctl, uri| {
        let names: Vec<String> = running(ctl)?.into_iter().map(|dom| dom.name).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        put!(ctl, "Running guests on {}: {names}\n", place(uri));
        Ok(true)
    });
    if let Ok(noted) = std::fs::read_to_string(note) {
        let count =
            noted.lines().map(|line| line.split_whitespace().skip(1).count()).sum::<usize>();
        let word = if settings.start_on_boot { "to be started" } else { "not to be started" };
        put!(ctl, "Guests that ran when the host went down: {count} ({word} at boot)\n");
    }
    if well { Ok(()) } else { Err(Fail::silent()) }
}
