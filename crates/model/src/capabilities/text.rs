//! A small writer for XML of fixed shape, in libvirt's layout.

use std::fmt::Write;

/// Text being written, with its depth.
#[derive(Default)]
pub(super) struct Out {
    buffer: String,
    depth: usize,
}

/// An attribute's name and value.
pub(super) type Attr<'a> = (&'a str, &'a str);

fn escape(text: &str, into: &mut String) {
    for c in text.chars() {
        match c {
            '&' => into.push_str("&amp;"),
            '<' => into.push_str("&lt;"),
            '>' => into.push_str("&gt;"),
            '\'' => into.push_str("&apos;"),
            '"' => into.push_str("&quot;"),
            c => into.push(c),
        }
    }
}

impl Out {
    fn start(&mut self, name: &str, attrs: &[Attr]) {
        let _ = write!(self.buffer, "{:width$}<{name}", "", width = self.depth * 2);
        for (key, value) in attrs {
            let _ = write!(self.buffer, " {key}='");
            escape(value, &mut self.buffer);
            self.buffer.push('\'');
        }
    }

    /// `<name a='b'/>`.
    pub(super) fn empty(&mut self, name: &str, attrs: &[Attr]) {
        self.start(name, attrs);
        self.buffer.push_str("/>\n");
    }

    /// `<name a='b'>text</name>`.
    pub(super) fn leaf(&mut self, name: &str, attrs: &[Attr], text: &str) {
        self.start(name, attrs);
        self.buffer.push('>');
        escape(text, &mut self.buffer);
        let _ = writeln!(self.buffer, "</{name}>");
    }

    /// `<name a='b'>` … `</name>`, or the empty form when `content` writes nothing.
    pub(super) fn element(&mut self, name: &str, attrs: &[Attr], content: impl FnOnce(&mut Self)) {
        self.start(name, attrs);
        let mark = self.buffer.len();
        self.buffer.push_str(">\n");
        let filled = self.buffer.len();
        self.depth += 1;
        content(self);
        self.depth -= 1;
        if self.buffer.len() == filled {
            self.buffer.truncate(mark);
            self.buffer.push_str("/>\n");
        } else {
            let _ = writeln!(self.buffer, "{:width$}</{name}>", "", width = self.depth * 2);
        }
    }

    /// As [`Out::element`], never in the empty form.
    pub(super) fn block(&mut self, name: &str, content: impl FnOnce(&mut Self)) {
        self.start(name, &[]);
        self.buffer.push_str(">\n");
        self.depth += 1;
        content(self);
        self.depth -= 1;
        let _ = writeln!(self.buffer, "{:width$}</{name}>", "", width = self.depth * 2);
    }

    /// An empty line.
    pub(super) fn blank(&mut self) {
        self.buffer.push('\n');
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        self.buffer
    }
}
