//! Events as they come, and what registers them.

use diag::VirError;
use protocol::{Event, qemu, remote};
use xdr::{Decode, Decoder};

use super::connection::{CloseReason, Connection};
use super::core::CLOSE_EVENT;
use super::error;

/// An event, not decoded yet: compare [`RawEvent::is`] or its number, then [`RawEvent::decode`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawEvent {
    /// The program.
    pub program: u32,
    /// The event's procedure number.
    pub number: i32,
    payload: Vec<u8>,
}

impl RawEvent {
    pub(super) fn new(program: u32, number: i32, payload: Vec<u8>) -> Self {
        Self { program, number, payload }
    }

    /// Is it this event?
    #[must_use]
    pub fn is<E: Event>(&self) -> bool {
        (self.program, self.number) == (E::PROGRAM, E::NUMBER)
    }

    /// Its content.
    ///
    /// # Errors
    /// It is another event, or its bytes are not what they should be ("Unable to decode message payload").
    pub fn decode<E: Event>(&self) -> Result<E::Msg, VirError> {
        if !self.is::<E>() {
            return Err(VirError::internal(format!("event {} is not {}", self.number, E::NAME)));
        }
        E::Msg::decode(&mut Decoder::lossy(&self.payload)).map_err(|e| error::undecodable(&e))
    }

    /// The registration it belongs to: the number that registering gave. (Events of all kinds that this client
    /// registers begin with it.)
    #[must_use]
    pub fn callback_id(&self) -> Option<i32> {
        Decoder::new(&self.payload).int().ok()
    }

    /// If it announces the end of the connection: why.
    pub(super) fn close_reason(&self) -> Option<CloseReason> {
        if (self.program, self.number) != (remote::PROGRAM, CLOSE_EVENT) {
            return None;
        }
        match self.callback_id()? {
            1 => Some(CloseReason::Eof),
            2 => Some(CloseReason::Keepalive),
            3 => Some(CloseReason::Client),
            _ => Some(CloseReason::Error),
        }
    }
}

/// Registering and deregistering. Each registration gives a number that its events carry
/// ([`RawEvent::callback_id`]) and that deregisters it.
impl Connection {
    /// Domain events of one kind (`consts::domain::event_id`), of one domain or all.
    ///
    /// # Errors
    /// The daemon's.
    pub fn register_domain_event(
        &self,
        event_id: i32,
        dom: Option<&remote::NonnullDomain>,
    ) -> Result<i32, VirError> {
        use remote::procs::ConnectDomainEventCallbackRegisterAny as P;
        let args =
            remote::ConnectDomainEventCallbackRegisterAnyArgs { event_id, dom: dom.cloned() };
        Ok(self.call::<P>(&args)?.callback_id)
    }

    /// Ends a domain event registration.
    ///
    /// # Errors
    /// The daemon's.
    pub fn deregister_domain_event(&self, callback_id: i32) -> Result<(), VirError> {
        use remote::procs::ConnectDomainEventCallbackDeregisterAny as P;
        self.call::<P>(&remote::ConnectDomainEventCallbackDeregisterAnyArgs { callback_id })
    }

    /// Network events of one kind (`consts::network::event_id`).
    ///
    /// # Errors
    /// The daemon's.
    pub fn register_network_event(
        &self,
        event_id: i32,
        net: Option<&remote::NonnullNetwork>,
    ) -> Result<i32, VirError> {
        use remote::procs::ConnectNetworkEventRegisterAny as P;
        let args = remote::ConnectNetworkEventRegisterAnyArgs { event_id, net: net.cloned() };
        Ok(self.call::<P>(&args)?.callback_id)
    }

    /// Ends a network event registration.
    ///
    /// # Errors
    /// The daemon's.
    pub fn deregister_network_event(&self, callback_id: i32) -> Result<(), VirError> {
        use remote::procs::ConnectNetworkEventDeregisterAny as P;
        self.call::<P>(&remote::ConnectNetworkEventDeregisterAnyArgs { callback_id })
    }

