//! From text to [`Domain`] and back.

use diag::{Diagnostic, Severity};
use xml::{WriteOptions, Writer, Xml};

use super::os::OsTypeName;
use super::seclabel::SeclabelType;
use super::{Domain, VirtType, canonical, live, refine, walk};

/// The namespace of `<qemu:commandline>` and its siblings.
pub const QEMU_NS: &str = "http://libvirt.org/schemas/domain/qemu/1.0";

/// Most devices of one guest: 256 PCI buses of 32 slots with 8 functions each. A list beyond it was
/// never a guest, and is not worth the time that every pass over it would take.
const MAX_DEVICES: usize = 65_536;

/// The rule that a longer list breaks.
const TOO_MANY: &str = "domain.too-many-devices";

/// What is said of a guest without a kind of system.
const NO_OS: &str = "an os <type> must be specified";

/// How a document is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ParseOptions {
    /// The document describes a running guest: keep what only such a one has (id, aliases, paths of
    /// pseudo-terminals, chosen ports). Otherwise that is dropped, as libvirt does.
    pub live: bool,
}

/// What reading found.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The domain, when there was no error.
    pub domain: Option<Domain>,
    /// Every finding: of the reading in the order of the text, then of the checks.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a `<domain>` document. All faults are reported at once; any of them leaves no domain. Of a
/// document that cannot be read as a whole the rest is checked too, as far as that can be said
/// without what is wrong: those faults come last.
pub fn parse(text: &str, options: ParseOptions) -> Parsed {
    // The domain stays where it is: it is large.
    let xml::Parsed { value: mut domain, mut diagnostics } =
        xml::read_str::<Domain>(text, "domain");
    refine::refine(&mut diagnostics, text);
    refine::name_sources(&mut diagnostics, text);
    refine::name_ports(&mut diagnostics, text);
    if let Some(domain) = &mut domain {
        settle(domain, options, &mut diagnostics);
    }
    diagnostics.iter_mut().for_each(super::reporters::name);
    if diagnostics.iter().any(|d| d.severity == Severity::Error) {
        let read = domain.take();
        if !options.live && !diagnostics.iter().any(|d| d.rule == TOO_MANY) {
            super::partial::check(text, read, &mut diagnostics);
        }
        system_first(&mut diagnostics);
    }
    Parsed { domain, diagnostics }
}

/// The kind of system is what libvirt asks for before all but the type of the guest.
fn system_first(diagnostics: &mut [Diagnostic]) {
    let missing = diagnostics.iter().position(|d| d.message == NO_OS);
    let kind = |d: &Diagnostic| d.message.contains("domain type");
    let after = diagnostics.iter().position(kind).map_or(0, |at| at + 1);
    if let Some(missing) = missing
        && let Some(part) = diagnostics.get_mut(after..=missing)
    {
        part.rotate_right(1);
    }
}

/// What follows the reading of a domain, wherever it stood: values in one form, parts that belong
/// to a running guest dropped.
pub(crate) fn settle(d: &mut Domain, options: ParseOptions, diagnostics: &mut Vec<Diagnostic>) {
    let count = walk::count(d);
    if count > MAX_DEVICES {
        let text = format!("too many devices: {count}, a guest has {MAX_DEVICES} at most");
        super::defaults::fault(diagnostics, TOO_MANY, diag::ErrorCode::XML_ERROR, text);
        d.devices = None;
        return;
    }
    canonical::canonicalize(d, diagnostics);
    if d.os.is_none() && d.bootloader.is_none() {
        super::defaults::fault(diagnostics, "domain.os-type", diag::ErrorCode::XML_ERROR, NO_OS);
    }
    let container =
        d.os.as_ref().is_some_and(|os| os.kind.name == OsTypeName::Exe && os.init.is_none());
    // Other drivers have an init of their own.
    if container && matches!(d.kind, VirtType::Qemu | VirtType::Kvm) {
        super::defaults::fault(
            diagnostics,
            "domain.init",
            diag::ErrorCode::XML_ERROR,
            "init binary must be specified",
        );
    }
    diagnostics.extend(super::validate::written(d));
    if !options.live {
        live::strip(d);
    }
}

