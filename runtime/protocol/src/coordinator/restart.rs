//! The end of an attempt: failure, cancellation, backoff; and the end of the job.

use std::collections::BTreeSet;

use super::outbox::Outbox;
use super::running::{Running, Stage, Writing};
use super::{Coordinator, Phase};
use crate::{
    Action, Attempt, CheckpointId, FailureCategory, JobOutcome, JobState, SubtaskId, ToWorker,
    WorkerId,
};

/// How long a worker may take to drop its tasks before it is counted as lost.
const CANCEL_TIMEOUT_MS: i64 = 60_000;

/// What follows a cancellation.
#[derive(Debug)]
enum Next {
    BackOff {
        wait_ms: i64,
        reason: String,
        category: FailureCategory,
    },
    Reopen,
}

/// Workers that still have tasks of a given-up attempt.
#[derive(Debug)]
pub(super) struct Cancelling {
    attempt: Attempt,
    workers: BTreeSet<WorkerId>,
    pub(super) deadline_ms: i64,
    next: Next,
}

/// The wait before the next attempt.
#[derive(Debug)]
pub(super) struct BackingOff {
    pub(super) until_ms: i64,
}

/// A failure for people: which operator, or else which subtask or worker.
pub(super) fn describe(
    worker: WorkerId,
    subtask: Option<SubtaskId>,
    operator: Option<&str>,
    message: &str,
) -> String {
    match (operator, subtask) {
        (Some(operator), Some(subtask)) => {
            format!("operator `{operator}` (subtask {subtask}): {message}")
        }
        (Some(operator), None) => format!("operator `{operator}`: {message}"),
        (None, Some(subtask)) => format!("subtask {subtask}: {message}"),
        (None, None) => format!("worker {worker}: {message}"),
    }
}

/// Answers those who asked for a savepoint that failed.
pub(super) fn settle_requests(
    requests: &[u64],
    checkpoint: CheckpointId,
    reason: &str,
    out: &mut Outbox,
) {
    for request in requests {
        out.push(Action::CommandDone {
            request: *request,
            result: Err(format!("savepoint {checkpoint} failed: {reason}")),
        });
    }
}

impl Running {
    /// Tells those who wait for the checkpoint or the append in flight that the attempt ends.
    fn settle(&mut self, reason: &str, out: &mut Outbox) {
        if let Some(pending) = self.pending.take() {
            out.push(Action::CheckpointFailed {
                checkpoint: pending.id,
                kind: pending.kind,
                reason: reason.to_owned(),
                failure_count: self.failure_count.saturating_add(1),
            });
            settle_requests(&pending.requests, pending.id, reason, out);
        }
        if let Some((_, Writing::Release(requests))) = self.write.take() {
            for (request, checkpoint) in requests {
                let result = Err(format!(
                    "whether checkpoint {checkpoint} is released is open ({reason}); ask again"
                ));
                out.push(Action::CommandDone { request, result });
            }
        }
    }
}

impl Coordinator {
    pub(super) fn worker_lost(&mut self, worker: WorkerId, reason: String) {
        self.workers.remove(&worker);
        match &mut self.phase {
            Phase::Running(running) if running.workers.contains(&worker) => {
                running.workers.remove(&worker);
                let reason = format!("worker {worker} was lost: {reason}");
                self.fail_attempt(reason, FailureCategory::ProgramFailed, false);
            }
            Phase::Cancelling(cancelling) => {
                cancelling.workers.remove(&worker);
                self.end_cancelling();
            }
            _ => {}
        }
    }

