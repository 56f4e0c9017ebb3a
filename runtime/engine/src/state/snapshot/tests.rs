//! How rows are dealt out to the batches of a state file.

use tidegate_protocol::{KeyGroupRange, MaxParallelism};
use tidegate_storage::{JobFolder, StorageUrl, Store, StoreOptions, WriteOptions};

use super::*;
use crate::state::table::KeyTable;
use crate::state::{Keys, ListState, MapState, State, ValueState};

/// One key group, so that steps of rows are as long as can be.
const ALL: KeyGroupRange = KeyGroupRange { start: 0, end: 1 };

struct Given<K>(Vec<K>);

impl<K: Key> Keys<K> for Given<K> {
    fn key_at(&self, at: usize) -> K::View<'_> {
        self.0[at].as_view()
    }
}

fn table<K: Key, S: State>() -> KeyTable<K, S> {
    KeyTable::new(ALL, MaxParallelism::new(1).unwrap())
}

/// Does something to the state of each of these keys.
fn for_each<K: Key, S: State>(
    table: &mut KeyTable<K, S>,
    keys: Vec<K>,
    change: impl Fn(&mut S::Row<'_>, usize),
) {
    let hashes: Vec<u64> = keys.iter().map(|key| K::hash(key.as_view())).collect();
    let mut rows = Vec::new();
    table.resolve(&hashes, &Given(keys), &mut rows);
    let mut parts = table.parts();
    for (at, row) in rows.into_iter().enumerate() {
        change(&mut parts.context(row, None, None).state, at);
    }
}

/// The batches of a frozen table's file.
async fn batches<K: Key>(frozen: &FrozenTable<K>) -> Vec<RecordBatch> {
    let folder = tempfile::tempdir().unwrap();
    let url = StorageUrl::parse(folder.path().to_str().unwrap()).unwrap();
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    let folder = JobFolder::new(store, "test", "job").unwrap();
    let (path, options) = ("state/1/1/table-0.arrow", WriteOptions::default());
    let writer = folder.create_state_file(path, frozen.schema(), options);
    let mut writer = writer.await.unwrap();
    frozen.write(&mut writer).await.unwrap();
    let file = writer.finish(FileKind::Base, ALL).await.unwrap();
    folder.read_state_file(&file, ALL).await.unwrap()
}

/// What the batches hold together and at most.
fn rows_of(batches: &[RecordBatch]) -> (usize, usize) {
    let rows = || batches.iter().map(RecordBatch::num_rows);
    (rows().sum(), rows().max().unwrap_or(0))
}

/// The rows of the largest of the batches that hold `count` rows changed in this way.
async fn most_rows<S: State>(count: u64, change: impl Fn(&mut S::Row<'_>, usize)) -> usize {
    let mut own = table::<u64, S>();
    for_each(&mut own, (0..count).collect(), change);
    let batches = batches(&own.freeze(None).0).await;
    let mut restored = table::<u64, S>();
    for batch in &batches {
        restored
            .restore(&RestoredBatch::of(batch).unwrap())
            .unwrap();
    }
    assert_eq!(restored.len(), own.len());
    let (all, most) = rows_of(&batches);
    assert_eq!(all as u64, count);
    most
}

#[tokio::test]
async fn batches_of_large_values_have_few_rows() {
    let text = "x".repeat(1 << 20);
    let most = most_rows::<ValueState<String>>(64, |cell, _| cell.set(text.clone()));
    assert_eq!(most.await, STEP_ROWS);
    let most = most_rows::<ListState<u64>>(64, |cell, _| {
        (0..1 << 17).for_each(|item| cell.push(item));
    });
    assert_eq!(most.await, STEP_ROWS);
    let most = most_rows::<MapState<u64, String>>(64, |cell, _| {
        cell.insert(1, text.clone());
    });
    assert_eq!(most.await, STEP_ROWS);
    let most = most_rows::<ValueState<u64>>(3 * BATCH_ROWS as u64, |cell, at| cell.set(at as u64));
    assert_eq!(most.await, BATCH_ROWS);
}

#[tokio::test]
async fn many_deleted_keys_are_dealt_out_to_batches_too() {
    let mut table = table::<u64, ValueState<u64>>();
    let keys = 3 * BATCH_ROWS as u64;
    for_each(&mut table, (0..keys).collect(), |cell, _| cell.set(1));
    table.freeze(None);
    for_each(&mut table, (0..keys).collect(), |cell, _| cell.clear());
    // Rows of the same key group follow the deleted keys.
    for_each(&mut table, (keys..keys + 64).collect(), |cell, _| {
        cell.set(1)
    });
    let changes = table.changes();
    let batches = batches(&table.freeze(Some(changes)).0).await;
    assert_eq!(rows_of(&batches), (3 * BATCH_ROWS + 64, BATCH_ROWS));
}
