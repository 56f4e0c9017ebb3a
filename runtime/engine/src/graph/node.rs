//! Nodes of the graph, with the types of their records erased.

use std::sync::Arc;

use futures::future::{BoxFuture, LocalBoxFuture};
use serde_json::Value;
use tidegate_protocol::{CheckpointId, OperatorId, StateSchema};

use crate::chunk::Chunk;
use crate::error::Result;
use crate::exchange::PartitionerFactory;
use crate::operator::{OperatorContext, Transform};
use crate::sink::{SinkContext, SinkRecovery};
use crate::source::{ReadStatus, Replay, SourceContext, Split, SplitState};

/// A node's place in [`super::JobGraph`]'s list.
pub(crate) type NodeIndex = usize;

/// Makes one subtask's instance of an operator.
pub(crate) type TransformFactory =
    Arc<dyn Fn(&OperatorContext) -> Box<dyn Transform> + Send + Sync>;

/// How records get from one operator to the next.
#[derive(Clone)]
pub(crate) enum Exchange {
    /// To the subtask of the same index.
    Forward,
    /// To the subtask that owns the record's key.
    Hash(PartitionerFactory),
}

impl Exchange {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Hash(_) => "hash",
        }
    }
}

/// An edge of the graph, seen from where it leads to.
pub(crate) struct Edge {
    pub(crate) from: NodeIndex,
    pub(crate) exchange: Exchange,
}

/// What a node does.
pub(crate) enum NodeBody {
    Source(Arc<dyn AnySource>),
    Transform(TransformFactory),
    /// Passes on what comes from several inputs.
    Union,
    Sink(Arc<dyn AnySink>),
}

/// One operator.
pub(crate) struct Node {
    pub(crate) id: OperatorId,
    pub(crate) body: NodeBody,
    pub(crate) state: Option<StateSchema>,
    pub(crate) inputs: Vec<Edge>,
}

/// A source of any record type.
pub(crate) trait AnySource: Send + Sync {
    fn discover(&self, known: &[SplitState]) -> Result<Vec<Split>>;
    fn head(&self, splits: Vec<SplitState>, context: SourceContext) -> Result<Box<dyn SourceHead>>;
    fn replay(&self) -> Replay;
}

/// A reader of any record type with the chunks it fills.
pub(crate) trait SourceHead {
    /// Reads some more; may be dropped while it waits.
    fn read(&mut self) -> LocalBoxFuture<'_, Result<ReadStatus>>;
    /// Says how many records to read at a time, at most about.
    fn want(&mut self, rows: usize);
    /// Takes chunks of as many records as are wanted, and the rest too if told to; then the splits
    /// that ended.
    fn take(&mut self, is_all: bool) -> (Vec<Chunk>, Vec<u32>);
    /// Whether records wait for more.
    fn has_rest(&self) -> bool;
    fn snapshot(&self) -> Vec<SplitState>;
}

/// A sink of any record type.
pub(crate) trait AnySink: Send + Sync {
    fn writer(&self, context: SinkContext) -> Result<Box<dyn AnyWriter>>;
    fn commit(&self, transactions: Vec<Value>) -> BoxFuture<'static, Result<()>>;
    fn recover(
        &self,
        recovery: SinkRecovery,
        transactions: Vec<Value>,
    ) -> BoxFuture<'static, Result<()>>;
    fn location(&self) -> Option<String>;
}

/// A writer of any record type.
pub(crate) trait AnyWriter {
    fn write<'a>(&'a mut self, chunk: &'a Chunk) -> LocalBoxFuture<'a, Result<()>>;
    fn flush(&mut self) -> LocalBoxFuture<'_, Result<()>>;
    fn pre_commit(
        &mut self,
        checkpoint: CheckpointId,
    ) -> Result<BoxFuture<'static, Result<Vec<Value>>>>;
}
