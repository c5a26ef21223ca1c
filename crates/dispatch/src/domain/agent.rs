//! What a guest's agent is asked and told.

use crate::bind::{Request, later, now};
use crate::domain::find;
use crate::domain::info::running;
use crate::flags::{no_flags, only_flags};
use crate::node::int;
use crate::params::to_wire;
use crate::{Bound, Libvirt, Session};
use diag::{ErrorCode, ErrorDomain, VirError};
use engine::Engine;
use engine::domain::affect;
use engine::domain::agent::info::SshKeys;
use engine::domain::agent::link::AgentPatience;
use protocol::remote::{self, Procedure, procs};
use std::sync::Arc;

/// `virDomainInterfaceAddressesSource`.
mod source {
    pub const LEASE: u32 = 0;
    pub const AGENT: u32 = 1;
    pub const ARP: u32 = 2;
}

/// `VIR_DOMAIN_GET_HOSTNAME_LEASE` and `…_AGENT`.
const HOSTNAME_LEASE: u32 = 1;
const HOSTNAME_AGENT: u32 = 2;

/// `VIR_DOMAIN_TIME_SYNC`: take the hardware clock's time.
const TIME_SYNC: u32 = 1;

/// `VIR_DOMAIN_PASSWORD_ENCRYPTED`.
const PASSWORD_ENCRYPTED: u32 = 1;

/// `VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_APPEND` and `…_REMOVE`.
const SSH_APPEND: u32 = 1;
const SSH_REMOVE: u32 = 2;

const NANOS: i64 = 1_000_000_000;

