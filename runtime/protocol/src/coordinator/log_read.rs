//! Reading the log at the start of an attempt: the highest entry and what it names, nothing else.
//!
//! Rule 2: a listed manifest that the highest entry does not name may be an old attempt's late put.

use super::log_retry::LogRetry;
use super::outbox::Outbox;
use super::planted::planted;
use crate::{Entry, LogNumber};

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
    /// Reads the last of `missing` next.
    Retained {
        missing: Vec<LogNumber>,
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
            Ok(numbers) if planted!(RestoreNewestManifestSeen) && !numbers.is_empty() => {
                self.step = Step::Retained { missing: numbers };
                self.read_next(out)
            }
            Ok(numbers) => match numbers.last() {
                None => self.complete(),
                Some(highest) => {
                    // Another writer's progress explains why what was listed before is gone.
                    if self
                        .seen
                        .replace(*highest)
                        .is_some_and(|seen| seen != *highest)
                        && self.move_count < MAX_MOVES
                    {
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
        if self.request != request || self.retry.due_ms.is_some() {
            return ReadProgress::Waiting;
        }
        let number = match &self.step {
            Step::Listing => return ReadProgress::Waiting,
            Step::Highest(number) => *number,
            Step::Retained { missing } => match missing.last() {
                Some(number) => *number,
                None => return ReadProgress::Waiting,
            },
        };
        match entry {
            Ok(Some(entry)) => self.accept(now_ms, *entry, out),
            Ok(None) if planted!(RestoreNewestManifestSeen) => self.skip(out),
            Ok(None) => self.again(
                now_ms,
                format!("log entry {number} is listed or named, but not there"),
            ),
            Err(reason) => self.again(now_ms, format!("read of log entry {number}: {reason}")),
        }
    }

    fn accept(&mut self, now_ms: i64, entry: Entry, out: &mut Outbox) -> ReadProgress {
        match &mut self.step {
            Step::Listing => ReadProgress::Waiting,
            Step::Highest(_) => {
                // The own number is at hand already if the highest entry is a checkpoint.
                let mut missing = entry.retained.clone();
                if entry.manifest().is_some() {
                    missing.retain(|number| *number != entry.number);
                    self.content.retained.push(entry.clone());
                }
                self.content.highest = Some(entry);
                self.step = Step::Retained { missing };
                self.read_next(out)
            }
            Step::Retained { .. } if entry.manifest().is_none() => {
                if planted!(RestoreNewestManifestSeen) {
                    self.content.highest = self.content.highest.take().or(Some(entry));
                    return self.skip(out);
                }
                let number = entry.number;
                let reason = format!("log entry {number} is named as a checkpoint, but is none");
                self.again(now_ms, reason)
            }
            Step::Retained { missing } => {
                missing.pop();
                if planted!(RestoreNewestManifestSeen) {
                    let highest = self.content.highest.take();
                    self.content.highest = highest.or(Some(entry.clone()));
                }
                self.content.retained.push(entry);
                self.read_next(out)
            }
        }
    }

    fn skip(&mut self, out: &mut Outbox) -> ReadProgress {
        if let Step::Retained { missing } = &mut self.step {
            missing.pop();
        }
        self.read_next(out)
    }

    fn read_next(&mut self, out: &mut Outbox) -> ReadProgress {
        let next = match &self.step {
            Step::Retained { missing } => missing.last().copied(),
            Step::Listing | Step::Highest(_) => None,
        };
        match next {
            Some(number) => {
                self.request = out.read_entry(number);
                ReadProgress::Waiting
            }
            None => self.complete(),
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
