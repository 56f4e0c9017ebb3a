//! A table's snapshot: which files make it up, and how frozen rows become a state file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow_schema::{FieldRef, SchemaRef};
use tidegate_protocol::{CheckpointId, FileKind, KeyGroup, StateFile};
use tidegate_storage::{StateFileWriter, key_group_column, state_schema};

use super::block::Bits;
use super::column::{ColumnEncoder, FrozenColumn};
use super::kind::BATCH_BYTES;
use super::table::Taken;
use crate::key::Key;
use crate::record::FieldBuilder;

/// The name of the key's column in a state file.
pub(super) const KEY_COLUMN: &str = "_key";
/// Rows in a batch of a state file: enough that its headers and compression pay, and the hand-over
/// of each from thread to thread.
const BATCH_ROWS: usize = 1 << 16;
/// Rows added to a batch before it is asked whether it is full.
const STEP_ROWS: usize = 16;
/// Increments in a row before a new base, however small they are: each costs a request at restore.
const MAX_INCREMENTS: usize = 64;

/// Rows of one block in a snapshot.
pub(crate) struct Selection<K> {
    pub(super) group: KeyGroup,
    /// The block's place among the frozen blocks of each column.
    pub(super) position: usize,
    pub(super) keys: Arc<Vec<K>>,
    pub(super) rows: Bits,
}

/// A table as it was when a checkpoint froze it; encoded on another thread.
pub(crate) struct FrozenTable<K> {
    pub(super) fields: Vec<FieldRef>,
    pub(super) columns: Vec<Box<dyn FrozenColumn>>,
    /// Ascending by key group.
    pub(super) chosen: Vec<Selection<K>>,
    /// Ascending by key group.
    pub(super) tombstones: Arc<Vec<(KeyGroup, K)>>,
}

/// One batch on its way into a file.
///
/// # Invariants
/// Its bytes are bounded, but for those of the last [`STEP_ROWS`] rows: columns of text and lists
/// have offsets of 32 bits (`batches_of_large_values_have_few_rows`).
struct Batch<'a, K: Key> {
    runs: Vec<(KeyGroup, usize)>,
    keys: K::Builder,
    deleted: Vec<bool>,
    columns: Vec<Box<dyn ColumnEncoder + 'a>>,
}

impl<'a, K: Key> Batch<'a, K> {
    fn new(columns: &'a [Box<dyn FrozenColumn>]) -> Self {
        Self {
            runs: Vec::new(),
            keys: K::Builder::default(),
            deleted: Vec::new(),
            columns: columns
                .iter()
                .map(|column| column.encoder(BATCH_ROWS))
                .collect(),
        }
    }

    /// Appends rows of a frozen block.
    fn push<'k>(
        &mut self,
        group: KeyGroup,
        keys: impl Iterator<Item = &'k K>,
        position: usize,
        rows: &[u16],
    ) {
        keys.for_each(|key| self.keys.push(key.as_view()));
        let is_deleted = position == NO_BLOCK;
        self.deleted
            .resize(self.deleted.len() + rows.len(), is_deleted);
        for column in &mut self.columns {
            column.push(position, rows);
        }
        match self.runs.last_mut() {
            Some((last, count)) if *last == group => *count += rows.len(),
            _ => self.runs.push((group, rows.len())),
        }
    }

    fn is_full(&self) -> bool {
        let row_count = self.deleted.len();
        row_count >= BATCH_ROWS
            || row_count * size_of::<K>() >= BATCH_BYTES
            || self.keys.is_full()
            || self.columns.iter().any(|column| column.is_full())
    }
}

impl<K: Key> FrozenTable<K> {
    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.chosen.is_empty() && self.tombstones.is_empty()
    }

    /// The schema of the file.
    pub(crate) fn schema(&self) -> SchemaRef {
        let key = arrow_schema::Field::new(KEY_COLUMN, K::data_type(), K::IS_NULLABLE);
        let columns = std::iter::once(FieldRef::new(key)).chain(self.fields.iter().cloned());
        state_schema(columns, HashMap::new())
    }

    /// Writes all rows: for each key group its tombstones, then its live rows, so that a key that
    /// was deleted and set again ends up set.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn write(&self, writer: &mut StateFileWriter) -> tidegate_storage::Result<()> {
        let schema = self.schema();
        let mut batch = Batch::new(&self.columns);
        let mut tombstones = self.tombstones.iter().peekable();
        for selection in &self.chosen {
            while let Some((group, key)) =
                tombstones.next_if(|(group, _)| *group <= selection.group)
            {
                batch.push(*group, std::iter::once(key), NO_BLOCK, &[0]);
                self.flush_full(&schema, &mut batch, writer).await?;
            }
            let mut places = Vec::with_capacity(selection.rows.count());
            // A place is below the rows of a block, which fit.
            selection.rows.for_each(|place| places.push(place as u16));
            for step in places.chunks(STEP_ROWS) {
                let keys = step
                    .iter()
                    .map(|place| &selection.keys[usize::from(*place)]);
                batch.push(selection.group, keys, selection.position, step);
                self.flush_full(&schema, &mut batch, writer).await?;
            }
        }
        for (group, key) in tombstones {
            batch.push(*group, std::iter::once(key), NO_BLOCK, &[0]);
            self.flush_full(&schema, &mut batch, writer).await?;
        }
        if batch.deleted.is_empty() {
            return Ok(());
        }
        self.flush(&schema, batch, writer).await
    }

    async fn flush_full<'a>(
        &'a self,
        schema: &SchemaRef,
        batch: &mut Batch<'a, K>,
        writer: &mut StateFileWriter,
    ) -> tidegate_storage::Result<()> {
        if batch.is_full() {
            let full = std::mem::replace(batch, Batch::new(&self.columns));
            self.flush(schema, full, writer).await?;
        }
        Ok(())
    }

    async fn flush(
        &self,
        schema: &SchemaRef,
        mut full: Batch<'_, K>,
        writer: &mut StateFileWriter,
    ) -> tidegate_storage::Result<()> {
        let row_count = full.deleted.len();
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(key_group_column(&full.runs)),
            Arc::new(BooleanArray::from(full.deleted)),
            full.keys.finish(),
        ];
        columns.extend(full.columns.into_iter().map(|column| column.finish()));
        let options = RecordBatchOptions::new().with_row_count(Some(row_count));
        let encoded = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)
            .expect("every column was encoded from the same rows, in its own type");
        writer.write(&full.runs, &encoded).await
    }
}

