//! libvirt's own code and words for faults that the reader finds by the schema alone.
//!
//! The reader says "Invalid value for attribute …" for every bad value; in some places libvirt says
//! something else with another code, and clients look at the code.

use diag::{Diagnostic, ErrorCode, Severity};

/// (attribute, element, code, libvirt's words, `{}` standing for the value).
type ValueRule = (&'static str, &'static str, ErrorCode, &'static str);

const VALUES: &[ValueRule] = &[
    ("type", "domain", ErrorCode::CONFIG_UNSUPPORTED, "invalid domain type {}"),
    (
        "",
        "memory",
        ErrorCode::XML_ERROR,
        "Invalid value '{}' for element or attribute './memory[1]'",
    ),
    (
        "",
        "currentMemory",
        ErrorCode::XML_ERROR,
        "Invalid value '{}' for element or attribute './currentMemory[1]'",
    ),
    ("type", "input", ErrorCode::CONFIG_UNSUPPORTED, "unknown input device type '{}'"),
    ("bus", "input", ErrorCode::CONFIG_UNSUPPORTED, "unknown input bus type '{}'"),
    ("offset", "clock", ErrorCode::CONFIG_UNSUPPORTED, "unknown clock offset '{}'"),
    ("mode", "cpu", ErrorCode::CONFIG_UNSUPPORTED, "Invalid mode attribute '{}'"),
    ("policy", "feature", ErrorCode::CONFIG_UNSUPPORTED, "Invalid CPU feature policy"),
    ("type", "hub", ErrorCode::CONFIG_UNSUPPORTED, "unknown hub device type '{}'"),
    (
        "type",
        "redirdev",
        ErrorCode::CONFIG_UNSUPPORTED,
        "unknown redirdev character device type '{}'",
    ),
    ("type", "serial", ErrorCode::CONFIG_UNSUPPORTED, CHAR),
    ("type", "parallel", ErrorCode::CONFIG_UNSUPPORTED, CHAR),
    ("type", "console", ErrorCode::CONFIG_UNSUPPORTED, CHAR),
    ("type", "channel", ErrorCode::CONFIG_UNSUPPORTED, CHAR),
    (
        "type",
        "target",
        ErrorCode::CONFIG_UNSUPPORTED,
        "unknown target type '{}' specified for character device",
    ),
    ("cpuset", "vcpu", ErrorCode::INVALID_ARG, "Failed to parse bitmap '{}'"),
    ("cpuset", "vcpupin", ErrorCode::INVALID_ARG, "Failed to parse bitmap '{}'"),
    ("cpuset", "emulatorpin", ErrorCode::INVALID_ARG, "Failed to parse bitmap '{}'"),
    ("cpuset", "iothreadpin", ErrorCode::INVALID_ARG, "Failed to parse bitmap '{}'"),
    ("nodeset", "memory", ErrorCode::CONFIG_UNSUPPORTED, "Invalid value of 'nodeset': {}"),
    ("nodeset", "memnode", ErrorCode::CONFIG_UNSUPPORTED, "Invalid value of 'nodeset': {}"),
    ("address", "mac", ErrorCode::XML_ERROR, "unable to parse mac address '{}'"),
    ("", "uuid", ErrorCode::INTERNAL_ERROR, "malformed uuid element"),
    ("", "vcpu", ErrorCode::XML_ERROR, "maximum vcpus count must be an integer"),
    ("", "on_poweroff", ErrorCode::CONFIG_UNSUPPORTED, "unknown on_poweroff action: {}"),
    ("", "on_reboot", ErrorCode::CONFIG_UNSUPPORTED, "unknown on_reboot action: {}"),
    ("", "on_crash", ErrorCode::CONFIG_UNSUPPORTED, "unknown on_crash action: {}"),
    ("", "type", ErrorCode::CONFIG_UNSUPPORTED, "unknown OS type '{}'"),
    ("state", "link", ErrorCode::CONFIG_UNSUPPORTED, "unknown interface link state '{}'"),
    ("type", "teaming", ErrorCode::CONFIG_UNSUPPORTED, "unknown teaming type '{}'"),
    ("bus", "redirdev", ErrorCode::CONFIG_UNSUPPORTED, "unknown redirdev bus '{}'"),
    ("model", "input", ErrorCode::CONFIG_UNSUPPORTED, "unknown input model '{}'"),
    ("secret", "encryption", ErrorCode::INTERNAL_ERROR, "Unable to parse secret uuid '{}'"),
    (
        "persistent_state",
        "backend",
        ErrorCode::INTERNAL_ERROR,
        "Invalid persistent_state value, either 'yes' or 'no'",
    ),
    ("model", "panic", ErrorCode::CONFIG_UNSUPPORTED, "unknown panic model '{}'"),
    ("connected", "graphics", ErrorCode::CONFIG_UNSUPPORTED, "unknown connected value {}"),
    ("fallback", "model", ErrorCode::CONFIG_UNSUPPORTED, "Invalid fallback attribute"),
    ("cpus", "cell", ErrorCode::INVALID_ARG, "Failed to parse bitmap '{}'"),
    ("mode", "memory", ErrorCode::CONFIG_UNSUPPORTED, "Unsupported NUMA memory tuning mode '{}'"),
    (
        "placement",
        "memory",
        ErrorCode::CONFIG_UNSUPPORTED,
        "Unsupported NUMA memory placement mode '{}'",
    ),
    ("mode", "access", ErrorCode::CONFIG_UNSUPPORTED, "unknown memoryBacking/access/mode '{}'"),
    (
        "mode",
        "allocation",
        ErrorCode::CONFIG_UNSUPPORTED,
        "unknown memoryBacking/allocation/mode '{}'",
    ),
    ("", "on_lockfailure", ErrorCode::CONFIG_UNSUPPORTED, "unknown on_lockfailure action: {}"),
    ("basis", "clock", ErrorCode::CONFIG_UNSUPPORTED, "unknown clock basis '{}'"),
    (
        "start",
        "clock",
        ErrorCode::INTERNAL_ERROR,
        "missing 'start' attribute for clock with offset='absolute'",
    ),
    (
        "",
        "pcihole64",
        ErrorCode::XML_ERROR,
        "Invalid value '{}' for element or attribute './pcihole64'",
    ),
    ("", "genid", ErrorCode::INTERNAL_ERROR, "malformed genid element"),
    ("format", "loader", ErrorCode::XML_ERROR, "Unsupported loader format '{}'"),
    (
        "uuid",
        "address",
        ErrorCode::INTERNAL_ERROR,
        "Cannot parse uuid attribute of element <address>",
    ),
    ("type", "codec", ErrorCode::CONFIG_UNSUPPORTED, "unknown codec type '{}'"),
];

const CHAR: &str = "unknown type presented to host for character device: {}";

/// (rule, start of the reader's message, code, libvirt's words).
const MISSING: &[(&str, &str, ErrorCode, &str)] = &[
    (
        "xml.missing-element",
        "Missing required element 'name' in element 'domain'",
        ErrorCode::NO_NAME,
        "missing name information",
    ),
    (
        "xml.missing-element",
        "Missing required element 'target' in element 'disk'",
        ErrorCode::NO_TARGET,
        "missing target information for device",
    ),
    (
        "xml.missing-element",
        "Missing required element 'target' in element 'filesystem'",
        ErrorCode::NO_TARGET,
        "missing target information for device",
    ),
    (
        "xml.missing-element",
        "Missing required element 'type' in element 'os'",
        ErrorCode::XML_ERROR,
        "an os <type> must be specified",
    ),
    (
        "xml.missing-attribute",
        "Missing required attribute 'name' in element 'entry'",
        ErrorCode::XML_ERROR,
        "Firmware entry is missing 'name' attribute",
    ),
    (
        "xml.missing-element",
        "Missing required element 'backend' in element 'rng'",
        ErrorCode::XML_ERROR,
        "only one RNG backend is supported",
    ),
    (
        "xml.missing-element",
        "Missing required element 'backend' in element 'crypto'",
        ErrorCode::XML_ERROR,
        "only one crypto backend is supported",
    ),
    (
        "xml.missing-text",
        "Missing content of element 'vcpu'",
        ErrorCode::XML_ERROR,
        "maximum vcpus count must be an integer",
    ),
    (
        "xml.missing-element",
        "Missing required element 'target' in element 'lease'",
        ErrorCode::XML_ERROR,
        "Missing 'target' element for lease",
    ),
    (
        "xml.missing-element",
        "Missing required element 'size' in element 'pstore'",
        ErrorCode::XML_ERROR,
        "missing element or attribute './size'",
    ),
    (
        "xml.missing-attribute",
        "Missing required attribute 'name' in element 'shmem'",
        ErrorCode::XML_ERROR,
        "shmem element must contain 'name' attribute",
    ),
    (
        "xml.missing-element",
        "Missing required element 'policy' in element 'launchSecurity'",
        ErrorCode::XML_ERROR,
        "failed to get launch security policy",
    ),
    (
        "xml.missing-element",
        "Missing required element 'backend' in element 'tpm'",
        ErrorCode::XML_ERROR,
        "missing TPM device backend",
    ),
    (
        "xml.missing-attribute",
        "Missing required attribute 'type' in element 'domain'",
        ErrorCode::INTERNAL_ERROR,
        "missing domain type attribute",
    ),
    (
        "xml.missing-attribute",
        "Missing required attribute 'type' in element 'input'",
        ErrorCode::INTERNAL_ERROR,
        "missing input device type",
    ),
    (
        "xml.missing-attribute",
        "Missing required attribute 'type' in element 'hub'",
        ErrorCode::INTERNAL_ERROR,
        "missing hub device type",
    ),
    (
        "xml.missing-attribute",
        "Missing required attribute 'cpuset' in element 'vcpupin'",
        ErrorCode::INTERNAL_ERROR,
        "missing cpuset for vcpupin",
    ),
    (
        "xml.missing-attribute",
        "Missing required attribute 'cpuset' in element 'emulatorpin'",
        ErrorCode::INTERNAL_ERROR,
        "missing cpuset for emulatorpin",
    ),
    (
        "xml.missing-element",
        "Missing required element 'path' in element 'device'",
        ErrorCode::CONFIG_UNSUPPORTED,
        "missing per-device path",
    ),
    (
        "xml.missing-attribute",
        "Missing required attribute 'value' in element 'arg'",
        ErrorCode::INTERNAL_ERROR,
        "No qemu command-line argument specified",
    ),
    (
        "xml.missing-attribute",
        "Missing required attribute 'name' in element 'env'",
        ErrorCode::INTERNAL_ERROR,
        "No qemu environment name specified",
    ),
    (
        "xml.missing-attribute",
        "Missing required attribute 'capability' in element 'add'",
        ErrorCode::INTERNAL_ERROR,
        "missing capability name",
    ),
];

/// Gives each fault the code and words libvirt has for it. The place and the hints stay.
///
/// `text` is what was read.
pub(super) fn refine(list: &mut [Diagnostic], text: &str) {
    for d in list.iter_mut() {
        if let Some(attribute) = between(&d.message, "{", "}") {
            let value = d.span.and_then(|span| text.get(span.start..span.end)).unwrap_or_default();
            d.message = crate::network::number_words(attribute, value);
            continue;
        }
        if d.rule == "xml.unknown-element"
            && let Some(name) = between(&d.message, "Unknown element '", "' in element 'features'")
        {
            d.message = format!("unexpected feature '{name}'");
            d.severity = Severity::Error;
            d.code = ErrorCode::CONFIG_UNSUPPORTED;
            continue;
        }
        let group =
            [("hyperv", "HyperV Enlightenment"), ("kvm", "KVM")].into_iter().find_map(|(e, n)| {
                let end = format!("' in element '{e}'");
                between(&d.message, "Unknown element '", &end).map(|name| (name.to_owned(), n))
            });
        if d.rule == "xml.unknown-element"
            && let Some((name, group)) = group
        {
            d.message = format!("unsupported {group} feature: {name}");
            d.severity = Severity::Error;
            d.code = ErrorCode::CONFIG_UNSUPPORTED;
            continue;
        }
        if d.rule == "xml.invalid-value" {
            for (attr, element, code, words) in VALUES {
                let head = if attr.is_empty() {
                    format!("Invalid value for element '{element}': '")
                } else {
                    format!("Invalid value for attribute '{attr}' in element '{element}': '")
                };
                if let Some(rest) = d.message.strip_prefix(&head) {
                    let value = rest.rsplit_once("'.").map_or(rest, |(v, _)| v).to_owned();
                    d.message = words.replace("{}", &value);
                    d.code = *code;
                    empty_set(d, attr, &value);
                    break;
                }
            }
            continue;
        }
        if d.rule == "xml.root"
            && let Some(name) =
                between(&d.message, "unexpected root element <", ">, expecting <domain>")
        {
            d.message = format!("expecting root element of 'domain', not '{name}'");
            continue;
        }
        for (rule, head, code, words) in MISSING {
            if d.rule == *rule && d.message.starts_with(head) {
                d.code = *code;
                if !words.is_empty() {
                    d.message = (*words).to_owned();
                }
            }
        }
    }
}

/// Adds the name of its source to each complaint about a device without a target.
pub(super) fn name_sources(list: &mut [Diagnostic], text: &str) {
    let missing = |d: &Diagnostic| d.code == ErrorCode::NO_TARGET && !d.message.ends_with(' ');
    if !list.iter().any(missing) {
        return;
    }
    let Ok(document) = xml::Document::parse(text) else { return };
    for d in list.iter_mut().filter(|d| missing(d)) {
        let path = crate::object::path_to(document.root(), d);
        let device = path.iter().rev().find(|el| matches!(el.name(), "disk" | "filesystem"));
        if let Some(name) = device.and_then(|el| el.child("source")).and_then(source_name) {
            d.message = format!("missing target information for device {name}");
        }
    }
}

/// Words for a bad port, which depend on whose port it is.
pub(super) fn name_ports(list: &mut [Diagnostic], text: &str) {
    const HEAD: &str = "Invalid value for attribute 'port' in element '";
    let port = |d: &Diagnostic| d.rule == "xml.invalid-value" && d.message.starts_with(HEAD);
    if !list.iter().any(port) {
        return;
    }
    let Ok(document) = xml::Document::parse(text) else { return };
    for d in list.iter_mut().filter(|d| port(d)) {
        let path = crate::object::path_to(document.root(), d);
        let names: Vec<&str> = path.iter().map(|el| el.name()).collect();
        let value = d.span.and_then(|span| text.get(span.start..span.end)).unwrap_or_default();
        match (names.as_slice(), path.last().and_then(|el| el.attr("type"))) {
            ([.., "graphics"], Some(kind @ ("vnc" | "rdp"))) => {
                d.message = format!("cannot parse {kind} port {value}");
                d.code = ErrorCode::INTERNAL_ERROR;
            }
            ([.., "serial" | "parallel" | "console", "target"], _) => {
                d.message = format!("Invalid port number: {value}");
            }
            _ => {}
        }
    }
}

/// How libvirt names a source in its words.
fn source_name(source: xml::Element<'_>) -> Option<String> {
    if let (Some(pool), Some(volume)) = (source.attr("pool"), source.attr("volume")) {
        return Some(format!("pool = '{pool}', volume = '{volume}'"));
    }
    let plain = ["file", "dev", "dir", "name"].iter().find_map(|name| source.attr(name));
    plain.map(str::to_owned)
}

/// A set of numbers that leaves none is another fault than one that cannot be read.
fn empty_set(d: &mut Diagnostic, attribute: &str, value: &str) {
    if !matches!(attribute, "cpuset" | "nodeset" | "cpus") {
        return;
    }
    let readable = value.contains('^') && value.bytes().all(|c| b"0123456789-,^".contains(&c));
    if readable {
        d.code = ErrorCode::CONFIG_UNSUPPORTED;
        d.message = format!("Invalid value of '{attribute}': {value}");
    } else {
        d.code = ErrorCode::INVALID_ARG;
        d.message = format!("Failed to parse bitmap '{value}'");
    }
}

fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    text.strip_prefix(before)?.strip_suffix(after)
}

