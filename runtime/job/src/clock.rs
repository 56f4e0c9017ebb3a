//! The wall clock that the coordinator is given: milliseconds since the epoch that never go back.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A wall clock. Where the machine's clock is set back, this one runs on at the pace of the
/// monotonic clock until the machine's has caught up; where it is set forward or the machine slept,
/// it follows.
#[derive(Debug)]
pub(crate) struct Clock {
    base_ms: i64,
    base: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            base_ms: system_ms(),
            base: Instant::now(),
        }
    }

    pub(crate) fn now_ms(&mut self) -> i64 {
        self.at(system_ms(), Instant::now())
    }

    fn at(&mut self, system_ms: i64, now: Instant) -> i64 {
        let elapsed_ms = now.saturating_duration_since(self.base).as_millis();
        let elapsed_ms = i64::try_from(elapsed_ms).unwrap_or(i64::MAX);
        let expected_ms = self.base_ms.saturating_add(elapsed_ms);
        if system_ms > expected_ms {
            self.base_ms = system_ms;
            self.base = now;
            return system_ms;
        }
        expected_ms
    }
}

/// The machine's clock.
pub(crate) fn system_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let milliseconds = since_epoch.map_or(0, |duration| duration.as_millis());
    i64::try_from(milliseconds).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_never_goes_back_and_follows_a_clock_set_forward() {
        let base = Instant::now();
        let mut clock = Clock {
            base_ms: 1000,
            base,
        };
        let after = |ms| base + Duration::from_millis(ms);
        assert_eq!(clock.at(1005, after(5)), 1005);
        assert_eq!(
            clock.at(10, after(20)),
            1020,
            "the machine's clock was set back"
        );
        assert_eq!(clock.at(5000, after(30)), 5000, "the machine slept");
        assert_eq!(clock.at(10, after(40)), 5010);
    }
}
