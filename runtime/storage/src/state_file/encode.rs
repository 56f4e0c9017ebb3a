//! Encoding a state file: batches in, hashed bytes out, the index built on the way. No runtime.

use std::io::{self, Write};

use arrow_array::{Array, RecordBatch, UInt16Array};
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_ipc::{CompressionType, MetadataVersion};
use arrow_schema::{ArrowError, SchemaRef};
use tidegate_protocol::{FileKind, KeyGroup, KeyGroupRange, StateFile};
use xxhash_rust::xxh3::Xxh3;

use super::index::{
    BatchIndex, Block, FORMAT_KEY, FileIndex, INDEX_CHECKSUM_KEY, INDEX_KEY, checksum_text,
};
use super::{STATE_FORMAT_VERSION, schema_problem};

/// A larger batch is cut, so that a reader of a few key groups reads little more than them.
const BATCH_ROWS_MAX: usize = 65_536;
/// What blocks and buffers are aligned to, as the Arrow format asks for at least.
const ALIGNMENT: usize = 8;

/// How a state file's columns are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// None on local folders, where it costs more than the disk, and LZ4 on object stores.
    #[default]
    Auto,
    /// Not at all.
    None,
    /// LZ4 frames, one a buffer; a buffer that does not shrink is kept as it is.
    Lz4,
}

/// Why a batch could not be encoded.
#[derive(Debug)]
pub(super) enum EncodeError {
    /// The sink failed.
    Io(io::Error),
    /// The caller gave what a state file cannot take.
    Invalid(String),
}

impl From<ArrowError> for EncodeError {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, source) => Self::Io(source),
            other => Self::Invalid(other.to_string()),
        }
    }
}

/// Encodes one state file into a sink.
pub(super) struct Encoder<W: Write> {
    writer: FileWriter<Hashed<W>>,
    schema: SchemaRef,
    path: String,
    head: Block,
    batches: Vec<BatchIndex>,
    last_group: Option<KeyGroup>,
    row_count: u64,
}

impl<W: Write> Encoder<W> {
    /// Begins a file: writes its head.
    pub(super) fn new(
        sink: W,
        path: &str,
        schema: SchemaRef,
        compression: Compression,
    ) -> Result<Self, EncodeError> {
        if let Some(problem) = schema_problem(&schema) {
            return Err(EncodeError::Invalid(problem));
        }
        let compression = match compression {
            Compression::Auto | Compression::None => None,
            Compression::Lz4 => Some(CompressionType::LZ4_FRAME),
        };
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?
            .try_with_compression(compression)?;
        let writer = FileWriter::try_new_with_options(Hashed::new(sink), &schema, options)?;
        let mut encoder = Self {
            head: Block {
                offset: 0,
                size_bytes: 0,
                checksum: String::new(),
            },
            writer,
            schema,
            path: path.to_owned(),
            batches: Vec::new(),
            last_group: None,
            row_count: 0,
        };
        encoder.head = encoder.writer.get_mut().end_block();
        Ok(encoder)
    }

    /// Adds rows, grouped by ascending key group as the runs tell.
    pub(super) fn write(
        &mut self,
        runs: &[(KeyGroup, usize)],
        batch: &RecordBatch,
    ) -> Result<(), EncodeError> {
        self.check(runs, batch)
            .map_or(Ok(()), |problem| Err(EncodeError::Invalid(problem)))?;
        let mut runs = runs.iter().copied().filter(|(_, row_count)| *row_count > 0);
        let mut rest = runs.next();
        let mut start = 0;
        while start < batch.num_rows() {
            let row_count = BATCH_ROWS_MAX.min(batch.num_rows() - start);
            let mut piece_runs = Vec::new();
            let mut missing = row_count;
            while let (Some((group, rows)), true) = (rest, missing > 0) {
                let taken = rows.min(missing);
                missing -= taken;
                // At most `BATCH_ROWS_MAX`.
                piece_runs.push((group, taken as u32));
                rest = if taken < rows {
                    Some((group, rows - taken))
                } else {
                    runs.next()
                };
            }
            self.write_piece(piece_runs, &batch.slice(start, row_count))?;
            start += row_count;
        }
        Ok(())
    }

