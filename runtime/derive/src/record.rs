//! `#[derive(Record)]`: the traits `Record` and `Field` of a struct, its columns and builders.

use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{DeriveInput, Ident, Path, Result, parse_quote};

use crate::input::RecordInput;
use crate::view;

/// Writes all that makes a struct a record.
pub(crate) fn expand(item: &DeriveInput) -> Result<TokenStream> {
    let input = RecordInput::parse(item)?;
    let crate_path = &input.crate_path;
    let parts = Parts::new(&input, parse_quote!(#crate_path::__private));
    let view = view::expand(&input, &parts.private);
    let definition = &view.definition;
    let holders = parts.holders();
    let record = parts.record(&view.with_a);
    let field = parts.field(&view.with_a);
    let builders = parts.builders();
    Ok(quote! {
        #definition

        #[doc(hidden)]
        const _: () = {
            #holders
            #record
            #field
            #builders
        };
    })
}

/// What the expansion repeats for every field.
struct Parts<'a> {
    private: Path,
    record: &'a Ident,
    columns: Ident,
    builder: Ident,
    view: Ident,
    /// The fields' names.
    names: Vec<&'a Ident>,
    /// The columns' names.
    labels: Vec<&'a str>,
    /// `<Type as Field>`, placed where the type is written so that errors point there.
    fields: Vec<TokenStream>,
    /// `Type`.
    types: Vec<&'a syn::Type>,
}

impl<'a> Parts<'a> {
    fn new(input: &'a RecordInput<'a>, private: Path) -> Self {
        let view = view::view_name(input.name);
        let field_of = |ty: &syn::Type| quote_spanned!(ty.span()=> <#ty as #private::Field>);
        let fields = input.fields.iter();
        Self {
            names: fields.clone().map(|field| field.name).collect(),
            labels: fields.clone().map(|field| field.column.as_str()).collect(),
            fields: fields.clone().map(|field| field_of(field.ty)).collect(),
            types: fields.map(|field| field.ty).collect(),
            record: input.name,
            columns: format_ident!("{}Columns", input.name),
            builder: format_ident!("{}Builder", input.name),
            view,
            private,
        }
    }

    fn holders(&self) -> TokenStream {
        let Self {
            columns,
            builder,
            names,
            fields,
            types,
            ..
        } = self;
        let of = |holder: &str| -> Vec<_> {
            let holders = fields.iter().zip(types).map(|(field, ty)| {
                let holder = Ident::new(holder, ty.span());
                quote_spanned!(ty.span()=> #field::#holder)
            });
            holders.collect()
        };
        let (column_types, builder_types) = (of("Column"), of("Builder"));
        quote! {
            #[derive(::core::clone::Clone)]
            pub struct #columns {
                #(#names: #column_types,)*
            }

            #[derive(::core::default::Default)]
            pub struct #builder {
                #(#names: #builder_types,)*
            }
        }
    }

    fn record(&self, view_with_a: &TokenStream) -> TokenStream {
        let Self {
            private,
            record,
            columns,
            builder,
            view,
            names,
            labels,
            fields,
            types,
        } = self;
        let arrays: Vec<_> = (0..names.len())
            .map(|n| format_ident!("__array_{n}"))
            .collect();
        quote! {
            #[automatically_derived]
            impl #private::Record for #record {
                type View<'a> = #view_with_a;
                type Columns = #columns;
                type Builder = #builder;

                fn fields() -> ::std::vec::Vec<#private::ArrowField> {
                    ::std::vec![#(#private::arrow_field::<#types>(#labels)),*]
                }

                fn columns(
                    __arrays: &[#private::ArrayRef],
                ) -> ::core::option::Option<#columns> {
                    let [#(#arrays),*] = __arrays else {
                        return ::core::option::Option::None;
                    };
                    ::core::option::Option::Some(#columns {
                        #(#names: #fields::column(#arrays)?,)*
                    })
                }

                #[inline]
                fn view(
                    __columns: &#columns,
                    __row: ::core::primitive::usize,
                ) -> <Self as #private::Record>::View<'_> {
                    #view { #(#names: #fields::view(&__columns.#names, __row),)* }
                }

                #[inline]
                fn as_view(&self) -> <Self as #private::Record>::View<'_> {
                    #view { #(#names: #fields::as_view(&self.#names),)* }
                }

                #[inline]
                fn from_view(__view: <Self as #private::Record>::View<'_>) -> Self {
                    Self { #(#names: #fields::from_view(__view.#names),)* }
                }
            }
        }
    }

    fn field(&self, view_with_a: &TokenStream) -> TokenStream {
        let Self {
            private,
            record,
            columns,
            builder,
            names,
            labels,
            fields,
            types,
            ..
        } = self;
        let part_count = names.len();
        let indices = 0..part_count;
        quote! {
            #[automatically_derived]
            impl #private::Field for #record {
                type View<'a> = #view_with_a;
                type Column = #columns;
                type Builder = #builder;

                fn data_type() -> #private::DataType {
                    #private::struct_type(<Self as #private::Record>::fields())
                }

                fn type_name() -> ::std::string::String {
                    #private::struct_type_name(&[#((#labels, #fields::type_name())),*])
                }

                fn values(
                    __array: &#private::ArrayRef,
                ) -> ::core::option::Option<#columns> {
                    let __array = #private::as_struct(__array, #part_count)?;
                    ::core::option::Option::Some(#columns {
                        #(#names: #private::struct_part::<#types>(__array, #indices, #labels)?,)*
                    })
                }

                #[inline]
                fn view(
                    __column: &#columns,
                    __row: ::core::primitive::usize,
                ) -> <Self as #private::Field>::View<'_> {
                    <Self as #private::Record>::view(__column, __row)
                }

                #[inline]
                fn as_view(&self) -> <Self as #private::Field>::View<'_> {
                    <Self as #private::Record>::as_view(self)
                }

                #[inline]
                fn from_view(__view: <Self as #private::Field>::View<'_>) -> Self {
                    <Self as #private::Record>::from_view(__view)
                }
            }

            #[automatically_derived]
            impl #private::ListItem for #record {}
        }
    }

    fn builders(&self) -> TokenStream {
        let Self {
            private,
            record,
            builder,
            names,
            types,
            ..
        } = self;
        let builders: Vec<_> = self.fields.iter().zip(types).map(|(field, ty)| {
            quote_spanned!(ty.span()=> <#field::Builder as #private::FieldBuilder<#ty>>)
        }).collect();
        quote! {
            #[automatically_derived]
            impl #private::RecordBuilder<#record> for #builder {
                #[inline]
                fn reserve(&mut self, __additional: ::core::primitive::usize) {
                    #(#builders::reserve(&mut self.#names, __additional);)*
                }

                #[inline]
                fn is_full(&self) -> ::core::primitive::bool {
                    false #(|| #builders::is_full(&self.#names))*
                }

                #[inline]
                fn push(&mut self, __view: <#record as #private::Record>::View<'_>) {
                    #(#builders::push(&mut self.#names, __view.#names);)*
                }

                fn finish(&mut self) -> ::std::vec::Vec<#private::ArrayRef> {
                    ::std::vec![#(#builders::finish(&mut self.#names)),*]
                }
            }

            #[automatically_derived]
            impl #private::FieldBuilder<#record> for #builder {
                #[inline]
                fn reserve(&mut self, __additional: ::core::primitive::usize) {
                    <Self as #private::RecordBuilder<#record>>::reserve(self, __additional);
                }

                #[inline]
                fn is_full(&self) -> ::core::primitive::bool {
                    <Self as #private::RecordBuilder<#record>>::is_full(self)
                }

                #[inline]
                fn push(&mut self, __view: <#record as #private::Field>::View<'_>) {
                    <Self as #private::RecordBuilder<#record>>::push(self, __view);
                }

                fn finish_with(
                    &mut self,
                    __nulls: ::core::option::Option<#private::NullBuffer>,
                ) -> #private::ArrayRef {
                    #private::struct_column(
                        <#record as #private::Record>::fields(),
                        <Self as #private::RecordBuilder<#record>>::finish(self),
                        __nulls,
                    )
                }
            }
        }
    }
}
