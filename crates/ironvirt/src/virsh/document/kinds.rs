//! The kinds of objects that libvirt describes in XML: one line each.

use diag::{Diagnostic, ErrorCode, Severity, Span};
use model::domain::defaults::DefaultsContext;
use model::domain::{FormatFlags, ParseOptions};
use model::storage::{Parsing, Pool, PoolType, Volume};
use xml::{Document, Element, WriteOptions};

use super::place;

/// What reading a document gave.
pub struct Read {
    /// What the object is called (`domain`, `storage pool`); none for an unknown root element.
    pub kind: Option<&'static str>,
    /// Everything found, in the order of the text; of the values, in libvirt's order.
    pub diagnostics: Vec<Diagnostic>,
    /// The document as libvirt writes it; none when it is refused.
    pub written: Option<String>,
}

impl Read {
    /// Nothing speaks against it.
    pub fn valid(&self) -> bool {
        !self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }

    fn new(kind: &'static str, diagnostics: Vec<Diagnostic>, written: Option<String>) -> Self {
        Self { kind: Some(kind), diagnostics, written }
    }
}

/// One kind of object.
struct Kind {
    /// The root element.
    root: &'static str,
    /// What the object is called.
    name: &'static str,
    /// Reads, checks and writes it.
    read: fn(&str) -> (Vec<Diagnostic>, Option<String>),
}

static KINDS: &[Kind] = &[
    Kind { root: "domain", name: "domain", read: domain },
    Kind { root: "pool", name: "storage pool", read: |t| typed(Pool::parse(t), |p| p.to_xml(0)) },
    Kind { root: "volume", name: "storage volume", read: volume },
    Kind {
        root: "device",
        name: "node device",
        read: |t| typed(model::nodedev::parse(t), |d| model::nodedev::format(d, &EVERYTHING)),
    },
    Kind {
        root: "interface",
        name: "host interface",
        read: |t| typed(model::interface::parse(t), |i| model::interface::format(i, &EVERYTHING)),
    },
    Kind {
        root: "secret",
        name: "secret",
        read: |t| typed(model::secret::parse(t), |s| model::secret::format(s, &EVERYTHING)),
    },
    Kind { root: "domainsnapshot", name: "domain snapshot", read: snapshot },
    Kind { root: "domaincheckpoint", name: "domain checkpoint", read: checkpoint },
    Kind {
        root: "domainbackup",
        name: "domain backup",
        read: |t| {
            use model::backup::{Parsing, format, parse};
            typed(parse(t, Parsing { internal: false }), |b| format(b, false, &EVERYTHING))
        },
    },
    Kind { root: "network", name: "network", read: network },
    Kind {
        root: "networkport",
        name: "network port",
        read: |t| typed(model::network::parse_port(t), model::network::format_port),
    },
    Kind {
        root: "filter",
        name: "network filter",
        read: |t| typed(model::nwfilter::parse(t), model::nwfilter::format),
    },
    Kind {
        root: "filterbinding",
        name: "network filter binding",
        read: |t| typed(model::nwfilter::parse_binding(t), model::nwfilter::format_binding),
    },
];

/// A snapshot that was there before says when it was made; a new one need not.
fn snapshot(text: &str) -> (Vec<Diagnostic>, Option<String>) {
    use model::snapshot::{Parsing, format, parse};
    let parsing = Parsing { redefine: has_time(text), internal: false };
    let mut parsed = parse(text, parsing);
    inside(text, &mut parsed, |text| {
        let value = parse(text, parsing).value?;
        Some(with_defaults(|ctx| value.clone().complete_domains(ctx)))
    });
    typed(parsed, |s| format(s, false, &EVERYTHING))
}

/// The same for a checkpoint.
fn checkpoint(text: &str) -> (Vec<Diagnostic>, Option<String>) {
    use model::checkpoint::{Parsing, format, parse};
    let parsing = Parsing { redefine: has_time(text) };
    let mut parsed = parse(text, parsing);
    inside(text, &mut parsed, |text| {
        let value = parse(text, parsing).value?;
        Some(with_defaults(|ctx| value.clone().complete_domains(ctx)))
    });
    typed(parsed, |c| format(c, &EVERYTHING))
}

/// Checks the definition inside such a document; what is written of it stays as it was. `complete`
/// reads a document and finds the faults of the definition in it.
fn inside<T>(
    text: &str,
    parsed: &mut xml::Parsed<T>,
    complete: impl Fn(&str) -> Option<Vec<Diagnostic>>,
) {
    if parsed.value.is_none() {
        return alone(text, &mut parsed.diagnostics);
    }
    let check = |text: &str| complete(text).unwrap_or_default();
    let mut found = check(text);
    found.retain(|d| !NEED_EMULATOR.contains(&d.rule));
    place::find(text, &mut found, &check);
    if found.iter().any(|d| d.severity == Severity::Error) {
        parsed.value = None;
    }
    parsed.diagnostics.extend(found);
}

