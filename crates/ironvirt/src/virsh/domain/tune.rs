//! Scheduler, memory, block and NUMA tuning, performance events.

use super::nic::print_param;
use super::*;
use crate::virsh::ctl::say;
use crate::virsh::fail::{Context, fail};
use crate::virsh::table::Table;
use protocol::{TypedParam, TypedParamValue};

/// The client understands parameters that are strings.
const STRING_OK: u32 = 4;

/// `schedinfo`
pub fn cmd_schedinfo(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("current", "live")?;
    cmd.exclusive("current", "config")?;
    let flags = cmd.affect()?;
    let dom = domain(ctl, cmd)?;
    let kind = call!(ctl, DomainGetSchedulerType { dom: dom.clone() })?;
    let label = if kind.r#type.is_empty() { "Unknown".to_owned() } else { kind.r#type };
    print_param(ctl, "Scheduler", &TypedParamValue::String(label));
    // Without a choice of place the older calls are made, which every driver has.
    let placed = cmd.has("current") || cmd.has("live") || cmd.has("config");
    // What was set in both places is read back from the running guest.
    let asked = if flags == 3 { 0 } else { flags };
    let get = |ctl: &mut Ctl| {
        if placed {
            call!(
                ctl,
                DomainGetSchedulerParametersFlags {
                    dom: dom.clone(),
                    nparams: kind.nparams,
                    flags: asked | STRING_OK
                }
            )
            .map(|r| r.params)
        } else {
            call!(ctl, DomainGetSchedulerParameters { dom: dom.clone(), nparams: kind.nparams })
                .map(|r| r.params)
        }
    };
    let params = get(ctl)?;
    let mut wanted: Vec<(String, String)> = Vec::new();
    for option in ["weight", "cap"] {
        if cmd.has(option) && !params.iter().any(|p| p.field == option) {
            fail!("invalid scheduler option: {option}");
        }
        if let Some(v) = cmd.int(option)? {
            wanted.push((option.to_owned(), v.to_string()));
        }
    }
    for set in cmd.argv("set") {
        match set.split_once('=') {
            Some((k, v)) => wanted.push((k.to_owned(), v.to_owned())),
            None => fail!("Invalid syntax for --set, expecting name=value"),
        }
    }
    let mut changes = Vec::new();
    for (k, v) in &wanted {
        let Some(p) = params.iter().find(|p| p.field == *k) else {
            fail!("invalid scheduler option: {k}");
        };
        let kind = match p.value {
            TypedParamValue::Int(_) => "int",
            TypedParamValue::UInt(_) => "unsigned int",
            TypedParamValue::LLong(_) => "long long",
            TypedParamValue::ULLong(_) => "unsigned long long",
            TypedParamValue::Double(_) => "double",
            TypedParamValue::Boolean(_) => "boolean",
            TypedParamValue::String(_) => "string",
        };
        let bad = || {
            Fail::new(format!("invalid argument: Invalid value for field '{k}': expected {kind}"))
        };
        let value = match p.value {
            TypedParamValue::Int(_) => TypedParamValue::Int(v.parse().map_err(|_| bad())?),
            TypedParamValue::UInt(_) => TypedParamValue::UInt(v.parse().map_err(|_| bad())?),
            TypedParamValue::LLong(_) => TypedParamValue::LLong(v.parse().map_err(|_| bad())?),
            // A minus sign wraps, as strtoull has it.
            TypedParamValue::ULLong(_) => TypedParamValue::ULLong(
                v.parse()
                    .or_else(|_| v.parse::<i64>().map(i64::cast_unsigned))
                    .map_err(|_| bad())?,
            ),
            TypedParamValue::Double(_) => TypedParamValue::Double(v.parse().map_err(|_| bad())?),
            TypedParamValue::Boolean(_) => TypedParamValue::Boolean(v != "0"),
            TypedParamValue::String(_) => TypedParamValue::String(v.clone()),
        };
        changes.push(TypedParam { field: k.clone(), value });
    }
    let params = if changes.is_empty() {
        if flags == 3 {
            fail!("cannot query both live and config at once");
        }
        params
    } else {
        if placed {
            call!(
                ctl,
                DomainSetSchedulerParametersFlags { dom: dom.clone(), params: changes, flags }
            )?;
        } else {
            call!(ctl, DomainSetSchedulerParameters { dom: dom.clone(), params: changes })?;
        }
        get(ctl)?
    };
    for p in params {
        print_param(ctl, &p.field, &p.value);
    }
    Ok(())
}

