//! Derive macros that declare the XML form of a type once.
//!
//! They are used through crate `xml`, whose documentation lists the attributes. The generated code
//! is calls into `xml::Reader` and `xml::Writer`, one a field; all rules live there.

mod attrs;
mod field;
mod scalar;
mod structs;
mod tagged;

use proc_macro::TokenStream;
use syn::{Data, DeriveInput, Error, parse_macro_input};

/// Derives `xml::Xml` for a struct with named fields, or for an enum whose variant is chosen by an
/// attribute (`#[xml(tag = "type")]`).
#[proc_macro_derive(Xml, attributes(xml))]
pub fn derive_xml(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let done = match &input.data {
        Data::Struct(data) => structs::derive(&input, data),
        Data::Enum(data) => tagged::derive(&input, data),
        Data::Union(_) => Err(Error::new_spanned(&input, "a union has no XML form")),
    };
    done.unwrap_or_else(|e| e.to_compile_error()).into()
}

/// Derives `xml::XmlValue`, `ALL`, `as_str`, `FromStr` and `Display` for an enum of words.
#[proc_macro_derive(XmlEnum, attributes(xml))]
pub fn derive_xml_enum(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    scalar::derive(&input).unwrap_or_else(|e| e.to_compile_error()).into()
}
