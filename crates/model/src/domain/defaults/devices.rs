//! Type defaults of devices that need no file of their own.

use std::collections::HashSet;

use diag::{Diagnostic, ErrorCode};

use super::{DefaultsContext, Machine, fault};
use crate::domain::Domain;
use crate::domain::address::Address;
use crate::domain::devices::controller::{
    Controller, ControllerModel, ControllerTarget, ControllerType,
};
use crate::domain::devices::filesystem::{AccessMode, Filesystem};
use crate::domain::devices::hostdev::{HostdevMode, HostdevType};
use crate::domain::devices::input::{InputBus, InputType};
use crate::domain::devices::interface::{Interface, InterfaceModel, InterfaceType};
use crate::domain::devices::memory::MemoryModel;
use crate::domain::devices::panic::PanicModel;
use crate::domain::devices::rng::RngBackendModel;
use crate::domain::devices::shmem::{ShmemModel, ShmemModelName, ShmemSize};
use crate::domain::devices::sound::SoundModel;
use crate::domain::devices::tpm::{TpmBackendType, TpmModel, TpmVersion};
use crate::domain::scalar::AnyBase;

/// What needs no machine: MAC addresses.
pub(super) fn apply_core(d: &mut Domain, ctx: &mut DefaultsContext<'_>) {
    for i in &mut d.devices_mut().interfaces {
        mac(i, ctx);
    }
}

fn mac(i: &mut crate::domain::devices::interface::Interface, ctx: &mut DefaultsContext<'_>) {
    if i.mac.is_none() {
        i.mac = Some(crate::domain::devices::interface::InterfaceMac {
            address: ctx.mac(),
            kind: None,
            check: None,
            current_address: None,
        });
    }
}

/// Fills in everything but disks, displays, character devices and controllers.
pub(super) fn apply(d: &mut Domain, m: &Machine, ctx: &mut DefaultsContext<'_>) {
    let dev = d.devices_mut();
    for i in &mut dev.interfaces {
        mac(i, ctx);
        if i.model.is_none() && i.kind != InterfaceType::Hostdev && !is_vdpa(i.kind) {
            i.model = default_nic(m, ctx).map(|kind| InterfaceModel { kind: kind.to_owned() });
        } else if i.model.is_none() && is_vdpa(i.kind) {
            i.model = Some(InterfaceModel { kind: "virtio".to_owned() });
        }
        if let Some(model) = i.model.as_mut() {
            // Names are matched without regard to case.
            for known in NIC_MODELS {
                if model.kind.eq_ignore_ascii_case(known) {
                    model.kind = (*known).to_owned();
                }
            }
        }
        if let Some(s) = i.source.as_mut()
            && i.kind == InterfaceType::Direct
        {
            s.mode.get_or_insert_with(|| "vepa".to_owned());
        }
    }
    // Who serves a socket decides for itself.
    let own = |f: &&mut Filesystem| f.source.as_ref().is_none_or(|source| source.socket.is_none());
    for f in dev.filesystems.iter_mut().filter(own) {
        f.access_mode.get_or_insert(AccessMode::Passthrough);
    }
    for i in &mut dev.inputs {
        if i.bus.is_none() && i.kind != InputType::Evdev && i.kind != InputType::Passthrough {
            i.bus = Some(if m.is_s390() {
                InputBus::Virtio
            } else if i.kind == InputType::Tablet || !m.has_ps2() {
                InputBus::Usb
            } else {
                InputBus::Ps2
            });
        }
        if i.kind == InputType::Passthrough {
            i.bus.get_or_insert(InputBus::Virtio);
        }
    }
    for t in &mut dev.tpms {
        t.model.get_or_insert(if m.is_pseries() { TpmModel::TpmSpapr } else { TpmModel::TpmTis });
        if t.backend.kind == TpmBackendType::Emulator {
            let tis = t.model == Some(TpmModel::TpmTis) && (m.is_x86() || m.is_ppc64());
            t.backend.version.get_or_insert(if tis { TpmVersion::V12 } else { TpmVersion::V20 });
        }
    }
    for s in &mut dev.sounds {
        if s.model == SoundModel::Virtio {
            s.streams.get_or_insert(2);
        } else {
            s.streams = None;
        }
    }
    for p in &mut dev.panics {
        let usual = if m.is_pseries() {
            Some(PanicModel::Pseries)
        } else if m.is_s390() {
            Some(PanicModel::S390)
        } else if m.is_arm_virt() {
            Some(PanicModel::Pvpanic)
        } else {
            m.is_x86().then_some(PanicModel::Isa)
        };
        p.model = p.model.or(usual);
    }
    for s in &mut dev.shmems {
        s.model.get_or_insert(ShmemModel { kind: ShmemModelName::Ivshmem });
        let plain = s.model.as_ref().is_some_and(|m| m.kind == ShmemModelName::IvshmemPlain);
        if plain && s.size.is_none() {
            s.size = Some(ShmemSize { unit: Some("M".to_owned()), size: 4 });
        }
        let doorbell = s.model.as_ref().is_some_and(|m| m.kind == ShmemModelName::IvshmemDoorbell);
        if doorbell {
            s.msi.get_or_insert_default().ioeventfd.get_or_insert(xml::OnOff::On);
        }
    }
    for h in &mut dev.hostdevs {
        if h.mode == HostdevMode::Subsystem {
            h.managed.get_or_insert(xml::YesNo::No);
        }
        if h.kind == Some(HostdevType::Mdev) && h.model.as_deref() == Some("vfio-pci") {
            h.display.get_or_insert(xml::OnOff::Off);
        }
    }
    memory_devices(dev);
    for r in &mut dev.rngs {
        if r.backend.model == RngBackendModel::Random {
            r.backend.device.get_or_insert_with(|| "/dev/random".to_owned());
        }
    }
    for h in &mut dev.hostdevs {
        if h.kind == Some(HostdevType::Usb)
            && let Some(address) = h.source.as_mut().and_then(|source| source.address.as_mut())
            && let Some(bus) = &mut address.bus
            && let Ok(AnyBase(number)) = <AnyBase as xml::XmlValue>::parse(bus)
        {
            *bus = number.to_string();
        }
        // An iSCSI target without a unit means unit 0.
        if let Some(s) = h.source.as_mut()
            && s.protocol.as_deref() == Some("iscsi")
            && let Some(n) = s.name.as_mut()
            && !n.contains('/')
        {
            n.push_str("/0");
        }
    }
    for i in &mut dev.interfaces {
        virtual_port(i, ctx);
    }
    for f in &mut dev.filesystems {
        let kind = f.driver.as_ref().and_then(|d| d.kind.as_deref());
        f.binary = f.binary.take().filter(|_| kind == Some("virtiofs"));
    }
    for disk in &mut dev.disks {
        let source = disk.source.as_mut().filter(|s| s.protocol.as_deref() == Some("iscsi"));
        if let Some(name) = source.and_then(|s| s.name.as_mut())
            && !name.contains('/')
        {
            name.push_str("/0");
        }
    }
    for v in &mut dev.vsocks {
        v.model.get_or_insert_default();
        let c = v.cid.get_or_insert_default();
        // Without a number the start chooses one.
        let open = if c.address.is_none() { xml::YesNo::Yes } else { xml::YesNo::No };
        c.auto.get_or_insert(open);
    }
}

