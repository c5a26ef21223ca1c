//! Settings of migrations.

use super::*;
use crate::virsh::ctl::put;
use crate::virsh::fail::fail;
use crate::virsh::util::pretty;

/// `migrate-setmaxdowntime`
pub fn cmd_migrate_setmaxdowntime(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let downtime = cmd.ull("downtime")?.unwrap_or(0);
    if downtime < 1 {
        fail!("migrate: Invalid downtime");
    }
    call!(ctl, DomainMigrateSetMaxDowntime { dom, downtime, flags: 0 })
}

/// `migrate-getmaxdowntime`
pub fn cmd_migrate_getmaxdowntime(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let r = call!(ctl, DomainMigrateGetMaxDowntime { dom, flags: 0 })?;
    put!(ctl, "{}\n", r.downtime);
    Ok(())
}

/// `migrate-setspeed`
pub fn cmd_migrate_setspeed(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let bandwidth = cmd.ull("bandwidth")?.unwrap_or(0);
    let flags = u32::from(cmd.has("postcopy"));
    call!(ctl, DomainMigrateSetMaxSpeed { dom, bandwidth, flags })
}

/// `migrate-getspeed`
pub fn cmd_migrate_getspeed(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    let flags = u32::from(cmd.has("postcopy"));
    let r = call!(ctl, DomainMigrateGetMaxSpeed { dom, flags })?;
    put!(ctl, "{}\n", r.bandwidth);
    Ok(())
}

/// `migrate-compcache`
pub fn cmd_migrate_compcache(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    if let Some(cache_size) = cmd.ull("size")? {
        call!(ctl, DomainMigrateSetCompressionCache { dom: dom.clone(), cache_size, flags: 0 })?;
    }
    let r = call!(ctl, DomainMigrateGetCompressionCache { dom, flags: 0 })?;
    let (n, unit) = pretty(r.cache_size);
    put!(ctl, "Compression cache: {n:.3} {unit}");
    Ok(())
}

/// `migrate-postcopy`
pub fn cmd_migrate_postcopy(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    call!(ctl, DomainMigrateStartPostCopy { dom, flags: 0 })
}
