//! From frozen state to an acknowledgement, and from a completed checkpoint to committed output.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use serde_json::Value;
use tidegate_protocol::{
    Attempt, CheckpointId, FromWorker, KeyGroupRange, OperatorId, OperatorSnapshot, SubtaskId,
    SubtaskSnapshot,
};
use tidegate_storage::JobFolder;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::error::{Result, describe, panic_message};
use crate::graph::{AnySink, AnyWriter};
use crate::operator::{SnapshotTarget, SnapshotWork};

/// Counts the sink subtasks that have committed a checkpoint; tells the coordinator after the last.
pub(crate) struct CommitTracker {
    left: AtomicUsize,
    attempt: Attempt,
    checkpoint: CheckpointId,
    events: UnboundedSender<FromWorker>,
}

impl CommitTracker {
    pub(crate) fn start(
        sink_count: usize,
        attempt: Attempt,
        checkpoint: CheckpointId,
        events: UnboundedSender<FromWorker>,
    ) -> Arc<Self> {
        let tracker = Self {
            left: AtomicUsize::new(sink_count),
            attempt,
            checkpoint,
            events,
        };
        if sink_count == 0 {
            tracker.tell();
        }
        Arc::new(tracker)
    }

    fn tell(&self) {
        let (attempt, checkpoint) = (self.attempt, self.checkpoint);
        let _ = self.events.send(FromWorker::Committed {
            attempt,
            checkpoint,
        });
    }

    pub(crate) fn one_is_done(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.tell();
        }
    }
}

/// The transactions of one sink subtask that are pre-committed but not committed.
///
/// # Invariants
/// A transaction stays, and is named by every later snapshot, until its own or a later checkpoint
/// completes. Pre-commits end in the order of their barriers, so that no snapshot misses an earlier
/// one.
pub(crate) struct SinkSnapshots {
    sink: Arc<dyn AnySink>,
    pending: Arc<Mutex<BTreeMap<CheckpointId, Vec<Value>>>>,
    last_pre_commit: Option<oneshot::Receiver<()>>,
    last_commit: Option<oneshot::Receiver<()>>,
}

impl SinkSnapshots {
    pub(crate) fn new(sink: Arc<dyn AnySink>) -> Self {
        Self {
            sink,
            pending: Arc::default(),
            last_pre_commit: None,
            last_commit: None,
        }
    }

    /// Ends the transaction of a barrier.
    ///
    /// # Errors
    /// The writer's.
    pub(crate) fn pre_commit(
        &mut self,
        writer: &mut dyn AnyWriter,
        operator: OperatorId,
        checkpoint: CheckpointId,
    ) -> Result<SnapshotWork> {
        let pre_commit = writer.pre_commit(checkpoint)?;
        let (done, is_done) = oneshot::channel();
        let earlier = self.last_pre_commit.replace(is_done);
        let pending = Arc::clone(&self.pending);
        Ok(Box::new(move |_| {
            Box::pin(async move {
                if let Some(earlier) = earlier {
                    let _ = earlier.await;
                }
                let result = pre_commit.await;
                let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
                if let Ok(transactions) = &result
                    && !transactions.is_empty()
                {
                    pending.insert(checkpoint, transactions.clone());
                }
                let _ = done.send(());
                result?;
                let named = pending.range(..=checkpoint);
                Ok(OperatorSnapshot {
                    operator,
                    key_groups: KeyGroupRange { start: 0, end: 0 },
                    files: Vec::new(),
                    items: named
                        .flat_map(|(_, values)| values.iter().cloned())
                        .collect(),
                    watermark_ms: None,
                })
            })
        }))
    }

    /// Commits what a completed checkpoint and those before it hold; `tell` learns how it went.
    pub(crate) fn commit(
        &mut self,
        checkpoint: CheckpointId,
        io: &tokio::runtime::Handle,
        tell: impl FnOnce(Result<()>) + Send + 'static,
    ) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let later = pending.split_off(&checkpoint.next());
        let due = std::mem::replace(&mut *pending, later);
        drop(pending);
        let transactions: Vec<Value> = due.into_values().flatten().collect();
        let (done, is_done) = oneshot::channel();
        let earlier = self.last_commit.replace(is_done);
        let sink = Arc::clone(&self.sink);
        io.spawn(async move {
            if let Some(earlier) = earlier {
                let _ = earlier.await;
            }
            let result = if transactions.is_empty() {
                Ok(())
            } else {
                sink.commit(transactions).await
            };
            let is_ok = result.is_ok();
            tell(result);
            if is_ok {
                let _ = done.send(());
            }
        });
    }
}

/// What a subtask froze at a barrier.
pub(crate) struct FrozenSubtask {
    pub(crate) attempt: Attempt,
    pub(crate) checkpoint: CheckpointId,
    pub(crate) subtask: SubtaskId,
    pub(crate) freeze_micros: u64,
    /// What needs no upload, such as a source's positions.
    pub(crate) ready: Vec<OperatorSnapshot>,
    pub(crate) work: Vec<(String, SnapshotWork)>,
}

impl FrozenSubtask {
    /// Makes everything durable, then acknowledges; or says why it could not.
    pub(crate) async fn upload(
        self,
        folder: Option<Arc<JobFolder>>,
        events: UnboundedSender<FromWorker>,
    ) {
        let (attempt, checkpoint, subtask) = (self.attempt, self.checkpoint, self.subtask);
        let written = AssertUnwindSafe(self.write(folder)).catch_unwind().await;
        let result = written.unwrap_or_else(|panic| Err(panic_message(&*panic)));
        let message = match result {
            Ok(snapshot) => FromWorker::Acknowledged {
                attempt,
                checkpoint,
                subtask,
                snapshot: Box::new(snapshot),
            },
            Err(reason) => FromWorker::SnapshotFailed {
                attempt,
                checkpoint,
                subtask,
                reason,
            },
        };
        let _ = events.send(message);
    }

    /// Carries out all work even where some fails: a sink's transaction that was cut off here must
    /// become part of the next checkpoint.
    async fn write(self, folder: Option<Arc<JobFolder>>) -> Result<SubtaskSnapshot, String> {
        let mut operators = self.ready;
        let mut written_bytes = 0;
        let mut failure = None;
        let prefix = format!("state/{}/{}/", self.attempt, self.checkpoint);
        for (operator, work) in self.work {
            let path = format!("{prefix}{operator}-{}", self.subtask.index.0);
            match work(SnapshotTarget {
                folder: folder.clone(),
                path,
            })
            .await
            {
                Ok(snapshot) => {
                    let own = snapshot
                        .files
                        .iter()
                        .filter(|file| file.path.starts_with(&prefix));
                    written_bytes += own.map(|file| file.size_bytes).sum::<u64>();
                    operators.push(snapshot);
                }
                Err(error) => {
                    let reason = format!("operator `{operator}`: {}", describe(&*error));
                    failure.get_or_insert(reason);
                }
            }
        }
        match failure {
            None => Ok(SubtaskSnapshot {
                operators,
                written_bytes,
                freeze_micros: self.freeze_micros,
            }),
            Some(reason) => Err(reason),
        }
    }
}
