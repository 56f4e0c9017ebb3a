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
/// A transaction stays, and is named by every later snapshot, until it is committed: a checkpoint
/// may complete while the commit of the one before it is still under way, and then be all that a
/// restart knows. Held by `a_transaction_is_named_until_it_is_committed`. Pre-commits end in the
/// order of their barriers, so that no snapshot misses an earlier one.
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
        let (done, is_done) = oneshot::channel();
        let earlier = self.last_commit.replace(is_done);
        let (sink, pending) = (Arc::clone(&self.sink), Arc::clone(&self.pending));
        io.spawn(async move {
            if let Some(earlier) = earlier {
                let _ = earlier.await;
            }
            // What the earlier one has committed is gone from here by now.
            let due: BTreeMap<CheckpointId, Vec<Value>> = {
                let pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
                let due = pending.range(..=checkpoint);
                due.map(|(id, values)| (*id, values.clone())).collect()
            };
            let transactions: Vec<Value> = due.values().flatten().cloned().collect();
            let result = if transactions.is_empty() {
                Ok(())
            } else {
                let commit = AssertUnwindSafe(async { sink.commit(transactions).await });
                let committed = commit.catch_unwind().await;
                committed.unwrap_or_else(|panic| Err(panic_message(&*panic).into()))
            };
            if result.is_ok() {
                let mut pending = pending.lock().unwrap_or_else(PoisonError::into_inner);
                pending.retain(|id, _| !due.contains_key(id));
                drop(pending);
                let _ = done.send(());
            }
            tell(result);
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

#[cfg(test)]
mod tests {
    use futures::future::{BoxFuture, LocalBoxFuture};
    use serde_json::json;
    use tokio::runtime::Handle;

    use super::*;
    use crate::chunk::Chunk;
    use crate::graph::AnyWriter;
    use crate::sink::{SinkContext, SinkRecovery};

    /// A sink whose commits wait until they are let go.
    struct SlowSink {
        gates: Mutex<Vec<oneshot::Receiver<()>>>,
        committed: Arc<Mutex<Vec<Vec<Value>>>>,
    }

    impl AnySink for SlowSink {
        fn writer(&self, _: SinkContext) -> Result<Box<dyn AnyWriter>> {
            Ok(Box::new(NumberedWriter))
        }

        fn commit(&self, transactions: Vec<Value>) -> BoxFuture<'static, Result<()>> {
            let gate = self.gates.lock().unwrap().remove(0);
            let committed = Arc::clone(&self.committed);
            Box::pin(async move {
                let _ = gate.await;
                committed.lock().unwrap().push(transactions);
                Ok(())
            })
        }

        fn recover(&self, _: SinkRecovery, _: Vec<Value>) -> BoxFuture<'static, Result<()>> {
            Box::pin(async { Ok(()) })
        }

        fn location(&self) -> Option<String> {
            None
        }
    }

    /// Its transaction is the checkpoint's number.
    struct NumberedWriter;

    impl AnyWriter for NumberedWriter {
        fn write<'a>(&'a mut self, _: &'a Chunk) -> LocalBoxFuture<'a, Result<()>> {
            Box::pin(async { Ok(()) })
        }

        fn flush(&mut self) -> LocalBoxFuture<'_, Result<()>> {
            Box::pin(async { Ok(()) })
        }

        fn pre_commit(
            &mut self,
            checkpoint: CheckpointId,
        ) -> Result<BoxFuture<'static, Result<Vec<Value>>>> {
            Ok(Box::pin(async move { Ok(vec![json!(checkpoint.get())]) }))
        }
    }

    async fn named(snapshots: &mut SinkSnapshots, checkpoint: u64) -> Vec<Value> {
        let checkpoint = CheckpointId::new(checkpoint).unwrap();
        let operator = OperatorId::new("out").unwrap();
        let work = snapshots
            .pre_commit(&mut NumberedWriter, operator, checkpoint)
            .unwrap();
        let target = SnapshotTarget {
            folder: None,
            path: String::new(),
        };
        work(target).await.unwrap().items
    }

    fn commit(snapshots: &mut SinkSnapshots, checkpoint: u64) -> oneshot::Receiver<()> {
        let (sender, told) = oneshot::channel();
        let checkpoint = CheckpointId::new(checkpoint).unwrap();
        snapshots.commit(checkpoint, &Handle::current(), |result| {
            result.unwrap();
            let _ = sender.send(());
        });
        told
    }

    #[tokio::test]
    async fn a_transaction_is_named_until_it_is_committed() {
        let (gates, waiting): (Vec<_>, Vec<_>) = (0..2).map(|_| oneshot::channel()).unzip();
        let mut gates = gates.into_iter();
        let committed = Arc::new(Mutex::new(Vec::new()));
        let sink = SlowSink {
            gates: Mutex::new(waiting),
            committed: Arc::clone(&committed),
        };
        let mut snapshots = SinkSnapshots::new(Arc::new(sink));
        assert_eq!(named(&mut snapshots, 1).await, [json!(1)]);
        let first = commit(&mut snapshots, 1);
        // Checkpoint 1 is complete, its commit under way: whoever restores 2 must commit both.
        assert_eq!(named(&mut snapshots, 2).await, [json!(1), json!(2)]);
        let second = commit(&mut snapshots, 2);
        gates.next().unwrap().send(()).unwrap();
        first.await.unwrap();
        assert_eq!(named(&mut snapshots, 3).await, [json!(2), json!(3)]);
        gates.next().unwrap().send(()).unwrap();
        second.await.unwrap();
        assert_eq!(named(&mut snapshots, 4).await, [json!(3), json!(4)]);
        let each_once = vec![vec![json!(1)], vec![json!(2)]];
        assert_eq!(*committed.lock().unwrap(), each_once);
    }
}
