//! Commands on domains.

mod agent;
mod block;
pub mod console;
mod desc;
mod device;
mod display;
mod event;
mod extra;
mod fds;
mod info;
mod keycodes;
mod lifecycle;
mod list;
mod lxc;
mod memory;
mod migrate;
mod migrating;
mod new_device;
mod nic;
mod progress;
mod qemu;
mod rates;
mod save;
mod stats;
mod tune;
mod vcpu;
mod xmlcmds;

pub use agent::*;
pub use block::*;
pub use console::*;
pub use desc::*;
pub use device::*;
pub use display::*;
pub use event::*;
pub use extra::*;
pub use info::*;
pub use lifecycle::*;
pub use list::*;
pub use lxc::*;
pub use memory::*;
pub use migrate::*;
pub use migrating::*;
pub use nic::*;
pub use qemu::*;
pub use save::*;
pub use stats::*;
pub use tune::*;
pub use vcpu::*;
pub use xmlcmds::*;

use super::cmd::Cmd;
use super::conn::call;
use super::ctl::Ctl;
use super::fail::{Fail, Outcome};
use super::util::parse_uuid;

pub use protocol::remote::NonnullDomain as Dom;

/// The domain of `--domain`: by id, UUID or name.
pub fn domain(ctl: &mut Ctl, cmd: &Cmd) -> Outcome<Dom> {
    let text = cmd.req("domain")?;
    lookup(ctl, text, true, true, true)
}

/// A domain by the kinds of names allowed.
pub fn lookup(
    ctl: &mut Ctl,
    text: &str,
    by_id: bool,
    by_uuid: bool,
    by_name: bool,
) -> Outcome<Dom> {
    let numeric = text.bytes().all(|b| b.is_ascii_digit());
    if by_id
        && numeric
        && let Ok(id) = text.parse::<i32>()
        && let Ok(r) = call!(ctl, DomainLookupById { id })
    {
        return Ok(r.dom);
    }
    if by_uuid
        && text.len() == 36
        && let Some(uuid) = parse_uuid(text)
        && let Ok(r) = call!(ctl, DomainLookupByUuid { uuid })
    {
        return Ok(r.dom);
    }
    if by_name {
        let name = text.to_owned();
        if let Ok(r) = call!(ctl, DomainLookupByName { name }) {
            return Ok(r.dom);
        }
    }
    Err(Fail::new(format!("failed to get domain '{text}'")))
}

/// The domain runs.
pub fn is_active(ctl: &mut Ctl, dom: &Dom) -> Outcome<bool> {
    Ok(call!(ctl, DomainIsActive { dom: dom.clone() })?.active != 0)
}

/// Its XML.
pub fn xml_of(ctl: &mut Ctl, dom: &Dom, flags: u32) -> Outcome<String> {
    Ok(call!(ctl, DomainGetXmlDesc { dom: dom.clone(), flags })?.xml)
}
