//! Subscriptions of clients, and events on their way to the wire.

use crate::bind::payload;
use diag::{ErrorCode, VirError};
use engine::events::{
    DomainEvent, DomainRef, Event, PoolEvent, PoolRef, SecretEvent, SecretRef, Subscription,
};
use protocol::remote::{self, NonnullDomain, NonnullSecret, NonnullStoragePool, events};
use protocol::{Event as WireEvent, qemu};
use std::collections::BTreeMap;
use units::Uuid;
use xdr::Encode;

/// How many kinds of domain events there are (`VIR_DOMAIN_EVENT_ID_LAST`).
const DOMAIN_EVENT_KINDS: i32 = 28;

/// What one callback wants.
#[derive(Clone, Debug)]
enum Wanted {
    /// A kind of domain event, of one domain or of all. `legacy`: the messages without callback
    /// ids, for clients older than 1.2.
    Domain { kind: i32, only: Option<Uuid>, legacy: bool },
    /// A kind of storage pool event.
    Pool { kind: i32, only: Option<Uuid> },
    /// Raw monitor events.
    Monitor { only: Option<Uuid>, filter: MonitorFilter },
    /// A kind of secret event.
    Secret { kind: i32, only: Option<Uuid> },
    /// Kinds whose objects have no events yet (networks, node devices).
    Nothing,
}

/// Which raw monitor events a client wants.
#[derive(Clone, Debug)]
pub enum MonitorFilter {
    /// All.
    All,
    /// Those whose name a regular expression matches.
    Pattern(regex_lite::Regex),
    /// Those whose name matches.
    Name {
        /// The name.
        text: String,
        /// Letters of either case match.
        nocase: bool,
    },
}

/// One family of subscriptions; libvirt counts callback ids over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Domain events.
    Domain,
    /// Storage pool events.
    Pool,
    /// Network events.
    Network,
    /// Node device events.
    NodeDevice,
    /// Secret events.
    Secret,
    /// Raw monitor events.
    Monitor,
}

/// A client's callbacks.
#[derive(Default)]
pub struct Callbacks {
    next: i32,
    wanted: BTreeMap<i32, (Family, Wanted)>,
    /// Ends with the last callback.
    subscription: Option<Subscription>,
}

impl Callbacks {
    /// Registers for a kind of domain events and returns the callback's id.
    ///
    /// # Errors
    /// When there is no such kind.
    pub fn add_domain(
        &mut self,
        kind: i32,
        only: Option<Uuid>,
        legacy: bool,
    ) -> Result<i32, VirError> {
        if !(0..DOMAIN_EVENT_KINDS).contains(&kind) {
            return Err(VirError::internal(format!("unsupported event ID {kind}")));
        }
        Ok(self.add(Family::Domain, Wanted::Domain { kind, only, legacy }))
    }

    /// Registers for a kind of storage pool events.
    ///
    /// # Errors
    /// When there is no such kind.
    pub fn add_pool(&mut self, kind: i32, only: Option<Uuid>) -> Result<i32, VirError> {
        if !(0..2).contains(&kind) {
            return Err(VirError::internal(format!("unsupported storage pool event ID {kind}")));
        }
        Ok(self.add(Family::Pool, Wanted::Pool { kind, only }))
    }

    /// Registers for a kind of secret events.
    ///
    /// # Errors
    /// When there is no such kind.
    pub fn add_secret(&mut self, kind: i32, only: Option<Uuid>) -> Result<i32, VirError> {
        if !(0..2).contains(&kind) {
            return Err(VirError::internal(format!("unsupported secret event ID {kind}")));
        }
        Ok(self.add(Family::Secret, Wanted::Secret { kind, only }))
    }

    /// Registers for raw monitor events.
    pub fn add_monitor(&mut self, only: Option<Uuid>, filter: MonitorFilter) -> i32 {
        self.add(Family::Monitor, Wanted::Monitor { only, filter })
    }

