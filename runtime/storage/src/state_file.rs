//! State files, format 1: Arrow IPC files whose footer holds an index by key group with checksums.
//!
//! Any Arrow reader opens them. Rows are grouped by key group, ascending over the whole file; the
//! first two columns are [`KEY_GROUP_COLUMN`] and [`DELETED_COLUMN`]. The whole format is told in
//! `docs/snapshot-format.md`.
//!
//! ```text
//! RecordBatch, runs → Encoder → [hash] → file or multipart upload      StateFileWriter
//! manifest's StateFile → footer → index → blocks, checked → batches    StateFileReader
//! ```

mod decode;
mod encode;
mod index;
mod read;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::UInt16Array;
use arrow_schema::{DataType, Field, FieldRef, Schema, SchemaRef};
use tidegate_protocol::KeyGroup;

pub use encode::Compression;
pub use read::StateFileReader;
pub(crate) use read::Wanted;
pub use write::{StateFileWriter, WriteOptions};

/// The first column of every state file: the row's key group, `UInt16`, never null.
pub const KEY_GROUP_COLUMN: &str = "_key_group";
/// The second column of every state file: whether the key was deleted, `Boolean`, never null.
pub const DELETED_COLUMN: &str = "_deleted";
/// The format that this version writes.
pub(crate) const STATE_FORMAT_VERSION: u32 = 1;

/// The schema of a state file with these columns after the two that every one has. The metadata is
/// kept for whoever reads the file.
pub fn state_schema(
    columns: impl IntoIterator<Item = FieldRef>,
    metadata: HashMap<String, String>,
) -> SchemaRef {
    let own = [
        Arc::new(Field::new(KEY_GROUP_COLUMN, DataType::UInt16, false)),
        Arc::new(Field::new(DELETED_COLUMN, DataType::Boolean, false)),
    ];
    let fields: Vec<_> = own.into_iter().chain(columns).collect();
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

/// The key group column for runs of rows.
pub fn key_group_column(runs: &[(KeyGroup, usize)]) -> UInt16Array {
    let mut groups = Vec::with_capacity(runs.iter().map(|(_, row_count)| row_count).sum());
    for (group, row_count) in runs {
        groups.resize(groups.len() + row_count, group.0);
    }
    groups.into()
}

/// What keeps a schema from being a state file's, if anything.
fn schema_problem(schema: &Schema) -> Option<String> {
    let expected = state_schema([], HashMap::new());
    let fields = schema.fields();
    for (index, own) in expected.fields().iter().enumerate() {
        let is_own = fields.get(index).is_some_and(|field| {
            field.name() == own.name()
                && field.data_type() == own.data_type()
                && !field.is_nullable()
        });
        if !is_own {
            let (name, data_type) = (own.name(), own.data_type());
            return Some(format!(
                "column {index} must be `{name}`, {data_type}, not nullable"
            ));
        }
    }
    // Dictionaries are blocks of their own, which no range of key groups could do without.
    let has_dictionary = |field: &&FieldRef| contains_dictionary(field.data_type());
    let dictionary = fields.iter().find(has_dictionary);
    dictionary.map(|field| format!("column `{}` must not be dictionary-encoded", field.name()))
}

fn contains_dictionary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(..) => true,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _)
        | DataType::RunEndEncoded(_, field) => contains_dictionary(field.data_type()),
        DataType::Struct(fields) => fields
            .iter()
            .any(|field| contains_dictionary(field.data_type())),
        DataType::Union(fields, _) => fields
            .iter()
            .any(|(_, field)| contains_dictionary(field.data_type())),
        _ => false,
    }
}
