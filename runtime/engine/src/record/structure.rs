//! Struct columns: how a record or a tuple nests in one column.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, StructArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Fields};

use super::Field;

/// The Arrow field of a column.
pub fn arrow_field<F: Field>(name: &str) -> arrow_schema::Field {
    arrow_schema::Field::new(name, F::data_type(), F::IS_NULLABLE)
}

/// The Arrow type of a struct column.
pub fn struct_type(fields: Vec<arrow_schema::Field>) -> DataType {
    DataType::Struct(Fields::from(fields))
}

/// A struct's name in state schemas: the names and types of its parts, so that it outlives the name
/// of the Rust type. Names that are no identifiers are quoted.
pub fn struct_type_name(parts: &[(&str, String)]) -> String {
    let parts = parts.iter().map(|(name, ty)| {
        if name
            .chars()
            .all(|char| char.is_alphanumeric() || char == '_')
        {
            format!("{name}: {ty}")
        } else {
            format!("{name:?}: {ty}")
        }
    });
    format!("struct<{}>", parts.collect::<Vec<_>>().join(", "))
}

/// Makes a struct column of the columns of its parts.
///
/// # Panics
/// Where the columns are not of the fields' types and all as long as `nulls`.
pub fn struct_column(
    fields: Vec<arrow_schema::Field>,
    columns: Vec<ArrayRef>,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    Arc::new(StructArray::new(Fields::from(fields), columns, nulls))
}

/// Downcasts a struct column; `None` where it is none or has another number of parts.
pub fn as_struct(array: &ArrayRef, part_count: usize) -> Option<&StructArray> {
    let array = array.as_any().downcast_ref::<StructArray>()?;
    (array.num_columns() == part_count).then_some(array)
}

/// Downcasts one part of a struct column; `None` where it has another name or type, or nulls that
/// neither its type can hold nor the struct's own nulls hide.
///
/// # Panics
/// Where `index` is not below the number of parts.
pub fn struct_part<F: Field>(array: &StructArray, index: usize, name: &str) -> Option<F::Column> {
    if array.fields()[index].name() != name {
        return None;
    }
    let part = array.column(index);
    match (array.nulls(), part.nulls()) {
        (Some(outer), Some(inner)) if outer.contains(inner) => F::values(part),
        _ => F::column(part),
    }
}
