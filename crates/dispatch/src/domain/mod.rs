//! Domains: look-ups, lists, definitions, and their lives.

pub(crate) mod agent;
pub(crate) mod block;
pub(crate) mod devices;
pub(crate) mod display;
pub(crate) mod info;
pub(crate) mod live;
pub(crate) mod save;
pub(crate) mod tuning;

use crate::bind::{Request, blocking, in_turn, later, now, prompt};
use crate::flags::{no_flags, only_flags};
use crate::{Bound, Libvirt, Session};
use diag::VirError;
use engine::domain::{
    DefineOptions, Domain, ListFilter, PowerModes, StartOptions, UndefineOptions, XmlOptions,
};
use engine::{Engine, Turn};
use protocol::remote::{self, NonnullDomain, Procedure, procs};
use std::sync::Arc;
use units::Uuid;

/// `virDomainCreateFlags`: paused, autodestroy, bypass cache, force boot, validate, reset nvram.
mod create_flag {
    pub const PAUSED: u32 = 1;
    pub const AUTODESTROY: u32 = 1 << 1;
    pub const BYPASS_CACHE: u32 = 1 << 2;
    pub const FORCE_BOOT: u32 = 1 << 3;
    pub const VALIDATE: u32 = 1 << 4;
    pub const RESET_NVRAM: u32 = 1 << 5;
}

/// Most domains of one list on the wire.
const LIST_MAX: usize = 16_384;

/// The domain that a message names.
pub(crate) fn find(engine: &Engine, dom: &NonnullDomain) -> Result<Arc<Domain>, VirError> {
    engine.domain(&Uuid(dom.uuid), &dom.name)
}

/// A domain as the wire names it.
pub(crate) fn wire(domain: &Domain) -> NonnullDomain {
    crate::events::wire_domain(&domain.reference())
}

