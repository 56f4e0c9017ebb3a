//! The table of a keyed operator: keys, their states and timers, and what changed since the last
//! freeze.

use std::sync::Arc;

use arrow_schema::FieldRef;
use tidegate_protocol::{KeyGroup, KeyGroupRange, MaxParallelism, StateSchema, key_group_of};

use super::block::{BLOCK_BITS, BLOCK_ROWS, Bits, Block, Row, block_of, place_of, row_at};
use super::column::DirtyMask;
use super::index::KeyIndex;
use super::snapshot::{FrozenTable, Selection};
use super::timers::{TIMER_COLUMNS, Timers};
use super::{AnyColumn, State, StateColumns, TimerKind};
use crate::chunk::Watermark;
use crate::key::Key;
use crate::operator::KeyedContext;

/// Rows that may have become empty are looked at when there are this many, or at a checkpoint.
const SWEEP_ROWS: usize = 1 << 14;

struct KeyBlock<K> {
    keys: Block<K>,
    used: Box<Bits>,
    /// Rows whose key a state file may hold, so that its end needs a tombstone.
    written: Box<Bits>,
    /// Rows whose changes an aborted checkpoint had taken. Kept here, since a column may have no
    /// block for rows that it never held.
    given_back: Option<Box<Bits>>,
    group: KeyGroup,
}

/// Where the rows of one key group are put.
#[derive(Default)]
struct Group {
    open_block: Option<usize>,
    free_rows: Vec<Row>,
}

/// The keys and states of one subtask of a keyed operator.
///
/// # Invariants
/// A block holds keys of one key group only, so a snapshot that goes block by block comes grouped.
/// A used row has its key in the index; a row without any state or timer is unused at the next
/// freeze. A key that a state file may hold is in a used row or among the tombstones, unless the
/// next snapshot holds everything.
pub(crate) struct KeyTable<K: Key, S: State> {
    index: KeyIndex,
    keys: Vec<KeyBlock<K>>,
    groups: Vec<Group>,
    range: KeyGroupRange,
    max: MaxParallelism,
    pub(crate) columns: S::Columns,
    pub(crate) timers: Timers,
    tombstones: Vec<(KeyGroup, K)>,
    /// Rows that may be empty.
    suspects: Vec<Row>,
    words: Vec<u64>,
}

/// The rows changed since the last freeze.
pub(crate) struct Changes {
    rows: Vec<(usize, DirtyMask)>,
    /// How many they are, deleted keys included.
    pub(crate) row_count: usize,
}

/// What an increment's freeze took, so that an aborted checkpoint's changes can be given back.
pub(crate) struct Taken<K> {
    rows: Vec<(usize, DirtyMask)>,
    tombstones: Arc<Vec<(KeyGroup, K)>>,
}

impl<K: Key, S: State> KeyTable<K, S> {
    /// An empty table for these key groups.
    pub(crate) fn new(range: KeyGroupRange, max: MaxParallelism) -> Self {
        Self {
            index: KeyIndex::default(),
            keys: Vec::new(),
            groups: (range.start..range.end).map(|_| Group::default()).collect(),
            range,
            max,
            columns: S::Columns::default(),
            timers: Timers::default(),
            tombstones: Vec::new(),
            suspects: Vec::new(),
            words: Vec::new(),
        }
    }

