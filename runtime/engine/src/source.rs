//! What a source connector implements.

use std::future::Future;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::chunk::CHUNK_ROWS;
use crate::error::Result;
use crate::metrics::OperatorMetrics;
use crate::record::{Output, Record, Rows};

/// A part of a source's input that is read on its own: a byte range of a file, a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Split {
    /// Unique within the source, and the same whenever the same input is discovered again.
    pub id: String,
    /// A measure of its size by which splits are spread evenly, for instance bytes.
    pub weight: u64,
    /// What the connector needs to read it.
    pub spec: Value,
}

/// A split and how far it was read: a source's operator state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SplitState {
    /// The split.
    #[serde(flatten)]
    pub split: Split,
    /// Where to read on, in the connector's terms; `None`: from the split's begin. An unended split
    /// with a position holds back the watermark from the start, one without from its first record:
    /// give none to splits that wait until others have ended.
    pub position: Option<Value>,
    /// Whether it was read to its end.
    pub is_ended: bool,
}

impl SplitState {
    /// A split of which nothing was read.
    pub fn unread(split: Split) -> Self {
        Self {
            split,
            position: None,
            is_ended: false,
        }
    }

    /// The same split, read this far.
    #[must_use]
    pub fn read_to(&self, position: Option<Value>, is_ended: bool) -> Self {
        Self {
            split: self.split.clone(),
            position,
            is_ended,
        }
    }
}

/// What a reader is given.
#[derive(Debug, Clone)]
pub struct SourceContext {
    /// The operator's name, for messages.
    pub operator: String,
    /// Which subtask this is, from 0.
    pub subtask_index: u32,
    /// Of how many.
    pub parallelism: u32,
    /// Where blocking or asynchronous I/O runs; a reader's own methods run on a compute thread and
    /// must not block it.
    pub io: tokio::runtime::Handle,
    /// Counts skipped and dead-lettered records.
    pub metrics: std::sync::Arc<OperatorMetrics>,
}

/// Whether a source can give the same records again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Every record since any earlier position: state is exactly once.
    FromPosition,
    /// Never: after a failure, records since the last checkpoint are lost; after a planned stop,
    /// those that were read ahead or came while the job was away.
    Never,
}

/// A source connector: says what there is to read, and makes readers.
pub trait Source: Send + Sync + 'static {
    /// The records it reads.
    type Item: Record;
    /// Reads the splits of one subtask.
    type Reader: SourceReader<Item = Self::Item>;

    /// Finds the splits there are now that are not among those known from a checkpoint. Runs on the
    /// I/O runtime at the start of each attempt; blocking is allowed. Known splits keep their
    /// positions, so what they cover must not be found again under another id, or it would be read
    /// twice.
    ///
    /// # Errors
    /// What the user named does not exist or cannot be listed, or a known split that is not read to
    /// its end can no longer be read as it was.
    fn discover(&self, known: &[SplitState]) -> Result<Vec<Split>>;

    /// Makes the reader of one subtask, given its splits in the order in which to read them. Ended
    /// splits are among them, since they are part of the state.
    ///
    /// # Errors
    /// A split's spec or position is not understood.
    fn reader(&self, splits: Vec<SplitState>, context: SourceContext) -> Result<Self::Reader>;

    /// Whether records can be read again after a failure.
    fn replay(&self) -> Replay {
        Replay::FromPosition
    }
}

/// What one call of [`SourceReader::read`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadStatus {
    /// There is more, now or later.
    More,
    /// Every split has ended.
    Ended,
}

/// Reads the splits of one subtask.
pub trait SourceReader: 'static {
    /// The records it reads.
    type Item: Record;

    /// Appends some records to `output`, waiting for input where there is none: at most about
    /// [`SourceOutput::wanted_rows`] a call, since a barrier waits for what a call has read. A call
    /// may be dropped whenever it waits, so positions advance only together with the records
    /// pushed, without an `.await` between them.
    ///
    /// # Errors
    /// Fails the attempt; a [`PermanentError`](crate::PermanentError) ends the job.
    fn read(
        &mut self,
        output: &mut SourceOutput<Self::Item>,
    ) -> impl Future<Output = Result<ReadStatus>>;

    /// The state after the records pushed so far: every split given to the reader, with its
    /// position.
    fn snapshot(&self) -> Vec<SplitState>;
}

/// Collects what a reader reads.
pub struct SourceOutput<R: Record> {
    output: Output<R>,
    ended_splits: Vec<u32>,
    wanted_rows: usize,
}

impl<R: Record> Default for SourceOutput<R> {
    fn default() -> Self {
        Self {
            output: Output::default(),
            ended_splits: Vec::new(),
            wanted_rows: CHUNK_ROWS,
        }
    }
}

impl<R: Record> SourceOutput<R> {
    /// How many records a call of [`SourceReader::read`] should append, at most about:
    /// [`CHUNK_ROWS`], or fewer where what follows takes long for them; never 0.
    #[inline]
    pub fn wanted_rows(&self) -> usize {
        self.wanted_rows
    }

    /// Says which split, by its index in the list given to the reader, the next records come from.
    pub fn begin_split(&mut self, index: u32) {
        self.output.set_split(Some(index));
    }

    /// Says that a split has ended, so that it no longer holds back the watermark.
    pub fn end_split(&mut self, index: u32) {
        self.output.cut();
        self.ended_splits.push(index);
    }

    /// Ends the chunk being filled: for records so large that a full one would be too much at once.
    pub fn cut(&mut self) {
        self.output.cut();
    }

    /// Appends a record.
    #[inline]
    pub fn push(&mut self, view: R::View<'_>) {
        self.output.push(view);
    }

    /// Records collected since the last chunk was cut.
    #[inline]
    pub fn len(&self) -> usize {
        self.output.len()
    }

    /// Whether nothing was collected since the last chunk was cut.
    pub fn is_empty(&self) -> bool {
        self.output.len() == 0
    }

    /// Everything collected, as owned records: for tests of readers.
    pub fn into_records(mut self) -> Vec<R> {
        let chunks = self.output.take_all();
        let rows = chunks
            .iter()
            .filter_map(|chunk| Rows::<R>::of(&chunk.batch));
        rows.flat_map(|rows| rows.iter().map(R::from_view).collect::<Vec<_>>())
            .collect()
    }

    /// Says how many records are wanted at a time.
    pub(crate) fn want(&mut self, rows: usize) {
        self.wanted_rows = rows;
    }

    /// The collector itself, for the task that drives the reader.
    pub(crate) fn inner(&mut self) -> &mut Output<R> {
        &mut self.output
    }

    /// Takes the splits that ended since the last call.
    pub(crate) fn take_ended_splits(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.ended_splits)
    }
}
