//! What is exchanged with mdevctl: the JSON of a device, and its list of devices.

use serde_json::Value;
use units::Uuid;

use super::{Capability, Device, Mdev, MdevAttr, MdevConfig, Parent};

/// Why a list is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListError(pub String);

impl std::fmt::Display for ListError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ListError {}

/// The JSON from which mdevctl makes or defines a device, in one line.
pub fn device_json(mdev: &Mdev) -> String {
    let text = |text: &str| Value::String(text.to_owned()).to_string();
    let start = if mdev.autostart { "auto" } else { "manual" };
    let mut out =
        format!("{{\"mdev_type\":{},\"start\":{}", text(&mdev.defined.type_id), text(start));
    if !mdev.defined.attrs.is_empty() {
        // A list of objects: the order counts, and a name may occur twice.
        let attrs: Vec<String> = mdev
            .defined
            .attrs
            .iter()
            .map(|attr| format!("{{{}:{}}}", text(&attr.name), text(&attr.value)))
            .collect();
        out.push_str(&format!(",\"attrs\":[{}]", attrs.join(",")));
    }
    out.push('}');
    out
}

/// Reads what `mdevctl list --dumpjson` prints: devices by the address of their parent.
/// `parent_name` says which node device has an address; without one it is the computer.
///
/// # Errors
/// The text is no such list.
pub fn parse_list(
    text: &str,
    parent_name: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Device>, ListError> {
    if text.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    let wrong = |what: &str| ListError(format!("mdevctl JSON response contains {what}"));
    let root: Value = serde_json::from_str(text)
        .map_err(|error| ListError(format!("failed to parse mdevctl JSON response: {error}")))?;
    let Value::Array(parts) = root else {
        return Err(wrong("no list of parents"));
    };
    let mut devices = Vec::new();
    for part in &parts {
        let parents = part.as_object().ok_or_else(|| wrong("a parent that is no object"))?;
        for (address, children) in parents {
            let children = children
                .as_array()
                .ok_or_else(|| wrong(&format!("no list of devices of parent '{address}'")))?;
            let parent = parent_name(address).unwrap_or_else(|| "computer".to_owned());
            for child in children {
                let child = child.as_object().ok_or_else(|| wrong("a device that is no object"))?;
                for (uuid, properties) in child {
                    devices.push(device(address, &parent, uuid, properties)?);
                }
            }
        }
    }
    Ok(devices)
}

fn device(
    address: &str,
    parent: &str,
    uuid: &str,
    properties: &Value,
) -> Result<Device, ListError> {
    let wrong = |what: &str| ListError(format!("mdevctl JSON response: device '{uuid}' {what}"));
    let parsed: Uuid = uuid.parse().map_err(|_| wrong("has no UUID as its name"))?;
    let type_id = properties.get("mdev_type").and_then(Value::as_str);
    let type_id = type_id.ok_or_else(|| wrong("has no type"))?.to_owned();
    let mut attrs = Vec::new();
    if let Some(list) = properties.get("attrs") {
        let list = list.as_array().ok_or_else(|| wrong("has attributes that are no list"))?;
        for attr in list {
            let attr = attr.as_object().ok_or_else(|| wrong("has a malformed attribute"))?;
            for (name, value) in attr {
                let value = value.as_str().ok_or_else(|| wrong("has a malformed attribute"))?;
                attrs.push(MdevAttr { name: name.clone(), value: value.to_owned() });
            }
        }
    }
    let mdev = Mdev {
        defined: MdevConfig { type_id, attrs },
        active: MdevConfig::default(),
        uuid: Some(parsed),
        parent_addr: Some(address.to_owned()),
        iommu_group: 0,
        autostart: properties.get("start").and_then(Value::as_str) == Some("auto"),
    };
    Ok(Device {
        name: device_name(&parsed, Some(address)),
        path: None,
        devnodes: Vec::new(),
        parent: Some(Parent { name: Some(parent.to_owned()), ..Parent::default() }),
        driver: None,
        capabilities: vec![Capability::Mdev(mdev)],
    })
}

/// The name libvirt gives a mediated device: its UUID and the address of its parent.
pub fn device_name(uuid: &Uuid, parent: Option<&str>) -> String {
    let mut name = format!("mdev_{uuid}");
    if let Some(parent) = parent {
        name.push('_');
        name.push_str(parent);
    }
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// The address under which mdevctl knows a device, by what the device is; `None` when it cannot
/// be the parent of a mediated device.
pub fn parent_address(device: &Device) -> Option<String> {
    device.capabilities.iter().find_map(|capability| match capability {
        Capability::Pci(pci) => {
            Some(format!("{:04x}:{:02x}:{:02x}.{:x}", pci.domain, pci.bus, pci.slot, pci.function))
        }
        Capability::Css(css) => {
            let address = &css.address;
            Some(format!("{:x}.{:x}.{:04x}", address.cssid.0, address.ssid.0, address.devno.0))
        }
        Capability::ApMatrix(_) => Some("matrix".to_owned()),
        _ => None,
    })
}