/// What a switch knows an interface by, made up where the document does not say it. A network may
/// turn out to want either.
fn virtual_port(i: &mut Interface, ctx: &mut DefaultsContext<'_>) {
    use crate::network::VirtualPortType::{OpenVSwitch, Qbg};
    let Some(port) = i.virtual_port.as_mut() else { return };
    let wants = |kind| port.kind.is_none_or(|k| k == kind);
    let (instance, interface) = (wants(Qbg), wants(OpenVSwitch));
    if !instance && !interface {
        return;
    }
    let p = port.parameters.get_or_insert_default();
    if instance {
        p.instance_id.get_or_insert_with(|| ctx.uuid());
    }
    if interface {
        p.interface_id.get_or_insert_with(|| ctx.uuid());
    }
}

fn memory_devices(dev: &mut crate::domain::devices::Devices) {
    // DIMMs without an address get the lowest free slot.
    let taken: HashSet<u32> = dev
        .memories
        .iter()
        .filter_map(|x| match &x.address {
            Some(Address::Dimm(a)) => Some(a.slot),
            _ => None,
        })
        .collect();
    let mut free = (0..).filter(|n| !taken.contains(n));
    for x in &mut dev.memories {
        if matches!(x.model, MemoryModel::Dimm | MemoryModel::Nvdimm) && x.address.is_none() {
            let slot = free.next().unwrap_or(0);
            x.address =
                Some(Address::Dimm(crate::domain::address::DimmAddress { slot, base: None }));
        }
    }
}

/// Models that QEMU's network cards have.
const NIC_MODELS: &[&str] = &[
    "virtio",
    "virtio-transitional",
    "virtio-non-transitional",
    "e1000",
    "e1000e",
    "igb",
    "rtl8139",
    "netfront",
    "usb-net",
    "spapr-vlan",
    "lan9118",
    "smc91c111",
    "vlance",
    "vmxnet",
    "vmxnet2",
    "vmxnet3",
    "Am79C970A",
    "Am79C973",
    "82540EM",
    "82545EM",
    "82543GC",
];

fn is_vdpa(k: InterfaceType) -> bool {
    matches!(k, InterfaceType::Vdpa)
}

