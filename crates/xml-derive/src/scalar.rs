//! Enums of words.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, Result};

use crate::attrs::{TypeAttrs, kebab};

pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(input, "XmlEnum is for enums"));
    };
    let (mut idents, mut names) = (Vec::new(), Vec::new());
    let (mut aliases, mut alias_of) = (Vec::new(), Vec::new());
    for v in &data.variants {
        if !matches!(v.fields, Fields::Unit) {
            return Err(Error::new_spanned(v, "a word carries no data"));
        }
        let attrs = TypeAttrs::parse(&v.attrs)?;
        idents.push(&v.ident);
        names.push(attrs.name.unwrap_or_else(|| kebab(&v.ident.to_string())));
        for a in attrs.alias {
            aliases.push(a);
            alias_of.push(&v.ident);
        }
    }
    let ty = &input.ident;
    let escaped = names.iter().any(|n| n.contains(['&', '<', '>', '\'', '"']));
    Ok(quote! {
        impl #ty {
            /// All values, in the order of declaration.
            pub const ALL: &'static [Self] = &[#(Self::#idents),*];

            /// The word in the XML.
            pub const fn as_str(self) -> &'static str {
                match self { #(Self::#idents => #names),* }
            }
        }
        impl ::std::fmt::Display for #ty {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl ::std::str::FromStr for #ty {
            type Err = ::xml::ValueError;
            fn from_str(text: &str) -> ::std::result::Result<Self, Self::Err> {
                <Self as ::xml::XmlValue>::parse(text)
            }
        }
        impl ::xml::XmlValue for #ty {
            const ESCAPED: bool = #escaped;

            fn parse(text: &str) -> ::std::result::Result<Self, ::xml::ValueError> {
                match text {
                    #(#names => ::std::result::Result::Ok(Self::#idents),)*
                    #(#aliases => ::std::result::Result::Ok(Self::#alias_of),)*
                    _ => ::std::result::Result::Err(::xml::ValueError {
                        expected: ::std::borrow::Cow::Borrowed(""),
                        alternatives: &[#(#names),*],
                        limit: ::std::option::Option::None,
                    }),
                }
            }
            fn write(&self, out: &mut ::std::string::String) {
                out.push_str(self.as_str());
            }
            fn kind() -> ::xml::ValueKind {
                ::xml::ValueKind::Enum(&[#(#names),*])
            }
        }
    })
}
