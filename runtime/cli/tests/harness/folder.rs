//! A job's folder with two checkpoints and a savepoint, written by the storage crate itself.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, StringArray, UInt64Array};
use arrow_schema::{DataType, Field};
use serde_json::json;
use tidegate_protocol::{
    AppendOutcome, CheckpointKind, Entry, EntryBody, FileKind, KeyGroup, KeyGroupRange, LogNumber,
    Manifest, OperatorState, StateFile,
};
use tidegate_storage::{
    Credentials, JobFolder, StorageUrl, Store, StoreOptions, WriteOptions, key_group_column,
    state_schema,
};

const GROUPS: KeyGroupRange = KeyGroupRange { start: 0, end: 128 };

/// A row of the state: key group, key, and its count or nothing for a deleted key.
type Row = (u16, &'static str, Option<u64>);

/// Writes the folder of `default/word-count` below a storage folder: checkpoints 1 and 2, and
/// savepoint 3, whose state is a base and an increment.
pub async fn write(storage: &Path) -> JobFolder {
    write_job(storage, "default", "word-count").await
}

pub async fn write_job(storage: &Path, namespace: &str, name: &str) -> JobFolder {
    write_at(
        storage.to_str().unwrap(),
        Credentials::default(),
        namespace,
        name,
    )
    .await
}

pub async fn write_at(
    url: &str,
    credentials: Credentials,
    namespace: &str,
    name: &str,
) -> JobFolder {
    let url = StorageUrl::parse(url).unwrap();
    let options = StoreOptions {
        credentials,
        ..StoreOptions::default()
    };
    let store = Store::open(&url, options).await.unwrap();
    let folder = JobFolder::new(store, namespace, name).unwrap();
    let base: &[Row] = &[
        (3, "and", Some(7)),
        (3, "the", Some(12)),
        (90, "whale", Some(1)),
    ];
    let base = state_file(&folder, 1, FileKind::Base, base).await;
    let changes: &[Row] = &[(3, "and", None), (3, "the", Some(13)), (91, "sea", Some(2))];
    let changes = state_file(&folder, 2, FileKind::Increment, changes).await;
    let fence = json!({"fence": {"createdMs": 1_795_510_800_000_i64, "writer": "test",
        "base": "empty"}});
    append(&folder, 1, &[], serde_json::from_value(fence).unwrap()).await;
    let both = vec![base.clone(), changes];
    let kept = [
        (CheckpointKind::Checkpoint, vec![base]),
        (CheckpointKind::Checkpoint, both.clone()),
        (CheckpointKind::Savepoint, both),
    ];
    for (id, (kind, files)) in (1..).zip(kept) {
        let retained: Vec<u64> = (2..=id + 1).collect();
        append(
            &folder,
            id + 1,
            &retained,
            EntryBody::Checkpoint(manifest(id, kind, files)),
        )
        .await;
    }
    folder
}

async fn state_file(
    folder: &JobFolder,
    checkpoint: u64,
    kind: FileKind,
    rows: &[Row],
) -> StateFile {
    let columns = [
        Arc::new(Field::new("_key", DataType::Utf8, false)),
        Arc::new(Field::new("count", DataType::UInt64, true)),
    ];
    let schema = state_schema(columns, HashMap::new());
    let runs: Vec<_> = rows
        .chunk_by(|(one, ..), (next, ..)| one == next)
        .map(|run| (KeyGroup(run[0].0), run.len()))
        .collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(key_group_column(&runs)),
        Arc::new(
            rows.iter()
                .map(|(.., count)| Some(count.is_none()))
                .collect::<BooleanArray>(),
        ),
        Arc::new(StringArray::from_iter_values(
            rows.iter().map(|(_, key, _)| *key),
        )),
        Arc::new(
            rows.iter()
                .map(|(.., count)| *count)
                .collect::<UInt64Array>(),
        ),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let path = format!("state/1/{checkpoint}/count-0.arrow");
    let mut writer = folder
        .create_state_file(&path, schema, WriteOptions::default())
        .await
        .unwrap();
    writer.write(&runs, &batch).await.unwrap();
    writer.finish(kind, GROUPS).await.unwrap()
}

fn manifest(id: u64, kind: CheckpointKind, files: Vec<StateFile>) -> Manifest {
    let operators: Vec<OperatorState> = serde_json::from_value(json!([
        {
            "operator": "lines",
            "name": "text lines",
            "subtasks": [{
                "subtask": 0,
                "keyGroups": {"start": 0, "end": 0},
                "items": [{"split": "kjv.txt", "position": 4096 * id}],
            }],
        },
        {
            "operator": "count",
            "name": "count words",
            "schema": {
                "key": "String",
                "columns": [{"name": "count", "kind": "value", "dataType": "u64"}],
            },
            "subtasks": [{"subtask": 0, "keyGroups": GROUPS, "files": files}],
        },
    ]))
    .unwrap();
    let completed_ms = 1_795_510_800_000 + 1000 * i64::try_from(id).unwrap();
    let manifest = json!({
        "checkpoint": id,
        "kind": kind,
        "attempt": 1,
        "triggeredMs": completed_ms - 24,
        "completedMs": completed_ms,
        "parallelism": 1,
        "maxParallelism": 128,
        "planFingerprint": "0123456789abcdef",
        "isFinal": false,
        "operators": operators,
    });
    serde_json::from_value(manifest).unwrap()
}

async fn append(folder: &JobFolder, number: u64, retained: &[u64], body: EntryBody) {
    let log_number = |number: u64| LogNumber::new(number).unwrap();
    let entry = Entry {
        format: tidegate_protocol::FORMAT_VERSION,
        number: log_number(number),
        nonce: number,
        retained: retained.iter().map(|number| log_number(*number)).collect(),
        start_generation: 0,
        greatest_checkpoint: 0,
        body,
    };
    assert!(matches!(
        folder.append(&entry).await,
        AppendOutcome::Created
    ));
}
