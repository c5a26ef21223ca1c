//! What an event of QEMU's monitor means: translated for the lifecycle table and for subscribers.

use crate::events::{DomainEvent, GraphicsEvent};
use lifecycle::{GuestEvent, PausedReason, RunningReason};
use qmp::{EventKind, ResetReason, Value};

/// What was announced about the stop or continue that is under way.
#[derive(Clone, Copy, Debug, Default)]
pub struct Intent {
    /// Why the virtual CPUs are about to stop.
    pub pause: Option<PausedReason>,
    /// Why the virtual CPUs are about to run.
    pub run: Option<RunningReason>,
    /// The next power-off stands for a reboot.
    pub fake_reboot: bool,
}

/// What to do about one event of the monitor.
#[derive(Debug, Default)]
pub struct Meaning {
    /// For the lifecycle table.
    pub lifecycle: Option<GuestEvent>,
    /// For subscribers, before the lifecycle's own events.
    pub tell: Vec<DomainEvent>,
}

/// Translates an event. `intent` is consumed by the event it was announced for.
pub fn meaning(kind: EventKind, intent: &mut Intent) -> Meaning {
    let lifecycle = |event| Meaning { lifecycle: Some(event), tell: Vec::new() };
    let tell = |event| Meaning { lifecycle: None, tell: vec![event] };
    match kind {
        EventKind::Stop => {
            lifecycle(GuestEvent::Stopped(intent.pause.take().unwrap_or(PausedReason::Unknown)))
        }
        EventKind::Resume => {
            lifecycle(GuestEvent::Resumed(intent.run.take().unwrap_or(RunningReason::Unpaused)))
        }
        EventKind::Shutdown { guest, reason } => {
            let by_guest = origin(guest, &reason);
            // A QEMU that was told to end does so, whatever the guest was asked before.
            let fake_reboot = std::mem::take(&mut intent.fake_reboot) && by_guest != Some(false);
            lifecycle(GuestEvent::Shutdown { by_guest, fake_reboot })
        }
        EventKind::Reset { guest, reason } => {
            lifecycle(GuestEvent::Reset { by_guest: origin(guest, &reason) })
        }
        EventKind::GuestPanicked { .. } => lifecycle(GuestEvent::Panicked),
        EventKind::GuestCrashloaded { .. } => lifecycle(GuestEvent::Crashloaded),
        EventKind::Suspend => Meaning {
            lifecycle: Some(GuestEvent::SuspendedToMemory),
            tell: vec![DomainEvent::PmSuspend],
        },
        EventKind::SuspendDisk => Meaning {
            lifecycle: Some(GuestEvent::SuspendedToDisk),
            tell: vec![DomainEvent::PmSuspendDisk],
        },
        EventKind::Wakeup => {
            Meaning { lifecycle: Some(GuestEvent::Wakeup), tell: vec![DomainEvent::PmWakeup] }
        }
        EventKind::RtcChange { offset } => tell(DomainEvent::RtcChange { offset }),
        EventKind::Watchdog { action } => {
            if action == "pause" {
                intent.pause = Some(PausedReason::Watchdog);
            }
            tell(DomainEvent::Watchdog { action: watchdog_action(&action) })
        }
        EventKind::BlockIoError {
            device, node_name, qom_path, action, nospace, reason, ..
        } => {
            if action == "stop" {
                intent.pause = Some(PausedReason::IoError);
            }
            let named = node_name.or(Some(device)).filter(|name| !name.is_empty());
            let reason = match (nospace, reason.is_empty()) {
                (true, _) => "enospc",
                (false, false) => "message",
                (false, true) => "",
            };
            // The actor finds the disk by the node's name, for older QEMUs by the drive's.
            tell(DomainEvent::IoError {
                source: String::new(),
                alias: named.or(qom_path).unwrap_or_default(),
                action: io_error_action(&action),
                reason: reason.to_owned(),
            })
        }
        EventKind::DeviceTrayMoved { id, device, tray_open } => tell(DomainEvent::TrayChange {
            alias: if id.is_empty() { device } else { id },
            reason: i32::from(!tray_open),
        }),
        EventKind::BalloonChange { actual } => {
            tell(DomainEvent::BalloonChange { actual_kib: actual.div_ceil(1024) })
        }
        EventKind::DeviceDeleted { device: Some(alias), .. } => {
            tell(DomainEvent::DeviceRemoved { alias })
        }
        EventKind::DeviceUnplugGuestError { device: Some(alias), .. } => {
            tell(DomainEvent::DeviceRemovalFailed { alias })
        }
        EventKind::MemoryDeviceSizeChange { id: Some(alias), size, .. } => {
            tell(DomainEvent::MemoryDeviceSizeChange { alias, kib: size.div_ceil(1024) })
        }
        EventKind::MigrationPass { pass } => tell(DomainEvent::MigrationIteration {
            iteration: i32::try_from(pass).unwrap_or(i32::MAX),
        }),
        EventKind::MemoryFailure { recipient, action, action_required, recursive } => {
            let recipient = ["hypervisor", "guest"].iter().position(|name| *name == recipient);
            let actions = ["ignore", "inject", "fatal", "reset"];
            let action = actions.iter().position(|name| *name == action);
            let (Some(recipient), Some(action)) = (recipient, action) else {
                return Meaning::default();
            };
            tell(DomainEvent::MemoryFailure {
                recipient: i32::try_from(recipient).unwrap_or_default(),
                action: i32::try_from(action).unwrap_or_default(),
                flags: u32::from(action_required) | (u32::from(recursive) << 1),
            })
        }
        EventKind::AcpiDeviceOst { device: Some(alias), slot_type, source, status }
            if slot_type == "DIMM" && is_refusal(source, status) =>
        {
            tell(DomainEvent::DeviceRemovalFailed { alias })
        }
        EventKind::Graphics { phase, server, client, .. } => {
            let phase = match phase {
                qmp::GraphicsPhase::Connected => 0,
                qmp::GraphicsPhase::Initialized => 1,
                qmp::GraphicsPhase::Disconnected => 2,
            };
            tell(DomainEvent::Graphics(Box::new(graphics(phase, &server, &client))))
        }
        _ => Meaning::default(),
    }
}

