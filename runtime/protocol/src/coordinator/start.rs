//! The begin of an attempt: read the log, choose what to go on from, append the fence.

use super::log_append::{AppendProgress, LogAppend};
use super::log_read::{LogContent, LogRead, ReadProgress};
use super::planted::planted;
use super::restore::check_restore;
use super::retention::LogView;
use super::running::Running;
use super::{Coordinator, Phase};
use crate::{
    Action, AppendOutcome, Base, CheckpointId, Entry, EntryBody, FailureCategory, JobOutcome,
    JobState, LogNumber, StartFrom,
};

/// Log operations that may fail in a row before the process's first fence: a person who has just
/// started the job waits for the answer. About a minute and a half.
const MAX_TRIES_AT_FIRST: u32 = 10;
/// The same for later attempts, whose job may well outlive the store's trouble: hours.
const MAX_TRIES_LATER: u32 = 1_000;
/// Races for a fence that a starter may lose in a row: another process takes over each time.
const MAX_RACES: u32 = 16;
/// The wait after the first lost race; doubles, and differs from process to process.
const RACE_WAIT_MS: i64 = 50;
/// Doublings of that wait.
const MAX_RACE_DOUBLINGS: u32 = 8;

/// A fence on its way.
#[derive(Debug)]
pub(super) struct Fencing {
    pub(super) append: LogAppend,
    content: LogContent,
}

impl Coordinator {
    pub(super) fn begin_reading(&mut self) {
        self.take_up_parallelism();
        self.phase = Phase::Reading(Box::new(LogRead::begin(&mut self.out)));
        self.report(JobState::Starting);
    }

    pub(super) fn log_listed(&mut self, request: u64, numbers: Result<Vec<LogNumber>, String>) {
        let now_ms = self.now_ms;
        match &mut self.phase {
            Phase::Reading(read) => {
                let progress = read.on_listed(now_ms, request, numbers, &mut self.out);
                self.reading(progress);
            }
            Phase::Fencing(fencing) => {
                let progress = fencing.append.on_listed(now_ms, request, numbers);
                self.fencing(progress);
            }
            Phase::Running(running) => {
                let progress = running.on_listed(now_ms, request, numbers);
                self.writing(progress);
            }
            _ => {}
        }
    }

    pub(super) fn entry_read(&mut self, request: u64, entry: Result<Option<Box<Entry>>, String>) {
        let now_ms = self.now_ms;
        match &mut self.phase {
            Phase::Reading(read) => {
                let progress = read.on_read(now_ms, request, entry, &mut self.out);
                self.reading(progress);
            }
            Phase::Fencing(fencing) => {
                let progress = fencing
                    .append
                    .on_read(now_ms, request, entry, &mut self.out);
                self.fencing(progress);
            }
            Phase::Running(running) => {
                let progress = running.on_read(now_ms, request, entry, &mut self.out);
                self.writing(progress);
            }
            _ => {}
        }
    }

    /// What stands at an entry's number cannot be trusted.
    pub(super) fn entry_damaged(&mut self, request: u64, reason: String) {
        let now_ms = self.now_ms;
        match &mut self.phase {
            Phase::Reading(read) => {
                let progress = read.on_damaged(now_ms, request, reason, &mut self.out);
                self.reading(progress);
            }
            // Who appends wants to know whether the entry is the own, and that stays open.
            _ => self.entry_read(request, Err(reason)),
        }
    }

    pub(super) fn appended(&mut self, request: u64, outcome: AppendOutcome) {
        let now_ms = self.now_ms;
        match &mut self.phase {
            Phase::Fencing(fencing) => {
                let progress = fencing
                    .append
                    .on_appended(now_ms, request, outcome, &mut self.out);
                self.fencing(progress);
            }
            Phase::Running(running) => {
                let progress = running.on_appended(now_ms, request, outcome, &mut self.out);
                self.writing(progress);
            }
            _ => {}
        }
    }

    fn reading(&mut self, progress: ReadProgress) {
        match progress {
            ReadProgress::Waiting => {}
            ReadProgress::Again {
                reason,
                failure_count,
            } => self.log_unavailable(reason, failure_count),
            ReadProgress::Complete(content) => self.begin_fencing(*content),
        }
    }

