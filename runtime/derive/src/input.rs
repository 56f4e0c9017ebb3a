//! Reads a struct, and refuses what cannot be a record.

use std::collections::HashMap;

use syn::{
    Attribute, Data, DeriveInput, Error, Field, Fields, Ident, Path, Result, Type, Visibility,
};

use crate::attributes::{column_name, crate_path};
use crate::unsupported;

/// A struct that can be a record.
pub(crate) struct RecordInput<'a> {
    pub(crate) name: &'a Ident,
    pub(crate) visibility: &'a Visibility,
    pub(crate) crate_path: Path,
    pub(crate) fields: Vec<RecordField<'a>>,
}

/// One of its fields, and the column that holds it.
pub(crate) struct RecordField<'a> {
    pub(crate) name: &'a Ident,
    pub(crate) visibility: &'a Visibility,
    pub(crate) documentation: Vec<&'a Attribute>,
    pub(crate) column: String,
    pub(crate) ty: &'a Type,
}

impl<'a> RecordInput<'a> {
    /// Reads a struct; all that is wrong with it is told at once.
    pub(crate) fn parse(item: &'a DeriveInput) -> Result<Self> {
        if let Some(parameter) = item.generics.params.first() {
            return Err(Error::new_spanned(
                parameter,
                "a record cannot be generic, since its columns are fixed: write one struct for \
                 each set of columns",
            ));
        }
        let mut errors = Errors::default();
        let crate_path = errors.keep(crate_path(&item.attrs, "record"));
        let mut fields = Vec::new();
        for field in named_fields(item)? {
            fields.extend(errors.keep(record_field(field)));
        }
        let columns = fields
            .iter()
            .map(|field| (field.name, field.column.as_str()));
        errors.keep(refuse_equal_columns(columns, "record"));
        errors.result()?;
        Ok(Self {
            name: &item.ident,
            visibility: &item.vis,
            crate_path: crate_path.expect("an error would have been returned above"),
            fields,
        })
    }
}

fn named_fields(item: &DeriveInput) -> Result<impl Iterator<Item = &Field>> {
    let message = match &item.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) if fields.named.is_empty() => {
                "a record needs at least one field: each is a column"
            }
            Fields::Named(fields) => return Ok(fields.named.iter()),
            Fields::Unnamed(_) => {
                "a record's fields need names, since each names a column: write \
                 `struct Name { field: Type }`, or use a plain tuple as the record"
            }
            Fields::Unit => "a record needs at least one field: each is a column",
        },
        Data::Enum(_) => {
            "an enum cannot be a record, since its variants have different columns: write a struct \
             with a field that tells the kind, and an `Option` for what only some kinds have"
        }
        Data::Union(_) => "a union cannot be a record: write a struct",
    };
    Err(Error::new_spanned(&item.ident, message))
}

fn record_field(field: &Field) -> Result<RecordField<'_>> {
    let name = field.ident.as_ref();
    let name = name.ok_or_else(|| Error::new_spanned(field, "a record's fields need names"))?;
    let mut errors = Errors::default();
    let column = errors.keep(column_name(&field.attrs, "record", name));
    errors.keep(unsupported::check(&field.ty));
    errors.result()?;
    Ok(RecordField {
        name,
        visibility: &field.vis,
        documentation: documentation(field),
        column: column.map(|(column, _)| column).unwrap_or_default(),
        ty: &field.ty,
    })
}

/// A field's own documentation, for what stands for it.
pub(crate) fn documentation(field: &Field) -> Vec<&Attribute> {
    let is_documentation = |attribute: &&Attribute| attribute.path().is_ident("doc");
    field.attrs.iter().filter(is_documentation).collect()
}

/// Refuses two fields of one column; `attribute` is what renames one.
pub(crate) fn refuse_equal_columns<'a>(
    fields: impl Iterator<Item = (&'a Ident, &'a str)>,
    attribute: &str,
) -> Result<()> {
    let mut seen = HashMap::new();
    for (field, column) in fields {
        if let Some(other) = seen.insert(column, field) {
            return Err(Error::new_spanned(
                field,
                format!(
                    "`{field}` and `{other}` would both be the column \"{column}\": rename one \
                     with #[{attribute}(rename = \"…\")]",
                ),
            ));
        }
    }
    Ok(())
}

/// Errors found so far, so that a user sees them all at once.
#[derive(Default)]
pub(crate) struct Errors {
    first: Option<Error>,
}

impl Errors {
    pub(crate) fn keep<T>(&mut self, result: Result<T>) -> Option<T> {
        match (result, &mut self.first) {
            (Ok(value), _) => return Some(value),
            (Err(error), Some(first)) => first.combine(error),
            (Err(error), first @ None) => *first = Some(error),
        }
        None
    }

    pub(crate) fn result(self) -> Result<()> {
        self.first.map_or(Ok(()), Err)
    }
}
