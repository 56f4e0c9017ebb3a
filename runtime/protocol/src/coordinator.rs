//! The coordinator of one job: attempts, barriers, the checkpoint log, restarts and retention.
//!
//! A state machine without I/O: [`Coordinator::handle`] takes one [`Event`] with the time it
//! happened and returns [`Action`]s for the driver to carry out. The driver answers each action
//! that asks for something with the event named at it, in any order, late or never.
//!
//! ```text
//!          ┌───────────────── lost the race ────────────────┐
//! Start ─→ Reading ─→ Fencing ─→ Running (waits for slots, restores, runs, commits) ─→ Over
//!             ↑                     │ failure, rescale
//!             └─ BackingOff ←─ Cancelling
//! ```

mod action;
mod administration;
mod assembly;
mod budget;
mod checkpoint;
mod command;
mod completion;
mod config;
mod event;
mod log_append;
mod log_read;
mod log_retry;
mod outbox;
mod placement;
mod planted;
mod restart;
mod restore;
mod retention;
mod running;
mod start;

use std::collections::BTreeMap;

pub use action::{Action, JobOutcome, JobState};
pub use administration::{Administration, AdministrationOutcome, AdministrationTask, NextStart};
use budget::RestartBudget;
use command::Wishes;
pub use config::{CoordinatorConfig, RestartPolicy, StartFrom};
pub use event::{AppendOutcome, Command, Event, StopMode};
use log_read::LogRead;
use outbox::Outbox;
use restart::{BackingOff, Cancelling};
pub use restore::{RestoreError, StateMismatch, check_restore, plan_restore};
use running::Running;
use start::Fencing;

use crate::{FromWorker, JobPlan, Parallelism, WorkerId};

/// Where the job stands.
#[derive(Debug)]
enum Phase {
    /// Before [`Event::Start`].
    Idle,
    /// Reads what the log names.
    Reading(Box<LogRead>),
    /// Appends the next attempt's fence.
    Fencing(Box<Fencing>),
    /// The fence counts.
    Running(Box<Running>),
    /// Waits until the workers have dropped the attempt.
    Cancelling(Cancelling),
    /// Waits before the next attempt.
    BackingOff(BackingOff),
    /// After [`Action::Finish`].
    Over,
}

/// A collection that the driver has not reported as done.
#[derive(Debug, Default)]
struct Collection {
    request: Option<u64>,
    is_due: bool,
}

/// One job's coordinator.
///
/// # Invariants
/// The four rules of the checkpoint log, and with them that no counted checkpoint is lost and at
/// most one attempt's output is committed; held by the simulation.
#[derive(Debug)]
pub struct Coordinator {
    config: CoordinatorConfig,
    plan: JobPlan,
    phase: Phase,
    now_ms: i64,
    out: Outbox,
    workers: BTreeMap<WorkerId, u32>,
    /// What the next attempt runs with.
    parallelism: Parallelism,
    /// Taken when the first fence counts.
    start_from: Option<StartFrom>,
    budget: RestartBudget,
    wishes: Wishes,
    race_count: u32,
    collection: Collection,
    timer_ms: Option<i64>,
    reported: Option<JobState>,
}

impl Coordinator {
    /// A coordinator that waits for [`Event::Start`].
    pub fn new(config: CoordinatorConfig, plan: JobPlan) -> Self {
        Self {
            out: Outbox::new(config.nonce_seed),
            parallelism: config.parallelism,
            start_from: Some(config.start_from.clone()),
            config,
            plan,
            phase: Phase::Idle,
            now_ms: i64::MIN,
            workers: BTreeMap::new(),
            budget: RestartBudget::default(),
            wishes: Wishes::default(),
            race_count: 0,
            collection: Collection::default(),
            timer_ms: None,
            reported: None,
        }
    }

    /// Takes a fact and decides what follows. After [`Action::Finish`] nothing follows any event.
    ///
    /// `now_ms` is in milliseconds since the epoch. A step back is taken for no step, and timers
    /// wait for the clock to catch up: a driver adds a monotonic clock to the time it started at.
    pub fn handle(&mut self, now_ms: i64, event: Event) -> Vec<Action> {
        if matches!(self.phase, Phase::Over) {
            return Vec::new();
        }
        self.now_ms = self.now_ms.max(now_ms);
        self.dispatch(event);
        self.on_time();
        self.advance();
        self.set_timer();
        self.out.take()
    }

