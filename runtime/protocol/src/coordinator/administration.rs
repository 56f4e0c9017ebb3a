//! What is done to a job's log while no attempt of the job runs: releases, and emptying it.
//!
//! The same entries, races and collections as a running job's, by the same four rules: an entry
//! that names fewer checkpoints, and fences an attempt that runs after all; then a collection.
//!
//! ```text
//! Start ─→ Reading ─→ Appending ─→ Collecting ─→ over
//!     ╲      ↑ lost the race ╱          ↑
//!      ╲     ╰──────────────╯           │ released before, files perhaps not deleted
//!       ╰→ Listing (emptying: what the log says does not matter) ╯
//! ```

mod task;

use super::action::Action;
use super::event::Event;
use super::log_append::{AppendProgress, LogAppend};
use super::log_read::{LogContent, LogRead, ReadProgress};
use super::log_retry::LogRetry;
use super::outbox::Outbox;
use super::retention::LogView;
pub use task::{AdministrationOutcome, AdministrationTask, NextStart};
use task::{Then, ids, next_start, older};

use crate::{Attempt, Base, CheckpointId, Entry, EntryBody, LogNumber};

/// Log operations that may fail in a row; each of them was tried several times by the store.
const MAX_TRIES: u32 = 5;
/// Races that may be lost in a row: a running attempt completes a checkpoint each time.
const MAX_RACES: u32 = 16;
/// The wait after a lost race.
const RACE_WAIT_MS: i64 = 50;

#[derive(Debug)]
enum Step {
    Idle,
    Reading(Box<LogRead>),
    /// Lists the numbers only: to empty a log, or to collect for its highest entry.
    Listing {
        request: u64,
        retry: LogRetry,
        content: Option<Box<LogContent>>,
    },
    Appending(Box<Appending>),
    Collecting {
        request: u64,
        then: Then,
    },
    Over(AdministrationOutcome),
}

#[derive(Debug)]
struct Appending {
    append: LogAppend,
    content: LogContent,
    then: Then,
}

/// One task on one log. The driver treats it as it treats a [`crate::Coordinator`]: events in,
/// actions out, each request answered in any order; it is over when there is an outcome.
///
/// # Invariants
/// Those of the log's four rules, held by the simulation for the parts that both use, and by
/// `every_interleaving_with_a_running_job_keeps_what_is_named`.
#[derive(Debug)]
pub struct Administration {
    task: AdministrationTask,
    writer: String,
    out: Outbox,
    now_ms: i64,
    step: Step,
    race_count: u32,
    timer_ms: Option<i64>,
}

impl Administration {
    /// Waits for [`Event::Start`]. `writer` names the process in the log; `nonce_seed` differs for
    /// every process.
    pub fn new(task: AdministrationTask, writer: String, nonce_seed: u64) -> Self {
        Self {
            task,
            writer,
            out: Outbox::new(nonce_seed),
            now_ms: i64::MIN,
            step: Step::Idle,
            race_count: 0,
            timer_ms: None,
        }
    }