    /// Registers for events of objects that have none yet.
    pub fn add_silent(&mut self, family: Family) -> i32 {
        self.add(family, Wanted::Nothing)
    }

    fn add(&mut self, family: Family, wanted: Wanted) -> i32 {
        let id = self.next;
        self.next = self.next.wrapping_add(1).max(0);
        self.wanted.insert(id, (family, wanted));
        id
    }

    /// Takes back the callback with this id.
    ///
    /// # Errors
    /// When the client has none.
    pub fn remove(&mut self, family: Family, id: i32) -> Result<(), VirError> {
        match self.wanted.get(&id) {
            Some((owner, _)) if *owner == family => {
                self.wanted.remove(&id);
                if self.wanted.is_empty() {
                    self.subscription = None;
                }
                Ok(())
            }
            _ => Err(VirError::new(
                ErrorCode::INVALID_ARG,
                format!("callback ID {id} is not registered"),
            )),
        }
    }

    /// Takes back the registration of an old client for a kind of domain events.
    ///
    /// # Errors
    /// When it has none.
    pub fn remove_legacy(&mut self, kind: i32) -> Result<(), VirError> {
        let found = self.wanted.iter().find_map(|(id, (_, wanted))| match wanted {
            Wanted::Domain { kind: k, legacy: true, .. } if *k == kind => Some(*id),
            _ => None,
        });
        match found {
            Some(id) => self.remove(Family::Domain, id),
            None => Err(VirError::new(
                ErrorCode::INVALID_ARG,
                format!("domain event {kind} not registered"),
            )),
        }
    }

    /// True while the bus has to be listened to but is not yet.
    pub fn needs_subscription(&self) -> bool {
        self.subscription.is_none() && !self.wanted.is_empty()
    }

    /// Keeps the subscription as long as there is a callback.
    pub fn keep(&mut self, subscription: Subscription) {
        self.subscription = Some(subscription);
    }

    /// Ends everything.
    pub fn clear(&mut self) {
        self.wanted.clear();
        self.subscription = None;
    }

    /// The messages that `event` means for this client: program, version, procedure, payload.
    pub fn messages(&self, event: &Event) -> Vec<(u32, u32, i32, Vec<u8>)> {
        let mut messages = Vec::new();
        for (id, (_, wanted)) in &self.wanted {
            let made = match (wanted, event) {
                (Wanted::Domain { kind, only, legacy }, Event::Domain(domain, event))
                    if only.is_none_or(|uuid| uuid == domain.uuid) =>
                {
                    domain_message(*id, *kind, *legacy, domain, event)
                }
                (Wanted::Pool { kind, only }, Event::Pool(pool, event))
                    if only.is_none_or(|uuid| uuid == pool.uuid) =>
                {
                    pool_message(*id, *kind, pool, *event)
                }
                (Wanted::Secret { kind, only }, Event::Secret(secret, event))
                    if only.is_none_or(|uuid| uuid == secret.uuid) =>
                {
                    secret_message(*id, *kind, secret, *event)
                }
                (
                    Wanted::Monitor { only, filter },
                    Event::Monitor { domain, name, seconds, micros, details },
                ) if only.is_none_or(|uuid| uuid == domain.uuid) && filter.admits(name) => {
                    message::<qemu::events::DomainMonitorEvent>(&qemu::DomainMonitorEventMsg {
                        callback_id: *id,
                        dom: wire_domain(domain),
                        event: name.clone(),
                        seconds: *seconds,
                        micros: *micros,
                        details: details.clone(),
                    })
                }
                _ => None,
            };
            messages.extend(made);
        }
        messages
    }
}

/// Largest pattern that is taken, in bytes of text and of what it is compiled to.
const PATTERN_MAX: usize = 64 << 10;

