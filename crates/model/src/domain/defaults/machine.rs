//! Facts about machine types that QEMU does not tell.

use crate::domain::Domain;

/// Architecture and machine type of a guest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Machine {
    /// Architecture, as libvirt names it.
    pub arch: String,
    /// Machine type.
    pub name: String,
    /// Whether its PCI bus (when there is one) is PCI Express.
    pcie: bool,
}

impl Machine {
    /// The machine of a domain whose `<os>` is complete.
    pub fn of(d: &Domain) -> Self {
        let ty = d.os.as_ref().map(|o| &o.kind);
        let mut m = Self {
            arch: ty.and_then(|t| t.arch.clone()).unwrap_or_default(),
            name: ty.and_then(|t| t.machine.clone()).unwrap_or_default(),
            pcie: false,
        };
        m.pcie = m.is_q35() || m.is_virt();
        m
    }

    fn named(&self, name: &str) -> bool {
        self.name == name || self.name.strip_prefix(name).is_some_and(|r| r.starts_with('-'))
    }

    /// Any x86.
    pub fn is_x86(&self) -> bool {
        matches!(self.arch.as_str(), "x86_64" | "i686")
    }
    /// Any ARM.
    pub fn is_arm(&self) -> bool {
        matches!(self.arch.as_str(), "aarch64" | "armv7l" | "armv6l" | "armv7b")
    }
    /// RISC-V.
    pub fn is_riscv(&self) -> bool {
        matches!(self.arch.as_str(), "riscv64" | "riscv32")
    }
    /// LoongArch.
    pub fn is_loongarch(&self) -> bool {
        self.arch == "loongarch64"
    }
    /// s390x.
    pub fn is_s390(&self) -> bool {
        matches!(self.arch.as_str(), "s390x" | "s390")
    }
    /// 64-bit PowerPC.
    pub fn is_ppc64(&self) -> bool {
        matches!(self.arch.as_str(), "ppc64" | "ppc64le")
    }
    /// Any PowerPC.
    pub fn is_ppc(&self) -> bool {
        self.is_ppc64() || self.arch == "ppc"
    }
    /// The PC with an i440FX chipset.
    pub fn is_i440fx(&self) -> bool {
        self.is_x86()
            && (self.name == "pc"
                || self.name.starts_with("pc-0.")
                || self.name.starts_with("pc-1.")
                || self.named("pc-i440fx")
                || self.name.starts_with("rhel") && !self.name.starts_with("rhel-q35"))
    }
    /// The PC with a Q35 chipset.
    pub fn is_q35(&self) -> bool {
        self.is_x86() && (self.name == "q35" || self.named("pc-q35"))
    }
    /// The ISA-only PC.
    pub fn is_isapc(&self) -> bool {
        self.is_x86() && self.name == "isapc"
    }
    /// Whether devices of the ISA bus can be added.
    pub fn takes_isa_devices(&self) -> bool {
        self.is_i440fx() || self.is_isapc()
    }
    /// The minimal x86 machine.
    pub fn is_microvm(&self) -> bool {
        self.is_x86() && self.name == "microvm"
    }
    /// The `virt` machine of ARM.
    pub fn is_arm_virt(&self) -> bool {
        self.is_arm() && (self.name == "virt" || self.name.starts_with("virt-"))
    }
    /// The `virt` machine of RISC-V.
    pub fn is_riscv_virt(&self) -> bool {
        self.is_riscv() && (self.name == "virt" || self.name.starts_with("virt-"))
    }
    /// The `virt` machine of LoongArch.
    pub fn is_loongarch_virt(&self) -> bool {
        self.is_loongarch() && (self.name == "virt" || self.name.starts_with("virt-"))
    }
    /// Any `virt` machine.
    pub fn is_virt(&self) -> bool {
        self.is_arm_virt() || self.is_riscv_virt() || self.is_loongarch_virt()
    }
    /// The paravirtual PowerPC machine.
    pub fn is_pseries(&self) -> bool {
        self.is_ppc64() && (self.name == "pseries" || self.name.starts_with("pseries-"))
    }
    /// s390 with channel I/O.
    pub fn is_ccw(&self) -> bool {
        self.is_s390() && (self.name == "s390-ccw" || self.name.starts_with("s390-ccw-"))
    }
    /// Whether the root bus is PCI Express.
    pub fn has_pcie(&self) -> bool {
        self.pcie
    }
    /// The PCI root the machine brings without being asked: a controller model.
    pub fn implied_pci_root(&self) -> Option<&'static str> {
        if self.has_pcie() {
            return Some("pcie-root");
        }
        let conventional = self.is_i440fx()
            || self.is_arm() && self.name == "versatilepb"
            || self.is_ppc()
            || self.is_s390()
            || matches!(self.arch.as_str(), "alpha" | "sh4" | "sh4eb")
            || self.arch.starts_with("mips");
        conventional.then_some("pci-root")
    }
    /// Whether devices get PCI addresses where there is a PCI bus. The many boards of ARM, RISC-V
    /// and LoongArch have none that QEMU could plug into.
    pub fn supports_pci(&self) -> bool {
        if self.is_arm() || self.is_riscv() || self.is_loongarch() {
            return self.is_virt() || self.is_arm() && self.name == "versatilepb";
        }
        true
    }
    /// Whether several PCI roots are possible, so that missing buses are roots and not bridges.
    pub fn has_many_pci_roots(&self) -> bool {
        self.is_pseries()
    }
    /// Whether it has an IDE controller of its own.
    pub fn has_builtin_ide(&self) -> bool {
        self.is_i440fx() || self.name == "malta" || self.name == "sun4u" || self.name == "g3beige"
    }
    /// Whether it has a SCSI controller of the ESP family on board.
    pub fn has_builtin_esp(&self) -> bool {
        self.arch == "sparc"
            && (self.name.starts_with("SS-")
                || matches!(self.name.as_str(), "LX" | "Voyager" | "SPARCClassic" | "SPARCbook"))
    }
    /// Whether it can have PS/2 devices.
    pub fn has_ps2(&self) -> bool {
        self.is_x86() && !self.is_microvm()
    }
}
