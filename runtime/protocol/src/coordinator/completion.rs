//! From the last acknowledgement to the end: manifest, append, commit, collection.

use std::collections::BTreeSet;

use super::checkpoint::Purpose;
use super::log_append::{AppendProgress, LogAppend};
use super::planted::planted;
use super::running::{Running, Stage, Writing};
use super::{Coordinator, Phase};
use crate::{
    Action, Attempt, Base, CheckpointId, Entry, EntryBody, FailureCategory, JobOutcome, LogNumber,
    Manifest, OperatorKind, ToWorker, WorkerId,
};

/// How long the end of the job waits for a collection under way, so that little is left behind.
const COLLECTION_AT_END_MS: i64 = 10_000;

impl Coordinator {
    /// Begins the append that is due, one at a time.
    pub(super) fn advance_log(&mut self) {
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        if running.write.is_some() {
            return;
        }
        if running.is_acknowledged() {
            match running.assemble(&self.plan, self.now_ms) {
                Ok(manifest) => self.begin_append(manifest),
                Err(reason) => self.abort_checkpoint(None, &reason),
            }
        } else {
            self.advance_releases();
        }
    }

    fn begin_append(&mut self, manifest: Manifest) {
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        if planted!(CommitBeforeAppend) {
            let message = ToWorker::CheckpointCompleted {
                attempt: running.attempt,
                checkpoint: manifest.checkpoint,
            };
            running.tell_all(&message, &mut self.out);
        }
        let number = running.log.next_number();
        let keep_count = self.config.retained_checkpoints;
        let retained = running.log.retained_with(number, manifest.kind, keep_count);
        let generation = running.log.start_generation;
        let body = EntryBody::Checkpoint(manifest);
        let entry = self.out.new_entry(number, retained, generation, body);
        let append = LogAppend::begin(entry, Some(running.log.head), &mut self.out);
        running.write = Some((append, Writing::Checkpoint));
    }

    fn advance_releases(&mut self) {
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        if self.wishes.releases.is_empty() {
            return;
        }
        let mut released = BTreeSet::new();
        let mut requests = Vec::new();
        for (request, checkpoint) in self.wishes.releases.drain(..) {
            match running.log.releasable(checkpoint) {
                Ok(number) => {
                    released.insert(number);
                    requests.push((request, checkpoint));
                }
                Err(reason) => {
                    let result = Err(reason);
                    self.out.push(Action::CommandDone { request, result });
                }
            }
        }
        if released.is_empty() {
            return;
        }
        let retained = running.log.named_without(&released);
        let generation = running.log.start_generation;
        let body = EntryBody::Release {
            created_ms: self.now_ms,
            writer: None,
            base: running.log.base.clone(),
        };
        let number = running.log.next_number();
        let mut entry = self.out.new_entry(number, retained, generation, body);
        let greatest = running.log.greatest_checkpoint;
        entry.greatest_checkpoint = greatest.map_or(0, CheckpointId::get);
        let append = LogAppend::begin(entry, Some(running.log.head), &mut self.out);
        running.write = Some((append, Writing::Release(requests)));
    }

    /// What an answer of the store meant to the append under way.
    pub(super) fn writing(&mut self, progress: AppendProgress) {
        match progress {
            AppendProgress::Waiting => {}
            AppendProgress::Unavailable {
                reason,
                failure_count,
            } => self.out.push(Action::LogUnavailable {
                reason,
                failure_count,
            }),
            AppendProgress::Lost { by } => self.finish(JobOutcome::Fenced { by }),
            AppendProgress::GaveUp { reason } => {
                if planted!(TreatUnknownAsFailed)
                    && let Phase::Running(running) = &mut self.phase
                {
                    running.write = None;
                    return self.abort_checkpoint(None, &reason);
                }
                let reason = format!("the checkpoint log could not be written: {reason}");
                self.fail_attempt(reason, FailureCategory::StorageUnavailable, false);
            }
            AppendProgress::Counted { numbers } => self.counted(numbers),
        }
    }

    fn counted(&mut self, numbers: Vec<LogNumber>) {
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        let Some((append, writing)) = running.write.take() else {
            return;
        };
        let entry = append.into_entry();
        running.log.count(entry.clone(), numbers);
        self.collection.is_due = true;
        match writing {
            Writing::Checkpoint => self.completed(entry),
            Writing::Release(requests) => {
                let retained = entry.retained;
                self.out.push(Action::CheckpointsReleased { retained });
                for (request, checkpoint) in requests {
                    let result = Ok(Some(checkpoint));
                    self.out.push(Action::CommandDone { request, result });
                }
            }
        }
    }

