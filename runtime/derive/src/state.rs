//! `#[derive(State)]`: the columns of a keyed operator's states, and the row that user code sees.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Error, Field, Fields, Ident, Path, Result, Type, TypePath,
    parse_quote,
};

use crate::attributes::{column_name, crate_path};
use crate::input::{Errors, documentation, refuse_equal_columns};
use crate::view;

/// One declared state.
struct StateField<'a> {
    name: &'a Ident,
    documentation: Vec<&'a Attribute>,
    column: String,
    ty: &'a Type,
}

/// Writes the trait `State` of a struct.
pub(crate) fn expand(item: &DeriveInput) -> Result<TokenStream> {
    let mut errors = Errors::default();
    let crate_path = errors.keep(crate_path(&item.attrs, "state"));
    let mut fields = Vec::new();
    for field in declared_fields(item)? {
        fields.extend(errors.keep(state_field(field)));
    }
    let columns = fields
        .iter()
        .map(|field| (field.name, field.column.as_str()));
    errors.keep(refuse_equal_columns(columns, "state"));
    errors.result()?;
    let private: Path = parse_quote!(#crate_path::__private);
    if fields.is_empty() {
        return Ok(without_states(&item.ident, &private));
    }
    let row = expand_row(item, &fields, &private);
    let columns = expand_columns(&item.ident, &fields, &private);
    let state = expand_state(&item.ident, &fields, &private);
    Ok(quote! {
        #row

        #[doc(hidden)]
        const _: () = {
            #columns
            #state
        };
    })
}

fn declared_fields(item: &DeriveInput) -> Result<impl Iterator<Item = &Field>> {
    if let Some(parameter) = item.generics.params.first() {
        return Err(Error::new_spanned(
            parameter,
            "a declaration of states cannot be generic, since the states' types are fixed",
        ));
    }
    let fields = match &item.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => Some(&fields.named),
            Fields::Unit => None,
            Fields::Unnamed(_) => {
                return Err(Error::new_spanned(
                    &item.ident,
                    "states need names, since a checkpoint finds them by name: write \
                     `struct Name { field: ValueState<Type> }`",
                ));
            }
        },
        Data::Enum(_) | Data::Union(_) => {
            return Err(Error::new_spanned(
                &item.ident,
                "states are declared as a struct with one field for each",
            ));
        }
    };
    Ok(fields.into_iter().flatten())
}

fn state_field(field: &Field) -> Result<StateField<'_>> {
    let name = field.ident.as_ref();
    let name = name.ok_or_else(|| Error::new_spanned(field, "states need names"))?;
    let (column, span) = column_name(&field.attrs, "state", name)?;
    if column.starts_with('_') {
        return Err(Error::new(
            span,
            format!(
                "a state cannot be named \"{column}\", since names that begin with `_` are the \
                 engine's own: choose another, or give one with #[state(rename = \"…\")]"
            ),
        ));
    }
    if matches!(&field.ty, Type::Path(path) if is_column_type(path)) {
        let ty = &field.ty;
        let written = quote!(#ty);
        return Err(Error::new_spanned(
            ty,
            format!("`{written}` is not a kind of state: write `ValueState<{written}>`"),
        ));
    }
    Ok(StateField {
        name,
        documentation: documentation(field),
        column,
        ty: &field.ty,
    })
}

/// Whether a type is one that is often written where its `ValueState` is meant.
fn is_column_type(path: &TypePath) -> bool {
    path.path
        .get_ident()
        .is_some_and(|name| name == "String" || view::is_number(name))
}

fn without_states(state: &Ident, private: &Path) -> TokenStream {
    quote! {
        #[automatically_derived]
        impl #private::State for #state {
            type Columns = ();
            type Row<'a> = ();

            #[inline]
            fn row((): &mut (), _: ::core::primitive::u32) {}
        }
    }
}

fn row_name(state: &Ident) -> Ident {
    format_ident!("{}Row", state.unraw(), span = state.span())
}

/// A row's fields are seen wherever the row is, since user code reaches states through it alone.
fn expand_row(item: &DeriveInput, fields: &[StateField<'_>], private: &Path) -> TokenStream {
    let (state, visibility, row) = (&item.ident, &item.vis, row_name(&item.ident));
    let fields = fields.iter().map(|field| {
        let StateField {
            name,
            documentation,
            column,
            ty,
        } = field;
        let cell = quote_spanned!(ty.span()=> <#ty as #private::StateKind>::Cell<'a>);
        if documentation.is_empty() {
            let documentation = format!("The current key's state `{column}`.");
            quote!(#[doc = #documentation] #visibility #name: #cell)
        } else {
            quote!(#(#documentation)* #visibility #name: #cell)
        }
    });
    let documentation = format!("The states of [`{state}`] of the current key.");
    quote! {
        #[doc = #documentation]
        #visibility struct #row<'a> {
            #(#fields,)*
        }
    }
}

fn expand_columns(state: &Ident, fields: &[StateField<'_>], private: &Path) -> TokenStream {
    let columns = format_ident!("{}Columns", state);
    let names: Vec<_> = fields.iter().map(|field| field.name).collect();
    let labels = fields.iter().map(|field| &field.column);
    let types = fields.iter().map(|field| {
        let ty = field.ty;
        quote_spanned!(ty.span()=> #private::Column<#ty>)
    });
    quote! {
        #[derive(::core::default::Default)]
        pub struct #columns {
            #(#names: #types,)*
        }

        #[automatically_derived]
        impl #private::StateColumns for #columns {
            const NAMES: &'static [&'static ::core::primitive::str] = &[#(#labels),*];

            fn all(&self) -> ::std::vec::Vec<&dyn #private::AnyColumn> {
                ::std::vec![#(&self.#names),*]
            }

            fn all_mut(&mut self) -> ::std::vec::Vec<&mut dyn #private::AnyColumn> {
                ::std::vec![#(&mut self.#names),*]
            }
        }
    }
}

fn expand_state(state: &Ident, fields: &[StateField<'_>], private: &Path) -> TokenStream {
    let (columns, row) = (format_ident!("{}Columns", state), row_name(state));
    let names: Vec<_> = fields.iter().map(|field| field.name).collect();
    quote! {
        #[automatically_derived]
        impl #private::State for #state {
            type Columns = #columns;
            type Row<'a> = #row<'a>;

            #[inline]
            fn row(__columns: &mut #columns, __row: ::core::primitive::u32) -> #row<'_> {
                #row { #(#names: #private::cell(&mut __columns.#names, __row),)* }
            }
        }

        // The struct only declares: this is its one use, without which the compiler calls it dead.
        const _: fn(&#state) = |__state| {
            #(let _ = &__state.#names;)*
        };
    }
}
