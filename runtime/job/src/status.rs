//! What is known about the job at this moment, for the job API, metrics and progress.
//!
//! ```text
//! driver ── publish(event) ──▶ JobStatus ──▶ view() for the API
//!                                  └───────▶ subscribe() for output and event streams
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_engine::SubtaskMetrics;
use tidegate_protocol::{CheckpointId, LogNumber, Manifest};
use tokio::sync::broadcast;

use crate::job_event::JobEvent;
use crate::model::{
    CheckpointDetail, CheckpointView, FailedCheckpointView, GraphView, JobView, Phase, SettingsView,
};

/// Events that a slow reader may lag behind before it loses some.
const EVENT_BACKLOG: usize = 256;

/// The job as it is now. All methods return at once.
#[derive(Debug)]
pub(crate) struct JobStatus {
    inner: Mutex<Inner>,
    graph: GraphView,
    events: broadcast::Sender<Arc<JobEvent>>,
}

#[derive(Debug)]
struct Inner {
    job: JobView,
    checkpoints: BTreeMap<LogNumber, Manifest>,
    subtasks: Arc<Vec<SubtaskMetrics>>,
    /// What the log goes on from; `None` where that is nothing. Others that are retained may be
    /// newer, if the job was started from elsewhere.
    base: Option<u64>,
    /// When the driver last went through its loop, milliseconds since the epoch.
    alive_ms: i64,
}

impl JobStatus {
    pub(crate) fn new(job: JobView, graph: GraphView) -> Self {
        let inner = Inner {
            alive_ms: job.started_ms,
            job,
            checkpoints: BTreeMap::new(),
            subtasks: Arc::default(),
            base: None,
        };
        Self {
            inner: Mutex::new(inner),
            graph,
            events: broadcast::Sender::new(EVENT_BACKLOG),
        }
    }

    /// Takes an event into account and tells it to all subscribers.
    pub(crate) fn publish(&self, now_ms: i64, event: JobEvent) {
        self.lock().apply(now_ms, &event);
        // Without a subscriber nobody is told; that is no error.
        let _ = self.events.send(Arc::new(event));
    }

