//! What the host is: names, versions, sizes, statistics.

use crate::virsh::cmd::Cmd;
use crate::virsh::conn::call;
use crate::virsh::ctl::{Ctl, put, say};
use crate::virsh::domain::print_xml;
use crate::virsh::fail::{Context, Outcome, fail};
use crate::virsh::util::cpu_list;
use protocol::TypedParam;

/// `capabilities`
pub fn cmd_capabilities(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let xml = call!(ctl, ConnectGetCapabilities).ctx("failed to get capabilities")?.capabilities;
    print_xml(ctl, cmd, &xml)
}

/// `domcapabilities`
pub fn cmd_domcapabilities(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let get = |n: &str| -> Outcome<Option<String>> { Ok(cmd.str(n)?.map(str::to_owned)) };
    let flags = u32::from(cmd.has("disable-deprecated-features"));
    let args = (get("emulatorbin")?, get("arch")?, get("machine")?, get("virttype")?);
    let xml = call!(
        ctl,
        ConnectGetDomainCapabilities {
            emulatorbin: args.0,
            arch: args.1,
            machine: args.2,
            virttype: args.3,
            flags
        }
    )
    .ctx("failed to get emulator capabilities")?
    .capabilities;
    print_xml(ctl, cmd, &xml)
}

/// `hostname`
pub fn cmd_hostname(ctl: &mut Ctl, _: &Cmd) -> Outcome {
    let name = call!(ctl, ConnectGetHostname).ctx("failed to get hostname")?.hostname;
    ctl.member("hostname", name.clone());
    put!(ctl, "{name}\n");
    Ok(())
}

/// `uri`
pub fn cmd_uri(ctl: &mut Ctl, _: &Cmd) -> Outcome {
    let uri = ctl.conn()?.uri().to_owned();
    let uri = if uri.is_empty() { call!(ctl, ConnectGetUri)?.uri } else { uri };
    ctl.member("uri", uri.clone());
    put!(ctl, "{uri}\n");
    Ok(())
}

fn version(v: u64) -> String {
    format!("{}.{}.{}", v / 1_000_000, v / 1000 % 1000, v % 1000)
}

/// `version`
pub fn cmd_version(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let kind = call!(ctl, ConnectGetType).ctx("failed to get hypervisor type")?.r#type;
    let ours = crate::virsh::VERSION;
    put!(ctl, "Compiled against library: libvirt {ours}\n");
    put!(ctl, "Using library: libvirt {ours}\n");
    put!(ctl, "Using API: {kind} {ours}\n");
    let running = call!(ctl, ConnectGetVersion).ctx("failed to get the hypervisor version")?.hv_ver;
    ctl.member("library", ours);
    ctl.member("hypervisor", kind.clone());
    if running == 0 {
        put!(ctl, "Cannot extract running {kind} hypervisor version\n");
    } else {
        ctl.member("hypervisor-version", version(running));
        put!(ctl, "Running hypervisor: {kind} {}\n", version(running));
    }
    if cmd.has("daemon") {
        let daemon =
            call!(ctl, ConnectGetLibVersion).ctx("failed to get the daemon version")?.lib_ver;
        ctl.member("daemon", version(daemon));
        put!(ctl, "Running against daemon: {}\n", version(daemon));
    }
    Ok(())
}

/// `sysinfo`
pub fn cmd_sysinfo(ctl: &mut Ctl, _: &Cmd) -> Outcome {
    let xml = call!(ctl, ConnectGetSysinfo { flags: 0 }).ctx("failed to get sysinfo")?.sysinfo;
    ctl.member("xml", xml.clone());
    put!(ctl, "{xml}");
    Ok(())
}

