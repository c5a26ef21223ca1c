//! Libvirt's codes and words for what the mapping finds wrong in a device. They depend on the
//! capability it is found in.

use diag::{Diagnostic, ErrorCode};
use xml::Element;

use crate::object::{self, Rule};

const I: ErrorCode = ErrorCode::INTERNAL_ERROR;
const X: ErrorCode = ErrorCode::XML_ERROR;
const U: ErrorCode = ErrorCode::CONFIG_UNSUPPORTED;

/// Rules by the type of the outer capability.
const RULES: &[(&str, &[Rule])] = &[
    (
        "system",
        &[
            ("!capability/hardware", I, "no system UUID supplied for '{name}'"),
            ("!hardware/uuid", I, "no system UUID supplied for '{name}'"),
            ("uuid", I, "malformed uuid element for '{name}'"),
        ],
    ),
    (
        "pci",
        &[
            ("class", I, "invalid PCI class supplied for '{name}'"),
            ("!capability/domain", I, "no PCI domain ID supplied for '{name}'"),
            ("domain", I, "invalid PCI domain ID supplied for '{name}'"),
            ("!capability/bus", I, "no PCI bus ID supplied for '{name}'"),
            ("bus", I, "invalid PCI bus ID supplied for '{name}'"),
            ("!capability/slot", I, "no PCI slot ID supplied for '{name}'"),
            ("slot", I, "invalid PCI slot ID supplied for '{name}'"),
            ("!capability/function", I, "no PCI function ID supplied for '{name}'"),
            ("function", I, "invalid PCI function ID supplied for '{name}'"),
            ("!capability/vendor", I, "no PCI vendor ID supplied for '{name}'"),
            ("vendor@id", I, "invalid PCI vendor ID supplied for '{name}'"),
            ("!capability/product", I, "no PCI product ID supplied for '{name}'"),
            ("product@id", I, "invalid PCI product ID supplied for '{name}'"),
            ("!capability/address", X, "Missing address in 'phys_function' capability"),
            ("capability@maxCount", X, "Malformed 'maxCount' parameter"),
            ("numa@node", I, "invalid NUMA node ID supplied for '{name}'"),
            ("!capability/name", X, "Could not read a device name from the <name> element"),
            ("fields@access", X, "Unsupported VPD field access type '{}'"),
        ],
    ),
    (
        "usb_device",
        &[
            ("!capability/bus", I, "no USB bus number supplied for '{name}'"),
            ("bus", I, "invalid USB bus number supplied for '{name}'"),
            ("!capability/device", I, "no USB device number supplied for '{name}'"),
            ("device", I, "invalid USB device number supplied for '{name}'"),
            ("!capability/vendor", I, "no USB vendor ID supplied for '{name}'"),
            ("vendor@id", I, "invalid USB vendor ID supplied for '{name}'"),
            ("!capability/product", I, "no USB product ID supplied for '{name}'"),
            ("product@id", I, "invalid USB product ID supplied for '{name}'"),
        ],
    ),
    (
        "usb",
        &[
            ("!capability/number", I, "no USB interface number supplied for '{name}'"),
            ("number", I, "invalid USB interface number supplied for '{name}'"),
            ("!capability/class", I, "no USB interface class supplied for '{name}'"),
            ("class", I, "invalid USB interface class supplied for '{name}'"),
            ("!capability/subclass", I, "no USB interface subclass supplied for '{name}'"),
            ("subclass", I, "invalid USB interface subclass supplied for '{name}'"),
            ("!capability/protocol", I, "no USB interface protocol supplied for '{name}'"),
            ("protocol", I, "invalid USB interface protocol supplied for '{name}'"),
        ],
    ),
    (
        "net",
        &[
            ("!capability/interface", I, "no network interface supplied for '{name}'"),
            ("!feature@name", X, "missing network device feature name"),
            ("feature@name", X, "unknown network device feature '{}'"),
            ("capability@type", U, "invalid network type supplied for '{name}'"),
        ],
    ),
    (
        "scsi_host",
        &[
            ("host", I, "invalid SCSI host ID supplied for '{name}'"),
            ("unique_id", I, "invalid unique_id supplied for '{name}'"),
            ("capability@type", I, "unknown SCSI host capability type '{}' for '{name}'"),
            ("!capability@type", I, "missing SCSI host capability type for '{name}'"),
        ],
    ),
    (
        "scsi_target",
        &[
            ("!capability/target", I, "no target name supplied for '{name}'"),
            ("capability@type", I, "unknown SCSI target capability type '{}' for '{name}'"),
            ("!capability@type", I, "missing type for SCSI target capability for '{name}'"),
            ("!capability/rport", I, "missing rport name for '{name}'"),
            ("!capability/wwpn", I, "missing wwpn identifier for '{name}'"),
        ],
    ),
    (
        "scsi",
        &[
            ("!capability/host", I, "no SCSI host ID supplied for '{name}'"),
            ("host", I, "invalid SCSI host ID supplied for '{name}'"),
            ("!capability/bus", I, "no SCSI bus ID supplied for '{name}'"),
            ("bus", I, "invalid SCSI bus ID supplied for '{name}'"),
            ("!capability/target", I, "no SCSI target ID supplied for '{name}'"),
            ("target", I, "invalid SCSI target ID supplied for '{name}'"),
            ("!capability/lun", I, "no SCSI LUN ID supplied for '{name}'"),
            ("lun", I, "invalid SCSI LUN ID supplied for '{name}'"),
        ],
    ),
    (
        "storage",
        &[
            ("!capability/block", I, "no block device path supplied for '{name}'"),
            ("size", I, "invalid size supplied for '{name}'"),
            ("capability@type", I, "unknown storage capability type '{}' for '{name}'"),
            ("!capability@type", I, "missing storage capability type for '{name}'"),
            ("!capability/media_size", I, "no removable media size supplied for '{name}'"),
            ("media_size", I, "invalid removable media size supplied for '{name}'"),
        ],
    ),
    (
        "drm",
        &[
            ("!capability/type", U, "unknown drm type '(null)' for '{name}'"),
            ("type", U, "unknown drm type '{}' for '{name}'"),
        ],
    ),
    (
        "mdev",
        &[
            ("!capability/type", U, "missing type id attribute for '{name}'"),
            ("!type@id", U, "missing type id attribute for '{name}'"),
            ("uuid", I, "Invalid uuid '{}' for new mdev device"),
            ("iommuGroup@number", I, "invalid iommuGroup number attribute for '{name}'"),
        ],
    ),
    ("ccw", CHANNEL),
    ("css", CHANNEL),
    ("ccwgroup", CHANNEL),
    (
        "ap_card",
        &[
            ("!capability/ap-adapter", U, "missing ap-adapter value for '{name}'"),
            ("ap-adapter", U, "invalid ap-adapter value '{}' for '{name}'"),
        ],
    ),
    (
        "ap_queue",
        &[
            ("!capability/ap-adapter", U, "missing ap-adapter value for '{name}'"),
            ("ap-adapter", U, "invalid ap-adapter value '{}' for '{name}'"),
            ("!capability/ap-domain", U, "missing ap-domain value for '{name}'"),
            ("ap-domain", U, "invalid ap-domain value '{}' for '{name}'"),
        ],
    ),
];

