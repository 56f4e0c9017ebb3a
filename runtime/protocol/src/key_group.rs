//! Key → stable hash → key group → subtask: the same arithmetic at every parallelism, for ever.
//!
//! The hash is version 1: xxh3-64 of the key's canonical bytes (integers little-endian at their own
//! width, text as UTF-8; a further part of a composite key is hashed with the previous hash as
//! seed).

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::{MaxParallelism, Parallelism, SubtaskIndex};

/// Hashes a key's canonical bytes.
#[inline]
pub fn hash_key(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Hashes a further part of a composite key; `seed` is the hash of the parts before it.
#[inline]
pub fn hash_key_with_seed(bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

/// One of a job's fixed number of partitions of the key space, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyGroup(pub u16);

/// The key group of a key's hash: the hash's upper half scaled to `0..max`, so that its lower bits
/// stay free for a table's index.
#[inline]
pub fn key_group_of(hash: u64, max: MaxParallelism) -> KeyGroup {
    // The product's upper half is below `max`, which is at most 32,768.
    KeyGroup((((hash >> 32) * u64::from(max.get())) >> 32) as u16)
}

/// A contiguous range of key groups; `end` is excluded.
///
/// # Invariants
/// `start <= end`. The ranges of all subtasks cover every key group exactly once
/// (`ranges_cover_every_key_group_once`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyGroupRange {
    /// The first key group.
    pub start: u16,
    /// The one after the last.
    pub end: u16,
}

impl KeyGroupRange {
    /// The range that a subtask owns.
    pub fn of_subtask(max: MaxParallelism, parallelism: Parallelism, index: SubtaskIndex) -> Self {
        let bound = |index: u64| {
            // Rounded up, as Flink's KeyGroupRangeAssignment does; at most 32,768.
            (index * u64::from(max.get())).div_ceil(u64::from(parallelism.get())) as u16
        };
        Self {
            start: bound(u64::from(index.0)),
            end: bound(u64::from(index.0) + 1),
        }
    }

    /// Whether a key group lies in the range.
    pub const fn contains(self, group: KeyGroup) -> bool {
        self.start <= group.0 && group.0 < self.end
    }

    /// What both ranges hold, if anything.
    pub fn intersect(self, other: Self) -> Option<Self> {
        let (start, end) = (self.start.max(other.start), self.end.min(other.end));
        (start < end).then_some(Self { start, end })
    }

    /// Whether the range holds no key group.
    pub const fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// How many key groups the range holds.
    pub const fn group_count(self) -> u16 {
        self.end.saturating_sub(self.start)
    }
}

/// The subtask that owns a key group.
#[inline]
pub fn subtask_of(group: KeyGroup, max: MaxParallelism, parallelism: Parallelism) -> SubtaskIndex {
    let index = u64::from(group.0) * u64::from(parallelism.get()) / u64::from(max.get());
    // Below `parallelism`, which fits.
    SubtaskIndex(index as u32)
}

#[cfg(test)]
mod tests;
