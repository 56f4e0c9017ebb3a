//! One state of a table: a value for each row, in blocks, with what is set and what has changed.

use std::any::Any;
use std::sync::Arc;

use arrow_array::ArrayRef;
use tidegate_protocol::StateColumn;

use super::block::{Bits, Block, Row, block_of, place_of};
use super::kind::{Encoder, StateKind};

struct ColumnBlock<S> {
    values: Block<S>,
    present: Box<Bits>,
    dirty: Box<Bits>,
    is_dirty: bool,
}

/// The values of one declared state for all rows of a table.
///
/// # Invariants
/// A row that is not present holds nothing a snapshot would write; every change since the last
/// freeze has its dirty bit set (`every_complete_checkpoint_holds_what_the_table_held`).
pub struct Column<K: StateKind> {
    blocks: Vec<ColumnBlock<K::Stored>>,
    cleared: Vec<Row>,
}

impl<K: StateKind> Default for Column<K> {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            cleared: Vec::new(),
        }
    }
}

impl<K: StateKind> Column<K> {
    /// The value of a row, if it is set.
    #[inline]
    pub(crate) fn get(&self, row: Row) -> Option<&K::Stored> {
        let block = &self.blocks[block_of(row)];
        let place = place_of(row);
        if block.present.get(place) {
            Some(&block.values.values()[place])
        } else {
            None
        }
    }

    /// Sets the value of a row.
    #[inline]
    pub(crate) fn set(&mut self, row: Row, value: K::Stored) {
        let place = place_of(row);
        let block = self.touch(row);
        block.values.values_mut()[place] = value;
        block.present.set(place);
    }

    /// The value of a row for a change in place, made from the default where it is not set.
    #[inline]
    pub(crate) fn get_mut(&mut self, row: Row) -> &mut K::Stored {
        let place = place_of(row);
        let block = self.touch(row);
        block.present.set(place);
        &mut block.values.values_mut()[place]
    }

    #[inline]
    fn touch(&mut self, row: Row) -> &mut ColumnBlock<K::Stored> {
        let block = &mut self.blocks[block_of(row)];
        block.dirty.set(place_of(row));
        block.is_dirty = true;
        block
    }
}

/// A column of any kind, as the table sees it.
pub trait AnyColumn: 'static {
    /// Makes room for a row.
    fn ensure(&mut self, row: Row);
    /// Whether a row's value is set.
    fn is_present(&self, row: Row) -> bool;
    /// Unsets a row's value.
    fn clear(&mut self, row: Row);
    /// Loads the values of some rows, for nothing but to have them in the cache.
    fn touch(&self, rows: &[Row]);
    /// How many rows were unset since [`AnyColumn::take_cleared`].
    fn cleared_count(&self) -> usize;
    /// Moves the rows that were unset since the last call.
    fn take_cleared(&mut self, rows: &mut Vec<Row>);
    /// Adds to `mask` the rows of a block changed since the last freeze.
    #[doc(hidden)]
    fn add_dirty(&self, block: usize, mask: &mut DirtyMask);
    /// Shares the given blocks with a snapshot and forgets what has changed in them.
    fn freeze(&mut self, blocks: &[usize]) -> Box<dyn FrozenColumn>;
    /// Sets rows from a snapshot's column, a null unsets; `None` where its type is another.
    fn restore(&mut self, array: &ArrayRef, rows: &[Row]) -> Option<()>;
    /// Bytes in memory, about.
    fn size_bytes(&self) -> usize;
    /// Its description under a name.
    fn describe(&self, name: &str) -> StateColumn;
    /// Its Arrow type under a name.
    fn arrow_field(&self, name: &str) -> arrow_schema::Field;
    /// For tests and typed access.
    fn as_any(&self) -> &dyn Any;
}

/// Rows of a block, as a set.
#[derive(Debug, Clone, Default)]
pub struct DirtyMask(pub(crate) Bits);

/// A column's blocks as they were when a checkpoint froze them.
pub trait FrozenColumn: Send + Sync {
    /// Begins the column of a batch of this many rows, about.
    fn encoder(&self, row_count: usize) -> Box<dyn ColumnEncoder + '_>;
}

/// The column of a batch that is being collected.
pub trait ColumnEncoder: Send {
    /// Appends rows of a frozen block, given by its position in the frozen list; a position beyond
    /// the list gives nulls.
    fn push(&mut self, position: usize, rows: &[u16]);
    /// Whether so much was appended that the batch should be cut, however few rows it has.
    fn is_full(&self) -> bool;
    /// The column.
    fn finish(self: Box<Self>) -> ArrayRef;
}

