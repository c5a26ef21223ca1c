//! Boot order, kernel, firmware.

use super::build::{Build, Switch, comma};
use super::words::{DeviceBoot, YesNo};
use crate::step::{Access, Action, FileKind, Step};
use model::domain::devices::disk::DiskDevice;
use model::domain::os::BootDev;

/// The boot position of each device, by its place in the domain's lists.
#[derive(Clone, Debug, Default)]
pub(super) struct BootOrders {
    /// Of disks.
    pub(super) disks: Vec<Option<u32>>,
    /// Of interfaces.
    pub(super) interfaces: Vec<Option<u32>>,
}

impl Build<'_> {
    /// Boot positions: the devices' own, or by the classes of `<os><boot dev=…/>`.
    pub(super) fn boot_orders(&self) -> BootOrders {
        let own = |boot: &Option<super::words::DeviceBoot>| boot.as_ref().map(|b| b.order);
        let mut orders = BootOrders {
            disks: self.dev.disks.iter().map(|disk| own(&disk.boot)).collect(),
            interfaces: self.dev.interfaces.iter().map(|nic| own(&nic.boot)).collect(),
        };
        // A device that comes later is the first of no class.
        let Some(os) = self.d.os.as_ref().filter(|_| self.hot.is_none()) else {
            return orders;
        };
        let given = orders.disks.iter().chain(&orders.interfaces).any(Option::is_some)
            || self.dev.hostdevs.iter().any(|hostdev| hostdev.boot.is_some())
            || self.dev.redirdevs.iter().any(|redir| redir.boot.is_some())
            || self.dev.filesystems.iter().any(|fs| fs.boot.is_some());
        if given {
            return orders;
        }
        // Each class means its first device, and a class that is named again its last place.
        for (position, boot) in os.boot.iter().enumerate() {
            let number = position as u32 + 1;
            let wanted = match boot.dev {
                BootDev::Fd => Some(DiskDevice::Floppy),
                BootDev::Cdrom => Some(DiskDevice::Cdrom),
                BootDev::Hd => Some(DiskDevice::Disk),
                BootDev::Network => None,
            };
            let slot = match wanted {
                Some(wanted) => {
                    let same = |device: DiskDevice| {
                        device == wanted
                            || (wanted == DiskDevice::Disk && device == DiskDevice::Lun)
                    };
                    let index = self.dev.disks.iter().position(|disk| same(disk.device));
                    index.and_then(|index| orders.disks.get_mut(index))
                }
                None => orders.interfaces.get_mut(0),
            };
            if let Some(slot) = slot {
                *slot = Some(number);
            }
        }
        orders
    }

    /// The menu entry that a device boots, where devices carry their own.
    pub(super) fn load_parameter_of(&self, boot: Option<&DeviceBoot>) -> Option<String> {
        boot?.loadparm.clone().filter(|_| self.has("virtio-ccw.loadparm"))
    }

    /// `-boot`, `-kernel` and the like.
    pub(super) fn boot(&mut self) {
        let os = self.d.os.clone().unwrap_or_default();
        let mut parts: Vec<String> = Vec::new();
        if let Some(menu) = &os.bootmenu {
            parts.push(format!("menu={}", menu.enable.word()));
            if let Some(timeout) = menu.timeout.filter(|_| menu.enable == YesNo::Yes) {
                parts.push(format!("splash-time={timeout}"));
            }
        }
        if let Some(timeout) = os.bios.as_ref().and_then(|bios| bios.reboot_timeout) {
            parts.push(format!("reboot-timeout={timeout}"));
        }
        parts.push("strict=on".to_string());
        self.opt("-boot", &parts.join(","));
        for (option, value, role) in [
            ("-kernel", &os.kernel, "kernel"),
            ("-initrd", &os.initrd, "initrd"),
            ("-append", &os.cmdline, ""),
            ("-dtb", &os.dtb, "dtb"),
            ("-shim", &os.shim, "shim"),
        ] {
            let Some(value) = value.clone().filter(|value| !value.is_empty()) else {
                continue;
            };
            if !role.is_empty() {
                let path = value.clone();
                let role = format!("<{role}>");
                self.steps.push(Step::new(Action::RequireFile {
                    path: path.clone(),
                    role: role.clone(),
                    kind: FileKind::Other,
                }));
                self.grant(&path, Access::Read, true, &role);
            }
            self.opt(option, &value);
        }
        for table in os.acpi.iter().flat_map(|acpi| &acpi.tables) {
            use model::domain::os::AcpiTableType;
            let path = comma(&table.path);
            let text = match table.kind {
                AcpiTableType::Raw => format!("file={path}"),
                AcpiTableType::Slic => format!("sig=SLIC,file={path}"),
                AcpiTableType::Msdm => format!("sig=MSDM,file={path}"),
                AcpiTableType::Rawset => {
                    self.fail("qemu.acpi-table", "ACPI table type 'rawset' is not supported");
                    continue;
                }
            };
            self.grant(&table.path, Access::Read, true, "<acpi><table>");
            self.opt("-acpitable", &text);
        }
    }
}
