//! Finding the rows of CSV text, one after the other.

use std::io::{self, BufRead, BufReader, Read};

use csv_core::ReadRecordResult;
use serde::{Deserialize, Serialize};

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;
/// The longest row: one that goes on so far has a quote that is never closed.
const ROW_BYTES_MAX: u64 = 16 << 20;

/// A place between rows, or where a row begins: a byte of the file, unpacked, and its line, from 1;
/// 0 where a split that begins within the file does not know it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) byte: u64,
    pub(super) line: u64,
}

/// The begin of a file.
pub(super) const FILE_BEGIN: Place = Place { byte: 0, line: 1 };

impl Place {
    fn pass(&mut self, bytes: usize, line_ends: u64) {
        self.byte += bytes as u64;
        if self.line > 0 {
            self.line += line_ends;
        }
    }
}

/// Rows and their cells, unquoted, in few pieces of memory.
#[derive(Debug, Default)]
pub(super) struct CellRows {
    bytes: Vec<u8>,
    bytes_len: usize,
    /// Where each cell ends, counted from the begin of its row.
    ends: Vec<usize>,
    ends_len: usize,
    rows: Vec<RowBegin>,
}

#[derive(Debug, Clone, Copy)]
struct RowBegin {
    place: Place,
    byte: usize,
    cell: usize,
}

/// The cells of a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row<'a> {
    pub(super) place: Place,
    bytes: &'a [u8],
    ends: &'a [usize],
}

impl<'a> Row<'a> {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn cell(&self, index: usize) -> &'a [u8] {
        let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[begin..self.ends[index]]
    }

    pub(super) fn cells(&self) -> impl Iterator<Item = &'a [u8]> {
        let row = *self;
        (0..row.len()).map(move |index| row.cell(index))
    }
}

impl CellRows {
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of all cells.
    pub(super) fn size_bytes(&self) -> usize {
        self.bytes_len
    }

    pub(super) fn get(&self, index: usize) -> Option<Row<'_>> {
        let begin = self.rows.get(index)?;
        let next = self.rows.get(index + 1);
        let bytes_end = next.map_or(self.bytes_len, |next| next.byte);
        let cells_end = next.map_or(self.ends_len, |next| next.cell);
        Some(Row {
            place: begin.place,
            bytes: &self.bytes[begin.byte..bytes_end],
            ends: &self.ends[begin.cell..cells_end],
        })
    }
}

/// Goes through the rows of a text. Blank lines are none; `\n`, `\r\n` and `\r` end a row.
pub(super) struct RowCursor {
    input: BufReader<Box<dyn Read>>,
    parser: csv_core::Reader,
    place: Place,
}

impl RowCursor {
    /// Begins at a place where no row is under way; `input` begins there.
    pub(super) fn new(input: Box<dyn Read>, place: Place, delimiter: u8) -> Self {
        let mut parser = csv_core::ReaderBuilder::new().delimiter(delimiter).build();
        if place.byte > 0 {
            // Only a file's begin has a byte order mark; elsewhere the same bytes are text. A
            // parser that has read something takes them for it.
            let _ = parser.read_record(b"\n", &mut [0], &mut [0]);
        }
        Self {
            input: BufReader::with_capacity(READ_BYTES, input),
            parser,
            place,
        }
    }

    /// Where the last row ended.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Passes what is left of a row, up to its end.
    pub(super) fn skip_rest_of_row(&mut self) -> io::Result<()> {
        loop {
            let bytes = self.input.fill_buf()?;
            let end = memchr::memchr2(b'\r', b'\n', bytes);
            let length = end.unwrap_or(bytes.len());
            let is_over = end.is_some() || bytes.is_empty();
            self.place.pass(length, 0);
            self.input.consume(length);
            if is_over {
                return Ok(());
            }
        }
    }

    /// Passes line ends, so that the place is a row's begin; `None` at the end of the text.
    pub(super) fn next_begin(&mut self) -> io::Result<Option<Place>> {
        loop {
            let bytes = self.input.fill_buf()?;
            let is_text = |byte: &u8| !matches!(byte, b'\r' | b'\n');
            let length = bytes.iter().position(is_text).unwrap_or(bytes.len());
            let line_ends = bytes[..length].iter().filter(|byte| **byte == b'\n');
            let line_ends = line_ends.count() as u64;
            let (is_end, is_begin) = (bytes.is_empty(), length < bytes.len());
            self.place.pass(length, line_ends);
            self.input.consume(length);
            if is_end {
                return Ok(None);
            }
            if is_begin {
                return Ok(Some(self.place));
            }
        }
    }

    /// Appends the row that begins here; only after [`RowCursor::next_begin`] gave a place.
    pub(super) fn read_row(&mut self, rows: &mut CellRows) -> io::Result<()> {
        let begin = RowBegin {
            place: self.place,
            byte: rows.bytes_len,
            cell: rows.ends_len,
        };
        loop {
            let input = self.input.fill_buf()?;
            let line = self.parser.line();
            let (bytes, ends) = (
                &mut rows.bytes[rows.bytes_len..],
                &mut rows.ends[rows.ends_len..],
            );
            let (result, read, written, cells) = self.parser.read_record(input, bytes, ends);
            self.input.consume(read);
            self.place.pass(read, self.parser.line() - line);
            rows.bytes_len += written;
            rows.ends_len += cells;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => grow(&mut rows.bytes, 64 << 10),
                ReadRecordResult::OutputEndsFull => grow(&mut rows.ends, 1 << 10),
                ReadRecordResult::Record | ReadRecordResult::End => break,
            }
            if self.place.byte - begin.place.byte > ROW_BYTES_MAX {
                return Err(io::Error::other(
                    "a row is longer than 16 MiB, which a quote that is never closed would explain",
                ));
            }
        }
        rows.rows.push(begin);
        Ok(())
    }
}

fn grow<T: Clone + Default>(buffer: &mut Vec<T>, at_least: usize) {
    let length = (buffer.len() * 2).max(at_least);
    buffer.resize(length, T::default());
}
