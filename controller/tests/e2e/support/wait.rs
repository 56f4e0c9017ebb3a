//! Waiting for a condition, with a deadline and a message that tells what was seen last.

use std::thread;
use std::time::{Duration, Instant};

/// How long a condition may take that nothing but the machine's load delays. A test that passes
/// waits a few seconds; on a machine whose disk stands still for a minute it must pass too.
pub(crate) const SOON: Duration = Duration::from_secs(180);
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Looks again and again until `look` gives a value.
///
/// # Panics
/// When the deadline has passed, with `what` and what was seen last.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, String>,
) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(seen) if start.elapsed() > limit => {
                panic!(
                    "not within {} s: {what}; seen last: {seen}",
                    limit.as_secs()
                )
            }
            Err(_) => thread::park_timeout(LOOK_INTERVAL),
        }
    }
}
