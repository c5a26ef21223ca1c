//! The host's SMBIOS as dmidecode prints it.

use crate::domain::sysinfo::{
    OemString, OemStrings, Sysinfo, SysinfoBlock, SysinfoEntry, SysinfoType,
};

/// Keys of a section, and their names in libvirt's XML, in its order.
type Names = &'static [(&'static str, &'static str)];

const BIOS: Names = &[
    ("Vendor", "vendor"),
    ("Version", "version"),
    ("Release Date", "date"),
    ("BIOS Revision", "release"),
];
const SYSTEM: Names = &[
    ("Manufacturer", "manufacturer"),
    ("Product Name", "product"),
    ("Version", "version"),
    ("Serial Number", "serial"),
    ("UUID", "uuid"),
    ("SKU Number", "sku"),
    ("Family", "family"),
];
const BASE_BOARD: Names = &[
    ("Manufacturer", "manufacturer"),
    ("Product Name", "product"),
    ("Version", "version"),
    ("Serial Number", "serial"),
    ("Asset Tag", "asset"),
    ("Location In Chassis", "location"),
];
const CHASSIS: Names = &[
    ("Manufacturer", "manufacturer"),
    ("Version", "version"),
    ("Serial Number", "serial"),
    ("Asset Tag", "asset"),
    ("SKU Number", "sku"),
];
const PROCESSOR: Names = &[
    ("Socket Designation", "socket_destination"),
    ("Type", "type"),
    ("Family", "family"),
    ("Manufacturer", "manufacturer"),
    ("Signature", "signature"),
    ("Version", "version"),
    ("External Clock", "external_clock"),
    ("Max Speed", "max_speed"),
    ("Status", "status"),
    ("Serial Number", "serial_number"),
    ("Part Number", "part_number"),
];
const MEMORY: Names = &[
    ("Size", "size"),
    ("Form Factor", "form_factor"),
    ("Locator", "locator"),
    ("Bank Locator", "bank_locator"),
    ("Type", "type"),
    ("Type Detail", "type_detail"),
    ("Speed", "speed"),
    ("Manufacturer", "manufacturer"),
    ("Serial Number", "serial_number"),
    ("Part Number", "part_number"),
];

/// A section: its title, and its lines with key and value.
struct Section<'a> {
    title: &'a str,
    lines: Vec<(&'a str, &'a str)>,
}

/// Takes the output apart. A section begins with a line that is not indented; its lines are
/// indented once, further ones belong to lists and are read over.
fn sections(text: &str) -> Vec<Section<'_>> {
    let mut all: Vec<Section<'_>> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        if line.trim().is_empty() {
            open = false;
        } else if !line.starts_with(char::is_whitespace) {
            all.push(Section { title: line.trim_end(), lines: Vec::new() });
            open = true;
        } else if open && !line.starts_with("\t\t") {
            let Some((key, value)) = line.split_once(':') else { continue };
            if let Some(section) = all.last_mut() {
                section.lines.push((key.trim(), value.trim()));
            }
        }
    }
    all
}

impl Section<'_> {
    /// The entries of these names that have a value.
    fn block(&self, names: Names) -> Option<SysinfoBlock> {
        let entries: Vec<SysinfoEntry> = names
            .iter()
            .filter_map(|(key, name)| {
                let (_, value) = self.lines.iter().find(|(found, _)| found == key)?;
                let (name, value) = ((*name).to_owned(), (*value).to_owned());
                (!value.is_empty()).then_some(SysinfoEntry { name, value })
            })
            .collect();
        (!entries.is_empty()).then_some(SysinfoBlock { entries })
    }

    fn has(&self, key: &str, value: &str) -> bool {
        self.lines.iter().any(|(found, given)| *found == key && *given == value)
    }
}

/// Reads what `dmidecode -q -t 0,1,2,3,4,11,17` prints. dmidecode shows a line break inside an OEM
/// string as a dot; `oem_string` asks it for such a string alone, by its number.
pub fn dmi_sysinfo(text: &str, oem_string: impl Fn(u32) -> Option<String>) -> Sysinfo {
    let mut info = Sysinfo { kind: SysinfoType::Smbios, ..Sysinfo::default() };
    let mut strings = Vec::new();
    for section in sections(text) {
        match section.title {
            "BIOS Information" if info.bios.is_none() => info.bios = section.block(BIOS),
            "System Information" if info.system.is_none() => info.system = section.block(SYSTEM),
            "Base Board Information" => info.base_boards.extend(section.block(BASE_BOARD)),
            "Chassis Information" if info.chassis.is_none() => {
                info.chassis = section.block(CHASSIS);
            }
            "Processor Information" => info.processors.extend(section.block(PROCESSOR)),
            "Memory Device" if !section.has("Size", "No Module Installed") => {
                info.memory_devices.extend(section.block(MEMORY));
            }
            "OEM Strings" => {
                for (key, value) in &section.lines {
                    let Some(Ok(number)) = key.strip_prefix("String ").map(str::parse::<u32>)
                    else {
                        continue;
                    };
                    let whole = value.contains('.').then(|| oem_string(number)).flatten();
                    let value = whole.unwrap_or_else(|| (*value).to_owned());
                    strings.push(OemString { value });
                }
            }
            _ => {}
        }
    }
    if !strings.is_empty() {
        info.oem_strings = Some(OemStrings { entries: strings });
    }
    info
}
