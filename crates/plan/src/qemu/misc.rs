//! Panic notifiers, vmcoreinfo, SMBIOS, sandbox; and what cannot be done yet.

use super::build::{Build, Props, comma};
use super::words::Address;
use model::domain::devices::panic::PanicModel;
use model::domain::os::SmbiosMode;
use model::domain::sysinfo::{Sysinfo, SysinfoBlock, SysinfoType};

impl Build<'_> {
    /// Panic notifiers.
    pub(super) fn panics(&mut self) {
        for panic in self.each("devices/panic", &self.dev.panics) {
            let (s390, pseries) =
                (self.arch.starts_with("s390"), self.machine.starts_with("pseries"));
            match panic.model {
                Some(PanicModel::Pseries) if !pseries => self.fail(
                    "qemu.panic",
                    "only pSeries guests support panic device of model 'pseries'",
                ),
                Some(PanicModel::S390) if !s390 => {
                    self.fail("qemu.panic", "only S390 guests support panic device of model 's390'")
                }
                _ => {}
            }
            match panic.model.unwrap_or_default() {
                PanicModel::Isa => {
                    self.need("pvpanic", "<panic model='isa'>");
                    let mut props = Props::device("pvpanic");
                    if let Some(Address::Isa(isa)) = &panic.address {
                        props = props.opt("ioport", isa.iobase.map(|base| base.0));
                    }
                    self.device(props);
                }
                PanicModel::Pvpanic => {
                    self.need("pvpanic-pci", "<panic model='pvpanic'>");
                    let place = self.place(&panic.address, "<panic>");
                    let index = panic.acpi.as_ref().and_then(|acpi| acpi.index);
                    let place = place.opt("acpi-index", index);
                    self.device(Props::device("pvpanic-pci").extend(place));
                }
                // A CPU property; and what the firmware or the machine brings along.
                PanicModel::Hyperv | PanicModel::Pseries | PanicModel::S390 => {}
            }
        }
    }

    /// `-device vmcoreinfo`.
    pub(super) fn vmcoreinfo(&mut self) {
        use super::build::Switch;
        let state = self.features().vmcoreinfo;
        if state.is_some_and(|state| state.state.is_none_or(Switch::on)) {
            self.need_or("vmcoreinfo", "vmcoreinfo is not available with this QEMU binary");
            self.device(Props::device("vmcoreinfo"));
        }
    }

    /// The memory that a POWER guest's firmware keeps settings in: part of the board, which takes
    /// its place from a global property.
    pub(super) fn nvrams(&mut self) {
        for nvram in self.each("devices/nvram", &self.dev.nvrams) {
            self.need("nvram", "<nvram> device");
            if let Some(Address::SpaprVio(vio)) = &nvram.address
                && let Some(reg) = vio.reg
            {
                self.opt("-global", &format!("spapr-nvram.reg=0x{:x}", reg.0));
            }
        }
    }

    /// `-smbios`.
    pub(super) fn smbios(&mut self) {
        let mode = self.d.os.as_ref().and_then(|os| os.smbios.as_ref()).map(|smbios| smbios.mode);
        match mode {
            Some(SmbiosMode::Sysinfo) => {
                let infos = self.d.sysinfo.clone();
                let mut tables = infos.iter().filter(|info| info.kind == SysinfoType::Smbios);
                let Some(info) = tables.next() else {
                    let text = format!("Domain '{}' sysinfo are not available", self.d.name);
                    self.fail_with("qemu.smbios", diag::ErrorCode::XML_ERROR, text);
                    return;
                };
                self.smbios_tables(info);
            }
            Some(SmbiosMode::Host) => match &self.found.host_sysinfo {
                Some(info) => self.smbios_tables(info),
                None => self.fail("qemu.smbios", "Host SMBIOS information is not available"),
            },
            _ => {}
        }
        let infos = self.d.sysinfo.clone();
        for info in infos.iter().filter(|info| info.kind == SysinfoType::Fwcfg) {
            for entry in &info.entries {
                let name = comma(&entry.name);
                let value = match (&entry.file, &entry.value) {
                    (Some(file), _) => format!("file={}", comma(file)),
                    (None, value) => {
                        format!("string={}", comma(value.as_deref().unwrap_or_default()))
                    }
                };
                self.opt("-fw_cfg", &format!("name={name},{value}"));
            }
        }
    }

    fn smbios_tables(&mut self, info: &Sysinfo) {
        const BIOS: &[(&str, &str)] = &[
            ("vendor", "vendor"),
            ("version", "version"),
            ("date", "date"),
            ("release", "release"),
        ];
        const SYSTEM: &[(&str, &str)] = &[
            ("manufacturer", "manufacturer"),
            ("product", "product"),
            ("version", "version"),
            ("serial", "serial"),
            ("uuid", "uuid"),
            ("sku", "sku"),
            ("family", "family"),
        ];
        const BOARD: &[(&str, &str)] = &[
            ("manufacturer", "manufacturer"),
            ("product", "product"),
            ("version", "version"),
            ("serial", "serial"),
            ("asset", "asset"),
            ("location", "location"),
        ];
        const CHASSIS: &[(&str, &str)] = &[
            ("manufacturer", "manufacturer"),
            ("version", "version"),
            ("serial", "serial"),
            ("asset", "asset"),
            ("sku", "sku"),
        ];
        let mut table = |number: u32, block: &SysinfoBlock, keys: &[(&str, &str)]| {
            let said = |key: &str| block.entries.iter().any(|e| e.name == key);
            if !keys.iter().any(|(entry, _)| said(entry)) {
                return;
            }
            let mut out = format!("type={number}");
            // QEMU would name itself as the maker of a board or a case whose maker is not said.
            if !said("manufacturer") && matches!(number, 2 | 3) {
                out.push_str(",manufacturer=");
            }
            for (entry, key) in keys {
                if let Some(found) = block.entries.iter().find(|e| e.name == *entry) {
                    out.push_str(&format!(",{key}={}", comma(&found.value)));
                }
            }
            self.opt("-smbios", &out);
        };
        if let Some(block) = &info.bios {
            table(0, block, BIOS);
        }
        if let Some(block) = &info.system {
            table(1, block, SYSTEM);
        }
        if info.base_boards.len() > 1 {
            self.fail(
                "qemu.smbios",
                "qemu does not support more than one entry to Type 2 in SMBIOS table",
            );
            return;
        }
        for block in &info.base_boards {
            table(2, block, BOARD);
        }
        if let Some(block) = &info.chassis {
            table(3, block, CHASSIS);
        }
        if let Some(strings) = &info.oem_strings {
            let mut out = "type=11".to_string();
            for entry in &strings.entries {
                out.push_str(&format!(",value={}", comma(&entry.value)));
            }
            self.opt("-smbios", &out);
        }
    }

    /// `-sandbox`.
    pub(super) fn sandbox(&mut self) {
        match self.set.sandbox {
            Some(false) => self.opt("-sandbox", "off"),
            _ if self.has("seccomp-sandbox") => self.opt(
                "-sandbox",
                "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
            ),
            Some(true) => self.need("seccomp-sandbox", "seccomp_sandbox"),
            None => {}
        }
    }

    /// Devices that this planner does not know yet are refused, each by name.
    pub(super) fn refuse_unplanned(&mut self) {
        if let Some(os) = &self.d.os
            && os.kind.name != model::domain::os::OsTypeName::Hvm
        {
            self.fail("qemu.os-type", "only <os><type>hvm</type> runs under QEMU");
        }
    }
}
