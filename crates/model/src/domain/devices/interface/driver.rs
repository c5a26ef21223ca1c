//! How packets are moved: `<driver>`, which means one thing for a virtio device and another for a
//! device of the host.

use crate::domain::prelude::*;
use xml::{Content, Element, Reader, Schema, Writer};

use super::super::hostdev::HostdevDriver;

/// Who moves packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum NetDriverName {
    /// `qemu`.
    #[default]
    Qemu,
    /// `vhost`.
    Vhost,
}

/// When packets are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, XmlEnum)]
pub enum TxMode {
    /// `iothread`.
    #[default]
    Iothread,
    /// `timer`.
    Timer,
}

/// Backend and transport options.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct InterfaceDriver {
    /// Attribute `name`.
    #[xml(attr)]
    pub name: Option<NetDriverName>,
    /// Attribute `txmode`.
    #[xml(attr)]
    pub txmode: Option<TxMode>,
    /// Attribute `ioeventfd`.
    #[xml(attr)]
    pub ioeventfd: Option<OnOff>,
    /// Attribute `event_idx`.
    #[xml(attr)]
    pub event_idx: Option<OnOff>,
    /// Attribute `queues`.
    #[xml(attr)]
    pub queues: Option<u32>,
    /// Attribute `rx_queue_size`.
    #[xml(attr)]
    pub rx_queue_size: Option<u32>,
    /// Attribute `tx_queue_size`.
    #[xml(attr)]
    pub tx_queue_size: Option<u32>,
    /// Attribute `rss`.
    #[xml(attr)]
    pub rss: Option<OnOff>,
    /// Attribute `rss_hash_report`.
    #[xml(attr)]
    pub rss_hash_report: Option<OnOff>,
    /// virtio
    #[xml(flatten)]
    pub virtio: VirtioDriver,
    /// Element `<host>`.
    #[xml(child, empty_absent)]
    pub host: Option<HostOffload>,
    /// Element `<guest>`.
    #[xml(child, empty_absent)]
    pub guest: Option<GuestOffload>,
}

/// Offloads towards the host.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct HostOffload {
    /// Attribute `csum`.
    #[xml(attr)]
    pub csum: Option<OnOff>,
    /// Attribute `gso`.
    #[xml(attr)]
    pub gso: Option<OnOff>,
    /// Attribute `tso4`.
    #[xml(attr)]
    pub tso4: Option<OnOff>,
    /// Attribute `tso6`.
    #[xml(attr)]
    pub tso6: Option<OnOff>,
    /// Attribute `ecn`.
    #[xml(attr)]
    pub ecn: Option<OnOff>,
    /// Attribute `ufo`.
    #[xml(attr)]
    pub ufo: Option<OnOff>,
    /// Attribute `mrg_rxbuf`.
    #[xml(attr)]
    pub mrg_rxbuf: Option<OnOff>,
}

/// Offloads towards the guest.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct GuestOffload {
    /// Attribute `csum`.
    #[xml(attr)]
    pub csum: Option<OnOff>,
    /// Attribute `tso4`.
    #[xml(attr)]
    pub tso4: Option<OnOff>,
    /// Attribute `tso6`.
    #[xml(attr)]
    pub tso6: Option<OnOff>,
    /// Attribute `ecn`.
    #[xml(attr)]
    pub ecn: Option<OnOff>,
    /// Attribute `ufo`.
    #[xml(attr)]
    pub ufo: Option<OnOff>,
}

/// The driver of a device that the emulator makes. Only virtio has one; of other models just the
/// transport's options are read, to be refused.
pub mod emulated {
    use super::*;

    /// Reads `<driver>` of an interface.
    pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<Option<InterfaceDriver>> {
        let Some(driver) = cx.child(el, "driver") else { return Some(None) };
        let model = el.child("model").and_then(|m| m.attr("type")).unwrap_or_default();
        let assigned = el.attr("type") == Some("hostdev");
        let driver = if model.starts_with("virtio") && !assigned {
            let mut read: InterfaceDriver = cx.element(driver)?;
            // One is what there is without a number.
            read.queues = read.queues.filter(|n| *n > 1);
            read
        } else {
            let virtio = VirtioDriver::read(driver, cx)?;
            if !assigned {
                pass_over(driver, cx);
            }
            InterfaceDriver { virtio, ..InterfaceDriver::default() }
        };
        Some(Some(driver).filter(|d| *d != InterfaceDriver::default()))
    }

    /// What another model than virtio has no use for.
    fn pass_over(driver: Element<'_>, cx: &mut Reader) {
        const KNOWN: [&str; 4] = ["iommu", "ats", "packed", "page_per_vq"];
        for a in driver.attrs().filter(|a| !KNOWN.contains(&a.name())) {
            let message = format!("Attribute '{}' counts for a virtio model only", a.name());
            cx.warning("domain.nic-driver", a.name_span(), message, Vec::new());
        }
        cx.use_subtree(driver);
    }

    /// It has no attributes on the interface.
    pub fn write_attrs(_: &Option<InterfaceDriver>, _: &mut Writer) {}

    /// Writes `<driver>`.
    pub fn write_children(driver: &Option<InterfaceDriver>, w: &mut Writer) {
        if let Some(driver) = driver {
            w.child("driver", driver);
        }
    }

    /// What it may hold.
    pub fn schema() -> Schema {
        let content = Content::Element(<InterfaceDriver as Xml>::schema);
        Schema::new().child("driver".into(), false, false, content)
    }
}

/// The driver of a device of the host.
pub mod assigned {
    use super::*;

    /// Reads `<driver>` of an interface that is a device of the host.
    pub fn read(el: Element<'_>, cx: &mut Reader) -> Option<Option<HostdevDriver>> {
        if el.attr("type") != Some("hostdev") {
            return Some(None);
        }
        let Some(driver) = cx.child(el, "driver") else { return Some(None) };
        let read = HostdevDriver::read(driver, cx)?;
        cx.use_subtree(driver);
        Some(Some(read).filter(|d| *d != HostdevDriver::default()))
    }

    /// It has no attributes on the interface.
    pub fn write_attrs(_: &Option<HostdevDriver>, _: &mut Writer) {}

    /// Writes `<driver>`.
    pub fn write_children(driver: &Option<HostdevDriver>, w: &mut Writer) {
        if let Some(driver) = driver {
            w.child("driver", driver);
        }
    }

    /// What it may hold.
    pub fn schema() -> Schema {
        let content = Content::Element(<HostdevDriver as Xml>::schema);
        Schema::new().child("driver".into(), false, false, content)
    }
}
