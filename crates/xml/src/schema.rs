//! What an element may hold, as data: for completion in an editor, for documentation, and for the
//! "did you mean" of unknown content.
//!
//! Children refer to their schema by function, so a type that contains itself is no problem: a
//! reader of schemas decides how deep it looks.

use crate::{Element, Name};

/// The values an attribute or text may have.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum ValueKind {
    /// Any text.
    Text,
    /// A decimal number within bounds.
    Integer {
        /// The least.
        min: i128,
        /// The greatest.
        max: i128,
    },
    /// A number, written in hexadecimal.
    Hex {
        /// The greatest.
        max: i128,
    },
    /// One of these words.
    Enum(&'static [&'static str]),
    /// Something with a name of its own: "uuid", "mac address", "cpu set".
    Named(&'static str),
}

/// An attribute an element may have.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct AttrSchema {
    /// Its name.
    pub name: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// Its values.
    pub value: ValueKind,
}

/// What a child element holds.
#[derive(Clone, Debug)]
pub enum Content {
    /// An element with a schema of its own, to be asked for when needed.
    Element(fn() -> Schema),
    /// A wrapper, whose schema is at hand.
    Inline(Schema),
    /// Text only.
    Text(ValueKind),
    /// Nothing: the element's presence is the message.
    Empty,
    /// Anything; carried, not understood.
    Raw,
}

/// A child an element may have.
#[derive(Clone, Debug)]
pub struct ChildSchema {
    /// Its name and namespace.
    pub name: Name,
    /// Whether it must be there.
    pub required: bool,
    /// Whether there may be several.
    pub repeated: bool,
    /// What it holds.
    pub content: Content,
}

/// One alternative of an element whose shape is chosen by an attribute.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// The attribute that chooses.
    pub tag: &'static str,
    /// Its value for this alternative.
    pub value: &'static str,
    /// What the element holds then, beside what it always holds.
    pub schema: fn() -> Schema,
}

/// What an element may hold.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    /// Attributes, in the order they are written.
    pub attrs: Vec<AttrSchema>,
    /// Children, in the order they are written.
    pub children: Vec<ChildSchema>,
    /// Text, if the element has some.
    pub text: Option<ValueKind>,
    /// Alternatives chosen by an attribute.
    pub variants: Vec<Variant>,
}

impl Schema {
    /// An element that holds nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an attribute.
    #[must_use]
    pub fn attr(mut self, name: &'static str, required: bool, value: ValueKind) -> Self {
        self.attrs.push(AttrSchema { name, required, value });
        self
    }

    /// Adds a child.
    #[must_use]
    pub fn child(mut self, name: Name, required: bool, repeated: bool, content: Content) -> Self {
        self.children.push(ChildSchema { name, required, repeated, content });
        self
    }

    /// Sets the text.
    #[must_use]
    pub fn text(mut self, kind: ValueKind) -> Self {
        self.text = Some(kind);
        self
    }

    /// Adds an alternative.
    #[must_use]
    pub fn variant(
        mut self,
        tag: &'static str,
        value: &'static str,
        schema: fn() -> Schema,
    ) -> Self {
        self.variants.push(Variant { tag, value, schema });
        self
    }

    /// Adds a child inside a wrapper, which is made when it is not there yet.
    #[must_use]
    pub fn wrapped(mut self, wrapper: Name, inner: Schema) -> Self {
        let found = self.children.iter_mut().find(|c| c.name == wrapper);
        match found {
            Some(ChildSchema { content: Content::Inline(s), .. }) => {
                *s = std::mem::take(s).merge(inner);
            }
            _ => self.children.push(ChildSchema {
                name: wrapper,
                required: false,
                repeated: false,
                content: Content::Inline(inner),
            }),
        }
        self
    }

    /// Adds everything of another schema: what `flatten` does.
    #[must_use]
    pub fn merge(mut self, other: Schema) -> Self {
        self.attrs.extend(other.attrs);
        for c in other.children {
            match c.content {
                Content::Inline(inner) => self = self.wrapped(c.name, inner),
                content => self.children.push(ChildSchema { content, ..c }),
            }
        }
        self.text = self.text.or(other.text);
        self.variants.extend(other.variants);
        self
    }

    /// All attribute names, those of all alternatives included.
    pub fn attr_names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.attrs.iter().map(|a| a.name).collect();
        self.each_variant(&mut |tag, s| {
            names.push(tag);
            names.extend(s.attrs.iter().map(|a| a.name));
        });
        names
    }

    /// All child names, those of all alternatives included.
    pub fn child_names(&self) -> Vec<Name> {
        let mut names: Vec<_> = self.children.iter().map(|c| c.name).collect();
        self.each_variant(&mut |_, s| names.extend(s.children.iter().map(|c| c.name)));
        names
    }

    /// The schema of a child of this name: where alternatives differ, what any of them allows.
    pub fn child_schema(&self, name: &str, ns: Option<&str>) -> Option<Schema> {
        let mut found: Option<Schema> = None;
        let mut look = |s: &Schema| {
            for c in s.children.iter().filter(|c| c.name.local == name && c.name.ns == ns) {
                let schema = match &c.content {
                    Content::Element(f) => f(),
                    Content::Inline(s) => s.clone(),
                    Content::Text(kind) => Schema::new().text(*kind),
                    Content::Empty | Content::Raw => Schema::new(),
                };
                let mut all = std::mem::take(&mut found).unwrap_or_default().merge(schema);
                let mut seen = Vec::new();
                all.attrs.retain(|a| {
                    !seen.contains(&a.name) && {
                        seen.push(a.name);
                        true
                    }
                });
                found = Some(all);
            }
        };
        look(self);
        self.each_variant(&mut |_, s| look(s));
        found
    }

    /// Calls `f` with every alternative, alternatives of alternatives included.
    fn each_variant(&self, f: &mut dyn FnMut(&'static str, &Schema)) {
        for v in &self.variants {
            let s = (v.schema)();
            f(v.tag, &s);
            s.each_variant(f);
        }
    }

    /// Whether `el` has an attribute or child that is named here.
    pub fn matches(&self, el: Element<'_>) -> bool {
        self.attrs.iter().any(|a| el.attr_node(a.name).is_some())
            || self.variants.iter().any(|v| el.attr_node(v.tag).is_some())
            || self.children.iter().any(|c| el.children().any(|e| e.is(c.name.local, c.name.ns)))
    }
}