/// Prints parameters.
fn print_all(ctl: &mut Ctl, params: &[TypedParam]) {
    for p in params {
        print_param(ctl, &p.field, &p.value);
    }
}

/// `memtune`
pub fn cmd_memtune(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let dom = domain(ctl, cmd)?;
    const UNLIMITED: u64 = 9_007_199_254_740_991;
    let mut params = Vec::new();
    for (option, field) in [
        ("hard-limit", "hard_limit"),
        ("soft-limit", "soft_limit"),
        ("swap-hard-limit", "swap_hard_limit"),
        ("min-guarantee", "min_guarantee"),
    ] {
        let Some(text) = cmd.raw(option) else { continue };
        // Every number below zero is "unlimited" for virsh.
        let kib = if text.parse::<i64>().is_ok_and(|n| n < 0) {
            UNLIMITED
        } else {
            match crate::virsh::cmd::scaled_int(text, 1024, u64::MAX) {
                Ok(v) => v / 1024,
                Err(detail) => {
                    let mut f = Fail::new(format!("Unable to parse integer parameter {option}"));
                    f.lines.extend(detail);
                    return Err(f);
                }
            }
        };
        params.push(TypedParam::new(field, kib));
    }
    if !params.is_empty() {
        return call!(ctl, DomainSetMemoryParameters { dom, params, flags })
            .ctx("Unable to change memory parameters");
    }
    let get = |ctl: &mut Ctl, nparams: i32| {
        call!(
            ctl,
            DomainGetMemoryParameters { dom: dom.clone(), nparams, flags: flags | STRING_OK }
        )
    };
    let n = get(ctl, 0).ctx("Unable to get number of memory parameters")?.nparams;
    if n == 0 {
        return Ok(());
    }
    for p in get(ctl, n).ctx("Unable to get memory parameters")?.params {
        if p.value.as_u64() == Some(UNLIMITED) {
            print_param(ctl, &p.field, &TypedParamValue::String("unlimited".into()));
        } else {
            print_param(ctl, &p.field, &p.value);
        }
    }
    Ok(())
}

/// `blkiotune`
pub fn cmd_blkiotune(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let dom = domain(ctl, cmd)?;
    let mut params = Vec::new();
    if let Some(w) = cmd.int("weight")? {
        if w <= 0 {
            fail!("Invalid value of {w} for I/O weight");
        }
        params.push(TypedParam::new("weight", w as u32));
    }
    for option in [
        "device-weights",
        "device-read-iops-sec",
        "device-write-iops-sec",
        "device-read-bytes-sec",
        "device-write-bytes-sec",
    ] {
        if let Some(v) = cmd.str(option)? {
            let field = option.replace('-', "_").replace("weights", "weight");
            params.push(TypedParam::new(field, v));
        }
    }
    if !params.is_empty() {
        return call!(ctl, DomainSetBlkioParameters { dom, params, flags })
            .ctx("Unable to change blkio parameters");
    }
    let get = |ctl: &mut Ctl, nparams: i32| {
        call!(ctl, DomainGetBlkioParameters { dom: dom.clone(), nparams, flags: flags | STRING_OK })
    };
    let n = get(ctl, 0).ctx("Unable to get number of blkio parameters")?.nparams;
    if n > 0 {
        let p = get(ctl, n).ctx("Unable to get blkio parameters")?.params;
        print_all(ctl, &p);
    }
    Ok(())
}

const MODES: &[&str] = &["strict", "preferred", "interleave", "restrictive"];

