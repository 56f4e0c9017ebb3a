//! What every store must do, whatever keeps it; used by the tests of each kind of store.
#![allow(dead_code, unreachable_pub)]

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, BooleanArray, RecordBatch, StringArray, UInt64Array};
use arrow_schema::{DataType, Field, SchemaRef};
use tidegate_protocol::{
    AppendOutcome, Attempt, Base, CheckpointId, CheckpointKind, Entry, EntryBody, FORMAT_VERSION,
    FileKind, KeyGroup, KeyGroupRange, LogNumber, Manifest, MaxParallelism, OperatorId,
    OperatorState, Parallelism, StateFile, SubtaskIndex, SubtaskState,
};
use tidegate_storage::{
    AccessKeys, Compression, Credentials, Garbage, JobFolder, StorageUrl, Store, StoreOptions,
    WriteOptions, key_group_column, state_schema,
};
use tidegate_testkit::{Random, S3Server};

pub const ALL: KeyGroupRange = KeyGroupRange { start: 0, end: 128 };

/// The options that reach a server with its own keys.
pub fn s3_options(server: &S3Server) -> StoreOptions {
    StoreOptions {
        credentials: Credentials::Keys(AccessKeys {
            access_key_id: server.access_key().to_owned(),
            secret_access_key: server.secret_key().to_owned(),
            session_token: None,
        }),
        ..StoreOptions::default()
    }
}

/// A job's folder in a local folder.
pub async fn open_local(root: &std::path::Path) -> JobFolder {
    let url = StorageUrl::Local(root.to_owned());
    let store = Store::open(&url, StoreOptions::default()).await.unwrap();
    JobFolder::new(store, "default", "word-count").unwrap()
}

/// A job's folder on a server, reached through an endpoint.
pub async fn open_s3(server: &S3Server, endpoint: &str, bucket: &str) -> JobFolder {
    let url = format!("s3://{bucket}/some/prefix?endpoint={endpoint}&region=us-east-1");
    let url = StorageUrl::parse(&url).unwrap();
    let store = Store::open(&url, s3_options(server)).await.unwrap();
    JobFolder::new(store, "default", "word-count").unwrap()
}

pub fn number(number: u64) -> LogNumber {
    LogNumber::new(number).unwrap()
}

/// A fence.
pub fn fence(at: u64, nonce: u64) -> Entry {
    Entry {
        format: FORMAT_VERSION,
        number: number(at),
        nonce,
        retained: Vec::new(),
        start_generation: 0,
        greatest_checkpoint: 0,
        body: EntryBody::Fence {
            created_ms: 1,
            writer: format!("writer {nonce}"),
            base: Base::Empty,
        },
    }
}

/// A checkpoint of attempt 1 that retains itself and the ones given.
pub fn checkpoint(at: u64, retained: &[u64], files: Vec<StateFile>) -> Entry {
    let subtask = SubtaskState {
        subtask: SubtaskIndex(0),
        key_groups: ALL,
        files,
        items: Vec::new(),
        watermark_ms: None,
    };
    let mut retained: Vec<_> = retained.iter().copied().map(number).collect();
    retained.push(number(at));
    Entry {
        format: FORMAT_VERSION,
        number: number(at),
        nonce: at,
        retained,
        start_generation: 0,
        greatest_checkpoint: 0,
        body: EntryBody::Checkpoint(Manifest {
            checkpoint: CheckpointId::new(at).unwrap(),
            kind: CheckpointKind::Checkpoint,
            name: None,
            attempt: Attempt::new(1).unwrap(),
            triggered_ms: 1,
            completed_ms: 2,
            parallelism: Parallelism::new(1).unwrap(),
            max_parallelism: MaxParallelism::default(),
            plan_fingerprint: "0".repeat(16),
            is_final: false,
            operators: vec![OperatorState {
                operator: OperatorId::new("count").unwrap(),
                name: "count".into(),
                schema: None,
                subtasks: vec![subtask],
            }],
        }),
    }
}

pub fn schema() -> SchemaRef {
    let columns = [
        Arc::new(Field::new("key", DataType::UInt64, false)),
        Arc::new(Field::new("word", DataType::Utf8, true)),
    ];
    state_schema(
        columns,
        HashMap::from([("operator".to_owned(), "count".to_owned())]),
    )
}

