//! Span-keeping XML reader, ordered writer and the typed mapping between XML and Rust.
//!
//! Three layers, each usable without the next:
//!
//! 1. [`Document`] and [`Element`]: a read-only tree that knows the bytes of everything in it;
//!    [`RawElement`] is an owned subtree for content we carry but do not understand.
//! 2. [`Writer`]: elements, attributes and text in libvirt's layout. The order of the calls is the
//!    order in the output.
//! 3. [`Xml`] and [`XmlEnum`], derived: the XML form of a type, declared once.
//!
//! # The derive, by example
//!
//! ```
//! use xml::{RawElement, WriteOptions, Xml, XmlEnum};
//!
//! #[derive(Clone, Copy, Debug, PartialEq, Eq, XmlEnum)]
//! enum Device { Disk, Cdrom }
//!
//! #[derive(Clone, Debug, PartialEq, Xml)]
//! #[xml(tag = "type")]
//! enum Source {
//!     #[xml(name = "file")] File(FileSource),
//!     #[xml(name = "block")] Block(BlockSource),
//! }
//!
//! #[derive(Clone, Debug, PartialEq, Default, Xml)]
//! struct FileSource { #[xml(wrap = "source", attr)] file: Option<String> }
//!
//! #[derive(Clone, Debug, PartialEq, Default, Xml)]
//! struct BlockSource { #[xml(wrap = "source", attr)] dev: Option<String> }
//!
//! #[derive(Clone, Debug, PartialEq, Xml)]
//! struct Disk {
//!     #[xml(flatten)] source: Source,
//!     #[xml(attr, default = Device::Disk)] device: Device,
//!     #[xml(child_text)] serial: Option<String>,
//!     #[xml(flag)] readonly: bool,
//! }
//!
//! let text = "<disk type='file'><readonly/><source file='/a&amp;b'/></disk>";
//! let disk = xml::read_str::<Disk>(text, "disk").value.unwrap();
//! assert_eq!(disk.source, Source::File(FileSource { file: Some("/a&b".into()) }));
//! assert_eq!(
//!     xml::write(&disk, "disk", &WriteOptions::default()),
//!     "<disk type='file' device='disk'>\n  <source file='/a&amp;b'/>\n  <readonly/>\n</disk>\n",
//! );
//!
//! // Faults come all at once, each with its place and its cure.
//! let bad = xml::read_str::<Disk>("<disk type='fiel' device='dvd'/>", "disk");
//! assert_eq!(bad.diagnostics.len(), 2);
//! assert_eq!(bad.diagnostics[0].hints, ["Did you mean 'file'?"]);
//! ```
//!
//! # Field attributes
//!
//! | attribute | meaning |
//! |---|---|
//! | `attr`, `child`, `child_text`, `flag`, `text`, `raw`, `flatten`, `with = module`, `skip` | where the field lives; exactly one |
//! | `name = "…"` | the XML name; the field's own name otherwise |
//! | `default`, `default = expr` | the value when absent; without it an absent plain field is an error |
//! | `skip_default` | not written while equal to the default |
//! | `live_only`, `inactive_only`, `secret`, `migratable_only` | written only under that [`WriteOptions`] |
//! | `wrap = "…"` | inside a wrapper element that appears only when it holds something; neighbours of the same wrapper share it |
//! | `ns = "…", prefix = "…"` | the namespace of a child |
//! | `attrs_first` | for `flatten`: its attributes come before this element's own |
//! | `empty_absent` | for `attr`: an empty value counts as absent; for `child`: so does an element that holds nothing |
//! | `lenient` | for `attr` and `child_text`: a bad value counts as absent, with a warning |
//! | `needs = "…"`, `needs_text = "…"` | for `child`: without that attribute (`needs_text`: or when it is empty) the element counts as absent; `""` stands for its text |
//! | `one_of = WORDS` | for `attr`: the words a text may be |
//! | `zero_absent` | for `attr` and `child_text`: zero counts as absent |
//! | `nonzero` | for `attr`: zero is refused |
//! | `signed` | for `attr`: a number that libvirt's words for a bad value call one with a sign |
//! | `fault = (code, "words")` | for `attr` and `child_text`: the error of a bad value; `{}` in the words stands for it |
//! | `missing = (code, "words")` | for `attr` and `child_text`: the error of an absent value |
//!
//! A struct may say `#[xml(check = path)]`: `fn(&mut Self, Element, &mut Reader)` is called when
//! the value was read, for rules across its fields; what it reports makes the reading fail.
//!
//! `#[xml(open)]` on a struct: its element is never written in the short form `<a/>`.
//!
//! `T` is required, `Option<T>` may be absent, `Vec<T>` repeats (`child`, `child_text`, `raw`);
//! `Box<T>` works wherever `T` does.

