//! What a sink connector implements.

use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;
use tidegate_protocol::{Attempt, CheckpointId};
use tidegate_storage::{JobFolder, StoreOptions};

use crate::error::Result;
use crate::record::{Record, Rows};

/// The job that a sink works for.
#[derive(Debug, Clone)]
pub struct SinkJob {
    /// No other job has it, and the job keeps it while its folder does not move; fit for a part of
    /// a path. `job` where there is no storage.
    pub id: String,
    /// How the job reaches its own store: what a sink's URL leaves open comes from here.
    pub storage: StoreOptions,
}

impl SinkJob {
    /// The job whose state is kept in this folder.
    pub(crate) fn of(folder: Option<&Arc<JobFolder>>) -> Arc<Self> {
        Arc::new(match folder {
            Some(folder) => Self {
                id: folder.id(),
                storage: folder.store().sibling_options(),
            },
            None => Self {
                id: "job".to_owned(),
                storage: StoreOptions::default(),
            },
        })
    }
}

/// What a sink is told of an attempt that is about to start.
#[derive(Debug, Clone)]
pub struct SinkRecovery {
    /// The job; part of the name of whatever is not committed yet.
    pub job: Arc<SinkJob>,
    /// The operator's name.
    pub operator: String,
    /// The attempt.
    pub attempt: Attempt,
}

/// What a writer is given.
#[derive(Debug, Clone)]
pub struct SinkContext {
    /// The job; part of the name of whatever is not committed yet.
    pub job: Arc<SinkJob>,
    /// The operator's name, for messages.
    pub operator: String,
    /// Which subtask this is, from 0.
    pub subtask_index: u32,
    /// Of how many.
    pub parallelism: u32,
    /// The attempt; part of the name of whatever is not committed yet.
    pub attempt: Attempt,
    /// Where blocking or asynchronous I/O runs; a writer's own methods run on a compute thread and
    /// must not block it.
    pub io: tokio::runtime::Handle,
}

/// A sink connector. One without transactions gives what it is told at once, so its readers see
/// records again after a failure; one with them holds output back until its checkpoint is complete.
///
/// A transaction is a JSON value, small, that says all that a commit needs, on any machine.
pub trait Sink: Send + Sync + 'static {
    /// The records it writes.
    type Item: Record;
    /// Writes the output of one subtask.
    type Writer: SinkWriter<Item = Self::Item>;

    /// Makes the writer of one subtask. Must not block: the first `write` may.
    ///
    /// # Errors
    /// The configuration is wrong.
    fn writer(&self, context: SinkContext) -> Result<Self::Writer>;

    /// Makes transactions visible. Called again after a crash, so it must do nothing where it has
    /// been done. Runs on the I/O runtime.
    ///
    /// # Errors
    /// Restarts the job, which tries again.
    fn commit(&self, transactions: Vec<Value>) -> BoxFuture<'static, Result<()>> {
        let _ = transactions;
        Box::pin(async { Ok(()) })
    }

    /// Called once before an attempt's writers start and anything is committed, with the
    /// transactions of the restored checkpoint: commits them, and removes what older attempts left
    /// uncommitted. Runs on the I/O runtime.
    ///
    /// # Errors
    /// Restarts the job, which tries again; a [`crate::PermanentError`] ends it.
    fn recover(
        &self,
        recovery: SinkRecovery,
        transactions: Vec<Value>,
    ) -> BoxFuture<'static, Result<()>> {
        let _ = recovery;
        self.commit(transactions)
    }

    /// Where a person finds the result, if anywhere; printed when the job ends.
    fn location(&self) -> Option<String> {
        None
    }
}

/// Writes the output of one subtask.
pub trait SinkWriter: 'static {
    /// The records it writes.
    type Item: Record;

    /// Takes some records, in order, waiting where the medium is slow. Encodes on the calling
    /// thread, does its I/O elsewhere.
    ///
    /// # Errors
    /// Fails the attempt.
    fn write(&mut self, rows: &Rows<Self::Item>) -> impl Future<Output = Result<()>>;

    /// Hands on whatever is buffered, so that a trickle is seen soon. Called when input pauses.
    ///
    /// # Errors
    /// Fails the attempt.
    fn flush(&mut self) -> impl Future<Output = Result<()>> {
        async { Ok(()) }
    }

    /// Ends the transaction at a barrier: what was written so far belongs to it, what follows to
    /// the next one. Returns at once; the future makes it durable and runs on the I/O runtime.
    ///
    /// # Errors
    /// The future's error fails the checkpoint, and the transaction then stays part of the next
    /// one; an error here fails the attempt.
    fn pre_commit(
        &mut self,
        checkpoint: CheckpointId,
    ) -> Result<BoxFuture<'static, Result<Vec<Value>>>> {
        let _ = checkpoint;
        Ok(Box::pin(async { Ok(Vec::new()) }))
    }
}
