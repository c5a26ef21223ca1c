//! What reading has in common for every kind of object: the root element, checks that follow the
//! reading, and libvirt's codes and words for faults that the declared mapping finds.

mod rest;

use diag::{Diagnostic, ErrorCode, Severity};
use xml::{Document, Element, Parsed, Reader, Xml};

pub(crate) use rest::{Rest, with_rest};

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

/// `text` with other words in some places, each from where it starts to where it ends. `None` unless
/// the places are in their order, beside each other, and between characters.
pub(crate) fn splice<'a>(
    text: &str,
    edits: impl IntoIterator<Item = (usize, usize, &'a str)>,
) -> Option<String> {
    let (mut spliced, mut at) = (String::with_capacity(text.len()), 0);
    for (start, end, instead) in edits {
        spliced.push_str(text.get(at..start)?);
        spliced.push_str(instead);
        at = end;
    }
    spliced.push_str(text.get(at..)?);
    Some(spliced)
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
    // A schema is asked before anything is read.
    diagnostics.sort_by_key(|d| d.code != ErrorCode::XML_INVALID_SCHEMA);
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

/// Whether a text is an absolute path as the schemas have it: of Windows too.
pub(crate) fn is_absolute_path(path: &str) -> bool {
    let windows = |path: &str| {
        let mut bytes = path.bytes();
        bytes.next().is_some_and(|c| c.is_ascii_alphabetic())
            && bytes.next() == Some(b':')
            && bytes.next() == Some(b'\\')
    };
    path.starts_with('/') || windows(path)
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

/// Brings what was found into the order in which libvirt looks: by the child of the root that it
/// concerns, as listed; first what concerns the root itself, last the rules named in `late`.
pub(crate) fn sort(
    text: &str,
    diagnostics: &mut [Diagnostic],
    order: &[&str],
    late: &[&'static str],
) {
    if diagnostics.len() < 2 {
        return;
    }
    let Ok(doc) = Document::parse(text) else { return };
    // Children in the order of the text: the one around a place is found by halving.
    let children: Vec<(usize, Option<usize>)> = doc
        .root()
        .children()
        .map(|c| (c.full_span().start, order.iter().position(|name| c.is(name, None))))
        .collect();
    diagnostics.sort_by_key(|d| {
        let at = d.span.map_or(0, |span| span.start);
        let rank = match children.partition_point(|(start, _)| *start <= at).checked_sub(1) {
            None => 0,
            Some(child) => {
                let listed = children.get(child).and_then(|(_, place)| *place);
                listed.map_or(order.len() + 1, |place| place + 1)
            }
        };
        let late = late.iter().position(|rule| *rule == d.rule);
        (d.rule == "xml.more", late.map_or(0, |place| place + 1), rank)
    });
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
