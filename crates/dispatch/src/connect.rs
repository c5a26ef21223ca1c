//! The connection itself: authentication, opening, features, events, and what is asked about the
//! daemon as a whole.

use crate::bind::{Request, blocking, later, now, rpc_error};
use crate::events::Family;
use crate::flags::{no_flags, only_flags, unknown_flags};
use crate::{Bound, Libvirt, Session, listen};
use diag::{ErrorCode, ErrorDomain, VirError};
use engine::DomainCapsQuery;
use protocol::remote::{self, Procedure, procs};
use rpc::server::Outcome;
use std::sync::Arc;
use units::Uuid;

/// The version of libvirt's interface that is spoken here: 11.3.0.
const LIBVIRT_VERSION: u64 = 11_003_000;

/// `VIR_CONNECT_GET_DOMAIN_CAPABILITIES_DISABLE_DEPRECATED_FEATURES`.
const CAPABILITIES_WITHOUT_DEPRECATED: u32 = 1;

/// `VIR_DRV_FEATURE_PROGRAM_KEEPALIVE`.
const FEATURE_KEEPALIVE: i32 = 10;

/// What a client may call before the hypervisor connection is open.
pub(crate) fn allowed_before_open(procedure: Procedure) -> bool {
    matches!(
        procedure,
        Procedure::AuthList
            | Procedure::AuthPolkit
            | Procedure::AuthSaslInit
            | Procedure::AuthSaslStart
            | Procedure::AuthSaslStep
            | Procedure::ConnectOpen
            | Procedure::ConnectClose
            | Procedure::ConnectSupportsFeature
    )
}

