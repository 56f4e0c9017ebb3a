//! How long to wait after failures.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(15);

/// Failures in a row, and the delay that follows from them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failure_count: u32,
}

impl Backoff {
    /// The delay after one more failure: it doubles from 200 ms up to 15 s, and an eighth to either
    /// side is left to chance (`0..=1`), so that many keys do not come back together.
    pub fn next(&mut self, chance: f64) -> Duration {
        let doubled = FIRST.saturating_mul(1 << self.failure_count.min(10));
        self.failure_count = self.failure_count.saturating_add(1);
        doubled.min(LONGEST).mul_f64(0.875 + chance / 4.0)
    }
}

/// A number in `0..=1` that differs from call to call.
pub fn jitter() -> f64 {
    // The standard library's random keys are all the randomness that spreading delays needs.
    let bits = RandomState::new().hash_one(0_u8);
    f64::from(u32::try_from(bits >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap() {
        let mut backoff = Backoff::default();
        let delays: Vec<u128> = (0..9).map(|_| backoff.next(0.5).as_millis()).collect();
        assert_eq!(
            delays,
            [200, 400, 800, 1600, 3200, 6400, 12800, 15000, 15000]
        );
    }

    #[test]
    fn chance_moves_a_delay_by_an_eighth_at_most() {
        assert_eq!(Backoff::default().next(0.0), FIRST.mul_f64(0.875));
        assert_eq!(Backoff::default().next(1.0), FIRST.mul_f64(1.125));
        let chance = jitter();
        assert!((0.0..=1.0).contains(&chance), "{chance}");
    }
}
