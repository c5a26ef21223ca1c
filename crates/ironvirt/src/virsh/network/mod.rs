//! Virtual networks and their ports.

mod lifecycle;
mod ports;
mod text;

pub use lifecycle::*;
pub use ports::*;
pub use text::*;

use super::cmd::Cmd;
use super::conn::call;
use super::ctl::Ctl;
use super::fail::{Context, Fail, Outcome};
use super::util::parse_uuid;
use protocol::remote::NonnullNetwork as Net;

/// The network of `--network`: by UUID or name.
fn network(ctl: &mut Ctl, cmd: &Cmd, by_uuid: bool, by_name: bool) -> Outcome<Net> {
    let text = cmd.req("network")?;
    if by_uuid
        && text.len() == 36
        && let Some(uuid) = parse_uuid(text)
        && let Ok(r) = call!(ctl, NetworkLookupByUuid { uuid })
    {
        return Ok(r.net);
    }
    let failed = format!("failed to get network '{text}'");
    if !by_name {
        return Err(Fail::new(failed));
    }
    let name = text.to_owned();
    Ok(call!(ctl, NetworkLookupByName { name }).ctx(failed)?.net)
}