pub(crate) fn call<'a, 'b>(
    service: &Libvirt,
    session: &Arc<Session>,
    procedure: Procedure,
    request: Request<'a, 'b>,
) -> Bound<'a, 'b> {
    let engine = Arc::clone(&service.engine);
    let client = Arc::clone(&session.label);
    let session = Arc::clone(session);
    Bound::Done(match procedure {
        Procedure::DomainLookupById => now::<procs::DomainLookupById>(request, |args| {
            Ok(remote::DomainLookupByIdRet { dom: wire(&*engine.domain_by_id(args.id)?) })
        }),
        Procedure::DomainLookupByName => now::<procs::DomainLookupByName>(request, |args| {
            Ok(remote::DomainLookupByNameRet { dom: wire(&*engine.domain_by_name(&args.name)?) })
        }),
        Procedure::DomainLookupByUuid => now::<procs::DomainLookupByUuid>(request, |args| {
            let domain = engine.domain_by_uuid(&Uuid(args.uuid))?;
            Ok(remote::DomainLookupByUuidRet { dom: wire(&domain) })
        }),
        Procedure::ConnectListAllDomains => {
            now::<procs::ConnectListAllDomains>(request, |args| list_all(&engine, args))
        }
        Procedure::ConnectNumOfDomains => now::<procs::ConnectNumOfDomains>(request, |()| {
            Ok(remote::ConnectNumOfDomainsRet { num: count(engine.active_count()) })
        }),
        Procedure::ConnectListDomains => now::<procs::ConnectListDomains>(request, |args| {
            let max = limit(args.maxids);
            let mut ids = Vec::new();
            engine.registry.for_each_active(|id, domain| {
                if ids.len() < max && domain.snapshot().is_active() {
                    ids.push(id);
                }
            });
            Ok(remote::ConnectListDomainsRet { ids })
        }),
        Procedure::ConnectNumOfDefinedDomains => {
            now::<procs::ConnectNumOfDefinedDomains>(request, |()| {
                let mut num = 0;
                engine.registry.for_each(|_, snapshot| num += usize::from(!snapshot.is_active()));
                Ok(remote::ConnectNumOfDefinedDomainsRet { num: count(num) })
            })
        }
        Procedure::ConnectListDefinedDomains => {
            now::<procs::ConnectListDefinedDomains>(request, |args| {
                let max = limit(args.maxnames);
                let mut names = Vec::new();
                engine.registry.for_each(|_, snapshot| {
                    if names.len() < max && !snapshot.is_active() {
                        names.push(snapshot.name.to_string());
                    }
                });
                Ok(remote::ConnectListDefinedDomainsRet { names })
            })
        }
        Procedure::DomainDefineXml => blocking::<procs::DomainDefineXml>(request, move |args| {
            let dom = engine.define(&args.xml, DefineOptions::default())?;
            Ok(remote::DomainDefineXmlRet { dom: crate::events::wire_domain(&dom) })
        }),
        Procedure::DomainDefineXmlFlags => {
            blocking::<procs::DomainDefineXmlFlags>(request, move |args| {
                only_flags(args.flags, 1)?;
                let options = DefineOptions { validate: args.flags & 1 != 0 };
                let dom = engine.define(&args.xml, options)?;
                Ok(remote::DomainDefineXmlFlagsRet { dom: crate::events::wire_domain(&dom) })
            })
        }
        Procedure::DomainUndefine => in_turn::<procs::DomainUndefine, _>(
            request,
            move |args| match find(&engine, &args.dom) {
                Ok(domain) => engine.undefine(&domain, UndefineOptions::default(), &client),
                Err(error) => Turn::Done(Err(error)),
            },
            |()| (),
        ),
        Procedure::DomainUndefineFlags => in_turn::<procs::DomainUndefineFlags, _>(
            request,
            move |args| {
                let found = undefine_options(args.flags)
                    .and_then(|options| Ok((find(&engine, &args.dom)?, options)));
                match found {
                    Ok((domain, options)) => engine.undefine(&domain, options, &client),
                    Err(error) => Turn::Done(Err(error)),
                }
            },
            |()| (),
        ),
        Procedure::DomainCreate => later::<procs::DomainCreate, _>(request, |args| async move {
            let domain = find(&engine, &args.dom)?;
            engine.start(&domain, StartOptions::default(), &client).await
        }),
        Procedure::DomainCreateWithFlags => {
            later::<procs::DomainCreateWithFlags, _>(request, |args| async move {
                let options = start_options(args.flags)?;
                let domain = find(&engine, &args.dom)?;
                engine.start(&domain, options, &client).await?;
                tie(&engine, &session, &domain, args.flags).await?;
                Ok(remote::DomainCreateWithFlagsRet { dom: wire(&domain) })
            })
        }
        Procedure::DomainCreateXml => {
            later::<procs::DomainCreateXml, _>(request, |args| async move {
                let options = start_options(args.flags)?;
                let dom = engine.create(args.xml_desc, options, &client).await?;
                tie(&engine, &session, &engine.domain_by_uuid(&dom.uuid)?, args.flags).await?;
                Ok(remote::DomainCreateXmlRet { dom: crate::events::wire_domain(&dom) })
            })
        }
        Procedure::DomainDestroy => later::<procs::DomainDestroy, _>(request, |args| async move {
            let domain = find(&engine, &args.dom)?;
            engine.destroy(&domain, false).await
        }),
        Procedure::DomainDestroyFlags => {
            later::<procs::DomainDestroyFlags, _>(request, |args| async move {
                only_flags(args.flags, 3)?;
                let domain = find(&engine, &args.dom)?;
                let graceful = args.flags & 1 != 0;
                match args.flags & 2 != 0 {
                    true => engine.destroy_with_logs(&domain, graceful).await,
                    false => engine.destroy(&domain, graceful).await,
                }
            })
        }
        Procedure::DomainShutdown => {
            later::<procs::DomainShutdown, _>(request, |args| async move {
                let domain = find(&engine, &args.dom)?;
                engine.shutdown(&domain, PowerModes::default(), &client).await
            })
        }
        Procedure::DomainShutdownFlags => {
            later::<procs::DomainShutdownFlags, _>(request, |args| async move {
                let modes = power_modes(args.flags)?;
                let domain = find(&engine, &args.dom)?;
                engine.shutdown(&domain, modes, &client).await
            })
        }
        Procedure::DomainReboot => later::<procs::DomainReboot, _>(request, |args| async move {
            let modes = power_modes(args.flags)?;
            let domain = find(&engine, &args.dom)?;
            engine.reboot(&domain, modes, &client).await
        }),
        Procedure::DomainReset => later::<procs::DomainReset, _>(request, |args| async move {
            no_flags(args.flags)?;
            let domain = find(&engine, &args.dom)?;
            engine.reset(&domain, &client).await
        }),
        Procedure::DomainSuspend => prompt::<procs::DomainSuspend, _>(request, |args| async move {
            let domain = find(&engine, &args.dom)?;
            engine.suspend(&domain, &client).await
        }),
        Procedure::DomainResume => prompt::<procs::DomainResume, _>(request, |args| async move {
            let domain = find(&engine, &args.dom)?;
            engine.resume(&domain, &client).await
        }),
        Procedure::DomainGetAutostart => now::<procs::DomainGetAutostart>(request, |args| {
            let snapshot = find(&engine, &args.dom)?.snapshot();
            Ok(remote::DomainGetAutostartRet { autostart: i32::from(snapshot.autostart) })
        }),
        Procedure::DomainSetAutostart => in_turn::<procs::DomainSetAutostart, _>(
            request,
            move |args| match find(&engine, &args.dom) {
                Ok(domain) => engine.set_autostart(&domain, args.autostart != 0, &client),
                Err(error) => Turn::Done(Err(error)),
            },
            |()| (),
        ),
        Procedure::DomainGetAutostartOnce => {
            now::<procs::DomainGetAutostartOnce>(request, |args| {
                let snapshot = find(&engine, &args.dom)?.snapshot();
                Ok(remote::DomainGetAutostartOnceRet {
                    autostart: i32::from(snapshot.autostart_once),
                })
            })
        }
        Procedure::DomainSetAutostartOnce => in_turn::<procs::DomainSetAutostartOnce, _>(
            request,
            move |args| match find(&engine, &args.dom) {
                Ok(domain) => engine.set_autostart_once(&domain, args.autostart != 0, &client),
                Err(error) => Turn::Done(Err(error)),
            },
            |()| (),
        ),
        Procedure::DomainRename => in_turn::<procs::DomainRename, _>(
            request,
            move |args| {
                let found = no_flags(args.flags).and_then(|()| find(&engine, &args.dom));
                match found {
                    Ok(domain) => {
                        engine.rename(&domain, args.new_name.unwrap_or_default(), &client)
                    }
                    Err(error) => Turn::Done(Err(error)),
                }
            },
            |()| remote::DomainRenameRet { retcode: 0 },
        ),
        Procedure::DomainGetXmlDesc => now::<procs::DomainGetXmlDesc>(request, |args| {
            let options = xml_options(args.flags)?;
            let domain = find(&engine, &args.dom)?;
            Ok(remote::DomainGetXmlDescRet { xml: engine.domain_xml(&domain, options)? })
        }),
        Procedure::DomainGetState => now::<procs::DomainGetState>(request, |args| {
            no_flags(args.flags)?;
            let status = find(&engine, &args.dom)?.snapshot().status;
            Ok(remote::DomainGetStateRet { state: status.number(), reason: status.reason_number() })
        }),
        _ => return Bound::NotMine(request),
    })
}

