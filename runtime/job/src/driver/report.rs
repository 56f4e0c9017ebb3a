//! What the coordinator and the worker report, as events for people and programs.

use std::time::Instant;

use tidegate_protocol::{Entry, EntryBody, Event, FromWorker, JobState};

use super::Driver;
use crate::clock::system_ms;
use crate::job_event::JobEvent;
use crate::model::{CheckpointView, FailureView, Phase, PhaseView};

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
                category,
                restart_count,
            } => PhaseView {
                reason: Some(reason.clone()),
                category: Some(category.to_string()),
                restart_ms: Some(*until_ms),
                restart_count: self.earlier_restarts + *restart_count,
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
        self.status
            .complete_checkpoint(entry.number, manifest.clone(), &entry.retained);
        self.publish(JobEvent::CheckpointCompleted { checkpoint });
    }

    /// Checkpoints that the coordinator reads at its start are retained ones.
    pub(super) fn note_entry(&self, event: &Event) {
        if let Event::EntryRead {
            entry: Ok(Some(entry)),
            ..
        } = event
            && let Some(manifest) = entry.manifest()
        {
            self.status.add_checkpoint(entry.number, manifest.clone());
        }
    }

    /// A fence names what the log retains as it is read, whether it comes to count or not: other
    /// checkpoints than before, if an attempt did not learn what became of its last entry.
    pub(super) fn note_fence(&self, entry: &Entry) {
        if matches!(entry.body, EntryBody::Fence { .. }) {
            self.status.set_retained(&entry.retained);
        }
    }

    pub(super) fn report_failure(&mut self, message: &FromWorker) {
        let FromWorker::Failed {
            subtask,
            operator,
            message,
            is_permanent,
            category,
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
            category: category.to_string(),
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
}
