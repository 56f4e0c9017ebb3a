use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch, StringArray, UInt64Array};
use arrow_schema::{DataType, Field, SchemaRef};
use tidegate_protocol::{FileKind, KeyGroup, KeyGroupRange, StateFile};

use super::*;
use crate::{JobFolder, StorageUrl, Store, StoreOptions};

const PATH: &str = "state/3/7/count-0.arrow";

async fn folder(path: &std::path::Path) -> JobFolder {
    let url = StorageUrl::Local(path.to_owned());
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    JobFolder::new(store, "default", "word-count").unwrap()
}

fn schema() -> SchemaRef {
    let columns = [
        Arc::new(Field::new("key", DataType::UInt64, false)),
        Arc::new(Field::new("word", DataType::Utf8, true)),
    ];
    state_schema(
        columns,
        HashMap::from([("operator".to_owned(), "count".to_owned())]),
    )
}

/// Rows whose key tells their key group: `group * 1_000_000 + index`.
fn batch(runs: &[(KeyGroup, usize)]) -> RecordBatch {
    let keys: Vec<u64> = runs
        .iter()
        .flat_map(|(group, rows)| (0..*rows as u64).map(|row| u64::from(group.0) * 1_000_000 + row))
        .collect();
    let words: StringArray = keys.iter().map(|key| Some(format!("word {key}"))).collect();
    let deleted: BooleanArray = keys.iter().map(|key| Some(key % 7 == 0)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(key_group_column(runs)),
        Arc::new(deleted),
        Arc::new(UInt64Array::from(keys)),
        Arc::new(words),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

async fn write(
    folder: &JobFolder,
    all: &[Vec<(KeyGroup, usize)>],
    range: KeyGroupRange,
) -> StateFile {
    let options = WriteOptions::default();
    let mut writer = folder
        .create_state_file(PATH, schema(), options)
        .await
        .unwrap();
    for runs in all {
        writer.write(runs, &batch(runs)).await.unwrap();
    }
    writer.finish(FileKind::Base, range).await.unwrap()
}

fn keys(batches: &[RecordBatch]) -> Vec<u64> {
    let column = |batch: &RecordBatch| {
        let column = batch.column_by_name("key").unwrap();
        column
            .as_any()
            .downcast_ref::<UInt64Array>()
            .unwrap()
            .values()
            .to_vec()
    };
    batches.iter().flat_map(column).collect()
}

const ALL: KeyGroupRange = KeyGroupRange { start: 0, end: 128 };

#[tokio::test]
async fn rows_come_back_as_they_were_written() {
    let root = tempfile::tempdir().unwrap();
    let folder = folder(root.path()).await;
    let runs = vec![(KeyGroup(1), 10), (KeyGroup(2), 0), (KeyGroup(5), 100_000)];
    let file = write(&folder, &[runs.clone(), vec![(KeyGroup(5), 3)]], ALL).await;
    assert_eq!(file.row_count, 100_013);
    let batches = folder.read_state_file(&file, ALL).await.unwrap();
    let expected = [batch(&runs), batch(&[(KeyGroup(5), 3)])];
    assert_eq!(keys(&batches), keys(&expected));
    assert_eq!(batches[0].schema(), schema());
    assert_eq!(
        batches[0].column(3),
        &expected[0].column(3).slice(0, batches[0].num_rows())
    );
}