/// Rows whose key tells their key group: `group * 1_000_000 + index`, scattered.
pub fn batch(runs: &[(KeyGroup, usize)]) -> RecordBatch {
    let row = |group: KeyGroup, row: usize| u64::from(group.0) * 1_000_000 + row as u64;
    let rows = |(group, rows): &(KeyGroup, usize)| {
        let group = *group;
        (0..*rows).map(move |index| row(group, index))
    };
    let keys: Vec<u64> = runs.iter().flat_map(rows).collect();
    let words: StringArray = keys.iter().map(|key| Some(word(*key))).collect();
    let deleted: BooleanArray = keys.iter().map(|key| Some(key % 7 == 0)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(key_group_column(runs)),
        Arc::new(deleted),
        Arc::new(UInt64Array::from(keys)),
        Arc::new(words),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// Text that does not compress well.
fn word(key: u64) -> String {
    format!("{:016x}", key.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

pub fn keys(batches: &[RecordBatch]) -> Vec<u64> {
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

/// Writes a file of these batches.
pub async fn write_file(
    folder: &JobFolder,
    path: &str,
    all: &[Vec<(KeyGroup, usize)>],
) -> StateFile {
    let options = WriteOptions::default();
    let mut writer = folder
        .create_state_file(path, schema(), options)
        .await
        .unwrap();
    for runs in all {
        writer.write(runs, &batch(runs)).await.unwrap();
    }
    writer.finish(FileKind::Base, ALL).await.unwrap()
}

/// Everything that a store must do for one job.
pub async fn whole(folder: &JobFolder) {
    folder.self_test().await.unwrap();
    log(folder).await;
    races(folder).await;
    state(folder).await;
}

async fn log(folder: &JobFolder) {
    assert_eq!(folder.list_log().await.unwrap(), []);
    assert_eq!(folder.latest().await.unwrap(), None);
    assert_eq!(folder.read_entry(number(1)).await.unwrap(), None);
    assert_eq!(folder.append(&fence(1, 10)).await, AppendOutcome::Created);
    assert_eq!(folder.append(&fence(1, 11)).await, AppendOutcome::Taken);
    // A retry of the very same entry has succeeded.
    assert_eq!(folder.append(&fence(1, 10)).await, AppendOutcome::Created);
    assert_eq!(
        folder.append(&checkpoint(2, &[], vec![])).await,
        AppendOutcome::Created
    );
    assert_eq!(
        folder.append(&checkpoint(3, &[2], vec![])).await,
        AppendOutcome::Created
    );
    assert_eq!(
        folder.list_log().await.unwrap(),
        [number(1), number(2), number(3)]
    );
    assert_eq!(
        folder.read_entry(number(1)).await.unwrap(),
        Some(fence(1, 10))
    );

    let latest = folder.latest().await.unwrap().unwrap();
    assert_eq!(latest.entry, checkpoint(3, &[2], vec![]));
    let numbers: Vec<_> = latest
        .checkpoints
        .iter()
        .map(|(number, _)| number.get())
        .collect();
    assert_eq!(numbers, [2, 3]);
}

async fn races(folder: &JobFolder) {
    for round in 0..5_u64 {
        let mut racers = tokio::task::JoinSet::new();
        for racer in 0..8 {
            let folder = folder.clone();
            racers.spawn(async move { folder.append(&fence(100 + round, racer)).await });
        }
        let outcomes = racers.join_all().await;
        let won = outcomes
            .iter()
            .filter(|outcome| **outcome == AppendOutcome::Created)
            .count();
        let lost = outcomes
            .iter()
            .filter(|outcome| **outcome == AppendOutcome::Taken)
            .count();
        assert_eq!((won, lost), (1, 7), "{outcomes:?}");
    }
}

async fn state(folder: &JobFolder) {
    let runs = vec![
        vec![(KeyGroup(1), 10), (KeyGroup(2), 0), (KeyGroup(5), 1000)],
        vec![(KeyGroup(5), 3), (KeyGroup(127), 2)],
    ];
    let kept = write_file(folder, "state/1/7/count-0.arrow", &runs).await;
    let read = folder.read_state_file(&kept, ALL).await.unwrap();
    let expected: Vec<_> = runs.iter().map(|runs| batch(runs)).collect();
    assert_eq!(keys(&read), keys(&expected));
    let some = KeyGroupRange { start: 5, end: 6 };
    let read = folder.read_state_file(&kept, some).await.unwrap();
    assert_eq!(keys(&read).len(), 1003);

    let failed = write_file(folder, "state/1/8/count-0.arrow", &runs).await;
    let running = write_file(folder, "state/2/9/count-0.arrow", &runs).await;
    let later = write_file(folder, "state/3/1/count-0.arrow", &runs).await;
    drop(
        folder
            .create_state_file("state/2/8/x-0.arrow", schema(), WriteOptions::default())
            .await,
    );
    let garbage = Garbage {
        entries: vec![number(1), number(2), number(99)],
        keep_files: vec![kept.path.clone()],
        keep_from: CheckpointId::new(9).unwrap(),
        attempt: Attempt::new(2).unwrap(),
        keep_before: Attempt::FIRST,
    };
    folder.collect_garbage(&garbage).await.unwrap();
    for file in [&kept, &running, &later] {
        folder.read_state_file(file, ALL).await.unwrap();
    }
    let error = folder.read_state_file(&failed, ALL).await.unwrap_err();
    assert_eq!(error.category(), "StateMissing");
    assert!(
        error.to_string().contains("state/1/8/count-0.arrow"),
        "{error}"
    );
    assert_eq!(folder.list_log().await.unwrap()[0], number(3));
    // Once more: what is gone is no error.
    folder.collect_garbage(&garbage).await.unwrap();
}

/// A file of at least so many bytes, which a bucket takes in parts, comes back whole.
pub async fn large_file(folder: &JobFolder, path: &str, size_bytes: usize) {
    let payload = Arc::new(Field::new("payload", DataType::Binary, false));
    let schema = state_schema([payload], HashMap::new());
    let options = WriteOptions {
        compression: Compression::None,
    };
    let mut writer = folder
        .create_state_file(path, schema.clone(), options)
        .await
        .unwrap();
    let mut random = Random::seeded(size_bytes as u64);
    let mut written = Vec::new();
    for group in (0..128).map(KeyGroup) {
        let row = |_| {
            (0..128)
                .flat_map(|_| random.next_u64().to_le_bytes())
                .collect::<Vec<_>>()
        };
        let rows: Vec<_> = (0..size_bytes / 128 / 1024 + 1).map(row).collect();
        let runs = [(group, rows.len())];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(key_group_column(&runs)),
            Arc::new(BooleanArray::from(vec![false; rows.len()])),
            Arc::new(BinaryArray::from_iter_values(rows)),
        ];
        let batch = RecordBatch::try_new(schema.clone(), columns).unwrap();
        writer.write(&runs, &batch).await.unwrap();
        written.push(batch);
    }
    let file = writer.finish(FileKind::Base, ALL).await.unwrap();
    assert!(file.size_bytes >= size_bytes as u64);
    let read = folder.read_state_file(&file, ALL).await.unwrap();
    assert_eq!(read, written);
}
