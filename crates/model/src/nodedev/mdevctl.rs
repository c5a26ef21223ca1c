//! What is exchanged with mdevctl: the JSON of a device, and its list of devices.

use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
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

/// An object's members in the order of the text.
struct Members<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct InOrder<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
            type Value = Members<T>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = map.next_entry()? {
                    all.push(member);
                }
                Ok(Members(all))
            }
        }
        from.deserialize_map(InOrder(PhantomData))
    }
}

/// What mdevctl tells of a device.
#[derive(Deserialize)]
struct Properties {
    mdev_type: String,
    #[serde(default)]
    start: String,
    #[serde(default)]
    attrs: Vec<Members<String>>,
}

/// Devices by their UUIDs by the addresses of their parents.
type List = Vec<Members<Vec<Members<Properties>>>>;

/// Reads what `mdevctl list --dumpjson` prints. `parent_name` says which node device has an address;
/// without one it is the computer.
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
    let list: List = serde_json::from_str(text)
        .map_err(|error| ListError(format!("failed to parse mdevctl JSON response: {error}")))?;
    let mut devices = Vec::new();
    for (address, children) in list.into_iter().flat_map(|parents| parents.0) {
        let parent = parent_name(&address).unwrap_or_else(|| "computer".to_owned());
        for (uuid, properties) in children.into_iter().flat_map(|child| child.0) {
            let parsed = uuid.parse::<Uuid>().map_err(|_| {
                ListError(format!("mdevctl JSON response: '{uuid}' is no UUID of a device"))
            })?;
            devices.push(device(&address, &parent, parsed, properties));
        }
    }
    Ok(devices)
}

fn device(address: &str, parent: &str, uuid: Uuid, properties: Properties) -> Device {
    let attrs = properties.attrs.into_iter().flat_map(|attr| attr.0);
    let attrs = attrs.map(|(name, value)| MdevAttr { name, value }).collect();
    let mdev = Mdev {
        defined: MdevConfig { type_id: properties.mdev_type, attrs },
        active: MdevConfig::default(),
        uuid: Some(uuid),
        parent_addr: Some(address.to_owned()),
        iommu_group: 0,
        autostart: properties.start == "auto",
    };
    Device {
        name: device_name(&uuid, Some(address)),
        path: None,
        devnodes: Vec::new(),
        parent: Some(Parent { name: Some(parent.to_owned()), ..Parent::default() }),
        driver: None,
        capabilities: vec![Capability::Mdev(mdev)],
    }
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
