//! Slowing a source down.

use std::time::Duration;

use tokio::time::Instant;

/// Allows a number of records a second, a few at a time.
#[derive(Debug)]
pub(crate) struct RateLimit {
    per_second: f64,
    allowed: f64,
    last: Instant,
}

/// How much of a second's records may come at once.
const BURST_SECONDS: f64 = 0.05;

impl RateLimit {
    /// One subtask's share of a rate; at least one record a second.
    pub(crate) fn new(records_per_second: u64, parallelism: u32) -> Self {
        let share = records_per_second as f64 / f64::from(parallelism.max(1));
        Self {
            per_second: share.max(1.0),
            allowed: 0.0,
            last: Instant::now(),
        }
    }

    /// Waits until at least one record is allowed; gives how many are, at most `wanted`.
    pub(crate) async fn allowed(&mut self, wanted: u64) -> u64 {
        loop {
            let now = Instant::now();
            let gained = (now - self.last).as_secs_f64() * self.per_second;
            self.last = now;
            self.allowed = (self.allowed + gained).min((self.per_second * BURST_SECONDS).max(1.0));
            if self.allowed >= 1.0 {
                // Positive and below `wanted` or the burst: the fraction is what is to be dropped.
                return (self.allowed as u64).min(wanted);
            }
            // A whole burst at once wakes the task less often than single records would.
            let missing = (self.per_second * BURST_SECONDS / 2.0).max(1.0) - self.allowed;
            tokio::time::sleep(Duration::from_secs_f64(missing / self.per_second)).await;
        }
    }

    /// Notes that this many records were read.
    pub(crate) fn took(&mut self, count: u64) {
        self.allowed -= count as f64;
    }
}
