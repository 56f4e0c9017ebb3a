//! Reading the log at the start of an attempt: the highest entry and what it names, nothing else.
//!
//! Rule 2: a listed manifest that the highest entry does not name may be an old attempt's late put.

use std::collections::BTreeMap;

use super::log_retry::LogRetry;
use super::outbox::Outbox;
use super::planted::planted;
use crate::{Entry, LogNumber};

/// How many entries are asked for at once.
const MAX_READS_AT_ONCE: usize = 16;
/// How often the log may move on while it is read before that counts as a failure to read it.
const MAX_MOVES: u32 = 1_000;

/// The log as one reader saw it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct LogContent {
    /// The highest entry; `None` in an empty log.
    pub(super) highest: Option<Entry>,
    /// The checkpoints that it names, ascending by number.
    pub(super) retained: Vec<Entry>,
}

#[derive(Debug)]
enum Step {
    Listing,
    Highest(LogNumber),
    Retained {
        /// Not asked for yet.
        missing: Vec<LogNumber>,
        /// Asked for, by request.
        awaited: BTreeMap<u64, LogNumber>,
    },
}

/// A reading under way.
#[derive(Debug)]
pub(super) struct LogRead {
    step: Step,
    request: u64,
    content: LogContent,
    retry: LogRetry,
    /// The highest number of the listing before.
    seen: Option<LogNumber>,
    move_count: u32,
}

/// What an answer led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ReadProgress {
    /// Another answer is awaited.
    Waiting,
    /// The store could not be asked, or the log changed meanwhile; it is listed again later.
    Again { reason: String, failure_count: u32 },
    /// Everything is read.
    Complete(Box<LogContent>),
}

impl LogRead {
    pub(super) fn begin(out: &mut Outbox) -> Self {
        Self {
            step: Step::Listing,
            request: out.list_log(),
            content: LogContent::default(),
            retry: LogRetry::default(),
            seen: None,
            move_count: 0,
        }
    }

    /// Begins at this time, after a lost race.
    pub(super) fn begin_at(due_ms: i64) -> Self {
        Self {
            step: Step::Listing,
            request: 0,
            content: LogContent::default(),
            retry: LogRetry {
                failure_count: 0,
                due_ms: Some(due_ms),
            },
            seen: None,
            move_count: 0,
        }
    }

    /// When [`LogRead::on_time`] has something to do.
    pub(super) const fn due_ms(&self) -> Option<i64> {
        self.retry.due_ms
    }

    /// Lists again if it is time.
    pub(super) fn on_time(&mut self, now_ms: i64, out: &mut Outbox) {
        if self.retry.take_due(now_ms) {
            self.content = LogContent::default();
            self.step = Step::Listing;
            self.request = out.list_log();
        }
    }

    /// Every number of the log.
    pub(super) fn on_listed(
        &mut self,
        now_ms: i64,
        request: u64,
        numbers: Result<Vec<LogNumber>, String>,
        out: &mut Outbox,
    ) -> ReadProgress {
        if self.request != request || !matches!(self.step, Step::Listing) {
            return ReadProgress::Waiting;
        }
        match numbers {
            Ok(numbers) => match numbers.last() {
                None => self.complete(),
                Some(highest) => {
                    // Another writer's progress explains why what was listed before is gone.
                    let seen = self.seen.replace(*highest);
                    let has_moved = seen.is_some_and(|seen| seen != *highest);
                    if has_moved && self.move_count < MAX_MOVES {
                        self.move_count += 1;
                        self.retry.succeed();
                    }
                    self.step = Step::Highest(*highest);
                    self.request = out.read_entry(*highest);
                    ReadProgress::Waiting
                }
            },
            Err(reason) => self.again(now_ms, format!("listing of the log: {reason}")),
        }
    }

    /// The entry asked for.
    pub(super) fn on_read(
        &mut self,
        now_ms: i64,
        request: u64,
        entry: Result<Option<Box<Entry>>, String>,
        out: &mut Outbox,
    ) -> ReadProgress {
        if self.retry.due_ms.is_some() {
            return ReadProgress::Waiting;
        }
        let number = match &mut self.step {
            Step::Highest(number) if self.request == request => Some(*number),
            Step::Retained { awaited, .. } => awaited.remove(&request),
            Step::Highest(_) | Step::Listing => None,
        };
        let Some(number) = number else {
            return ReadProgress::Waiting;
        };
        match entry {
            Ok(Some(entry)) => self.accept(now_ms, *entry, out),
            Ok(None) if planted!(RestoreNewestManifestSeen) => self.read_more(out),
            Ok(None) => self.again(
                now_ms,
                format!("log entry {number} is listed or named, but not there"),
            ),
            Err(reason) => self.again(now_ms, format!("read of log entry {number}: {reason}")),
        }
    }

    fn accept(&mut self, now_ms: i64, entry: Entry, out: &mut Outbox) -> ReadProgress {
        let is_checkpoint = entry.manifest().is_some();
        match &self.step {
            Step::Listing => ReadProgress::Waiting,
            Step::Highest(_) => {
                // The highest entry is at hand already, should it name itself.
                let mut missing = entry.retained.clone();
                if planted!(RestoreNewestManifestSeen) {
                    let lower = (1..entry.number.get()).map(LogNumber::new);
                    missing = lower.flatten().collect();
                }
                if is_checkpoint {
                    missing.retain(|number| *number != entry.number);
                    self.content.retained.push(entry.clone());
                }
                self.content.highest = Some(entry);
                self.read_retained(missing, out)
            }
            Step::Retained { .. } if is_checkpoint => {
                self.content.retained.push(entry);
                self.read_more(out)
            }
            Step::Retained { .. } if planted!(RestoreNewestManifestSeen) => self.read_more(out),
            Step::Retained { .. } => {
                let number = entry.number;
                let reason = format!("log entry {number} is named as a checkpoint, but is none");
                self.again(now_ms, reason)
            }
        }
    }

    fn read_retained(&mut self, missing: Vec<LogNumber>, out: &mut Outbox) -> ReadProgress {
        let awaited = BTreeMap::new();
        self.step = Step::Retained { missing, awaited };
        self.read_more(out)
    }

    /// Asks for more of what is named, or has everything.
    fn read_more(&mut self, out: &mut Outbox) -> ReadProgress {
        let Step::Retained { missing, awaited } = &mut self.step else {
            return ReadProgress::Waiting;
        };
        while awaited.len() < MAX_READS_AT_ONCE
            && let Some(number) = missing.pop()
        {
            awaited.insert(out.read_entry(number), number);
        }
        if awaited.is_empty() {
            self.complete()
        } else {
            ReadProgress::Waiting
        }
    }

    fn complete(&mut self) -> ReadProgress {
        let mut content = std::mem::take(&mut self.content);
        content.retained.sort_by_key(|entry| entry.number);
        ReadProgress::Complete(Box::new(content))
    }

    fn again(&mut self, now_ms: i64, reason: String) -> ReadProgress {
        self.retry.fail(now_ms);
        ReadProgress::Again {
            reason,
            failure_count: self.retry.failure_count,
        }
    }
}
