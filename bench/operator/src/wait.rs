//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const LIMIT: Duration = Duration::from_secs(180);
/// Small beside what is measured.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// Looks again and again until `look` gives a value.
///
/// # Errors
/// The deadline has passed, or `look` failed.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(value) = look()? {
            return Ok(value);
        }
        if start.elapsed() > LIMIT {
            bail!("not within {} s: {what}", LIMIT.as_secs());
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}
