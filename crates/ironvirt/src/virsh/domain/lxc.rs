//! Containers.

use super::*;
use crate::virsh::fail::fail;
use protocol::lxc;

/// `lxc-enter-namespace`
///
/// Only a daemon that runs containers can hand their namespaces over. Entering them is not done
/// here, and said so, rather than running the command outside.
pub fn cmd_lxc_enter_namespace(ctl: &mut Ctl, cmd: &Cmd) -> Outcome {
    let dom = domain(ctl, cmd)?;
    match ctl
        .call::<lxc::procs::DomainOpenNamespace>(&lxc::DomainOpenNamespaceArgs { dom, flags: 0 })
    {
        // A daemon without containers does not know the program, or not the driver behind it.
        Err(f) if f.is(3) || f.is(39) => {
            fail!(
                "this function is not supported by the connection driver: virDomainLxcOpenNamespace"
            )
        }
        Err(f) => Err(f),
        Ok(_) => fail!("entering the namespaces of a container is not supported by this command"),
    }
}
