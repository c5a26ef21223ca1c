//! Where in a document an element stands that a plan names.
//!
//! A plan counts devices of the definition with all that was filled in; the document has only what
//! its writer wrote. What tells a device from its siblings (a disk's target, a controller's type
//! and index) finds it there, else its place among them.

use xml::{Document, Element};

/// Two documents: as written, and with everything filled in.
pub struct Origin<'a> {
    written: &'a Document<'a>,
    effective: Document<'a>,
}

/// Where an element comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// It stands on this line of the document, from 1.
    Line(usize),
    /// The document does not have it: it was filled in.
    Default,
}

impl<'a> Origin<'a> {
    /// None when a text is no XML.
    pub fn new(written: &'a Document<'a>, effective: &'a str) -> Option<Self> {
        Some(Self { written, effective: Document::parse(effective).ok()? })
    }

    /// Where `element` (names joined by slashes; the last of them the `index`th of its name, from
    /// 0) stands in the written document of this text.
    pub fn find(&self, element: &str, index: Option<usize>, text: &str) -> Option<Source> {
        let place = index.unwrap_or(0);
        let wanted = nth(self.effective.root(), element, place);
        let key = wanted.and_then(key);
        let found = match &key {
            Some(key) => siblings(self.written.root(), element)
                .into_iter()
                .find(|el| self::key(*el).as_ref() == Some(key)),
            None => None,
        };
        // What its writer left without a key is found by counting, where it can be nothing else.
        let found = found.or_else(|| {
            let by_place = nth(self.written.root(), element, place)?;
            (key.is_none() || self::key(by_place).is_none() && same_type(by_place, wanted))
                .then_some(by_place)
        });
        match found {
            Some(el) => Some(Source::Line(line(text, el.name_span().start))),
            // A part that the definition does not have at all has no default element either.
            None => wanted.map(|_| Source::Default),
        }
    }
}

/// The line of a byte.
fn line(text: &str, at: usize) -> usize {
    text.get(..at).map_or(0, |before| before.matches('\n').count()) + 1
}

/// All elements at a path below `root`.
fn siblings<'a>(root: Element<'a>, path: &str) -> Vec<Element<'a>> {
    let mut level = vec![root];
    for name in path.split('/') {
        let name = name.rsplit(':').next().unwrap_or(name);
        level = level
            .into_iter()
            .flat_map(|el| el.children().filter(|child| child.name() == name).collect::<Vec<_>>())
            .collect();
    }
    level
}

fn nth<'a>(root: Element<'a>, path: &str, place: usize) -> Option<Element<'a>> {
    siblings(root, path).into_iter().nth(place)
}

/// What tells a device from its siblings.
fn key(el: Element<'_>) -> Option<String> {
    match el.name() {
        "disk" => el.child("target")?.attr("dev").map(str::to_owned),
        "controller" => Some(format!("{} {}", el.attr("type")?, el.attr("index")?)),
        _ => None,
    }
}

fn same_type(one: Element<'_>, other: Option<Element<'_>>) -> bool {
    other.is_some_and(|other| one.attr("type") == other.attr("type"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_whatever_was_filled_in() {
        let text = "<domain>\n<os>\n<type/></os>\n<devices>\n\
                    <disk><target dev='sdb'/></disk>\n<disk><target dev='sda'/></disk>\n\
                    <controller type='scsi' index='1'/>\n<rng/>\n</devices>\n</domain>";
        let effective = "<domain><os><type/></os><clock/><devices>\
                         <disk><target dev='sda'/></disk><disk><target dev='sdb'/></disk>\
                         <controller type='usb' index='0'/><controller type='scsi' index='1'/>\
                         <rng/><memballoon/></devices></domain>";
        let written = Document::parse(text).unwrap();
        let origin = Origin::new(&written, effective).unwrap();
        for (element, index, expected) in [
            ("os/type", None, Some(Source::Line(3))),
            ("devices/disk", Some(0), Some(Source::Line(6))),
            ("devices/disk", Some(1), Some(Source::Line(5))),
            ("devices/controller", Some(0), Some(Source::Default)),
            ("devices/controller", Some(1), Some(Source::Line(7))),
            ("devices/rng", Some(0), Some(Source::Line(8))),
            ("devices/memballoon", Some(0), Some(Source::Default)),
            ("clock", None, Some(Source::Default)),
            ("pm", None, None),
        ] {
            assert_eq!(origin.find(element, index, text), expected, "{element} {index:?}");
        }
    }
}
