//! Boot order, kernel, firmware.

use super::build::{Build, Props, Switch, comma};
use super::words::YesNo;
use crate::step::{Access, Action, Step};
use model::domain::devices::disk::{DiskDevice, StorageType};
use model::domain::os::{BootDev, FirmwareFormat, LoaderType, Os};

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
        let Some(os) = &self.d.os else {
            return orders;
        };
        let given = orders.disks.iter().chain(&orders.interfaces).any(Option::is_some);
        if given {
            return orders;
        }
        // Each class means its first device.
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
            if let Some(slot) = slot
                && slot.is_none()
            {
                *slot = Some(number);
            }
        }
        orders
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
                AcpiTableType::Rawset => path,
            };
            self.grant(&table.path, Access::Read, true, "<acpi><table>");
            self.opt("-acpitable", &text);
        }
    }

    /// Flash images; names of the nodes for `-machine`.
    pub(super) fn pflash(&mut self, os: &Os) -> Vec<String> {
        let Some(loader) = os.loader.as_ref().filter(|l| l.kind == Some(LoaderType::Pflash)) else {
            return Vec::new();
        };
        let Some(path) = loader.path.clone() else {
            self.fail("qemu.loader", "<loader type='pflash'> names no file");
            return Vec::new();
        };
        let format = |format: Option<FirmwareFormat>| match format {
            Some(FirmwareFormat::Qcow2) => "qcow2",
            _ => "raw",
        };
        let readonly = loader.readonly == Some(YesNo::Yes);
        self.grant(
            &path,
            if readonly { Access::Read } else { Access::ReadWrite },
            readonly,
            "<loader>",
        );
        self.json("-blockdev", storage_below("libvirt-pflash0-storage", &path));
        let kind = format(loader.format);
        let mut props = Props::default()
            .set("node-name", "libvirt-pflash0-format")
            .set("read-only", readonly)
            .set("driver", kind)
            .set("file", "libvirt-pflash0-storage");
        if kind != "raw" {
            props = props.set("backing", serde_json::Value::Null);
        }
        self.json("-blockdev", props);
        let mut nodes = vec!["libvirt-pflash0-format".to_string()];
        let Some(nvram) = &os.nvram else {
            return nodes;
        };
        let source = nvram.source.as_ref();
        let path = nvram.path.clone().or_else(|| source.and_then(|s| s.file.clone()));
        let block = nvram.kind == Some(StorageType::Block);
        let path = path.or_else(|| source.and_then(|s| s.dev.clone()));
        let Some(path) = path else {
            self.fail("qemu.nvram", "<nvram> on a network source is not supported yet");
            return nodes;
        };
        if !block {
            self.nvram_file(nvram.template.as_deref(), &path);
        }
        let driver = if block { "host_device" } else { "file" };
        let kind = format(nvram.format);
        if kind == "raw" {
            let props = Props::default()
                .set("driver", driver)
                .set("filename", path)
                .set("node-name", "libvirt-pflash1-storage")
                .set("read-only", false);
            self.json("-blockdev", props);
            nodes.push("libvirt-pflash1-storage".into());
        } else {
            self.json("-blockdev", storage_below("libvirt-pflash1-storage", &path));
            let props = Props::default()
                .set("node-name", "libvirt-pflash1-format")
                .set("read-only", false)
                .set("driver", kind)
                .set("file", "libvirt-pflash1-storage")
                .set("backing", serde_json::Value::Null);
            self.json("-blockdev", props);
            nodes.push("libvirt-pflash1-format".into());
        }
        nodes
    }

    /// Makes the guest's variable store if it is missing, and hands it over.
    fn nvram_file(&mut self, template: Option<&str>, path: &str) {
        use crate::step::Undo;
        let step = match template {
            Some(template) => Step::new(Action::CopyFile {
                from: template.to_string(),
                to: path.to_string(),
                mode: 0o600,
                owner: self.ids(),
                reset: false,
            })
            .rolled_back_by(Undo::RemoveIfCreated(path.to_string())),
            None => {
                Step::new(Action::RequireFile { path: path.to_string(), role: "<nvram>".into() })
            }
        };
        self.steps.push(step);
        self.grant(path, Access::ReadWrite, false, "<nvram>");
    }

    /// `-bios` and the protection of flash.
    pub(super) fn loader(&mut self, os: &Os) {
        let Some(loader) = &os.loader else {
            return;
        };
        match (loader.kind, &loader.path) {
            (Some(LoaderType::Pflash), _) if loader.secure == Some(YesNo::Yes) => {
                self.opt("-global", "driver=cfi.pflash01,property=secure,value=on");
            }
            (Some(LoaderType::Pflash), _) => {}
            (_, Some(path)) => {
                let path = path.clone();
                self.grant(&path, Access::Read, true, "<loader>");
                self.opt("-bios", &path);
            }
            _ => {}
        }
    }
}

/// The storage node of a flash image with a format above it.
fn storage_below(node: &str, path: &str) -> Props {
    Props::default()
        .set("driver", "file")
        .set("filename", path)
        .set("node-name", node)
        .set("auto-read-only", true)
        .set("discard", "unmap")
}
