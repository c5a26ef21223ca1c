//! The admin program: servers, their clients and limits, logging, the daemon's end.

use crate::Session;
use crate::bind::{Request, now, rpc_error};
use diag::{ErrorCode, ErrorDomain, VirError};
use protocol::admin::{self, NonnullClient, NonnullServer, Procedure, procs};
use protocol::consts::admin::field;
use protocol::{TypedParam, TypedParamValue};
use rpc::server::{ClientInfo, Limits, Outcome, ServerHandle};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::{Notify, watch};

/// libvirt's version that we speak as, in its form: 11.3.0.
const LIB_VERSION: u64 = 11_003_000;

/// `VIR_CLIENT_TRANS_UNIX`.
const TRANSPORT_UNIX: u32 = 0;

/// What the admin program steers: the daemon hands its servers over and listens to the wishes.
#[derive(Debug)]
pub struct Control {
    servers: Mutex<Vec<ServerHandle>>,
    end: Notify,
    preserve: AtomicBool,
    timeout: watch::Sender<Option<Duration>>,
}

impl Default for Control {
    fn default() -> Self {
        let (timeout, _) = watch::channel(None);
        let preserve = AtomicBool::new(false);
        Self { servers: Mutex::default(), end: Notify::new(), preserve, timeout }
    }
}

impl Control {
    /// Puts servers under the admin program's control. An empty list ends it.
    pub fn manage(&self, servers: Vec<ServerHandle>) {
        *self.lock() = servers;
    }

    /// Comes to an end when a client asks the daemon to end.
    pub async fn shutdown_requested(&self) {
        self.end.notified().await;
    }

    /// Guests are to be brought to an end, too, as when the host stops.
    pub fn preserves(&self) -> bool {
        self.preserve.load(Ordering::Relaxed)
    }

    /// Sets after how long without clients and guests the daemon ends by itself.
    pub fn set_timeout(&self, timeout: Option<Duration>) {
        self.timeout.send_replace(timeout);
    }

