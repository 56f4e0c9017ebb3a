//! Reading the log at the start of an attempt: the highest entry and what it names, nothing else.
//!
//! Rule 2: a listed manifest that the highest entry does not name may be an old attempt's late put.
//!
//! The highest entry must be readable. Others that are not are carried on by their numbers: they
//! stay named, and what they may name stays too, until a person gives them up.

use std::collections::{BTreeMap, BTreeSet};

use super::log_retry::LogRetry;
use super::outbox::Outbox;
use super::planted::planted;
use crate::{CheckpointId, Entry, LogNumber};

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
    /// Those named that cannot be read, and why.
    pub(super) damaged: BTreeMap<LogNumber, String>,
    /// Whether the highest entry names others and none of them is there any more: so looks what a
    /// fenced attempt leaves behind in a log that was removed. Nobody goes on from it.
    pub(super) is_remnant: bool,
}

impl LogContent {
    /// What the highest entry names, ascending, whether it can be read or not.
    pub(super) fn named(&self) -> Vec<LogNumber> {
        let readable = self.retained.iter().map(|entry| entry.number);
        let named: BTreeSet<_> = readable.chain(self.damaged.keys().copied()).collect();
        named.into_iter().collect()
    }

    /// The greatest id of any checkpoint that the log has had, also of those that cannot be read.
    pub(super) fn greatest_checkpoint(&self) -> Option<CheckpointId> {
        let entries = self.highest.iter().chain(&self.retained);
        entries.filter_map(Entry::greatest_checkpoint).max()
    }

    /// Why nobody may go on from this log, if so.
    pub(super) fn remnant_reason(&self) -> Option<String> {
        let highest = self.highest.as_ref().filter(|_| self.is_remnant)?;
        let number = highest.number;
        let gone = listed(self.damaged.keys());
        Some(format!(
            "log entry {number} is all that is left of the log: of the entries that it names, \
             {gone} is gone; restore them from a backup, give up each with `tidegate checkpoints \
             release FOLDER entry-NUMBER`, or remove the job's folder with `tidegate checkpoints \
             purge`"
        ))
    }

    /// What to add where a checkpoint is not found that an unreadable entry may hold.
    pub(super) fn damaged_hint(&self) -> String {
        damaged_hint(self.damaged.keys())
    }
}

/// The same for a set of numbers; empty for none.
pub(super) fn damaged_hint<'a>(damaged: impl Iterator<Item = &'a LogNumber>) -> String {
    let numbers = listed(damaged);
    if numbers.is_empty() {
        return numbers;
    }
    format!(
        "; log entry {numbers} cannot be read and may be it: restore it from a backup, or give it \
         up with `tidegate checkpoints release FOLDER entry-NUMBER` while the job does not run"
    )
}

fn listed<'a>(numbers: impl Iterator<Item = &'a LogNumber>) -> String {
    let numbers: Vec<_> = numbers.map(ToString::to_string).collect();
    numbers.join(", ")
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
    /// What that entry names and was not there when it was read after that listing.
    gone: BTreeSet<LogNumber>,
    /// The same, of the reading under way.
    missed: BTreeSet<LogNumber>,
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
            gone: BTreeSet::new(),
            missed: BTreeSet::new(),
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
            gone: BTreeSet::new(),
            missed: BTreeSet::new(),
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
                None => {
                    self.missed.clear();
                    self.complete(now_ms)
                }
                Some(highest) => {
                    // Another writer's progress explains why what was listed before is gone.
                    let seen = self.seen.replace(*highest);
                    let has_moved = seen.is_some_and(|seen| seen != *highest);
                    self.gone = std::mem::take(&mut self.missed);
                    if has_moved {
                        self.gone.clear();
                    }
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
        let Some(number) = self.answered(request) else {
            return ReadProgress::Waiting;
        };
        match entry {
            Ok(Some(entry)) => self.accept(now_ms, *entry, out),
            Ok(None) if planted!(RestoreNewestManifestSeen) => self.read_more(now_ms, out),
            Ok(None) if matches!(self.step, Step::Retained { .. }) => {
                self.missed.insert(number);
                self.read_more(now_ms, out)
            }
            Ok(None) => self.again(now_ms, not_there(number)),
            Err(reason) => self.again(now_ms, format!("read of log entry {number}: {reason}")),
        }
    }

    /// The entry asked for is there, but cannot be read by anyone.
    pub(super) fn on_damaged(
        &mut self,
        now_ms: i64,
        request: u64,
        reason: String,
        out: &mut Outbox,
    ) -> ReadProgress {
        let Some(number) = self.answered(request) else {
            return ReadProgress::Waiting;
        };
        match self.step {
            Step::Retained { .. } => {
                self.content.damaged.insert(number, reason);
                self.read_more(now_ms, out)
            }
            Step::Highest(_) | Step::Listing => {
                self.again(now_ms, format!("read of log entry {number}: {reason}"))
            }
        }
    }

    /// The entry that an answer is about; `None` if none is awaited.
    fn answered(&mut self, request: u64) -> Option<LogNumber> {
        if self.retry.due_ms.is_some() {
            return None;
        }
        match &mut self.step {
            Step::Highest(number) if self.request == request => Some(*number),
            Step::Retained { awaited, .. } => awaited.remove(&request),
            Step::Highest(_) | Step::Listing => None,
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
                let awaited = BTreeMap::new();
                self.step = Step::Retained { missing, awaited };
                self.read_more(now_ms, out)
            }
            Step::Retained { .. } if is_checkpoint => {
                self.content.retained.push(entry);
                self.read_more(now_ms, out)
            }
            Step::Retained { .. } if planted!(RestoreNewestManifestSeen) => {
                self.read_more(now_ms, out)
            }
            Step::Retained { .. } => {
                let number = entry.number;
                let reason = format!("log entry {number} is named as a checkpoint, but is none");
                self.content.damaged.insert(number, reason);
                self.read_more(now_ms, out)
            }
        }
    }

    /// Asks for more of what is named, or has everything.
    fn read_more(&mut self, now_ms: i64, out: &mut Outbox) -> ReadProgress {
        let Step::Retained { missing, awaited } = &mut self.step else {
            return ReadProgress::Waiting;
        };
        while awaited.len() < MAX_READS_AT_ONCE
            && let Some(number) = missing.pop()
        {
            awaited.insert(out.read_entry(number), number);
        }
        if awaited.is_empty() {
            self.complete(now_ms)
        } else {
            ReadProgress::Waiting
        }
    }

    /// Everything named was asked for. What was not there may have been freed by a newer entry,
    /// which the next listing shows; it is gone for good only if that listing shows none.
    fn complete(&mut self, now_ms: i64) -> ReadProgress {
        if let Some(number) = self.missed.difference(&self.gone).next() {
            let reason = not_there(*number);
            return self.again(now_ms, reason);
        }
        let mut content = std::mem::take(&mut self.content);
        let missed = std::mem::take(&mut self.missed);
        let is_there = |entry: &Entry| Some(entry.number) != own_number(&content);
        let is_any_there = content.retained.iter().any(is_there) || !content.damaged.is_empty();
        content.is_remnant = !missed.is_empty() && !is_any_there;
        let gone = missed.into_iter().map(|number| (number, not_there(number)));
        content.damaged.extend(gone);
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

fn own_number(content: &LogContent) -> Option<LogNumber> {
    content.highest.as_ref().map(|highest| highest.number)
}

fn not_there(number: LogNumber) -> String {
    format!("log entry {number} is listed or named, but not there")
}
