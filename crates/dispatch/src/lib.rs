//! Procedures of the wire bound to calls of the engine.
//!
//! One module for each kind of object; each has a function that matches procedures and answers
//! those it knows. What nobody knows is answered as libvirt answers what a driver lacks.
//!
//! Invariant: no state but the sessions', no decisions but those of the wire's forms.

pub mod admin;
pub mod bind;
mod connect;
mod cpu;
mod domain;
mod empty;
pub mod events;
mod flags;
mod node;
mod params;
mod qemu;
mod secret;
mod session;
mod storage;
mod volume;

pub use domain::display::CONSOLE_HISTORY;
pub use session::Session;

use bind::{Request, rpc_error, unsupported};
use diag::VirError;
use engine::Engine;
use engine::events::Event;
use protocol::{admin as admin_program, lxc as lxc_program, qemu as qemu_program, remote};
use rpc::server::{Call, ListenerKind, Outbox, Outcome, Peer, Service};
use std::sync::Arc;

/// The daemon's procedures, for a server.
pub struct Libvirt {
    /// The world they act on.
    pub engine: Arc<Engine>,
    /// What the admin program steers.
    pub control: admin::Control,
}

impl Libvirt {
    /// The procedures acting on `engine`.
    pub fn new(engine: Arc<Engine>) -> Arc<Self> {
        Arc::new(Self { engine, control: admin::Control::default() })
    }

    fn remote(&self, session: &Arc<Session>, request: Request<'_, '_>) -> Outcome {
        let number = request.call.procedure;
        let Ok(procedure) = remote::Procedure::try_from(number) else {
            return Outcome::Error(rpc_error(&format!("unknown procedure: {number}")));
        };
        if protocol::info(remote::PROGRAM, number).is_none_or(|info| info.event) {
            return Outcome::Error(rpc_error(&format!("unknown procedure: {number}")));
        }
        if !session.is_open() && !connect::allowed_before_open(procedure) {
            return Outcome::Error(
                VirError::internal("hypervisor connection not open")
                    .from_domain(diag::ErrorDomain::RPC),
            );
        }
        if let Err(error) = bind::admit(&request) {
            return Outcome::Error(error);
        }
        let mut request = request;
        for bind in [
            connect::call,
            cpu::call,
            domain::call,
            domain::block::call,
            domain::devices::call,
            domain::info::call,
            domain::live::call,
            domain::tuning::call,
            domain::save::call,
            node::call,
            secret::call,
            storage::call,
            volume::call,
            empty::call,
        ] {
            match bind(self, session, procedure, request) {
                Bound::Done(outcome) => return outcome,
                Bound::NotMine(back) => request = back,
            }
        }
        Outcome::Error(unsupported(remote::PROGRAM, number))
    }
}

impl admin::Governed for Libvirt {
    fn control(&self) -> &admin::Control {
        &self.control
    }

    fn runtime(&self) -> &tokio::runtime::Handle {
        self.engine.runtime()
    }

    fn account_names(&self, uid: u32, gid: u32) -> (Option<String>, Option<String>) {
        self.engine.account_names(uid, gid)
    }
}

/// What a module says to a procedure.
pub(crate) enum Bound<'a, 'b> {
    /// It was one of its own.
    Done(Outcome),
    /// Somebody else's.
    NotMine(Request<'a, 'b>),
}

impl Service for Libvirt {
    type Session = Session;

    fn programs(&self, kind: ListenerKind) -> &[(u32, u32)] {
        match kind {
            ListenerKind::Main | ListenerKind::ReadOnly => &[
                (remote::PROGRAM, remote::VERSION),
                (qemu_program::PROGRAM, qemu_program::VERSION),
                (lxc_program::PROGRAM, lxc_program::VERSION),
            ],
            ListenerKind::Admin => &[(admin_program::PROGRAM, admin_program::VERSION)],
        }
    }

    fn connected(&self, peer: &Arc<Peer>, out: Outbox) -> Session {
        // Without authentication configured, clients count as authenticated from the start; who
        // may come in at all was decided by the socket's mode and the listener's check.
        out.set_authenticated();
        Session::new(peer, out)
    }

    fn call(&self, session: &Arc<Session>, call: Call<'_>, reply: &mut Vec<u8>) -> Outcome {
        let read_only = session.read_only();
        let program = call.program;
        let procedure = call.procedure;
        let request = Request { call, reply, read_only };
        match program {
            remote::PROGRAM => self.remote(session, request),
            qemu_program::PROGRAM => qemu::call(self, session, request),
            admin_program::PROGRAM => admin::call(self, session, request),
            _ => Outcome::Error(unsupported(program, procedure)),
        }
    }

    fn disconnected(&self, session: &Arc<Session>) {
        session.close();
        self.engine.client_is_gone(&session.label);
        for domain in session.untie() {
            let engine = Arc::clone(&self.engine);
            self.engine.runtime().spawn(async move {
                if let Err(error) = engine.destroy(&domain, false).await {
                    tracing::warn!(uuid = %domain.uuid, error = %error.message(), "not ended with its client");
                }
            });
        }
    }
}

/// Has events told to a session that wants some.
pub(crate) fn listen(engine: &Engine, session: &Arc<Session>) {
    if !session.callbacks().needs_subscription() {
        return;
    }
    let weak = Arc::downgrade(session);
    let subscription = engine.events.subscribe(Arc::new(move |event: &Event| {
        let Some(session) = weak.upgrade() else { return };
        let messages = session.callbacks().messages(event);
        for (program, version, procedure, payload) in messages {
            session.out.event(program, version, procedure, &payload);
        }
    }));
    session.callbacks().keep(subscription);
}