    /// How it ended, once it has.
    pub const fn outcome(&self) -> Option<&AdministrationOutcome> {
        match &self.step {
            Step::Over(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Takes a fact and decides what follows, as [`crate::Coordinator::handle`] does. Events that
    /// only a running job knows are ignored.
    pub fn handle(&mut self, now_ms: i64, event: Event) -> Vec<Action> {
        self.now_ms = self.now_ms.max(now_ms);
        match event {
            Event::Start if matches!(self.step, Step::Idle) => self.begin(0),
            Event::Tick => self.timer_ms = None,
            Event::LogListed { request, numbers } => self.listed(request, numbers),
            Event::EntryRead { request, entry } => self.read(request, entry),
            Event::EntryDamaged { request, reason } => self.damaged(request, reason),
            Event::Appended { request, outcome } => {
                let now_ms = self.now_ms;
                if let Step::Appending(appending) = &mut self.step {
                    let append = &mut appending.append;
                    let progress = append.on_appended(now_ms, request, outcome, &mut self.out);
                    self.appending(progress);
                }
            }
            Event::GarbageCollected { request, result } => self.collected(request, result),
            _ => {}
        }
        self.on_time();
        self.set_timer();
        self.out.take()
    }

    fn begin(&mut self, wait_ms: i64) {
        let due_ms = self.now_ms + wait_ms;
        self.step = match self.task {
            AdministrationTask::Release(_) | AdministrationTask::ReleaseDamaged(_) => {
                Step::Reading(Box::new(LogRead::begin_at(due_ms)))
            }
            AdministrationTask::ReleaseAll { .. } => Step::Listing {
                request: 0,
                retry: LogRetry {
                    due_ms: Some(due_ms),
                    failure_count: 0,
                },
                content: None,
            },
        };
    }

    fn on_time(&mut self) {
        let now_ms = self.now_ms;
        match &mut self.step {
            Step::Reading(read) => read.on_time(now_ms, &mut self.out),
            Step::Appending(appending) => appending.append.on_time(now_ms, &mut self.out),
            Step::Listing { request, retry, .. } => {
                if retry.take_due(now_ms) {
                    *request = self.out.list_log();
                }
            }
            Step::Idle | Step::Collecting { .. } | Step::Over(_) => {}
        }
    }

    fn set_timer(&mut self) {
        let due_ms = match &self.step {
            Step::Reading(read) => read.due_ms(),
            Step::Appending(appending) => appending.append.due_ms(),
            Step::Listing { retry, .. } => retry.due_ms,
            Step::Idle | Step::Collecting { .. } | Step::Over(_) => None,
        };
        if let Some(at_ms) = due_ms
            && self.timer_ms != Some(at_ms)
        {
            self.timer_ms = Some(at_ms);
            self.out.push(Action::SetTimer { at_ms });
        }
    }

    fn listed(&mut self, request: u64, numbers: Result<Vec<LogNumber>, String>) {
        let now_ms = self.now_ms;
        match &mut self.step {
            Step::Reading(read) => {
                let progress = read.on_listed(now_ms, request, numbers, &mut self.out);
                self.reading(progress);
            }
            Step::Appending(appending) => {
                let progress = appending.append.on_listed(now_ms, request, numbers);
                self.appending(progress);
            }
            Step::Listing {
                request: asked,
                retry,
                ..
            } if *asked == request && retry.due_ms.is_none() => match numbers {
                Ok(numbers) => self.numbers_known(numbers),
                Err(reason) => {
                    retry.fail(now_ms);
                    let failure_count = retry.failure_count;
                    self.unavailable(format!("listing of the log: {reason}"), failure_count);
                }
            },
            _ => {}
        }
    }

    fn read(&mut self, request: u64, entry: Result<Option<Box<Entry>>, String>) {
        let now_ms = self.now_ms;
        match &mut self.step {
            Step::Reading(read) => {
                let progress = read.on_read(now_ms, request, entry, &mut self.out);
                self.reading(progress);
            }
            Step::Appending(appending) => {
                let append = &mut appending.append;
                let progress = append.on_read(now_ms, request, entry, &mut self.out);
                self.appending(progress);
            }
            _ => {}
        }
    }

    fn damaged(&mut self, request: u64, reason: String) {
        let now_ms = self.now_ms;
        match &mut self.step {
            Step::Reading(read) => {
                let progress = read.on_damaged(now_ms, request, reason, &mut self.out);
                self.reading(progress);
            }
            // Who appends wants to know whether the entry is the own, and that stays open.
            _ => self.read(request, Err(reason)),
        }
    }

    fn reading(&mut self, progress: ReadProgress) {
        match progress {
            ReadProgress::Waiting => {}
            ReadProgress::Again {
                reason,
                failure_count,
            } => self.unavailable(reason, failure_count),
            ReadProgress::Complete(content) => match self.task {
                AdministrationTask::Release(checkpoint) => self.release(checkpoint, *content),
                AdministrationTask::ReleaseDamaged(number) => {
                    self.release_damaged(number, *content);
                }
                AdministrationTask::ReleaseAll { .. } => {}
            },
        }
    }

    fn unavailable(&mut self, reason: String, failure_count: u32) {
        if failure_count >= MAX_TRIES {
            return self.fail(format!(
                "the checkpoint log could not be asked {failure_count} times in a row, the last \
                 time: {reason}"
            ));
        }
        self.out.push(Action::LogUnavailable {
            reason,
            failure_count,
        });
    }

    fn fail(&mut self, reason: String) {
        self.step = Step::Over(AdministrationOutcome::Failed { reason });
    }

    /// The log is read: appends an entry that names one checkpoint fewer, if it names it.
    fn release(&mut self, checkpoint: CheckpointId, content: LogContent) {
        if let Some(reason) = content.remnant_reason() {
            return self.fail(reason);
        }
        let is_it = |entry: &&Entry| entry.manifest().is_some_and(|m| m.checkpoint == checkpoint);
        let released = content.retained.iter().find(is_it);
        let Some((highest, entry)) = content.highest.as_ref().zip(released) else {
            return self.not_retained(content);
        };
        let Some(manifest) = entry.manifest() else {
            return;
        };
        let number = entry.number;
        let next = next_start(&content, number);
        let then = Then::Released(Box::new(manifest.clone()), next.clone());
        let highest = highest.clone();
        self.append_without(number, &highest, content, (next, then));
    }

    /// The log is read: appends an entry that no longer names one that cannot be read, if it does.
    fn release_damaged(&mut self, number: LogNumber, content: LogContent) {
        let is_damaged = content.damaged.contains_key(&number);
        let Some(highest) = content.highest.clone().filter(|_| is_damaged) else {
            return self.not_retained(content);
        };
        let next = next_start(&content, number);
        let then = Then::DamagedReleased(number, next.clone());
        self.append_without(number, &highest, content, (next, then));
    }

    fn append_without(
        &mut self,
        number: LogNumber,
        highest: &Entry,
        content: LogContent,
        (start, then): (NextStart, Then),
    ) {
        let previous = highest.number;
        let base = match (&start, older(&content, number)) {
            (NextStart::Unchanged, _) => highest.base(),
            (_, Some(older)) => Base::Checkpoint(older.number),
            (_, None) => Base::Empty,
        };
        let mut retained = content.named();
        retained.retain(|other| *other != number);
        let next = previous.next();
        let generation = highest.start_generation;
        let body = self.body(base);
        let mut entry = self.out.new_entry(next, retained, generation, body);
        entry.greatest_checkpoint = content.greatest_checkpoint().map_or(0, CheckpointId::get);
        self.append(entry, Some(previous), content, then);
    }

    fn body(&self, base: Base) -> EntryBody {
        EntryBody::Release {
            created_ms: self.now_ms,
            writer: Some(self.writer.clone()),
            base,
        }
    }

    fn append(
        &mut self,
        entry: Entry,
        previous: Option<LogNumber>,
        content: LogContent,
        then: Then,
    ) {
        let append = LogAppend::begin(entry, previous, &mut self.out);
        self.step = Step::Appending(Box::new(Appending {
            append,
            content,
            then,
        }));
    }

    /// Nothing to release. Where the highest entry is such a release itself, whoever wrote it may
    /// have died before its collection, which is done then: no attempt runs beside that entry.
    fn not_retained(&mut self, content: LogContent) {
        let is_any = matches!(self.task, AdministrationTask::Release(_));
        if is_any && !content.damaged.is_empty() {
            self.step = Step::Over(AdministrationOutcome::PerhapsRetained {
                retained: ids(&content),
                damaged: content.damaged.into_iter().collect(),
            });
            return;
        }
        let highest = content.highest.as_ref();
        let fences = highest.is_some_and(|entry| {
            let body = &entry.body;
            matches!(
                body,
                EntryBody::Release {
                    writer: Some(_),
                    ..
                }
            )
        });
        if fences {
            self.step = Step::Listing {
                request: self.out.list_log(),
                retry: LogRetry::default(),
                content: Some(Box::new(content)),
            };
        } else {
            let retained = ids(&content);
            self.step = Step::Over(AdministrationOutcome::NotRetained {
                retained,
                deleted_count: 0,
            });
        }
    }

    fn numbers_known(&mut self, numbers: Vec<LogNumber>) {
        let Step::Listing { content, .. } = &mut self.step else {
            return;
        };
        let Some(content) = content.take() else {
            return self.release_all(&numbers);
        };
        match &content.highest {
            Some(highest) if numbers.last() == Some(&highest.number) => {
                let then = Then::NotRetained(ids(&content));
                let log = LogView::of_fence((*content).clone(), highest, numbers);
                self.collect(&log, then);
            }
            // Somebody goes on with the log, and collects what is left.
            _ => {
                self.step = Step::Over(AdministrationOutcome::NotRetained {
                    retained: ids(&content),
                    deleted_count: 0,
                });
            }
        }
    }

    fn release_all(&mut self, numbers: &[LogNumber]) {
        let AdministrationTask::ReleaseAll { above } = self.task else {
            return;
        };
        let highest = numbers.last().copied();
        let number = highest.max(LogNumber::new(above).ok());
        let number = number.map_or(LogNumber::FIRST, LogNumber::next);
        let body = self.body(Base::Empty);
        let entry = self.out.new_entry(number, Vec::new(), 0, body);
        self.append(entry, highest, LogContent::default(), Then::Emptied(number));
    }

    fn appending(&mut self, progress: AppendProgress) {
        match progress {
            AppendProgress::Waiting => {}
            AppendProgress::Unavailable {
                reason,
                failure_count,
            } => self.unavailable(reason, failure_count),
            AppendProgress::GaveUp { reason } => self.fail(reason),
            AppendProgress::Lost { by } => self.lost_race(by),
            AppendProgress::Counted { numbers } => {
                if let Step::Appending(appending) = std::mem::replace(&mut self.step, Step::Idle) {
                    let entry = appending.append.into_entry();
                    let mut log = LogView::of_fence(appending.content, &entry, numbers.clone());
                    log.count(entry, numbers);
                    self.collect(&log, appending.then);
                }
            }
        }
    }

    fn lost_race(&mut self, by: LogNumber) {
        self.race_count += 1;
        if self.race_count >= MAX_RACES {
            return self.fail(format!(
                "another process appends to the checkpoint log all the time, entry {by} the last \
                 time; stop the job first"
            ));
        }
        self.begin(RACE_WAIT_MS);
    }

    /// Deletes what nothing names any more. The entry fences every attempt up to its own number,
    /// and no later one is known to it.
    fn collect(&mut self, log: &LogView, then: Then) {
        let garbage = log.garbage();
        let request = self.out.next_request();
        self.step = Step::Collecting { request, then };
        self.out.push(Action::CollectGarbage {
            request,
            entries: garbage.entries,
            keep_files: garbage.keep_files,
            keep_from: CheckpointId::FIRST,
            attempt: Attempt::of_fence(log.head),
            keep_before: garbage.keep_before,
        });
    }

    fn collected(&mut self, asked: u64, result: Result<u64, String>) {
        if !matches!(&self.step, Step::Collecting { request, .. } if *request == asked) {
            return;
        }
        let Step::Collecting { then, .. } = std::mem::replace(&mut self.step, Step::Idle) else {
            return;
        };
        self.step = Step::Over(match result {
            Ok(deleted_count) => then.done(deleted_count),
            Err(reason) => AdministrationOutcome::Failed {
                reason: format!(
                    "{}; not all of its files could be deleted: {reason}",
                    then.what()
                ),
            },
        });
    }
}