    /// The key groups it owns.
    pub(crate) fn range(&self) -> KeyGroupRange {
        self.range
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    /// The schema that a restore checks.
    pub(crate) fn schema() -> StateSchema {
        let columns = S::Columns::default();
        let described = S::Columns::NAMES.iter().zip(columns.all());
        StateSchema {
            key: K::type_name(),
            columns: described
                .map(|(name, column)| column.describe(name))
                .collect(),
        }
    }

    /// The row of each key of a chunk, made where there is none yet.
    ///
    /// Separate passes over the chunk (slots, tags, keys, then the few misses one by one), so that
    /// the processor overlaps the cache misses of different keys.
    pub(crate) fn resolve(&mut self, hashes: &[u64], keys: &impl Keys<K>, rows: &mut Vec<Row>) {
        self.index.candidates(hashes, &mut self.words, rows);
        for (at, row) in rows.iter_mut().enumerate() {
            if *row == Row::MAX || !is_key_at(self.key(*row), keys, at) {
                *row = self.resolve_one(hashes[at], keys, at);
            }
        }
    }

    #[inline(never)]
    fn resolve_one(&mut self, hash: u64, keys: &impl Keys<K>, at: usize) -> Row {
        let found = self
            .index
            .find(hash, |row| is_key_at(self.key(row), keys, at));
        found.unwrap_or_else(|| self.insert(hash, keys.key_at(at)))
    }

    fn insert(&mut self, hash: u64, key: K::View<'_>) -> Row {
        let group = key_group_of(hash, self.max);
        debug_assert!(
            self.range.contains(group),
            "the exchange sends a key to its owner"
        );
        let row = self.take_row(group);
        let block = &mut self.keys[block_of(row)];
        let values = block.keys.values_mut();
        match values.get_mut(place_of(row)) {
            Some(old) => *old = K::from_view(key),
            None => values.push(K::from_view(key)),
        }
        block.used.set(place_of(row));
        self.columns
            .all_mut()
            .into_iter()
            .for_each(|column| column.ensure(row));
        self.index.insert(hash, row);
        self.suspects.push(row);
        row
    }

    /// A free row in a block of the key group.
    fn take_row(&mut self, group: KeyGroup) -> Row {
        let place = usize::from(group.0.saturating_sub(self.range.start));
        let owner = &mut self.groups[place];
        if let Some(row) = owner.free_rows.pop() {
            return row;
        }
        if let Some(block) = owner.open_block {
            let filled = self.keys[block].keys.values().len();
            if filled < BLOCK_ROWS {
                return row_at(block, filled);
            }
        }
        let block = self.keys.len();
        assert!(
            block < 1 << (32 - BLOCK_BITS),
            "a subtask holds at most 2^32 keys"
        );
        owner.open_block = Some(block);
        self.keys.push(KeyBlock {
            keys: Block::new(),
            used: Box::default(),
            written: Box::default(),
            given_back: None,
            group,
        });
        row_at(block, 0)
    }

    /// The key of a used row.
    pub(crate) fn key(&self, row: Row) -> &K {
        &self.keys[block_of(row)].keys.values()[place_of(row)]
    }

    /// Brings the states of some rows into the cache, all their misses at once.
    pub(crate) fn touch(&self, rows: &[Row]) {
        self.columns
            .all()
            .into_iter()
            .for_each(|column| column.touch(rows));
    }

    /// The table taken apart, so that user code can hold a key, its states and the timers at once.
    pub(crate) fn parts(&mut self) -> Parts<'_, K, S> {
        Parts {
            keys: &self.keys,
            columns: &mut self.columns,
            timers: &mut self.timers,
        }
    }

    /// Frees rows without states and timers, once enough may be. Between chunks only, since rows
    /// that a chunk has resolved must stay.
    pub(crate) fn sweep(&mut self) {
        let (states, timers) = (self.columns.all(), self.timers.columns());
        let columns = states.into_iter().chain(timers);
        let cleared: usize = columns.map(|column| column.cleared_count()).sum();
        if self.suspects.len() + cleared >= SWEEP_ROWS {
            self.sweep_all();
        }
    }

    fn sweep_all(&mut self) {
        for column in self.columns.all_mut() {
            column.take_cleared(&mut self.suspects);
        }
        for column in self.timers.columns_mut() {
            column.take_cleared(&mut self.suspects);
        }
        for row in std::mem::take(&mut self.suspects) {
            let is_used = self.keys[block_of(row)].used.get(place_of(row));
            if is_used && self.is_empty_row(row) {
                self.remove(row);
            }
        }
    }

    fn is_empty_row(&self, row: Row) -> bool {
        self.timers.is_empty(row)
            && self
                .columns
                .all()
                .into_iter()
                .all(|column| !column.is_present(row))
    }

    fn remove(&mut self, row: Row) {
        let block = &mut self.keys[block_of(row)];
        let key = block.keys.values()[place_of(row)].clone();
        block.used.clear(place_of(row));
        let is_written = block.written.get(place_of(row));
        block.written.clear(place_of(row));
        let group = block.group;
        self.index.remove(K::hash(key.as_view()), row);
        self.groups[usize::from(group.0 - self.range.start)]
            .free_rows
            .push(row);
        if is_written {
            self.tombstones.push((group, key));
        }
    }

    /// The columns with their names, the timers' among them where any was ever set.
    fn named_columns_mut(&mut self) -> Vec<(&'static str, &mut dyn AnyColumn)> {
        let own = S::Columns::NAMES
            .iter()
            .copied()
            .zip(self.columns.all_mut());
        let is_used = self.timers.is_used();
        let timers = TIMER_COLUMNS.into_iter().zip(self.timers.columns_mut());
        own.chain(timers.filter(|_| is_used)).collect()
    }

