//! A worker: takes the coordinator's messages and runs its share of an attempt's subtasks.
//!
//! It knows no log and decides nothing: what it is told to deploy, it restores and runs, and it
//! says what became of it.

mod deploy;
mod launch;
mod splits;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use tidegate_protocol::{Attempt, CheckpointId, FromWorker, OperatorId, OperatorKind, ToWorker};
use tidegate_storage::JobFolder;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{oneshot, watch};

use crate::chunk::Barrier;
use crate::error::{BoxError, category, describe, is_permanent, panic_message};
use crate::graph::JobGraph;
use crate::metrics::OperatorMetrics;
use crate::task::{CommitTracker, Control, Slots};

/// What a worker is made with.
#[derive(Clone)]
pub struct WorkerConfig {
    /// Compute threads at most; an attempt's parallelism may not be higher.
    pub slot_count: u32,
    /// The runtime that storage and network I/O run on.
    pub io: tokio::runtime::Handle,
    /// Where snapshots are written and read; `None`: the job takes no checkpoints.
    pub folder: Option<Arc<JobFolder>>,
}

/// What one operator of one subtask counts.
#[derive(Debug, Clone)]
pub struct SubtaskMetrics {
    /// The operator.
    pub operator: OperatorId,
    /// What it is to the checkpoint protocol.
    pub kind: OperatorKind,
    /// Which of its subtasks.
    pub subtask_index: u32,
    /// The counts; they go on over attempts.
    pub metrics: Arc<OperatorMetrics>,
}

/// The metrics of every operator and subtask that ever ran here, by operator and subtask.
type MetricsMap = Arc<Mutex<HashMap<(OperatorId, u32), SubtaskMetrics>>>;

/// Runs subtasks on compute threads of its own.
pub struct Worker {
    commands: UnboundedSender<WorkerCommand>,
    metrics: MetricsMap,
}

enum WorkerCommand {
    Message(ToWorker),
    Shutdown(oneshot::Sender<()>),
}

impl Worker {
    /// Starts a worker; what it has to say comes out of `events`.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(
        graph: Arc<JobGraph>,
        config: WorkerConfig,
        events: UnboundedSender<FromWorker>,
    ) -> std::io::Result<Self> {
        let (commands, queue) = mpsc::unbounded_channel();
        let metrics = MetricsMap::default();
        let mut slots = Slots::default();
        slots.ensure(1)?;
        let office = Office {
            graph,
            config: config.clone(),
            events,
            slots,
            metrics: Arc::clone(&metrics),
            running: None,
        };
        config.io.spawn(office.run(queue));
        Ok(Self { commands, metrics })
    }

    /// Tells it something; never waits.
    pub fn send(&self, message: ToWorker) {
        let _ = self.commands.send(WorkerCommand::Message(message));
    }

    /// What every operator and subtask of this worker counts, sorted by operator and subtask.
    pub fn metrics(&self) -> Vec<SubtaskMetrics> {
        let metrics = self.metrics.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = metrics.values().cloned().collect();
        all.sort_by(|a, b| (&a.operator, a.subtask_index).cmp(&(&b.operator, b.subtask_index)));
        all
    }

    /// Cancels what runs and ends the compute threads, once user code lets go of them.
    pub async fn shutdown(self) {
        let (done, is_done) = oneshot::channel();
        if self.commands.send(WorkerCommand::Shutdown(done)).is_ok() {
            let _ = is_done.await;
        }
    }
}

/// The attempt that runs.
struct Running {
    attempt: Attempt,
    /// Dropped, it cancels all tasks.
    cancel: watch::Sender<()>,
    /// Closed once every task is gone.
    alive: mpsc::Receiver<()>,
    sources: Vec<UnboundedSender<Control>>,
    sinks: Vec<UnboundedSender<Control>>,
    /// Kept so that no subtask sees its control channel closed.
    _others: Vec<UnboundedSender<Control>>,
}

