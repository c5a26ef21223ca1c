//! Where a device sits on its bus.

use crate::domain::prelude::*;
use xml::{Element, Reader, ValueError, XmlValue};

/// An address; the variant names the bus kind.
#[derive(Clone, Debug, PartialEq, Xml)]
#[xml(tag = "type")]
pub enum Address {
    /// `type='pci'`.
    Pci(PciAddress),
    /// `type='drive'`.
    Drive(DriveAddress),
    /// `type='virtio-serial'`.
    VirtioSerial(VirtioSerialAddress),
    /// `type='ccid'`.
    Ccid(CcidAddress),
    /// `type='usb'`.
    Usb(UsbAddress),
    /// `type='spapr-vio'`.
    SpaprVio(SpaprVioAddress),
    /// `type='virtio-s390'`.
    VirtioS390(NoAddress),
    /// `type='ccw'`.
    Ccw(CcwAddress),
    /// `type='virtio-mmio'`.
    VirtioMmio(NoAddress),
    /// `type='isa'`.
    Isa(IsaAddress),
    /// `type='dimm'`.
    Dimm(DimmAddress),
    /// `type='unassigned'`.
    Unassigned(NoAddress),
    /// `type='mdev'`.
    Mdev(MdevAddress),
}

/// PCI function; all zero means "choose one".
#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(check = PciAddress::check)]
pub struct PciAddress {
    /// Attribute `domain`.
    #[xml(attr, default)]
    pub domain: Hex<4>,
    /// Attribute `bus`.
    #[xml(attr, default)]
    pub bus: Hex<2>,
    /// Attribute `slot`.
    #[xml(attr, default)]
    pub slot: Hex<2>,
    /// Attribute `function`.
    #[xml(attr, default)]
    pub function: Hex<1>,
    /// Attribute `multifunction`.
    #[xml(attr)]
    pub multifunction: Option<OnOff>,
    /// Element `<zpci>`.
    #[xml(child)]
    pub zpci: Option<Zpci>,
}

/// s390 PCI ids.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct Zpci {
    /// Attribute `uid`.
    #[xml(attr)]
    pub uid: Option<Hex<4>>,
    /// Attribute `fid`.
    #[xml(attr)]
    pub fid: Option<Hex<8>>,
}

/// Place on a disk controller.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct DriveAddress {
    /// Attribute `controller`.
    #[xml(attr, default)]
    pub controller: u32,
    /// Attribute `bus`.
    #[xml(attr, default)]
    pub bus: u32,
    /// Attribute `target`.
    #[xml(attr, default)]
    pub target: u32,
    /// Attribute `unit`.
    #[xml(attr, default)]
    pub unit: u32,
}

/// Port of a virtio-serial controller.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct VirtioSerialAddress {
    /// Attribute `controller`.
    #[xml(attr, default)]
    pub controller: u32,
    /// Attribute `bus`.
    #[xml(attr, default)]
    pub bus: u32,
    /// Attribute `port`.
    #[xml(attr)]
    pub port: Option<u32>,
}

/// Slot of a smart card reader.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct CcidAddress {
    /// Attribute `controller`.
    #[xml(attr, default)]
    pub controller: u32,
    /// Attribute `slot`.
    #[xml(attr, default)]
    pub slot: u32,
}

/// USB bus and port path (`1.2`).
#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(check = UsbAddress::check)]
pub struct UsbAddress {
    /// Attribute `bus`.
    #[xml(attr, default)]
    pub bus: u32,
    /// Attribute `port`.
    #[xml(attr)]
    pub port: Option<String>,
}

/// Register of sPAPR VIO.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(check = SpaprVioAddress::check)]
pub struct SpaprVioAddress {
    /// Attribute `reg`.
    #[xml(attr)]
    pub reg: Option<Hex<8>>,
}

/// Channel subsystem address.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(check = CcwAddress::check)]
pub struct CcwAddress {
    /// Attribute `cssid`.
    #[xml(attr)]
    pub cssid: Option<Hex<1>>,
    /// Attribute `ssid`.
    #[xml(attr)]
    pub ssid: Option<Hex<1>>,
    /// Attribute `devno`.
    #[xml(attr)]
    pub devno: Option<Hex<4>>,
}

/// ISA port and interrupt.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(check = IsaAddress::check)]
pub struct IsaAddress {
    /// Attribute `iobase`.
    #[xml(attr, zero_absent)]
    pub iobase: Option<Hex<1>>,
    /// Attribute `irq`.
    #[xml(attr)]
    pub irq: Option<Hex<1>>,
}

/// Memory slot.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
#[xml(check = DimmAddress::check)]
pub struct DimmAddress {
    /// Attribute `slot`.
    #[xml(attr, default)]
    pub slot: u32,
    /// Attribute `base`.
    #[xml(attr, zero_absent)]
    pub base: Option<Hex<1>>,
}

/// Mediated device.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct MdevAddress {
    /// Attribute `uuid`.
    #[xml(attr)]
    pub uuid: Uuid,
}

