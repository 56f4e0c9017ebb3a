//! An attempt whose fence counts: placement, restore, what its subtasks have told.

use std::collections::BTreeSet;

use super::checkpoint::Pending;
use super::log_append::{AppendProgress, LogAppend};
use super::outbox::Outbox;
use super::placement::place;
use super::restore::plan_restore;
use super::retention::LogView;
use super::{Coordinator, Phase};
use crate::{
    AppendOutcome, Attempt, CheckpointId, Deployment, Entry, FailureCategory, JobOutcome, JobState,
    LogNumber, Parallelism, SubtaskId, ToWorker, WorkerId,
};

/// How far the attempt is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Too few slots yet.
    WaitingForSlots,
    /// Not every worker runs yet.
    Restoring { pending: BTreeSet<WorkerId> },
    /// Every subtask runs.
    Running { since_ms: i64 },
    /// The last checkpoint is complete; these workers' sinks have not committed it yet.
    Committing {
        pending: BTreeSet<WorkerId>,
        outcome: JobOutcome,
        /// Until when the end waits for a collection.
        collect_until_ms: i64,
    },
}

/// Why an entry is appended.
#[derive(Debug)]
pub(super) enum Writing {
    /// The pending checkpoint's manifest.
    Checkpoint,
    /// Released checkpoints, each with its command's number.
    Release(Vec<(u64, CheckpointId)>),
}

/// One attempt.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) attempt: Attempt,
    pub(super) log: LogView,
    pub(super) stage: Stage,
    pub(super) parallelism: Option<Parallelism>,
    pub(super) restored: Option<CheckpointId>,
    pub(super) workers: BTreeSet<WorkerId>,
    pub(super) subtasks: BTreeSet<SubtaskId>,
    pub(super) ended: BTreeSet<SubtaskId>,
    pub(super) pending: Option<Pending>,
    pub(super) write: Option<(LogAppend, Writing)>,
    pub(super) next_checkpoint: CheckpointId,
    /// When the last checkpoint was triggered; the begin of the attempt at first.
    pub(super) triggered_ms: i64,
    /// When the last one ended, well or not.
    pub(super) settled_ms: Option<i64>,
    /// Checkpoints that failed since one completed.
    pub(super) failure_count: u32,
    /// How many of them somebody waited for, and when the last of these failed.
    pub(super) urgent_failures: Option<(u32, i64)>,
}

impl Running {
    pub(super) fn new(log: LogView) -> Self {
        let restored = log.base_manifest().map(|manifest| manifest.checkpoint);
        // Above the restored one too, which may be another job's: ids tell workers what is older.
        let greatest = log.greatest_checkpoint.max(restored);
        Self {
            attempt: Attempt::of_fence(log.head),
            stage: Stage::WaitingForSlots,
            parallelism: None,
            restored,
            log,
            workers: BTreeSet::new(),
            subtasks: BTreeSet::new(),
            ended: BTreeSet::new(),
            pending: None,
            write: None,
            next_checkpoint: greatest.map_or(CheckpointId::FIRST, CheckpointId::next),
            triggered_ms: 0,
            settled_ms: None,
            failure_count: 0,
            urgent_failures: None,
        }
    }

    /// Whether a message of this worker about this attempt concerns the attempt that runs.
    pub(super) fn expects(&self, worker: WorkerId, attempt: Attempt) -> bool {
        let is_own = attempt == self.attempt || super::planted::planted!(IgnoreAttempt);
        is_own && self.workers.contains(&worker)
    }

    pub(super) const fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running { .. })
    }

    pub(super) fn has_ended(&self) -> bool {
        self.is_running() && self.ended.len() == self.subtasks.len()
    }

    pub(super) fn tell_all(&self, message: &ToWorker, out: &mut Outbox) {
        for worker in &self.workers {
            out.send(*worker, message.clone());
        }
    }

    pub(super) fn retry_log(&mut self, now_ms: i64, out: &mut Outbox) {
        if let Some((append, _)) = &mut self.write {
            append.on_time(now_ms, out);
        }
    }

    pub(super) fn on_listed(
        &mut self,
        now_ms: i64,
        request: u64,
        numbers: Result<Vec<LogNumber>, String>,
    ) -> AppendProgress {
        match &mut self.write {
            Some((append, _)) => append.on_listed(now_ms, request, numbers),
            None => AppendProgress::Waiting,
        }
    }

    pub(super) fn on_read(
        &mut self,
        now_ms: i64,
        request: u64,
        entry: Result<Option<Box<Entry>>, String>,
        out: &mut Outbox,
    ) -> AppendProgress {
        match &mut self.write {
            Some((append, _)) => append.on_read(now_ms, request, entry, out),
            None => AppendProgress::Waiting,
        }
    }

    pub(super) fn on_appended(
        &mut self,
        now_ms: i64,
        request: u64,
        outcome: AppendOutcome,
        out: &mut Outbox,
    ) -> AppendProgress {
        match &mut self.write {
            Some((append, _)) => append.on_appended(now_ms, request, outcome, out),
            None => AppendProgress::Waiting,
        }
    }

    fn deploy(&mut self, deployment: Deployment, now_ms: i64, out: &mut Outbox) {
        self.parallelism = Some(deployment.parallelism);
        self.triggered_ms = now_ms;
        self.subtasks = deployment
            .subtasks
            .iter()
            .map(|deployed| deployed.subtask)
            .collect();
        self.workers = deployment
            .subtasks
            .iter()
            .map(|deployed| deployed.worker)
            .collect();
        self.stage = Stage::Restoring {
            pending: self.workers.clone(),
        };
        self.tell_all(&ToWorker::Deploy(Box::new(deployment)), out);
    }
}

impl Coordinator {
    /// Deploys as soon as there are slots enough.
    pub(super) fn advance_deployment(&mut self) {
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        if running.stage != Stage::WaitingForSlots {
            return;
        }
        let Some(placement) = place(self.parallelism, &self.workers) else {
            return;
        };
        let manifest = running.log.base_manifest();
        match plan_restore(&self.plan, manifest, running.attempt, &placement) {
            Ok(deployment) => {
                running.deploy(deployment, self.now_ms, &mut self.out);
                let state = JobState::Restoring {
                    attempt: running.attempt,
                    checkpoint: running.restored,
                };
                self.report(state);
            }
            Err(error) => {
                let category = FailureCategory::StateIncompatible;
                let reason = error.to_string();
                self.finish(JobOutcome::Failed { category, reason });
            }
        }
    }

    pub(super) fn worker_runs(&mut self, worker: WorkerId) {
        let now_ms = self.now_ms;
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        let Stage::Restoring { pending } = &mut running.stage else {
            return;
        };
        pending.remove(&worker);
        if !pending.is_empty() {
            return;
        }
        running.stage = Stage::Running { since_ms: now_ms };
        running.triggered_ms = now_ms;
        let (attempt, restored) = (running.attempt, running.restored);
        self.report(JobState::Running { attempt, restored });
        self.rescaled(restored);
    }

    pub(super) fn subtask_ended(&mut self, subtask: SubtaskId) {
        if let Phase::Running(running) = &mut self.phase
            && running.subtasks.contains(&subtask)
        {
            running.ended.insert(subtask);
        }
    }
}
