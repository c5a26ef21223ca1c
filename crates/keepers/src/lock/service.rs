//! The procedures of the lock manager, and those of the admin program on the daemon's other socket.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use diag::{ErrorCode, ErrorDomain, VirError};
use dispatch::Session;
use dispatch::admin::{Control, Governed};
use dispatch::bind::{Request, arguments, encode, rpc_error};
use host::users::Users;
use protocol::lockspace::{self, Procedure, procs};
use rpc::server::{Call, ListenerKind, Outbox, Outcome, Peer, Service};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::table::{LockError, Locks};

/// The flags of an acquisition.
const SHARED: u32 = 1;
const CREATE: u32 = 2;

/// Answers clients.
pub(super) struct LockService {
    pub locks: Arc<Locks>,
    pub control: Control,
    pub users: Users,
    pub runtime: Handle,
    /// Connections end because the daemon does, which is not the end of a guest.
    pub leaving: AtomicBool,
    /// How many clients may ask for something.
    pub at_work: watch::Sender<usize>,
    /// Processes that locks were taken for.
    pub owners: mpsc::UnboundedSender<u32>,
    /// Processes that ended their connection.
    pub ended: mpsc::UnboundedSender<u32>,
}

/// A client.
pub(super) struct Client {
    session: Arc<Session>,
    /// The process that connected.
    pid: Option<u32>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The process that the locks are for.
    owner: Option<u32>,
    restricted: bool,
}

impl Client {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unrestricted(&self) -> Result<(), VirError> {
        match self.state().restricted {
            true => {
                let detail = "lock manager connection has been restricted";
                Err(refusal(ErrorCode::OPERATION_DENIED, detail))
            }
            false => Ok(()),
        }
    }

    fn owner(&self) -> Result<u32, VirError> {
        self.unrestricted()?;
        let missing = "lock owner details have not been registered";
        self.state().owner.ok_or_else(|| refusal(ErrorCode::OPERATION_INVALID, missing))
    }
}

impl Service for LockService {
    type Session = Client;

    fn programs(&self, kind: ListenerKind) -> &[(u32, u32)] {
        match kind {
            ListenerKind::Admin => &[(protocol::admin::PROGRAM, protocol::admin::VERSION)],
            _ => &[(lockspace::PROGRAM, lockspace::VERSION)],
        }
    }

    fn connected(&self, peer: &Arc<Peer>, out: Outbox) -> Client {
        out.set_authenticated();
        let pid = match peer.kind {
            ListenerKind::Admin => None,
            _ => peer.pid.and_then(|pid| u32::try_from(pid).ok()),
        };
        Client { session: Arc::new(Session::new(peer, out)), pid, state: Mutex::default() }
    }

    fn call(&self, client: &Arc<Client>, call: Call<'_>, reply: &mut Vec<u8>) -> Outcome {
        let program = call.program;
        let request = Request { call, reply, read_only: false };
        if program == protocol::admin::PROGRAM {
            return dispatch::admin::call(self, &client.session, request);
        }
        let number = request.call.procedure;
        let outcome = match Procedure::try_from(number) {
            Ok(procedure) => self.answer(procedure, client, &request),
            Err(_) => Err(rpc_error(&format!("unknown procedure: {number}"))),
        };
        outcome.unwrap_or_else(Outcome::Error)
    }

    fn disconnected(&self, client: &Arc<Client>) {
        client.session.close();
        let at_work = {
            let state = client.state();
            state.owner.is_some() && !state.restricted
        };
        if at_work {
            self.at_work.send_modify(|clients| *clients -= 1);
        }
        if let Some(pid) = client.pid
            && !self.leaving.load(Ordering::SeqCst)
        {
            let _ = self.ended.send(pid);
        }
    }
}

impl Governed for LockService {
    fn control(&self) -> &Control {
        &self.control
    }

    fn runtime(&self) -> &Handle {
        &self.runtime
    }

    fn account_names(&self, uid: u32, gid: u32) -> (Option<String>, Option<String>) {
        let user = self.users.user_by_id(uid).map(|user| user.name.clone());
        (user, self.users.group_by_id(gid).map(|group| group.name.clone()))
    }
}

