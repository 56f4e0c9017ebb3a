//! What the job reads: numbered records in splits, the same at every reading.

use crate::{KeyGroup, MaxParallelism, hash_key, key_group_of};

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    pub(super) split: u16,
    pub(super) index: u16,
}

/// What the keyed operator keeps of a key group: how many records, and which, as a sum of hashes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) count: u32,
    pub(super) sum: u64,
}

impl Tally {
    pub(super) fn add(&mut self, record: Record) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(record.hash());
    }
}

impl Record {
    fn hash(self) -> u64 {
        hash_key(&[self.split.to_le_bytes(), self.index.to_le_bytes()].concat())
    }
}

/// All splits.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) split_count: u16,
    /// Records a split.
    pub(super) record_count: u16,
    pub(super) max_parallelism: MaxParallelism,
}

impl Input {
    pub(super) fn group(&self, record: Record) -> KeyGroup {
        key_group_of(record.hash(), self.max_parallelism)
    }

    /// A record's place among all.
    pub(super) fn place(&self, record: Record) -> usize {
        usize::from(record.split) * usize::from(self.record_count) + usize::from(record.index)
    }

    pub(super) fn record_at(&self, place: usize) -> Record {
        let count = usize::from(self.record_count);
        Record {
            split: (place / count) as u16,
            index: (place % count) as u16,
        }
    }

    pub(super) fn total(&self) -> usize {
        usize::from(self.split_count) * usize::from(self.record_count)
    }

    /// Every key group's tally after these positions, one a split.
    pub(super) fn tallies(&self, positions: &[u16]) -> Vec<Tally> {
        let mut tallies = vec![Tally::default(); self.max_parallelism.get() as usize];
        for (split, position) in (0..).zip(positions) {
            for index in 0..*position {
                let record = Record { split, index };
                tallies[usize::from(self.group(record).0)].add(record);
            }
        }
        tallies
    }
}
