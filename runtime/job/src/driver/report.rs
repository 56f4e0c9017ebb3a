//! What the coordinator and the worker report, as events for people and programs.

use std::time::{Duration, Instant};

use tidegate_protocol::{Entry, Event, FromWorker, JobOutcome, JobState};

use super::Driver;
use crate::clock::system_ms;
use crate::job_event::JobEvent;
use crate::model::{CheckpointView, FailureView, Phase, PhaseView};

/// How long a job that is over waits for deletions under way.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

impl Driver {
    pub(super) fn report_state(&mut self, state: &JobState) {
        let restart_count = self.status.view().phase.restart_count;
        let new = |phase| PhaseView::new(phase, restart_count);
        let phase = match state {
            JobState::Starting => new(Phase::Starting),
            JobState::Restoring {
                attempt,
                checkpoint,
            } => PhaseView {
                attempt: Some(attempt.get()),
                restored_checkpoint: checkpoint.map(|id| id.get()),
                ..new(Phase::Restoring)
            },
            JobState::Running { attempt, restored } => PhaseView {
                attempt: Some(attempt.get()),
                restored_checkpoint: restored.map(|id| id.get()),
                ..new(Phase::Running)
            },
            JobState::BackingOff {
                until_ms,
                reason,
                restart_count,
            } => PhaseView {
                reason: Some(reason.clone()),
                restart_ms: Some(*until_ms),
                restart_count: *restart_count,
                ..new(Phase::BackingOff)
            },
            JobState::Stopping { attempt } => PhaseView {
                attempt: Some(attempt.get()),
                reason: Some(self.stop_reason().to_owned()),
                ..new(Phase::Stopping)
            },
        };
        self.status.set_subtasks(self.worker.metrics());
        self.publish(JobEvent::PhaseChanged { phase });
    }

    const fn stop_reason(&self) -> &'static str {
        if self.is_asked_to_stop {
            "asked to stop"
        } else {
            "all input is read"
        }
    }

    pub(super) fn report_completed(&mut self, entry: Entry) {
        let Some(manifest) = entry.manifest() else {
            return;
        };
        let checkpoint = CheckpointView::new(entry.number, manifest);
        let retained = entry.retained.clone();
        self.status.add_checkpoint(entry);
        self.status.set_retained(&retained);
        self.publish(JobEvent::CheckpointCompleted { checkpoint });
    }

    /// Checkpoints that the coordinator reads at its start are retained ones.
    pub(super) fn note_entry(&self, event: &Event) {
        if let Event::EntryRead {
            entry: Ok(Some(entry)),
            ..
        } = event
            && entry.manifest().is_some()
        {
            self.status.add_checkpoint(entry.as_ref().clone());
        }
    }

    pub(super) fn report_failure(&mut self, message: &FromWorker) {
        let FromWorker::Failed {
            subtask,
            operator,
            message,
            is_permanent,
            ..
        } = message
        else {
            return;
        };
        let failure = FailureView {
            time_ms: system_ms(),
            operator: operator.clone(),
            subtask: subtask.map(|subtask| subtask.to_string()),
            message: message.clone(),
            is_permanent: *is_permanent,
        };
        self.publish(JobEvent::AttemptFailed { failure });
    }

    pub(super) fn report_progress(&mut self, now: Instant) {
        let subtasks = self.worker.metrics();
        let progress = self.meter.look(now, &subtasks);
        self.status.set_subtasks(subtasks);
        let view = self.status.view();
        self.publish(JobEvent::Progress {
            progress,
            last_checkpoint: view.last_checkpoint,
            restart_count: view.phase.restart_count,
        });
    }

    /// Tells the end, once everything before it is told.
    pub(super) async fn end(&mut self, outcome: &JobOutcome) {
        let progress = self.meter.look(Instant::now(), &self.worker.metrics());
        let view = self.status.view();
        let latest = view.last_checkpoint.map(|checkpoint| checkpoint.id);
        let (phase, reason, checkpoint) = match outcome {
            JobOutcome::Finished { checkpoint } => (
                Phase::Finished,
                None,
                checkpoint.map(|id| id.get()).or(latest),
            ),
            JobOutcome::Stopped { savepoint } => (
                Phase::Stopped,
                None,
                savepoint.map(|id| id.get()).or(latest),
            ),
            JobOutcome::Fenced { by } => {
                let reason = format!(
                    "another process has taken this job over (log entry {by}); this one stopped \
                     and committed nothing since"
                );
                (Phase::Fenced, Some(reason), latest)
            }
            JobOutcome::Failed { reason } => (Phase::Failed, Some(reason.clone()), latest),
        };
        let duration_ms = u64::try_from(system_ms() - view.started_ms).unwrap_or(0);
        self.publish(JobEvent::Ended {
            phase,
            reason,
            checkpoint,
            results: view.results,
            progress,
            duration_ms,
        });
        self.store.drain(DRAIN_LIMIT).await;
    }
}