fn list_all(
    engine: &Engine,
    args: remote::ConnectListAllDomainsArgs,
) -> Result<remote::ConnectListAllDomainsRet, VirError> {
    only_flags(args.flags, ListFilter::KNOWN)?;
    let filter = ListFilter(args.flags);
    let mut domains = Vec::new();
    let mut ret = 0_u32;
    engine.registry.for_each(|domain, snapshot| {
        if filter.admits(snapshot) {
            ret += 1;
            if args.need_results != 0 && domains.len() <= LIST_MAX {
                domains.push(NonnullDomain {
                    name: snapshot.name.to_string(),
                    uuid: domain.uuid.0,
                    id: snapshot.id,
                });
            }
        }
    });
    if domains.len() > LIST_MAX {
        return Err(crate::bind::rpc_error(&format!(
            "Too many domains '{ret}' for limit '{LIST_MAX}'"
        )));
    }
    Ok(remote::ConnectListAllDomainsRet { domains, ret })
}

fn undefine_options(flags: u32) -> Result<UndefineOptions, VirError> {
    // Snapshot and checkpoint metadata (2, 16): there is none that could be left behind.
    only_flags(flags, 0x7f)?;
    let options = UndefineOptions {
        managed_save: flags & 1 != 0,
        nvram: flags & 4 != 0,
        keep_nvram: flags & 8 != 0,
        tpm: flags & 32 != 0,
        keep_tpm: flags & 64 != 0,
    };
    if options.nvram && options.keep_nvram {
        return Err(VirError::invalid_state("cannot both keep and delete nvram"));
    }
    if options.tpm && options.keep_tpm {
        return Err(VirError::invalid_state("cannot both keep and delete TPM"));
    }
    Ok(options)
}

/// Ties a guest that was just started to its client's connection, where that is wanted.
async fn tie(
    engine: &Arc<Engine>,
    session: &Session,
    domain: &Arc<Domain>,
    flags: u32,
) -> Result<(), VirError> {
    if flags & create_flag::AUTODESTROY != 0 && !session.tie(domain) {
        // The client left while the guest was being started.
        engine.destroy(domain, false).await?;
    }
    Ok(())
}

fn start_options(flags: u32) -> Result<StartOptions, VirError> {
    use create_flag::{AUTODESTROY, BYPASS_CACHE, FORCE_BOOT, PAUSED, RESET_NVRAM, VALIDATE};
    only_flags(flags, PAUSED | AUTODESTROY | BYPASS_CACHE | FORCE_BOOT | VALIDATE | RESET_NVRAM)?;
    Ok(StartOptions {
        paused: flags & PAUSED != 0,
        validate: flags & VALIDATE != 0,
        reset_nvram: flags & RESET_NVRAM != 0,
        bypass_cache: flags & BYPASS_CACHE != 0,
        force_boot: flags & FORCE_BOOT != 0,
        takes_up: false,
    })
}

fn power_modes(flags: u32) -> Result<PowerModes, VirError> {
    PowerModes::from_flags(flags).ok_or_else(|| crate::flags::unknown_flags(flags & !3))
}

fn xml_options(flags: u32) -> Result<XmlOptions, VirError> {
    only_flags(flags, 0xf)?;
    Ok(XmlOptions {
        // Another host needs the passwords too.
        secure: flags & (1 | 8) != 0,
        inactive: flags & 2 != 0,
        update_cpu: flags & 4 != 0,
        migratable: flags & 8 != 0,
    })
}

fn limit(max: i32) -> usize {
    usize::try_from(max).unwrap_or(0).min(LIST_MAX)
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