impl<K: StateKind> AnyColumn for Column<K> {
    fn ensure(&mut self, row: Row) {
        while self.blocks.len() <= block_of(row) {
            self.blocks.push(ColumnBlock {
                values: Block::new(),
                present: Box::default(),
                dirty: Box::default(),
                is_dirty: false,
            });
        }
        let block = &mut self.blocks[block_of(row)];
        if block.values.values().len() <= place_of(row) {
            block
                .values
                .values_mut()
                .resize_with(place_of(row) + 1, Default::default);
        }
    }

    fn is_present(&self, row: Row) -> bool {
        self.blocks
            .get(block_of(row))
            .is_some_and(|block| block.present.get(place_of(row)))
    }

    fn clear(&mut self, row: Row) {
        if self.is_present(row) {
            let place = place_of(row);
            let block = self.touch(row);
            block.present.clear(place);
            block.values.values_mut()[place] = K::Stored::default();
            self.cleared.push(row);
        }
    }

    fn touch(&self, rows: &[Row]) {
        let unset = K::Stored::default();
        let loaded = rows.iter().filter(|row| {
            let block = &self.blocks[block_of(**row)];
            K::looks_alike(&block.values.values()[place_of(**row)], &unset)
        });
        std::hint::black_box(loaded.count());
    }

    fn cleared_count(&self) -> usize {
        self.cleared.len()
    }

    fn take_cleared(&mut self, rows: &mut Vec<Row>) {
        rows.append(&mut self.cleared);
    }

    fn add_dirty(&self, block: usize, mask: &mut DirtyMask) {
        if let Some(block) = self.blocks.get(block).filter(|block| block.is_dirty) {
            mask.0.union_with(&block.dirty);
        }
    }

    fn freeze(&mut self, blocks: &[usize]) -> Box<dyn FrozenColumn> {
        let frozen = blocks
            .iter()
            .map(|index| {
                let block = self.blocks.get_mut(*index)?;
                if block.is_dirty {
                    block.dirty.reset();
                    block.is_dirty = false;
                }
                Some((block.values.freeze(), block.present.clone()))
            })
            .collect();
        Box::new(FrozenBlocks::<K> { blocks: frozen })
    }

    fn restore(&mut self, array: &ArrayRef, rows: &[Row]) -> Option<()> {
        let values = K::decode(array)?;
        for (row, value) in rows.iter().zip(values) {
            self.ensure(*row);
            match value {
                Some(value) => self.set(*row, value),
                None => self.clear(*row),
            }
        }
        Some(())
    }

    fn size_bytes(&self) -> usize {
        self.blocks.len() * (size_of::<ColumnBlock<K::Stored>>() + 2 * size_of::<Bits>())
            + self
                .blocks
                .iter()
                .map(|block| size_of_val(block.values.values()))
                .sum::<usize>()
            + self.cleared.capacity() * size_of::<Row>()
    }

    fn describe(&self, name: &str) -> StateColumn {
        StateColumn {
            name: name.to_owned(),
            kind: K::KIND.to_owned(),
            data_type: K::type_name(),
        }
    }

    fn arrow_field(&self, name: &str) -> arrow_schema::Field {
        arrow_schema::Field::new(name, K::data_type(), true)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A frozen block's values and which of them are set; `None` where the column never came so far.
type FrozenBlock<S> = Option<(Arc<Vec<S>>, Box<Bits>)>;

struct FrozenBlocks<K: StateKind> {
    blocks: Vec<FrozenBlock<K::Stored>>,
}

impl<K: StateKind> FrozenColumn for FrozenBlocks<K> {
    fn encoder(&self, row_count: usize) -> Box<dyn ColumnEncoder + '_> {
        Box::new(Encoding {
            blocks: &self.blocks,
            encoder: Encoder::<K>::new(row_count),
        })
    }
}

struct Encoding<'a, K: StateKind> {
    blocks: &'a [FrozenBlock<K::Stored>],
    encoder: Encoder<K>,
}

impl<K: StateKind> ColumnEncoder for Encoding<'_, K> {
    fn push(&mut self, position: usize, rows: &[u16]) {
        match self.blocks.get(position).and_then(Option::as_ref) {
            Some((values, present)) => {
                for place in rows.iter().map(|place| usize::from(*place)) {
                    self.encoder
                        .push(present.get(place).then(|| &values[place]));
                }
            }
            None => rows.iter().for_each(|_| self.encoder.push(None)),
        }
    }

    fn is_full(&self) -> bool {
        self.encoder.is_full()
    }

    fn finish(self: Box<Self>) -> ArrayRef {
        self.encoder.finish()
    }
}