pub(crate) fn call<'a, 'b>(
    service: &Libvirt,
    session: &Arc<Session>,
    procedure: Procedure,
    request: Request<'a, 'b>,
) -> Bound<'a, 'b> {
    let engine = Arc::clone(&service.engine);
    let client = Arc::clone(&session.label);
    Bound::Done(match procedure {
        Procedure::DomainGetHostname => {
            later::<procs::DomainGetHostname, _>(request, |args| async move {
                only_flags(args.flags, HOSTNAME_LEASE | HOSTNAME_AGENT)?;
                let domain = find(&engine, &args.dom)?;
                let snapshot = running(&domain)?;
                if args.flags & HOSTNAME_LEASE != 0 {
                    // Leases belong to networks, which have none to give.
                    return Err(VirError::new(
                        ErrorCode::NO_HOSTNAME,
                        format!("no hostname found for domain {}", snapshot.name),
                    ));
                }
                let hostname = engine.guest_hostname(&domain, &client).await?;
                Ok(remote::DomainGetHostnameRet { hostname })
            })
        }
        Procedure::DomainGetTime => later::<procs::DomainGetTime, _>(request, |args| async move {
            no_flags(args.flags)?;
            let domain = find(&engine, &args.dom)?;
            let time = engine.guest_time(&domain, &client).await?;
            let nseconds = u32::try_from(time.rem_euclid(NANOS)).unwrap_or(0);
            Ok(remote::DomainGetTimeRet { seconds: time.div_euclid(NANOS), nseconds })
        }),
        Procedure::DomainSetTime => later::<procs::DomainSetTime, _>(request, |args| async move {
            only_flags(args.flags, TIME_SYNC)?;
            let domain = find(&engine, &args.dom)?;
            let time = if args.flags & TIME_SYNC != 0 {
                None
            } else {
                let nanos = args.seconds.checked_mul(NANOS);
                let nanos = nanos.and_then(|nanos| nanos.checked_add(i64::from(args.nseconds)));
                Some(nanos.ok_or_else(|| {
                    VirError::invalid_arg(format!(
                        "Time '{}' is too big for guest agent",
                        args.seconds
                    ))
                })?)
            };
            engine.set_guest_time(&domain, time, &client).await
        }),
        Procedure::DomainFsfreeze => {
            later::<procs::DomainFsfreeze, _>(request, |args| async move {
                no_flags(args.flags)?;
                let domain = find(&engine, &args.dom)?;
                let count = engine.guest_freeze(&domain, args.mountpoints, &client).await?;
                Ok(remote::DomainFsfreezeRet { filesystems: int(count) })
            })
        }
        Procedure::DomainFsthaw => later::<procs::DomainFsthaw, _>(request, |args| async move {
            no_flags(args.flags)?;
            let domain = find(&engine, &args.dom)?;
            if !args.mountpoints.is_empty() {
                return Err(VirError::new(
                    ErrorCode::ARGUMENT_UNSUPPORTED,
                    "specifying mountpoints is not supported",
                ));
            }
            let count = engine.guest_thaw(&domain, &client).await?;
            Ok(remote::DomainFsthawRet { filesystems: int(count) })
        }),
        Procedure::DomainFstrim => later::<procs::DomainFstrim, _>(request, |args| async move {
            no_flags(args.flags)?;
            if args.mount_point.is_some() {
                return Err(VirError::new(
                    ErrorCode::ARGUMENT_UNSUPPORTED,
                    "Specifying mount point is not supported for now",
                ));
            }
            let domain = find(&engine, &args.dom)?;
            engine.guest_trim(&domain, args.minimum, &client).await
        }),
        Procedure::DomainSetUserPassword => {
            later::<procs::DomainSetUserPassword, _>(request, |args| async move {
                only_flags(args.flags, PASSWORD_ENCRYPTED)?;
                let (Some(user), Some(password)) = (args.user, args.password) else {
                    return Err(VirError::invalid_arg(
                        "user and password in virDomainSetUserPassword must not be NULL",
                    )
                    .from_domain(ErrorDomain::DOMAIN));
                };
                let crypted = args.flags & PASSWORD_ENCRYPTED != 0;
                let domain = find(&engine, &args.dom)?;
                engine.set_guest_password(&domain, &user, &password, crypted, &client).await
            })
        }
        Procedure::DomainPmSuspendForDuration => {
            later::<procs::DomainPmSuspendForDuration, _>(request, |args| async move {
                no_flags(args.flags)?;
                if args.duration != 0 {
                    return Err(VirError::new(
                        ErrorCode::ARGUMENT_UNSUPPORTED,
                        "Duration not supported. Use 0 for now",
                    ));
                }
                let domain = find(&engine, &args.dom)?;
                engine.guest_suspend(&domain, args.target, &client).await
            })
        }
        Procedure::DomainPmWakeup => {
            later::<procs::DomainPmWakeup, _>(request, |args| async move {
                no_flags(args.flags)?;
                let domain = find(&engine, &args.dom)?;
                engine.wakeup(&domain, &client).await
            })
        }
        Procedure::DomainAgentSetResponseTimeout => {
            now::<procs::DomainAgentSetResponseTimeout>(request, |args| {
                no_flags(args.flags)?;
                let patience = AgentPatience::from_seconds(args.timeout)?;
                let domain = find(&engine, &args.dom)?;
                engine.set_agent_patience(&domain, patience)?;
                Ok(remote::DomainAgentSetResponseTimeoutRet { result: 0 })
            })
        }
        Procedure::DomainInterfaceAddresses => {
            later::<procs::DomainInterfaceAddresses, _>(request, |args| async move {
                no_flags(args.flags)?;
                let domain = find(&engine, &args.dom)?;
                running(&domain)?;
                match args.source {
                    // Leases belong to networks, and those have no guests yet.
                    source::LEASE => Ok(remote::DomainInterfaceAddressesRet { ifaces: Vec::new() }),
                    source::ARP => {
                        let ifaces = engine.arp_addresses(&domain);
                        let ifaces = ifaces.into_iter().map(interface).collect();
                        Ok(remote::DomainInterfaceAddressesRet { ifaces })
                    }
                    source::AGENT => {
                        let ifaces = engine.guest_interfaces(&domain, &client).await?;
                        let ifaces = ifaces.into_iter().map(interface).collect();
                        Ok(remote::DomainInterfaceAddressesRet { ifaces })
                    }
                    other => Err(VirError::new(
                        ErrorCode::ARGUMENT_UNSUPPORTED,
                        format!("Unknown IP address data source {other}"),
                    )),
                }
            })
        }
        Procedure::DomainGetFsinfo => {
            later::<procs::DomainGetFsinfo, _>(request, |args| async move {
                no_flags(args.flags)?;
                let domain = find(&engine, &args.dom)?;
                let found = engine.guest_file_systems(&domain, &client).await?;
                let ret = u32::try_from(found.len()).unwrap_or(u32::MAX);
                let info = found.into_iter().map(|fs| remote::DomainFsinfo {
                    mountpoint: fs.mount_point,
                    name: fs.name,
                    fstype: fs.kind,
                    dev_aliases: fs.disks,
                });
                Ok(remote::DomainGetFsinfoRet { info: info.collect(), ret })
            })
        }
        Procedure::DomainGetGuestInfo => {
            later::<procs::DomainGetGuestInfo, _>(request, |args| async move {
                no_flags(args.flags)?;
                let unknown = args.types & !Engine::GUEST_INFO;
                if unknown != 0 {
                    return Err(VirError::invalid_arg(format!(
                        "unsupported guest information types '0x{unknown:x}'"
                    )));
                }
                let domain = find(&engine, &args.dom)?;
                let params = engine.guest_info(&domain, args.types, &client).await?;
                Ok(remote::DomainGetGuestInfoRet { params: to_wire(params) })
            })
        }
        Procedure::DomainGetGuestVcpus => {
            later::<procs::DomainGetGuestVcpus, _>(request, |args| async move {
                no_flags(args.flags)?;
                let domain = find(&engine, &args.dom)?;
                let params = engine.guest_vcpus(&domain, &client).await?;
                Ok(remote::DomainGetGuestVcpusRet { params: to_wire(params) })
            })
        }
        Procedure::DomainSetGuestVcpus => {
            later::<procs::DomainSetGuestVcpus, _>(request, |args| async move {
                no_flags(args.flags)?;
                let online = crate::domain::tuning::on_or_off(args.state)?;
                let domain = find(&engine, &args.dom)?;
                engine.set_guest_vcpus(&domain, &args.cpumap, online, &client).await
            })
        }
        Procedure::DomainAuthorizedSshKeysGet => {
            later::<procs::DomainAuthorizedSshKeysGet, _>(request, |args| async move {
                no_flags(args.flags)?;
                let domain = find(&engine, &args.dom)?;
                let keys = engine.guest_ssh_keys(&domain, &args.user, &client).await?;
                Ok(remote::DomainAuthorizedSshKeysGetRet { keys })
            })
        }
        Procedure::DomainAuthorizedSshKeysSet => {
            later::<procs::DomainAuthorizedSshKeysSet, _>(request, |args| async move {
                only_flags(args.flags, SSH_APPEND | SSH_REMOVE)?;
                affect::exclusive(
                    args.flags,
                    (SSH_APPEND, "VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_APPEND"),
                    (SSH_REMOVE, "VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_REMOVE"),
                )?;
                let what = match args.flags {
                    SSH_APPEND => SshKeys::Append,
                    SSH_REMOVE => SshKeys::Remove,
                    _ => SshKeys::Replace,
                };
                let domain = find(&engine, &args.dom)?;
                engine.set_guest_ssh_keys(&domain, &args.user, args.keys, what, &client).await
            })
        }
        _ => return Bound::NotMine(request),
    })
}

fn interface(interface: engine::domain::agent::calls::GuestInterface) -> remote::DomainInterface {
    remote::DomainInterface {
        name: interface.name,
        hwaddr: interface.mac,
        addrs: interface
            .addresses
            .into_iter()
            .map(|(v6, addr, prefix)| remote::DomainIpAddr { r#type: v6.into(), addr, prefix })
            .collect(),
    }
}
