//! `#[derive(Key)]`: the stable hash of a record.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Path, Result, parse_quote};

use crate::input::RecordInput;

/// Writes the trait `Key` of a struct that is a record.
pub(crate) fn expand(item: &DeriveInput) -> Result<TokenStream> {
    let input = RecordInput::parse(item)?;
    let crate_path = &input.crate_path;
    let private: Path = parse_quote!(#crate_path::__private);
    let record = input.name;
    let names: Vec<_> = input.fields.iter().map(|field| field.name).collect();
    let keys = input.fields.iter().map(|field| {
        let ty = field.ty;
        quote_spanned!(ty.span()=> <#ty as #private::Key>)
    });
    let keys: Vec<_> = keys.collect();
    let (first_key, first_name) = (&keys[0], names[0]);
    let (rest_keys, rest_names) = (&keys[1..], &names[1..]);
    Ok(quote! {
        #[automatically_derived]
        impl #private::Key for #record {
            #[inline]
            fn hash(__view: <Self as #private::Field>::View<'_>) -> ::core::primitive::u64 {
                let __hash = #first_key::hash(__view.#first_name);
                #(let __hash = #rest_keys::hash_with_seed(__view.#rest_names, __hash);)*
                __hash
            }

            #[inline]
            fn hash_with_seed(
                __view: <Self as #private::Field>::View<'_>,
                __seed: ::core::primitive::u64,
            ) -> ::core::primitive::u64 {
                let __hash = __seed;
                #(let __hash = #keys::hash_with_seed(__view.#names, __hash);)*
                __hash
            }
        }
    })
}