    /// The pending checkpoint's entry counts.
    fn completed(&mut self, entry: Entry) {
        let now_ms = self.now_ms;
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        let Some(pending) = running.pending.take() else {
            return;
        };
        running.settled_ms = Some(now_ms);
        running.failure_count = 0;
        running.urgent_failures = None;
        let message = ToWorker::CheckpointCompleted {
            attempt: running.attempt,
            checkpoint: pending.id,
        };
        running.tell_all(&message, &mut self.out);
        let entry = Box::new(entry);
        self.out.push(Action::CheckpointCompleted { entry });
        for request in pending.requests {
            let result = Ok(Some(pending.id));
            self.out.push(Action::CommandDone { request, result });
        }
        let checkpoint = Some(pending.id);
        match pending.purpose {
            Purpose::Periodic | Purpose::Savepoint => {}
            Purpose::Rescale => self.rescale_from_checkpoint(),
            Purpose::Final => self.begin_committing(JobOutcome::Finished { checkpoint }),
            Purpose::Stop => {
                if let Some(stop) = &mut self.wishes.stop {
                    stop.savepoint = checkpoint;
                }
                let savepoint = checkpoint;
                self.begin_committing(JobOutcome::Stopped { savepoint });
            }
        }
    }

    fn begin_committing(&mut self, outcome: JobOutcome) {
        let has_sinks = self
            .plan
            .operators()
            .any(|plan| plan.kind == OperatorKind::Sink);
        if let Phase::Running(running) = &mut self.phase {
            let awaits_commits = has_sinks && !planted!(FinishBeforeCommit);
            let pending = if awaits_commits {
                running.workers.clone()
            } else {
                BTreeSet::new()
            };
            running.stage = Stage::Committing {
                pending,
                outcome,
                collect_until_ms: self.now_ms + COLLECTION_AT_END_MS,
            };
        }
    }

    pub(super) fn committed(&mut self, worker: WorkerId, checkpoint: CheckpointId) {
        if let Phase::Running(running) = &mut self.phase
            && let Stage::Committing { pending, .. } = &mut running.stage
            && checkpoint.next() >= running.next_checkpoint
        {
            pending.remove(&worker);
        }
    }

    /// Ends the job once nothing is left to do.
    pub(super) fn advance_end(&mut self) {
        let Phase::Running(running) = &self.phase else {
            return;
        };
        let stop = self.wishes.stop.as_ref();
        let outcome = match &running.stage {
            Stage::Committing {
                pending,
                outcome,
                collect_until_ms,
            } if pending.is_empty() => {
                let is_collecting = self.collection.request.is_some() || self.collection.is_due;
                if is_collecting && *collect_until_ms > self.now_ms {
                    return;
                }
                outcome.clone()
            }
            // The last checkpoint was complete before this attempt, which committed it by
            // restoring.
            Stage::Running { .. } if stop.is_some_and(|stop| stop.savepoint.is_some()) => {
                let savepoint = running.restored;
                JobOutcome::Stopped { savepoint }
            }
            Stage::Running { .. } if running.has_nothing_left() => {
                let checkpoint = running.restored;
                JobOutcome::Finished { checkpoint }
            }
            _ => return,
        };
        self.finish(outcome);
    }

    /// Collects what nothing refers to, one collection at a time. A collection may sleep for hours
    /// and still harms nothing: it spares every file of a checkpoint that is pending or to come.
    pub(super) fn advance_collection(&mut self) {
        let Phase::Running(running) = &self.phase else {
            return;
        };
        if !self.collection.is_due || self.collection.request.is_some() {
            return;
        }
        let garbage = running.log.garbage();
        let (mut attempt, mut keep_from) = (running.attempt, running.keep_from());
        if planted!(CollectRunningCheckpoint) {
            keep_from = CheckpointId::new(u64::MAX).unwrap_or(keep_from);
        }
        if planted!(CollectNewerAttempts) {
            attempt = Attempt::new(u64::MAX).unwrap_or(attempt);
        }
        let request = self.out.next_request();
        self.collection.request = Some(request);
        self.collection.is_due = false;
        self.out.push(Action::CollectGarbage {
            request,
            entries: garbage.entries,
            keep_files: garbage.keep_files,
            keep_from,
            attempt,
            keep_before: garbage.keep_before,
        });
    }
}

impl Running {
    /// The first checkpoint that is not settled yet.
    fn keep_from(&self) -> CheckpointId {
        self.pending
            .as_ref()
            .map_or(self.next_checkpoint, |pending| pending.id)
    }

    /// Whether the log retains the final checkpoint already and every subtask has ended anew.
    fn has_nothing_left(&self) -> bool {
        let is_own = matches!(self.log.base, Base::Checkpoint(_));
        let is_final = self
            .log
            .base_manifest()
            .is_some_and(|manifest| manifest.is_final);
        is_own && is_final && self.has_ended() && self.pending.is_none()
    }
}
