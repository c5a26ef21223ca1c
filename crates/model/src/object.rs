//! What reading has in common for every kind of object: the root element, checks that follow the
//! reading, and libvirt's codes and words for faults that the declared mapping finds.

use diag::{Diagnostic, ErrorCode, Severity};
use xml::{Document, Element, Parsed, Reader, Xml};

/// A fault of the mapping and what libvirt says about it: the fault's [`Fault::key`], the code, and
/// the words, in which `{}` stands for the value and `{name}` for the object's name.
pub(crate) type Rule = (&'static str, ErrorCode, &'static str);

/// Reads a document whose root is called `root`. `complete` checks what was read and fills in
/// defaults; `refine` rewords what the mapping found.
pub(crate) fn read<T: Xml>(
    text: &str,
    root: &'static str,
    refine: impl Fn(Element<'_>, &mut Diagnostic),
    complete: impl FnOnce(&mut T, Element<'_>, &mut Reader),
) -> Parsed<T> {
    match Document::parse(text) {
        Ok(doc) => read_root(&doc, root, refine, complete),
        Err(diagnostics) => Parsed { value: None, diagnostics },
    }
}

fn read_root<T: Xml>(
    doc: &Document<'_>,
    root: &'static str,
    refine: impl Fn(Element<'_>, &mut Diagnostic),
    complete: impl FnOnce(&mut T, Element<'_>, &mut Reader),
) -> Parsed<T> {
    let mut cx = Reader::new(doc);
    for warning in doc.warnings() {
        cx.push(warning.clone());
    }
    let el = doc.root();
    let mut value = None;
    if !el.is(root, None) {
        let message = format!("expecting root element of '{root}', not '{}'", el.name());
        cx.error("xml.root", ErrorCode::XML_ERROR, el.name_span(), message, Vec::new());
    } else if let Some(mut read) = cx.element::<T>(el) {
        complete(&mut read, el, &mut cx);
        value = Some(read);
    }
    let mut diagnostics = cx.finish();
    for d in &mut diagnostics {
        refine(el, d);
    }
    let failed = diagnostics.iter().any(|d| d.severity == Severity::Error);
    Parsed { value: value.filter(|_| !failed), diagnostics }
}

/// For documents that libvirt always checks against its schema: whatever the mapping finds wrong,
/// and whatever it does not know, is a fault of the schema.
pub(crate) fn against_schema(d: &mut Diagnostic) {
    if d.rule.starts_with("xml.") && d.rule != "xml.root" && d.code == ErrorCode::XML_ERROR {
        d.severity = Severity::Error;
        d.code = ErrorCode::XML_INVALID_SCHEMA;
    }
}

/// Whether a text may be the name of a guest's disk, such as `vda`.
pub(crate) fn is_disk_name(name: &str) -> bool {
    let name = name.strip_prefix("ioemu:").unwrap_or(name);
    ["fd", "hd", "sd", "vd", "xvd", "ubd"].iter().any(|prefix| {
        name.strip_prefix(prefix).is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
        })
    })
}

/// A fault that the mapping reports, taken apart.
pub(crate) struct Fault<'a> {
    /// `!` in front where something is missing, then `element@attribute` or `element/child`.
    pub key: String,
    /// The value that is wrong.
    pub value: &'a str,
}

impl<'a> Fault<'a> {
    /// Takes a diagnostic of the reader apart; `None` for any other.
    pub fn of(d: &'a Diagnostic) -> Option<Self> {
        let missing = |rest: &'a str, sign: char| {
            let (what, element) = rest.strip_suffix('\'')?.split_once("' in element '")?;
            Some(Self { key: format!("!{element}{sign}{what}"), value: "" })
        };
        let invalid = |rest: &'a str| {
            let (what, value) = rest.split_once("': '")?;
            let key = match what.split_once("' in element '") {
                Some((attr, element)) => format!("{element}@{attr}"),
                None => what.to_owned(),
            };
            Some(Self { key, value: value.rsplit_once("'.").map_or(value, |(v, _)| v) })
        };
        let message = d.message.as_str();
        match d.rule {
            "xml.missing-attribute" => {
                missing(message.strip_prefix("Missing required attribute '")?, '@')
            }
            "xml.missing-element" => {
                missing(message.strip_prefix("Missing required element '")?, '/')
            }
            "xml.invalid-value" => {
                let rest = message.strip_prefix("Invalid value for ")?;
                invalid(rest.strip_prefix("attribute '").or(rest.strip_prefix("element '"))?)
            }
            _ => None,
        }
    }
}

/// Gives a fault of the mapping libvirt's code and words; the place and the hints stay.
pub(crate) fn refine(d: &mut Diagnostic, rules: &[Rule], name: &str) {
    let Some(fault) = Fault::of(d) else { return };
    let Some((_, code, words)) = rules.iter().find(|(key, ..)| *key == fault.key) else { return };
    let message = words.replace("{name}", name).replace("{}", fault.value);
    d.code = *code;
    d.message = message;
}

/// The element in which a diagnostic lies, and those around it, the outermost first.
pub(crate) fn path_to<'a>(root: Element<'a>, d: &Diagnostic) -> Vec<Element<'a>> {
    let mut path = vec![root];
    let Some(at) = d.span.map(|span| span.start) else { return path };
    while let Some(inner) = path.last().and_then(|el| {
        el.children().find(|c| {
            let span = c.full_span();
            span.start <= at && at < span.end
        })
    }) {
        path.push(inner);
    }
    path
}

/// Records a fault found after the reading.
pub(crate) fn fault(
    cx: &mut Reader,
    el: Element<'_>,
    rule: &'static str,
    code: ErrorCode,
    message: impl Into<String>,
) {
    cx.error(rule, code, el.span(), message, Vec::new());
}

/// Hints for a word that is none of `words`.
pub(crate) fn hints(word: &str, words: &[&'static str]) -> Vec<String> {
    match xml::closest(word, words.to_vec()) {
        Some(name) => vec![format!("Did you mean '{name}'?")],
        None => vec![format!("Possible values: {}.", words.join(", "))],
    }
}