impl LockService {
    fn answer(
        &self,
        procedure: Procedure,
        client: &Arc<Client>,
        request: &Request<'_, '_>,
    ) -> Result<Outcome, VirError> {
        match procedure {
            Procedure::Register => {
                let args = arguments::<procs::Register>(request)?;
                no_flags(args.flags, 0, "Register")?;
                client.unrestricted()?;
                if self.leaving.load(Ordering::SeqCst) {
                    let detail = "the lock daemon is being replaced";
                    return Err(refusal(ErrorCode::RESOURCE_BUSY, detail));
                }
                let before = client.state().owner.replace(args.pid);
                if before.is_none() {
                    self.at_work.send_modify(|clients| *clients += 1);
                }
                Ok(encode(&()))
            }
            Procedure::Restrict => {
                let args = arguments::<procs::Restrict>(request)?;
                no_flags(args.flags, 0, "Restrict")?;
                client.owner()?;
                client.state().restricted = true;
                self.at_work.send_modify(|clients| *clients -= 1);
                Ok(encode(&()))
            }
            Procedure::New => {
                let args = arguments::<procs::New>(request)?;
                no_flags(args.flags, 0, "New")?;
                client.owner()?;
                if args.path.is_empty() {
                    let detail = "the default lockspace already exists";
                    return Err(refusal(ErrorCode::OPERATION_INVALID, detail));
                }
                Ok(self.blocking(move |locks| locks.add_space(&args.path, true)))
            }
            Procedure::CreateLockspace => {
                // Any flags: nobody gives one a meaning.
                let args = arguments::<procs::CreateLockspace>(request)?;
                client.unrestricted()?;
                Ok(self.blocking(move |locks| locks.add_space(&args.path, false)))
            }
            Procedure::CreateResource => {
                let args = arguments::<procs::CreateResource>(request)?;
                no_flags(args.flags, 0, "CreateResource")?;
                client.owner()?;
                Ok(self.blocking(move |locks| locks.create(&args.path, &args.name)))
            }
            Procedure::DeleteResource => {
                let args = arguments::<procs::DeleteResource>(request)?;
                no_flags(args.flags, 0, "DeleteResource")?;
                client.owner()?;
                Ok(self.blocking(move |locks| locks.delete(&args.path, &args.name)))
            }
            Procedure::AcquireResource => {
                let args = arguments::<procs::AcquireResource>(request)?;
                no_flags(args.flags, SHARED | CREATE, "AcquireResource")?;
                let owner = client.owner()?;
                let how = (args.flags & SHARED != 0, args.flags & CREATE != 0);
                let owners = self.owners.clone();
                Ok(self.blocking(move |locks| {
                    locks.acquire(&args.path, &args.name, owner, how)?;
                    let _ = owners.send(owner);
                    Ok(())
                }))
            }
            Procedure::ReleaseResource => {
                let args = arguments::<procs::ReleaseResource>(request)?;
                no_flags(args.flags, 0, "ReleaseResource")?;
                let owner = client.owner()?;
                Ok(self.blocking(move |locks| locks.release(&args.path, &args.name, owner)))
            }
        }
    }

    /// On a thread that a disk may hold up.
    fn blocking(
        &self,
        change: impl FnOnce(&Locks) -> Result<(), LockError> + Send + 'static,
    ) -> Outcome {
        let locks = Arc::clone(&self.locks);
        Outcome::blocking(move || match change(&locks) {
            Ok(()) => encode(&()),
            Err(error) => wire(&error).into(),
        })
    }
}

fn wire(error: &LockError) -> VirError {
    let (code, domain) = match error {
        LockError::Locked(_) | LockError::NotLocked(_) => {
            (ErrorCode::RESOURCE_BUSY, ErrorDomain::LOCKSPACE)
        }
        LockError::NoSpace(_) | LockError::SpaceExists(_) => {
            (ErrorCode::INTERNAL_ERROR, ErrorDomain::RPC)
        }
        LockError::System { what, source } => {
            let words = source.to_string();
            let words = words.split(" (os error").next().unwrap_or_default();
            return VirError::new(ErrorCode::SYSTEM_ERROR, format!("{what}: {words}"))
                .from_domain(ErrorDomain::LOCKSPACE);
        }
        _ => (ErrorCode::INTERNAL_ERROR, ErrorDomain::LOCKSPACE),
    };
    VirError::new(code, error.to_string()).from_domain(domain)
}

fn refusal(code: ErrorCode, detail: &str) -> VirError {
    VirError::new(code, detail).from_domain(ErrorDomain::RPC)
}

fn no_flags(flags: u32, known: u32, function: &str) -> Result<(), VirError> {
    let unknown = flags & !known;
    if unknown == 0 {
        return Ok(());
    }
    let function = format!("virLockSpaceProtocolDispatch{function}");
    let detail = format!("unsupported flags (0x{unknown:x}) in function {function}");
    // The message is these words alone.
    Err(refusal(ErrorCode::INVALID_ARG, &detail).verbatim())
}
