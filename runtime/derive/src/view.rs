//! The view struct: a record's fields, borrowed.

use proc_macro2::TokenStream;
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Ident, Path, Type};

use crate::input::{RecordField, RecordInput};
use crate::unsupported::arguments;

const NUMBERS: [&str; 11] = [
    "bool", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f32", "f64",
];

/// The name of a record's view.
pub(crate) fn view_name(record: &Ident) -> Ident {
    format_ident!("{}View", record.unraw(), span = record.span())
}

/// A field's type in a view.
struct ViewType {
    tokens: TokenStream,
    borrows: bool,
}

impl ViewType {
    fn owned(tokens: TokenStream) -> Self {
        Self {
            tokens,
            borrows: false,
        }
    }

    fn borrowed(tokens: TokenStream) -> Self {
        Self {
            tokens,
            borrows: true,
        }
    }

    /// Well-known types are written out, so that the view's lifetime can shrink and its
    /// documentation reads well; others are asked for their view, and may borrow.
    fn of(ty: &Type, private: &Path) -> Self {
        let span = ty.span();
        match ty {
            Type::Group(group) => return Self::of(&group.elem, private),
            Type::Paren(inner) => return Self::of(&inner.elem, private),
            Type::Tuple(tuple) => {
                let parts: Vec<_> = tuple
                    .elems
                    .iter()
                    .map(|part| Self::of(part, private))
                    .collect();
                let borrows = parts.iter().any(|part| part.borrows);
                let tokens = parts.iter().map(|part| &part.tokens);
                return Self {
                    tokens: quote_spanned!(span=> (#(#tokens,)*)),
                    borrows,
                };
            }
            Type::Array(array) if is(&array.elem, "u8") => {
                return Self::borrowed(quote_spanned!(span=> &'a #array));
            }
            Type::Path(path) if path.qself.is_none() => {
                if let Some(view) = Self::of_path(&path.path, ty, private) {
                    return view;
                }
            }
            _ => {}
        }
        Self::borrowed(quote_spanned!(span=> <#ty as #private::Field>::View<'a>))
    }

    fn of_path(path: &Path, ty: &Type, private: &Path) -> Option<Self> {
        let span = ty.span();
        let last = path.segments.last()?;
        let name = last.ident.to_string();
        let mut inner = arguments(last);
        match (name.as_str(), inner.next()) {
            ("String", None) => Some(Self::borrowed(
                quote_spanned!(span=> &'a ::core::primitive::str),
            )),
            ("Vec", Some(item)) if is(item, "u8") => Some(Self::borrowed(
                quote_spanned!(span=> &'a [::core::primitive::u8]),
            )),
            ("Vec", Some(item)) => Some(Self::borrowed(
                quote_spanned!(span=> #private::ListView<'a, #item>),
            )),
            ("Option", Some(value)) => {
                let Self { tokens, borrows } = Self::of(value, private);
                let tokens = quote_spanned!(span=> ::core::option::Option<#tokens>);
                Some(Self { tokens, borrows })
            }
            ("Timestamp", None) => Some(Self::owned(
                quote_spanned!(span=> <#ty as #private::Field>::View<'static>),
            )),
            (_, None) if path.get_ident().is_some_and(is_number) => {
                Some(Self::owned(ty.to_token_stream()))
            }
            _ => None,
        }
    }
}

/// Whether a name is that of a number or of `bool`.
pub(crate) fn is_number(name: &Ident) -> bool {
    NUMBERS.iter().any(|number| name == number)
}

fn is(ty: &Type, name: &str) -> bool {
    matches!(ty, Type::Path(path) if path.path.is_ident(name))
}

/// The view of a record, written out.
pub(crate) struct View {
    /// Its definition and conversions.
    pub(crate) definition: TokenStream,
    /// Its name with the lifetime `'a`, if it has one.
    pub(crate) with_a: TokenStream,
}

/// Writes the view of a record.
pub(crate) fn expand(input: &RecordInput<'_>, private: &Path) -> View {
    let types: Vec<_> = input
        .fields
        .iter()
        .map(|field| ViewType::of(field.ty, private))
        .collect();
    let borrows = types.iter().any(|ty| ty.borrows);
    let name = view_name(input.name);
    let (generics, elided) = match borrows {
        true => (quote!(<'a>), quote!(<'_>)),
        false => (quote!(), quote!()),
    };
    let fields = input
        .fields
        .iter()
        .zip(&types)
        .map(|(field, ty)| view_field(field, &ty.tokens));
    let (record, visibility) = (input.name, input.visibility);
    let documentation = format!("A row of [`{record}`]s, borrowed from what holds it.");
    let definition = quote! {
        #[doc = #documentation]
        #[derive(
            ::core::clone::Clone,
            ::core::marker::Copy,
            ::core::fmt::Debug,
            ::core::cmp::PartialEq,
        )]
        #visibility struct #name #generics {
            #(#fields,)*
        }

        #[automatically_derived]
        impl ::core::convert::From<#name #elided> for #record {
            #[inline]
            fn from(__view: #name #elided) -> Self {
                <Self as #private::Record>::from_view(__view)
            }
        }

        #[automatically_derived]
        impl<'a> ::core::convert::From<&'a #record> for #name #generics {
            #[inline]
            fn from(__record: &'a #record) -> Self {
                <#record as #private::Record>::as_view(__record)
            }
        }
    };
    View {
        definition,
        with_a: quote!(#name #generics),
    }
}

fn view_field(field: &RecordField<'_>, ty: &TokenStream) -> TokenStream {
    let RecordField {
        name,
        visibility,
        documentation,
        column,
        ..
    } = field;
    if documentation.is_empty() {
        let documentation = format!("The column `{column}`.");
        quote!(#[doc = #documentation] #visibility #name: #ty)
    } else {
        quote!(#(#documentation)* #visibility #name: #ty)
    }
}
