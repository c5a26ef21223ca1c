//! Virtual CPUs, their pinning, the emulator's and I/O threads'.

use super::*;
use crate::virsh::ctl::put;
use crate::virsh::fail::{Context, fail};
use crate::virsh::table::Table;
use crate::virsh::util::cpu_list;
use protocol::{TypedParam, TypedParams};

const LIVE: u32 = 1;
const CONFIG: u32 = 2;
const MAXIMUM: u32 = 4;
const GUEST: u32 = 8;
const HOTPLUGGABLE: u32 = 16;
/// The client understands parameters that are strings.
const STRING_OK: u32 = 4;

/// How many CPUs the host can have, the online ones and those that may appear.
pub fn host_cpus(ctl: &mut Ctl) -> Outcome<usize> {
    if let Ok(m) = call!(ctl, NodeGetCpuMap { need_map: 0, need_online: 0, flags: 0 }) {
        return Ok(m.ret.max(0) as usize);
    }
    let i = call!(ctl, NodeGetInfo)?;
    Ok((i.nodes * i.sockets * i.cores * i.threads).max(0) as usize)
}

/// `vcpucount`
pub fn cmd_vcpucount(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let (maximum, active) = (cmd.has("maximum"), cmd.has("active"));
    cmd.exclusive("live", "config")?;
    cmd.exclusive("maximum", "active")?;
    cmd.exclusive("guest", "config")?;
    let all = !(cmd.has("current")
        || cmd.has("live")
        || cmd.has("config")
        || maximum
        || active
        || cmd.has("guest"));
    let dom = domain(ctl, cmd)?;
    if all {
        let running = is_active(ctl, &dom)?;
        let persistent = call!(ctl, DomainIsPersistent { dom: dom.clone() })?.persistent != 0;
        for (label, which, place, flags, wanted) in [
            ("maximum", "config", CONFIG, MAXIMUM, persistent),
            ("maximum", "live", LIVE, MAXIMUM, running),
            ("current", "config", CONFIG, 0, persistent),
            ("current", "live", LIVE, 0, running),
        ] {
            if !wanted {
                continue;
            }
            let n = call!(ctl, DomainGetVcpusFlags { dom: dom.clone(), flags: place | flags })?.num;
            ctl.member(&format!("{label}-{which}"), n);
            put!(ctl, "{label:<12} {which:<12} {n:>3}\n");
        }
        return Ok(());
    }
    let mut flags = cmd.affect()?;
    if maximum {
        flags |= MAXIMUM;
    }
    let guest = cmd.has("guest");
    if guest {
        flags |= GUEST;
    }
    let n = match call!(ctl, DomainGetVcpusFlags { dom, flags }) {
        Ok(r) => r.num,
        Err(f) if guest && f.is(8) => {
            return Err(f.before("Failed to retrieve vCPU count from the guest"));
        }
        Err(f) => return Err(f),
    };
    ctl.member("count", n);
    put!(ctl, "{n}\n");
    Ok(())
}

/// The bit map of one CPU in an array of maps.
fn one(maps: &[u8], maplen: usize, i: usize) -> &[u8] {
    maps.get(i * maplen..(i + 1) * maplen).unwrap_or(&[])
}

fn affinity(map: &[u8], n: usize, pretty: bool) -> String {
    if pretty {
        return format!("{} (out of {n})", cpu_list(map, n));
    }
    (0..n)
        .map(|i| {
            let on = map.get(i / 8).is_some_and(|b| b & (1 << (i % 8)) != 0);
            if on { 'y' } else { '-' }
        })
        .collect()
}

