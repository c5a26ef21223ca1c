//! The qemu program: what only QEMU guests have (raw monitor and agent commands, monitor events).

use crate::bind::{Request, admit, later, now, rpc_error, unsupported};
use crate::domain::find;
use crate::events::{Family, MonitorFilter};
use crate::flags::only_flags;
use crate::{Libvirt, Session, listen};
use diag::{ErrorDomain, VirError};
use engine::domain::agent::link::AgentPatience;
use protocol::qemu::{self, Procedure, procs};
use rpc::server::Outcome;
use std::sync::Arc;
use units::Uuid;

/// `VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP`: the human monitor's language instead of JSON.
const HMP: u32 = 1;

/// `VIR_CONNECT_DOMAIN_QEMU_MONITOR_EVENT_REGISTER_REGEX` and `…_NOCASE`.
const REGEX: u32 = 1;
const NOCASE: u32 = 2;

pub(crate) fn call(service: &Libvirt, session: &Arc<Session>, request: Request<'_, '_>) -> Outcome {
    let number = request.call.procedure;
    let Ok(procedure) = Procedure::try_from(number) else {
        return Outcome::Error(rpc_error(&format!("unknown procedure: {number}")));
    };
    if !session.is_open() {
        return Outcome::Error(
            VirError::internal("hypervisor connection not open").from_domain(ErrorDomain::RPC),
        );
    }
    if let Err(error) = admit(&request) {
        return Outcome::Error(error);
    }
    let engine = Arc::clone(&service.engine);
    let client = Arc::clone(&session.label);
    match procedure {
        Procedure::DomainMonitorCommand => {
            later::<procs::DomainMonitorCommand, _>(request, |args| async move {
                only_flags(args.flags, HMP)?;
                let domain = find(&engine, &args.dom)?;
                let human = args.flags & HMP != 0;
                let result =
                    engine.monitor_command(&domain, args.cmd, human, Vec::new(), &client).await?;
                Ok(qemu::DomainMonitorCommandRet { result })
            })
        }
        Procedure::DomainMonitorCommandWithFiles => {
            let mut request = request;
            let fds = std::mem::take(&mut request.call.fds);
            later::<procs::DomainMonitorCommandWithFiles, _>(request, |args| async move {
                only_flags(args.flags, HMP)?;
                let domain = find(&engine, &args.dom)?;
                let human = args.flags & HMP != 0;
                let result = engine.monitor_command(&domain, args.cmd, human, fds, &client).await?;
                Ok(qemu::DomainMonitorCommandWithFilesRet { result })
            })
        }
        Procedure::DomainAgentCommand => {
            later::<procs::DomainAgentCommand, _>(request, |args| async move {
                only_flags(args.flags, 0)?;
                let patience = AgentPatience::from_seconds(args.timeout)?;
                let domain = find(&engine, &args.dom)?;
                let result = engine.agent_command(&domain, &args.cmd, patience, &client).await?;
                Ok(qemu::DomainAgentCommandRet { result })
            })
        }
        Procedure::ConnectDomainMonitorEventRegister => {
            let outcome = now::<procs::ConnectDomainMonitorEventRegister>(request, |args| {
                only_flags(args.flags, REGEX | NOCASE)?;
                let only = args.dom.map(|dom| Uuid(dom.uuid));
                if let Some(uuid) = &only {
                    engine.domain_by_uuid(uuid)?;
                }
                let nocase = args.flags & NOCASE != 0;
                let filter = match args.event {
                    None => MonitorFilter::All,
                    Some(text) if args.flags & REGEX != 0 => MonitorFilter::pattern(&text, nocase)?,
                    Some(text) => MonitorFilter::Name { text, nocase },
                };
                let callback_id = session.callbacks().add_monitor(only, filter);
                Ok(qemu::ConnectDomainMonitorEventRegisterRet { callback_id })
            });
            listen(&service.engine, session);
            outcome
        }
        Procedure::ConnectDomainMonitorEventDeregister => {
            now::<procs::ConnectDomainMonitorEventDeregister>(request, |args| {
                session.callbacks().remove(Family::Monitor, args.callback_id)
            })
        }
        _ => Outcome::Error(unsupported(qemu::PROGRAM, number)),
    }
}
