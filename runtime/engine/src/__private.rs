//! What derived code refers to. No part of the API: it changes without notice.

pub use arrow_array::ArrayRef;
pub use arrow_buffer::NullBuffer;
pub use arrow_schema::{DataType, Field as ArrowField};

pub use crate::key::Key;
pub use crate::record::{
    Field, FieldBuilder, ListItem, ListView, Record, RecordBuilder, arrow_field, as_struct,
    struct_column, struct_part, struct_type, struct_type_name,
};
pub use crate::state::{AnyColumn, Column, State, StateColumns, StateKind, cell};