/// `vcpuinfo`
pub fn cmd_vcpuinfo(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let pretty = cmd.has("pretty");
    let maxcpu = host_cpus(ctl)?;
    let maplen = maxcpu.div_ceil(8);
    let info = call!(ctl, DomainGetInfo { dom: dom.clone() })?;
    let vcpus = call!(
        ctl,
        DomainGetVcpus {
            dom: dom.clone(),
            maxinfo: i32::from(info.nr_virt_cpu),
            maplen: maplen as i32
        }
    );
    let maps = match vcpus {
        Ok(v) => {
            for (i, c) in v.info.iter().enumerate() {
                ctl.pair("VCPU:", c.number);
                ctl.pair("CPU:", cpu_text(c.cpu));
                let state = match c.state {
                    0 => "offline",
                    1 => "running",
                    2 => "blocked",
                    _ => "no state",
                };
                ctl.pair("State:", state);
                if c.cpu_time != 0 {
                    ctl.pair("CPU time:", format!("{:.1}s", c.cpu_time as f64 / 1e9));
                }
                let map = one(&v.cpumaps, maplen, i);
                ctl.pair("CPU Affinity:", affinity(map, maxcpu, pretty));
                next_record(ctl, i + 1 == v.info.len());
            }
            return Ok(());
        }
        Err(f) if info.state != 5 => return Err(f),
        Err(_) => call!(
            ctl,
            DomainGetVcpuPinInfo {
                dom: dom.clone(),
                ncpumaps: i32::from(info.nr_virt_cpu),
                maplen: maplen as i32,
                flags: 0
            }
        )?,
    };
    // A domain that is off has no CPUs yet, only their pinning.
    let n = maps.num.max(0) as usize;
    for i in 0..n {
        ctl.pair("VCPU:", i);
        ctl.pair("CPU:", "N/A");
        ctl.pair("State:", "N/A");
        ctl.pair("CPU time", "N/A");
        let map = one(&maps.cpumaps, maplen, i);
        ctl.pair("CPU Affinity:", affinity(map, maxcpu, pretty));
        next_record(ctl, i + 1 == n);
    }
    Ok(())
}

/// Ends the lines of one CPU: an empty line before the next, an element of the list in JSON.
fn next_record(ctl: &mut Ctl, last: bool) {
    if !last {
        put!(ctl, "\n");
    }
    ctl.end_record();
}

fn cpu_text(cpu: i32) -> String {
    match cpu {
        -1 | -2 => "N/A".to_owned(),
        n => n.to_string(),
    }
}

/// A CPU list such as `0-3,^2` (or `r`: all) as a bit map.
fn parse_cpus(text: &str, maxcpu: usize) -> Outcome<Vec<u8>> {
    let mut set = vec![false; maxcpu.max(1)];
    let invalid = || {
        let mut f = Fail::new(format!("Invalid cpulist '{text}'"));
        f.lines.push(format!("invalid argument: Failed to parse bitmap '{text}'"));
        f
    };
    if text == "r" {
        set.fill(true);
    } else {
        for part in text.split(',') {
            let part = part.trim();
            let (part, on) = match part.strip_prefix('^') {
                Some(p) => (p, false),
                None => (part, true),
            };
            let (a, b) = part.split_once('-').unwrap_or((part, part));
            let a: usize = a.trim().parse().map_err(|_| invalid())?;
            let b: usize = b.trim().parse().map_err(|_| invalid())?;
            if a > b || b > 65_535 {
                return Err(invalid());
            }
            if b >= set.len() {
                set.resize(b + 1, false);
            }
            set[a..=b].fill(on);
        }
        if !set.contains(&true) {
            fail!("Invalid cpulist '{text}'");
        }
    }
    if let Some(last) = set.iter().rposition(|b| *b)
        && last >= maxcpu
    {
        fail!("CPU {last} in cpulist '{text}' exceed the maxcpu {maxcpu}");
    }
    let mut map = vec![0u8; maxcpu.div_ceil(8)];
    for (i, _) in set.iter().enumerate().filter(|(_, on)| **on) {
        if let Some(byte) = map.get_mut(i / 8) {
            *byte |= 1 << (i % 8);
        }
    }
    // The wire carries maps without their trailing zero bytes.
    while map.len() > 1 && map.last() == Some(&0) {
        map.pop();
    }
    Ok(map)
}

