//! A checkpoint from its trigger to the last acknowledgement: when, why, and what fails it.

use std::collections::BTreeMap;

use super::planted::planted;
use super::restart::settle_requests;
use super::running::{Running, Stage, Writing};
use super::{Coordinator, Phase};
use crate::{Action, CheckpointId, CheckpointKind, JobState, SubtaskId, SubtaskSnapshot, ToWorker};

/// The wait after a failed checkpoint that somebody waited for; doubles with each one in a row.
const FAILED_PAUSE_MS: i64 = 200;
/// Doublings of that wait: at most 3.2 s, since a store that is well again is wanted at once.
const MAX_PAUSE_DOUBLINGS: u32 = 4;

/// Why a checkpoint is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The interval is over.
    Periodic,
    /// Somebody asked for a savepoint.
    Savepoint,
    /// The next attempt has another parallelism.
    Rescale,
    /// Every subtask has ended.
    Final,
    /// Somebody asked the job to stop.
    Stop,
}

/// The checkpoint in flight; at most one.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: CheckpointId,
    pub(super) kind: CheckpointKind,
    pub(super) purpose: Purpose,
    /// A savepoint's, if it was asked for with one.
    pub(super) name: Option<String>,
    /// The commands that asked for a savepoint.
    pub(super) requests: Vec<u64>,
    pub(super) is_final: bool,
    pub(super) triggered_ms: i64,
    pub(super) snapshots: BTreeMap<SubtaskId, SubtaskSnapshot>,
}

impl Running {
    /// Whether every subtask has acknowledged the checkpoint in flight.
    pub(super) fn is_acknowledged(&self) -> bool {
        let missing = usize::from(planted!(CompleteWithMissingSnapshot) && self.subtasks.len() > 1);
        let is_complete =
            |pending: &Pending| pending.snapshots.len() + missing >= self.subtasks.len();
        self.pending.as_ref().is_some_and(is_complete)
    }

    /// From the append on, a checkpoint can no longer be aborted: its entry may stand.
    pub(super) const fn is_logging(&self) -> bool {
        matches!(self.write, Some((_, Writing::Checkpoint)))
    }

    /// Whether the job's last checkpoint is in flight, and is of this kind.
    pub(super) fn is_stopping_with(&self, kind: CheckpointKind) -> bool {
        let pending = self.pending.as_ref();
        pending.is_some_and(|pending| pending.purpose == Purpose::Stop && pending.kind == kind)
    }

    /// The job's last checkpoint, if that is in flight.
    pub(super) fn last_checkpoint(&self) -> Option<CheckpointId> {
        let pending = self.pending.as_ref();
        let last = pending.filter(|pending| pending.purpose == Purpose::Stop);
        last.map(|pending| pending.id)
    }

    fn overdue_ms(&self, timeout_ms: u64) -> Option<i64> {
        let pending = self.pending.as_ref().filter(|_| !self.is_logging())?;
        Some(pending.triggered_ms.saturating_add_unsigned(timeout_ms))
    }

    /// When the pause after a failed checkpoint that somebody waited for is over. Those that fail
    /// by the interval hold up nobody's wish.
    fn pause_end_ms(&self) -> i64 {
        self.urgent_failures.map_or(i64::MIN, |(count, failed_ms)| {
            let doublings = count.saturating_sub(1).min(MAX_PAUSE_DOUBLINGS);
            failed_ms.saturating_add(FAILED_PAUSE_MS << doublings)
        })
    }
}

impl Coordinator {
    /// What the next checkpoint is for, and from when on.
    fn next_trigger(&self, running: &Running) -> Option<(Purpose, i64)> {
        if !running.is_running() || running.pending.is_some() {
            return None;
        }
        let urgent = if self.wishes.stop.is_some() {
            Some(Purpose::Stop)
        } else if running.has_ended() {
            Some(Purpose::Final)
        } else if self.wishes.rescale.is_some() {
            Some(Purpose::Rescale)
        } else if !self.wishes.savepoints.is_empty() {
            Some(Purpose::Savepoint)
        } else {
            None
        };
        if let Some(purpose) = urgent {
            return Some((purpose, running.pause_end_ms()));
        }
        let interval_ms = self.config.checkpoint_interval_ms?;
        let pause_ms = self.config.min_pause_ms;
        let from_trigger = running.triggered_ms.saturating_add_unsigned(interval_ms);
        let from_end = running.settled_ms.map_or(i64::MIN, |settled_ms| {
            settled_ms.saturating_add_unsigned(pause_ms)
        });
        Some((Purpose::Periodic, from_trigger.max(from_end)))
    }

    /// When the clock next matters to a running attempt.
    pub(super) fn running_due_ms(&self, running: &Running) -> Option<i64> {
        let retry = running
            .write
            .as_ref()
            .and_then(|(append, _)| append.due_ms());
        let overdue = running.overdue_ms(self.config.checkpoint_timeout_ms);
        let trigger = self.next_trigger(running).map(|(_, due_ms)| due_ms);
        let end = match &running.stage {
            Stage::Committing {
                pending,
                collect_until_ms,
                ..
            } if pending.is_empty() => Some(*collect_until_ms),
            _ => None,
        };
        [retry, overdue, trigger, end].into_iter().flatten().min()
    }

