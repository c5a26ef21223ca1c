//! The file in which the daemon remembers a running network.

use diag::{Diagnostic, ErrorCode, Severity};
use units::CpuSet;
use xml::{Document, Element, Parsed, RawElement, Reader, WriteOptions, Writer};

use super::definition::{Network, parse_inside};

/// A running network.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkStatus {
    /// The classes of traffic on its bridge that are taken; the first three are the network's own.
    pub class_ids: CpuSet,
    /// KiB a second that its ports are guaranteed together.
    pub floor_sum: u64,
    /// How to take the firewall's rules away again, as libvirt wrote it.
    pub firewall: Option<RawElement>,
    /// The network as it runs.
    pub network: Network,
}

const ROOT: &str = "networkstatus";

fn refuse(el: Element<'_>, message: impl Into<String>) -> Diagnostic {
    Diagnostic {
        rule: "network.status",
        severity: Severity::Error,
        code: ErrorCode::INTERNAL_ERROR,
        span: Some(el.span()),
        message: message.into(),
        domain: None,
        hints: Vec::new(),
    }
}

/// Reads the file.
pub fn parse_status(text: &str) -> Parsed<NetworkStatus> {
    let doc = match Document::parse(text) {
        Ok(doc) => doc,
        Err(diagnostics) => return Parsed { value: None, diagnostics },
    };
    match read(&doc) {
        Ok(parsed) => parsed,
        Err(fault) => Parsed { value: None, diagnostics: vec![fault] },
    }
}

fn read(doc: &Document<'_>) -> Result<Parsed<NetworkStatus>, Diagnostic> {
    let root = doc.root();
    if !root.is(ROOT, None) {
        return Err(refuse(root, format!("expecting root element of '{ROOT}'")));
    }
    let Some(inner) = root.child("network") else {
        return Err(refuse(root, "missing network definition in status"));
    };
    let mut class_ids = CpuSet::first(3);
    if let Some(el) = root.child("class_id") {
        let text = el.attr("bitmap").unwrap_or_default();
        class_ids = text
            .parse()
            .map_err(|_| refuse(el, format!("Malformed 'class_id' attribute: {text}")))?;
    }
    let mut floor_sum = 0;
    if let Some(el) = root.child("floor") {
        let text = el.attr("sum").unwrap_or_default();
        floor_sum = text
            .parse()
            .map_err(|_| refuse(el, format!("Malformed 'floor_sum' attribute: {text}")))?;
    }
    let firewall = root.child("firewall").map(|el| {
        let mut cx = Reader::new(doc);
        cx.use_subtree(el);
        RawElement::from_element(el)
    });
    let parsed = parse_inside(doc, inner);
    Ok(Parsed {
        value: parsed.value.map(|network| NetworkStatus {
            class_ids,
            floor_sum,
            firewall,
            network,
        }),
        diagnostics: parsed.diagnostics,
    })
}

/// The file's content, without the note that precedes it.
pub fn format_status(status: &NetworkStatus) -> String {
    let mut w = Writer::new(&WriteOptions::default());
    w.start(ROOT);
    w.start("class_id");
    w.attr_str("bitmap", &status.class_ids.to_string());
    w.end("class_id");
    w.start("floor");
    w.attr("sum", &status.floor_sum);
    w.end("floor");
    status.network.write(&mut w);
    if let Some(firewall) = &status.firewall {
        element(firewall, &mut w);
    }
    w.end(ROOT);
    w.finish()
}

/// An element that was kept, in libvirt's own layout.
fn element(raw: &RawElement, w: &mut Writer) {
    w.start(&raw.name);
    for (name, value) in &raw.attrs {
        w.attr_str(name, value);
    }
    for node in &raw.children {
        match node {
            xml::RawNode::Element(child) => element(child, w),
            xml::RawNode::Text(text) => w.text_str(text),
            _ => {}
        }
    }
    w.end(&raw.name);
}