    /// Shares these changes, or everything where there are none given, with a snapshot. The pause
    /// is one small step for each block changed. What an increment took can be given back; after a
    /// snapshot of everything that was aborted comes another.
    pub(crate) fn freeze(
        &mut self,
        changes: Option<Changes>,
    ) -> (FrozenTable<K>, Option<Taken<K>>) {
        self.sweep_all();
        let is_whole = changes.is_none();
        let selection = changes.map_or_else(|| self.used_rows(), |changes| changes.rows);
        let blocks: Vec<usize> = selection.iter().map(|(block, _)| *block).collect();
        let fields = self
            .named_columns_mut()
            .into_iter()
            .map(|(name, column)| FieldRef::new(column.arrow_field(name)))
            .collect();
        let columns = self
            .named_columns_mut()
            .into_iter()
            .map(|(_, column)| column.freeze(&blocks))
            .collect();
        let mut tombstones = std::mem::take(&mut self.tombstones);
        if is_whole {
            tombstones = Vec::new();
        }
        tombstones.sort_by_key(|(group, _)| *group);
        let tombstones = Arc::new(tombstones);
        let mut chosen: Vec<Selection<K>> = Vec::with_capacity(selection.len());
        for (position, (block, mask)) in selection.iter().enumerate() {
            let key_block = &mut self.keys[*block];
            let mut rows = mask.0.clone();
            rows.intersect_with(&key_block.used);
            key_block.written.union_with(&rows);
            key_block.given_back = None;
            let keys = key_block.keys.freeze();
            chosen.push(Selection {
                group: key_block.group,
                position,
                keys,
                rows,
            });
        }
        chosen.sort_by_key(|selection| selection.group);
        let taken = (!is_whole).then(|| Taken {
            rows: selection,
            tombstones: Arc::clone(&tombstones),
        });
        let frozen = FrozenTable {
            fields,
            columns,
            chosen,
            tombstones,
        };
        (frozen, taken)
    }

    /// Every used row.
    fn used_rows(&self) -> Vec<(usize, DirtyMask)> {
        let blocks = self.keys.iter().enumerate();
        blocks
            .map(|(block, key_block)| (block, DirtyMask((*key_block.used).clone())))
            .filter(|(_, mask)| !mask.0.is_zero())
            .collect()
    }

    /// What changed since the last freeze. One scan over the blocks serves the choice between a
    /// base and an increment and the increment itself: freeing empty rows leaves dirty bits as they
    /// are.
    pub(crate) fn changes(&self) -> Changes {
        let mut columns = self.columns.all();
        columns.extend(self.timers.columns());
        let mut rows = Vec::new();
        for (block, key_block) in self.keys.iter().enumerate() {
            let mut mask = DirtyMask::default();
            if let Some(given_back) = &key_block.given_back {
                mask.0.union_with(given_back);
            }
            columns
                .iter()
                .for_each(|column| column.add_dirty(block, &mut mask));
            if !mask.0.is_zero() {
                rows.push((block, mask));
            }
        }
        let changed = rows.iter().map(|(_, mask)| mask.0.count()).sum::<usize>();
        Changes {
            row_count: changed + self.tombstones.len(),
            rows,
        }
    }

    /// Takes the changes of an aborted checkpoint back, to be part of the next one.
    pub(crate) fn give_back(&mut self, taken: Taken<K>) {
        for (block, mask) in &taken.rows {
            let given_back = self.keys[*block].given_back.get_or_insert_default();
            given_back.union_with(&mask.0);
        }
        let newer = std::mem::take(&mut self.tombstones);
        self.tombstones = taken.tombstones.iter().cloned().chain(newer).collect();
    }

    /// Applies rows of a snapshot, in file order. `None` where a column's type is another.
    pub(crate) fn restore(&mut self, batch: &super::snapshot::RestoredBatch<'_>) -> Option<()> {
        let mut keys = ColumnKeys::<K> {
            column: K::column(batch.keys)?,
            offset: 0,
        };
        let hashes: Vec<u64> = (0..batch.row_count)
            .map(|at| K::hash(keys.key_at(at)))
            .collect();
        let mut start = 0;
        // Runs of deletions and of live rows, in order: a key may be deleted and then set again.
        while start < batch.row_count {
            let is_deleted = batch.deleted.value(start);
            let same = |at: &usize| batch.deleted.value(*at) == is_deleted;
            let end = start + (start..batch.row_count).take_while(same).count();
            keys.offset = start;
            if is_deleted {
                for (at, hash) in hashes[start..end].iter().enumerate() {
                    self.delete_key(*hash, &keys, at);
                }
            } else {
                let mut rows = Vec::new();
                self.resolve(&hashes[start..end], &keys, &mut rows);
                self.restore_columns(batch, start, &rows)?;
            }
            start = end;
        }
        Some(())
    }

