//! When a log operation that the store could not answer is tried again.

/// The wait after the first failure.
const FIRST_WAIT_MS: i64 = 100;
/// The longest wait.
const LONGEST_WAIT_MS: i64 = 30_000;
/// Doublings after which the wait is the longest anyway.
const MAX_DOUBLINGS: u32 = 10;

/// Failures in a row, and when the next try is due.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct LogRetry {
    /// Failures in a row.
    pub(super) failure_count: u32,
    /// When to try again; `None` while an answer is awaited.
    pub(super) due_ms: Option<i64>,
}

impl LogRetry {
    /// Another failure: waits longer than before.
    pub(super) fn fail(&mut self, now_ms: i64) {
        let doublings = self.failure_count.min(MAX_DOUBLINGS);
        self.failure_count = self.failure_count.saturating_add(1);
        self.due_ms = Some(now_ms + (FIRST_WAIT_MS << doublings).min(LONGEST_WAIT_MS));
    }

    /// The store answered.
    pub(super) fn succeed(&mut self) {
        *self = Self::default();
    }

    /// Whether it is time; if so, the next answer is awaited.
    pub(super) fn take_due(&mut self, now_ms: i64) -> bool {
        let is_due = self.due_ms.is_some_and(|due_ms| due_ms <= now_ms);
        if is_due {
            self.due_ms = None;
        }
        is_due
    }
}
