//! What moves between operators: chunks of records, watermarks, barriers and the end of input.

use arrow_array::RecordBatch;
use arrow_buffer::ScalarBuffer;
use tidegate_protocol::{CheckpointId, CheckpointKind};

/// How many records a source or an exchange collects before it sends a chunk. Its columns of 8
/// bytes are 32 KiB each, so that the chunks of a job stay in a core's second-level cache.
pub const CHUNK_ROWS: usize = 4096;

/// Records that move together.
#[derive(Debug, Clone)]
pub struct Chunk {
    /// The records' columns.
    pub batch: RecordBatch,
    /// The records' event times, milliseconds since the epoch; as long as the batch.
    pub timestamps: Option<ScalarBuffer<i64>>,
    /// The records' key hashes, where an exchange has computed them; as long as the batch.
    pub hashes: Option<ScalarBuffer<u64>>,
    /// Which of its subtask's splits the records come from, for watermarks next to the source;
    /// `None` behind a channel.
    pub split: Option<u32>,
}

impl Chunk {
    /// A chunk without times or hashes.
    pub fn new(batch: RecordBatch) -> Self {
        Self {
            batch,
            timestamps: None,
            hashes: None,
            split: None,
        }
    }

    /// How many records it holds.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.batch.num_rows() == 0
    }

    /// A part of it, sharing its memory.
    ///
    /// # Panics
    /// Where the part is not within the chunk.
    pub fn slice(&self, offset: usize, length: usize) -> Self {
        Self {
            batch: self.batch.slice(offset, length),
            timestamps: self
                .timestamps
                .as_ref()
                .map(|times| times.slice(offset, length)),
            hashes: self
                .hashes
                .as_ref()
                .map(|hashes| hashes.slice(offset, length)),
            split: self.split,
        }
    }
}

/// A numbered barrier: it separates what belongs to a checkpoint from what comes after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Barrier {
    /// The checkpoint.
    pub checkpoint: CheckpointId,
    /// Why it is taken.
    pub kind: CheckpointKind,
    /// Whether nothing but barriers follows, since the job stops with it.
    pub is_last: bool,
    /// The newest checkpoint that was complete when the barrier was injected.
    pub last_completed: Option<CheckpointId>,
}

/// An event-time watermark: no record at or before it follows, but for late ones.
pub type Watermark = i64;

/// The watermark after the end of all input.
pub const MAX_WATERMARK: Watermark = i64::MAX;

/// What a channel carries, in order.
#[derive(Debug, Clone)]
pub enum Element {
    /// Records.
    Chunk(Chunk),
    /// Event time has come this far on this channel; ends idleness.
    Watermark(Watermark),
    /// The channel's watermark does not hold back others until it speaks again.
    Idle,
    /// A split of the source at this chain's head has ended or gone idle.
    SplitEnded(u32),
    /// A barrier.
    Barrier(Barrier),
    /// No record follows, but barriers do.
    Ended,
}
