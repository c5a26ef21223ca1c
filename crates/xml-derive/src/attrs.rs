//! The words inside `#[xml(…)]`.

use syn::{Attribute, Error, Expr, LitStr, Path, Result, Token};

/// Where a field lives in the XML.
pub enum Place {
    Attr,
    Child,
    ChildText,
    Flag,
    Text,
    Raw,
    Flatten,
    With(Box<Path>),
    Skip,
}

/// The default of a field that may be absent.
pub enum DefaultValue {
    /// Without one, absence is an error (or `None`).
    No,
    /// `Default::default()`.
    Std,
    /// An expression.
    Expr(Box<Expr>),
}

/// All that `#[xml(…)]` says about a field.
pub struct FieldAttrs {
    pub place: Place,
    pub name: Option<String>,
    pub default: DefaultValue,
    pub skip_default: bool,
    pub conditions: Vec<&'static str>,
    pub wrap: Option<String>,
    pub ns: Option<String>,
    pub prefix: Option<String>,
    pub attrs_first: bool,
    /// An empty attribute, or an element that holds nothing, counts as absent.
    pub empty_absent: bool,
    /// A bad value counts as absent, with a warning.
    pub lenient: bool,
    /// The attribute without which the element counts as absent; empty for its text.
    pub needs: Option<String>,
    /// The same, and the attribute must not be empty.
    pub needs_text: Option<String>,
    /// The words there are, as an expression.
    pub one_of: Option<Box<Expr>>,
    /// Zero counts as absent.
    pub zero_absent: bool,
    /// Zero is refused.
    pub nonzero: bool,
    /// Read by libvirt as a number that may be negative.
    pub signed: bool,
    /// Code and words for a bad value, as a tuple expression.
    pub fault: Option<Box<Expr>>,
    /// Code and words for a value that must be there and is not.
    pub missing: Option<Box<Expr>>,
}

