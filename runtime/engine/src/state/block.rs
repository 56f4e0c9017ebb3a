//! Fixed-size blocks of rows that a checkpoint freezes without copying.
//!
//! ```text
//! Owned ──freeze──▶ Frozen ──write, snapshot done──▶ Owned (the same memory)
//!                      └─────write, snapshot running─▶ Owned (a copy)
//! ```

use std::sync::Arc;

/// Rows in a block. A power of two; a block of 8-byte values is 32 KiB.
pub(crate) const BLOCK_ROWS: usize = 1 << BLOCK_BITS;
/// Bits of a row number that say where in its block it is.
pub(crate) const BLOCK_BITS: u32 = 12;

/// A row of a table: the block's number above [`BLOCK_BITS`], the place in the block below.
pub(crate) type Row = u32;

/// The block that a row lies in.
#[inline]
pub(crate) const fn block_of(row: Row) -> usize {
    (row >> BLOCK_BITS) as usize
}

/// A row's place in its block.
#[inline]
pub(crate) const fn place_of(row: Row) -> usize {
    row as usize & (BLOCK_ROWS - 1)
}

/// The row at a place of a block.
#[inline]
pub(crate) const fn row_at(block: usize, place: usize) -> Row {
    ((block as Row) << BLOCK_BITS) | place as Row
}

/// One bit for each row of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bits([u64; BLOCK_ROWS / 64]);

impl Default for Bits {
    fn default() -> Self {
        Self([0; BLOCK_ROWS / 64])
    }
}

impl Bits {
    #[inline]
    pub(crate) fn get(&self, place: usize) -> bool {
        self.0[(place & (BLOCK_ROWS - 1)) >> 6] >> (place & 63) & 1 != 0
    }

    #[inline]
    pub(crate) fn set(&mut self, place: usize) {
        self.0[(place & (BLOCK_ROWS - 1)) >> 6] |= 1 << (place & 63);
    }

    #[inline]
    pub(crate) fn clear(&mut self, place: usize) {
        self.0[(place & (BLOCK_ROWS - 1)) >> 6] &= !(1 << (place & 63));
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn union_with(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }

    pub(crate) fn intersect_with(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= other;
        }
    }

    pub(crate) fn reset(&mut self) {
        self.0 = [0; BLOCK_ROWS / 64];
    }

    /// The set places, ascending.
    #[inline]
    pub(crate) fn for_each(&self, mut visit: impl FnMut(usize)) {
        for (index, word) in self.0.iter().enumerate() {
            let mut rest = *word;
            while rest != 0 {
                visit(index * 64 + rest.trailing_zeros() as usize);
                rest &= rest - 1;
            }
        }
    }
}

/// A block's values: owned by the task, or shared with a snapshot that is being written.
#[derive(Debug)]
pub(crate) enum Block<S> {
    Owned(Vec<S>),
    Frozen(Arc<Vec<S>>),
}

impl<S: Clone + Default> Block<S> {
    /// An empty block with room for all its rows; their memory is touched only as they come.
    pub(crate) fn new() -> Self {
        Self::Owned(Vec::with_capacity(BLOCK_ROWS))
    }

    #[inline]
    pub(crate) fn values(&self) -> &[S] {
        match self {
            Self::Owned(values) => values,
            Self::Frozen(values) => values,
        }
    }

    #[inline]
    pub(crate) fn values_mut(&mut self) -> &mut Vec<S> {
        if let Self::Frozen(_) = self {
            self.thaw();
        }
        match self {
            Self::Owned(values) => values,
            Self::Frozen(_) => unreachable!("a block is owned once it was thawed"),
        }
    }

    /// Shares the values with a snapshot: costs one small allocation, whatever the block holds.
    pub(crate) fn freeze(&mut self) -> Arc<Vec<S>> {
        let values = match self {
            Self::Owned(values) => Arc::new(std::mem::take(values)),
            Self::Frozen(values) => Arc::clone(values),
        };
        *self = Self::Frozen(Arc::clone(&values));
        values
    }

    #[cold]
    #[inline(never)]
    fn thaw(&mut self) {
        let Self::Frozen(values) = self else { return };
        let values = std::mem::take(values);
        *self = Self::Owned(Arc::try_unwrap(values).unwrap_or_else(|shared| {
            let mut copy = Vec::with_capacity(BLOCK_ROWS);
            copy.extend_from_slice(&shared);
            copy
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_after_the_freeze_leaves_the_snapshot_as_it_was() {
        let mut block = Block::new();
        block.values_mut().extend([1, 2, 3]);
        let snapshot = block.freeze();
        block.values_mut()[1] = 20;
        assert_eq!(*snapshot, [1, 2, 3]);
        assert_eq!(block.values(), [1, 20, 3]);
    }

    #[test]
    fn a_write_after_the_snapshot_is_done_takes_the_same_memory_back() {
        let mut block = Block::new();
        block.values_mut().extend([1, 2, 3]);
        let address = block.values().as_ptr();
        drop(block.freeze());
        block.values_mut()[1] = 20;
        assert_eq!(block.values().as_ptr(), address);
    }

    #[test]
    fn bits_visit_exactly_the_places_set() {
        let mut bits = Bits::default();
        for place in [0, 63, 64, 4095] {
            bits.set(place);
        }
        bits.clear(63);
        let mut seen = Vec::new();
        bits.for_each(|place| seen.push(place));
        assert_eq!(seen, [0, 64, 4095]);
        assert_eq!(bits.count(), 3);
    }
}
