//! How much a job has done: sums of what subtasks count, and rates between two looks.

use std::time::{Duration, Instant};

use tidegate_engine::SubtaskMetrics;
use tidegate_protocol::OperatorKind;

use crate::model::ProgressView;

/// A lower rate is none: the average only comes near zero.
const LEAST_RATE: f64 = 0.001;
/// The rate shown is that of about this long.
const RATE_WINDOW: Duration = Duration::from_secs(3);

/// What the current attempt has counted so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    read: u64,
    written: u64,
    skipped: u64,
    dead_letter: u64,
    late: u64,
}

/// Follows a job over its attempts, each of which counts from zero.
#[derive(Debug)]
pub(crate) struct ProgressMeter {
    counted: Counted,
    looked: Option<Instant>,
    total: ProgressView,
}

impl ProgressMeter {
    pub(crate) fn new() -> Self {
        Self {
            counted: Counted::default(),
            looked: None,
            total: ProgressView::default(),
        }
    }

    /// Takes a look at what the newest attempt's subtasks have counted.
    pub(crate) fn look(&mut self, now: Instant, subtasks: &[SubtaskMetrics]) -> ProgressView {
        let mut counted = Counted::default();
        self.total.state_keys = 0;
        self.total.state_bytes = 0;
        for subtask in subtasks {
            let metrics = &subtask.metrics;
            match subtask.kind {
                OperatorKind::Source => counted.read += metrics.records_out.get(),
                OperatorKind::Sink => counted.written += metrics.records_in.get(),
                OperatorKind::Keyed | OperatorKind::Stateless => {}
            }
            counted.skipped += metrics.skipped_records.get();
            counted.dead_letter += metrics.dead_letter_records.get();
            counted.late += metrics.late_records.get();
            self.total.state_keys += metrics.state_keys.get();
            self.total.state_bytes += metrics.state_bytes.get();
        }
        self.add(now, counted);
        self.total.clone()
    }

    fn add(&mut self, now: Instant, counted: Counted) {
        let last = std::mem::replace(&mut self.counted, counted);
        // Less than before: a new attempt, which began at zero.
        let since = |now: u64, last: u64| if now < last { now } else { now - last };
        let read = since(counted.read, last.read);
        self.total.records_read += read;
        self.total.records_written += since(counted.written, last.written);
        self.total.skipped_records += since(counted.skipped, last.skipped);
        self.total.dead_letter_records += since(counted.dead_letter, last.dead_letter);
        self.total.late_records += since(counted.late, last.late);

        let looked = self.looked.replace(now);
        let elapsed = looked.map_or(Duration::ZERO, |looked| {
            now.saturating_duration_since(looked)
        });
        if elapsed.is_zero() {
            return;
        }
        let rate = read as f64 / elapsed.as_secs_f64();
        // An average in which older looks count less and less.
        let weight = 1.0 - (-elapsed.as_secs_f64() / RATE_WINDOW.as_secs_f64()).exp();
        let old_rate = self.total.records_read_per_second;
        let is_first = old_rate == 0.0;
        self.total.records_read_per_second = match is_first {
            true => rate,
            false => old_rate + weight * (rate - old_rate),
        };
        if self.total.records_read_per_second < LEAST_RATE {
            self.total.records_read_per_second = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(count: u64) -> Counted {
        Counted {
            read: count,
            ..Counted::default()
        }
    }

    #[test]
    fn totals_go_on_over_attempts_that_count_from_zero() {
        let mut meter = ProgressMeter::new();
        let start = Instant::now();
        for (second, count) in [(0, 0), (1, 100), (2, 250), (3, 40), (4, 90)] {
            meter.add(start + Duration::from_secs(second), read(count));
        }
        assert_eq!(meter.total.records_read, 340);
    }

    #[test]
    fn the_rate_follows_the_newest_looks() {
        let mut meter = ProgressMeter::new();
        let start = Instant::now();
        meter.add(start, read(0));
        meter.add(start + Duration::from_secs(1), read(1000));
        assert_eq!(meter.total.records_read_per_second, 1000.0);
        for second in 2..60 {
            meter.add(start + Duration::from_secs(second), read(1000));
        }
        assert!(meter.total.records_read_per_second < 1.0);
    }
}