impl MonitorFilter {
    /// The filter of a regular expression, which may match anywhere in an event's name. Looking
    /// takes time in proportion to pattern and name, whatever the pattern.
    ///
    /// # Errors
    /// libvirt's, for what is no regular expression, or one of a kind that cannot be bounded so
    /// (back references, looking around).
    pub fn pattern(text: &str, nocase: bool) -> Result<Self, VirError> {
        regex_lite::RegexBuilder::new(text)
            .case_insensitive(nocase)
            .size_limit(PATTERN_MAX)
            .build()
            .map(Self::Pattern)
            .map_err(|why| {
                VirError::invalid_arg(format!("failed to compile regex '{text}': {why}"))
            })
    }

    fn admits(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Pattern(pattern) => pattern.is_match(name),
            Self::Name { text, nocase: false } => text == name,
            Self::Name { text, nocase: true } => text.eq_ignore_ascii_case(name),
        }
    }
}

/// A domain as the wire names it.
pub fn wire_domain(domain: &DomainRef) -> NonnullDomain {
    NonnullDomain { name: domain.name.to_string(), uuid: *domain.uuid.as_bytes(), id: domain.id }
}

fn message<E: WireEvent>(content: &E::Msg) -> Option<(u32, u32, i32, Vec<u8>)>
where
    E::Msg: Encode,
{
    match payload(content) {
        Ok(bytes) => Some((E::PROGRAM, E::VERSION, E::NUMBER, bytes)),
        Err(error) => {
            tracing::error!(event = E::NAME, ?error, "an event does not fit the protocol");
            None
        }
    }
}

/// Sends the old message, or the one with a callback id in front.
macro_rules! either {
    ($legacy:expr, $id:expr, $msg:expr, $old:ident, $new:ident, $wrap:ident $(, $reason:ident)?) => {
        if $legacy {
            message::<events::$old>(&$msg)
        } else {
            message::<events::$new>(&remote::$wrap { callback_id: $id, $($reason: 0,)? msg: $msg })
        }
    };
}