#[cfg(test)]
mod tests {
    use crate::domain::{ParseOptions, parse};
    use diag::{ErrorCode, Severity};

    fn check(inner: &str, code: ErrorCode, message: &str) {
        let text = format!(
            "<domain type='qemu'><name>a</name><memory>1</memory>\
             <os><type>hvm</type></os>{inner}</domain>"
        );
        let p = parse(&text, ParseOptions::default());
        let errors: Vec<_> =
            p.diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
        assert_eq!(errors.len(), 1, "{inner}: {errors:?}");
        assert_eq!((errors[0].code, errors[0].message.as_str()), (code, message), "{inner}");
        // Rules across values have no place of their own.
        let spanned = errors[0].rule.starts_with("xml.");
        assert_eq!(errors[0].span.is_some(), spanned, "{inner}");
        assert!(p.domain.is_none());
    }

    #[test]
    fn ports_are_told_by_whose_they_are() {
        let devices = |inner: &str| format!("<devices>{inner}</devices>");
        let vnc = devices("<graphics type='vnc' port='5x'/>");
        check(&vnc, ErrorCode::INTERNAL_ERROR, "cannot parse vnc port 5x");
        let spice = devices("<graphics type='spice' port='5x'/>");
        let words = "Invalid value for attribute 'port' in element 'graphics': '5x'. Expected integer value";
        check(&spice, ErrorCode::XML_ERROR, words);
        let serial = devices("<parallel type='null'><target port='x'/></parallel>");
        check(&serial, ErrorCode::XML_ERROR, "Invalid port number: x");
    }

