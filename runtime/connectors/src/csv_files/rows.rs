//! Rows of a CSV file, read ahead by a blocking thread.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::rc::Rc;

use csv::ByteRecord;
use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use tidegate_engine::{PermanentError, Result};
use tokio::sync::mpsc;

use crate::text_files::{FileRange, skip_line};

/// Rows that are handed on together.
const BATCH_ROWS: usize = 1024;
/// Bytes of cells after which fewer are.
const BATCH_BYTES: usize = 256 << 10;
/// The longest row: one that goes on so far has a quote that is never closed.
const ROW_BYTES_MAX: usize = 16 << 20;
/// Batches read ahead.
const READ_AHEAD: usize = 2;

/// Where a row begins: a byte of the file, unpacked, and its line, from 1; 0 where a split that
/// begins within the file does not know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) byte: u64,
    pub(super) line: u64,
}

/// Rows that follow each other.
pub(super) struct Batch {
    pub(super) header: ByteRecord,
    /// Each with the place of its begin.
    pub(super) rows: Vec<(Place, ByteRecord)>,
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
        if let Err(error) = read(&range, place, delimiter, &sender) {
            let path = range.path.display();
            let message =
                format!("cannot read `{path}`; check that it is there, whole, and may be read");
            let error = PermanentError::with_source(message, error);
            let _ = sender.blocking_send(Err(error.into()));
        }
    });
    batches
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

/// An input that fails where a row has no end.
struct Bounded {
    input: Box<dyn Read>,
    /// Bytes read since a row was found.
    bytes: Rc<Cell<usize>>,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes.get() > ROW_BYTES_MAX {
            return Err(io::Error::other(
                "a row is longer than 16 MiB, which a quote that is never closed would explain",
            ));
        }
        let count = self.input.read(buffer)?;
        self.bytes.set(self.bytes.get() + count);
        Ok(count)
    }
}

fn reader(input: Box<dyn Read>, delimiter: u8, bytes: &Rc<Cell<usize>>) -> csv::Reader<Bounded> {
    let bytes = Rc::clone(bytes);
    csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .buffer_capacity(256 << 10)
        .from_reader(Bounded { input, bytes })
}

/// The first row of a split that begins within its file: where a line begins.
fn first_row(range: &FileRange) -> io::Result<u64> {
    let before = range.start - 1;
    Ok(before + skip_line(&mut open(range, before)?)?)
}

fn read(
    range: &FileRange,
    place: Option<Place>,
    delimiter: u8,
    sender: &mpsc::Sender<Result<Batch>>,
) -> csv::Result<()> {
    let unended_bytes = Rc::new(Cell::new(0));
    let mut rows = reader(open(range, 0)?, delimiter, &unended_bytes);
    let mut header = ByteRecord::new();
    rows.read_byte_record(&mut header)?;
    let base = match place {
        None if range.start == 0 => Place { byte: 0, line: 1 },
        None => Place {
            byte: first_row(range)?,
            line: 0,
        },
        Some(place) => place,
    };
    if base.byte > 0 {
        rows = reader(open(range, base.byte)?, delimiter, &unended_bytes);
    }
    let place_of = |position: &csv::Position| Place {
        byte: base.byte + position.byte(),
        line: match base.line {
            0 => 0,
            line => line + position.line() - 1,
        },
    };
    let split_end = range.end.unwrap_or(u64::MAX);
    loop {
        let mut batch = Vec::with_capacity(BATCH_ROWS);
        let mut bytes = 0;
        let mut is_end = false;
        while batch.len() < BATCH_ROWS && bytes < BATCH_BYTES {
            let mut row = ByteRecord::new();
            if !rows.read_byte_record(&mut row)? {
                is_end = true;
                break;
            }
            unended_bytes.set(0);
            bytes += row.as_slice().len();
            let place = row.position().map_or(base, place_of);
            if place.byte >= split_end {
                is_end = true;
                break;
            }
            batch.push((place, row));
        }
        let batch = Batch {
            header: header.clone(),
            rows: batch,
            end: place_of(rows.position()),
        };
        if sender.blocking_send(Ok(batch)).is_err() || is_end {
            return Ok(());
        }
    }
}
