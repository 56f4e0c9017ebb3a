//! Where operators and readers put records: a builder that cuts chunks.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_buffer::ScalarBuffer;
use arrow_schema::SchemaRef;

use super::{Record, RecordBuilder};
use crate::chunk::{CHUNK_ROWS, Chunk};

/// Collects records into chunks.
pub struct Output<R: Record> {
    builder: R::Builder,
    row_count: usize,
    schema: SchemaRef,
    timestamp: Option<i64>,
    timestamps: Vec<i64>,
    split: Option<u32>,
    ready: Vec<Chunk>,
}

impl<R: Record> Default for Output<R> {
    fn default() -> Self {
        Self {
            builder: R::Builder::default(),
            row_count: 0,
            schema: R::schema(),
            timestamp: None,
            timestamps: Vec::new(),
            split: None,
            ready: Vec::new(),
        }
    }
}

impl<R: Record> Output<R> {
    /// Appends a record, given as a borrowed view.
    #[inline]
    pub fn push(&mut self, view: R::View<'_>) {
        if self.row_count == 0 {
            self.builder.reserve(CHUNK_ROWS);
        }
        self.builder.push(view);
        self.row_count += 1;
        if let Some(timestamp) = self.timestamp {
            self.timestamps.push(timestamp);
        }
        if self.row_count >= CHUNK_ROWS || self.builder.is_full() {
            self.cut();
        }
    }

    /// Appends an owned record.
    #[inline]
    pub fn emit(&mut self, record: &R) {
        self.push(record.as_view());
    }

    /// Records collected since the last chunk was cut.
    pub(crate) fn len(&self) -> usize {
        self.row_count
    }

    /// The event time of the records that follow. Times are given to all records of a chunk or to
    /// none, so a change between the two cuts it.
    #[inline]
    pub(crate) fn set_timestamp(&mut self, timestamp: Option<i64>) {
        if timestamp.is_some() != self.timestamp.is_some() {
            self.cut();
        }
        self.timestamp = timestamp;
    }

    /// The split that the records that follow come from.
    pub(crate) fn set_split(&mut self, split: Option<u32>) {
        if split != self.split {
            self.cut();
            self.split = split;
        }
    }

    /// Makes a chunk of what was collected.
    pub(crate) fn cut(&mut self) {
        if self.row_count == 0 {
            return;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(self.row_count));
        let columns = self.builder.finish();
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)
            .expect("a record's builder makes columns of the record's own types");
        let timestamps = self
            .timestamp
            .is_some()
            .then(|| ScalarBuffer::from(std::mem::take(&mut self.timestamps)));
        self.ready.push(Chunk {
            batch,
            timestamps,
            hashes: None,
            split: self.split,
        });
        self.row_count = 0;
    }

    /// Takes the chunks cut so far, in order.
    pub(crate) fn take_ready(&mut self) -> Vec<Chunk> {
        std::mem::take(&mut self.ready)
    }

    /// Cuts and takes everything.
    pub(crate) fn take_all(&mut self) -> Vec<Chunk> {
        self.cut();
        self.take_ready()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_cut_before_large_records_fill_the_memory() {
        let mut output = Output::<(u64, String)>::default();
        let large = "x".repeat(1 << 20);
        (0..20).for_each(|number| output.push((number, &large)));
        let chunks = output.take_all();
        assert_eq!(chunks.iter().map(Chunk::len).sum::<usize>(), 20);
        assert!(chunks.iter().all(|chunk| chunk.len() <= 4));
    }
}
