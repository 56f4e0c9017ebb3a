//! Records to the subtasks that own their keys.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_buffer::ScalarBuffer;
use arrow_schema::SchemaRef;
use tidegate_protocol::{KeyGroup, MaxParallelism, Parallelism, key_group_of, subtask_of};

use crate::chunk::Chunk;
use crate::key::Key;
use crate::operator::rows_of;
use crate::record::{Record, RecordBuilder, Rows};

/// Reads a record's key. Any `Fn(T::View<'_>) -> K::View<'_>` is one.
pub trait KeySelector<'a, T: Record, K: Key>: Fn(T::View<'a>) -> K::View<'a> {}

impl<'a, T: Record, K: Key, F: Fn(T::View<'a>) -> K::View<'a>> KeySelector<'a, T, K> for F {}

/// Splits chunks by the subtasks that own their records' keys.
pub(crate) trait Partitioner {
    /// Takes a chunk; chunks of as many rows as a subtask wants are appended to `ready`.
    fn partition(&mut self, chunk: &Chunk, wanted_rows: &[usize], ready: &mut Vec<(usize, Chunk)>);

    /// Appends what is left.
    fn flush(&mut self, ready: &mut Vec<(usize, Chunk)>);
}

/// Makes the partitioner of one sending subtask.
pub(crate) type PartitionerFactory =
    Arc<dyn Fn(Parallelism, MaxParallelism) -> Box<dyn Partitioner> + Send + Sync>;

/// The hash of each row's key.
pub(crate) fn hash_rows<T, K, F>(rows: &Rows<T>, selector: &F) -> Vec<u64>
where
    T: Record,
    K: Key,
    F: for<'a> KeySelector<'a, T, K>,
{
    rows.iter().map(|view| K::hash(selector(view))).collect()
}

/// What is collected for one receiving subtask.
struct Target<T: Record> {
    builder: T::Builder,
    hashes: Vec<u64>,
    timestamps: Vec<i64>,
    split: Option<u32>,
}

/// Partitions by the hash of a key of type `K`.
pub(crate) struct HashPartitioner<T: Record, K, F> {
    selector: Arc<F>,
    max: MaxParallelism,
    /// For each key group its owner.
    owners: Vec<u16>,
    targets: Vec<Target<T>>,
    hashes: Vec<u64>,
    has_timestamps: bool,
    schema: SchemaRef,
    key: std::marker::PhantomData<K>,
}

impl<T: Record, K: Key, F: for<'a> KeySelector<'a, T, K>> HashPartitioner<T, K, F> {
    pub(crate) fn new(selector: Arc<F>, parallelism: Parallelism, max: MaxParallelism) -> Self {
        let owner = |group: u32| {
            // Key groups and subtasks are at most 32,768.
            subtask_of(KeyGroup(group as u16), max, parallelism).0 as u16
        };
        let target = |_| Target {
            builder: T::Builder::default(),
            hashes: Vec::new(),
            timestamps: Vec::new(),
            split: None,
        };
        Self {
            selector,
            max,
            owners: (0..max.get()).map(owner).collect(),
            targets: (0..parallelism.get()).map(target).collect(),
            hashes: Vec::new(),
            has_timestamps: false,
            schema: T::schema(),
            key: std::marker::PhantomData,
        }
    }

    fn cut(&mut self, index: usize, ready: &mut Vec<(usize, Chunk)>) {
        let target = &mut self.targets[index];
        if target.hashes.is_empty() {
            return;
        }
        let row_count = target.hashes.len();
        let columns = target.builder.finish();
        let options = RecordBatchOptions::new().with_row_count(Some(row_count));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .expect("a record's builder makes columns of the record's own types");
        let timestamps = std::mem::take(&mut target.timestamps);
        let chunk = Chunk {
            batch,
            timestamps: self.has_timestamps.then(|| ScalarBuffer::from(timestamps)),
            hashes: Some(ScalarBuffer::from(std::mem::take(&mut target.hashes))),
            split: target.split,
        };
        ready.push((index, chunk));
    }

    /// A record's times come with all of a chunk's records or with none.
    fn match_timestamps(&mut self, chunk: &Chunk, ready: &mut Vec<(usize, Chunk)>) {
        if chunk.timestamps.is_some() != self.has_timestamps {
            self.flush(ready);
            self.has_timestamps = chunk.timestamps.is_some();
        }
    }
}

impl<T: Record, K: Key, F: for<'a> KeySelector<'a, T, K>> Partitioner for HashPartitioner<T, K, F> {
    fn partition(&mut self, chunk: &Chunk, wanted_rows: &[usize], ready: &mut Vec<(usize, Chunk)>) {
        let rows = rows_of::<T>(chunk);
        if self.targets.len() == 1 {
            let mut chunk = chunk.clone();
            chunk.hashes = Some(ScalarBuffer::from(hash_rows(&rows, &*self.selector)));
            ready.push((0, chunk));
            return;
        }
        self.match_timestamps(chunk, ready);
        self.hashes.clear();
        self.hashes
            .extend(rows.iter().map(|view| K::hash((self.selector)(view))));
        for at in 0..rows.len() {
            let hash = self.hashes[at];
            let index = usize::from(self.owners[usize::from(key_group_of(hash, self.max).0)]);
            let target = &mut self.targets[index];
            if target.hashes.is_empty() {
                target.builder.reserve(wanted_rows[index]);
                target.hashes.reserve(wanted_rows[index]);
            }
            target.builder.push(rows.get(at));
            target.hashes.push(hash);
            if let Some(timestamps) = &chunk.timestamps {
                target.timestamps.push(timestamps[at]);
            }
            if target.hashes.len() >= wanted_rows[index] || target.builder.is_full() {
                self.cut(index, ready);
            }
        }
    }

    fn flush(&mut self, ready: &mut Vec<(usize, Chunk)>) {
        for index in 0..self.targets.len() {
            self.cut(index, ready);
        }
    }
}
