//! The form of a definition that any other host can take.

use super::Domain;
use super::defaults::Machine;
use super::devices::chardev::CharTargetType;
use super::devices::controller::{Controller, ControllerType};
use super::devices::input::{InputBus, InputType};
use super::devices::panic::PanicModel;
use super::devices::watchdog::{WatchdogAction, WatchdogModel};
use super::live::USER_ALIAS_PREFIX;
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
    let x86 = Machine::of(d).is_x86();
    let Some(dev) = d.devices.as_mut() else { return };
    let lone = |kind| dev.controllers.iter().filter(|c| c.kind == kind).count() == 1;
    let (usb, pci) = (lone(ControllerType::Usb), lone(ControllerType::Pci));
    dev.controllers.retain(|c| {
        let named = c.alias.as_ref().is_some_and(|a| a.name.starts_with(USER_ALIAS_PREFIX));
        let implied = c.index.unwrap_or(0) == 0 && !named;
        let model = c.model.as_deref();
        let plain_usb = c.kind == ControllerType::Usb && usb && x86 && model == Some("piix3-uhci");
        !(implied && (is_pci_root(c) && pci && c.pcihole64.is_none() || plain_usb))
    });
    // The models of these are the only ones there are.
    for c in dev.controllers.iter_mut().filter(|c| is_pci_root(c)) {
        c.pci_model = None;
    }
    for serial in &mut dev.serials {
        let Some(target) = &mut serial.target else { continue };
        if matches!(
            target.kind,
            Some(CharTargetType::SpaprVioSerial | CharTargetType::SystemSerial)
        ) {
            target.kind = None;
            target.model = None;
        }
    }
    dev.panics.retain(|p| !matches!(p.model, Some(PanicModel::S390 | PanicModel::Pseries)));
    for disk in &mut dev.disks {
        if let Some(driver) = disk.driver.as_mut().filter(|_| disk.source.is_none()) {
            driver.kind.get_or_insert_with(|| "raw".to_owned());
        }
        // An empty one only says what was found at the start: that the chain ends.
        disk.backing_store = disk.backing_store.take().filter(|below| below.source.is_some());
    }
    dev.inputs.retain(|i| !(i.kind == InputType::Keyboard && i.bus == Some(InputBus::Ps2)));
    dev.watchdogs
        .retain(|w| !(w.model == WatchdogModel::Itco && w.action == WatchdogAction::Reset));
    dev.audios.retain(|a| a.kind != super::devices::audio::AudioType::None);
}

fn is_pci_root(c: &Controller) -> bool {
    c.kind == ControllerType::Pci && c.model.as_deref() == Some("pci-root")
}

#[cfg(test)]
mod tests {
    use crate::domain::{FormatFlags, ParseOptions, format, parse};

    #[test]
    fn what_every_host_adds_is_left_out() {
        let usb = "<controller type='usb' index='0' model='piix3-uhci'/>";
        let root = "<controller type='pci' index='0' model='pci-root'/>";
        let bridge = "<controller type='pci' index='1' model='pci-bridge'/>";
        let alias = "<alias name='ua-x'/>";
        let named = |device: &str| device.replace("/>", &format!(">{alias}</controller>"));
        for (arch, devices, expected) in [
            ("x86_64", format!("{usb}{root}"), String::new()),
            ("x86_64", named(usb), named(usb)),
            ("x86_64", named(root), named(root)),
            ("x86_64", format!("{root}{bridge}"), format!("{root}{bridge}")),
            ("ppc", format!("{usb}{root}"), usb.to_owned()),
            (
                "ppc64",
                root.replace("/>", "><model name='spapr-pci-host-bridge'/></controller>") + bridge,
                format!("{root}{bridge}"),
            ),
            (
                "ppc64",
                "<serial type='pty'><target type='spapr-vio-serial' port='0'><model \
                 name='spapr-vty'/></target></serial><panic model='pseries'/>"
                    .to_owned(),
                "<serial type='pty'><target port='0'/></serial>".to_owned(),
            ),
            ("s390x", "<panic model='s390'/>".to_owned(), String::new()),
            ("x86_64", "<panic model='isa'/>".to_owned(), "<panic model='isa'/>".to_owned()),
        ] {
            let text = format!(
                "<domain type='qemu'><name>a</name><memory>1</memory><os><type arch='{arch}' \
                 machine='pc'>hvm</type></os><devices>{devices}</devices></domain>"
            );
            let domain = parse(&text, ParseOptions::default()).domain.expect("a domain");
            let flags = FormatFlags { migratable: true, ..FormatFlags::default() };
            let written: String = format(&domain, flags).lines().map(str::trim_start).collect();
            let devices = written.split_once("<devices>").and_then(|(_, d)| d.split_once("</dev"));
            assert_eq!(devices.map_or("", |(d, _)| d), expected, "{arch} {text}");
        }
    }
}