/// Where the document around it cannot be read, the definition is read by itself, as its checks
/// wait for nothing else.
fn alone(text: &str, found: &mut Vec<Diagnostic>) {
    let Ok(doc) = Document::parse(text) else { return };
    for name in ["domain", "inactiveDomain"] {
        let child = doc.root().child(name).filter(|el| el.attr("type").is_some());
        let Some((el, body)) = child.and_then(|el| Some((el, body(el)?))) else { continue };
        let (more, _) = domain(&format!("{OPEN}{body}</domain>"));
        let shift = |at: usize| at + el.name_span().end - OPEN.len();
        for mut d in more {
            d.span = d.span.map(|span| Span { start: shift(span.start), end: shift(span.end) });
            let known = found.iter().any(|old| old.message == d.message);
            if d.severity == Severity::Error && !known {
                found.push(d);
            }
        }
    }
}

const OPEN: &str = "<domain";

/// What an element holds: from its attributes to its end tag.
fn body(el: Element<'_>) -> Option<&str> {
    let text = el.source();
    let name = el.qualified_name().len() + 1;
    text.get(name..text.rfind("</")?)
}

fn has_time(text: &str) -> bool {
    Document::parse(text).is_ok_and(|doc| doc.root().child("creationTime").is_some())
}

/// Passwords and live state too.
const EVERYTHING: WriteOptions =
    WriteOptions { live: true, secure: true, migratable: false, indent: 0 };

/// Reads a document of any kind: the root element says which.
pub fn read(text: &str) -> Read {
    let root = match Document::parse(text) {
        Ok(doc) => (doc.root().name().to_owned(), doc.root().name_span()),
        Err(diagnostics) => return Read { kind: None, diagnostics, written: None },
    };
    let (root, span) = root;
    if let Some(kind) = KINDS.iter().find(|k| k.root == root) {
        let (diagnostics, written) = (kind.read)(text);
        return Read::new(kind.name, diagnostics, written);
    }
    let roots = KINDS.iter().map(|k| k.root);
    let hints = match xml::closest(&root, roots.clone()) {
        Some(near) => vec![format!("Did you mean <{near}>?")],
        None => vec![format!("Known are: {}.", roots.collect::<Vec<_>>().join(", "))],
    };
    let unknown = Diagnostic {
        rule: "document.unknown-kind",
        severity: Severity::Error,
        code: ErrorCode::XML_ERROR,
        span: Some(span),
        message: format!("no kind of object has the root element <{root}>"),
        domain: None,
        hints,
    };
    Read { kind: None, diagnostics: vec![unknown], written: None }
}

fn typed<T>(
    parsed: xml::Parsed<T>,
    write: impl Fn(&T) -> String,
) -> (Vec<Diagnostic>, Option<String>) {
    let mut diagnostics = parsed.diagnostics;
    // A client is told libvirt's first fault first; who looks at a file reads from the top.
    diagnostics.sort_by_key(|d| d.span.map_or(usize::MAX, |span| span.start));
    (diagnostics, parsed.value.as_ref().map(write))
}

/// A network is checked as the driver does that is to run it.
fn network(text: &str) -> (Vec<Diagnostic>, Option<String>) {
    use model::network::{FormatFlags, format, parse_checked};
    let mut parsed = parse_checked(text);
    place::find(text, &mut parsed.diagnostics, &|text| parse_checked(text).diagnostics);
    let flags = FormatFlags { inactive: true, ..FormatFlags::default() };
    typed(parsed, |network| format(network, flags))
}

/// A volume's own XML does not say in which kind of pool it is to lie: in a folder, here.
fn volume(text: &str) -> (Vec<Diagnostic>, Option<String>) {
    let parsing = Parsing { capacity_optional: false };
    typed(Volume::parse(text, PoolType::Dir, parsing), Volume::to_xml)
}