/// `numatune`
pub fn cmd_numatune(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let dom = domain(ctl, cmd)?;
    let mut params = Vec::new();
    if let Some(nodes) = cmd.str("nodeset")? {
        params.push(TypedParam::new("numa_nodeset", nodes));
    }
    if let Some(mode) = cmd.str("mode")? {
        let n = match mode.parse::<i32>() {
            Ok(n) => n,
            Err(_) => match MODES.iter().position(|m| *m == mode) {
                Some(i) => i as i32,
                None => fail!("Invalid mode: {mode}"),
            },
        };
        params.push(TypedParam::new("numa_mode", n));
    }
    if !params.is_empty() {
        return call!(ctl, DomainSetNumaParameters { dom, params, flags })
            .ctx("Unable to change numa parameters");
    }
    let get = |ctl: &mut Ctl, nparams: i32| {
        call!(ctl, DomainGetNumaParameters { dom: dom.clone(), nparams, flags: flags | STRING_OK })
    };
    let n = get(ctl, 0).ctx("Unable to get number of memory parameters")?.nparams;
    if n == 0 {
        return Ok(());
    }
    for p in get(ctl, n).ctx("Unable to get numa parameters")?.params {
        let mode =
            p.value.as_u64().filter(|_| p.field == "numa_mode").and_then(|v| MODES.get(v as usize));
        match mode {
            Some(m) => print_param(ctl, &p.field, &TypedParamValue::String((*m).into())),
            None => print_param(ctl, &p.field, &p.value),
        }
    }
    Ok(())
}

const THROTTLE: &[&str] = &[
    "total-bytes-sec",
    "read-bytes-sec",
    "write-bytes-sec",
    "total-bytes-sec-max",
    "read-bytes-sec-max",
    "write-bytes-sec-max",
    "total-bytes-sec-max-length",
    "read-bytes-sec-max-length",
    "write-bytes-sec-max-length",
    "total-iops-sec",
    "read-iops-sec",
    "write-iops-sec",
    "total-iops-sec-max",
    "read-iops-sec-max",
    "write-iops-sec-max",
    "total-iops-sec-max-length",
    "read-iops-sec-max-length",
    "write-iops-sec-max-length",
    "size-iops-sec",
];

fn throttle(cmd: &Cmd) -> Outcome<Vec<TypedParam>> {
    let mut params = Vec::new();
    for option in THROTTLE {
        let v = if option.contains("bytes-sec") && !option.ends_with("length") {
            cmd.scaled(option, 1, u64::MAX)
        } else {
            cmd.ull(option)
        };
        let v = v.map_err(|mut f| {
            // virsh's own two lines come before the library's.
            f.lines.insert(1.min(f.lines.len()), "Unable to parse integer parameter".into());
            f
        })?;
        if let Some(v) = v {
            params.push(TypedParam::new(option.replace('-', "_"), v));
        }
    }
    Ok(params)
}

/// `blkdeviotune`
pub fn cmd_blkdeviotune(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let dom = domain(ctl, cmd)?;
    let disk = cmd.req("device")?.to_owned();
    let mut params = throttle(cmd)?;
    if let Some(g) = cmd.str("group-name").ctx_after("Unable to parse group-name parameter")? {
        params.push(TypedParam::new("group_name", g));
    }
    if !params.is_empty() {
        return call!(ctl, DomainSetBlockIoTune { dom, disk, params, flags })
            .ctx("Unable to change block I/O throttle");
    }
    let get = |ctl: &mut Ctl, nparams: i32| {
        call!(
            ctl,
            DomainGetBlockIoTune {
                dom: dom.clone(),
                // How many there are is asked of no disk.
                disk: (nparams > 0).then(|| disk.clone()),
                nparams,
                flags: flags | STRING_OK
            }
        )
    };
    let n = get(ctl, 0).ctx("Unable to get number of block I/O throttle parameters")?.nparams;
    if n > 0 {
        let p = get(ctl, n).ctx("Unable to get block I/O throttle parameters")?.params;
        print_all(ctl, &p);
    }
    Ok(())
}