extern crate self as xml;

mod chars;
mod diff;
mod dom;
#[doc(hidden)]
pub mod fuzzing;
mod key;
mod raw;
mod reader;
mod schema;
mod suggest;
mod units;
mod value;
mod writer;

pub mod parse;

pub use diag::{Diagnostic, ErrorCode, Severity, Span};
pub use diff::{Change, Difference, compare, diff};
#[doc(hidden)]
pub use dom::Holds;
pub use dom::{Attr, Children, Document, Element};
pub use raw::{RawElement, RawNode};
pub use reader::{MAX_SHOWN, Name, Parsed, Reader, ValueRules, read, read_element, read_str};
pub use schema::{AttrSchema, ChildSchema, Content, Schema, ValueKind, Variant};
pub use suggest::closest;
pub use value::{Hex, OnOff, ValueError, XmlValue, YesNo};
pub use writer::{WriteOptions, Writer, escape_into, write};
pub use xml_derive::{Xml, XmlEnum};

/// A type with an XML form. Derive it; write it by hand only where an element's shape depends on
/// something the derive cannot say.
///
/// None of the functions concerns the element's own name: that is the parent's choice.
pub trait Xml: Sized {
    /// Reads the attributes and children this type knows from `el`, marking them as used in `cx`.
    /// Faults go to `cx`; `None` when there is no value for one of them.
    fn read(el: Element<'_>, cx: &mut Reader) -> Option<Self>;

    /// Writes the attributes, in order, after those already written.
    fn write_attrs(&self, w: &mut Writer);

    /// Writes the children and text, in order.
    fn write_children(&self, w: &mut Writer);

    /// What the element may hold.
    fn schema() -> Schema;

    /// Whether `el` holds anything of this type: decides about an `Option<Self>` that is flattened.
    fn present(el: Element<'_>) -> bool {
        Self::schema().matches(el)
    }
}

impl<T: Xml> Xml for Box<T> {
    fn read(el: Element<'_>, cx: &mut Reader) -> Option<Self> {
        T::read(el, cx).map(Box::new)
    }
    fn write_attrs(&self, w: &mut Writer) {
        T::write_attrs(self, w);
    }
    fn write_children(&self, w: &mut Writer) {
        T::write_children(self, w);
    }
    fn schema() -> Schema {
        T::schema()
    }
    fn present(el: Element<'_>) -> bool {
        T::present(el)
    }
}

/// The schema of a type, for completion and documentation.
pub fn schema<T: Xml>() -> Schema {
    T::schema()
}

/// What a hand-written module may return from its `read`: the value, or an option of it when a
/// fault left none. Used by derived code.
#[doc(hidden)]
pub trait IntoRead<T> {
    fn into_read(self) -> Option<T>;
}

impl<T> IntoRead<T> for T {
    fn into_read(self) -> Option<T> {
        Some(self)
    }
}

impl<T> IntoRead<T> for Option<T> {
    fn into_read(self) -> Option<T> {
        self
    }
}
