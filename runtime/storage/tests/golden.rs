//! A job's folder of format version 1, as it was written once: every later version of this major
//! reads it. The files are never written again; a new format version gets a folder of its own.
#![allow(clippy::unwrap_used)]

mod contract;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, RecordBatch, StringArray, StructArray,
    TimestampMillisecondArray, UInt64Array,
};
use arrow_schema::{DataType, Field, SchemaRef, TimeUnit};
use arrow_select::concat::concat_batches;
use contract::{ALL, checkpoint, fence, number, open_local};
use tidegate_protocol::{AppendOutcome, EntryBody, FileKind, KeyGroup, StateFile};
use tidegate_storage::{Compression, JobFolder, WriteOptions, key_group_column, state_schema};

const BASE: &str = "state/1/1/count-0.arrow";
const INCREMENT: &str = "state/1/2/count-0.arrow";

fn golden_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/format-1")
}

fn schema() -> SchemaRef {
    let pair = DataType::Struct(
        vec![
            Field::new("first", DataType::Float64, false),
            Field::new("second", DataType::Utf8, true),
        ]
        .into(),
    );
    let columns = [
        Field::new("key", DataType::UInt64, false),
        Field::new("word", DataType::Utf8, true),
        Field::new("numbers", DataType::new_list(DataType::Int64, true), true),
        Field::new("pair", pair, true),
        Field::new(
            "seen",
            DataType::Timestamp(TimeUnit::Millisecond, None),
            true,
        ),
        Field::new("raw", DataType::Binary, false),
    ];
    let metadata = HashMap::from([("tidegate.operator".to_owned(), "count".to_owned())]);
    state_schema(columns.map(Arc::new), metadata)
}

/// The rows of keys `0..count`, spread over key groups 3, 64 and 127, in that order.
fn rows(keys: std::ops::Range<u64>, is_deleted: bool) -> (Vec<(KeyGroup, usize)>, RecordBatch) {
    let count = (keys.end - keys.start) as usize;
    let runs = vec![
        (KeyGroup(3), count / 4),
        (KeyGroup(64), count / 4),
        (KeyGroup(127), count - 2 * (count / 4)),
    ];
    let keys: Vec<u64> = keys.collect();
    let mut numbers = ListBuilder::new(Int64Builder::new());
    for key in &keys {
        match key % 3 {
            0 => numbers.append_null(),
            1 => numbers.append(true),
            _ => numbers.append_value((0..*key as i64 % 5).map(Some)),
        }
    }
    let DataType::Struct(fields) = schema().field(5).data_type().clone() else {
        unreachable!()
    };
    let pair: Vec<ArrayRef> = vec![
        Arc::new(Float64Array::from_iter_values(
            keys.iter().map(|key| *key as f64 / 4.0),
        )),
        Arc::new(StringArray::from_iter(
            keys.iter().map(|key| (key % 2 == 0).then_some("even")),
        )),
    ];
    let word = |key: &u64| (!key.is_multiple_of(5)).then(|| format!("word {key} ⚓"));
    let raw = keys.iter().map(|key| key.to_be_bytes()[5..].to_vec());
    let columns: Vec<ArrayRef> = vec![
        Arc::new(key_group_column(&runs)),
        Arc::new(BooleanArray::from(vec![is_deleted; count])),
        Arc::new(UInt64Array::from(keys.clone())),
        Arc::new(StringArray::from_iter(keys.iter().map(word))),
        Arc::new(numbers.finish()),
        Arc::new(StructArray::new(fields, pair, None)),
        Arc::new(TimestampMillisecondArray::from_iter(keys.iter().map(
            |key| (!key.is_multiple_of(7)).then_some(1_700_000_000_000 + *key as i64),
        ))),
        Arc::new(BinaryArray::from_iter_values(raw)),
    ];
    (runs, RecordBatch::try_new(schema(), columns).unwrap())
}

async fn write_golden(folder: &JobFolder) {
    let mut files = Vec::new();
    for (path, kind, compression, keys, is_deleted) in [
        (BASE, FileKind::Base, Compression::Lz4, 0..200, false),
        (
            INCREMENT,
            FileKind::Increment,
            Compression::None,
            20..40,
            true,
        ),
    ] {
        let options = WriteOptions { compression };
        let mut writer = folder
            .create_state_file(path, schema(), options)
            .await
            .unwrap();
        let (runs, batch) = rows(keys, is_deleted);
        writer.write(&runs, &batch).await.unwrap();
        files.push(writer.finish(kind, ALL).await.unwrap());
    }
    assert_eq!(folder.append(&fence(1, 7)).await, AppendOutcome::Created);
    let entry = checkpoint(2, &[], files);
    assert_eq!(folder.append(&entry).await, AppendOutcome::Created);
}

async fn read(folder: &JobFolder, file: &StateFile) -> RecordBatch {
    let batches = folder.read_state_file(file, ALL).await.unwrap();
    concat_batches(&schema(), &batches).unwrap()
}

#[tokio::test]
async fn a_folder_of_format_1_is_read() {
    let folder = open_local(&golden_root()).await;
    if std::env::var_os("WRITE_GOLDEN_FORMAT").is_some() && !golden_root().exists() {
        write_golden(&folder).await;
    }
    assert_eq!(folder.list_log().await.unwrap(), [number(1), number(2)]);
    let first = folder.read_entry(number(1)).await.unwrap().unwrap();
    assert!(matches!(first.body, EntryBody::Fence { .. }));
    let latest = folder.latest().await.unwrap().unwrap();
    let (at, manifest) = &latest.checkpoints[0];
    assert_eq!((at.get(), latest.checkpoints.len()), (2, 1));
    for finding in folder.verify(manifest).await {
        assert!(finding.problem.is_none(), "{finding:?}");
    }
    let files: Vec<_> = manifest.files().collect();
    assert_eq!(read(&folder, files[0]).await, rows(0..200, false).1);
    assert_eq!(read(&folder, files[1]).await, rows(20..40, true).1);
    assert_eq!(files[1].kind, FileKind::Increment);
}