trait After<T> {
    fn ctx_after(self, line: &str) -> Outcome<T>;
}
impl<T> After<T> for Outcome<T> {
    fn ctx_after(self, line: &str) -> Outcome<T> {
        self.map_err(|mut f| {
            f.lines.push(line.to_owned());
            f
        })
    }
}

/// `domthrottlegroupset`
pub fn cmd_domthrottlegroupset(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let dom = domain(ctl, cmd)?;
    let group = cmd.req("group-name")?.to_owned();
    let mut params = throttle(cmd)?;
    // The daemon takes the name from the parameters, not from the argument.
    params.push(TypedParam::new("group_name", group.as_str()));
    call!(ctl, DomainSetThrottleGroup { dom, group, params, flags })
        .ctx("Unable to set throttle group")?;
    say!(ctl, "Throttle group set successfully\n");
    Ok(())
}

/// `domthrottlegroupdel`
pub fn cmd_domthrottlegroupdel(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let dom = domain(ctl, cmd)?;
    let group = Some(cmd.req("group-name")?.to_owned());
    call!(ctl, DomainDelThrottleGroup { dom, group, flags })?;
    say!(ctl, "Throttle group deleted successfully\n");
    Ok(())
}

/// A throttle group: its name, and its limits by name.
type ThrottleGroup = (String, Vec<(String, String)>);

fn throttle_groups(ctl: &mut Ctl, cmd: &Cmd) -> Outcome<Vec<ThrottleGroup>> {
    let dom = domain(ctl, cmd)?;
    let xml = xml_of(ctl, &dom, if cmd.has("inactive") { 2 } else { 0 })?;
    let doc = crate::virsh::util::parse_xml(&xml)?;
    Ok(doc
        .root()
        .child("throttlegroups")
        .into_iter()
        .flat_map(|g| g.children())
        .map(|g| {
            let values: Vec<(String, String)> =
                g.children().map(|c| (c.name().to_owned(), c.text().into_owned())).collect();
            let name = values
                .iter()
                .find(|(k, _)| k == "group_name" || k == "name")
                .map(|(_, v)| v.clone())
                .unwrap_or_default();
            (name, values)
        })
        .collect())
}

/// `domthrottlegrouplist`
pub fn cmd_domthrottlegrouplist(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let mut table = Table::new(["Name"]);
    for (name, _) in throttle_groups(ctl, cmd)? {
        table.row([name]);
    }
    ctl.table(&table);
    Ok(())
}

/// `domthrottlegroupinfo`
pub fn cmd_domthrottlegroupinfo(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let wanted = cmd.req("group-name")?.to_owned();
    let groups = throttle_groups(ctl, cmd)?;
    if let Some((_, values)) = groups.into_iter().find(|(n, _)| *n == wanted) {
        for (k, v) in values.into_iter().filter(|(k, _)| k != "group_name") {
            print_param(ctl, &k, &TypedParamValue::String(v));
        }
    }
    Ok(())
}

/// `perf`
pub fn cmd_perf(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let mut params = Vec::new();
    for (option, on) in [("enable", true), ("disable", false)] {
        if let Some(list) = cmd.str(option)? {
            params.extend(list.split(',').map(|e| TypedParam::new(e, on)));
        }
    }
    let dom = domain(ctl, cmd)?;
    if params.is_empty() {
        let current =
            call!(ctl, DomainGetPerfEvents { dom, flags }).ctx("Unable to get perf events")?.params;
        for p in current {
            let text = if p.value.as_bool() == Some(true) { "enabled" } else { "disabled" };
            print_param(ctl, &p.field, &TypedParamValue::String(text.into()));
        }
        return Ok(());
    }
    let changed = params.clone();
    call!(ctl, DomainSetPerfEvents { dom, params, flags })
        .ctx("Unable to enable/disable perf events")?;
    for p in changed {
        let text = if p.value.as_bool() == Some(true) { "enabled" } else { "disabled" };
        print_param(ctl, &p.field, &TypedParamValue::String(text.into()));
    }
    Ok(())
}
