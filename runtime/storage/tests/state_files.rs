//! State files: what is written comes back, by any range of key groups, and any Arrow reader opens
//! them.
#![allow(clippy::unwrap_used)]

mod contract;

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int32Array, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use arrow_select::concat::concat_batches;
use contract::{ALL, batch, keys, open_local, schema, write_file};
use proptest::prelude::*;
use tidegate_protocol::{FileKind, KeyGroup, KeyGroupRange};
use tidegate_storage::{Compression, StorageError, WriteOptions, key_group_column, state_schema};

const PATH: &str = "state/3/7/count-0.arrow";

#[tokio::test]
async fn rows_come_back_as_they_were_written() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    let runs = vec![(KeyGroup(1), 10), (KeyGroup(2), 0), (KeyGroup(5), 100_000)];
    let more = vec![(KeyGroup(5), 3), (KeyGroup(6), 4)];
    let file = write_file(&folder, PATH, &[runs.clone(), more.clone()]).await;
    assert_eq!((file.path.as_str(), file.row_count), (PATH, 100_017));
    let read = folder.read_state_file(&file, ALL).await.unwrap();
    let read = concat_batches(&schema(), &read).unwrap();
    let expected = concat_batches(&schema(), &[batch(&runs), batch(&more)]).unwrap();
    assert_eq!(read, expected);
}

#[tokio::test]
async fn any_arrow_reader_opens_a_state_file() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    let runs = vec![(KeyGroup(1), 10), (KeyGroup(5), 20)];
    write_file(&folder, PATH, std::slice::from_ref(&runs)).await;
    let path = root.path().join("default/word-count").join(PATH);
    let opened = std::fs::File::open(path).unwrap();
    let reader = arrow_ipc::reader::FileReader::try_new(opened, None).unwrap();
    assert_eq!(reader.schema(), schema());
    assert_eq!(reader.custom_metadata()["tidegate.format"], "1");
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!(batches, [batch(&runs)]);
}

#[tokio::test]
async fn a_file_without_rows_is_a_file() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    let file = write_file(&folder, PATH, &[]).await;
    assert_eq!(file.row_count, 0);
    assert_eq!(folder.read_state_file(&file, ALL).await.unwrap(), []);
    folder.verify_file(&file).await.unwrap();
}

#[tokio::test]
async fn a_manifests_narrower_range_hides_the_files_other_rows() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    let mut file = write_file(&folder, PATH, &[vec![(KeyGroup(1), 2), (KeyGroup(5), 3)]]).await;
    file.key_groups = KeyGroupRange { start: 4, end: 9 };
    let read = folder.read_state_file(&file, ALL).await.unwrap();
    assert_eq!(keys(&read).len(), 3);
    folder.verify_file(&file).await.unwrap();
}

#[tokio::test]
async fn an_unfinished_file_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    let options = WriteOptions::default();
    let mut writer = folder
        .create_state_file(PATH, schema(), options)
        .await
        .unwrap();
    writer
        .write(&[(KeyGroup(1), 9)], &batch(&[(KeyGroup(1), 9)]))
        .await
        .unwrap();
    drop(writer);
    assert!(!root.path().join("default/word-count").join(PATH).exists());
}

#[tokio::test]
async fn what_a_state_file_cannot_take_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    type Runs = &'static [(KeyGroup, usize)];
    let cases: [(Runs, Runs, &str); 4] = [
        (
            &[(KeyGroup(1), 2)],
            &[(KeyGroup(1), 3)],
            "have 2 rows, a batch has 3",
        ),
        (
            &[(KeyGroup(2), 1), (KeyGroup(1), 1)],
            &[(KeyGroup(2), 1), (KeyGroup(1), 1)],
            "ascend",
        ),
        (
            &[(KeyGroup(2), 1), (KeyGroup(2), 1)],
            &[(KeyGroup(2), 2)],
            "ascend",
        ),
        (
            &[(KeyGroup(3), 2)],
            &[(KeyGroup(2), 2)],
            "differs from key group 3",
        ),
    ];
    for (runs, rows, problem) in cases {
        let options = WriteOptions::default();
        let mut writer = folder
            .create_state_file(PATH, schema(), options)
            .await
            .unwrap();
        writer.write(runs, &batch(rows)).await.unwrap();
        let error = writer.finish(FileKind::Base, ALL).await.unwrap_err();
        assert!(
            matches!(error, StorageError::InvalidState { .. }),
            "{error}"
        );
        assert!(error.to_string().contains(problem), "{error}");
    }
    for path in [
        "state/1/count-0.arrow",
        "log/1/1/x",
        "state/1/1/../x",
        "state/0/1/x",
        "/etc/x",
    ] {
        let options = WriteOptions::default();
        let error = folder
            .create_state_file(path, schema(), options)
            .await
            .unwrap_err();
        assert!(error.to_string().contains("its path must be"), "{error}");
    }
}