    fn dispatch(&mut self, event: Event) {
        match event {
            Event::Start => {
                if matches!(self.phase, Phase::Idle) {
                    self.begin_reading();
                }
            }
            Event::Tick => self.timer_ms = None,
            Event::WorkerJoined { worker, slot_count } => self.worker_joined(worker, slot_count),
            Event::WorkerLost { worker, reason } => self.worker_lost(worker, reason),
            Event::Worker { worker, message } => self.worker_says(worker, message),
            Event::LogListed { request, numbers } => self.log_listed(request, numbers),
            Event::EntryRead { request, entry } => self.entry_read(request, entry),
            Event::EntryDamaged { request, reason } => self.entry_damaged(request, reason),
            Event::Appended { request, outcome } => self.appended(request, outcome),
            Event::GarbageCollected { request, .. } => {
                if self.collection.request == Some(request) {
                    self.collection.request = None;
                }
            }
            Event::Command(command) => self.command(command),
        }
    }

    fn worker_joined(&mut self, worker: WorkerId, slot_count: u32) {
        if self.workers.contains_key(&worker) {
            self.worker_lost(worker, "it joined anew".to_owned());
        }
        self.workers.insert(worker, slot_count);
    }

    fn worker_says(&mut self, worker: WorkerId, message: FromWorker) {
        if let FromWorker::Cancelled { attempt } = message {
            self.cancelled(worker, attempt);
            return;
        }
        let Phase::Running(running) = &self.phase else {
            return;
        };
        if !running.expects(worker, message.attempt()) {
            return;
        }
        match message {
            FromWorker::Running { .. } => self.worker_runs(worker),
            FromWorker::Acknowledged {
                checkpoint,
                subtask,
                snapshot,
                ..
            } => self.acknowledged(checkpoint, subtask, *snapshot),
            FromWorker::SnapshotFailed {
                checkpoint,
                subtask,
                reason,
                ..
            } => {
                let reason = format!("subtask {subtask} could not store its snapshot: {reason}");
                self.abort_checkpoint(Some(checkpoint), &reason);
            }
            FromWorker::Ended { subtask, .. } => self.subtask_ended(subtask),
            FromWorker::Committed { checkpoint, .. } => self.committed(worker, checkpoint),
            FromWorker::Failed {
                subtask,
                operator,
                message,
                is_permanent,
                category,
                ..
            } => {
                let reason = restart::describe(worker, subtask, operator.as_deref(), &message);
                self.fail_attempt(reason, category, is_permanent);
            }
            FromWorker::Cancelled { .. } => {}
        }
    }

    /// Does what the clock asks for.
    fn on_time(&mut self) {
        let now_ms = self.now_ms;
        match &mut self.phase {
            Phase::Reading(read) => read.on_time(now_ms, &mut self.out),
            Phase::Fencing(fencing) => fencing.append.on_time(now_ms, &mut self.out),
            Phase::Running(running) => {
                running.retry_log(now_ms, &mut self.out);
                self.abort_overdue_checkpoint();
            }
            Phase::Cancelling(_) => self.give_up_cancelling(),
            Phase::BackingOff(backing_off) if backing_off.until_ms <= now_ms => {
                self.begin_reading();
            }
            Phase::BackingOff(_) | Phase::Idle | Phase::Over => {}
        }
    }

    /// Begins whatever can begin now.
    fn advance(&mut self) {
        self.answer_named_savepoints();
        self.advance_stop();
        self.advance_deployment();
        self.advance_log();
        self.advance_collection();
        self.advance_end();
        self.advance_checkpoint();
    }

    fn set_timer(&mut self) {
        let due_ms = match &self.phase {
            Phase::Reading(read) => read.due_ms(),
            Phase::Fencing(fencing) => fencing.append.due_ms(),
            Phase::Running(running) => self.running_due_ms(running),
            Phase::Cancelling(cancelling) => Some(cancelling.deadline_ms),
            Phase::BackingOff(backing_off) => Some(backing_off.until_ms),
            Phase::Idle | Phase::Over => None,
        };
        if let Some(at_ms) = due_ms.map(|due_ms| due_ms.max(self.now_ms))
            && self.timer_ms != Some(at_ms)
        {
            self.timer_ms = Some(at_ms);
            self.out.push(Action::SetTimer { at_ms });
        }
    }

    fn report(&mut self, state: JobState) {
        if self.reported.as_ref() != Some(&state) {
            self.out.push(Action::Report(Box::new(state.clone())));
            self.reported = Some(state);
        }
    }
}

#[cfg(test)]
mod tests;
