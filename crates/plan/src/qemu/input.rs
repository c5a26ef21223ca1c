//! Keyboards, mice, tablets.

use super::build::{Build, Props};
use crate::step::Access;
use model::domain::devices::disk::DiskModel;
use model::domain::devices::input::*;

impl Build<'_> {
    /// All input devices that are not part of the board.
    pub(super) fn inputs(&mut self) {
        for input in self.each("devices/input", &self.dev.inputs) {
            self.input(input);
        }
    }

    fn input(&mut self, input: &Input) {
        if input.kind == InputType::Evdev {
            return self.evdev(input);
        }
        let bus = input.bus.unwrap_or_default();
        if bus == InputBus::Ps2 {
            return;
        }
        let id = self.alias(&input.alias, "<input>");
        let place = self.place(&input.address, "<input>");
        let props = match bus {
            InputBus::Usb => {
                let driver = match input.kind {
                    InputType::Mouse => "usb-mouse",
                    InputType::Tablet => "usb-tablet",
                    InputType::Keyboard => {
                        self.need("usb-kbd", "<input type='keyboard' bus='usb'>");
                        "usb-kbd"
                    }
                    other => {
                        let kind = format!("{other:?}").to_lowercase();
                        self.fail(
                            "qemu.input",
                            format!("<input type='{kind}' bus='usb'> is not supported"),
                        );
                        return;
                    }
                };
                Props::device(driver).set("id", id)
            }
            InputBus::Virtio => {
                let (base, flag) = match input.kind {
                    InputType::Mouse => ("virtio-mouse", "virtio-mouse"),
                    InputType::Tablet => ("virtio-tablet", "virtio-tablet"),
                    InputType::Keyboard => ("virtio-keyboard", "virtio-keyboard"),
                    _ => ("virtio-input-host", "virtio-input-host"),
                };
                self.need(flag, "<input bus='virtio'>");
                let special = input.model.is_some_and(|model| model != DiskModel::Virtio);
                if special && input.kind != InputType::Passthrough {
                    let kind = match input.kind {
                        InputType::Mouse => "mouse",
                        InputType::Tablet => "tablet",
                        _ => "keyboard",
                    };
                    let message = format!(
                        "virtio (non-)transitional models are not supported for input type={kind}"
                    );
                    self.fail("qemu.input", message);
                }
                let name = self.virtio_name(base, &input.address, input.model);
                let evdev = input.source.as_ref().and_then(|source| source.evdev.clone());
                if let Some(path) = &evdev {
                    self.grant(path, Access::ReadWrite, false, "<input>");
                }
                Props::device(&name)
                    .extend(Self::virtio_options(input.driver.as_ref()))
                    .set("id", id)
                    .opt("evdev", evdev)
            }
            other => {
                let bus = format!("{other:?}").to_lowercase();
                self.fail("qemu.input", format!("<input bus='{bus}'> is not supported by QEMU"));
                return;
            }
        };
        self.device(props.extend(place));
    }

    /// A host input device whose events go to the guest.
    fn evdev(&mut self, input: &Input) {
        let id = self.alias(&input.alias, "<input>");
        let source = input.source.clone().unwrap_or_default();
        let path = source.dev.unwrap_or_default();
        self.grant(&path, Access::ReadWrite, false, "<input type='evdev'>");
        let toggle = source.grab_toggle.map(|toggle| match toggle {
            EvdevToggle::CtrlCtrl => "ctrl-ctrl",
            EvdevToggle::AltAlt => "alt-alt",
            EvdevToggle::ShiftShift => "shift-shift",
            EvdevToggle::MetaMeta => "meta-meta",
            EvdevToggle::Scrolllock => "scrolllock",
            EvdevToggle::CtrlScrolllock => "ctrl-scrolllock",
        });
        let props = Props::object("input-linux", &id)
            .set("evdev", path)
            .on_off("repeat", source.repeat)
            .opt("grab_all", source.grab.map(|_| true))
            .opt("grab-toggle", toggle);
        self.object(props);
    }
}
