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

/// How many records may be read at once: as many as are wanted, or fewer where a rate says so.
pub(crate) async fn allowed(rate: &mut Option<RateLimit>, wanted_rows: usize) -> u64 {
    let wanted = wanted_rows as u64;
    match rate {
        Some(rate) => rate.allowed(wanted).await,
        None => wanted,
    }
}

impl RateLimit {
    /// One subtask's share of a rate, which may be less than a record a second; a rate of 0 counts
    /// as 1.
    pub(crate) fn new(records_per_second: u64, parallelism: u32) -> Self {
        let share = records_per_second.max(1) as f64 / f64::from(parallelism.max(1));
        Self {
            per_second: share,
            allowed: 0.0,
            last: Instant::now(),
        }
    }

    /// Waits until at least one record is allowed; gives how many are, at most `wanted`.
    async fn allowed(&mut self, wanted: u64) -> u64 {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes what is allowed for so many seconds of a clock that jumps.
    async fn taken_within(seconds: u64, rate: &mut RateLimit) -> u64 {
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut taken = 0;
        while let Ok(count) = tokio::time::timeout_at(end, rate.allowed(4096)).await {
            rate.took(count);
            taken += count;
        }
        taken
    }

    #[tokio::test(start_paused = true)]
    async fn each_subtask_takes_its_share_of_the_rate() {
        let taken = taken_within(10, &mut RateLimit::new(10_000, 2)).await;
        assert!((49_500..=50_000).contains(&taken), "{taken}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_below_one_a_second_is_kept_too() {
        let taken = taken_within(100, &mut RateLimit::new(2, 8)).await;
        assert!((24..=25).contains(&taken), "{taken}");
    }

    #[tokio::test(start_paused = true)]
    async fn time_without_demand_is_not_saved_up() {
        let mut rate = RateLimit::new(1000, 1);
        tokio::time::advance(Duration::from_secs(3600)).await;
        let taken = taken_within(1, &mut rate).await;
        assert!((950..=1050).contains(&taken), "{taken}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_dropped_again_and_again_loses_nothing() {
        let mut rate = RateLimit::new(1000, 1);
        let (start, mut taken) = (Instant::now(), 0);
        for _ in 0..5000 {
            let moment = Duration::from_millis(1);
            if let Ok(count) = tokio::time::timeout(moment, rate.allowed(4096)).await {
                rate.took(count);
                taken += count;
            }
        }
        let earned = u64::try_from(start.elapsed().as_millis()).unwrap();
        assert!(
            earned > 1000 && earned.abs_diff(taken) <= 50,
            "{taken} of {earned}"
        );
    }
}