    /// Storage pool events of one kind (`consts::pool::event_id`).
    ///
    /// # Errors
    /// The daemon's.
    pub fn register_pool_event(
        &self,
        event_id: i32,
        pool: Option<&remote::NonnullStoragePool>,
    ) -> Result<i32, VirError> {
        use remote::procs::ConnectStoragePoolEventRegisterAny as P;
        let args = remote::ConnectStoragePoolEventRegisterAnyArgs { event_id, pool: pool.cloned() };
        Ok(self.call::<P>(&args)?.callback_id)
    }

    /// Ends a storage pool event registration.
    ///
    /// # Errors
    /// The daemon's.
    pub fn deregister_pool_event(&self, callback_id: i32) -> Result<(), VirError> {
        use remote::procs::ConnectStoragePoolEventDeregisterAny as P;
        self.call::<P>(&remote::ConnectStoragePoolEventDeregisterAnyArgs { callback_id })
    }

    /// Node device events of one kind (`consts::nodedev::event_id`).
    ///
    /// # Errors
    /// The daemon's.
    pub fn register_node_device_event(
        &self,
        event_id: i32,
        dev: Option<&remote::NonnullNodeDevice>,
    ) -> Result<i32, VirError> {
        use remote::procs::ConnectNodeDeviceEventRegisterAny as P;
        let args = remote::ConnectNodeDeviceEventRegisterAnyArgs { event_id, dev: dev.cloned() };
        Ok(self.call::<P>(&args)?.callback_id)
    }

    /// Ends a node device event registration.
    ///
    /// # Errors
    /// The daemon's.
    pub fn deregister_node_device_event(&self, callback_id: i32) -> Result<(), VirError> {
        use remote::procs::ConnectNodeDeviceEventDeregisterAny as P;
        self.call::<P>(&remote::ConnectNodeDeviceEventDeregisterAnyArgs { callback_id })
    }

    /// Secret events of one kind (`consts::secret::event_id`).
    ///
    /// # Errors
    /// The daemon's.
    pub fn register_secret_event(
        &self,
        event_id: i32,
        secret: Option<&remote::NonnullSecret>,
    ) -> Result<i32, VirError> {
        use remote::procs::ConnectSecretEventRegisterAny as P;
        let args = remote::ConnectSecretEventRegisterAnyArgs { event_id, secret: secret.cloned() };
        Ok(self.call::<P>(&args)?.callback_id)
    }

    /// Ends a secret event registration.
    ///
    /// # Errors
    /// The daemon's.
    pub fn deregister_secret_event(&self, callback_id: i32) -> Result<(), VirError> {
        use remote::procs::ConnectSecretEventDeregisterAny as P;
        self.call::<P>(&remote::ConnectSecretEventDeregisterAnyArgs { callback_id })
    }

    /// QEMU monitor events, of one domain or all, by name (or by what `flags` says the name is).
    ///
    /// # Errors
    /// The daemon's.
    pub fn register_monitor_event(
        &self,
        dom: Option<&remote::NonnullDomain>,
        event: Option<&str>,
        flags: u32,
    ) -> Result<i32, VirError> {
        use qemu::procs::ConnectDomainMonitorEventRegister as P;
        let event = event.map(str::to_owned);
        let args = qemu::ConnectDomainMonitorEventRegisterArgs { dom: dom.cloned(), event, flags };
        Ok(self.call::<P>(&args)?.callback_id)
    }

    /// Ends a monitor event registration.
    ///
    /// # Errors
    /// The daemon's.
    pub fn deregister_monitor_event(&self, callback_id: i32) -> Result<(), VirError> {
        use qemu::procs::ConnectDomainMonitorEventDeregister as P;
        self.call::<P>(&qemu::ConnectDomainMonitorEventDeregisterArgs { callback_id })
    }
}