    /// Ends the file: writes its footer, and flushes the sink.
    pub(super) fn finish(
        &mut self,
        kind: FileKind,
        key_groups: KeyGroupRange,
    ) -> Result<StateFile, EncodeError> {
        let groups = self.batches.iter().flat_map(|batch| &batch.runs);
        if let Some((group, _)) = groups
            .into_iter()
            .find(|(group, _)| !key_groups.contains(*group))
        {
            let (start, end) = (key_groups.start, key_groups.end);
            let problem = format!(
                "it holds key group {}, which {start}..{end} does not",
                group.0
            );
            return Err(EncodeError::Invalid(problem));
        }
        let index = FileIndex {
            path: self.path.clone(),
            kind,
            key_groups,
            row_count: self.row_count,
            head: self.head.clone(),
            batches: std::mem::take(&mut self.batches),
        };
        let (text, checksum) = index
            .to_text()
            .map_err(|error| EncodeError::Invalid(error.to_string()))?;
        self.writer
            .write_metadata(FORMAT_KEY, STATE_FORMAT_VERSION.to_string());
        self.writer.write_metadata(INDEX_CHECKSUM_KEY, checksum);
        self.writer.write_metadata(INDEX_KEY, text);
        self.writer.finish()?;
        let sink = self.writer.get_ref();
        Ok(StateFile {
            path: index.path,
            kind,
            size_bytes: sink.position,
            checksum: checksum_text(sink.whole.digest()),
            key_groups,
            row_count: index.row_count,
        })
    }

    /// The sink; what is written to it directly is not part of the file.
    pub(super) fn sink(&mut self) -> &mut W {
        &mut self.writer.get_mut().sink
    }

    fn write_piece(
        &mut self,
        runs: Vec<(KeyGroup, u32)>,
        batch: &RecordBatch,
    ) -> Result<(), EncodeError> {
        self.writer.write(batch)?;
        self.last_group = runs.last().map(|(group, _)| *group);
        self.row_count += batch.num_rows() as u64;
        let block = self.writer.get_mut().end_block();
        self.batches.push(BatchIndex { block, runs });
        Ok(())
    }

    /// What keeps a batch from being written, if anything.
    fn check(&self, runs: &[(KeyGroup, usize)], batch: &RecordBatch) -> Option<String> {
        if batch.schema_ref() != &self.schema {
            return Some("a batch has another schema than the file".into());
        }
        let row_count: usize = runs.iter().map(|(_, row_count)| row_count).sum();
        if row_count != batch.num_rows() {
            let rows = batch.num_rows();
            return Some(format!(
                "its key groups have {row_count} rows, a batch has {rows}"
            ));
        }
        let groups = batch
            .column(0)
            .as_any()
            .downcast_ref::<UInt16Array>()?
            .values();
        let mut last_group = self.last_group;
        let mut start = 0;
        for &(group, row_count) in runs {
            let is_repeated = start > 0 && last_group == Some(group);
            if last_group.is_some_and(|last| group < last) || is_repeated {
                return Some(format!("key group {} does not ascend", group.0));
            }
            if row_count > 0 {
                last_group = Some(group);
            }
            let rows = &groups[start..start + row_count];
            if rows.iter().any(|found| *found != group.0) {
                let name = super::KEY_GROUP_COLUMN;
                return Some(format!("`{name}` differs from key group {}", group.0));
            }
            start += row_count;
        }
        None
    }
}

/// Passes bytes on, and hashes them: the whole file, and one block after the other.
struct Hashed<W> {
    sink: W,
    whole: Xxh3,
    block: Xxh3,
    position: u64,
    block_start: u64,
}

impl<W> Hashed<W> {
    fn new(sink: W) -> Self {
        Self {
            sink,
            whole: Xxh3::new(),
            block: Xxh3::new(),
            position: 0,
            block_start: 0,
        }
    }

    /// What was written since the last call.
    fn end_block(&mut self) -> Block {
        let block = Block {
            offset: self.block_start,
            size_bytes: self.position - self.block_start,
            checksum: checksum_text(self.block.digest()),
        };
        self.block.reset();
        self.block_start = self.position;
        block
    }
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sink.write_all(bytes)?;
        self.whole.update(bytes);
        self.block.update(bytes);
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}
