//! After a restart of the daemon: what does QEMU really have? What a daemon that was killed left
//! half done is finished or taken back, and only then is anything given back on the host.

use super::inventory::Inventory;
use super::release::close_nodes;
use super::removal::remove_fdset;
use crate::domain::affect::acquire;
use crate::domain::job::Admission;
use crate::domain::record::Domain;
use crate::domain::vm::Vm;
use crate::engine::Engine;
use diag::VirError;
use host::monitor::MonitorError;
use lifecycle::Request;
use model::domain::Domain as Definition;
use model::domain::address::Address;
use model::domain::devices::chardev::{CharTarget, CharTargetType};
use model::domain::devices::input::InputType;
use model::domain::hotplug::{Device, DeviceKind, Place, support};
use std::sync::Arc;
use std::time::Duration;

/// How long it takes until QEMU is asked once more when it did not answer, or keeps something.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest of those pauses.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How often what belongs to nobody is told to go, when QEMU keeps it.
const ATTEMPTS: u32 = 8;

impl Engine {
    /// Compares the devices of a guest that was taken over, and what stands behind them, with its
    /// definition; called before anybody else can have its job. Finishes or takes back a change
    /// under way, takes out of the definition devices that left or never came, and out of QEMU what
    /// belongs to none.
    pub(in crate::domain) fn check_devices(self: &Arc<Self>, domain: &Arc<Domain>, vm: Arc<Vm>) {
        let client: Arc<str> = Arc::from("daemon");
        let job = domain.gate.try_acquire(Request::ModifyLive, "check-devices", &client);
        let mut job: Option<Admission> = job.ok().flatten();
        let (engine, domain) = (Arc::clone(self), Arc::clone(domain));
        self.runtime().spawn(async move {
            let (mut pause, mut kept) = (PAUSE, 0);
            loop {
                if job.is_none() {
                    // Saving it goes on, or somebody was quicker: it is the next one's turn then.
                    job =
                        acquire(&domain, Request::ModifyLive, "check-devices", &client).await.ok();
                }
                let ours = |now: Arc<Vm>| Arc::ptr_eq(&now, &vm);
                if !domain.vm().is_some_and(ours) || vm.monitor.is_closed() {
                    return;
                }
                if job.is_some() {
                    match engine.compare(&domain, &vm).await {
                        Ok(true) => return,
                        Ok(false) => kept += 1,
                        Err(error) => {
                            let name = &domain.snapshot().name;
                            tracing::warn!(domain = %name, error = %error.message(),
                                "its devices are not compared yet");
                        }
                    }
                    if kept == ATTEMPTS {
                        return;
                    }
                }
                job = None;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        });
    }

    /// One comparison; tells whether nothing is left to be done.
    async fn compare(
        self: &Arc<Self>,
        domain: &Arc<Domain>,
        vm: &Arc<Vm>,
    ) -> Result<bool, VirError> {
        if let Some(note) = vm.pending().await.limits {
            self.settle_limits(domain, vm, note).await;
        }
        if let Some(note) = vm.pending().await.update {
            self.finish_update(domain, vm, note).await?;
        }
        self.settle_jobs(domain, vm).await?;
        let asked = |error: MonitorError| crate::domain::power::monitor_error(&error);
        let mut found = Inventory::of(vm).await.map_err(asked)?;
        let name = Arc::clone(&domain.snapshot().name);
        let Some(live) = domain.snapshot().live.clone() else { return Ok(true) };
        let lost = missing(&live.definition, &found);
        for alias in &lost {
            tracing::info!(domain = %name, alias, "the guest lost a device");
            if let Err(error) = self.remove_by_name(domain, alias).await {
                tracing::warn!(alias, error = %error.message(), "left half removed");
            }
        }
        // What QEMU keeps for a moment longer is given back in the background.
        let holds = !vm.pending().await.held.is_empty();
        if holds && !self.release(domain).await? {
            self.release_later(domain);
        }
        if holds || !lost.is_empty() {
            found = Inventory::of(vm).await.map_err(asked)?;
        }
        let Some(live) = domain.snapshot().live.clone() else { return Ok(true) };
        let held: Vec<_> =
            vm.pending().await.held.into_iter().flat_map(|held| held.nodes).collect();
        let mut strays = found.strays(&live.definition);
        strays.nodes.retain(|node| !held.contains(node));
        if !(strays.nodes.is_empty() && strays.commands.is_empty() && strays.fdsets.is_empty()) {
            tracing::info!(domain = %name, ?strays, "belongs to no device and goes");
        }
        super::converse::take_back(vm, &strays.commands.iter().collect::<Vec<_>>()).await;
        for set in strays.fdsets {
            remove_fdset(vm, set).await;
        }
        self.compare_tuning(domain).await?;
        Ok(strays.nodes.is_empty() || close_nodes(vm, &strays.nodes).await.is_empty())
    }
}

/// The names of devices of the definition that QEMU does not have.
fn missing(definition: &Definition, found: &Inventory) -> Vec<String> {
    let there = |(alias, part): &(String, Part)| match part {
        Part::Device => found.devices.contains(alias),
        Part::Object => found.objects.contains(alias),
        Part::Netdev => found.netdevs.contains(alias),
    };
    pluggable(definition).into_iter().filter(|each| !there(each)).map(|(alias, _)| alias).collect()
}

/// What a device is for QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Device,
    Object,
    Netdev,
}

/// The names of devices that QEMU has under names of their own, and that can leave.
fn pluggable(definition: &Definition) -> Vec<(String, Part)> {
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
        let part = match &device {
            Device::Input(input) if input.kind == InputType::Evdev => Part::Object,
            Device::Channel(channel) if forwards(channel.target.as_ref()) => Part::Netdev,
            _ if info.address.is_none() => return,
            _ => Part::Device,
        };
        if may_go {
            names.extend(info.alias.as_ref().map(|alias| (alias.name.clone(), part)));
        }
    });
    names
}

/// A channel into QEMU's own network.
fn forwards(target: Option<&CharTarget>) -> bool {
    target.and_then(|target| target.kind) == Some(CharTargetType::Guestfwd)
}