/// Whether the guest's ACPI says that it does not give a device up (ACPI 6.5, 6.3.5: ejection asked
/// for by the host or by the guest itself, and the codes of failures that are final).
fn is_refusal(source: i64, status: i64) -> bool {
    matches!(source, 3 | 0x103) && matches!(status, 1 | 0x80..=0x83)
}

/// Who powered off or reset: the reason tells more than the flag.
fn origin(guest: bool, reason: &ResetReason) -> Option<bool> {
    match reason {
        ResetReason::GuestShutdown | ResetReason::GuestReset | ResetReason::GuestPanic => {
            Some(true)
        }
        ResetReason::HostError
        | ResetReason::HostQmpQuit
        | ResetReason::HostQmpSystemReset
        | ResetReason::HostSignal
        | ResetReason::HostUi => Some(false),
        _ => Some(guest),
    }
}

/// `virDomainEventWatchdogAction`.
fn watchdog_action(name: &str) -> i32 {
    match name {
        "pause" => 1,
        "reset" => 2,
        "poweroff" => 3,
        "shutdown" => 4,
        "debug" => 5,
        "inject-nmi" => 6,
        _ => 0,
    }
}

/// `virDomainEventIOErrorAction`.
fn io_error_action(name: &str) -> i32 {
    match name {
        "stop" => 1,
        "report" => 2,
        _ => 0,
    }
}

