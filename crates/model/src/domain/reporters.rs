//! Which part of libvirt reports a fault, where it is not the one that reads domains: the third part
//! of an error, after its code and its words, on which clients may decide.

use diag::{Diagnostic, ErrorDomain};

/// (start of the words, who says them). Helpers that serve several kinds of documents report for
/// themselves, or for nobody.
const REPORTERS: &[(&str, ErrorDomain)] = &[
    ("Invalid PCI address domain='", ErrorDomain::NONE),
    ("Invalid PCI address bus='", ErrorDomain::NONE),
    ("Invalid PCI address slot='", ErrorDomain::NONE),
    ("Invalid PCI address function=", ErrorDomain::NONE),
    ("Invalid PCI address 0000:00:00", ErrorDomain::NONE),
    ("invalid secret uuid '", ErrorDomain::NONE),
    ("missing secret uuid or usage attribute", ErrorDomain::NONE),
    ("failed to parse port number '", ErrorDomain::NONE),
    ("port '", ErrorDomain::NONE),
    ("Cannot parse socket address '", ErrorDomain::NONE),
    ("vlan tag id ", ErrorDomain::NONE),
    ("missing tag id - each <vlan>", ErrorDomain::NONE),
    ("invalid \"trunk='", ErrorDomain::NONE),
    ("invalid configuration in <vlan>", ErrorDomain::NONE),
    ("duplicate native vlan setting", ErrorDomain::NONE),
    ("unknown virtualport type", ErrorDomain::NONE),
    ("missing required virtualport type", ErrorDomain::NONE),
    ("cannot parse value of ", ErrorDomain::NONE),
    ("value of managerid out of range", ErrorDomain::NONE),
    ("value for typeid out of range", ErrorDomain::NONE),
    ("value of typeidversion out of range", ErrorDomain::NONE),
    ("cannot parse instanceid parameter", ErrorDomain::NONE),
    ("cannot parse interfaceid parameter", ErrorDomain::NONE),
    ("missing managerid in <virtualport", ErrorDomain::NET),
    ("missing typeid in <virtualport", ErrorDomain::NET),
    ("missing typeidversion in <virtualport", ErrorDomain::NET),
    ("missing profileid in <virtualport", ErrorDomain::NET),
    ("missing interfaceid in <virtualport", ErrorDomain::NET),
    ("extra ", ErrorDomain::NET),
    ("missing username for auth", ErrorDomain::STORAGE),
    ("unknown volume encryption ", ErrorDomain::STORAGE),
    ("missing connection type for <reservations/>", ErrorDomain::STORAGE),
    ("missing connection mode for <reservations/>", ErrorDomain::STORAGE),
    ("missing path for <reservations/>", ErrorDomain::STORAGE),
    ("unsupported connection type for <reservations/>", ErrorDomain::STORAGE),
    ("unsupported connection mode for <reservations/>", ErrorDomain::STORAGE),
    ("Invalid mode attribute '", ErrorDomain::CPU),
    ("Invalid CPU feature ", ErrorDomain::CPU),
    ("Invalid fallback attribute", ErrorDomain::CPU),
    ("invalid CPU cache level", ErrorDomain::CPU),
    ("Attribute migratable is only allowed", ErrorDomain::CPU),
    ("Cannot parse <address> '", ErrorDomain::DEVICE),
    ("Invalid partial specification for virtio ccw address", ErrorDomain::DEVICE),
    ("Invalid specification for virtio ccw address", ErrorDomain::DEVICE),
    ("The PCI controller with index=", ErrorDomain::QEMU),
    ("pci-root and pcie-root controllers should", ErrorDomain::QEMU),
    ("spapr-vio address ", ErrorDomain::QEMU),
    ("chardev reconnect source timeout", ErrorDomain::QEMU),
    ("No emulator found for arch '", ErrorDomain::QEMU),
    ("Emulator '", ErrorDomain::QEMU),
    ("CPU topology doesn't match maximum vcpu count", ErrorDomain::QEMU),
    ("Memory size must be specified via", ErrorDomain::DOMAIN),
    ("Multiple '", ErrorDomain::DOMAIN),
    ("Duplicate USB controllers", ErrorDomain::DOMAIN),
    ("Can't add another USB controller", ErrorDomain::DOMAIN),
    ("unknown driver format value", ErrorDomain::DOMAIN),
    ("<virtualport> element unsupported", ErrorDomain::DOMAIN),
    ("address of type '", ErrorDomain::DOMAIN),
];

/// Notes who reports it.
pub(crate) fn name(d: &mut Diagnostic) {
    if d.domain.is_none() {
        d.domain = REPORTERS
            .iter()
            .find(|(words, _)| d.message.starts_with(words))
            .map(|(_, domain)| *domain);
    }
}