/// The network card of an interface that names none.
fn default_nic(m: &Machine, ctx: &DefaultsContext<'_>) -> Option<&'static str> {
    if m.is_s390() {
        return Some("virtio");
    }
    if m.is_arm() {
        if m.name == "versatilepb" {
            return Some("smc91c111");
        }
        return Some(if m.is_arm_virt() { "virtio" } else { "lan9118" });
    }
    if m.is_virt() {
        return Some("virtio");
    }
    if ctx.devices.has("rtl8139") {
        Some("rtl8139")
    } else if ctx.devices.has("e1000") {
        Some("e1000")
    } else if ctx.devices.has("virtio-net") {
        Some("virtio")
    } else {
        None
    }
}

/// Models of controllers, and what the models imply.
pub(super) fn controller_models(
    d: &mut Domain,
    m: &Machine,
    ctx: &DefaultsContext<'_>,
    out: &mut Vec<Diagnostic>,
) {
    let dev = d.devices_mut();
    for c in &mut dev.controllers {
        match c.kind {
            ControllerType::Scsi => {
                if matches!(c.model.as_deref(), None | Some("auto")) {
                    c.model = default_scsi(m, ctx).map(str::to_owned);
                    if c.model.is_none() {
                        fault(
                            out,
                            "domain.scsi-model",
                            ErrorCode::INTERNAL_ERROR,
                            "Unable to determine model for SCSI controller".to_owned()
                                + &format!(" idx={}", c.index.unwrap_or(0)),
                        );
                    }
                }
            }
            ControllerType::Usb => {
                if matches!(c.model.as_deref(), None | Some("default")) {
                    match default_usb(m, ctx) {
                        // Such a machine has none, unless one has a place already.
                        Some(_) if m.is_s390() && c.address.is_some() => c.model = None,
                        Some(model) => c.model = Some(model.to_owned()),
                        // Stays open; starting the guest is refused.
                        None => c.model = None,
                    }
                }
            }
            ControllerType::Pci => pci(c, m),
            _ => {}
        }
    }
}

fn default_scsi(m: &Machine, ctx: &DefaultsContext<'_>) -> Option<&'static str> {
    if m.is_pseries() {
        return Some("ibmvscsi");
    }
    if m.has_builtin_esp() {
        return Some("ncr53c90");
    }
    if m.is_s390() || m.is_loongarch_virt() {
        return Some("virtio-scsi");
    }
    if ctx.devices.has("lsi") {
        Some("lsilogic")
    } else if ctx.devices.has("virtio-scsi-pci") {
        Some("virtio-scsi")
    } else {
        None
    }
}

fn default_usb(m: &Machine, ctx: &DefaultsContext<'_>) -> Option<&'static str> {
    let first = |list: &[(&str, &'static str)]| {
        list.iter().find(|(flag, _)| ctx.devices.has(flag)).map(|(_, model)| *model)
    };
    if m.is_s390() {
        return Some("none");
    }
    if m.is_ppc64() {
        if ctx.abi_update {
            return first(&[
                ("qemu-xhci", "qemu-xhci"),
                ("nec-usb-xhci", "nec-xhci"),
                ("pci-ohci", "pci-ohci"),
            ]);
        }
        return first(&[
            ("pci-ohci", "pci-ohci"),
            ("nec-usb-xhci", "nec-xhci"),
            ("qemu-xhci", "qemu-xhci"),
        ]);
    }
    // The boards of ARM have no port of their own; xHCI is what every firmware drives.
    if m.is_virt() || m.arch == "aarch64" {
        return first(&[("qemu-xhci", "qemu-xhci"), ("nec-usb-xhci", "nec-xhci")]);
    }
    first(&[("piix3-usb-uhci", "piix3-uhci"), ("pci-ohci", "pci-ohci")])
        .filter(|model| !m.is_x86() || *model == "piix3-uhci")
}

fn pci(c: &mut Controller, m: &Machine) {
    let name = match c.model.as_deref() {
        Some("pci-bridge") => Some("pci-bridge"),
        Some("dmi-to-pci-bridge") => Some("i82801b11-bridge"),
        Some("pcie-to-pci-bridge") => Some("pcie-pci-bridge"),
        Some("pcie-root-port") => Some("pcie-root-port"),
        Some("pcie-switch-upstream-port") => Some("x3130-upstream"),
        Some("pcie-switch-downstream-port") => Some("xio3130-downstream"),
        Some("pci-expander-bus") => Some("pxb"),
        Some("pcie-expander-bus") => Some("pxb-pcie"),
        Some("pci-root") if m.is_pseries() => Some("spapr-pci-host-bridge"),
        _ => None,
    };
    if c.pci_model.is_none()
        && let Some(name) = name
    {
        c.pci_model = Some(ControllerModel { name: name.to_owned() });
    }
    if c.target.as_ref().is_some_and(|t| *t == ControllerTarget::default()) {
        c.target = None;
    }
}