/// `vcpupin`
pub fn cmd_vcpupin(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let mut flags = cmd.affect()?;
    let cpulist = cmd.str("cpulist")?.map(str::to_owned);
    let dom = domain(ctl, cmd)?;
    let vcpu = cmd.uint("vcpu")?;
    if cpulist.is_some() && vcpu.is_none() {
        fail!("vcpupin: Missing vCPU number in pin mode.");
    }
    let maxcpu = host_cpus(ctl)?;
    if let (Some(list), Some(vcpu)) = (&cpulist, vcpu) {
        let cpumap = parse_cpus(list, maxcpu)?;
        return if flags == 0 && !cmd.has("current") {
            call!(ctl, DomainPinVcpu { dom, vcpu, cpumap })
        } else {
            call!(ctl, DomainPinVcpuFlags { dom, vcpu, cpumap, flags })
        };
    }
    let live = is_active(ctl, &dom)?;
    if flags == CONFIG && call!(ctl, DomainIsPersistent { dom: dom.clone() })?.persistent == 0 {
        fail!("cannot get vcpupin for transient domain");
    }
    if flags == 0 {
        flags = if live { LIVE } else { CONFIG };
    }
    let count = call!(ctl, DomainGetVcpusFlags { dom: dom.clone(), flags: flags | MAXIMUM })?.num;
    let count = count.max(0) as usize;
    if let Some(v) = vcpu
        && v as usize >= count
    {
        let which = if flags & CONFIG != 0 { "persistent" } else { "live" };
        fail!("vcpu {v} is out of range of {which} cpu count {count}");
    }
    let maplen = maxcpu.div_ceil(8);
    let pins = call!(
        ctl,
        DomainGetVcpuPinInfo { dom, ncpumaps: count as i32, maplen: maplen as i32, flags }
    )?;
    let mut table = Table::new(["VCPU", "CPU Affinity"]);
    for i in 0..pins.num.max(0) as usize {
        if vcpu.is_none_or(|v| v as usize == i) {
            table.row([i.to_string(), cpu_list(one(&pins.cpumaps, maplen, i), maxcpu)]);
        }
    }
    ctl.table(&table);
    Ok(())
}

/// `emulatorpin`
pub fn cmd_emulatorpin(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let dom = domain(ctl, cmd)?;
    let maxcpu = host_cpus(ctl)?;
    if let Some(list) = cmd.str("cpulist")? {
        let cpumap = parse_cpus(list, maxcpu)?;
        let flags = if flags == 0 && !cmd.has("current") { LIVE } else { flags };
        return call!(ctl, DomainPinEmulator { dom, cpumap, flags });
    }
    let maplen = maxcpu.div_ceil(8) as i32;
    let r = call!(ctl, DomainGetEmulatorPinInfo { dom, maplen, flags })?;
    let text = cpu_list(&r.cpumaps, maxcpu);
    ctl.member("affinity", text.clone());
    say_header(ctl);
    put!(ctl, "       *: {text}\n");
    Ok(())
}

fn say_header(ctl: &mut Ctl) {
    ctl.say("emulator: CPU Affinity\n----------------------------------\n");
}

/// `iothreadinfo`
pub fn cmd_iothreadinfo(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let dom = domain(ctl, cmd)?;
    let maxcpu = host_cpus(ctl)?;
    let info = call!(ctl, DomainGetIothreadInfo { dom, flags })
        .ctx("Unable to get domain IOThreads information")?
        .info;
    if info.is_empty() {
        ctl.say("No IOThreads found for the domain");
        ctl.data(serde_json::json!([]));
        return Ok(());
    }
    let mut table = Table::new(["IOThread ID", "CPU Affinity"]);
    for t in info {
        table.row([t.iothread_id.to_string(), cpu_list(&t.cpumap, maxcpu)]);
    }
    ctl.table(&table);
    Ok(())
}

