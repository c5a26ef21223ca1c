//! Writing in libvirt's layout: two spaces a level, single quotes, `<a/>` for what is empty.

use crate::{RawElement, Xml, XmlValue};

/// What is written beside the plain configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WriteOptions {
    /// What only a running object has (aliases, ids, state of paths).
    pub live: bool,
    /// Passwords and the like.
    pub secure: bool,
    /// For another, perhaps older host: only what it is sure to understand.
    pub migratable: bool,
    /// The level of the outermost element; each is two spaces.
    pub indent: usize,
}

/// Levels whose spaces are at hand; deeper ones are rare.
const LEVELS: usize = 16;
/// The spaces of the deepest of them; with the beginning of a start tag, and of an end tag.
const INSIDE: &str = "                                ";
const START: &str = "                                <";
const END: &str = "                                </";

/// Builds text. A type's `write_attrs` and `write_children` call it in the order of the output.
#[derive(Debug)]
pub struct Writer {
    out: String,
    options: WriteOptions,
    depth: usize,
    state: State,
    /// Namespace prefixes in scope, with the depth that declared them.
    declared: Vec<(usize, String, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// Between elements.
    Between,
    /// In a start tag that is still open.
    Tag,
    /// After text.
    Text,
}

impl Writer {
    /// A writer with nothing written.
    pub fn new(options: &WriteOptions) -> Self {
        Self {
            // Most documents are shorter.
            out: String::with_capacity(8192),
            options: *options,
            depth: options.indent,
            state: State::Between,
            declared: Vec::new(),
        }
    }

    /// The options in force.
    pub fn options(&self) -> &WriteOptions {
        &self.options
    }

    /// What was written.
    pub fn finish(self) -> String {
        self.out
    }

    /// The spaces before an element, and what begins its tag: `tag` is [`INSIDE`], [`START`] or [`END`].
    fn indented(&mut self, tag: &'static str) {
        const WIDTH: usize = 2 * LEVELS;
        let mut spaces = self.depth * 2;
        while spaces > WIDTH {
            self.out.push_str("  ");
            spaces -= 2;
        }
        self.out.push_str(&tag[WIDTH - spaces..]);
    }

    fn end_tag_open(&mut self) {
        if self.state == State::Tag {
            self.out.push_str(">\n");
        }
        self.state = State::Between;
    }

    /// Begins an element; attributes, then children, then [`Writer::end`] with the same name.
    pub fn start(&mut self, name: &str) {
        self.end_tag_open();
        self.indented(START);
        self.out.push_str(name);
        self.depth += 1;
        self.state = State::Tag;
    }

    /// Ends the start tag of the element just begun: even without content it gets an end tag, on a
    /// line of its own. Libvirt writes some elements that way.
    pub fn open(&mut self) {
        self.end_tag_open();
    }

    /// Ends an element without content by ` />`, as libvirt does for a few elements.
    pub fn end_spaced(&mut self, name: &str) {
        if self.state == State::Tag {
            self.out.push(' ');
        }
        self.end(name);
    }

    /// Ends the element begun last.
    pub fn end(&mut self, name: &str) {
        self.depth = self.depth.saturating_sub(1);
        match self.state {
            State::Tag => self.out.push_str("/>\n"),
            State::Text => {
                self.out.push_str("</");
                self.out.push_str(name);
                self.out.push_str(">\n");
            }
            State::Between => {
                self.indented(END);
                self.out.push_str(name);
                self.out.push_str(">\n");
            }
        }
        self.state = State::Between;
        let depth = self.depth;
        while self.declared.last().is_some_and(|(d, ..)| *d > depth) {
            self.declared.pop();
        }
    }

    /// An attribute of the element just begun.
    pub fn attr<T: XmlValue>(&mut self, name: &str, value: &T) {
        debug_assert_eq!(self.state, State::Tag, "attribute {name} after content");
        self.attr_name(name);
        self.value(value);
        self.out.push('\'');
    }

    /// An attribute whose text up to the value is at hand: ` name='`. Used by derived code.
    #[doc(hidden)]
    pub fn attr_begun<T: XmlValue>(&mut self, begun: &str, value: &T) {
        debug_assert_eq!(self.state, State::Tag, "attribute{begun} after content");
        self.out.push_str(begun);
        self.value(value);
        self.out.push('\'');
    }