/// An address kind without fields.
#[derive(Clone, Debug, PartialEq, Default, Xml)]
pub struct NoAddress {}

/// The numbers of an address have 32 bits, however they are kept.
fn small(el: Element<'_>, cx: &mut Reader, names: &[&str]) {
    for a in names.iter().filter_map(|name| el.attr_node(name)) {
        if <xml::Hex<u64> as XmlValue>::parse(a.value()).is_ok_and(|n| n.0 > u32::MAX.into()) {
            cx.bad_attr(a, el, &ValueError::expected("non-negative integer value"));
        }
    }
}

/// The number as libvirt reads those that it takes for hexadecimal with and without their mark.
fn always_hex<const W: usize>(el: Element<'_>, name: &str, value: &mut Option<Hex<W>>) {
    let text = el.attr(name).unwrap_or_default().trim_ascii();
    if let (Some(value), Ok(n)) = (value.as_mut(), u64::from_str_radix(text, 16)) {
        value.0 = n;
    }
}

impl PciAddress {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        let parts = [self.domain.0, self.bus.0, self.slot.0, self.function.0];
        if parts.iter().any(|n| *n > u32::MAX.into()) {
            small(el, cx, &["domain", "bus", "slot", "function"]);
        }
    }
}

impl IsaAddress {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        always_hex(el, "iobase", &mut self.iobase);
        always_hex(el, "irq", &mut self.irq);
        small(el, cx, &["iobase", "irq"]);
    }
}

impl SpaprVioAddress {
    fn check(&mut self, el: Element<'_>, _: &mut Reader) {
        always_hex(el, "reg", &mut self.reg);
    }
}

impl DimmAddress {
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        if el.attr("slot").is_none() {
            cx.missing_attr(el, "slot");
        }
    }
}

/// Ports that lead from a controller through hubs to a device, at most.
const USB_DEPTH: usize = 4;

impl UsbAddress {
    /// Ports are numbers joined by dots; the first zero ends them.
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        let Some(a) = el.attr_node("port") else { return };
        let number = |part: &str| match part.bytes().all(|c| c.is_ascii_digit()) {
            true => part.parse::<u32>().ok(),
            false => None,
        };
        let parts: Option<Vec<_>> = a.value().split('.').map(number).collect();
        let Some(parts) = parts.filter(|parts| parts.len() <= USB_DEPTH) else {
            let hints = vec!["A port is a number; behind hubs up to four, as in 1.2.".to_owned()];
            let words = "Cannot parse <address> 'port' attribute";
            cx.error("domain.usb-port", ErrorCode::INTERNAL_ERROR, a.value_span(), words, hints);
            return;
        };
        let path: Vec<_> =
            parts.into_iter().take_while(|n| *n > 0).map(|n| n.to_string()).collect();
        self.port = Some(path.join(".")).filter(|path| !path.is_empty());
    }
}

impl CcwAddress {
    /// All three numbers, or none.
    fn check(&mut self, el: Element<'_>, cx: &mut Reader) {
        small(el, cx, &["cssid", "ssid", "devno"]);
        let [cssid, ssid, devno] =
            [self.cssid.map(|n| n.0), self.ssid.map(|n| n.0), self.devno.map(|n| n.0)];
        let [css, ss, dev] = [cssid, ssid, devno].map(Option::unwrap_or_default);
        let given = [cssid, ssid, devno].iter().flatten().count();
        let words = if given > 0 && (css > 0xfe || ss > 3 || dev > 0xffff) {
            format!(
                "Invalid specification for virtio ccw address: cssid='0x{css:x}' ssid='0x{ss:x}' \
                 devno='0x{dev:04x}'"
            )
        } else if matches!(given, 1 | 2) {
            "Invalid partial specification for virtio ccw address".to_owned()
        } else {
            return;
        };
        cx.error("domain.ccw-address", ErrorCode::INTERNAL_ERROR, el.span(), words, Vec::new());
    }
}

/// Whether an address is of PCI and names a place there.
pub(crate) fn is_pci_place(address: &Address) -> bool {
    let Address::Pci(a) = address else { return false };
    [a.domain.0, a.bus.0, a.slot.0, a.function.0].iter().any(|part| *part != 0)
}

/// The bus kind of an address, as its `type` says.
pub fn kind(address: &Address) -> &'static str {
    match address {
        Address::Pci(_) => "pci",
        Address::Drive(_) => "drive",
        Address::VirtioSerial(_) => "virtio-serial",
        Address::Ccid(_) => "ccid",
        Address::Usb(_) => "usb",
        Address::SpaprVio(_) => "spapr-vio",
        Address::VirtioS390(_) => "virtio-s390",
        Address::Ccw(_) => "ccw",
        Address::VirtioMmio(_) => "virtio-mmio",
        Address::Isa(_) => "isa",
        Address::Dimm(_) => "dimm",
        Address::Unassigned(_) => "unassigned",
        Address::Mdev(_) => "mdev",
    }
}
