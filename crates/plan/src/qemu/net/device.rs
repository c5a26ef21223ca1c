//! The guest's side of an interface.

use super::super::build::{Build, Props, Switch};
use super::super::words::{Address, YesNo};
use model::domain::alias::Rom;
use model::domain::devices::disk::DiskModel;
use model::domain::devices::interface::*;

impl Build<'_> {
    /// The guest's side.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn device_net(
        &mut self,
        nic: &Interface,
        driver: &InterfaceDriver,
        virtio: bool,
        queues: Option<u32>,
        netdev: String,
        alias: &str,
        boot: Option<u32>,
        element: &str,
    ) {
        let model = nic.model.as_ref().map_or("rtl8139", |model| model.kind.as_str());
        let flavour = match model {
            "virtio-transitional" => Some(DiskModel::VirtioTransitional),
            "virtio-non-transitional" => Some(DiskModel::VirtioNonTransitional),
            _ => None,
        };
        let name = if virtio {
            self.virtio_name("virtio-net", &nic.address, flavour)
        } else {
            model.to_string()
        };
        let arm = matches!(self.arch.as_str(), "armv6l" | "armv7l" | "aarch64");
        let on_bus = matches!(nic.address, Some(Address::Pci(_) | Address::VirtioMmio(_)));
        if arm && !on_bus {
            // A controller on the board, which only QEMU's older option reaches.
            let mac = nic.mac.as_ref().map_or(String::new(), |mac| mac.address.to_string());
            self.opt("-net", &format!("nic,macaddr={mac},netdev={netdev},model={name},id={alias}"));
            return;
        }
        let mut props = Props::device(&name);
        if virtio {
            props = props.opt(
                "tx",
                driver.txmode.map(|mode| match mode {
                    TxMode::Iothread => "bh",
                    TxMode::Timer => "timer",
                }),
            );
            props =
                props.on_off("ioeventfd", driver.ioeventfd).on_off("event_idx", driver.event_idx);
            if let Some(host) = &driver.host {
                props = props
                    .on_off("csum", host.csum)
                    .on_off("gso", host.gso)
                    .on_off("host_tso4", host.tso4)
                    .on_off("host_tso6", host.tso6)
                    .on_off("host_ecn", host.ecn)
                    .on_off("host_ufo", host.ufo)
                    .on_off("mrg_rxbuf", host.mrg_rxbuf);
            }
            if let Some(guest) = &driver.guest {
                props = props
                    .on_off("guest_csum", guest.csum)
                    .on_off("guest_tso4", guest.tso4)
                    .on_off("guest_tso6", guest.tso6)
                    .on_off("guest_ecn", guest.ecn)
                    .on_off("guest_ufo", guest.ufo);
            }
            if let Some(queues) = queues {
                props = props.set("mq", true);
                if !matches!(nic.address, Some(Address::Ccw(_))) {
                    props = props.set("vectors", 2 * queues + 2);
                }
            }
            props = props.on_off("rss", driver.rss).on_off("hash", driver.rss_hash_report);
            props = props
                .opt("rx_queue_size", driver.rx_queue_size)
                .opt("tx_queue_size", driver.tx_queue_size)
                .opt("host_mtu", nic.mtu.as_ref().and_then(|mtu| mtu.size))
                .extend(Self::virtio_options(Some(&driver.virtio)));
            if nic.teaming.as_ref().is_some_and(|t| t.kind == TeamingType::Persistent) {
                props = props.set("failover", true);
            }
        }
        props = props
            .set("netdev", netdev)
            .set("id", alias)
            .opt("mac", nic.mac.as_ref().map(|mac| mac.address.to_string()))
            .opt("bootindex", boot)
            .opt("loadparm", self.load_parameter_of(nic.boot.as_ref()));
        props = props.extend(self.place(&nic.address, element));
        props = props.opt("acpi-index", nic.acpi.as_ref().and_then(|acpi| acpi.index));
        props = props.extend(Self::rom(nic.rom.as_ref()));
        self.device(props);
    }

    /// The option ROM of a PCI device.
    pub(in crate::qemu) fn rom(rom: Option<&Rom>) -> Props {
        let Some(rom) = rom else {
            return Props::default();
        };
        if rom.enabled == Some(YesNo::No) {
            return Props::default().set("romfile", "");
        }
        Props::default()
            .opt("rombar", rom.bar.map(|bar| u8::from(bar.on())))
            .opt("romfile", rom.file.clone())
    }
}
