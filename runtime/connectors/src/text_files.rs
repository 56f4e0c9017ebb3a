//! Text files, line by line or in blocks of whole lines.
//!
//! ```text
//! paths ─▶ splits (byte ranges) ─▶ a thread reads blocks of whole lines ─▶ the reader cuts
//! ```

mod blocks;
mod discover;
#[cfg(test)]
mod tests;
mod walk;

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_engine::{
    PermanentError, ReadStatus, Result, Source, SourceContext, SourceOutput, SourceReader, Split,
    SplitState,
};

use crate::bad_records::{BadRecordHandler, BadRecords};
use crate::rate::{self, RateLimit};
use blocks::{Block, BlockReader, Limits, READ_BYTES};
pub(crate) use discover::{check_open, discover};

/// Bytes of a split, unless told otherwise.
const SPLIT_BYTES: u64 = 32 << 20;
/// Bytes pushed before a chunk is cut, however few lines they are.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes of a record in blocks mode, about.
const BLOCK_RECORD_BYTES: usize = 64 << 10;
/// The longest line, unless told otherwise.
const MAX_LINE_BYTES: usize = 1 << 20;

/// What becomes a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Line,
    Block,
}

/// Reads text files: each line, without its end, is a record.
///
/// Files must not change while a job reads them: a file that did is refused by name. `.gz` files
/// are unpacked as they are read.
#[derive(Debug, Clone)]
pub struct TextFiles {
    patterns: Vec<String>,
    split_bytes: u64,
    limits: Limits,
    records_per_second: Option<u64>,
    bad_records: BadRecords,
    unit: Unit,
}

impl TextFiles {
    /// Files by path, folder or glob pattern such as `logs/**/*.txt`. Names that begin with a dot
    /// are left out unless the pattern has that dot.
    pub fn new(pattern: impl Into<String>) -> Self {
        Self {
            patterns: vec![pattern.into()],
            split_bytes: SPLIT_BYTES,
            limits: Limits {
                max_line_bytes: MAX_LINE_BYTES,
                read_bytes: READ_BYTES,
            },
            records_per_second: None,
            bad_records: BadRecords::Fail,
            unit: Unit::Line,
        }
    }

    /// Adds a further path, folder or pattern.
    #[must_use]
    pub fn and(mut self, pattern: impl Into<String>) -> Self {
        self.patterns.push(pattern.into());
        self
    }

    /// Cuts files into byte ranges of about this size, which subtasks read independently.
    #[must_use]
    pub fn with_split_bytes(mut self, split_bytes: u64) -> Self {
        self.split_bytes = split_bytes.max(1);
        self
    }

    /// Reads at most this many records a second, over all subtasks.
    #[must_use]
    pub fn with_rate(mut self, records_per_second: u64) -> Self {
        self.records_per_second = Some(records_per_second);
        self
    }

    /// What becomes of lines that are too long or no UTF-8.
    #[must_use]
    pub fn on_bad_records(mut self, policy: BadRecords) -> Self {
        self.bad_records = policy;
        self
    }

    /// A line longer than this is a bad record.
    #[must_use]
    pub fn with_max_line_bytes(mut self, max_line_bytes: usize) -> Self {
        self.limits.max_line_bytes = max_line_bytes.max(1);
        self
    }

    /// Makes a record of some 64 KiB of whole lines at a time, their ends included, for operators
    /// that cut text up themselves.
    #[must_use]
    pub fn blocks(mut self) -> Self {
        self.unit = Unit::Block;
        self
    }
}

/// A byte range of a file, and what the file looked like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileRange {
    /// Absolute and without links, but for those of a mounted ConfigMap and in what older versions
    /// wrote to checkpoints.
    pub(crate) path: PathBuf,
    pub(crate) start: u64,
    /// Excluded; `None`: to the end, whose place is not known in a packed file.
    pub(crate) end: Option<u64>,
    file_bytes: u64,
    modified_ms: u64,
    pub(crate) is_gzip: bool,
}

impl Source for TextFiles {
    type Item = String;
    type Reader = TextReader;

    fn discover(&self, known: &[SplitState]) -> Result<Vec<Split>> {
        discover(&self.patterns, self.split_bytes, known)
    }

