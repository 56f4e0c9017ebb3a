//! How many records a subtask wants at a time.
//!
//! A barrier waits for the records in front of it: those in channels, and those that a source has
//! just read. How long it waits must not depend on what user code costs, so the time that they
//! take is bounded, not their number. Flink calls this buffer debloating (FLIP-183).
//!
//! ```text
//! sender ── chunks of at most `wanted` rows ──▶ channel ──▶ receiver
//!    ▲                                                        │ measures what it takes in
//!    └───────────────────── wanted ◀──────────────────────────┘
//! ```

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::chunk::CHUNK_ROWS;

/// How long a subtask should take for a chunk of each of its channels, about, or for what a source
/// reads at once. What waits in channels takes [`super::CHANNEL_CHUNKS`] times as long.
const ROUND: Duration = Duration::from_millis(20);
/// For how long the rate is measured before it changes what is wanted, unless a whole chunk came.
const MEASURED: Duration = Duration::from_millis(10);
/// What is wanted before a rate is known.
const FIRST_ROWS: usize = 64;

/// The most rows that a subtask wants in a chunk: it says so, its senders ask.
#[derive(Debug, Clone)]
pub(crate) struct WantedRows(Arc<AtomicUsize>);

impl Default for WantedRows {
    fn default() -> Self {
        Self(Arc::new(AtomicUsize::new(FIRST_ROWS)))
    }
}

impl WantedRows {
    /// From 1 to [`CHUNK_ROWS`].
    pub(crate) fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a subtask takes in, and how long that takes it: its own work, the turns of other tasks, and
/// the wait for those that it sends to. So what a slow one wants holds for all that are before it.
#[derive(Debug)]
pub(crate) struct Intake {
    wanted: WantedRows,
    channel_count: usize,
    rows: usize,
    took: Duration,
}

impl Intake {
    /// Of a subtask that so many channels lead to; a source counts as one.
    pub(crate) fn new(wanted: WantedRows, channel_count: usize) -> Self {
        Self {
            wanted,
            channel_count: channel_count.max(1),
            rows: 0,
            took: Duration::ZERO,
        }
    }

    /// The most rows wanted at a time.
    pub(crate) fn wanted_rows(&self) -> usize {
        self.wanted.get()
    }

    /// Notes what was taken in.
    pub(crate) fn took(&mut self, rows: usize, took: Duration) {
        self.rows += rows;
        self.took += took;
        if self.rows >= CHUNK_ROWS || self.took >= MEASURED {
            let rows = next_rows(self.wanted.get(), self.rows, self.took, self.channel_count);
            self.wanted.0.store(rows, Ordering::Relaxed);
            (self.rows, self.took) = (0, Duration::ZERO);
        }
    }
}

/// What is wanted next, after so many rows took so long. It at most halves, so that a single pause,
/// as that of a freeze, costs next to nothing.
fn next_rows(wanted: usize, rows: usize, took: Duration, channel_count: usize) -> usize {
    let by_time = rows_within(ROUND, rows, took) / channel_count;
    by_time.max(wanted / 2).clamp(1, CHUNK_ROWS)
}

/// How many rows a time is enough for, where so many took so long.
pub(in crate::task) fn rows_within(time: Duration, rows: usize, took: Duration) -> usize {
    let count = rows as u128 * time.as_nanos() / took.as_nanos().max(1);
    usize::try_from(count).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::fast(64, 4096, 1, 2, CHUNK_ROWS)]
    #[case::fast_of_the_clock(64, 4096, 0, 1, CHUNK_ROWS)]
    #[case::a_millisecond_each(8, 10, 10, 1, 20)]
    #[case::shared_by_its_channels(8, 10, 10, 4, 5)]
    #[case::slower_than_a_round(1, 1, 1000, 4, 1)]
    #[case::at_most_half_at_a_time(4096, 100, 100, 1, 2048)]
    #[case::nothing_but_a_pause(4096, 0, 50, 2, 2048)]
    #[case::never_none(1, 0, 50, 2, 1)]
    fn what_is_wanted_takes_a_round(
        #[case] wanted: usize,
        #[case] rows: usize,
        #[case] took_ms: u64,
        #[case] channel_count: usize,
        #[case] expected: usize,
    ) {
        let took = Duration::from_millis(took_ms);
        assert_eq!(next_rows(wanted, rows, took, channel_count), expected);
    }

    #[test]
    fn a_rate_is_known_after_a_chunk_or_some_time() {
        let mut intake = Intake::new(WantedRows::default(), 1);
        intake.took(CHUNK_ROWS - 1, Duration::from_micros(1));
        assert_eq!(intake.wanted_rows(), FIRST_ROWS);
        intake.took(1, Duration::from_micros(1));
        assert_eq!(intake.wanted_rows(), CHUNK_ROWS);
        intake.took(1, MEASURED);
        assert_eq!(intake.wanted_rows(), CHUNK_ROWS / 2);
    }
}
