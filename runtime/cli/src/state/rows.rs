//! The rows of an operator's state in a range of key groups: bases, and what changed since.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::UInt16Type;
use arrow_array::{Array, RecordBatch};
use serde_json::Value;
use tidegate_protocol::{KeyGroupRange, OperatorState, StateFile};
use tidegate_storage::{DELETED_COLUMN, JobFolder, KEY_GROUP_COLUMN, Result, StorageError};

use super::value::json_of;

/// The key's column in a state file, as the engine names it.
const KEY_COLUMN: &str = "_key";

/// What an operator keeps for a key.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) key: Value,
    pub(super) key_group: u16,
    /// The states that are set, by name; columns that the engine hides begin with an underscore
    /// and are left out where they hold nothing.
    pub(super) state: Vec<(String, Value)>,
}

/// Reads the rows of a range, sorted by key group and key.
pub(super) async fn read_rows(
    folder: &JobFolder,
    operator: &OperatorState,
    range: KeyGroupRange,
) -> Result<Vec<Row>> {
    let mut rows = BTreeMap::new();
    for file in operator.subtasks.iter().flat_map(|subtask| &subtask.files) {
        if file.key_groups.intersect(range).is_none() {
            continue;
        }
        let mut reader = folder.open_state_file(file, range).await?;
        while let Some(batch) = reader.next().await? {
            apply(&mut rows, &batch).ok_or_else(|| unknown_layout(folder, file))?;
        }
    }
    Ok(rows.into_values().collect())
}

/// Applies a batch's rows and deletions, in order. `None` where a column is missing.
fn apply(rows: &mut BTreeMap<(u16, String), Row>, batch: &RecordBatch) -> Option<()> {
    let groups = batch
        .column_by_name(KEY_GROUP_COLUMN)?
        .as_primitive_opt::<UInt16Type>()?;
    let deleted = batch.column_by_name(DELETED_COLUMN)?.as_boolean_opt()?;
    let keys = batch.column_by_name(KEY_COLUMN)?;
    let schema = batch.schema();
    let is_state = |name: &str| ![KEY_GROUP_COLUMN, DELETED_COLUMN, KEY_COLUMN].contains(&name);
    for at in 0..batch.num_rows() {
        let key = json_of(keys, at);
        let key_group = groups.value(at);
        let place = (key_group, key.to_string());
        if deleted.value(at) {
            rows.remove(&place);
            continue;
        }
        let columns = schema.fields().iter().zip(batch.columns());
        let state = columns
            .filter(|(field, column)| is_state(field.name()) && column.is_valid(at))
            .map(|(field, column)| (field.name().clone(), json_of(column, at)))
            .filter(|(name, value)| !(name.starts_with('_') && *value == Value::Array(Vec::new())))
            .collect();
        rows.insert(
            place,
            Row {
                key,
                key_group,
                state,
            },
        );
    }
    Some(())
}

fn unknown_layout(folder: &JobFolder, file: &StateFile) -> StorageError {
    StorageError::Damaged {
        location: folder.location(&file.path),
        problem: "it lacks a column that every file of keyed state has".to_owned(),
    }
}
