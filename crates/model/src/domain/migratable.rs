//! The form of a definition that any other host can take.

use super::Domain;
use super::devices::controller::ControllerType;
use super::devices::input::{InputBus, InputType};
use super::devices::watchdog::{WatchdogAction, WatchdogModel};
use super::os::FirmwareKind;

/// Takes away what every host adds by itself: older ones do not know it. The domain must be a
/// configuration without running state.
pub(super) fn strip_implied(d: &mut Domain) {
    if let Some(os) = d.os.as_mut()
        && os.firmware == Some(FirmwareKind::Efi)
        && os.loader.as_ref().is_some_and(|loader| loader.path.is_some())
    {
        // The choice is made; the image that was chosen says it all.
        os.firmware = None;
        os.firmware_info = None;
    }
    let Some(dev) = d.devices.as_mut() else { return };
    let usb = dev.controllers.iter().filter(|c| c.kind == ControllerType::Usb).count();
    dev.controllers.retain(|c| {
        let first = c.index.unwrap_or(0) == 0;
        let model = c.model.as_deref();
        let root = c.kind == ControllerType::Pci && model == Some("pci-root");
        let plain_usb = c.kind == ControllerType::Usb && usb == 1 && model == Some("piix3-uhci");
        !(first && (root || plain_usb))
    });
    for disk in &mut dev.disks {
        // An empty one only says what was found at the start: that the chain ends.
        disk.backing_store = disk.backing_store.take().filter(|below| below.source.is_some());
    }
    dev.inputs.retain(|i| !(i.kind == InputType::Keyboard && i.bus == Some(InputBus::Ps2)));
    dev.watchdogs
        .retain(|w| !(w.model == WatchdogModel::Itco && w.action == WatchdogAction::Reset));
    dev.audios.retain(|a| a.kind != super::devices::audio::AudioType::None);
}
