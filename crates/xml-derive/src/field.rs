//! One field of a struct: the code that reads, writes and describes it.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Error, GenericArgument, Ident, PathArguments, Result, Type};

use crate::attrs::{DefaultValue, FieldAttrs, Place};

/// How often the field's content occurs.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    One,
    Option,
    Vec,
}

/// A field with what `#[xml(…)]` says about it.
pub struct Field<'a> {
    pub ident: &'a Ident,
    pub attrs: FieldAttrs,
    field: &'a syn::Field,
    shape: Shape,
    /// The type inside `Option` or `Vec`.
    inner: &'a Type,
}

impl<'a> Field<'a> {
    pub fn new(field: &'a syn::Field) -> Result<Self> {
        let Some(ident) = &field.ident else {
            return Err(Error::new_spanned(field, "the XML form needs named fields"));
        };
        let attrs = FieldAttrs::parse(&field.attrs, field)?;
        let (shape, inner) = match (generic(&field.ty, "Option"), generic(&field.ty, "Vec")) {
            (Some(t), _) => (Shape::Option, t),
            (_, Some(t)) => (Shape::Vec, t),
            _ => (Shape::One, &field.ty),
        };
        let lists = matches!(
            attrs.place,
            Place::Child | Place::ChildText | Place::Raw | Place::With(_) | Place::Skip
        );
        if shape == Shape::Vec && !lists {
            return Err(Error::new_spanned(field, "a list is child, child_text or raw"));
        }
        if matches!(attrs.place, Place::Raw) && shape == Shape::One {
            return Err(Error::new_spanned(field, "raw is Option<RawElement> or Vec<RawElement>"));
        }
        let ruled = attrs.empty_absent || attrs.fault.is_some() || attrs.missing.is_some();
        if ruled && shape == Shape::Vec {
            return Err(Error::new_spanned(
                field,
                "empty_absent, fault and missing are not for lists",
            ));
        }
        let zero = attrs.zero_absent || attrs.nonzero;
        let needs = attrs.needs.is_some() || attrs.needs_text.is_some();
        if (attrs.lenient
            || zero
            || needs
            || attrs.empty_absent && matches!(attrs.place, Place::Child))
            && shape != Shape::Option
        {
            return Err(Error::new_spanned(field, "what may count as absent is an Option"));
        }
        if attrs.skip_default && matches!(attrs.default, DefaultValue::No) {
            return Err(Error::new_spanned(field, "skip_default needs default"));
        }
        Ok(Self { ident, attrs, field, shape, inner })
    }

    /// The local name in the XML.
    fn local(&self) -> String {
        self.attrs.name.clone().unwrap_or_else(|| {
            let s = self.ident.to_string();
            s.strip_prefix("r#").map(str::to_owned).unwrap_or(s)
        })
    }

    /// The name as written, prefix included.
    fn written(&self) -> String {
        match &self.attrs.prefix {
            Some(p) if !p.is_empty() => format!("{p}:{}", self.local()),
            _ => self.local(),
        }
    }

    pub fn wrap_name(&self) -> &str {
        self.attrs.wrap.as_deref().unwrap_or("")
    }