fn domain_message(
    id: i32,
    kind: i32,
    legacy: bool,
    domain: &DomainRef,
    event: &DomainEvent,
) -> Option<(u32, u32, i32, Vec<u8>)> {
    let dom = wire_domain(domain);
    match (kind, event) {
        (0, DomainEvent::Lifecycle(lifecycle)) => {
            let (event, detail) = lifecycle.wire();
            let msg = remote::DomainEventLifecycleMsg { dom, event, detail };
            either!(
                legacy,
                id,
                msg,
                DomainEventLifecycle,
                DomainEventCallbackLifecycle,
                DomainEventCallbackLifecycleMsg
            )
        }
        (1, DomainEvent::Reboot) => {
            let msg = remote::DomainEventRebootMsg { dom };
            either!(
                legacy,
                id,
                msg,
                DomainEventReboot,
                DomainEventCallbackReboot,
                DomainEventCallbackRebootMsg
            )
        }
        (2, DomainEvent::RtcChange { offset }) => {
            let msg = remote::DomainEventRtcChangeMsg { dom, offset: *offset };
            either!(
                legacy,
                id,
                msg,
                DomainEventRtcChange,
                DomainEventCallbackRtcChange,
                DomainEventCallbackRtcChangeMsg
            )
        }
        (3, DomainEvent::Watchdog { action }) => {
            let msg = remote::DomainEventWatchdogMsg { dom, action: *action };
            either!(
                legacy,
                id,
                msg,
                DomainEventWatchdog,
                DomainEventCallbackWatchdog,
                DomainEventCallbackWatchdogMsg
            )
        }
        (4, DomainEvent::IoError { source, alias, action, .. }) => {
            let msg = remote::DomainEventIoErrorMsg {
                dom,
                src_path: source.clone(),
                dev_alias: alias.clone(),
                action: *action,
            };
            either!(
                legacy,
                id,
                msg,
                DomainEventIoError,
                DomainEventCallbackIoError,
                DomainEventCallbackIoErrorMsg
            )
        }
        (5, DomainEvent::Graphics(graphics)) => {
            let msg = graphics_message(dom, graphics);
            either!(
                legacy,
                id,
                msg,
                DomainEventGraphics,
                DomainEventCallbackGraphics,
                DomainEventCallbackGraphicsMsg
            )
        }
        (6, DomainEvent::IoError { source, alias, action, reason }) => {
            let msg = remote::DomainEventIoErrorReasonMsg {
                dom,
                src_path: source.clone(),
                dev_alias: alias.clone(),
                action: *action,
                reason: reason.clone(),
            };
            either!(
                legacy,
                id,
                msg,
                DomainEventIoErrorReason,
                DomainEventCallbackIoErrorReason,
                DomainEventCallbackIoErrorReasonMsg
            )
        }
        (7, DomainEvent::ControlError) => {
            let msg = remote::DomainEventControlErrorMsg { dom };
            either!(
                legacy,
                id,
                msg,
                DomainEventControlError,
                DomainEventCallbackControlError,
                DomainEventCallbackControlErrorMsg
            )
        }
        (9, DomainEvent::DiskChange { alias, old, reason }) => {
            let msg = remote::DomainEventDiskChangeMsg {
                dom,
                old_src_path: old.clone(),
                new_src_path: None,
                dev_alias: alias.clone(),
                reason: *reason,
            };
            either!(
                legacy,
                id,
                msg,
                DomainEventDiskChange,
                DomainEventCallbackDiskChange,
                DomainEventCallbackDiskChangeMsg
            )
        }
        (10, DomainEvent::TrayChange { alias, reason }) => {
            let msg =
                remote::DomainEventTrayChangeMsg { dom, dev_alias: alias.clone(), reason: *reason };
            either!(
                legacy,
                id,
                msg,
                DomainEventTrayChange,
                DomainEventCallbackTrayChange,
                DomainEventCallbackTrayChangeMsg
            )
        }
        (11, DomainEvent::PmWakeup) => {
            let msg = remote::DomainEventPmwakeupMsg { dom };
            either!(
                legacy,
                id,
                msg,
                DomainEventPmwakeup,
                DomainEventCallbackPmwakeup,
                DomainEventCallbackPmwakeupMsg,
                reason
            )
        }
        (12, DomainEvent::PmSuspend) => {
            let msg = remote::DomainEventPmsuspendMsg { dom };
            either!(
                legacy,
                id,
                msg,
                DomainEventPmsuspend,
                DomainEventCallbackPmsuspend,
                DomainEventCallbackPmsuspendMsg,
                reason
            )
        }
        (13, DomainEvent::BalloonChange { actual_kib }) => {
            let msg = remote::DomainEventBalloonChangeMsg { dom, actual: *actual_kib };
            either!(
                legacy,
                id,
                msg,
                DomainEventBalloonChange,
                DomainEventCallbackBalloonChange,
                DomainEventCallbackBalloonChangeMsg
            )
        }
        (14, DomainEvent::PmSuspendDisk) => {
            let msg = remote::DomainEventPmsuspendDiskMsg { dom };
            either!(
                legacy,
                id,
                msg,
                DomainEventPmsuspendDisk,
                DomainEventCallbackPmsuspendDisk,
                DomainEventCallbackPmsuspendDiskMsg,
                reason
            )
        }
        (15, DomainEvent::DeviceRemoved { alias }) => {
            let msg = remote::DomainEventDeviceRemovedMsg { dom, dev_alias: alias.clone() };
            either!(
                legacy,
                id,
                msg,
                DomainEventDeviceRemoved,
                DomainEventCallbackDeviceRemoved,
                DomainEventCallbackDeviceRemovedMsg
            )
        }
        _ if legacy => None,
        (17, DomainEvent::Tunable { params }) => {
            message::<events::DomainEventCallbackTunable>(&remote::DomainEventCallbackTunableMsg {
                callback_id: id,
                dom,
                params: crate::params::to_wire(params.clone()),
            })
        }
        (8, DomainEvent::BlockJob { path, kind, status, .. }) => {
            let (path, kind) = (path.clone(), *kind);
            let msg = remote::DomainEventBlockJobMsg { dom, path, r#type: kind, status: *status };
            either!(
                legacy,
                id,
                msg,
                DomainEventBlockJob,
                DomainEventCallbackBlockJob,
                DomainEventCallbackBlockJobMsg
            )
        }
        (16, DomainEvent::BlockJob { device, kind, status, .. }) => {
            message::<events::DomainEventBlockJob2>(&remote::DomainEventBlockJob2Msg {
                callback_id: id,
                dom,
                dst: device.clone(),
                r#type: *kind,
                status: *status,
            })
        }
        (24, DomainEvent::BlockThreshold { device, path, threshold, excess }) => {
            message::<events::DomainEventBlockThreshold>(&remote::DomainEventBlockThresholdMsg {
                callback_id: id,
                dom,
                dev: device.clone(),
                path: path.clone(),
                threshold: *threshold,
                excess: *excess,
            })
        }
        (18, DomainEvent::AgentLifecycle { state, reason }) => {
            message::<events::DomainEventCallbackAgentLifecycle>(
                &remote::DomainEventCallbackAgentLifecycleMsg {
                    callback_id: id,
                    dom,
                    state: *state,
                    reason: *reason,
                },
            )
        }
        (19, DomainEvent::DeviceAdded { alias }) => {
            message::<events::DomainEventCallbackDeviceAdded>(
                &remote::DomainEventCallbackDeviceAddedMsg {
                    callback_id: id,
                    dom,
                    dev_alias: alias.clone(),
                },
            )
        }
        (22, DomainEvent::DeviceRemovalFailed { alias }) => {
            message::<events::DomainEventCallbackDeviceRemovalFailed>(
                &remote::DomainEventCallbackDeviceRemovalFailedMsg {
                    callback_id: id,
                    dom,
                    dev_alias: alias.clone(),
                },
            )
        }
        (23, DomainEvent::MetadataChange { kind, uri }) => {
            message::<events::DomainEventCallbackMetadataChange>(
                &remote::DomainEventCallbackMetadataChangeMsg {
                    callback_id: id,
                    dom,
                    r#type: *kind,
                    nsuri: uri.clone(),
                },
            )
        }
        (20, DomainEvent::MigrationIteration { iteration }) => {
            message::<events::DomainEventCallbackMigrationIteration>(
                &remote::DomainEventCallbackMigrationIterationMsg {
                    callback_id: id,
                    dom,
                    iteration: *iteration,
                },
            )
        }
        (21, DomainEvent::JobCompleted(numbers)) => {
            let params = crate::domain::save::job_params(numbers);
            message::<events::DomainEventCallbackJobCompleted>(
                &remote::DomainEventCallbackJobCompletedMsg { callback_id: id, dom, params },
            )
        }
        (26, DomainEvent::MemoryDeviceSizeChange { alias, kib }) => {
            let (callback_id, alias, size) = (id, alias.clone(), *kib);
            message::<events::DomainEventMemoryDeviceSizeChange>(
                &remote::DomainEventMemoryDeviceSizeChangeMsg { callback_id, dom, alias, size },
            )
        }
        (27, DomainEvent::NicMacChange { alias, old, new }) => {
            message::<events::DomainEventNicMacChange>(&remote::DomainEventNicMacChangeMsg {
                callback_id: id,
                dom,
                alias: alias.clone(),
                old_mac: old.to_string(),
                new_mac: new.to_string(),
            })
        }
        (25, DomainEvent::MemoryFailure { recipient, action, flags }) => {
            message::<events::DomainEventMemoryFailure>(&remote::DomainEventMemoryFailureMsg {
                callback_id: id,
                dom,
                recipient: *recipient,
                action: *action,
                flags: *flags,
            })
        }
        _ => None,
    }
}

fn graphics_message(
    dom: NonnullDomain,
    graphics: &engine::events::GraphicsEvent,
) -> remote::DomainEventGraphicsMsg {
    let address =
        |(family, node, service): &(i32, String, String)| remote::DomainEventGraphicsAddress {
            family: *family,
            node: node.clone(),
            service: service.clone(),
        };
    remote::DomainEventGraphicsMsg {
        dom,
        phase: graphics.phase,
        local: address(&graphics.local),
        remote: address(&graphics.remote),
        auth_scheme: graphics.auth_scheme.clone(),
        subject: graphics
            .subject
            .iter()
            .map(|(kind, name)| remote::DomainEventGraphicsIdentity {
                r#type: kind.clone(),
                name: name.clone(),
            })
            .collect(),
    }
}

fn pool_message(
    id: i32,
    kind: i32,
    pool: &PoolRef,
    event: PoolEvent,
) -> Option<(u32, u32, i32, Vec<u8>)> {
    let wire = NonnullStoragePool { name: pool.name.to_string(), uuid: *pool.uuid.as_bytes() };
    match (kind, event) {
        (0, PoolEvent::Lifecycle(event)) => {
            message::<events::StoragePoolEventLifecycle>(&remote::StoragePoolEventLifecycleMsg {
                callback_id: id,
                pool: wire,
                event,
                detail: 0,
            })
        }
        (1, PoolEvent::Refresh) => {
            message::<events::StoragePoolEventRefresh>(&remote::StoragePoolEventRefreshMsg {
                callback_id: id,
                pool: wire,
            })
        }
        _ => None,
    }
}

/// A secret as the wire names it.
pub fn wire_secret(secret: &SecretRef) -> NonnullSecret {
    NonnullSecret {
        uuid: *secret.uuid.as_bytes(),
        usage_type: secret.usage_type,
        usage_id: secret.usage.to_string(),
    }
}

fn secret_message(
    id: i32,
    kind: i32,
    secret: &SecretRef,
    event: SecretEvent,
) -> Option<(u32, u32, i32, Vec<u8>)> {
    let secret = wire_secret(secret);
    match (kind, event) {
        (0, SecretEvent::Lifecycle(event)) => {
            let detail = 0;
            let callback_id = id;
            let msg = remote::SecretEventLifecycleMsg { callback_id, secret, event, detail };
            message::<events::SecretEventLifecycle>(&msg)
        }
        (1, SecretEvent::ValueChanged) => {
            let msg = remote::SecretEventValueChangedMsg { callback_id: id, secret };
            message::<events::SecretEventValueChanged>(&msg)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::MonitorFilter;

    #[test]
    fn monitor_events_are_chosen_by_regular_expression() {
        let check = |text: &str, nocase: bool, name: &str, expected: bool| {
            let filter = MonitorFilter::pattern(text, nocase).expect(text);
            assert_eq!(filter.admits(name), expected, "{text} {name}");
        };
        check("^STOP$", false, "STOP", true);
        check("stop", false, "STOP", false);
        check("stop", true, "STOP", true);
        check("BLOCK_JOB_(READY|COMPLETED)", false, "BLOCK_JOB_READY", true);
        check("JOB", false, "BLOCK_JOB_READY", true);
        check("^JOB", false, "BLOCK_JOB_READY", false);
        // Quick with what drives backtracking matchers mad.
        check("^(A|A)*(A|A)*(A|A)*$", false, &format!("{}!", "A".repeat(200)), false);
        for text in ["a(", "[", "*", "\\", "(a{1000}){1000}"] {
            let error = MonitorFilter::pattern(text, false).expect_err(text);
            assert!(error.detail.starts_with("failed to compile regex '"), "{}", error.detail);
        }
    }
}