/// `iothreadpin`
pub fn cmd_iothreadpin(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let dom = domain(ctl, cmd)?;
    let iothreads_id = cmd.uint("iothread")?.unwrap_or(0);
    let maxcpu = host_cpus(ctl)?;
    let cpumap = parse_cpus(cmd.req("cpulist")?, maxcpu)?;
    call!(ctl, DomainPinIothread { dom, iothreads_id, cpumap, flags })
}

fn iothread_id(cmd: &Cmd) -> Outcome<u32> {
    match cmd.int("id")?.unwrap_or(0) {
        id if id <= 0 => fail!("Invalid IOThread id value: '{id}'"),
        id => Ok(id as u32),
    }
}

/// `iothreadadd`
pub fn cmd_iothreadadd(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let dom = domain(ctl, cmd)?;
    let iothread_id = iothread_id(cmd)?;
    call!(ctl, DomainAddIothread { dom, iothread_id, flags })
}

/// `iothreaddel`
pub fn cmd_iothreaddel(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let dom = domain(ctl, cmd)?;
    let iothread_id = iothread_id(cmd)?;
    call!(ctl, DomainDelIothread { dom, iothread_id, flags })
}

/// `iothreadset`
pub fn cmd_iothreadset(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let dom = domain(ctl, cmd)?;
    let iothread_id = iothread_id(cmd)?;
    let mut params = Vec::new();
    if let Some(v) = cmd.ull("poll-max-ns")? {
        params.push(TypedParam::new("poll_max_ns", v));
    }
    for (option, field) in [("poll-grow", "poll_grow"), ("poll-shrink", "poll_shrink")] {
        if let Some(v) = cmd.ull(option)? {
            match u32::try_from(v) {
                Ok(v) => params.push(TypedParam::new(field, v)),
                Err(_) => params.push(TypedParam::new(field, v)),
            }
        }
    }
    for (option, field) in
        [("thread-pool-min", "thread_pool_min"), ("thread-pool-max", "thread_pool_max")]
    {
        if let Some(v) = cmd.int(option)? {
            params.push(TypedParam::new(field, v));
        }
    }
    if params.is_empty() {
        fail!("Not enough arguments passed, nothing to set");
    }
    call!(ctl, DomainSetIothreadParams { dom, iothread_id, params, flags })
}

/// `setvcpus`
pub fn cmd_setvcpus(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("current", "live")?;
    cmd.exclusive("current", "config")?;
    cmd.exclusive("guest", "config")?;
    cmd.requires("maximum", "config")?;
    let mut flags = cmd.affect()?;
    for (name, bit) in [("guest", GUEST), ("maximum", MAXIMUM), ("hotpluggable", HOTPLUGGABLE)] {
        if cmd.has(name) {
            flags |= bit;
        }
    }
    let dom = domain(ctl, cmd)?;
    let nvcpus = cmd.uint("count")?.unwrap_or(0);
    if nvcpus == 0 {
        fail!("Can't set 0 processors for a VM");
    }
    if flags == 0 && !cmd.has("current") {
        call!(ctl, DomainSetVcpus { dom, nvcpus })
    } else {
        call!(ctl, DomainSetVcpusFlags { dom, nvcpus, flags })
    }
}

/// `setvcpu`
pub fn cmd_setvcpu(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("enable", "disable")?;
    let flags = cmd.affect()?;
    if !(cmd.has("enable") || cmd.has("disable")) {
        fail!("one of --enable, --disable is required");
    }
    let cpumap = cmd.req("vcpulist")?.to_owned();
    let dom = domain(ctl, cmd)?;
    let state = i32::from(cmd.has("enable"));
    call!(ctl, DomainSetVcpu { dom, cpumap, state, flags })
}

