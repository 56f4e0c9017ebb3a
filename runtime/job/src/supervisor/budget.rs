//! How often, and after what wait, a process that dies is started again. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// So many crashes within [`WINDOW`], without a running job in between, are too many.
const CRASHES_MAX: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);
/// The wait before the second start in a row; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A job that ran this long is started again at once.
const STABLE: Duration = Duration::from_secs(10);

/// The crashes so far.
#[derive(Debug, Default)]
pub(super) struct CrashBudget {
    /// Since the job last ran, oldest first.
    crashes: VecDeque<Instant>,
    /// Starts again since a job ran for long.
    in_a_row: u32,
    runs_since: Option<Instant>,
}

impl CrashBudget {
    /// The job runs.
    pub(super) fn runs(&mut self, now: Instant) {
        self.crashes.clear();
        self.runs_since = Some(now);
    }

    /// The process has died: how long to wait before the next start, or `None` if that is enough.
    pub(super) fn take(&mut self, now: Instant) -> Option<Duration> {
        let ran = self.runs_since.take();
        if ran.is_some_and(|since| now.saturating_duration_since(since) >= STABLE) {
            self.in_a_row = 0;
        }
        self.crashes.push_back(now);
        while let Some(first) = self.crashes.front()
            && now.saturating_duration_since(*first) > WINDOW
        {
            self.crashes.pop_front();
        }
        if self.crashes.len() >= CRASHES_MAX {
            return None;
        }
        let wait = match self.in_a_row {
            0 => Duration::ZERO,
            count => FIRST_WAIT
                .saturating_mul(1 << (count - 1).min(16))
                .min(LONGEST_WAIT),
        };
        self.in_a_row = self.in_a_row.saturating_add(1);
        Some(wait)
    }

    /// How many crashes there were since the job last ran.
    pub(super) fn crash_count(&self) -> usize {
        self.crashes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn the_first_start_again_is_at_once_and_the_fifth_crash_is_the_last() {
        let mut budget = CrashBudget::default();
        let now = Instant::now();
        let waits: Vec<_> = (0..5).map(|_| budget.take(now)).collect();
        let expected = [
            Some(ms(0)),
            Some(ms(200)),
            Some(ms(400)),
            Some(ms(800)),
            None,
        ];
        assert_eq!(waits, expected);
        assert_eq!(budget.crash_count(), 5);
    }

    #[test]
    fn a_job_that_ran_in_between_starts_the_count_anew_but_not_the_wait() {
        let mut budget = CrashBudget::default();
        let now = Instant::now();
        for _ in 0..50 {
            budget.runs(now);
            assert!(budget.take(now).is_some());
        }
        budget.runs(now);
        assert_eq!(budget.take(now), Some(LONGEST_WAIT));
        budget.runs(now);
        assert_eq!(budget.take(now + STABLE), Some(ms(0)), "it ran for long");
    }

    #[test]
    fn crashes_that_are_far_apart_are_not_counted_together() {
        let mut budget = CrashBudget::default();
        let start = Instant::now();
        for minute in 0..20 {
            let now = start + Duration::from_secs(30 * minute);
            assert!(budget.take(now).is_some(), "{minute}");
        }
    }
}