    /// An attribute given as text.
    pub fn attr_str(&mut self, name: &str, value: &str) {
        debug_assert_eq!(self.state, State::Tag, "attribute {name} after content");
        self.attr_name(name);
        escape_into(value, &mut self.out);
        self.out.push('\'');
    }

    fn attr_name(&mut self, name: &str) {
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push_str("='");
    }

    /// Declares a namespace on the element just begun, unless it is in scope already.
    pub fn declare_ns(&mut self, prefix: &str, uri: &str) {
        let known = self.declared.iter().rev().find(|(_, p, _)| p == prefix);
        if known.is_some_and(|(_, _, u)| u == uri) {
            return;
        }
        self.declared.push((self.depth, prefix.to_owned(), uri.to_owned()));
        self.out.push_str(" xmlns");
        if !prefix.is_empty() {
            self.out.push(':');
            self.out.push_str(prefix);
        }
        self.out.push_str("='");
        escape_into(uri, &mut self.out);
        self.out.push('\'');
    }

    fn value<T: XmlValue>(&mut self, value: &T) {
        let from = self.out.len();
        value.write(&mut self.out);
        if T::ESCAPED && self.out.as_bytes()[from..].iter().any(|c| needs_escape(*c)) {
            let plain = self.out.split_off(from);
            escape_into(&plain, &mut self.out);
        }
    }

    fn begin_text(&mut self) {
        if self.state == State::Tag {
            self.out.push('>');
        }
        self.state = State::Text;
    }

    /// The text of the element just begun.
    pub fn text<T: XmlValue>(&mut self, value: &T) {
        self.begin_text();
        self.value(value);
    }

    /// Text of the element just begun, given as a string.
    pub fn text_str(&mut self, text: &str) {
        self.begin_text();
        escape_into(text, &mut self.out);
    }

    /// A whole child element.
    pub fn child<T: Xml>(&mut self, name: &str, value: &T) {
        self.start(name);
        value.write_attrs(self);
        value.write_children(self);
        self.end(name);
    }

    /// A child element that holds only text.
    pub fn child_text<T: XmlValue>(&mut self, name: &str, value: &T) {
        self.start(name);
        self.text(value);
        self.end(name);
    }

    /// A child element without content.
    pub fn empty(&mut self, name: &str) {
        self.start(name);
        self.end(name);
    }

    /// A child element that is left out when `content` writes nothing into it.
    pub fn wrap(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        let (len, state) = (self.out.len(), self.state);
        self.start(name);
        let begun = self.out.len();
        content(self);
        if self.out.len() == begun && self.state == State::Tag {
            self.out.truncate(len);
            self.state = state;
            self.depth = self.depth.saturating_sub(1);
        } else {
            self.end(name);
        }
    }

    /// A raw subtree, laid out as libvirt's own library does it.
    pub fn raw(&mut self, raw: &RawElement) {
        self.end_tag_open();
        self.indented(INSIDE);
        raw.write_formatted(&mut self.out, self.depth);
        self.out.push('\n');
    }
}

#[inline]
fn needs_escape(c: u8) -> bool {
    static ESCAPED: [bool; 256] = {
        let mut t = [false; 256];
        let mut c = 0;
        while c < 256 {
            t[c] = matches!(c as u8, b'&' | b'<' | b'>' | b'\'' | b'"')
                || (c < 0x20 && !matches!(c as u8, b'\t' | b'\n' | b'\r'));
            c += 1;
        }
        t
    };
    ESCAPED[usize::from(c)]
}

/// Appends `text` with the five special characters as entities. Control characters that XML cannot
/// hold are left out, as libvirt does.
pub fn escape_into(text: &str, out: &mut String) {
    let mut plain = 0;
    for (i, c) in text.bytes().enumerate() {
        if !needs_escape(c) {
            continue;
        }
        out.push_str(&text[plain..i]);
        plain = i + 1;
        out.push_str(match c {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            b'\'' => "&apos;",
            b'"' => "&quot;",
            _ => "",
        });
    }
    out.push_str(&text[plain..]);
}

/// The XML of `value` as an element called `name`, ending in a newline.
pub fn write<T: Xml>(value: &T, name: &str, options: &WriteOptions) -> String {
    let mut w = Writer::new(options);
    w.child(name, value);
    w.finish()
}
