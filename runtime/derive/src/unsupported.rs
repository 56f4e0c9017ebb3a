//! Field types that are often tried and cannot be columns, each with what to write instead.
//!
//! A derive sees names, not types: what it does not know is left to the compiler, which says that
//! the trait `Field` is missing.

use syn::{Error, GenericArgument, PathArguments, PathSegment, Result, Type};

/// Refuses a type that no column can hold.
pub(crate) fn check(ty: &Type) -> Result<()> {
    match ty {
        Type::Group(group) => check(&group.elem),
        Type::Paren(inner) => check(&inner.elem),
        Type::Tuple(tuple) if tuple.elems.len() < 2 || tuple.elems.len() > 6 => {
            Err(Error::new_spanned(
                ty,
                "a tuple in a record has 2 to 6 parts: write a struct instead",
            ))
        }
        Type::Tuple(tuple) => tuple.elems.iter().try_for_each(check),
        Type::Reference(_) => Err(Error::new_spanned(
            ty,
            "a record owns its data: use `String` for `&str`, `Vec<u8>` for `&[u8]`; its view then \
             borrows them",
        )),
        Type::Path(path) => path
            .path
            .segments
            .last()
            .map_or(Ok(()), |last| check_path(ty, last)),
        _ => Ok(()),
    }
}

fn check_path(ty: &Type, last: &PathSegment) -> Result<()> {
    let name = last.ident.to_string();
    let is_generic = arguments(last).next().is_some();
    let advice = match name.as_str() {
        "usize" => "its size differs between machines: use `u64`",
        "isize" => "its size differs between machines: use `i64`",
        "u128" | "i128" => "columns hold 64-bit integers at most: use `[u8; 16]`",
        "char" => "use `String`, or `u32` for the code point",
        "str" => "a record owns its data: use `String`",
        "HashMap" | "BTreeMap" | "HashSet" | "BTreeSet" if is_generic => {
            "use a `Vec`, of tuples for a map; a keyed operator keeps maps in a `MapState`"
        }
        "Box" | "Rc" | "Arc" | "Cow" if is_generic => "a record owns its data: use the type inside",
        "Option" if arguments(last).any(|inner| is_named(inner, "Option")) => {
            "a column has one kind of null: use a single `Option`"
        }
        "Option" | "Vec" => return arguments(last).try_for_each(check),
        _ => return Ok(()),
    };
    Err(Error::new_spanned(
        ty,
        format!("`{name}` here cannot be a column: {advice}"),
    ))
}

fn is_named(ty: &Type, name: &str) -> bool {
    match ty {
        Type::Group(group) => is_named(&group.elem, name),
        Type::Paren(inner) => is_named(&inner.elem, name),
        Type::Path(path) => path
            .path
            .segments
            .last()
            .is_some_and(|last| last.ident == name),
        _ => false,
    }
}

/// The types in angle brackets.
pub(crate) fn arguments(segment: &PathSegment) -> impl Iterator<Item = &Type> {
    let arguments = match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => Some(&arguments.args),
        _ => None,
    };
    arguments
        .into_iter()
        .flatten()
        .filter_map(|argument| match argument {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        })
}
