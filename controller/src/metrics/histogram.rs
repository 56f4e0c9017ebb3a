//! How long things took, in fixed classes.

use super::exposition::Exposition;

/// The upper bounds of the classes, in seconds; one without a bound follows.
const BOUNDS: [f64; 11] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// How many were at most as long as each bound.
    counts: [u32; BOUNDS.len()],
    count: u32,
    sum_seconds: f64,
}

impl Histogram {
    pub(super) fn add(&mut self, seconds: f64) {
        for (count, bound) in self.counts.iter_mut().zip(BOUNDS) {
            *count = count.wrapping_add(u32::from(seconds <= bound));
        }
        self.count = self.count.wrapping_add(1);
        self.sum_seconds += seconds;
    }

    pub(super) fn render(&self, text: &mut Exposition, label: (&str, &str)) {
        for (count, bound) in self.counts.iter().zip(BOUNDS) {
            text.suffixed(
                "_bucket",
                &[label, ("le", &bound.to_string())],
                f64::from(*count),
            );
        }
        text.suffixed("_bucket", &[label, ("le", "+Inf")], f64::from(self.count));
        text.suffixed("_sum", &[label], self.sum_seconds);
        text.suffixed("_count", &[label], f64::from(self.count));
    }
}