#[tokio::test]
async fn a_schema_that_no_state_file_has_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    let plain = Schema::new(vec![Field::new("key", DataType::Int32, false)]);
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let nested = DataType::List(Arc::new(Field::new("item", dictionary, true)));
    let nested = state_schema(
        [Arc::new(Field::new("words", nested, true))],
        HashMap::new(),
    );
    for (schema, problem) in [
        (Arc::new(plain), "column 0 must be `_key_group`"),
        (nested, "column `words` must not be dictionary-encoded"),
    ] {
        let options = WriteOptions::default();
        let error = folder
            .create_state_file(PATH, schema, options)
            .await
            .unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
        assert!(!root.path().join("default/word-count").join(PATH).exists());
    }
}

/// Batches of ascending key groups, a group at a batch's end now and then going on in the next.
fn batches() -> impl Strategy<Value = Vec<Vec<(KeyGroup, usize)>>> {
    let step = (0..6_u16, 0..40_usize, any::<bool>());
    prop::collection::vec(step, 0..60).prop_map(|steps| {
        let mut batches = vec![Vec::new()];
        let mut group = 0;
        for (skip, rows, is_cut) in steps {
            if is_cut {
                batches.push(Vec::new());
            }
            group += skip;
            let runs = batches.last_mut().unwrap();
            match runs.last_mut() {
                Some((KeyGroup(last), count)) if *last == group => *count += rows,
                _ if group < 128 => runs.push((KeyGroup(group), rows)),
                _ => {}
            }
        }
        batches
    })
}

/// Enough cases for a test run; a seed is printed, not kept in a file.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn a_range_read_equals_the_full_read_filtered(
        batches in batches(),
        ranges in prop::collection::vec((0..129_u16, 0..129_u16), 1..6),
        is_compressed: bool,
    ) {
        let compression = if is_compressed { Compression::Lz4 } else { Compression::None };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let root = tempfile::tempdir().unwrap();
            let folder = open_local(root.path()).await;
            let options = WriteOptions { compression };
            let mut writer = folder.create_state_file(PATH, schema(), options).await.unwrap();
            for runs in &batches {
                writer.write(runs, &batch(runs)).await.unwrap();
            }
            let file = writer.finish(FileKind::Increment, ALL).await.unwrap();
            let all = keys(&folder.read_state_file(&file, ALL).await.unwrap());
            let written: Vec<_> = batches.iter().map(|runs| batch(runs)).collect();
            prop_assert_eq!(&all, &keys(&written));
            for (one, other) in ranges {
                let range = KeyGroupRange { start: one.min(other), end: one.max(other) };
                let read = folder.read_state_file(&file, range).await.unwrap();
                let in_range = |key: &&u64| range.contains(KeyGroup((**key / 1_000_000) as u16));
                let expected: Vec<u64> = all.iter().filter(in_range).copied().collect();
                prop_assert_eq!(keys(&read), expected);
            }
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn many_key_groups_and_a_large_index_are_read() {
    let root = tempfile::tempdir().unwrap();
    let folder = open_local(root.path()).await;
    let schema = state_schema(
        [Arc::new(Field::new("value", DataType::Int32, false))],
        HashMap::new(),
    );
    let options = WriteOptions::default();
    let mut writer = folder
        .create_state_file(PATH, schema.clone(), options)
        .await
        .unwrap();
    let runs: Vec<_> = (0..32_768).map(|group| (KeyGroup(group), 1)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(key_group_column(&runs)),
        Arc::new(arrow_array::BooleanArray::from(vec![false; runs.len()])),
        Arc::new(Int32Array::from_iter_values(0..32_768)),
    ];
    let rows = RecordBatch::try_new(schema, columns).unwrap();
    writer.write(&runs, &rows).await.unwrap();
    let all = KeyGroupRange {
        start: 0,
        end: 32_768,
    };
    let file = writer.finish(FileKind::Base, all).await.unwrap();
    let some = KeyGroupRange {
        start: 30_000,
        end: 30_010,
    };
    let read = folder.read_state_file(&file, some).await.unwrap();
    assert_eq!(
        concat_batches(rows.schema_ref(), &read).unwrap(),
        rows.slice(30_000, 10)
    );
}
