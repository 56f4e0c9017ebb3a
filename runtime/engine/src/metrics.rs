//! What a subtask counts while it runs: plain atomics, touched once a chunk.

use std::sync::atomic::{AtomicU64, Ordering};

/// A counter or gauge that one task writes and others read.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to a counter.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Reads it.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one operator of one subtask counts.
#[derive(Debug, Default)]
pub struct OperatorMetrics {
    /// Records taken in.
    pub records_in: Count,
    /// Records given out.
    pub records_out: Count,
    /// Bad records skipped by policy.
    pub skipped_records: Count,
    /// Bad records written to a dead-letter output.
    pub dead_letter_records: Count,
    /// Records behind the watermark.
    pub late_records: Count,
    /// Live keys.
    pub state_keys: Count,
    /// Bytes of the state table in memory, about: without what texts, lists and maps hold.
    pub state_bytes: Count,
    /// Timers set.
    pub timers: Count,
    /// The watermark, milliseconds since the epoch, as the bits of an `i64`.
    pub watermark_ms: Count,
    /// Time at work, nanoseconds: the whole chain's, at its first operator.
    pub busy_nanos: Count,
    /// Time waiting for a full channel, nanoseconds.
    pub backpressured_nanos: Count,
}

impl OperatorMetrics {
    /// Zeroes the gauges, for a subtask that does not run any more. Its counters stay: they only
    /// ever go up.
    pub(crate) fn clear_gauges(&self) {
        let gauges = [
            &self.state_keys,
            &self.state_bytes,
            &self.timers,
            &self.watermark_ms,
        ];
        gauges.iter().for_each(|gauge| gauge.set(0));
    }
}