    fn log_unavailable(&mut self, reason: String, failure_count: u32) {
        let is_first = self.start_from.is_some();
        let max_tries = if is_first {
            MAX_TRIES_AT_FIRST
        } else {
            MAX_TRIES_LATER
        };
        if failure_count >= max_tries {
            let reason = format!(
                "the checkpoint log could not be asked {failure_count} times in a row, the last \
                 time: {reason}; make the store answer, or repair what is named, and start the \
                 job again"
            );
            let category = FailureCategory::StorageUnavailable;
            self.finish(JobOutcome::Failed { category, reason });
            return;
        }
        self.out.push(Action::LogUnavailable {
            reason,
            failure_count,
        });
    }

    fn begin_fencing(&mut self, content: LogContent) {
        if let Some(by) = self.newer_start(&content) {
            return self.finish(JobOutcome::Fenced { by });
        }
        if let Some(reason) = content.remnant_reason() {
            let category = FailureCategory::CheckpointUnreadable;
            return self.finish(JobOutcome::Failed { category, reason });
        }
        let base = match self.choose_base(&content) {
            Ok(base) => base,
            Err((category, reason)) => {
                return self.finish(JobOutcome::Failed { category, reason });
            }
        };
        let number = content
            .highest
            .as_ref()
            .map_or(LogNumber::FIRST, |highest| highest.number.next());
        let retained = content.named();
        let body = EntryBody::Fence {
            created_ms: self.now_ms,
            writer: self.config.writer.clone(),
            base,
        };
        // Also where nothing was asked for: an older start must not come back after this one.
        let generation = if planted!(ForgetGeneration) {
            self.config.start_generation
        } else {
            known_generation(&content).max(self.config.start_generation)
        };
        let mut fence = self.out.new_entry(number, retained, generation, body);
        fence.greatest_checkpoint = content.greatest_checkpoint().map_or(0, CheckpointId::get);
        if planted!(SkipFence) {
            let log = LogView::of_fence(content, &fence, vec![number]);
            return self.fenced(log);
        }
        let previous = content.highest.as_ref().map(|highest| highest.number);
        let append = LogAppend::begin(fence, previous, &mut self.out);
        self.phase = Phase::Fencing(Box::new(Fencing { append, content }));
    }

    /// The highest entry, if a newer start than this one has written it or carried it on.
    fn newer_start(&self, content: &LogContent) -> Option<LogNumber> {
        let own = self.config.start_generation;
        let competes = own > 0 && !planted!(ComeBack);
        let highest = content.highest.as_ref().filter(|_| competes);
        highest
            .filter(|highest| highest.start_generation > own)
            .map(|highest| highest.number)
    }

    /// The request to start from elsewhere than the latest, unless the log knows the start that
    /// first made it, and with that the request, already.
    fn requested_start(&self, content: &LogContent) -> Option<&StartFrom> {
        let honoured = content.highest.as_ref().map(|entry| entry.start_generation);
        let asked = self.config.start_from_generation;
        let is_new = honoured < Some(asked.unwrap_or(self.config.start_generation))
            || planted!(HonourStartAgain) && self.start_from.is_some();
        let start_from = self.start_from.as_ref().filter(|_| is_new);
        start_from.filter(|start_from| **start_from != StartFrom::Latest)
    }

    /// What the attempt goes on from, checked against the plan before anything is written.
    fn choose_base(&self, content: &LogContent) -> Result<Base, (FailureCategory, String)> {
        let retained_as = |checkpoint: CheckpointId| {
            let mut entries = content.retained.iter();
            entries.find(|entry| entry.manifest().is_some_and(|m| m.checkpoint == checkpoint))
        };
        let base = match self.requested_start(content) {
            None | Some(StartFrom::Latest) => latest(content),
            Some(StartFrom::Empty) => Base::Empty,
            // With its sinks' transactions: they are final, and the other job may never run again.
            Some(StartFrom::Foreign(manifest)) => Base::Foreign(manifest.clone()),
            Some(StartFrom::Checkpoint(checkpoint)) => match retained_as(*checkpoint) {
                Some(entry) => Base::Checkpoint(entry.number),
                None => {
                    let reason = not_retained(*checkpoint, content);
                    return Err((FailureCategory::CheckpointMissing, reason));
                }
            },
        };
        let manifest = match &base {
            Base::Empty => None,
            Base::Foreign(manifest) => Some(&**manifest),
            Base::Checkpoint(number) => {
                let mut entries = content.retained.iter();
                let entry = entries.find(|entry| entry.number == *number);
                let manifest = entry.and_then(Entry::manifest);
                Some(manifest.ok_or_else(|| {
                    let reason = no_base(*number, content);
                    (FailureCategory::CheckpointUnreadable, reason)
                })?)
            }
        };
        check_restore(&self.plan, manifest, self.parallelism).map_err(|error| {
            let reason = match manifest {
                Some(manifest) => format!("checkpoint {}: {error}", manifest.checkpoint),
                None => error.to_string(),
            };
            (FailureCategory::StateIncompatible, reason)
        })?;
        Ok(base)
    }