/// `maxvcpus`
pub fn cmd_maxvcpus(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let kind = cmd.str("type")?.map(str::to_owned);
    // The capabilities know better than the old call, which may not be there either.
    let caps = call!(
        ctl,
        ConnectGetDomainCapabilities {
            emulatorbin: None,
            arch: None,
            machine: None,
            virttype: kind.clone(),
            flags: 0
        }
    );
    if let Ok(c) = caps {
        let doc = crate::virsh::util::parse_xml(&c.capabilities)?;
        let max = doc.root().child("vcpu").and_then(|v| v.attr("max")).map(str::to_owned);
        if let Some(max) = max {
            ctl.member("max", max.clone());
            put!(ctl, "{max}\n");
            return Ok(());
        }
    }
    let max = call!(ctl, ConnectGetMaxVcpus { r#type: kind })?.max_vcpus;
    ctl.member("max", max);
    put!(ctl, "{max}\n");
    Ok(())
}

/// `nodeinfo`
pub fn cmd_nodeinfo(ctl: &mut Ctl, _: &Cmd) -> Outcome {
    let i = call!(ctl, NodeGetInfo).ctx("failed to get node information")?;
    let bytes: Vec<u8> = i.model.iter().copied().take_while(|b| *b != 0).collect();
    ctl.pair_width("CPU model:", 20, String::from_utf8_lossy(&bytes));
    ctl.pair_width("CPU(s):", 20, i.cpus);
    if i.mhz != 0 {
        ctl.pair_width("CPU frequency:", 20, format_args!("{} MHz", i.mhz));
    }
    ctl.pair_width("CPU socket(s):", 20, i.sockets);
    ctl.pair_width("Core(s) per socket:", 20, i.cores);
    ctl.pair_width("Thread(s) per core:", 20, i.threads);
    ctl.pair_width("NUMA cell(s):", 20, i.nodes);
    ctl.pair_width("Memory size:", 20, format_args!("{} KiB", i.memory));
    Ok(())
}

/// `nodecpumap`
pub fn cmd_nodecpumap(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let m = call!(ctl, NodeGetCpuMap { need_map: 1, need_online: 1, flags: 0 })
        .ctx("Unable to get cpu map")?;
    let present = m.ret.max(0) as usize;
    ctl.pair("CPUs present:", present);
    ctl.pair("CPUs online:", m.online);
    let map: Vec<u8> = m.cpumap.to_vec();
    let text = if cmd.has("pretty") {
        cpu_list(&map, present)
    } else {
        (0..present)
            .map(|i| {
                let on = map.get(i / 8).is_some_and(|b| b & (1 << (i % 8)) != 0);
                if on { 'y' } else { '-' }
            })
            .collect()
    };
    ctl.pair("CPU map:", text);
    Ok(())
}

fn cpu_stats(ctl: &mut Ctl, cpu_num: i32) -> Outcome<Vec<(String, u64)>> {
    let n = call!(ctl, NodeGetCpuStats { cpu_num, nparams: 0, flags: 0 })
        .ctx("Unable to get number of cpu stats")?
        .nparams;
    if n == 0 {
        return Ok(Vec::new());
    }
    let r = call!(ctl, NodeGetCpuStats { cpu_num, nparams: n, flags: 0 })
        .ctx("Unable to get node cpu stats")?;
    Ok(r.params.into_iter().map(|p| (p.field, p.value)).collect())
}

/// `nodecpustats`
pub fn cmd_nodecpustats(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let cpu = cmd.int("cpu")?;
    if cpu.is_some_and(|c| c < 0) {
        fail!("Invalid value of cpuNum");
    }
    let cpu = cpu.unwrap_or(-1);
    let percent = cmd.has("percent");
    let first = cpu_stats(ctl, cpu)?;
    let find = |list: &[(String, u64)], n: &str| list.iter().find(|(f, _)| f == n).map(|(_, v)| *v);
    let names = ["kernel", "user", "idle", "iowait", "intr", "utilization"];
    let have: Vec<Option<u64>> = names.iter().map(|n| find(&first, n)).collect();
    let nothing = have.iter().all(Option::is_none);
    if nothing {
        say!(ctl, "No CPU stats available");
        return Ok(());
    }
    let [kernel, user, idle, iowait, intr, utilization] = have.as_slice() else {
        return Ok(());
    };
    if let Some(u) = utilization {
        let u = *u as f64;
        line(ctl, "usage:", &format!("{u:5.1}%"));
        line(ctl, "idle:", &format!("{:5.1}%", 100.0 - u));
        return Ok(());
    }
    if !percent {
        for (label, v) in [
            ("user:", user),
            ("system:", kernel),
            ("idle:", idle),
            ("iowait:", iowait),
            ("intr:", intr),
        ] {
            if let Some(v) = v {
                line(ctl, label, &format!("{v:20}"));
            }
        }
        return Ok(());
    }
    std::thread::sleep(std::time::Duration::from_secs(1));
    let second = cpu_stats(ctl, cpu)?;
    let diff = |n: &str| Some(find(&second, n)?.wrapping_sub(find(&first, n)?) as f64);
    let d: Vec<f64> = ["user", "kernel", "idle", "iowait", "intr"]
        .iter()
        .map(|n| diff(n).unwrap_or(0.0))
        .collect();
    let total: f64 = d.iter().sum();
    let share = |v: f64| {
        if total == 0.0 { 0.0 } else { v / total * 100.0 }
    };
    let usage = d[0] + d[1] + d[4];
    line(ctl, "usage:", &format!("{:5.1}%", share(usage)));
    for (label, i, present) in [
        ("user:", 0, user.is_some()),
        ("system:", 1, kernel.is_some()),
        ("idle:", 2, idle.is_some()),
        ("iowait:", 3, iowait.is_some()),
        ("intr:", 4, intr.is_some()),
    ] {
        if present {
            line(ctl, label, &format!("{:5.1}%", share(d[i])));
        }
    }
    Ok(())
}

fn line(ctl: &mut Ctl, label: &str, value: &str) {
    if ctl.json() {
        ctl.member(label.trim_end_matches(':'), value.trim());
    } else {
        put!(ctl, "{label:<15} {value}\n");
    }
}

/// `nodememstats`
pub fn cmd_nodememstats(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let cell = cmd.int("cell")?.unwrap_or(-1);
    let get = |ctl: &mut Ctl, nparams: i32| {
        call!(ctl, NodeGetMemoryStats { nparams, cell_num: cell, flags: 0 })
    };
    let n = get(ctl, 0).ctx("Unable to get number of memory stats")?.nparams;
    if n == 0 {
        return Ok(());
    }
    for p in get(ctl, n).ctx("Unable to get memory stats")?.params {
        if ctl.json() {
            ctl.member(&p.field, p.value);
        } else {
            put!(ctl, "{:<7}: {:20} KiB\n", p.field, p.value);
        }
    }
    Ok(())
}

/// `nodesuspend`
pub fn cmd_nodesuspend(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let target = match cmd.req("target")? {
        "mem" => 0,
        "disk" => 1,
        "hybrid" => 2,
        _ => fail!("Invalid target"),
    };
    let duration = cmd.ll("duration")?.unwrap_or(0);
    let Ok(duration) = u64::try_from(duration) else {
        fail!("Invalid duration");
    };
    call!(ctl, NodeSuspendForDuration { target, duration, flags: 0 })
        .ctx("The host was not suspended")
}

/// `nodesevinfo`
pub fn cmd_nodesevinfo(ctl: &mut Ctl, _: &Cmd) -> Outcome {
    let get = |ctl: &mut Ctl, nparams: i32| call!(ctl, NodeGetSevInfo { nparams, flags: 0 });
    let failed = "Unable to get host SEV information";
    let n = get(ctl, 0).ctx(failed)?.nparams;
    for p in get(ctl, n).ctx(failed)?.params {
        if ctl.json() {
            ctl.member(&p.field, p.value.to_string());
        } else {
            put!(ctl, "{:<18}: {}\n", p.field, p.value);
        }
    }
    Ok(())
}

/// `node-memory-tune`
pub fn cmd_node_memory_tune(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let mut params = Vec::new();
    for option in ["shm-pages-to-scan", "shm-sleep-millisecs", "shm-merge-across-nodes"] {
        if let Some(v) = cmd.uint(option)? {
            params.push(TypedParam::new(option.replace('-', "_"), v));
        }
    }
    if !params.is_empty() {
        return call!(ctl, NodeSetMemoryParameters { params, flags: 0 })
            .ctx("Unable to change memory parameters");
    }
    let get =
        |ctl: &mut Ctl, nparams: i32| call!(ctl, NodeGetMemoryParameters { nparams, flags: 0 });
    let n = get(ctl, 0).ctx("Unable to get number of memory parameters")?.nparams;
    if n == 0 {
        return Ok(());
    }
    let params = get(ctl, n).ctx("Unable to get memory parameters")?.params;
    put!(ctl, "Shared memory:\n");
    for p in params {
        ctl.member(&p.field, p.value.to_string());
        put!(ctl, "\t{:<15} {}\n", p.field, p.value);
    }
    Ok(())
}
