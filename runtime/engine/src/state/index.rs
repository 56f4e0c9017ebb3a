//! The hash index of a table: key hash → row, by linear probing over words of (tag, row).
//!
//! A word's upper half is the lower half of the key's hash, its lower half the row plus one; zero
//! is an empty slot. The slot is the tag masked, so the index grows without hashing a key again.

use super::block::Row;

/// Slots of an empty index.
const FIRST_SLOTS: usize = 1 << 6;

/// Finds the row of a key by its hash; the table compares the keys themselves.
///
/// # Invariants
/// The number of slots is a power of two, of which at most five eighths are taken; a key's word
/// lies at or after its home slot with no empty slot between
/// (`removal_keeps_every_other_key_reachable`).
#[derive(Debug)]
pub(crate) struct KeyIndex {
    slots: Vec<u64>,
    taken: usize,
}

impl Default for KeyIndex {
    fn default() -> Self {
        Self {
            slots: vec![0; FIRST_SLOTS],
            taken: 0,
        }
    }
}

#[inline]
const fn tag_of(hash: u64) -> u32 {
    hash as u32
}

#[inline]
const fn word_of(tag: u32, row: Row) -> u64 {
    ((tag as u64) << 32) | (row as u64 + 1)
}

#[inline]
const fn word_tag(word: u64) -> u32 {
    (word >> 32) as u32
}

#[inline]
const fn word_row(word: u64) -> Row {
    // The lower half of a taken slot is at least one.
    (word as u32).wrapping_sub(1)
}

impl KeyIndex {
    /// How many rows it knows.
    pub(crate) fn len(&self) -> usize {
        self.taken
    }

    /// Bytes in memory.
    pub(crate) fn size_bytes(&self) -> usize {
        self.slots.len() * size_of::<u64>()
    }

    #[inline]
    fn mask(&self) -> usize {
        self.slots.len() - 1
    }

    /// For each hash, the first row with its tag, or [`Row::MAX`] where there is none. The caller
    /// compares keys; where they differ, [`KeyIndex::find`] looks further.
    ///
    /// Two passes over the chunk: the first only loads the slots, so that the processor overlaps
    /// their cache misses; the second then compares tags in the first-level cache.
    pub(crate) fn candidates(&self, hashes: &[u64], words: &mut Vec<u64>, rows: &mut Vec<Row>) {
        let mask = self.mask();
        let slots = self.slots.as_slice();
        words.clear();
        words.extend(
            hashes
                .iter()
                .map(|hash| slots[tag_of(*hash) as usize & mask]),
        );
        rows.clear();
        rows.extend(hashes.iter().zip(words.iter()).map(|(hash, word)| {
            let tag = tag_of(*hash);
            if word_tag(*word) == tag && *word != 0 {
                word_row(*word)
            } else {
                self.probe(tag, *word)
            }
        }));
    }

    /// Goes on from a home slot whose word did not match.
    #[inline]
    fn probe(&self, tag: u32, first: u64) -> Row {
        let mask = self.mask();
        let mut slot = tag as usize & mask;
        let mut word = first;
        while word != 0 {
            if word_tag(word) == tag {
                return word_row(word);
            }
            slot = (slot + 1) & mask;
            word = self.slots[slot];
        }
        Row::MAX
    }

    /// The row for which `is_match` holds, among all rows with this hash's tag.
    pub(crate) fn find(&self, hash: u64, mut is_match: impl FnMut(Row) -> bool) -> Option<Row> {
        let (tag, mask) = (tag_of(hash), self.mask());
        let mut slot = tag as usize & mask;
        loop {
            let word = self.slots[slot];
            if word == 0 {
                return None;
            }
            if word_tag(word) == tag && is_match(word_row(word)) {
                return Some(word_row(word));
            }
            slot = (slot + 1) & mask;
        }
    }

    /// Adds a row whose key is not there yet.
    pub(crate) fn insert(&mut self, hash: u64, row: Row) {
        if (self.taken + 1) * 8 > self.slots.len() * 5 {
            self.grow();
        }
        self.place(word_of(tag_of(hash), row));
        self.taken += 1;
    }

    /// Removes a row.
    pub(crate) fn remove(&mut self, hash: u64, row: Row) {
        let (word, mask) = (word_of(tag_of(hash), row), self.mask());
        let mut slot = tag_of(hash) as usize & mask;
        while self.slots[slot] != word {
            if self.slots[slot] == 0 {
                return;
            }
            slot = (slot + 1) & mask;
        }
        self.taken -= 1;
        self.close_gap(slot);
    }

    /// Moves later words of the same run back, so that no key is cut off from its home slot.
    fn close_gap(&mut self, mut gap: usize) {
        let mask = self.mask();
        let mut slot = (gap + 1) & mask;
        while self.slots[slot] != 0 {
            let home = word_tag(self.slots[slot]) as usize & mask;
            // The word may move back to the gap unless its home lies between the gap and itself.
            if (slot.wrapping_sub(home) & mask) >= (slot.wrapping_sub(gap) & mask) {
                self.slots[gap] = self.slots[slot];
                gap = slot;
            }
            slot = (slot + 1) & mask;
        }
        self.slots[gap] = 0;
    }

    fn place(&mut self, word: u64) {
        let mask = self.mask();
        let mut slot = word_tag(word) as usize & mask;
        while self.slots[slot] != 0 {
            slot = (slot + 1) & mask;
        }
        self.slots[slot] = word;
    }

    #[cold]
    fn grow(&mut self) {
        let slots = vec![0; self.slots.len() * 2];
        let old = std::mem::replace(&mut self.slots, slots);
        for word in old {
            if word != 0 {
                self.place(word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn removal_keeps_every_other_key_reachable(
            steps in proptest::collection::vec((any::<bool>(), 0_u64..400), 1..2000)
        ) {
            // Few distinct tags, so that runs are long and wrap around.
            let hash_of = |key: u64| key % 97 * 0x9e37_79b9;
            let mut index = KeyIndex::default();
            let mut model = HashMap::new();
            for (is_insert, key) in steps {
                let row = key as Row;
                if is_insert && !model.contains_key(&key) {
                    index.insert(hash_of(key), row);
                    model.insert(key, row);
                } else if !is_insert && model.remove(&key).is_some() {
                    index.remove(hash_of(key), row);
                }
                prop_assert_eq!(index.len(), model.len());
            }
            for key in 0..400 {
                let found = index.find(hash_of(key), |row| u64::from(row) == key);
                prop_assert_eq!(found, model.get(&key).copied());
            }
        }
    }
}