/// Stands for a tombstone's row, which lies in no block.
pub(super) const NO_BLOCK: usize = usize::MAX;

/// A batch read from a state file.
pub(crate) struct RestoredBatch<'a> {
    batch: &'a RecordBatch,
    pub(super) keys: &'a ArrayRef,
    pub(super) deleted: &'a BooleanArray,
    pub(super) row_count: usize,
}

impl<'a> RestoredBatch<'a> {
    /// Finds the columns that every state file has.
    pub(crate) fn of(batch: &'a RecordBatch) -> Option<Self> {
        let deleted = batch.column_by_name(tidegate_storage::DELETED_COLUMN)?;
        Some(Self {
            batch,
            keys: batch.column_by_name(KEY_COLUMN)?,
            deleted: deleted.as_any().downcast_ref()?,
            row_count: batch.num_rows(),
        })
    }

    pub(super) fn column(&self, name: &str) -> Option<&ArrayRef> {
        self.batch.column_by_name(name)
    }
}

/// The files that make up a table's last complete snapshot, and what became of later ones.
///
/// A file of an aborted checkpoint is never referred to again: the job's own garbage collection may
/// delete it. An increment's changes are given back to the table and written anew; an aborted base
/// is followed by another, so that nothing must be remembered for it.
pub(crate) struct StateChain<K> {
    files: Vec<StateFile>,
    pending: Option<PendingSnapshot<K>>,
}

/// A snapshot that is being written, or is written but not known to be complete.
pub(crate) struct PendingSnapshot<K> {
    checkpoint: CheckpointId,
    /// What an increment took; `None` for a base.
    taken: Option<Taken<K>>,
    written: Written,
}

/// Where the writer of a snapshot leaves its file.
#[derive(Clone, Default)]
pub(crate) struct Written(Arc<Mutex<Option<Option<StateFile>>>>);

impl Written {
    /// The file is durable; `None` where nothing had changed.
    pub(crate) fn tell(&self, file: Option<StateFile>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    }

    fn take(&self) -> Option<Option<StateFile>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<K: Key> StateChain<K> {
    /// Begins with the files that were restored. Another job's may be deleted by it any time, so
    /// after them the first snapshot holds everything anew.
    pub(crate) fn new(mut files: Vec<StateFile>) -> Self {
        if files.iter().any(StateFile::is_foreign) {
            files.clear();
        }
        Self {
            files,
            pending: None,
        }
    }

    /// Learns which checkpoint was the last to complete. Gives back what an aborted one had taken.
    pub(crate) fn settle(&mut self, last_completed: Option<CheckpointId>) -> Option<Taken<K>> {
        let pending = self.pending.take()?;
        if pending.taken.is_none() {
            self.files.clear();
        }
        match pending.written.take() {
            Some(file) if last_completed >= Some(pending.checkpoint) => {
                self.files.extend(file);
                None
            }
            _ => pending.taken,
        }
    }

    /// Whether the next snapshot should hold everything: the changes since the base, those that are
    /// not written yet included, outgrew it, or there are too many files.
    pub(crate) fn wants_base(&self, changed_rows: usize, live_rows: usize) -> bool {
        let is_base = |file: &&StateFile| file.kind == FileKind::Base;
        let base_rows: u64 = self
            .files
            .iter()
            .filter(is_base)
            .map(|file| file.row_count)
            .sum();
        let all_rows: u64 = self.files.iter().map(|file| file.row_count).sum();
        let increment_count = self.files.iter().filter(|file| !is_base(file)).count();
        let increment_rows = all_rows - base_rows + changed_rows as u64;
        self.files.is_empty()
            || increment_count >= MAX_INCREMENTS
            || increment_rows > base_rows.max(live_rows as u64)
    }

    /// What a snapshot's file is.
    pub(crate) fn file_kind(is_whole: bool) -> FileKind {
        if is_whole {
            FileKind::Base
        } else {
            FileKind::Increment
        }
    }

    /// Notes that a snapshot is under way; its writer fills what is returned.
    pub(crate) fn begin(
        &mut self,
        checkpoint: CheckpointId,
        taken: Option<Taken<K>>,
    ) -> (Vec<StateFile>, Written) {
        let written = Written::default();
        let earlier = match taken {
            Some(_) => self.files.clone(),
            None => Vec::new(),
        };
        self.pending = Some(PendingSnapshot {
            checkpoint,
            taken,
            written: written.clone(),
        });
        (earlier, written)
    }
}

#[cfg(test)]
mod tests;
