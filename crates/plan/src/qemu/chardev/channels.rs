//! Channels and consoles of the guest.

use super::super::build::{Build, Props};
use super::super::words::Address;
use model::domain::devices::chardev::*;
use model::domain::devices::controller::ControllerType;
use serde_json::json;

impl Build<'_> {
    /// Channels.
    pub(in crate::qemu) fn channels(&mut self) {
        for channel in self.each("devices/channel", &self.dev.channels) {
            let alias = self.alias(&channel.alias, "<channel>");
            let target = channel.target.clone().unwrap_or_default();
            let chardev = self.chardev(&channel.source, &alias, "<channel>");
            match target.kind {
                Some(CharTargetType::Guestfwd) => {
                    let address = target.address.as_deref().unwrap_or_default();
                    let port = target.port.unwrap_or_default().0;
                    let text = format!("tcp:{address}:{port}-chardev:{chardev}");
                    let props = Props::default()
                        .set("type", "user")
                        .set("guestfwd", json!([{"str": text}]))
                        .set("id", alias);
                    self.netdev(props);
                }
                Some(CharTargetType::Virtio) => {
                    self.virtio_port("virtserialport", channel, &alias, chardev, &target);
                }
                other => {
                    let kind = other.map_or("", |kind| kind.as_str());
                    self.fail(
                        "qemu.channel",
                        format!("channel target type '{kind}' is not supported by QEMU"),
                    );
                }
            }
        }
    }

    /// Consoles other than the one that mirrors the first serial port.
    pub(in crate::qemu) fn consoles(&mut self) {
        for console in self.each("devices/console", &self.dev.consoles) {
            let target = console.target.clone().unwrap_or_default();
            match target.kind {
                Some(CharTargetType::Virtio) => {
                    let alias = self.alias(&console.alias, "<console>");
                    let chardev = self.chardev(&console.source, &alias, "<console>");
                    self.virtio_port("virtconsole", console, &alias, chardev, &target);
                }
                None | Some(CharTargetType::Serial) => {}
                Some(CharTargetType::Sclp | CharTargetType::Sclplm) => {
                    let driver = if target.kind == Some(CharTargetType::Sclp) {
                        "sclpconsole"
                    } else {
                        "sclplmconsole"
                    };
                    let alias = self.alias(&console.alias, "<console>");
                    let chardev = self.chardev(&console.source, &alias, "<console>");
                    self.device(Props::device(driver).set("chardev", chardev).set("id", alias));
                }
                Some(other) => {
                    self.fail(
                        "qemu.console",
                        format!("<console> target type {other:?} is not supported"),
                    );
                }
            }
        }
    }

    fn virtio_port(
        &mut self,
        driver: &str,
        device: &Serial,
        alias: &str,
        chardev: String,
        target: &CharTarget,
    ) {
        let mut props = Props::device(driver);
        if let Some(Address::VirtioSerial(place)) = &device.address {
            let bus = match self.controller(ControllerType::VirtioSerial, place.controller) {
                Some(name) => format!("{name}.{}", place.bus),
                None => format!("virtio-serial{}.{}", place.controller, place.bus),
            };
            props = props.set("bus", bus).opt("nr", place.port);
        } else if device.address.is_some() {
            props = props.extend(self.place(&device.address, "<channel>"));
        }
        props = props.set("chardev", chardev).set("id", alias);
        if driver == "virtserialport" {
            let spice = device.source.kind == CharType::Spicevmc;
            let name = target.name.clone().or(spice.then(|| "com.redhat.spice.0".into()));
            props = props.opt("name", name);
        }
        self.device(props);
    }
}