    /// Ends the attempt for a failure: a new one follows, unless trying again cannot help.
    pub(super) fn fail_attempt(
        &mut self,
        reason: String,
        category: FailureCategory,
        is_permanent: bool,
    ) {
        let now_ms = self.now_ms;
        let Phase::Running(running) = &mut self.phase else {
            return;
        };
        let last_checkpoint = running.last_checkpoint();
        running.settle(&reason, &mut self.out);
        // A file that is damaged or gone stays so until somebody acts.
        if is_permanent || category == FailureCategory::CheckpointUnreadable {
            return self.finish(JobOutcome::Failed { category, reason });
        }
        let ran_ms = match running.stage {
            Stage::Running { since_ms } => Some(now_ms - since_ms),
            Stage::WaitingForSlots | Stage::Restoring { .. } | Stage::Committing { .. } => None,
        };
        match self.budget.take(&self.config.restart, ran_ms) {
            Some(wait_ms) => {
                // Who asked for it must not be told that the job stopped as asked.
                if let Some(checkpoint) = last_checkpoint {
                    self.refuse_stop(checkpoint, &reason);
                }
                self.begin_cancelling(Next::BackOff {
                    wait_ms,
                    reason,
                    category,
                });
            }
            None => {
                let count = self.budget.restart_count();
                let reason = format!("after {count} restarts it failed again: {reason}");
                let category = match category {
                    FailureCategory::ProgramFailed => FailureCategory::RestartsExhausted,
                    category => category,
                };
                self.finish(JobOutcome::Failed { category, reason });
            }
        }
    }

    /// Ends the attempt for a new one that follows at once.
    pub(super) fn begin_cancelling_to_reopen(&mut self) {
        if let Phase::Running(running) = &mut self.phase {
            running.settle("a new attempt begins", &mut self.out);
        }
        self.begin_cancelling(Next::Reopen);
    }

    fn begin_cancelling(&mut self, next: Next) {
        let Phase::Running(running) = &self.phase else {
            return;
        };
        let attempt = running.attempt;
        running.tell_all(&ToWorker::Cancel { attempt }, &mut self.out);
        self.phase = Phase::Cancelling(Cancelling {
            attempt,
            workers: running.workers.clone(),
            deadline_ms: self.now_ms + CANCEL_TIMEOUT_MS,
            next,
        });
        self.end_cancelling();
    }

    pub(super) fn cancelled(&mut self, worker: WorkerId, attempt: Attempt) {
        if let Phase::Cancelling(cancelling) = &mut self.phase
            && cancelling.attempt == attempt
        {
            cancelling.workers.remove(&worker);
            self.end_cancelling();
        }
    }

    fn end_cancelling(&mut self) {
        let Phase::Cancelling(cancelling) = &self.phase else {
            return;
        };
        if !cancelling.workers.is_empty() {
            return;
        }
        match &cancelling.next {
            Next::Reopen => self.begin_reading(),
            Next::BackOff {
                wait_ms,
                reason,
                category,
            } => {
                let until_ms = self.now_ms.saturating_add(*wait_ms);
                let state = JobState::BackingOff {
                    until_ms,
                    reason: reason.clone(),
                    category: *category,
                    restart_count: self.budget.restart_count(),
                };
                self.phase = Phase::BackingOff(BackingOff { until_ms });
                self.report(state);
            }
        }
    }

    /// A worker that does not drop its tasks in time gets no new ones.
    pub(super) fn give_up_cancelling(&mut self) {
        let Phase::Cancelling(cancelling) = &mut self.phase else {
            return;
        };
        if cancelling.deadline_ms > self.now_ms {
            return;
        }
        let hung = std::mem::take(&mut cancelling.workers);
        self.workers.retain(|worker, _| !hung.contains(worker));
        if self.workers.is_empty() {
            let seconds = CANCEL_TIMEOUT_MS / 1_000;
            let reason = format!(
                "no worker dropped its tasks within {seconds} s, so none can take new ones; end \
                 the process and start the job again"
            );
            let category = FailureCategory::TasksHung;
            return self.finish(JobOutcome::Failed { category, reason });
        }
        self.end_cancelling();
    }

    /// The job is over: everybody is told, nothing follows.
    pub(super) fn finish(&mut self, outcome: JobOutcome) {
        if let Phase::Running(running) = &mut self.phase {
            running.settle("the job ends", &mut self.out);
            let attempt = running.attempt;
            running.tell_all(&ToWorker::Cancel { attempt }, &mut self.out);
        }
        self.settle_wishes(&outcome);
        self.phase = Phase::Over;
        self.out.push(Action::Finish(outcome));
    }
}
