//! The tasks of a slot have their turns, and the time that one is at work is counted.

use std::time::{Duration, Instant};

use super::{STEP_ROWS, Subtask, TURN};
use crate::task::intake::rows_within;

/// Where the clocks stood when some work began.
pub(super) struct Work {
    pub(super) began: Instant,
    waited: Duration,
}

impl Subtask {
    pub(super) fn begin_work(&self) -> Work {
        Work {
            began: Instant::now(),
            waited: self.waited(),
        }
    }

    /// Counts the time since [`Subtask::begin_work`], less the time that full channels and other
    /// tasks took, for the chain's first operator.
    pub(super) fn end_work(&mut self, work: Work) {
        let took = work.began.elapsed();
        let rows = std::mem::take(&mut self.progress.taken_rows);
        self.intake.took(rows, took);
        let first = self.stages.first().map(|stage| &stage.metrics);
        let metrics = self
            .head_metrics
            .as_ref()
            .or(first)
            .unwrap_or(&self.outlet_metrics);
        let waited = self.waited().saturating_sub(work.waited);
        let busy = took.saturating_sub(waited);
        let nanos = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX);
        metrics.busy_nanos.add(nanos);
    }

    fn waited(&self) -> Duration {
        let backpressured = self.outlet_metrics.backpressured_nanos.get();
        Duration::from_nanos(backpressured) + self.progress.away
    }

    /// Lets other tasks of the slot have their turn, once this one has worked for long.
    pub(super) async fn give_turn_if_due(&mut self, now: Instant) {
        if now.duration_since(self.progress.turn_began) >= TURN {
            self.give_turn().await;
        }
    }

    /// Lets other tasks of the slot have their turn. Where the attempt is cancelled, this is the
    /// end of the subtask.
    pub(super) async fn give_turn(&mut self) {
        let began = Instant::now();
        tokio::task::yield_now().await;
        let now = Instant::now();
        self.progress.away += now - began;
        self.progress.turn_began = now;
    }
}

/// The rows of the next slice of a chunk, after some rows took this long and gave so many records:
/// fewer where much comes of little, or where user code takes its time.
pub(super) fn next_slice_rows(rows: usize, sent: usize, took: Duration) -> usize {
    let by_output = rows.saturating_mul(STEP_ROWS) / sent.max(1);
    by_output
        .min(rows_within(TURN, rows, took))
        .clamp(1, STEP_ROWS)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::fast(64, 64, 5, STEP_ROWS)]
    #[case::fast_of_the_clock(64, 0, 0, STEP_ROWS)]
    #[case::much_of_little(64, 64 * 1024, 10, 64)]
    #[case::a_millisecond_each(64, 64, 64_000, 10)]
    #[case::slower_than_a_turn(1, 1, 1_000_000, 1)]
    #[case::fast_again(10, 10, 20, 5000)]
    fn a_slice_takes_a_turn_and_makes_a_step_at_most(
        #[case] rows: usize,
        #[case] sent: usize,
        #[case] took_micros: u64,
        #[case] expected: usize,
    ) {
        let took = Duration::from_micros(took_micros);
        assert_eq!(next_slice_rows(rows, sent, took), expected);
    }
}
