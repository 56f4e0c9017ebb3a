//! Turning the bytes of a batch into rows. The bytes are compared with their checksum first; what
//! their writer may have forged still ends in an error.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::{Array, RecordBatch, UInt16Array};
use arrow_buffer::Buffer;
use arrow_ipc::reader::FileDecoder;
use arrow_ipc::{Block as IpcBlock, MetadataVersion};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use tidegate_protocol::KeyGroupRange;

use super::index::{BatchIndex, FileIndex};

/// What LZ4 can make of one byte at most, and of none.
const EXPANSION_MAX: i64 = 255;
/// The length that stands before each compressed buffer.
const LENGTH_SIZE_BYTES: i64 = 8;

/// Turns checked bytes into rows.
pub(super) struct Decode {
    pub(super) index: Arc<FileIndex>,
    pub(super) schema: SchemaRef,
    /// Rows of these key groups are returned.
    pub(super) range: KeyGroupRange,
}

impl Decode {
    /// Decodes a batch out of bytes that were read from `start` on; else says what is wrong.
    pub(super) fn batch(
        &self,
        number: usize,
        bytes: &Bytes,
        start: u64,
    ) -> Result<RecordBatch, String> {
        let batch = &self.index.batches[number];
        // The plan made both from the index, whose blocks do not overlap.
        let from = (batch.block.offset - start) as usize;
        let block = bytes.slice(from..from + batch.block.size_bytes as usize);
        if !batch.block.matches(&block) {
            return Err(format!("the checksum of its batch {number} does not match"));
        }
        let decoded = catch_unwind(AssertUnwindSafe(|| decode_block(&block, &self.schema)))
            .unwrap_or_else(|_| Err("it is malformed".into()))
            .map_err(|problem| format!("its batch {number} cannot be decoded: {problem}"))?;
        if decoded.num_rows() as u64 != batch.row_count() {
            return Err(format!(
                "its batch {number} has {} rows",
                decoded.num_rows()
            ));
        }
        check_groups(&decoded, batch)?;
        let (start, row_count) = batch.rows_in(self.range);
        Ok(decoded.slice(start, row_count))
    }
}

fn decode_block(block: &Bytes, schema: &SchemaRef) -> Result<RecordBatch, String> {
    // Continuation marker, then the length of the metadata.
    let length = block
        .get(4..8)
        .and_then(|length| <[u8; 4]>::try_from(length).ok());
    let metadata_size = length
        .map(i32::from_le_bytes)
        .and_then(|length| length.checked_add(8));
    let is_within = |size: &i32| (8..=block.len() as i64).contains(&i64::from(*size));
    let metadata_size = metadata_size
        .filter(is_within)
        .ok_or("its metadata is over-long")?;
    // Both within the block, as just checked.
    let (metadata, body) = block.split_at(metadata_size as usize);
    check_lengths(&metadata[8..], body)?;

    let ipc_block = IpcBlock::new(0, metadata_size, body.len() as i64);
    let decoder = FileDecoder::new(schema.clone(), MetadataVersion::V5);
    let batch = decoder
        .read_record_batch(&ipc_block, &Buffer::from(block.clone()))
        .map_err(|error| error.to_string())?;
    batch.ok_or_else(|| "it is empty".to_owned())
}

/// Refuses lengths that no compressed buffer can have: room for them would be reserved at once.
fn check_lengths(metadata: &[u8], body: &[u8]) -> Result<(), String> {
    let message = arrow_ipc::root_as_message(metadata)
        .map_err(|error| format!("its metadata is malformed: {error}"))?;
    let batch = message.header_as_record_batch().ok_or("it holds no rows")?;
    if batch.compression().is_none() {
        return Ok(());
    }
    for buffer in batch
        .buffers()
        .into_iter()
        .flatten()
        .filter(|buffer| buffer.length() > 0)
    {
        let start = usize::try_from(buffer.offset()).unwrap_or(usize::MAX);
        let prefix = body.get(start..).and_then(|rest| rest.first_chunk());
        let length = prefix.map(|prefix| i64::from_le_bytes(*prefix));
        let length_max = buffer
            .length()
            .saturating_sub(LENGTH_SIZE_BYTES)
            .saturating_mul(EXPANSION_MAX);
        if length.is_none_or(|length| length > length_max) {
            return Err("a compressed buffer has an impossible length".into());
        }
    }
    Ok(())
}

fn check_groups(decoded: &RecordBatch, batch: &BatchIndex) -> Result<(), String> {
    let groups = decoded.column(0).as_any().downcast_ref::<UInt16Array>();
    let mut groups = groups.ok_or("it has no key groups")?.values().iter();
    for (group, row_count) in &batch.runs {
        if groups
            .by_ref()
            .take(*row_count as usize)
            .any(|found| *found != group.0)
        {
            return Err(format!("a row of key group {} has another one", group.0));
        }
    }
    Ok(())
}
