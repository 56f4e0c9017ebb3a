//! What `#[record(…)]` says.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Error, Ident, LitStr, Path, Result};

/// The path of the crate that holds what derived code refers to; `name` is the attribute's.
pub(crate) fn crate_path(attributes: &[Attribute], name: &str) -> Result<Path> {
    let mut path = None;
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident(name))
    {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(unknown(
                    &meta,
                    &format!("on a struct, `{name}` takes `crate = \"…\"`"),
                ));
            }
            let text: LitStr = meta.value()?.parse()?;
            set(&mut path, text.parse()?, &meta)
        })?;
    }
    path.map_or_else(|| syn::parse_str("::tidegate"), Ok)
}

/// The name of a field's column, and where it is written; `name` is the attribute's.
pub(crate) fn column_name(
    attributes: &[Attribute],
    name: &str,
    field: &Ident,
) -> Result<(String, Span)> {
    let mut renamed = None;
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident(name))
    {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("rename") {
                return Err(unknown(
                    &meta,
                    &format!("on a field, `{name}` takes `rename = \"…\"`"),
                ));
            }
            let text: LitStr = meta.value()?.parse()?;
            check_name(&text)?;
            set(&mut renamed, (text.value(), text.span()), &meta)
        })?;
    }
    Ok(renamed.unwrap_or_else(|| (field.unraw().to_string(), field.span())))
}

fn check_name(text: &LitStr) -> Result<()> {
    let name = text.value();
    if name.trim().is_empty() {
        return Err(Error::new(text.span(), "a column's name cannot be empty"));
    }
    if name.chars().any(char::is_control) {
        return Err(Error::new(
            text.span(),
            "a column's name cannot hold control characters",
        ));
    }
    Ok(())
}

fn set<T>(slot: &mut Option<T>, value: T, meta: &ParseNestedMeta<'_>) -> Result<()> {
    if slot.replace(value).is_some() {
        return Err(meta.error("given twice: keep one of the two"));
    }
    Ok(())
}

fn unknown(meta: &ParseNestedMeta<'_>, known: &str) -> Error {
    let name = meta
        .path
        .get_ident()
        .map_or_else(|| "this".to_owned(), |name| format!("`{name}`"));
    meta.error(format!("{name} is no attribute here: {known}"))
}