    /// The name as the compiler works it out.
    fn name(&self) -> TokenStream {
        let local = self.local();
        match &self.attrs.ns {
            Some(ns) => quote!(const { ::xml::Name::with_ns(#local, #ns) }),
            None => plain_name(&local),
        }
    }

    fn default_expr(&self) -> Option<TokenStream> {
        match &self.attrs.default {
            DefaultValue::No => None,
            DefaultValue::Std => Some(quote!(::std::default::Default::default())),
            DefaultValue::Expr(e) => Some(quote!(#e)),
        }
    }

    /// The rules beyond the plain ones for reading the value, if there are some.
    fn rules(&self) -> Option<TokenStream> {
        let FieldAttrs { empty_absent, lenient, signed, one_of, fault, missing, place, .. } =
            &self.attrs;
        let special = *empty_absent || *lenient || *signed || one_of.is_some();
        let plain = !special && fault.is_none() && missing.is_none();
        if plain || matches!(place, Place::Child) {
            return None;
        }
        let words = |expr: &Option<Box<syn::Expr>>| match expr {
            Some(expr) => quote!(::std::option::Option::Some(#expr)),
            None => quote!(::std::option::Option::None),
        };
        let (fault, missing, one_of) = (words(fault), words(missing), words(one_of));
        Some(quote!(::xml::ValueRules {
            empty_absent: #empty_absent,
            lenient: #lenient,
            signed: #signed,
            one_of: #one_of,
            fault: #fault,
            missing: #missing,
        }))
    }

    /// `let field: Option<Type> = …;`
    pub fn read(&self) -> Result<TokenStream> {
        let (ident, ty, inner) = (self.ident, &self.field.ty, self.inner);
        let (local, name) = (self.local(), self.name());
        let default = self.default_expr();
        let rules = self.rules();
        // Reads by one of the pair `…_optional` and `…_required`, by the field's shape.
        // What the element does not hold is not searched for: `held` answers that in an instruction.
        let pair = |stem: &str, types: TokenStream, mut args: TokenStream, held: TokenStream| {
            let mut stem = stem.to_owned();
            if let Some(rules) = &rules {
                stem.push_str("_ruled");
                args.extend(quote!(, #rules));
            }
            let optional = format_ident!("{stem}_optional");
            let required = format_ident!("{stem}_required");
            let mut found = quote!(cx.#optional::<#types>(#args));
            if self.attrs.zero_absent {
                found = quote!(#found.map(|v| v.filter(|v| {
                    *v != <#inner as ::std::default::Default>::default()
                })));
            }
            if self.attrs.nonzero {
                found = quote!({ let v = #found; cx.not_zero::<#inner>(el, #local, v) });
            }
            let none = quote!(::std::option::Option::None);
            let some = quote!(::std::option::Option::Some);
            match (self.shape, &default) {
                (Shape::Option, Some(d)) => quote! {
                    if #held { #found.map(|v| v.or_else(|| #d)) } else { #some(#d) }
                },
                (Shape::Option, None) => quote!(if #held { #found } else { #some(#none) }),
                (_, Some(d)) => quote! {
                    if #held { #found.map(|v| v.unwrap_or_else(|| #d)) } else { #some(#d) }
                },
                (_, None) => quote!(cx.#required::<#types>(#args)),
            }
        };
        let held_attr = quote!(held.attr(#name));
        let held_child = match (&self.attrs.needs, &self.attrs.needs_text) {
            (Some(attr), _) => {
                quote!((held.child(#name) && cx.child_has(el, #name, #attr, false)))
            }
            (None, Some(attr)) => {
                quote!((held.child(#name) && cx.child_has(el, #name, #attr, true)))
            }
            (None, None) => quote!(held.child(#name)),
        };
        let list = |found: TokenStream| {
            quote! {
                if #held_child {
                    #found
                } else {
                    ::std::option::Option::Some(::std::vec::Vec::new())
                }
            }
        };
        let code = match &self.attrs.place {
            Place::Attr => pair("attr", quote!(#inner), quote!(el, #name), held_attr),
            Place::Child if self.shape == Shape::Vec => {
                list(quote!(cx.child_list::<#inner>(el, #name)))
            }
            Place::Child if self.attrs.empty_absent => quote! {
                if #held_child {
                    cx.child_optional::<#inner>(el, #name)
                        .map(|v| v.filter(|v| *v != <#inner as ::std::default::Default>::default()))
                } else {
                    ::std::option::Option::Some(::std::option::Option::None)
                }
            },
            Place::Child => pair("child", quote!(#inner), quote!(el, #name), held_child.clone()),
            Place::ChildText if self.shape == Shape::Vec => {
                list(quote!(cx.child_text_list::<#inner>(el, #name)))
            }
            Place::ChildText => {
                pair("child_text", quote!(#inner), quote!(el, #name), held_child.clone())
            }
            Place::Flag => quote! {
                if #held_child { cx.flag(el, #name) } else { ::std::option::Option::Some(false) }
            },
            Place::Text => pair("text", quote!(#inner), quote!(el), quote!(true)),
            Place::Raw if self.shape == Shape::Vec => list(quote!(cx.raw_list(el, #name))),
            Place::Raw => quote! {
                if #held_child {
                    cx.raw_optional(el, #name)
                } else {
                    ::std::option::Option::Some(::std::option::Option::None)
                }
            },
            Place::Flatten => match (self.shape, &default) {
                (Shape::Option, _) => quote! {
                    if <#inner as ::xml::Xml>::present(el) {
                        <#inner as ::xml::Xml>::read(el, cx).map(::std::option::Option::Some)
                    } else {
                        ::std::option::Option::Some(::std::option::Option::None)
                    }
                },
                (_, Some(d)) => quote! {
                    if <#inner as ::xml::Xml>::present(el) {
                        <#inner as ::xml::Xml>::read(el, cx)
                    } else {
                        ::std::option::Option::Some(#d)
                    }
                },
                (_, None) => quote!(<#inner as ::xml::Xml>::read(el, cx)),
            },
            Place::With(path) => quote!(::xml::IntoRead::<#ty>::into_read(#path::read(el, cx))),
            Place::Skip => {
                let d = default.clone().unwrap_or(quote!(::std::default::Default::default()));
                quote!(::std::option::Option::Some(#d))
            }
        };
        let code = match &self.attrs.wrap {
            None => code,
            Some(wrap) => {
                let wrap_name = plain_name(wrap);
                let absent = match (self.shape, &default, &self.attrs.place) {
                    (_, Some(d), _) => quote!(::std::option::Option::Some(#d)),
                    (Shape::Option, ..) => {
                        quote!(::std::option::Option::Some(::std::option::Option::None))
                    }
                    (Shape::Vec, ..) | (_, _, Place::Flag) => {
                        quote!(::std::option::Option::Some(::std::default::Default::default()))
                    }
                    _ => quote!({
                        cx.missing_child(el, #wrap);
                        ::std::option::Option::None
                    }),
                };
                quote! {{
                    let wrapper = if held.child(#wrap_name) {
                        cx.wrapper(el, #wrap_name)
                    } else {
                        ::std::option::Option::None
                    };
                    match wrapper {
                        ::std::option::Option::Some(el) => {
                            let held = el.holds();
                            #code
                        }
                        ::std::option::Option::None => #absent,
                    }
                }}
            }
        };
        Ok(quote!(let #ident: ::std::option::Option<#ty> = #code;))
    }

    /// Wraps code that writes the field into the conditions for writing it.
    fn guarded(&self, code: TokenStream) -> TokenStream {
        let ident = self.ident;
        let mut conditions: Vec<TokenStream> = self
            .attrs
            .conditions
            .iter()
            .map(|c| {
                let (not, option) = match c.strip_prefix('!') {
                    Some(o) => (quote!(!), format_ident!("{o}")),
                    None => (quote!(), format_ident!("{c}")),
                };
                quote!(#not w.options().#option)
            })
            .collect();
        if self.attrs.skip_default {
            let ty = &self.field.ty;
            // For an Option the default is an Option too (see `read`).
            let d = self.default_expr();
            conditions.push(quote!(self.#ident != { let d: #ty = #d; d }));
        }
        if conditions.is_empty() { code } else { quote!(if #(#conditions)&&* { #code }) }
    }

    /// Runs `code` for each value `v` (a reference) there is.
    fn each(&self, code: TokenStream) -> TokenStream {
        let ident = self.ident;
        match self.shape {
            Shape::One => quote!({ let v = &self.#ident; #code }),
            Shape::Option => {
                quote!(if let ::std::option::Option::Some(v) = &self.#ident { #code })
            }
            Shape::Vec => quote!(for v in &self.#ident { #code }),
        }
    }

    pub fn write_attrs(&self) -> TokenStream {
        let (ident, local) = (self.ident, self.local());
        let code = match &self.attrs.place {
            Place::Attr => {
                let begun = format!(" {local}='");
                self.each(quote!(w.attr_begun(#begun, v);))
            }
            Place::Flatten => self.each(quote!(::xml::Xml::write_attrs(v, w);)),
            Place::With(path) => quote!(#path::write_attrs(&self.#ident, w);),
            _ => return quote!(),
        };
        self.guarded(code)
    }

    pub fn write_children(&self) -> TokenStream {
        let (ident, name) = (self.ident, self.written());
        let code = match &self.attrs.place {
            Place::Child => self.each(quote!(w.child(#name, v);)),
            Place::ChildText => self.each(quote!(w.child_text(#name, v);)),
            Place::Flag => quote!(if self.#ident { w.empty(#name); }),
            Place::Text => self.each(quote!(w.text(v);)),
            Place::Raw => self.each(quote!(w.raw(v);)),
            Place::Flatten => self.each(quote!(::xml::Xml::write_children(v, w);)),
            Place::With(path) => quote!(#path::write_children(&self.#ident, w);),
            Place::Attr | Place::Skip => return quote!(),
        };
        self.guarded(code)
    }

    /// Declares the namespace of the field's element on the parent, if the element will be there.
    pub fn declare_ns(&self) -> TokenStream {
        if self.attrs.wrap.is_some() { quote!() } else { self.declare_ns_here() }
    }

    /// The same, on the wrapper.
    pub fn declare_ns_here(&self) -> TokenStream {
        let (Some(ns), Some(prefix)) = (&self.attrs.ns, &self.attrs.prefix) else {
            return quote!();
        };
        let ident = self.ident;
        let code = quote!(w.declare_ns(#prefix, #ns););
        let there = match (self.shape, &self.attrs.place) {
            (Shape::Option, _) => quote!(self.#ident.is_some()),
            (Shape::Vec, _) => quote!(!self.#ident.is_empty()),
            (_, Place::Flag) => quote!(self.#ident),
            _ => quote!(true),
        };
        self.guarded(quote!(if #there { #code }))
    }

    /// Whether an element has something of this field; `None` for what cannot tell.
    pub fn present(&self) -> Option<TokenStream> {
        let (inner, local, name) = (self.inner, self.local(), self.name());
        if let Some(wrap) = &self.attrs.wrap {
            return Some(quote!(el.has_child(::xml::Name::new(#wrap))));
        }
        Some(match &self.attrs.place {
            Place::Attr => quote!(el.attr_node(#local).is_some()),
            Place::Child | Place::ChildText | Place::Flag | Place::Raw => {
                quote!(el.has_child(#name))
            }
            Place::Flatten => quote!(<#inner as ::xml::Xml>::present(el)),
            Place::With(path) => quote!(#path::schema().matches(el)),
            Place::Text | Place::Skip => return None,
        })
    }

    /// A step of the chain that builds the schema.
    pub fn schema(&self) -> TokenStream {
        let (inner, local, name) = (self.inner, self.local(), self.name());
        let required = self.shape == Shape::One && matches!(self.attrs.default, DefaultValue::No);
        let repeated = self.shape == Shape::Vec;
        let step = match &self.attrs.place {
            Place::Attr => {
                let kind = match &self.attrs.one_of {
                    Some(words) => quote!(::xml::ValueKind::Enum(#words)),
                    None => quote!(<#inner as ::xml::XmlValue>::kind()),
                };
                quote!(.attr(#local, #required, #kind))
            }
            Place::Child => quote! {
                .child(#name, #required, #repeated,
                    ::xml::Content::Element(<#inner as ::xml::Xml>::schema))
            },
            Place::ChildText => quote! {
                .child(#name, #required, #repeated,
                    ::xml::Content::Text(<#inner as ::xml::XmlValue>::kind()))
            },
            Place::Flag => quote!(.child(#name, false, false, ::xml::Content::Empty)),
            Place::Text => quote!(.text(<#inner as ::xml::XmlValue>::kind())),
            Place::Raw => quote!(.child(#name, false, #repeated, ::xml::Content::Raw)),
            Place::Flatten => quote!(.merge(<#inner as ::xml::Xml>::schema())),
            Place::With(path) => quote!(.merge(#path::schema())),
            Place::Skip => return quote!(),
        };
        match &self.attrs.wrap {
            None => step,
            Some(wrap) => {
                quote!(.wrapped(::xml::Name::new(#wrap), ::xml::Schema::new() #step))
            }
        }
    }
}

/// A name without namespace, as the compiler works it out.
pub fn plain_name(local: &str) -> TokenStream {
    quote!(const { ::xml::Name::new(#local) })
}

/// The `T` of `Option<T>` or `Vec<T>`, by the type's last word.
fn generic<'a>(ty: &'a Type, word: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last()?;
    if last.ident != word {
        return None;
    }
    let PathArguments::AngleBracketed(args) = &last.arguments else { return None };
    match args.args.first()? {
        GenericArgument::Type(t) => Some(t),
        _ => None,
    }
}