    /// Everything that is published from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Arc<JobEvent>> {
        self.events.subscribe()
    }

    /// Takes note of what the log retains now; each of them that can be read was added by itself.
    pub(crate) fn set_retained(&self, retained: &[LogNumber]) {
        self.lock().set_retained(retained);
    }

    /// Takes note of a checkpoint that has completed, and of what the log retains since then:
    /// nobody sees it beside the one that went for it.
    pub(crate) fn complete_checkpoint(
        &self,
        number: LogNumber,
        manifest: Manifest,
        retained: &[LogNumber],
    ) {
        let mut inner = self.lock();
        inner.checkpoints.insert(number, manifest);
        inner.set_retained(retained);
    }

    /// Takes note of a retained checkpoint.
    pub(crate) fn add_checkpoint(&self, number: LogNumber, manifest: Manifest) {
        let mut inner = self.lock();
        inner.checkpoints.insert(number, manifest);
        inner.job.last_checkpoint = inner.newest_checkpoint();
    }

    /// Takes note of the checkpoint that the log goes on from.
    pub(crate) fn set_base(&self, checkpoint: Option<CheckpointId>) {
        self.lock().base = checkpoint.map(CheckpointId::get);
    }

    /// The checkpoint that the next run goes on from, unless it is told otherwise.
    pub(crate) fn base(&self) -> Option<u64> {
        self.lock().base
    }

    /// Takes note of where the job's checkpoints lie.
    pub(crate) fn set_folder(&self, folder: String) {
        self.lock().job.folder = folder;
    }

    /// Changes some of the settings; gives back all of them.
    pub(crate) fn change_settings(&self, change: impl FnOnce(&mut SettingsView)) -> SettingsView {
        let mut inner = self.lock();
        change(&mut inner.job.settings);
        inner.job.settings.clone()
    }

    /// Takes note of the newest attempt's counters.
    pub(crate) fn set_subtasks(&self, subtasks: Vec<SubtaskMetrics>) {
        self.lock().subtasks = Arc::new(subtasks);
    }

    pub(crate) fn set_parallelism(&self, parallelism: u32) {
        self.lock().job.parallelism = parallelism;
    }

    /// Says that the driver is at work.
    pub(crate) fn set_alive(&self, now_ms: i64) {
        self.lock().alive_ms = now_ms;
    }

    pub(crate) fn view(&self) -> JobView {
        self.lock().job.clone()
    }

    pub(crate) fn graph(&self) -> &GraphView {
        &self.graph
    }

    pub(crate) fn subtasks(&self) -> Arc<Vec<SubtaskMetrics>> {
        Arc::clone(&self.lock().subtasks)
    }

    pub(crate) fn alive_ms(&self) -> i64 {
        self.lock().alive_ms
    }

    /// Every retained checkpoint, newest first.
    pub(crate) fn checkpoints(&self) -> Vec<CheckpointView> {
        let inner = self.lock();
        let entries = inner.checkpoints.iter().rev();
        entries
            .map(|(number, manifest)| CheckpointView::new(*number, manifest))
            .collect()
    }

    /// One retained checkpoint.
    pub(crate) fn checkpoint(&self, id: u64) -> Option<CheckpointDetail> {
        let inner = self.lock();
        let mut entries = inner.checkpoints.iter().rev();
        let (number, manifest) = entries.find(|(_, it)| it.checkpoint.get() == id)?;
        Some(CheckpointDetail::new(*number, manifest))
    }

    /// The entries that cannot be read, if they may hold this checkpoint.
    pub(crate) fn damaged_with(&self, id: u64) -> Option<Vec<u64>> {
        let job = &self.lock().job;
        let is_below = job.damaged_below.is_none_or(|below| id < below);
        (is_below && !job.damaged_entries.is_empty()).then(|| job.damaged_entries.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change below is a plain assignment, whole whatever panicked beside it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn set_retained(&mut self, retained: &[LogNumber]) {
        self.checkpoints
            .retain(|number, _| retained.contains(number));
        self.note_damaged(retained);
        self.job.last_checkpoint = self.newest_checkpoint();
    }

    /// What is retained but was not read. Ids ascend in the log, so what a later entry has bounds
    /// them; it counts on when that one is retained no more.
    fn note_damaged(&mut self, retained: &[LogNumber]) {
        let unread = retained.iter().copied();
        let unread: Vec<_> = unread
            .filter(|number| !self.checkpoints.contains_key(number))
            .collect();
        let numbers: Vec<_> = unread.iter().map(|number| number.get()).collect();
        if numbers != self.job.damaged_entries {
            self.job.damaged_entries = numbers;
            self.job.damaged_below = None;
        }
        let Some(highest) = unread.last() else {
            return;
        };
        let mut later = self.checkpoints.range(highest.next()..);
        let later = later.next().map(|(_, manifest)| manifest.checkpoint.get());
        self.job.damaged_below = self.job.damaged_below.or(later);
    }

    fn newest_checkpoint(&self) -> Option<CheckpointView> {
        let (number, manifest) = self.checkpoints.last_key_value()?;
        Some(CheckpointView::new(*number, manifest))
    }

    fn apply(&mut self, now_ms: i64, event: &JobEvent) {
        let job = &mut self.job;
        match event {
            JobEvent::Started { .. } | JobEvent::Notice { .. } => {}
            JobEvent::Warning { message } => job.warnings.push(message.clone()),
            JobEvent::PhaseChanged { phase } => {
                if job.phase.phase != phase.phase {
                    job.phase_since_ms = now_ms;
                }
                // The attempt's fence counts, and says what the log goes on from.
                if phase.phase == Phase::Restoring {
                    self.base = phase.restored_checkpoint;
                }
                job.phase = phase.clone();
            }
            JobEvent::CheckpointCompleted { checkpoint } => {
                job.completed_checkpoint_count += 1;
                job.failing_checkpoint_count = 0;
                job.last_checkpoint = Some(checkpoint.clone());
                self.base = Some(checkpoint.id);
            }
            JobEvent::CheckpointFailed {
                id,
                reason,
                failure_count,
                ..
            } => {
                job.failed_checkpoint_count += 1;
                job.failing_checkpoint_count = *failure_count;
                job.last_failed_checkpoint = Some(FailedCheckpointView {
                    time_ms: now_ms,
                    id: *id,
                    reason: reason.clone(),
                });
            }
            JobEvent::StoreUnavailable { .. } => {}
            JobEvent::AttemptFailed { failure } => job.last_failure = Some(failure.clone()),
            JobEvent::Progress { progress, .. } => job.progress = progress.clone(),
            JobEvent::Ended {
                phase,
                reason,
                category,
                ..
            } => {
                job.phase_since_ms = now_ms;
                job.phase.phase = *phase;
                job.phase.reason.clone_from(reason);
                job.phase.category.clone_from(category);
                job.phase.restart_ms = None;
            }
        }
    }
}

/// A job that has just begun, for tests.
#[cfg(test)]
pub(crate) fn example() -> JobStatus {
    let job = serde_json::json!({
        "namespace": "n", "name": "j", "folder": "f", "phase": "Starting", "restartCount": 0,
        "parallelism": 1, "maxParallelism": 128, "startedMs": 5, "phaseSinceMs": 5,
        "results": [], "version": "1", "processRestartCount": 0,
        "settings": {"retainedCheckpoints": 3, "logLevel": "Warn"},
        "completedCheckpointCount": 0, "failedCheckpointCount": 0, "warnings": [],
        "failingCheckpointCount": 0, "progress": crate::model::ProgressView::default(),
    });
    let graph = GraphView {
        operators: Vec::new(),
    };
    JobStatus::new(serde_json::from_value(job).unwrap(), graph)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PhaseView;

    #[test]
    fn a_phase_lasts_until_another_one_begins() {
        let status = example();
        let since_ms = |now_ms: i64, phase: Phase, restart_count: u32| {
            let phase = PhaseView::new(phase, restart_count);
            let event = JobEvent::PhaseChanged { phase };
            status.publish(now_ms, event);
            status.view().phase_since_ms
        };
        assert_eq!(since_ms(10, Phase::Running, 0), 10);
        assert_eq!(since_ms(20, Phase::Running, 1), 10);
        assert_eq!(since_ms(30, Phase::BackingOff, 1), 30);
        assert_eq!(since_ms(40, Phase::Running, 1), 40);
    }
}
