//! Structs with named fields.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DataStruct, DeriveInput, Error, Fields, Result};

use crate::attrs::{Place, TypeAttrs};
use crate::field::Field;

pub fn derive(input: &DeriveInput, data: &DataStruct) -> Result<TokenStream> {
    let named = match &data.fields {
        Fields::Named(f) => f.named.iter().collect(),
        Fields::Unit => Vec::new(),
        Fields::Unnamed(_) => {
            return Err(Error::new_spanned(input, "the XML form needs named fields"));
        }
    };
    let fields: Vec<Field> = named.into_iter().map(Field::new).collect::<Result<_>>()?;
    let ty = &input.ident;
    let idents: Vec<_> = fields.iter().map(|f| &f.ident).collect();
    let reads = fields.iter().map(Field::read).collect::<Result<Vec<_>>>()?;
    let schemas: Vec<_> = fields.iter().map(Field::schema).collect();

    let first = fields.iter().filter(|f| f.attrs.attrs_first);
    let others = fields.iter().filter(|f| !f.attrs.attrs_first && f.attrs.wrap.is_none());
    let attrs: Vec<_> = first.chain(others).map(Field::write_attrs).collect();
    let declares: Vec<_> = fields.iter().map(Field::declare_ns).collect();

    let mut children = Vec::new();
    let type_attrs = TypeAttrs::parse(&input.attrs)?;
    if type_attrs.open {
        children.push(quote!(w.open();));
    }
    let mut rest = &fields[..];
    while let Some(f) = rest.first() {
        let Some(wrap) = &f.attrs.wrap else {
            children.push(f.write_children());
            rest = &rest[1..];
            continue;
        };
        // Fields that share a wrapper, perhaps with fields between that write no children.
        let writes_nothing = |f: &Field| {
            f.attrs.wrap.is_none() && matches!(f.attrs.place, Place::Attr | Place::Skip)
        };
        let end = rest
            .iter()
            .position(|g| g.attrs.wrap.as_ref() != Some(wrap) && !writes_nothing(g))
            .unwrap_or(rest.len());
        let group: Vec<_> = rest[..end].iter().filter(|g| g.attrs.wrap.is_some()).collect();
        let a = group.iter().map(|g| g.write_attrs());
        let d = group.iter().map(|g| g.declare_ns_here());
        let c = group.iter().map(|g| g.write_children());
        let name = f.wrap_name();
        children.push(quote!(w.wrap(#name, |w| { #(#a)* #(#d)* #(#c)* });));
        rest = &rest[end..];
    }
    let present = fields.iter().filter_map(Field::present);
    let check = type_attrs.check.map(|path| quote!(#path(&mut value, el, cx);));
    let mutable = check.is_some().then(|| quote!(mut));
    let (impl_generics, generics, where_clause) = input.generics.split_for_impl();
    Ok(quote! {
        impl #impl_generics ::xml::Xml for #ty #generics #where_clause {
            #[allow(unused_variables)]
            fn read(el: ::xml::Element<'_>, cx: &mut ::xml::Reader) -> ::std::option::Option<Self> {
                let held = el.holds();
                #(#reads)*
                let #mutable value = Self { #(#idents: #idents?),* };
                #check
                ::std::option::Option::Some(value)
            }
            #[allow(unused_variables)]
            fn write_attrs(&self, w: &mut ::xml::Writer) {
                #(#attrs)*
                #(#declares)*
            }
            #[allow(unused_variables)]
            fn write_children(&self, w: &mut ::xml::Writer) {
                #(#children)*
            }
            fn schema() -> ::xml::Schema {
                ::xml::Schema::new() #(#schemas)*
            }
            #[allow(unused_variables)]
            fn present(el: ::xml::Element<'_>) -> bool {
                false #(|| #present)*
            }
        }
    })
}