    fn fencing(&mut self, progress: AppendProgress) {
        match progress {
            AppendProgress::Waiting => {}
            AppendProgress::Unavailable {
                reason,
                failure_count,
            } => self.log_unavailable(reason, failure_count),
            // Whether the fence stands is open; a reader that begins anew finds out.
            AppendProgress::GaveUp { .. } => self.begin_reading(),
            AppendProgress::Lost { by } => self.lost_race(by),
            AppendProgress::Counted { numbers } => {
                if let Phase::Fencing(fencing) = std::mem::replace(&mut self.phase, Phase::Idle) {
                    let fence = fencing.append.into_entry();
                    self.fenced(LogView::of_fence(fencing.content, &fence, numbers));
                }
            }
        }
    }

    fn lost_race(&mut self, by: LogNumber) {
        self.race_count += 1;
        if self.race_count >= MAX_RACES {
            return self.finish(JobOutcome::Fenced { by });
        }
        let doublings = self.race_count.min(MAX_RACE_DOUBLINGS);
        let longest = RACE_WAIT_MS << doublings;
        // Two starters that wait equally long would meet again; the seed tells them apart.
        let seed = self
            .config
            .nonce_seed
            .wrapping_add(u64::from(self.race_count));
        let hash = crate::hash_key(&seed.to_le_bytes());
        let wait = i64::try_from(hash % longest.unsigned_abs()).unwrap_or(longest);
        self.phase = Phase::Reading(Box::new(LogRead::begin_at(self.now_ms + wait)));
    }

    /// The fence counts: from here on no older attempt can append.
    fn fenced(&mut self, log: LogView) {
        self.race_count = 0;
        self.start_from = None;
        self.phase = Phase::Running(Box::new(Running::new(log)));
        self.collection.is_due = true;
    }
}

/// The newest start that the log knows of; 0 if of none.
fn known_generation(content: &LogContent) -> u64 {
    let highest = content.highest.as_ref();
    highest.map_or(0, |entry| entry.start_generation)
}

fn latest(content: &LogContent) -> Base {
    let base = content.highest.as_ref().map_or(Base::Empty, Entry::base);
    let takes_newest = planted!(ForgetBase)
        || planted!(RestoreNewestManifestSeen) && matches!(base, Base::Checkpoint(_));
    if takes_newest {
        let newest = content.retained.last();
        return newest.map_or(Base::Empty, |entry| Base::Checkpoint(entry.number));
    }
    base
}

fn not_retained(checkpoint: CheckpointId, content: &LogContent) -> String {
    let manifests = content.retained.iter().filter_map(Entry::manifest);
    let ids: Vec<_> = manifests
        .map(|manifest| manifest.checkpoint.to_string())
        .collect();
    let found = if ids.is_empty() {
        "none".to_owned()
    } else {
        ids.join(", ")
    };
    let hint = content.damaged_hint();
    format!("checkpoint {checkpoint} is not retained by this job's log; it retains {found}{hint}")
}

/// The checkpoint of the entry that the log goes on from cannot be had.
fn no_base(number: LogNumber, content: &LogContent) -> String {
    match content.damaged.get(&number) {
        Some(problem) => format!(
            "the job goes on from the checkpoint of log entry {number}, which cannot be read: \
             {problem}; restore it from a backup, or start from another checkpoint with startFrom"
        ),
        None => format!("the log goes on from entry {number}, but no longer retains it"),
    }
}