    fn delete_key(&mut self, hash: u64, keys: &ColumnKeys<K>, at: usize) {
        let found = self
            .index
            .find(hash, |row| is_key_at(self.key(row), keys, at));
        if let Some(row) = found {
            self.columns
                .all_mut()
                .into_iter()
                .for_each(|column| column.clear(row));
            self.timers.clear(row);
            self.remove(row);
        }
    }

    fn restore_columns(
        &mut self,
        batch: &super::snapshot::RestoredBatch<'_>,
        start: usize,
        rows: &[Row],
    ) -> Option<()> {
        for (name, column) in S::Columns::NAMES.iter().zip(self.columns.all_mut()) {
            match batch.column(name) {
                Some(array) => column.restore(&array.slice(start, rows.len()), rows)?,
                None => rows.iter().for_each(|row| column.clear(*row)),
            }
        }
        for kind in [TimerKind::EventTime, TimerKind::ProcessingTime] {
            if let Some(array) = batch.column(TIMER_COLUMNS[kind as usize]) {
                self.timers
                    .restore(kind, &array.slice(start, rows.len()), rows)?;
            }
        }
        Some(())
    }

    /// Forgets what counts as changed: a restore ends with what its files hold.
    pub(crate) fn mark_clean(&mut self) {
        self.sweep_all();
        let blocks: Vec<usize> = (0..self.keys.len()).collect();
        for (_, column) in self.named_columns_mut() {
            drop(column.freeze(&blocks));
        }
        for block in &mut self.keys {
            block.written.clone_from(&block.used);
        }
    }

    /// Bytes in memory, about.
    pub(crate) fn size_bytes(&self) -> usize {
        let keys: usize = self
            .keys
            .iter()
            .map(|block| size_of_val(block.keys.values()) + 2 * size_of::<Bits>())
            .sum();
        let columns = self.columns.all().into_iter();
        let columns: usize = columns.map(|column| column.size_bytes()).sum();
        let removed = self.tombstones.capacity() * size_of::<(KeyGroup, K)>()
            + self.suspects.capacity() * size_of::<Row>();
        self.index.size_bytes() + keys + columns + self.timers.size_bytes() + removed
    }
}

/// A table taken apart.
pub(crate) struct Parts<'a, K, S: State> {
    keys: &'a [KeyBlock<K>],
    columns: &'a mut S::Columns,
    timers: &'a mut Timers,
}

impl<K: Key, S: State> Parts<'_, K, S> {
    /// What user code sees of one row.
    #[inline]
    pub(crate) fn context(
        &mut self,
        row: Row,
        timestamp: Option<i64>,
        watermark: Option<Watermark>,
    ) -> KeyedContext<'_, K, S> {
        KeyedContext {
            state: S::row(self.columns, row),
            key: KeyRef {
                keys: self.keys,
                row,
            },
            timers: self.timers,
            row,
            timestamp,
            watermark,
        }
    }
}

/// A row's key, looked up only when asked for.
pub(crate) struct KeyRef<'a, K> {
    keys: &'a [KeyBlock<K>],
    row: Row,
}

impl<K: Key> KeyRef<'_, K> {
    /// The key.
    pub(crate) fn get(&self) -> &K {
        &self.keys[block_of(self.row)].keys.values()[place_of(self.row)]
    }
}

/// Keys by their place in a chunk. Asked anew for each comparison, so that a stored key and a
/// chunk's key are borrowed for the same short time.
pub(crate) trait Keys<K: Key> {
    /// The key at a place.
    fn key_at(&self, at: usize) -> K::View<'_>;
}

/// The keys of a snapshot's column.
struct ColumnKeys<K: Key> {
    column: K::Column,
    offset: usize,
}

impl<K: Key> Keys<K> for ColumnKeys<K> {
    fn key_at(&self, at: usize) -> K::View<'_> {
        K::view(&self.column, self.offset + at)
    }
}

#[inline]
fn is_key_at<'a, K: Key>(stored: &'a K, keys: &'a impl Keys<K>, at: usize) -> bool {
    stored.as_view() == keys.key_at(at)
}
