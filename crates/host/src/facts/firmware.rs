//! What the firmware says about the machine.

use std::path::Path;

use super::text;

/// The strings of `/sys/class/dmi/id`. A machine without such firmware has none; serial numbers and
/// UUID are readable by root only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The firmware's names.
pub struct Smbios {
    pub bios_vendor: Option<String>,
    pub bios_version: Option<String>,
    pub bios_date: Option<String>,
    pub bios_release: Option<String>,
    pub sys_vendor: Option<String>,
    pub product_name: Option<String>,
    pub product_version: Option<String>,
    pub product_serial: Option<String>,
    pub product_uuid: Option<String>,
    pub product_sku: Option<String>,
    pub product_family: Option<String>,
    pub board_vendor: Option<String>,
    pub board_name: Option<String>,
    pub board_version: Option<String>,
    pub board_serial: Option<String>,
    pub board_asset_tag: Option<String>,
    pub chassis_vendor: Option<String>,
    pub chassis_version: Option<String>,
    pub chassis_serial: Option<String>,
    pub chassis_asset_tag: Option<String>,
}

/// Reads the firmware's strings; `None` where the machine has none.
pub fn smbios(root: &Path) -> Option<Smbios> {
    let folder = root.join("sys/class/dmi/id");
    if !folder.is_dir() {
        return None;
    }
    let get = |name: &str| text(folder.join(name)).filter(|t| !t.is_empty());
    Some(Smbios {
        bios_vendor: get("bios_vendor"),
        bios_version: get("bios_version"),
        bios_date: get("bios_date"),
        bios_release: get("bios_release"),
        sys_vendor: get("sys_vendor"),
        product_name: get("product_name"),
        product_version: get("product_version"),
        product_serial: get("product_serial"),
        product_uuid: get("product_uuid"),
        product_sku: get("product_sku"),
        product_family: get("product_family"),
        board_vendor: get("board_vendor"),
        board_name: get("board_name"),
        board_version: get("board_version"),
        board_serial: get("board_serial"),
        board_asset_tag: get("board_asset_tag"),
        chassis_vendor: get("chassis_vendor"),
        chassis_version: get("chassis_version"),
        chassis_serial: get("chassis_serial"),
        chassis_asset_tag: get("chassis_asset_tag"),
    })
}

/// The host's id of `/etc/machine-id`, 32 hexadecimal digits.
pub fn machine_id(root: &Path) -> Option<String> {
    let id =
        ["etc/machine-id", "var/lib/dbus/machine-id"].iter().find_map(|p| text(root.join(p)))?;
    (id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_and_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(smbios(dir.path()), None);
        assert_eq!(machine_id(dir.path()), None);
        std::fs::create_dir_all(dir.path().join("sys/class/dmi/id")).unwrap();
        std::fs::write(dir.path().join("sys/class/dmi/id/sys_vendor"), "QEMU\n").unwrap();
        std::fs::create_dir_all(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n")
            .unwrap();
        let found = smbios(dir.path()).unwrap();
        assert_eq!((found.sys_vendor.as_deref(), found.board_name), (Some("QEMU"), None));
        assert!(machine_id(dir.path()).is_some());
        std::fs::write(dir.path().join("etc/machine-id"), "uninitialized\n").unwrap();
        assert_eq!(machine_id(dir.path()), None);
    }
}