    /// That time; changes can be waited for.
    pub fn timeout(&self) -> watch::Receiver<Option<Duration>> {
        self.timeout.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ServerHandle>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The servers in the order of their names, as libvirtd lists them.
    fn servers(&self) -> Vec<ServerHandle> {
        let mut servers = self.lock().clone();
        servers.sort_by(|a, b| a.name().cmp(b.name()));
        servers
    }

    fn server(&self, name: &str) -> Result<ServerHandle, VirError> {
        let found = self.lock().iter().find(|server| server.name() == name).cloned();
        found.ok_or_else(|| refusal(ErrorCode::NO_SERVER, format!("No server named '{name}'")))
    }

    fn client(&self, wire: &NonnullClient) -> Result<(ServerHandle, ClientInfo), VirError> {
        let server = self.server(&wire.srv.name)?;
        let client = server.client(wire.id).ok_or_else(|| no_client(wire.id))?;
        Ok((server, client))
    }
}

/// A daemon that the admin program can steer.
pub trait Governed {
    /// Its servers and wishes.
    fn control(&self) -> &Control;
    /// Where its calls are carried out.
    fn runtime(&self) -> &tokio::runtime::Handle;
    /// The names of a user and of a group, where they have one.
    fn account_names(&self, uid: u32, gid: u32) -> (Option<String>, Option<String>);
}

/// Answers a call of the admin program.
pub fn call(service: &dyn Governed, session: &Session, request: Request<'_, '_>) -> Outcome {
    let number = request.call.procedure;
    let Ok(procedure) = Procedure::try_from(number) else {
        return Outcome::Error(rpc_error(&format!("unknown procedure: {number}")));
    };
    if !session.is_open() && procedure != Procedure::ConnectOpen {
        let error = VirError::internal("no current daemon connection");
        return Outcome::Error(error.from_domain(ErrorDomain::RPC));
    }
    let control = service.control();
    match procedure {
        Procedure::ConnectOpen => now::<procs::ConnectOpen>(request, |args| {
            no_flags(args.flags)?;
            match session.open(false) {
                true => Ok(()),
                false => {
                    Err(VirError::internal("connection already open").from_domain(ErrorDomain::RPC))
                }
            }
        }),
        Procedure::ConnectClose => now::<procs::ConnectClose>(request, |()| {
            session.close();
            Ok(())
        }),
        Procedure::ConnectGetLibVersion => now::<procs::ConnectGetLibVersion>(request, |()| {
            Ok(admin::ConnectGetLibVersionRet { lib_ver: LIB_VERSION })
        }),
        Procedure::ConnectListServers => now::<procs::ConnectListServers>(request, |args| {
            no_flags(args.flags)?;
            let servers: Vec<_> =
                control.servers().iter().map(|server| wire_server(server.name())).collect();
            let ret = number_of(servers.len());
            let servers = if args.need_results == 0 { Vec::new() } else { servers };
            Ok(admin::ConnectListServersRet { servers, ret })
        }),
        Procedure::ConnectLookupServer => now::<procs::ConnectLookupServer>(request, |args| {
            no_flags(args.flags)?;
            let srv = wire_server(control.server(&args.name)?.name());
            Ok(admin::ConnectLookupServerRet { srv })
        }),
        Procedure::ServerGetThreadpoolParameters => {
            now::<procs::ServerGetThreadpoolParameters>(request, |args| {
                no_flags(args.flags)?;
                control.server(&args.srv.name)?;
                Ok(admin::ServerGetThreadpoolParametersRet { params: threads(service) })
            })
        }
        Procedure::ServerSetThreadpoolParameters => {
            now::<procs::ServerSetThreadpoolParameters>(request, |args| {
                no_flags(args.flags)?;
                control.server(&args.srv.name)?;
                Err(refusal(
                    ErrorCode::OPERATION_UNSUPPORTED,
                    "the number of threads follows the number of processors and cannot be set",
                ))
            })
        }
        Procedure::ServerListClients => now::<procs::ServerListClients>(request, |args| {
            no_flags(args.flags)?;
            let server = control.server(&args.srv.name)?;
            let clients: Vec<_> =
                server.clients().iter().map(|client| wire_client(server.name(), client)).collect();
            let ret = number_of(clients.len());
            let clients = if args.need_results == 0 { Vec::new() } else { clients };
            Ok(admin::ServerListClientsRet { clients, ret })
        }),
        Procedure::ServerLookupClient => now::<procs::ServerLookupClient>(request, |args| {
            no_flags(args.flags)?;
            let server = control.server(&args.srv.name)?;
            let client = server.client(args.id).ok_or_else(|| no_client(args.id))?;
            Ok(admin::ServerLookupClientRet { clnt: wire_client(server.name(), &client) })
        }),
        Procedure::ClientGetInfo => now::<procs::ClientGetInfo>(request, |args| {
            no_flags(args.flags)?;
            let (_, client) = control.client(&args.clnt)?;
            Ok(admin::ClientGetInfoRet { params: identity(service, &client) })
        }),
        Procedure::ClientClose => now::<procs::ClientClose>(request, |args| {
            no_flags(args.flags)?;
            let (server, client) = control.client(&args.clnt)?;
            match server.client_close(client.id) {
                true => Ok(()),
                false => Err(no_client(client.id)),
            }
        }),
        Procedure::ServerGetClientLimits => now::<procs::ServerGetClientLimits>(request, |args| {
            no_flags(args.flags)?;
            let server = control.server(&args.srv.name)?;
            Ok(admin::ServerGetClientLimitsRet { params: limits(&server) })
        }),
        Procedure::ServerSetClientLimits => now::<procs::ServerSetClientLimits>(request, |args| {
            no_flags(args.flags)?;
            let server = control.server(&args.srv.name)?;
            server.set_limits(changed_limits(server.limits(), &args.params)?);
            Ok(())
        }),
        Procedure::ConnectGetLoggingOutputs => {
            now::<procs::ConnectGetLoggingOutputs>(request, |args| {
                no_flags(args.flags)?;
                let outputs = log_output();
                Ok(admin::ConnectGetLoggingOutputsRet { outputs, noutputs: 1 })
            })
        }
        Procedure::ConnectGetLoggingFilters => {
            now::<procs::ConnectGetLoggingFilters>(request, |args| {
                no_flags(args.flags)?;
                Ok(admin::ConnectGetLoggingFiltersRet { filters: None, nfilters: 0 })
            })
        }
        Procedure::ConnectSetLoggingOutputs => {
            now::<procs::ConnectSetLoggingOutputs>(request, |args| {
                no_flags(args.flags)?;
                Err(refusal(
                    ErrorCode::OPERATION_UNSUPPORTED,
                    "the log goes to standard error; its output cannot be changed",
                ))
            })
        }
        Procedure::ConnectSetLoggingFilters => {
            now::<procs::ConnectSetLoggingFilters>(request, |args| {
                no_flags(args.flags)?;
                Err(refusal(
                    ErrorCode::OPERATION_UNSUPPORTED,
                    "there are no logging filters; start the daemon with --verbose to see more",
                ))
            })
        }
        Procedure::ServerUpdateTlsFiles => now::<procs::ServerUpdateTlsFiles>(request, |args| {
            no_flags(args.flags)?;
            control.server(&args.srv.name)?;
            let detail = "no tls service found, unable to update tls files";
            Err(refusal(ErrorCode::INTERNAL_ERROR, detail))
        }),
        Procedure::ConnectSetDaemonTimeout => {
            now::<procs::ConnectSetDaemonTimeout>(request, |args| {
                no_flags(args.flags)?;
                let seconds = u64::from(args.timeout);
                control.set_timeout((seconds > 0).then(|| Duration::from_secs(seconds)));
                Ok(())
            })
        }
        Procedure::ConnectDaemonShutdown => now::<procs::ConnectDaemonShutdown>(request, |args| {
            let preserve =
                protocol::consts::admin::connect_daemon_shutdown::DAEMON_SHUTDOWN_PRESERVE;
            no_flags(args.flags & !preserve)?;
            control.preserve.store(args.flags & preserve != 0, Ordering::Relaxed);
            control.end.notify_one();
            Ok(())
        }),
    }
}

fn refusal(code: ErrorCode, detail: impl Into<String>) -> VirError {
    VirError::new(code, detail).from_domain(ErrorDomain::ADMIN)
}

fn no_client(id: u64) -> VirError {
    refusal(ErrorCode::NO_CLIENT, format!("No client with matching ID '{id}'"))
}

fn no_flags(flags: u32) -> Result<(), VirError> {
    match flags {
        0 => Ok(()),
        flags => {
            let detail = format!("unsupported flags (0x{flags:x})");
            Err(refusal(ErrorCode::INVALID_ARG, detail))
        }
    }
}

fn number_of(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn wire_server(name: &str) -> NonnullServer {
    NonnullServer { name: name.to_owned() }
}

fn wire_client(server: &str, client: &ClientInfo) -> NonnullClient {
    let since = client.since.duration_since(UNIX_EPOCH).unwrap_or_default();
    NonnullClient {
        srv: wire_server(server),
        id: client.id,
        timestamp: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        transport: TRANSPORT_UNIX,
    }
}

/// Who a client is, in libvirtd's order.
fn identity(service: &dyn Governed, client: &ClientInfo) -> Vec<TypedParam> {
    let number = |id: u32| i32::try_from(id).unwrap_or(-1);
    let (user, group) = service.account_names(client.uid, client.gid);
    let mut params = vec![
        TypedParam::new(field::CLIENT_INFO_READONLY, client.read_only),
        TypedParam::new(field::CLIENT_INFO_UNIX_USER_ID, number(client.uid)),
    ];
    if let Some(user) = user {
        params.push(TypedParam::new(field::CLIENT_INFO_UNIX_USER_NAME, user));
    }
    params.push(TypedParam::new(field::CLIENT_INFO_UNIX_GROUP_ID, number(client.gid)));
    if let Some(group) = group {
        params.push(TypedParam::new(field::CLIENT_INFO_UNIX_GROUP_NAME, group));
    }
    if let Some(pid) = client.pid {
        params.push(TypedParam::new(field::CLIENT_INFO_UNIX_PROCESS_ID, pid));
    }
    params
}

/// The threads that carry calls out. There are always as many as at the start; calls that are
/// ready wait in one queue, so threads count as free while it is empty.
fn threads(service: &dyn Governed) -> Vec<TypedParam> {
    let metrics = service.runtime().metrics();
    let workers = number_of(metrics.num_workers());
    let waiting = number_of(metrics.global_queue_depth());
    [
        (field::THREADPOOL_WORKERS_MIN, workers),
        (field::THREADPOOL_WORKERS_MAX, workers),
        (field::THREADPOOL_WORKERS_CURRENT, workers),
        (field::THREADPOOL_WORKERS_FREE, if waiting == 0 { workers } else { 0 }),
        (field::THREADPOOL_WORKERS_PRIORITY, 0),
        (field::THREADPOOL_JOB_QUEUE_DEPTH, waiting),
    ]
    .map(|(name, value)| TypedParam::new(name, value))
    .into()
}

fn limits(server: &ServerHandle) -> Vec<TypedParam> {
    let limits = server.limits();
    let clients = *server.client_count().borrow();
    [
        (field::SERVER_CLIENTS_MAX, limits.max_clients),
        (field::SERVER_CLIENTS_CURRENT, clients),
        (field::SERVER_CLIENTS_UNAUTH_MAX, limits.max_anonymous_clients),
        (field::SERVER_CLIENTS_UNAUTH_CURRENT, server.anonymous_count()),
    ]
    .map(|(name, value)| TypedParam::new(name, number_of(value)))
    .into()
}

/// The limits with what a client wants changed.
fn changed_limits(mut limits: Limits, params: &[TypedParam]) -> Result<Limits, VirError> {
    for param in params {
        let TypedParamValue::UInt(value) = param.value else {
            let detail = format!("invalid type for parameter '{}', expected 'uint'", param.field);
            return Err(refusal(ErrorCode::INVALID_ARG, detail));
        };
        let value = value as usize;
        match param.field.as_str() {
            field::SERVER_CLIENTS_MAX => limits.max_clients = value,
            field::SERVER_CLIENTS_UNAUTH_MAX => limits.max_anonymous_clients = value,
            name => {
                let detail = format!("parameter '{name}' not supported");
                return Err(refusal(ErrorCode::ARGUMENT_UNSUPPORTED, detail));
            }
        }
    }
    if limits.max_anonymous_clients > limits.max_clients {
        return Err(refusal(
            ErrorCode::INVALID_ARG,
            "The overall maximum number of clients must not be less than the number of clients \
             waiting for authentication",
        ));
    }
    if limits.max_clients == 0 {
        let detail = "at least one client has to be admitted";
        return Err(refusal(ErrorCode::INVALID_ARG, detail));
    }
    Ok(limits)
}

/// The log's one output in libvirt's form: least priority, and where it goes.
fn log_output() -> String {
    use tracing::level_filters::LevelFilter;
    let priority = match LevelFilter::current() {
        LevelFilter::TRACE | LevelFilter::DEBUG => 1,
        LevelFilter::INFO => 2,
        LevelFilter::WARN => 3,
        _ => 4,
    };
    format!("{priority}:stderr")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_checked_together() {
        let set = |name: &str, value: u32| vec![TypedParam::new(name, value)];
        let now = Limits::default();
        let fewer = changed_limits(now, &set(field::SERVER_CLIENTS_MAX, 100)).expect("admitted");
        assert_eq!((fewer.max_clients, fewer.max_anonymous_clients), (100, 20));
        let error = changed_limits(now, &set(field::SERVER_CLIENTS_MAX, 1)).expect_err("too few");
        assert_eq!(error.code, ErrorCode::INVALID_ARG);
        let error = changed_limits(now, &set("nclients", 1)).expect_err("no such limit");
        assert_eq!(error.code, ErrorCode::ARGUMENT_UNSUPPORTED);
    }
}