/// The worker's own task, on the I/O runtime.
struct Office {
    graph: Arc<JobGraph>,
    config: WorkerConfig,
    events: UnboundedSender<FromWorker>,
    slots: Slots,
    metrics: MetricsMap,
    running: Option<Running>,
}

impl Office {
    async fn run(mut self, mut queue: UnboundedReceiver<WorkerCommand>) {
        let mut told = None;
        while let Some(command) = queue.recv().await {
            match command {
                WorkerCommand::Message(message) => self.on_message(message).await,
                WorkerCommand::Shutdown(done) => {
                    told = Some(done);
                    break;
                }
            }
        }
        self.cancel().await;
        let slots = self.slots;
        let _ = tokio::task::spawn_blocking(move || slots.join()).await;
        if let Some(done) = told {
            let _ = done.send(());
        }
    }

    async fn on_message(&mut self, message: ToWorker) {
        match message {
            ToWorker::Deploy(deployment) => {
                self.cancel().await;
                let attempt = deployment.attempt;
                // Who waits for this worker would wait for ever if it ended here.
                let deployed = AssertUnwindSafe(self.deploy(*deployment)).catch_unwind();
                let deployed = deployed.await.unwrap_or_else(|panic| {
                    Err(DeployError {
                        operator: None,
                        error: panic_message(&*panic).into(),
                    })
                });
                if let Err(error) = deployed {
                    self.cancel().await;
                    self.fail(attempt, &error);
                }
            }
            ToWorker::TriggerCheckpoint {
                attempt,
                checkpoint,
                kind,
                is_last,
                last_completed,
            } => {
                let barrier = Barrier {
                    checkpoint,
                    kind,
                    is_last,
                    last_completed,
                };
                for source in self
                    .of(attempt)
                    .map(|running| &running.sources)
                    .into_iter()
                    .flatten()
                {
                    let _ = source.send(Control::Barrier(barrier));
                }
            }
            ToWorker::CheckpointCompleted {
                attempt,
                checkpoint,
            } => {
                self.commit(attempt, checkpoint);
            }
            // The next barrier tells every subtask which checkpoint was the last to complete.
            ToWorker::CheckpointAborted { .. } => {}
            ToWorker::Cancel { attempt } => {
                if self.of(attempt).is_some() {
                    self.cancel().await;
                }
                let _ = self.events.send(FromWorker::Cancelled { attempt });
            }
        }
    }

    /// The attempt that runs, if it is this one.
    fn of(&self, attempt: Attempt) -> Option<&Running> {
        self.running
            .as_ref()
            .filter(|running| running.attempt == attempt)
    }

    fn commit(&self, attempt: Attempt, checkpoint: CheckpointId) {
        let Some(running) = self.of(attempt) else {
            return;
        };
        let sink_count = running.sinks.len();
        let tracker = CommitTracker::start(sink_count, attempt, checkpoint, self.events.clone());
        for sink in &running.sinks {
            let _ = sink.send(Control::Commit(checkpoint, Arc::clone(&tracker)));
        }
    }

    fn fail(&self, attempt: Attempt, failure: &DeployError) {
        let _ = self.events.send(FromWorker::Failed {
            attempt,
            subtask: None,
            operator: failure.operator.clone(),
            message: describe(&*failure.error),
            is_permanent: is_permanent(&*failure.error),
            category: category(&*failure.error),
        });
    }

    /// Drops all tasks and waits until each is gone.
    async fn cancel(&mut self) {
        if let Some(mut running) = self.running.take() {
            drop(running.cancel);
            while running.alive.recv().await.is_some() {}
        }
    }
}

/// Why an attempt could not be started.
struct DeployError {
    operator: Option<String>,
    error: BoxError,
}

impl DeployError {
    fn of(operator: &OperatorId, error: impl Into<BoxError>) -> Self {
        Self {
            operator: Some(operator.to_string()),
            error: error.into(),
        }
    }
}