fn graphics(phase: i32, server: &Value, client: &Value) -> GraphicsEvent {
    let text = |value: &Value, name: &str| {
        value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let address = |value: &Value| {
        let family = match text(value, "family").as_str() {
            "ipv6" => 1,
            "unix" => 2,
            _ => 0,
        };
        // VNC calls the port a service.
        let service = value.get("service").and(Some("service")).unwrap_or("port");
        (family, text(value, "host"), text(value, service))
    };
    let mut subject = Vec::new();
    for (name, kind) in [("x509_dname", "x509dname"), ("sasl_username", "saslUsername")] {
        let value = text(client, name);
        if !value.is_empty() {
            subject.push((kind.to_owned(), value));
        }
    }
    GraphicsEvent {
        phase,
        local: address(server),
        remote: address(client),
        auth_scheme: text(server, "auth"),
        subject,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_pause_keeps_its_reason_and_is_used_once() {
        let mut intent = Intent { pause: Some(PausedReason::User), ..Intent::default() };
        let first = meaning(EventKind::Stop, &mut intent).lifecycle;
        assert_eq!(first, Some(GuestEvent::Stopped(PausedReason::User)));
        let second = meaning(EventKind::Stop, &mut intent).lifecycle;
        assert_eq!(second, Some(GuestEvent::Stopped(PausedReason::Unknown)));
    }

    #[test]
    fn a_watchdog_that_pauses_explains_the_stop_that_follows() {
        let mut intent = Intent::default();
        let watchdog = EventKind::Watchdog { action: "pause".into() };
        assert_eq!(meaning(watchdog, &mut intent).tell, vec![DomainEvent::Watchdog { action: 1 }]);
        assert_eq!(
            meaning(EventKind::Stop, &mut intent).lifecycle,
            Some(GuestEvent::Stopped(PausedReason::Watchdog))
        );
    }

    #[test]
    fn a_refused_ejection_is_told_and_other_reports_are_not() {
        for (slot_type, source, status, told) in [
            ("DIMM", 3, 1, true),
            ("DIMM", 0x103, 0x80, true),
            ("DIMM", 3, 0x83, true),
            ("DIMM", 3, 0, false),
            ("DIMM", 3, 0x84, false),
            ("DIMM", 1, 1, false),
            ("CPU", 3, 1, false),
        ] {
            let kind = EventKind::AcpiDeviceOst {
                device: Some("dimm0".into()),
                slot_type: slot_type.into(),
                source,
                status,
            };
            let found = meaning(kind, &mut Intent::default()).tell;
            let failed = DomainEvent::DeviceRemovalFailed { alias: "dimm0".into() };
            let expected = if told { vec![failed] } else { Vec::new() };
            assert_eq!(found, expected, "{slot_type} {source} {status}");
        }
    }

    #[test]
    fn why_a_request_to_an_image_failed() {
        for (nospace, reason, expected) in
            [(true, "No space left", "enospc"), (false, "I/O", "message"), (false, "", "")]
        {
            let kind = EventKind::BlockIoError {
                device: String::new(),
                node_name: None,
                qom_path: Some("/machine/peripheral/virtio-disk0/virtio-backend".into()),
                operation: "read".into(),
                action: "report".into(),
                nospace,
                reason: reason.into(),
            };
            match &meaning(kind, &mut Intent::default()).tell[..] {
                [DomainEvent::IoError { reason, .. }] => assert_eq!(reason, expected),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_client_of_either_protocol_comes_from_a_port() {
        let client = |name: &str| {
            qmp::Value::from_iter([
                ("family".to_owned(), Value::from("ipv6")),
                ("host".to_owned(), Value::from("::1")),
                (name.to_owned(), Value::from("40000")),
            ])
        };
        for name in ["service", "port"] {
            let told = graphics(0, &Value::Null, &client(name));
            assert_eq!(told.remote, (1, "::1".to_owned(), "40000".to_owned()), "{name}");
        }
    }

    #[test]
    fn a_signal_from_outside_is_the_hosts_doing_even_while_a_reboot_is_awaited() {
        let off = EventKind::Shutdown { guest: false, reason: ResetReason::HostSignal };
        let mut intent = Intent { fake_reboot: true, ..Intent::default() };
        assert_eq!(
            meaning(off, &mut intent).lifecycle,
            Some(GuestEvent::Shutdown { by_guest: Some(false), fake_reboot: false })
        );
    }
}