/// Capabilities inside others, and libvirt's numbers of them, which stand in its messages.
const INNER: &[(&str, u32)] = &[("fc_host", 9), ("vports", 10), ("mdev_types", 13), ("vpd", 21)];

const CHANNEL: &[Rule] = &[
    ("state", U, "unknown state '{}' for '{name}'"),
    ("!capability/cssid", U, "missing cssid value for '{name}'"),
    ("!channel_dev_addr/cssid", U, "missing cssid value for '{name}'"),
    ("cssid", U, "invalid cssid value '{}' for '{name}'"),
    ("!capability/ssid", U, "missing ssid value for '{name}'"),
    ("!channel_dev_addr/ssid", U, "missing ssid value for '{name}'"),
    ("ssid", U, "invalid ssid value '{}' for '{name}'"),
    ("!capability/devno", U, "missing devno value for '{name}'"),
    ("!channel_dev_addr/devno", U, "missing devno value for '{name}'"),
    ("devno", U, "invalid devno value '{}' for '{name}'"),
    ("!capability/group_device", U, "missing group_device value for '{name}'"),
    ("!ccw_device@ref", X, "Missing ref property on ccw_device in members for '{name}'"),
];

/// For the types of mediated devices that any device may offer; `{name}` is the type's.
const MDEV_TYPES: &[Rule] = &[
    ("!type@id", X, "missing 'id' attribute for mediated device's <type> element"),
    ("!type/deviceAPI", X, "missing device API for mediated device type '{name}'"),
    (
        "!type/availableInstances",
        X,
        "missing number of available instances for mediated device type '{name}'",
    ),
    (
        "availableInstances",
        X,
        "missing number of available instances for mediated device type '{name}'",
    ),
];

/// Gives a fault libvirt's code and words; `name` is the device's.
pub(super) fn refine(root: Element<'_>, d: &mut Diagnostic, name: &str) {
    if object::Fault::of(d).is_none() {
        return;
    }
    let path = object::path_to(root, d);
    let Some(outer) = path.get(1).filter(|el| el.is("capability", None)) else {
        return;
    };
    if let Some(kind) = path.iter().find(|el| el.is("type", None))
        && outer.attr("type") != Some("mdev")
        && outer.attr("type") != Some("drm")
    {
        return object::refine(d, MDEV_TYPES, kind.attr("id").unwrap_or_default());
    }
    // The types of outer capabilities have the mapping's own words.
    let fault = object::Fault::of(d).filter(|fault| fault.key.ends_with("capability@type"));
    if let (Some(fault), 2) = (fault, path.len()) {
        // Some are capabilities, but not of a device by themselves.
        if let Some((_, number)) = INNER.iter().find(|(kind, _)| *kind == fault.value) {
            d.code = I;
            d.message = format!("unknown capability type '{number}' for '{name}'");
        }
        return;
    }
    let rules = RULES.iter().find(|(kind, _)| Some(*kind) == outer.attr("type"));
    object::refine(d, rules.map_or(&[], |(_, rules)| rules), name);
}