    #[test]
    fn codes_are_libvirts() {
        let unsupported = ErrorCode::CONFIG_UNSUPPORTED;
        check("<clock offset='foo'/>", unsupported, "unknown clock offset 'foo'");
        check("<on_reboot>foo</on_reboot>", unsupported, "unknown on_reboot action: foo");
        check("<features><foo/></features>", unsupported, "unexpected feature 'foo'");
        check("<cpu mode='foo'/>", unsupported, "Invalid mode attribute 'foo'");
        check("<uuid>xx</uuid>", ErrorCode::INTERNAL_ERROR, "malformed uuid element");
        check(
            "<vcpu cpuset='aaa'>1</vcpu>",
            ErrorCode::INVALID_ARG,
            "Failed to parse bitmap 'aaa'",
        );
        check(
            "<devices><disk><source file='/a'/></disk></devices>",
            ErrorCode::NO_TARGET,
            "missing target information for device /a",
        );
        check(
            "<devices><disk><source file='/a'/><target bus='ide'/></disk></devices>",
            ErrorCode::NO_TARGET,
            "missing target information for device /a",
        );
        check(
            "<maxMemory unit='XB' slots='1'>1</maxMemory>",
            ErrorCode::INVALID_ARG,
            "unknown suffix 'XB'",
        );
        check(
            "<devices><controller type='scsi' model='foo'/></devices>",
            unsupported,
            "Unknown model type 'foo'",
        );
        // Without a type it is IDE.
        check(
            "<devices><controller model='piix3-uhci'/></devices>",
            unsupported,
            "Unknown model type 'piix3-uhci'",
        );
        check(
            "<devices><disk><source file='/a'/><target dev='sda'/><boot order='1' \
             loadparm='LOADPARM1'/></disk></devices>",
            ErrorCode::INTERNAL_ERROR,
            "loadparm value 'LOADPARM1' must be between 1 and 8 characters",
        );
        check("<devices><hub type='foo'/></devices>", unsupported, "unknown hub device type 'foo'");
    }

    #[test]
    fn ten_mistakes_are_ten_faults() {
        let text = "<domain type='qmu'><name>a</name><memory unit='XB'>1</memory><vcpu>x</vcpu>
            <os><type>hvm</type></os><clock offset='a'/><on_crash>b</on_crash><devices><disk device='c'><target dev='vda'/></disk>
            <interface type='d'/><graphics type='e'/><watchdog model='f'/><hub type='g'/></devices></domain>";
        let p = parse(text, ParseOptions::default());
        let errors = p.diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
        assert_eq!(errors, 10, "{:#?}", p.diagnostics);
    }
}