/// Calls `act` with what defaults depend on. Nothing is known of an emulator here: what depends on
/// it is checked by the daemon alone.
fn with_defaults<T>(act: impl FnOnce(&mut DefaultsContext<'_>) -> T) -> T {
    act(&mut DefaultsContext::without_emulator(std::env::consts::ARCH, &mut |bytes| bytes.fill(0)))
}

/// What cannot be said without knowing the emulator: it gives the machine and its controllers.
const NEED_EMULATOR: &[&str] =
    &["domain.no-machine", "domain.pci-bus", "domain.scsi-model", "domain.usb-controller"];

/// A domain with its defaults filled in is checked; as it was written it is compared.
fn domain(text: &str) -> (Vec<Diagnostic>, Option<String>) {
    let (mut found, written) = check_domain(text);
    place::find(text, &mut found, &|text| check_domain(text).0);
    (found, written)
}

fn check_domain(text: &str) -> (Vec<Diagnostic>, Option<String>) {
    let parsed = model::domain::parse(text, ParseOptions::default());
    let mut diagnostics = parsed.diagnostics;
    let Some(domain) = parsed.domain else { return (diagnostics, None) };
    let flags = FormatFlags { secure: true, ..FormatFlags::default() };
    let written = model::domain::format(&domain, flags);
    let mut effective = domain;
    diagnostics.extend(with_defaults(|ctx| model::domain::defaults::apply(&mut effective, ctx)));
    diagnostics.extend(model::domain::validate(&effective));
    diagnostics.retain(|d| !NEED_EMULATOR.contains(&d.rule));
    (diagnostics, Some(written))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SNAPSHOT: &str = "<domainsnapshot><name>s</name><state>shutoff</state><creationTime>5\
        </creationTime><domain type='qemu'><name>g</name><memory>1024</memory><os><type>hvm</type>\
        </os><devices><disk><source file='/a'/><target dev='vda'/></disk></devices></domain>\
        </domainsnapshot>";

    #[test]
    fn the_root_element_decides() {
        for (text, kind, valid) in [
            (
                "<pool type='dir'><name>p</name><target><path>/p</path></target></pool>",
                "storage pool",
                true,
            ),
            ("<volume><name>v</name><capacity>1</capacity></volume>", "storage volume", true),
            ("<volume><capacity>1</capacity></volume>", "storage volume", false),
            ("<secret ephemeral='no' private='no'/>", "secret", true),
            (
                "<domain type='qemu'><name>g</name><memory>1024</memory><os><type>hvm</type></os>\
                 <devices><input type='tablet' bus='usb'/></devices></domain>",
                "domain",
                true,
            ),
            (
                "<domain type='qemu'><name>g</name><memory>1024</memory><os><type machine='q35'>hvm\
                 </type></os><devices><input type='tablet' bus='usb'/></devices></domain>",
                "domain",
                true,
            ),
            ("<domainsnapshot/>", "domain snapshot", true),
            (SNAPSHOT, "domain snapshot", true),
            (&SNAPSHOT.replace("'vda'", "'foo' bus='ide'"), "domain snapshot", false),
            (
                "<domaincheckpoint><creationTime>5</creationTime></domaincheckpoint>",
                "domain checkpoint",
                false,
            ),
            ("<domainbackup mode='pull'/>", "domain backup", false),
            ("<domain type='qemu'><name>a</name></domain>", "domain", false),
            ("<network><name>n</name></network>", "network", true),
            ("<network/>", "network", false),
            ("<filter name='f' chain='root'/>", "network filter", true),
            ("<filter chain='root'/>", "network filter", false),
            ("<device><name>d</name></device>", "node device", false),
            ("<domainbackup/>", "domain backup", true),
        ] {
            let read = read(text);
            assert_eq!(
                (read.kind, read.valid()),
                (Some(kind), valid),
                "{text}: {:?}",
                read.diagnostics
            );
            assert_eq!(read.written.is_some(), valid, "{text}");
        }
        // Each of these has faults of its own, and the definition inside has more.
        let inside = SNAPSHOT.replace("'vda'", "'foo' bus='ide'");
        for text in [
            inside.replace("<state>shutoff", "<state>foo"),
            inside
                .replace("<state>shutoff", "<state>foo")
                .replace("domain ", "inactiveDomain ")
                .replace("</domain>", "</inactiveDomain>"),
        ] {
            let found = read(&text).diagnostics;
            let [state, disk] = found.as_slice() else { panic!("{found:?}") };
            assert!(state.message.contains("Invalid state 'foo'"), "{state:?}");
            let place = disk.span.map(|span| &text[span.start..span.end]);
            assert_eq!(place, Some("foo"), "{disk:?}");
        }
        // What the checks find has its place too where the reading found something.
        let text = SNAPSHOT.split_at(SNAPSHOT.find("<domain ").unwrap()).1;
        let text = text
            .replace(
                "<memory>1024",
                "<hub type='g'/><vcpu current='3'>2</vcpu><clock \
            offset='x'/><memory>1024",
            )
            .replace("</domainsnapshot>", "");
        let found = read(&text).diagnostics;
        assert!(found.iter().any(|d| d.message.contains("offset")), "{found:?}");
        let read = read("<domian/>");
        assert_eq!(read.kind, None);
        assert_eq!(read.diagnostics[0].hints, ["Did you mean <domain>?"]);
    }
}
