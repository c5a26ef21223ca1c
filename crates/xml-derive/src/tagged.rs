//! Enums whose variant is chosen by an attribute.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DataEnum, DeriveInput, Error, Fields, Result};

use crate::attrs::{TypeAttrs, kebab};
use crate::field::plain_name;

pub fn derive(input: &DeriveInput, data: &DataEnum) -> Result<TokenStream> {
    let attrs = TypeAttrs::parse(&input.attrs)?;
    let Some(tag) = attrs.tag else {
        return Err(Error::new_spanned(
            &input.ident,
            "say which attribute chooses the variant: #[xml(tag = \"…\")]; for words use XmlEnum",
        ));
    };
    let ty = &input.ident;
    let mut names = Vec::new();
    let (mut reads, mut write_attrs, mut write_children) = (Vec::new(), Vec::new(), Vec::new());
    let (mut schemas, mut values) = (Vec::new(), Vec::new());
    for v in &data.variants {
        let va = TypeAttrs::parse(&v.attrs)?;
        let ident = &v.ident;
        let name = va.name.unwrap_or_else(|| kebab(&ident.to_string()));
        let mut patterns = vec![name.clone()];
        patterns.extend(va.alias);
        match &v.fields {
            Fields::Unit => {
                reads.push(quote!(#(#patterns)|* => ::std::option::Option::Some(Self::#ident)));
                write_attrs.push(quote!(Self::#ident => w.attr_str(#tag, #name)));
                write_children.push(quote!(Self::#ident => {}));
                schemas.push(quote!(.variant(#tag, #name, ::xml::Schema::new)));
                values.push(quote!(Self::#ident => #name));
            }
            Fields::Unnamed(f) if f.unnamed.len() == 1 => {
                let inner = &f.unnamed[0].ty;
                reads.push(quote! {
                    #(#patterns)|* => <#inner as ::xml::Xml>::read(el, cx).map(Self::#ident)
                });
                write_attrs.push(quote! {
                    Self::#ident(v) => { w.attr_str(#tag, #name); ::xml::Xml::write_attrs(v, w); }
                });
                write_children.push(quote!(Self::#ident(v) => ::xml::Xml::write_children(v, w)));
                schemas.push(quote!(.variant(#tag, #name, <#inner as ::xml::Xml>::schema)));
                values.push(quote!(Self::#ident(..) => #name));
            }
            _ => return Err(Error::new_spanned(v, "a variant holds one struct, or nothing")),
        }
        names.push(name);
    }
    let absent = match &attrs.default {
        Some(d) if names.contains(d) => quote!(#d),
        Some(d) => {
            return Err(Error::new_spanned(ty, format!("default '{d}' is no variant's name")));
        }
        None => quote!({
            cx.missing_attr(el, #tag);
            return ::std::option::Option::None;
        }),
    };
    let tag_name = plain_name(&tag);
    let (impl_generics, generics, where_clause) = input.generics.split_for_impl();
    Ok(quote! {
        impl #impl_generics #ty #generics #where_clause {
            /// The value of the attribute that chooses the variant.
            pub const fn tag(&self) -> &'static str {
                match self { #(#values),* }
            }
        }
        impl #impl_generics ::xml::Xml for #ty #generics #where_clause {
            fn read(el: ::xml::Element<'_>, cx: &mut ::xml::Reader) -> ::std::option::Option<Self> {
                let attr = cx.attr(el, #tag_name);
                let value = match attr {
                    ::std::option::Option::Some(a) => a.value(),
                    ::std::option::Option::None => #absent,
                };
                match value {
                    #(#reads,)*
                    _ => {
                        if let ::std::option::Option::Some(a) = attr {
                            cx.bad_tag(a, el, &::xml::ValueError {
                                expected: ::std::borrow::Cow::Borrowed(""),
                                alternatives: &[#(#names),*],
                                limit: ::std::option::Option::None,
                            });
                        }
                        ::std::option::Option::None
                    }
                }
            }
            fn write_attrs(&self, w: &mut ::xml::Writer) {
                match self { #(#write_attrs),* }
            }
            fn write_children(&self, w: &mut ::xml::Writer) {
                match self { #(#write_children),* }
            }
            fn schema() -> ::xml::Schema {
                ::xml::Schema::new() #(#schemas)*
            }
            fn present(el: ::xml::Element<'_>) -> bool {
                el.attr_node(#tag).is_some()
            }
        }
    })
}
