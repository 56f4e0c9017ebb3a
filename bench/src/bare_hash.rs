//! The machine's own limit: an index and a count, one core, no job around it.
//!
//! A lookup of a whole chunk in separate passes (load the slots, compare tags and keys, count), so
//! that the processor overlaps its cache misses: the fastest known to us without `unsafe`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use tidegate_connectors::mix;
use tidegate_protocol::hash_key;

const CHUNK: usize = 4096;
const MEASURE: Duration = Duration::from_secs(2);

struct Table {
    /// The hash's lower half above the row plus one; zero is empty.
    slots: Vec<u64>,
    keys: Vec<u64>,
    counts: Vec<u64>,
}

impl Table {
    fn new(keys: u64) -> Self {
        let slots = (usize::try_from(keys).unwrap_or(1) * 8 / 5).next_power_of_two();
        Self {
            slots: vec![0; slots],
            keys: Vec::new(),
            counts: Vec::new(),
        }
    }

    fn count(&mut self, keys: &[u64], hashes: &mut Vec<u64>, words: &mut Vec<u64>) {
        let mask = self.slots.len() - 1;
        hashes.clear();
        hashes.extend(keys.iter().map(|key| hash_key(&key.to_le_bytes())));
        words.clear();
        words.extend(
            hashes
                .iter()
                .map(|hash| self.slots[*hash as u32 as usize & mask]),
        );
        for ((key, hash), word) in keys.iter().zip(hashes.iter()).zip(words.iter_mut()) {
            let row = (*word as u32).wrapping_sub(1) as usize;
            let is_hit = *word >> 32 == *hash & 0xffff_ffff && self.keys.get(row) == Some(key);
            *word = if is_hit {
                row as u64
            } else {
                self.find(*key, *hash) as u64
            };
        }
        for row in words.iter() {
            self.counts[*row as usize] += 1;
        }
    }

    fn find(&mut self, key: u64, hash: u64) -> usize {
        let (mask, tag) = (self.slots.len() - 1, hash as u32);
        let mut slot = tag as usize & mask;
        loop {
            let word = self.slots[slot];
            let row = (word as u32).wrapping_sub(1) as usize;
            if word == 0 {
                self.slots[slot] = u64::from(tag) << 32 | (self.keys.len() as u64 + 1);
                self.keys.push(key);
                self.counts.push(0);
                return self.keys.len() - 1;
            }
            if word >> 32 == u64::from(tag) && self.keys[row] == key {
                return row;
            }
            slot = (slot + 1) & mask;
        }
    }
}

/// Records a second for this many random 64-bit keys.
pub(crate) fn measure(key_count: u64) -> f64 {
    let mut table = Table::new(key_count);
    let (mut hashes, mut words) = (Vec::new(), Vec::new());
    let all: Vec<u64> = (0..key_count).map(mix).collect();
    for keys in all.chunks(CHUNK) {
        table.count(keys, &mut hashes, &mut words);
    }
    // Keys are drawn beforehand: drawing them is no part of the limit.
    let draw = |index: u64| all[((u128::from(mix(index)) * u128::from(key_count)) >> 64) as usize];
    let drawn: Vec<u64> = (0..1 << 22).map(draw).collect();
    let (start, mut records) = (Instant::now(), 0);
    while start.elapsed() < MEASURE {
        for keys in drawn.chunks(CHUNK) {
            table.count(keys, &mut hashes, &mut words);
            records += keys.len();
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    black_box(&table.counts);
    records as f64 / seconds
}
