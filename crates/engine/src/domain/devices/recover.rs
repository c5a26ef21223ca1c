//! After a restart of the daemon: which devices does QEMU really have?

use crate::domain::affect::acquire;
use crate::domain::record::Domain;
use crate::engine::Engine;
use lifecycle::Request;
use model::domain::Domain as Definition;
use model::domain::address::Address;
use model::domain::hotplug::{DeviceKind, Place, support};
use std::sync::Arc;

impl Engine {
    /// Asks QEMU which devices it has, and takes out of the definition those that left or never
    /// came while no daemon listened.
    pub(in crate::domain) fn check_devices(self: &Arc<Self>, domain: &Arc<Domain>) {
        let (engine, domain) = (Arc::clone(self), Arc::clone(domain));
        self.runtime().spawn(async move {
            let client: Arc<str> = Arc::from("daemon");
            let Ok(_job) = acquire(&domain, Request::ModifyLive, "check-devices", &client).await
            else {
                return;
            };
            let Some(vm) = domain.vm() else { return };
            let Some(live) = domain.snapshot().live.clone() else { return };
            let Ok(there) = vm.monitor.execute(qmp::cmd::qom_list("/machine/peripheral")).await
            else {
                return;
            };
            for alias in pluggable(&live.definition) {
                if there.iter().any(|property| property.name == alias) {
                    continue;
                }
                tracing::info!(domain = %domain.snapshot().name, alias, "the guest lost a device");
                if let Err(error) = engine.remove_by_name(&domain, &alias).await {
                    tracing::warn!(alias, error = %error.message(), "left half removed");
                }
            }
        });
    }
}

/// The names of devices that QEMU has under names of their own, and that can leave.
fn pluggable(definition: &Definition) -> Vec<String> {
    let mut names = Vec::new();
    model::domain::walk::look_at_each(definition, &mut |info| {
        let Some(kind) = DeviceKind::of_element(info.element) else { return };
        let place = Place { kind, index: info.index };
        let device = definition.devices.as_ref().and_then(|devices| place.get(devices));
        let Some(device) = device else { return };
        // Some are parts of the board, whatever they are called.
        let may_go = support::can_unplug(definition, &device).is_ok() && {
            match kind {
                DeviceKind::Serial | DeviceKind::Parallel | DeviceKind::Watchdog => {
                    matches!(info.address, Some(Address::Pci(_) | Address::Usb(_)))
                }
                DeviceKind::Console => matches!(info.address, Some(Address::VirtioSerial(_))),
                _ => true,
            }
        };
        let evdev = matches!(&device, model::domain::hotplug::Device::Input(input)
            if input.kind == model::domain::devices::input::InputType::Evdev);
        let forward = info.address.is_none();
        if may_go && !evdev && !forward {
            names.extend(info.alias.as_ref().map(|alias| alias.name.clone()));
        }
    });
    names
}
