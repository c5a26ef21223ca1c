//! `domstats`.

use super::*;
use crate::virsh::ctl::put;

/// `domstats`
pub fn cmd_domstats(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let stats = cmd.flags(&[
        ("state", 1),
        ("cpu-total", 2),
        ("balloon", 4),
        ("vcpu", 8),
        ("interface", 16),
        ("block", 32),
        ("perf", 64),
        ("iothread", 128),
        ("memory", 256),
        ("dirtyrate", 512),
        ("vm", 1024),
    ]);
    let flags = cmd.flags(&[
        ("list-active", 1),
        ("list-inactive", 1 << 1),
        ("list-persistent", 1 << 2),
        ("list-transient", 1 << 3),
        ("list-running", 1 << 4),
        ("list-paused", 1 << 5),
        ("list-shutoff", 1 << 6),
        ("list-other", 1 << 7),
        ("enforce", 1 << 31),
        ("backing", 1 << 30),
        ("nowait", 1 << 29),
    ]);
    let mut doms = Vec::new();
    for name in cmd.argv("domain") {
        doms.push(lookup(ctl, name, true, true, true)?);
    }
    let records = call!(ctl, ConnectGetAllDomainStats { doms, stats, flags })?.ret_stats;
    if ctl.json() {
        let list = records
            .iter()
            .map(|r| {
                let values: serde_json::Map<_, _> =
                    r.params.iter().map(|p| (p.field.clone(), json_value(&p.value))).collect();
                serde_json::json!({"name": r.dom.name, "stats": values})
            })
            .collect();
        ctl.data(list);
        return Ok(());
    }
    let last = records.len().saturating_sub(1);
    for (i, r) in records.iter().enumerate() {
        put!(ctl, "Domain: '{}'\n", r.dom.name);
        for p in &r.params {
            put!(ctl, "  {}={}\n", p.field, p.value);
        }
        if i < last {
            put!(ctl, "\n");
        }
    }
    Ok(())
}

/// A parameter's value as JSON.
pub fn json_value(v: &protocol::TypedParamValue) -> serde_json::Value {
    use protocol::TypedParamValue as V;
    match v {
        V::Int(v) => (*v).into(),
        V::UInt(v) => (*v).into(),
        V::LLong(v) => (*v).into(),
        V::ULLong(v) => (*v).into(),
        V::Double(v) => (*v).into(),
        V::Boolean(v) => (*v).into(),
        V::String(v) => v.as_str().into(),
    }
}