    /// Triggers the next checkpoint if it is time.
    pub(super) fn advance_checkpoint(&mut self) {
        let Phase::Running(running) = &self.phase else {
            return;
        };
        match self.next_trigger(running) {
            Some((Purpose::Rescale, due_ms)) if due_ms <= self.now_ms => self.trigger_rescale(),
            Some((purpose, due_ms)) if due_ms <= self.now_ms => self.trigger(purpose),
            _ => {}
        }
    }

    pub(super) fn trigger(&mut self, purpose: Purpose) {
        let now_ms = self.now_ms;
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        let is_wished = !self.wishes.savepoints.is_empty();
        let takes_savepoint = match purpose {
            Purpose::Savepoint => true,
            Purpose::Stop => self.wishes.stops_with_savepoint() || is_wished,
            Purpose::Final => is_wished,
            Purpose::Rescale | Purpose::Periodic => false,
        };
        let (kind, (name, requests)) = if takes_savepoint {
            (CheckpointKind::Savepoint, self.wishes.take_savepoints())
        } else {
            (CheckpointKind::Checkpoint, (None, Vec::new()))
        };
        let (id, attempt) = (running.next_checkpoint, running.attempt);
        running.next_checkpoint = id.next();
        running.triggered_ms = now_ms;
        running.pending = Some(Pending {
            id,
            kind,
            purpose,
            name,
            requests,
            is_final: running.has_ended(),
            triggered_ms: now_ms,
            snapshots: BTreeMap::new(),
        });
        let message = ToWorker::TriggerCheckpoint {
            attempt,
            checkpoint: id,
            kind,
            is_last: purpose == Purpose::Stop,
            last_completed: running
                .log
                .base_manifest()
                .map(|manifest| manifest.checkpoint),
        };
        running.tell_all(&message, &mut self.out);
        if matches!(purpose, Purpose::Stop | Purpose::Final) {
            self.report(JobState::Stopping { attempt });
        }
    }

    pub(super) fn acknowledged(
        &mut self,
        checkpoint: CheckpointId,
        subtask: SubtaskId,
        snapshot: SubtaskSnapshot,
    ) {
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        let is_known = running.subtasks.contains(&subtask) && !running.is_logging();
        if let Some(pending) = &mut running.pending
            && pending.id == checkpoint
            && is_known
        {
            pending.snapshots.insert(subtask, snapshot);
        }
    }

    pub(super) fn abort_overdue_checkpoint(&mut self) {
        let Phase::Running(running) = &self.phase else {
            return;
        };
        let timeout_ms = self.config.checkpoint_timeout_ms;
        let overdue_ms = running.overdue_ms(timeout_ms);
        if overdue_ms.is_none_or(|overdue_ms| overdue_ms > self.now_ms) {
            return;
        }
        let pending = running.pending.as_ref();
        let is_missing = |subtask: &&SubtaskId| {
            pending.is_some_and(|pending| !pending.snapshots.contains_key(subtask))
        };
        let missing = running.subtasks.iter().find(is_missing);
        let waits_for = missing.map_or_else(
            || "the checkpoint log".to_owned(),
            |subtask| format!("subtask {subtask}, if not others"),
        );
        let reason = format!("not complete after {timeout_ms} ms; it waits for {waits_for}");
        self.abort_checkpoint(None, &reason);
    }

    /// Gives up the checkpoint in flight, or the one named if it is in flight; the job runs on.
    pub(super) fn abort_checkpoint(&mut self, checkpoint: Option<CheckpointId>, reason: &str) {
        let now_ms = self.now_ms;
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        let is_it = |pending: &mut Pending| checkpoint.is_none_or(|id| id == pending.id);
        if running.is_logging() {
            return;
        }
        let Some(pending) = running.pending.take_if(is_it) else {
            return;
        };
        running.settled_ms = Some(now_ms);
        running.failure_count = running.failure_count.saturating_add(1);
        if pending.purpose != Purpose::Periodic {
            let count = running.urgent_failures.map_or(0, |(count, _)| count);
            running.urgent_failures = Some((count.saturating_add(1), now_ms));
        }
        let message = ToWorker::CheckpointAborted {
            attempt: running.attempt,
            checkpoint: pending.id,
        };
        running.tell_all(&message, &mut self.out);
        self.out.push(Action::CheckpointFailed {
            checkpoint: pending.id,
            kind: pending.kind,
            reason: reason.to_owned(),
            failure_count: running.failure_count,
        });
        settle_requests(&pending.requests, pending.id, reason, &mut self.out);
        match pending.purpose {
            Purpose::Stop => self.stop_failed(pending.id, reason),
            Purpose::Rescale => self.rescale_failed(pending.id, reason),
            Purpose::Periodic | Purpose::Savepoint | Purpose::Final => {}
        }
    }
}