impl FieldAttrs {
    pub fn parse(attrs: &[Attribute], field: &syn::Field) -> Result<Self> {
        let mut place = None;
        let mut out = Self {
            place: Place::Skip,
            name: None,
            default: DefaultValue::No,
            skip_default: false,
            conditions: Vec::new(),
            wrap: None,
            ns: None,
            prefix: None,
            attrs_first: false,
            empty_absent: false,
            lenient: false,
            needs: None,
            needs_text: None,
            one_of: None,
            zero_absent: false,
            nonzero: false,
            signed: false,
            fault: None,
            missing: None,
        };
        for attr in attrs.iter().filter(|a| a.path().is_ident("xml")) {
            attr.parse_nested_meta(|m| {
                let word = m.path.get_ident().map(ToString::to_string).unwrap_or_default();
                let mut set = |p: Place| match place.replace(p) {
                    None => Ok(()),
                    Some(_) => Err(m.error("a field has one place in the XML")),
                };
                let text = || Ok::<_, Error>(Some(m.value()?.parse::<LitStr>()?.value()));
                match word.as_str() {
                    "attr" => set(Place::Attr)?,
                    "child" => set(Place::Child)?,
                    "child_text" => set(Place::ChildText)?,
                    "flag" => set(Place::Flag)?,
                    "text" => set(Place::Text)?,
                    "raw" => set(Place::Raw)?,
                    "flatten" => set(Place::Flatten)?,
                    "skip" => set(Place::Skip)?,
                    "with" => set(Place::With(Box::new(m.value()?.parse()?)))?,
                    "name" => out.name = text()?,
                    "wrap" => out.wrap = text()?,
                    "ns" => out.ns = text()?,
                    "prefix" => out.prefix = text()?,
                    "attrs_first" => out.attrs_first = true,
                    "empty_absent" => out.empty_absent = true,
                    "lenient" => out.lenient = true,
                    "needs" => out.needs = text()?,
                    "needs_text" => out.needs_text = text()?,
                    "one_of" => out.one_of = Some(Box::new(m.value()?.parse()?)),
                    "zero_absent" => out.zero_absent = true,
                    "nonzero" => out.nonzero = true,
                    "signed" => out.signed = true,
                    "fault" => out.fault = Some(Box::new(m.value()?.parse()?)),
                    "missing" => out.missing = Some(Box::new(m.value()?.parse()?)),
                    "skip_default" => out.skip_default = true,
                    "live_only" => out.conditions.push("live"),
                    "inactive_only" => out.conditions.push("!live"),
                    "secret" => out.conditions.push("secure"),
                    "migratable_only" => out.conditions.push("migratable"),
                    "not_migratable" => out.conditions.push("!migratable"),
                    "default" => {
                        out.default = if m.input.peek(Token![=]) {
                            DefaultValue::Expr(Box::new(m.value()?.parse()?))
                        } else {
                            DefaultValue::Std
                        }
                    }
                    _ => return Err(m.error("unknown word in #[xml(…)]")),
                }
                Ok(())
            })?;
        }
        out.place = place.ok_or_else(|| {
            Error::new_spanned(field, "say where the field lives: #[xml(attr)], #[xml(child)], …")
        })?;
        if out.ns.is_some() != out.prefix.is_some() {
            return Err(Error::new_spanned(field, "ns and prefix go together"));
        }
        if out.attrs_first && !matches!(out.place, Place::Flatten) {
            return Err(Error::new_spanned(field, "attrs_first is for flatten"));
        }
        let ruled = out.fault.is_some() || out.missing.is_some();
        if ruled && !matches!(out.place, Place::Attr | Place::ChildText) {
            return Err(Error::new_spanned(field, "fault and missing are for attr and child_text"));
        }
        if out.empty_absent && !matches!(out.place, Place::Attr | Place::Child) {
            return Err(Error::new_spanned(field, "empty_absent is for attr and child"));
        }
        if (out.lenient || out.zero_absent) && !matches!(out.place, Place::Attr | Place::ChildText)
        {
            return Err(Error::new_spanned(
                field,
                "lenient and zero_absent are for attr and child_text",
            ));
        }
        let needs = out.needs.is_some() || out.needs_text.is_some();
        if needs && !matches!(out.place, Place::Child) {
            return Err(Error::new_spanned(field, "needs and needs_text are for child"));
        }
        if (out.nonzero || out.signed || out.one_of.is_some()) && !matches!(out.place, Place::Attr)
        {
            return Err(Error::new_spanned(field, "nonzero, signed and one_of are for attr"));
        }
        if matches!(out.place, Place::Skip | Place::With(_)) && out.wrap.is_some() {
            return Err(Error::new_spanned(field, "wrap is not for this place"));
        }
        Ok(out)
    }
}

/// What `#[xml(…)]` says about a type or a variant: `tag`, `default`, `name`, `alias`, `open`,
/// `check`.
#[derive(Default)]
pub struct TypeAttrs {
    pub tag: Option<String>,
    pub default: Option<String>,
    pub name: Option<String>,
    pub alias: Vec<String>,
    pub open: bool,
    pub check: Option<Path>,
}

impl TypeAttrs {
    pub fn parse(attrs: &[Attribute]) -> Result<Self> {
        let mut out = Self::default();
        for attr in attrs.iter().filter(|a| a.path().is_ident("xml")) {
            attr.parse_nested_meta(|m| {
                let text = || Ok::<_, Error>(m.value()?.parse::<LitStr>()?.value());
                match m.path.get_ident().map(ToString::to_string).unwrap_or_default().as_str() {
                    "check" => out.check = Some(m.value()?.parse()?),
                    "tag" => out.tag = Some(text()?),
                    "default" => out.default = Some(text()?),
                    "name" => out.name = Some(text()?),
                    "alias" => out.alias.push(text()?),
                    "open" => out.open = true,
                    _ => return Err(m.error("unknown word in #[xml(…)]")),
                }
                Ok(())
            })?;
        }
        Ok(out)
    }
}

/// `SomeName` → `some-name`.
pub fn kebab(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.chars().enumerate() {
        if c.is_uppercase() {
            if i > 0 {
                out.push('-');
            }
            out.extend(c.to_lowercase());
        } else {
            out.push(if c == '_' { '-' } else { c });
        }
    }
    out
}
