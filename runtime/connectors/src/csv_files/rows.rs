//! Rows of a CSV file, read ahead by a blocking thread.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use tidegate_engine::{PermanentError, Result};
use tokio::sync::mpsc;

use super::cursor::{CellRows, FILE_BEGIN, Place, RowCursor};
use crate::text_files::{FileRange, check_open};

/// Rows that are handed on together.
const BATCH_ROWS: usize = 1024;
/// Bytes of cells after which fewer are.
const BATCH_BYTES: usize = 256 << 10;
/// Batches read ahead.
const READ_AHEAD: usize = 2;

/// Rows that follow each other.
pub(super) struct Batch {
    /// One row.
    pub(super) header: Arc<CellRows>,
    pub(super) rows: CellRows,
    /// Where the next batch begins.
    pub(super) end: Place,
}

/// Starts a thread that reads a file from a place, or from its first row.
pub(super) fn start(
    range: FileRange,
    place: Option<Place>,
    delimiter: u8,
    io: &tokio::runtime::Handle,
) -> mpsc::Receiver<Result<Batch>> {
    let (sender, batches) = mpsc::channel(READ_AHEAD);
    io.spawn_blocking(move || {
        if let Err(error) = run(&range, place, delimiter, &sender) {
            let _ = sender.blocking_send(Err(error.into()));
        }
    });
    batches
}

fn run(
    range: &FileRange,
    place: Option<Place>,
    delimiter: u8,
    sender: &mpsc::Sender<Result<Batch>>,
) -> Result<(), PermanentError> {
    let unreadable = |error| {
        let path = range.path.display();
        let message =
            format!("cannot read `{path}`; check that it is there, whole, and may be read");
        PermanentError::with_source(message, error)
    };
    let file = File::open(&range.path).map_err(unreadable)?;
    check_open(range, &file)?;
    let result = read(range, place, delimiter, sender);
    check_open(range, &file)?;
    result.map_err(unreadable)
}

fn open(range: &FileRange, from: u64) -> io::Result<Box<dyn Read>> {
    let mut file = File::open(&range.path)?;
    if !range.is_gzip {
        file.seek(SeekFrom::Start(from))?;
        return Ok(Box::new(file));
    }
    let mut unpacked = MultiGzDecoder::new(BufReader::new(file));
    let skipped = io::copy(&mut unpacked.by_ref().take(from), &mut io::sink())?;
    if skipped < from {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Box::new(unpacked))
}

fn read(
    range: &FileRange,
    place: Option<Place>,
    delimiter: u8,
    sender: &mpsc::Sender<Result<Batch>>,
) -> io::Result<()> {
    let mut cursor = RowCursor::new(open(range, 0)?, FILE_BEGIN, delimiter);
    let mut header = CellRows::default();
    if cursor.next_begin()?.is_some() {
        cursor.read_row(&mut header)?;
    }
    let header = Arc::new(header);
    if let Some(begun) = begin(range, place, cursor.place(), delimiter)? {
        cursor = begun;
    }
    let split_end = range.end.unwrap_or(u64::MAX);
    let mut is_end = false;
    while !is_end {
        let mut rows = CellRows::default();
        while rows.len() < BATCH_ROWS && rows.size_bytes() < BATCH_BYTES {
            is_end = match cursor.next_begin()? {
                Some(place) => place.byte >= split_end,
                None => true,
            };
            if is_end {
                break;
            }
            cursor.read_row(&mut rows)?;
        }
        let batch = Batch {
            header: Arc::clone(&header),
            rows,
            end: cursor.place(),
        };
        if sender.blocking_send(Ok(batch)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Goes to the first row that is wanted, unless it is the one after the header. A row belongs to
/// the range that holds its first byte.
fn begin(
    range: &FileRange,
    place: Option<Place>,
    header_end: Place,
    delimiter: u8,
) -> io::Result<Option<RowCursor>> {
    if let Some(place) = place {
        let is_further = place.byte > header_end.byte;
        return is_further
            .then(|| Ok(RowCursor::new(open(range, place.byte)?, place, delimiter)))
            .transpose();
    }
    if range.start <= header_end.byte {
        return Ok(None);
    }
    // A row that begins at the range's very first byte is its own: the byte before tells.
    let before = Place {
        byte: range.start - 1,
        line: 0,
    };
    let mut cursor = RowCursor::new(open(range, before.byte)?, before, delimiter);
    cursor.skip_rest_of_row()?;
    Ok(Some(cursor))
}