/// `guestvcpus`
pub fn cmd_guestvcpus(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    cmd.exclusive("enable", "disable")?;
    cmd.requires("enable", "cpulist")?;
    cmd.requires("disable", "cpulist")?;
    let cpulist = cmd.str("cpulist")?.map(str::to_owned);
    if cpulist.is_some() && !(cmd.has("enable") || cmd.has("disable")) {
        fail!("One of options --enable or --disable is required by option --cpulist");
    }
    let dom = domain(ctl, cmd)?;
    if let Some(cpumap) = cpulist {
        let state = i32::from(cmd.has("enable"));
        return call!(ctl, DomainSetGuestVcpus { dom, cpumap, state, flags: 0 });
    }
    for p in call!(ctl, DomainGetGuestVcpus { dom, flags: 0 })?.params {
        ctl.pair(&p.field.clone(), &p.value);
    }
    Ok(())
}

/// `cpu-stats`
pub fn cmd_cpu_stats(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let total_only = cmd.has("total");
    let start = cmd.int("start")?;
    let count = cmd.int("count")?;
    if start.is_some_and(|s| s < 0) {
        fail!("Invalid value for start CPU");
    }
    if count.is_some_and(|c| c < 0) {
        fail!("Invalid value for number of CPUs to show");
    }
    let ranged = start.is_some() || count.is_some();
    let name = dom.name.clone();
    let failed = || format!("Failed to retrieve CPU statistics for domain '{name}'");
    if !total_only || ranged {
        per_cpu(ctl, &dom, start.unwrap_or(0), count, &failed())?;
        if !total_only && ranged {
            return Ok(());
        }
    }
    let get = |ctl: &mut Ctl, nparams: u32| {
        call!(
            ctl,
            DomainGetCpuStats {
                dom: dom.clone(),
                nparams,
                start_cpu: -1,
                ncpus: 1,
                flags: STRING_OK
            }
        )
    };
    let n = get(ctl, 0).ctx(failed())?.nparams;
    let params = get(ctl, n.max(0) as u32).ctx(failed())?.params;
    put!(ctl, "Total:\n");
    print_times(ctl, &params);
    Ok(())
}

fn print_times(ctl: &mut Ctl, params: &[TypedParam]) {
    for p in params {
        let v = p.value.as_u64().unwrap_or(0);
        if matches!(p.field.as_str(), "cpu_time" | "user_time" | "system_time" | "vcpu_time") {
            put!(
                ctl,
                "\t{:<12} {:>9}.{:09} seconds\n",
                p.field,
                v / 1_000_000_000,
                v % 1_000_000_000
            );
        } else {
            put!(ctl, "\t{:<12} {}\n", p.field, p.value);
        }
    }
}

fn per_cpu(ctl: &mut Ctl, dom: &Dom, start: i32, count: Option<i32>, failed: &str) -> Outcome {
    let get = |ctl: &mut Ctl, nparams: u32, start_cpu: i32, ncpus: u32| {
        call!(
            ctl,
            DomainGetCpuStats { dom: dom.clone(), nparams, start_cpu, ncpus, flags: STRING_OK }
        )
    };
    let max = get(ctl, 0, 0, 0).ctx(failed)?.nparams;
    if start >= max {
        fail!("Start CPU {start} is out of range (min: 0, max: {})", max - 1);
    }
    let show = count.unwrap_or(max - start).min(max - start);
    if count.is_some_and(|count| count > show) {
        put!(ctl, "Only {show} CPUs available to show\n");
    }
    let nparams = get(ctl, 0, 0, 1).ctx(failed)?.nparams.max(0) as u32;
    let mut cpu = start;
    let mut left = show;
    while left > 0 {
        let n = left.min(128);
        let params = get(ctl, nparams, cpu, n as u32).ctx(failed)?.params;
        for (i, chunk) in params.chunks(nparams.max(1) as usize).enumerate() {
            if chunk.get_param("cpu_time").is_none() {
                continue;
            }
            put!(ctl, "CPU{}:\n", cpu + i as i32);
            print_times(ctl, chunk);
        }
        cpu += n;
        left -= n;
    }
    Ok(())
}
