//! Devices that come to domains, leave them and change.

use crate::bind::{Request, later};
use crate::domain::find;
use crate::flags::only_flags;
use crate::{Bound, Libvirt, Session};
use diag::{ErrorDomain, VirError};
use engine::domain::{Domain, affect, devices};
use protocol::remote::{Procedure, procs};
use std::sync::Arc;

/// `VIR_DOMAIN_AFFECT_LIVE` and `…_CONFIG`.
const AFFECT: u32 = affect::LIVE | affect::CONFIG;

pub(crate) fn call<'a, 'b>(
    service: &Libvirt,
    session: &Arc<Session>,
    procedure: Procedure,
    request: Request<'a, 'b>,
) -> Bound<'a, 'b> {
    let engine = Arc::clone(&service.engine);
    let client = Arc::clone(&session.label);
    Bound::Done(match procedure {
        Procedure::DomainAttachDevice => {
            later::<procs::DomainAttachDevice, _>(request, |args| async move {
                let domain = find(&engine, &args.dom)?;
                active(&domain)?;
                engine.attach_device(&domain, args.xml, affect::LIVE, &client).await
            })
        }
        Procedure::DomainAttachDeviceFlags => {
            later::<procs::DomainAttachDeviceFlags, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                engine.attach_device(&domain, args.xml, args.flags, &client).await
            })
        }
        Procedure::DomainDetachDevice => {
            later::<procs::DomainDetachDevice, _>(request, |args| async move {
                let domain = find(&engine, &args.dom)?;
                active(&domain)?;
                engine.detach_device(&domain, args.xml, affect::LIVE, &client).await
            })
        }
        Procedure::DomainDetachDeviceFlags => {
            later::<procs::DomainDetachDeviceFlags, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                engine.detach_device(&domain, args.xml, args.flags, &client).await
            })
        }
        Procedure::DomainDetachDeviceAlias => {
            later::<procs::DomainDetachDeviceAlias, _>(request, |args| async move {
                only_flags(args.flags, AFFECT)?;
                let domain = find(&engine, &args.dom)?;
                engine.detach_device_alias(&domain, args.alias, args.flags, &client).await
            })
        }
        Procedure::DomainUpdateDeviceFlags => {
            later::<procs::DomainUpdateDeviceFlags, _>(request, |args| async move {
                only_flags(args.flags, AFFECT | devices::FORCE)?;
                let domain = find(&engine, &args.dom)?;
                engine.update_device(&domain, args.xml, args.flags, &client).await
            })
        }
        _ => return Bound::NotMine(request),
    })
}

/// The calls without flags are about running guests only.
fn active(domain: &Domain) -> Result<(), VirError> {
    if domain.snapshot().is_active() {
        return Ok(());
    }
    Err(VirError::invalid_state("domain is not running").from_domain(ErrorDomain::DOMAIN))
}
