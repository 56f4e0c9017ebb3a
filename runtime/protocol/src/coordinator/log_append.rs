//! One append to the checkpoint log, from the put to the listing that makes it count.
//!
//! ```text
//! Append ── created ──→ ListLog ── nothing higher ──→ Counted
//!   │ ↑                    └────── a higher number ─→ Lost
//!   │ └─ nothing there ┐
//!   └─ taken, unknown ─→ ReadEntry ── own nonce ──→ ListLog
//!                             └────── another's ──→ Lost
//! ```
//!
//! # Invariants
//! - An unknown outcome is never taken for success or failure: the number is read again, and the
//!   very
//!   same entry put again, until the store answers. A put that was given up could still be applied.
//! - Rule 1: a created entry counts only when a listing begun after the create shows no higher one,
//!   and still the one that it follows: the highest is never freed, except by who removes the log
//!   as a whole, and leaves a number behind that a running attempt could take for free.

use super::log_retry::LogRetry;
use super::outbox::Outbox;
use super::planted::planted;
use crate::{AppendOutcome, Entry, LogNumber};

/// Tries in a row before an append is given up and the attempt with it; hours at the longest wait.
const MAX_TRIES: u32 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Appending,
    Reading,
    Listing,
}

/// An append under way.
#[derive(Debug)]
pub(super) struct LogAppend {
    entry: Entry,
    /// The highest entry that the writer knew; `None` in an empty log.
    previous: Option<LogNumber>,
    step: Step,
    request: u64,
    retry: LogRetry,
}

/// What an answer led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum AppendProgress {
    /// Another answer is awaited.
    Waiting,
    /// The store could not be asked; it is tried again later.
    Unavailable { reason: String, failure_count: u32 },
    /// The entry counts. `numbers` is the listing that showed it.
    Counted { numbers: Vec<LogNumber> },
    /// Another writer's entry stands at this number, or above the own; or the log that the own
    /// entry follows is gone, and its number is the own.
    Lost { by: LogNumber },
    /// The store could not be asked for too long; whether the entry exists is open.
    GaveUp { reason: String },
}

impl LogAppend {
    pub(super) fn begin(entry: Entry, previous: Option<LogNumber>, out: &mut Outbox) -> Self {
        let request = out.append(&entry);
        Self {
            entry,
            previous,
            step: Step::Appending,
            request,
            retry: LogRetry::default(),
        }
    }

    pub(super) fn into_entry(self) -> Entry {
        self.entry
    }

    /// When [`LogAppend::on_time`] has something to do.
    pub(super) const fn due_ms(&self) -> Option<i64> {
        self.retry.due_ms
    }

    /// Asks again what could not be answered.
    pub(super) fn on_time(&mut self, now_ms: i64, out: &mut Outbox) {
        if self.retry.take_due(now_ms) {
            self.ask(self.step, out);
        }
    }

    fn ask(&mut self, step: Step, out: &mut Outbox) {
        self.step = step;
        self.request = match step {
            Step::Appending => out.append(&self.entry),
            Step::Reading => out.read_entry(self.entry.number),
            Step::Listing => out.list_log(),
        };
    }

    fn awaits(&self, step: Step, request: u64) -> bool {
        self.step == step && self.request == request && self.retry.due_ms.is_none()
    }

    /// The store's answer to the put.
    pub(super) fn on_appended(
        &mut self,
        now_ms: i64,
        request: u64,
        outcome: AppendOutcome,
        out: &mut Outbox,
    ) -> AppendProgress {
        if !self.awaits(Step::Appending, request) {
            return AppendProgress::Waiting;
        }
        match outcome {
            AppendOutcome::Created => self.created(out),
            AppendOutcome::Unknown { .. } if planted!(TreatUnknownAsCreated) => self.created(out),
            AppendOutcome::Unknown { .. } if planted!(TreatUnknownAsFailed) => {
                AppendProgress::GaveUp {
                    reason: "planted".to_owned(),
                }
            }
            // After an unknown outcome the entry that took the number may be the own.
            AppendOutcome::Taken => {
                self.retry.succeed();
                self.ask(Step::Reading, out);
                AppendProgress::Waiting
            }
            AppendOutcome::Unknown { reason } => {
                self.step = Step::Reading;
                self.unavailable(now_ms, format!("append of log entry: {reason}"))
            }
        }
    }

    fn created(&mut self, out: &mut Outbox) -> AppendProgress {
        self.retry.succeed();
        let is_checkpoint = self.entry.manifest().is_some();
        let skips_check = is_checkpoint && planted!(SkipCheckAfterCheckpoint)
            || !is_checkpoint && planted!(SkipCheckAfterFence);
        if skips_check {
            let numbers = vec![self.entry.number];
            return AppendProgress::Counted { numbers };
        }
        self.ask(Step::Listing, out);
        AppendProgress::Waiting
    }

    /// What stands at the entry's number.
    pub(super) fn on_read(
        &mut self,
        now_ms: i64,
        request: u64,
        found: Result<Option<Box<Entry>>, String>,
        out: &mut Outbox,
    ) -> AppendProgress {
        if !self.awaits(Step::Reading, request) {
            return AppendProgress::Waiting;
        }
        match found {
            Ok(Some(found)) if found.nonce == self.entry.nonce => self.created(out),
            Ok(Some(found)) => AppendProgress::Lost { by: found.number },
            Ok(None) => {
                // Not applied yet, or freed since: the same put again tells, and does no harm.
                self.ask(Step::Appending, out);
                AppendProgress::Waiting
            }
            Err(reason) => self.unavailable(now_ms, format!("read of log entry: {reason}")),
        }
    }

    /// Every number of the log.
    pub(super) fn on_listed(
        &mut self,
        now_ms: i64,
        request: u64,
        numbers: Result<Vec<LogNumber>, String>,
    ) -> AppendProgress {
        if !self.awaits(Step::Listing, request) {
            return AppendProgress::Waiting;
        }
        let own = self.entry.number;
        match numbers {
            Ok(numbers) => match numbers.last() {
                Some(highest) if *highest > own => AppendProgress::Lost { by: *highest },
                Some(_) if self.previous.is_some_and(|it| !numbers.contains(&it)) => {
                    AppendProgress::Lost { by: own }
                }
                Some(highest) if *highest == own => AppendProgress::Counted { numbers },
                // The own entry was seen there and nothing above it: somebody deletes by hand, or
                // the store's listings are not consistent. Neither may count.
                _ => self.unavailable(
                    now_ms,
                    format!("the listing of the log lacks entry {own}, which was just created"),
                ),
            },
            Err(reason) => self.unavailable(now_ms, format!("listing of the log: {reason}")),
        }
    }

    fn unavailable(&mut self, now_ms: i64, reason: String) -> AppendProgress {
        self.retry.fail(now_ms);
        let failure_count = self.retry.failure_count;
        if failure_count >= MAX_TRIES {
            return AppendProgress::GaveUp { reason };
        }
        AppendProgress::Unavailable {
            reason,
            failure_count,
        }
    }
}

#[cfg(test)]
mod tests;