/// What is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FormatFlags {
    /// The running state: id, aliases, chosen ports. Otherwise the configuration alone.
    pub live: bool,
    /// Passwords too.
    pub secure: bool,
    /// Leave out what an older host might not understand.
    pub migratable: bool,
}

/// Writes a `<domain>` document as libvirt does, ending in a line break.
pub fn format(domain: &Domain, flags: FormatFlags) -> String {
    let options = WriteOptions {
        live: flags.live,
        secure: flags.secure,
        migratable: flags.migratable,
        indent: 0,
    };
    if flags.migratable {
        // Running state means nothing to another host.
        let options = WriteOptions { live: false, ..options };
        let mut w = Writer::new(&options);
        let mut portable = domain.clone();
        if domain.id.is_some() {
            // The start gave the guest this label; the next host gives its own.
            portable
                .seclabels
                .retain(|label| label.kind != SeclabelType::Dynamic || label.base_label.is_some());
        }
        live::strip(&mut portable);
        super::migratable::strip_implied(&mut portable);
        write_domain(&portable, &mut w);
        return w.finish();
    }
    if let Some(shown) = without_unwritten(domain) {
        return format(&shown, flags);
    }
    let mut w = Writer::new(&options);
    if flags.live && live::has_private(domain) {
        let mut public = domain.clone();
        live::strip_private(&mut public);
        write_domain(&public, &mut w);
    } else if !flags.live && domain.id.is_some() {
        let mut inactive = domain.clone();
        live::strip(&mut inactive);
        live::keep_for_both(domain, &mut inactive);
        write_domain(&inactive, &mut w);
    } else {
        write_domain(domain, &mut w);
    }
    w.finish()
}

/// The domain without what libvirt reads and uses but never writes; `None` where there is no such.
fn without_unwritten(domain: &Domain) -> Option<Domain> {
    use super::devices::disk::{Disk, DiskBus};
    let unwritten = |x: &Disk| x.target.removable.is_some() && x.target.bus == Some(DiskBus::Scsi);
    if !domain.devices.iter().flat_map(|v| &v.disks).any(unwritten) {
        return None;
    }
    let mut shown = domain.clone();
    for x in shown.devices_mut().disks.iter_mut().filter(|x| unwritten(x)) {
        x.target.removable = None;
    }
    Some(shown)
}

/// Writes the `<domain>` element at the writer's place.
pub fn write_domain(domain: &Domain, w: &mut Writer) {
    write_domain_as("domain", domain, w);
}

/// The same under another name.
pub(crate) fn write_domain_as(name: &str, domain: &Domain, w: &mut Writer) {
    w.start(name);
    domain.write_attrs(w);
    if domain.qemu_commandline.is_some()
        || domain.qemu_capabilities.is_some()
        || domain.qemu_override.is_some()
        || domain.qemu_deprecation.is_some()
    {
        w.declare_ns("qemu", QEMU_NS);
    }
    domain.write_children(w);
    w.end(name);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_devices_is_bounded() {
        let of = |count: usize| {
            let hubs = "<hub type='usb'/>".repeat(count);
            let text = format!(
                "<domain type='qemu'><name>x</name><os><type>hvm</type></os>\
                 <devices>{hubs}</devices></domain>"
            );
            parse(&text, ParseOptions::default())
        };
        let most = of(MAX_DEVICES);
        assert!(most.domain.is_some(), "{:?}", most.diagnostics);
        let more = of(MAX_DEVICES + 1);
        assert!(more.domain.is_none());
        let messages: Vec<_> = more.diagnostics.iter().map(|d| d.message.as_str()).collect();
        assert_eq!(messages, ["too many devices: 65537, a guest has 65536 at most"]);
    }
}
