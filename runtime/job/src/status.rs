//! What is known about the job at this moment, for the job API, metrics and progress.
//!
//! ```text
//! driver ── publish(event) ──▶ JobStatus ──▶ view() for the API
//!                                  └───────▶ subscribe() for output and event streams
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_engine::SubtaskMetrics;
use tidegate_protocol::{Entry, LogNumber};
use tokio::sync::broadcast;

use crate::job_event::JobEvent;
use crate::model::{CheckpointDetail, CheckpointView, GraphView, JobView};

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
    checkpoints: BTreeMap<LogNumber, Entry>,
    subtasks: Arc<Vec<SubtaskMetrics>>,
    /// When the driver last went through its loop, milliseconds since the epoch.
    alive_ms: i64,
    /// When the current phase began.
    phase_ms: i64,
}

impl JobStatus {
    pub(crate) fn new(job: JobView, graph: GraphView) -> Self {
        let inner = Inner {
            alive_ms: job.started_ms,
            phase_ms: job.started_ms,
            job,
            checkpoints: BTreeMap::new(),
            subtasks: Arc::default(),
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

    /// Takes note of an entry of the log that names what is retained.
    pub(crate) fn set_retained(&self, retained: &[LogNumber]) {
        self.lock()
            .checkpoints
            .retain(|number, _| retained.contains(number));
    }

    /// Takes note of a retained checkpoint.
    pub(crate) fn add_checkpoint(&self, entry: Entry) {
        let mut inner = self.lock();
        inner.checkpoints.insert(entry.number, entry);
        inner.job.last_checkpoint = inner.newest_checkpoint();
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

    pub(crate) fn phase_ms(&self) -> i64 {
        self.lock().phase_ms
    }

    /// Every retained checkpoint, newest first.
    pub(crate) fn checkpoints(&self) -> Vec<CheckpointView> {
        let inner = self.lock();
        let entries = inner.checkpoints.values().rev();
        let view = |entry: &Entry| Some(CheckpointView::new(entry.number, entry.manifest()?));
        entries.filter_map(view).collect()
    }

    /// One retained checkpoint.
    pub(crate) fn checkpoint(&self, id: u64) -> Option<CheckpointDetail> {
        let inner = self.lock();
        inner.checkpoints.values().rev().find_map(|entry| {
            let manifest = entry
                .manifest()
                .filter(|manifest| manifest.checkpoint.get() == id)?;
            Some(CheckpointDetail::new(entry.number, manifest))
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change below is a plain assignment, whole whatever panicked beside it.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn newest_checkpoint(&self) -> Option<CheckpointView> {
        let (number, entry) = self.checkpoints.last_key_value()?;
        Some(CheckpointView::new(*number, entry.manifest()?))
    }

    fn apply(&mut self, now_ms: i64, event: &JobEvent) {
        let job = &mut self.job;
        match event {
            JobEvent::Started { .. } | JobEvent::Notice { .. } => {}
            JobEvent::Warning { message } => job.warnings.push(message.clone()),
            JobEvent::PhaseChanged { phase } => {
                if job.phase.phase != phase.phase {
                    self.phase_ms = now_ms;
                }
                job.phase = phase.clone();
            }
            JobEvent::CheckpointCompleted { checkpoint } => {
                job.completed_checkpoint_count += 1;
                job.failing_checkpoint_count = 0;
                job.last_checkpoint = Some(checkpoint.clone());
            }
            JobEvent::CheckpointFailed { failure_count, .. } => {
                job.failed_checkpoint_count += 1;
                job.failing_checkpoint_count = *failure_count;
            }
            JobEvent::StoreUnavailable { .. } => {}
            JobEvent::AttemptFailed { failure } => job.last_failure = Some(failure.clone()),
            JobEvent::Progress { progress, .. } => job.progress = progress.clone(),
            JobEvent::Ended { phase, reason, .. } => {
                self.phase_ms = now_ms;
                job.phase.phase = *phase;
                job.phase.reason.clone_from(reason);
                job.phase.restart_ms = None;
            }
        }
    }
}
