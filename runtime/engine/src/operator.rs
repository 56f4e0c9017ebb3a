//! What runs in the middle of a chain: one operator a file, each a step from elements to elements.

mod filter;
mod flat_map;
mod map;
mod process;
mod watermarks;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tidegate_protocol::{
    KeyGroupRange, MaxParallelism, OperatorRestore, OperatorSnapshot, StateFile,
};
use tidegate_storage::JobFolder;

use crate::chunk::{Barrier, Chunk, Element, Watermark};
use crate::error::Result;
use crate::metrics::OperatorMetrics;

pub(crate) use filter::Filter;
pub(crate) use flat_map::{FlatMap, rows_of};
pub(crate) use map::Map;
pub use process::{KeyedContext, KeyedProcess};
pub(crate) use process::{Process, misfit};
pub use watermarks::WatermarkStrategy;
pub(crate) use watermarks::{Watermarks, now_ms};

/// What an operator is given when its subtask starts.
#[derive(Clone)]
pub(crate) struct OperatorContext {
    pub(crate) operator: String,
    pub(crate) key_groups: KeyGroupRange,
    pub(crate) max: MaxParallelism,
    pub(crate) metrics: Arc<OperatorMetrics>,
    /// The watermark and files of the checkpoint that is restored.
    pub(crate) restore: Option<OperatorRestore>,
}

/// Whether a step is done, or is to be called again once its output was sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    More,
}

/// Where an operator's snapshot is written.
#[derive(Clone)]
pub(crate) struct SnapshotTarget {
    pub(crate) folder: Option<Arc<JobFolder>>,
    /// `state/<attempt>/<checkpoint>/<operator>-<subtask>`, without an ending.
    pub(crate) path: String,
}

/// What is left to do after a freeze: it runs on the I/O runtime and makes the snapshot durable.
pub(crate) type SnapshotWork =
    Box<dyn FnOnce(SnapshotTarget) -> BoxFuture<'static, Result<OperatorSnapshot>> + Send>;

/// An operator in the middle of a chain. It takes elements in order and appends elements to
/// `output`.
pub(crate) trait Transform {
    /// Takes records.
    fn on_chunk(&mut self, chunk: Chunk, output: &mut Vec<Element>) -> Result<()>;

    /// Takes a watermark; what passes on a watermark of its own does so as its last step.
    fn on_watermark(
        &mut self,
        watermark: Watermark,
        output: &mut Vec<Element>,
    ) -> Result<Progress> {
        output.push(Element::Watermark(watermark));
        Ok(Progress::Done)
    }

    /// The input is idle: its watermark holds nothing back.
    fn on_idle(&mut self, output: &mut Vec<Element>) {
        output.push(Element::Idle);
    }

    /// The restored checkpoint had begun this split of the chain's source; called before any
    /// element.
    fn on_split_begun(&mut self, split: u32) {
        let _ = split;
    }

    /// The first records of such a split have been read on; those of them that operators before
    /// let through were elements before this.
    fn on_split_read(&mut self, split: u32, output: &mut Vec<Element>) {
        let _ = (split, output);
    }

    /// A split of the chain's source has ended.
    fn on_split_ended(&mut self, split: u32, output: &mut Vec<Element>) {
        output.push(Element::SplitEnded(split));
    }

    /// The machine's clock reached [`Transform::next_wakeup_ms`].
    fn on_wakeup(&mut self, now_ms: i64, output: &mut Vec<Element>) -> Result<Progress> {
        let _ = (now_ms, output);
        Ok(Progress::Done)
    }

    /// So much time has passed since its chain asked for input the time before. Each of so many
    /// splits has its turn in as many times.
    fn on_asked(&mut self, since_last: Duration, split_count: u32) {
        let _ = (since_last, split_count);
    }

    /// When it wants to be called, milliseconds since the epoch.
    fn next_wakeup_ms(&self) -> Option<i64> {
        None
    }

    /// Freezes its state at a barrier. Must not take long; what does is left to the work returned.
    fn freeze(&mut self, barrier: &Barrier) -> Option<SnapshotWork> {
        let _ = barrier;
        None
    }

    /// Applies one file of the restored checkpoint, batch by batch. `None` where it does not fit.
    fn restore(&mut self, file: &StateFile, batch: &arrow_array::RecordBatch) -> Option<()> {
        let _ = (file, batch);
        None
    }

    /// Called once every file was applied.
    fn restored(&mut self) {}

    /// The restored watermark. It is given again before any element: its checkpoint may have been
    /// taken before all of its timers had fired, and before it was passed on.
    fn restored_watermark(&self) -> Option<Watermark> {
        None
    }

    /// The next barrier has overtaken a watermark: it counts as taken in that checkpoint.
    fn on_overtaken(&mut self, watermark: Watermark) {
        let _ = watermark;
    }

    /// Counts what a reader of metrics wants to know; called now and then.
    fn report(&self) {}
}
