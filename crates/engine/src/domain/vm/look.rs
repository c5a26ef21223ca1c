//! What QEMU is asked where events that would have told it were missed, or where a reset changed it.

use super::memory::is_elastic;
use super::{Message, Vm, nic};
use crate::domain::hardware::block::{alias_of, entry_of};
use crate::domain::hardware::memory::balloon;
use crate::domain::record::Domain;
use host::monitor::MonitorError;
use model::domain::Domain as Definition;
use model::domain::devices::memballoon::BalloonModel;
use qmp::{Value, cmd};
use std::sync::Arc;

/// Why QEMU is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::domain) enum Look {
    /// The guest starts or was reset: it has let go of what its drivers held.
    Fresh,
    /// Nobody listened for a while.
    Missed,
}

/// Asks, and has the guest's actor told.
pub(in crate::domain) async fn again(vm: Arc<Vm>, domain: Arc<Domain>, why: Look) {
    let Some(live) = domain.snapshot().live.clone() else { return };
    let definition = &live.definition;
    let told = |what: &'static str, asked: Result<(), MonitorError>| {
        if let Err(error) = asked {
            let name = &domain.snapshot().name;
            tracing::warn!(domain = %name, %error, "{what} is not known");
        }
    };
    if why == Look::Missed {
        told("which channels the guest holds", ports(&vm).await);
        told("how much memory the balloon leaves the guest", left(&vm, definition).await);
    }
    told("how much memory the guest took", sizes(&vm, definition).await);
    told("which drives are open", trays(&vm, definition).await);
    for alias in nic::watched(definition) {
        nic::follow(&vm, definition, &alias).await;
    }
}

async fn ports(vm: &Vm) -> Result<(), MonitorError> {
    for device in vm.monitor.execute(cmd::query_chardev()).await? {
        if let Some(alias) = device.label.strip_prefix("charchannel") {
            vm.port(&format!("channel{alias}"), device.frontend_open);
        }
    }
    Ok(())
}

async fn left(vm: &Vm, definition: &Definition) -> Result<(), MonitorError> {
    if balloon(definition).is_none_or(|balloon| balloon.model != BalloonModel::Virtio) {
        return Ok(());
    }
    let bytes = vm.monitor.execute(cmd::query_balloon()).await?.actual;
    let _ = vm.inbox.send(Message::Balloon(bytes.div_ceil(1024)));
    Ok(())
}

async fn sizes(vm: &Vm, definition: &Definition) -> Result<(), MonitorError> {
    let mut memories = definition.devices.iter().flat_map(|devices| &devices.memories);
    if !memories.any(is_elastic) {
        return Ok(());
    }
    for device in vm.monitor.execute(cmd::query_memory_devices()).await? {
        let Some(data) = device.get("data") else { continue };
        let alias = data.get("id").and_then(Value::as_str);
        let size = data.get("size").and_then(Value::as_u64);
        if let (Some(alias), Some(bytes)) = (alias, size) {
            vm.memory_is(alias, bytes.div_ceil(1024));
        }
    }
    Ok(())
}

async fn trays(vm: &Vm, definition: &Definition) -> Result<(), MonitorError> {
    let disks = definition.devices.iter().flat_map(|devices| &devices.disks);
    let drives: Vec<_> = disks.filter(|disk| disk.device.is_removable()).map(alias_of).collect();
    if drives.is_empty() {
        return Ok(());
    }
    let found = vm.monitor.execute(cmd::query_block()).await?;
    for alias in drives {
        let open = entry_of(&found, alias).and_then(|drive| drive.get("tray_open")?.as_bool());
        if let Some(open) = open {
            let _ = vm.inbox.send(Message::Tray { alias: alias.to_owned(), open });
        }
    }
    Ok(())
}
