//! Memory: `setmem`, `setmaxmem`, `dommemstat`.

use super::*;
use crate::virsh::ctl::put;
use crate::virsh::fail::{Context, fail};

/// Memory in KiB, at most what the wire carries.
fn kib(cmd: &Cmd) -> Outcome<u64> {
    let bytes = cmd.scaled("size", 1024, u64::MAX)?.unwrap_or(0);
    Ok(bytes.div_ceil(1024))
}

/// `setmem`
pub fn cmd_setmem(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let mut flags = cmd.affect()?;
    if flags == 0 && !cmd.has("current") {
        flags = 1;
    }
    let dom = domain(ctl, cmd)?;
    let memory = kib(cmd)?;
    if memory == 0 {
        fail!("memory in virDomainSetMemoryFlags must not be zero");
    }
    call!(ctl, DomainSetMemoryFlags { dom, memory, flags })
}

/// `setmaxmem`
pub fn cmd_setmaxmem(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()? | 4;
    let dom = domain(ctl, cmd)?;
    let memory = kib(cmd)?;
    if memory == 0 {
        return Err(Fail::new("memory in virDomainSetMemoryFlags must not be zero")
            .before("Unable to change MaxMemorySize"));
    }
    call!(ctl, DomainSetMemoryFlags { dom, memory, flags }).ctx("Unable to change MaxMemorySize")
}

/// `dommemstat`
pub fn cmd_dommemstat(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let flags = cmd.affect()?;
    let dom = domain(ctl, cmd)?;
    if let Some(period) = cmd.int("period")? {
        if period < 0 {
            fail!("Invalid collection period value '{period}'");
        }
        return call!(ctl, DomainSetMemoryStatsPeriod { dom, period, flags })
            .ctx("Unable to change balloon collection period.");
    }
    let name = dom.name.clone();
    let stats = call!(ctl, DomainMemoryStats { dom, max_stats: 64, flags: 0 })
        .ctx(format!("Failed to get memory statistics for domain {name}"))?
        .stats;
    let names = [
        "swap_in",
        "swap_out",
        "major_fault",
        "minor_fault",
        "unused",
        "available",
        "actual",
        "rss",
        "usable",
        "last_update",
        "disk_caches",
        "hugetlb_pgalloc",
        "hugetlb_pgfail",
    ];
    for s in stats {
        if let Some(n) = usize::try_from(s.tag).ok().and_then(|t| names.get(t)) {
            ctl.member(n, s.val);
            put!(ctl, "{n} {}\n", s.val);
        }
    }
    Ok(())
}