pub(crate) fn call<'a, 'b>(
    service: &Libvirt,
    session: &Arc<Session>,
    procedure: Procedure,
    request: Request<'a, 'b>,
) -> Bound<'a, 'b> {
    let engine = &service.engine;
    Bound::Done(match procedure {
        Procedure::AuthList => now::<procs::AuthList>(request, |()| {
            Ok(remote::AuthListRet { types: vec![remote::AuthType::None] })
        }),
        Procedure::AuthPolkit | Procedure::AuthSaslInit => Outcome::Error(rpc_error(
            "authentication failed: this daemon asks for no authentication",
        )),
        Procedure::ConnectOpen => {
            now::<procs::ConnectOpen>(request, |args| open(service, session, args))
        }
        Procedure::ConnectClose => {
            session.close();
            service.engine.client_closes(&session.label);
            Outcome::Reply
        }
        Procedure::ConnectSupportsFeature => {
            now::<procs::ConnectSupportsFeature>(request, |args| {
                if args.feature == FEATURE_KEEPALIVE {
                    session.out.keepalive_start();
                } else if !session.is_open() {
                    return Err(VirError::internal("hypervisor connection not open")
                        .from_domain(ErrorDomain::RPC));
                }
                Ok(remote::ConnectSupportsFeatureRet { supported: supports(args.feature) })
            })
        }
        Procedure::ConnectGetType => now::<procs::ConnectGetType>(request, |()| {
            Ok(remote::ConnectGetTypeRet { r#type: "QEMU".into() })
        }),
        Procedure::ConnectGetVersion => {
            let engine = Arc::clone(engine);
            match engine.hypervisor_version_ready() {
                Some(hv_ver) => now::<procs::ConnectGetVersion>(request, |()| {
                    Ok(remote::ConnectGetVersionRet { hv_ver })
                }),
                None => blocking::<procs::ConnectGetVersion>(request, move |()| {
                    Ok(remote::ConnectGetVersionRet { hv_ver: engine.hypervisor_version()? })
                }),
            }
        }
        Procedure::ConnectGetLibVersion => now::<procs::ConnectGetLibVersion>(request, |()| {
            Ok(remote::ConnectGetLibVersionRet { lib_ver: LIBVIRT_VERSION })
        }),
        Procedure::ConnectGetHostname => now::<procs::ConnectGetHostname>(request, |()| {
            Ok(remote::ConnectGetHostnameRet { hostname: engine.hostname() })
        }),
        Procedure::ConnectGetUri => now::<procs::ConnectGetUri>(request, |()| {
            Ok(remote::ConnectGetUriRet { uri: uri(service).into() })
        }),
        Procedure::ConnectIsSecure => now::<procs::ConnectIsSecure>(request, |()| {
            Ok(remote::ConnectIsSecureRet { secure: 1 })
        }),
        Procedure::ConnectGetMaxVcpus => now::<procs::ConnectGetMaxVcpus>(request, |args| {
            let max_vcpus = engine.max_vcpus(args.r#type.as_deref())?;
            Ok(remote::ConnectGetMaxVcpusRet { max_vcpus })
        }),
        Procedure::ConnectGetSysinfo => now::<procs::ConnectGetSysinfo>(request, |args| {
            no_flags(args.flags)?;
            Ok(remote::ConnectGetSysinfoRet { sysinfo: engine.sysinfo()? })
        }),
        Procedure::ConnectGetCapabilities => match engine.capabilities_ready_now() {
            Some(text) => now::<procs::ConnectGetCapabilities>(request, |()| {
                Ok(remote::ConnectGetCapabilitiesRet { capabilities: text.to_string() })
            }),
            None => {
                let engine = Arc::clone(engine);
                blocking::<procs::ConnectGetCapabilities>(request, move |()| {
                    let capabilities = engine.capabilities().to_string();
                    Ok(remote::ConnectGetCapabilitiesRet { capabilities })
                })
            }
        },
        Procedure::ConnectGetDomainCapabilities => {
            let engine = Arc::clone(engine);
            blocking::<procs::ConnectGetDomainCapabilities>(request, move |args| {
                only_flags(args.flags, CAPABILITIES_WITHOUT_DEPRECATED)?;
                let without_deprecated = args.flags & CAPABILITIES_WITHOUT_DEPRECATED != 0;
                let query = DomainCapsQuery {
                    emulator: args.emulatorbin,
                    arch: args.arch,
                    machine: args.machine,
                    virt_type: args.virttype,
                };
                let capabilities = engine.domain_capabilities(&query, without_deprecated)?;
                Ok(remote::ConnectGetDomainCapabilitiesRet { capabilities })
            })
        }
        Procedure::ConnectRegisterCloseCallback | Procedure::ConnectUnregisterCloseCallback => {
            Outcome::Reply
        }
        Procedure::ConnectSetIdentity => {
            now::<procs::ConnectSetIdentity>(request, |args| set_identity(&args))
        }
        Procedure::ConnectDomainEventCallbackRegisterAny => {
            let outcome = now::<procs::ConnectDomainEventCallbackRegisterAny>(request, |args| {
                let only = args.dom.map(|dom| Uuid(dom.uuid));
                if let Some(uuid) = &only {
                    engine.domain_by_uuid(uuid)?;
                }
                let callback_id = session.callbacks().add_domain(args.event_id, only, false)?;
                Ok(remote::ConnectDomainEventCallbackRegisterAnyRet { callback_id })
            });
            listen(engine, session);
            outcome
        }
        Procedure::ConnectDomainEventCallbackDeregisterAny => {
            now::<procs::ConnectDomainEventCallbackDeregisterAny>(request, |args| {
                session.callbacks().remove(Family::Domain, args.callback_id)
            })
        }
        Procedure::ConnectDomainEventRegister => {
            let outcome = now::<procs::ConnectDomainEventRegister>(request, |()| {
                session.callbacks().add_domain(0, None, true)?;
                Ok(remote::ConnectDomainEventRegisterRet { cb_registered: 1 })
            });
            listen(engine, session);
            outcome
        }
        Procedure::ConnectDomainEventDeregister => {
            now::<procs::ConnectDomainEventDeregister>(request, |()| {
                session.callbacks().remove_legacy(0)?;
                Ok(remote::ConnectDomainEventDeregisterRet { cb_registered: 0 })
            })
        }
        Procedure::ConnectDomainEventRegisterAny => {
            let outcome = now::<procs::ConnectDomainEventRegisterAny>(request, |args| {
                session.callbacks().add_domain(args.event_id, None, true).map(|_| ())
            });
            listen(engine, session);
            outcome
        }
        Procedure::ConnectDomainEventDeregisterAny => {
            now::<procs::ConnectDomainEventDeregisterAny>(request, |args| {
                session.callbacks().remove_legacy(args.event_id)
            })
        }
        Procedure::ConnectDomainXmlFromNative => {
            Outcome::Error(VirError::new(ErrorCode::NO_SUPPORT, "virConnectDomainXMLFromNative"))
        }
        Procedure::ConnectDomainXmlToNative => {
            let engine = Arc::clone(engine);
            later::<procs::ConnectDomainXmlToNative, _>(request, move |args| async move {
                let native_config =
                    engine.native_config(&args.native_format, args.domain_xml).await?;
                Ok(remote::ConnectDomainXmlToNativeRet { native_config })
            })
        }
        _ => return Bound::NotMine(request),
    })
}

fn open(
    service: &Libvirt,
    session: &Session,
    args: remote::ConnectOpenArgs,
) -> Result<(), VirError> {
    let Some(name) = args.name else {
        return Err(VirError::internal("connection not open").from_domain(ErrorDomain::RPC));
    };
    let wanted = uri(service);
    let path = name.split(['?', '#']).next().unwrap_or_default();
    // Root's own session is the system: libvirt's clients connect to the system's socket for either.
    let roots_session = !service.engine.layout.session && path == "qemu:///session";
    if !path.is_empty() && path != wanted && !roots_session {
        return Err(refuse_uri(service, path));
    }
    if args.flags & !7 != 0 {
        return Err(unknown_flags(args.flags));
    }
    if !session.open(args.flags & 1 != 0) {
        return Err(VirError::internal("connection already open").from_domain(ErrorDomain::RPC));
    }
    Ok(())
}

/// The error for a URI that this daemon does not serve, in libvirt's words where it has any.
fn refuse_uri(service: &Libvirt, path: &str) -> VirError {
    let wanted = uri(service);
    if let Some(rest) = path.strip_prefix("qemu:") {
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        return VirError::internal(format!("unexpected qemu URI path '{rest}', try {wanted}"))
            .from_domain(ErrorDomain::QEMU);
    }
    VirError::new(ErrorCode::NO_CONNECT, path)
        .from_domain(ErrorDomain::NONE)
        .hint(format!("this daemon serves {wanted}"))
}

fn uri(service: &Libvirt) -> &'static str {
    if service.engine.layout.session { "qemu:///session" } else { "qemu:///system" }
}

/// `virDrvFeature` as this driver has them: typed string parameters (9), descriptors (8), callback
/// ids (14), the close callback (15), keepalive (10), the order of network update's arguments (16).
/// Migration's features are off until there is migration.
fn supports(feature: i32) -> i32 {
    i32::from(matches!(feature, 8 | 9 | 10 | 14 | 15 | 16))
}

/// A client says for whom it acts. There is no access control by identity yet; what libvirt does not
/// know is refused as there.
fn set_identity(args: &remote::ConnectSetIdentityArgs) -> Result<(), VirError> {
    no_flags(args.flags)?;
    const KNOWN: [&str; 9] = [
        "user-name",
        "unix-user-id",
        "group-name",
        "unix-group-id",
        "process-id",
        "process-time",
        "sasl-user-name",
        "x509-distinguished-name",
        "selinux-context",
    ];
    match args.params.iter().find(|param| !KNOWN.contains(&param.field.as_str())) {
        Some(param) => Err(VirError::new(
            ErrorCode::ARGUMENT_UNSUPPORTED,
            format!("parameter '{}' not supported", param.field),
        )
        .from_domain(ErrorDomain::NONE)),
        None => Ok(()),
    }
}