    fn reader(&self, splits: Vec<SplitState>, context: SourceContext) -> Result<TextReader> {
        let ranges = splits.iter().map(range_of).collect::<Result<Vec<_>>>()?;
        let positions = splits
            .iter()
            .map(|state| {
                state
                    .position
                    .clone()
                    .map(serde_json::from_value)
                    .transpose()
            })
            .collect::<Result<Vec<Option<u64>>, _>>()?;
        Ok(TextReader {
            options: self.clone(),
            bad_records: BadRecordHandler::new(
                &self.bad_records,
                &context.operator,
                Arc::clone(&context.metrics),
            )?,
            rate: self
                .records_per_second
                .map(|rate| RateLimit::new(rate, context.parallelism)),
            context,
            splits,
            ranges,
            positions,
            current: 0,
            blocks: None,
            block: Block::default(),
            pushed_bytes: 0,
        })
    }
}

pub(crate) fn range_of(state: &SplitState) -> Result<FileRange> {
    serde_json::from_value(state.split.spec.clone()).map_err(|error| {
        let message = format!("split `{}` is no range of a file", state.split.id);
        PermanentError::with_source(message, error).into()
    })
}

/// Reads one subtask's splits, one after the other.
pub struct TextReader {
    options: TextFiles,
    context: SourceContext,
    bad_records: BadRecordHandler,
    rate: Option<RateLimit>,
    splits: Vec<SplitState>,
    ranges: Vec<FileRange>,
    /// For each split the offset of the first line not pushed yet.
    positions: Vec<Option<u64>>,
    current: usize,
    blocks: Option<BlockReader>,
    block: Block,
    pushed_bytes: usize,
}

impl TextReader {
    /// Makes sure that there is a line to push; `false` at the end of all splits.
    async fn fill(&mut self, output: &mut SourceOutput<String>) -> Result<bool> {
        while self.block.is_empty() {
            let Some(range) = self.ranges.get(self.current) else {
                return Ok(false);
            };
            if self.splits[self.current].is_ended {
                self.current += 1;
                continue;
            }
            let position = self.positions[self.current];
            let limits = self.options.limits;
            let blocks = self.blocks.get_or_insert_with(|| {
                BlockReader::start(range.clone(), position, limits, &self.context.io)
            });
            match blocks.next().await? {
                Some(block) => self.block = block,
                None => {
                    self.blocks = None;
                    self.splits[self.current].is_ended = true;
                    // A split's place in the list of its subtask fits.
                    output.end_split(self.current as u32);
                }
            }
        }
        Ok(true)
    }

    /// Pushes what the block has, up to `allowed` records; gives their number. Does not wait, so
    /// that a position never parts from what was pushed.
    fn push(&mut self, output: &mut SourceOutput<String>, allowed: u64) -> Result<u64> {
        output.begin_split(self.current as u32);
        let mut count = 0;
        while count < allowed && !self.block.is_empty() {
            let offset = self.block.offset;
            let bytes = match self.options.unit {
                Unit::Line => self.block.take_line(),
                Unit::Block => self.block.take_lines(BLOCK_RECORD_BYTES),
            };
            match bytes {
                Ok(text) => {
                    output.push(text);
                    self.pushed_bytes += text.len();
                }
                Err((problem, raw)) => {
                    let path = self.ranges[self.current].path.display();
                    let place = format!("{path}, byte {offset}");
                    self.bad_records.bad(&place, problem, &raw)?;
                }
            }
            self.positions[self.current] = Some(self.block.offset);
            count += 1;
            if self.pushed_bytes >= CHUNK_BYTES {
                self.pushed_bytes = 0;
                output.cut();
                break;
            }
        }
        Ok(count)
    }
}

impl SourceReader for TextReader {
    type Item = String;

    async fn read(&mut self, output: &mut SourceOutput<String>) -> Result<ReadStatus> {
        let allowed = rate::allowed(&mut self.rate, output.wanted_rows()).await;
        if !self.fill(output).await? {
            return Ok(ReadStatus::Ended);
        }
        let count = self.push(output, allowed)?;
        if let Some(rate) = &mut self.rate {
            rate.took(count);
        }
        Ok(ReadStatus::More)
    }

    fn snapshot(&self) -> Vec<SplitState> {
        let states = self.splits.iter().zip(&self.positions);
        states
            .map(|(state, position)| state.read_to(position.map(Into::into), state.is_ended))
            .collect()
    }
}
