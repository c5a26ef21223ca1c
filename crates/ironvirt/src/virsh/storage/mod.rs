//! Storage pools and volumes.

mod pool;
mod poolxml;
mod transfer;
mod volume;

pub use pool::*;
pub use poolxml::*;
pub use transfer::*;
pub use volume::*;

use super::cmd::Cmd;
use super::conn::call;
use super::ctl::Ctl;
use super::fail::{Context, Fail, Outcome};
use super::util::parse_uuid;
use protocol::remote::{NonnullStoragePool as Pool, NonnullStorageVol as Volume};

/// The pool of an option: by UUID or name (or, where it may be one, by the path of its target).
fn pool(ctl: &mut Ctl, cmd: &Cmd, option: &str, by_uuid: bool, by_name: bool) -> Outcome<Pool> {
    let text = cmd.req(option)?;
    if by_uuid
        && text.len() == 36
        && let Some(uuid) = parse_uuid(text)
        && let Ok(r) = call!(ctl, StoragePoolLookupByUuid { uuid })
    {
        return Ok(r.pool);
    }
    let failed = format!("failed to get pool '{text}'");
    if !by_name {
        return Err(Fail::new(failed));
    }
    let name = text.to_owned();
    Ok(call!(ctl, StoragePoolLookupByName { name }).ctx(failed)?.pool)
}

/// The volume of `--vol`, with or without the pool of `pool_option`.
fn volume(ctl: &mut Ctl, cmd: &Cmd, pool_option: Option<&str>) -> Outcome<Volume> {
    let text = cmd.req("vol")?.to_owned();
    volume_named(ctl, cmd, &text, pool_option)
}

/// A volume by name in its pool, else by key or path.
fn volume_named(
    ctl: &mut Ctl,
    cmd: &Cmd,
    text: &str,
    pool_option: Option<&str>,
) -> Outcome<Volume> {
    let given = match pool_option {
        Some(o) => cmd.str(o)?.is_some(),
        None => false,
    };
    let pool = match pool_option.filter(|_| given) {
        Some(o) => Some(pool(ctl, cmd, o, true, true)?),
        None => None,
    };
    if let Some(p) = &pool {
        let (pool, name) = (p.clone(), text.to_owned());
        if let Ok(r) = call!(ctl, StorageVolLookupByName { pool, name }) {
            return Ok(r.vol);
        }
    }
    if let Ok(r) = call!(ctl, StorageVolLookupByKey { key: text.to_owned() }) {
        return in_pool(ctl, r.vol, pool.as_ref(), cmd, pool_option);
    }
    let hint = match (pool_option, given) {
        (Some(o), false) => format!("failed to get vol '{text}', specifying --{o} might help"),
        _ => format!("failed to get vol '{text}'"),
    };
    let vol = call!(ctl, StorageVolLookupByPath { path: text.to_owned() }).ctx(hint)?.vol;
    in_pool(ctl, vol, pool.as_ref(), cmd, pool_option)
}

/// Refuses a volume that lies in another pool than the one named.
fn in_pool(
    ctl: &mut Ctl,
    vol: Volume,
    pool: Option<&Pool>,
    cmd: &Cmd,
    option: Option<&str>,
) -> Outcome<Volume> {
    let (Some(pool), Some(option)) = (pool, option) else {
        return Ok(vol);
    };
    let found = call!(ctl, StoragePoolLookupByVolume { vol: vol.clone() })?.pool;
    if found.name != pool.name {
        let (text, given) = (cmd.raw("vol").unwrap_or_default(), cmd.raw(option));
        return Err(Fail::new(format!(
            "Requested volume '{text}' is not in pool '{}'",
            given.unwrap_or_default()
        )));
    }
    Ok(vol)
}
