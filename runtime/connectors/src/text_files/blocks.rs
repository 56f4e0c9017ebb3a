//! Blocks of whole lines, read ahead by a blocking thread.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use flate2::read::MultiGzDecoder;
use tidegate_engine::{PermanentError, Result};
use tokio::sync::mpsc;

use super::FileRange;
use super::discover::check_open;

/// Bytes read at once.
pub(super) const READ_BYTES: usize = 512 << 10;
/// Blocks read ahead.
const READ_AHEAD: usize = 2;

/// Whole lines of a file, in part pushed already.
#[derive(Debug, Default)]
pub(super) struct Block {
    bytes: Vec<u8>,
    /// The first byte not taken yet.
    next: usize,
    /// Its offset in the file, unpacked.
    pub(super) offset: u64,
    is_utf8: bool,
    /// The lines' only one, and too long: what is here is its begin.
    is_too_long: bool,
    /// Bytes of the file that belong to a line too long, besides those here.
    dropped_bytes: u64,
}

/// What is wrong with a record, and as much of it as can be shown.
type Bad = (&'static str, String);

impl Block {
    fn new(bytes: Vec<u8>, offset: u64) -> Self {
        let is_utf8 = std::str::from_utf8(&bytes).is_ok();
        Self {
            bytes,
            next: 0,
            offset,
            is_utf8,
            is_too_long: false,
            dropped_bytes: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next == self.bytes.len()
    }

    /// Takes the next line, without its end.
    pub(super) fn take_line(&mut self) -> Result<&str, Bad> {
        let rest = &self.bytes[self.next..];
        let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let taken = self.take(length);
        let line = taken.map(|range| {
            let line = &self.bytes[range];
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            line.strip_suffix(b"\r").unwrap_or(line)
        })?;
        text(line)
    }

    /// Takes whole lines with their ends: as many as fit, at least one.
    pub(super) fn take_lines(&mut self, most_bytes: usize) -> Result<&str, Bad> {
        let rest = &self.bytes[self.next..];
        // Line by line where something is wrong, so that only bad lines are lost.
        let most = if self.is_utf8 {
            most_bytes.min(rest.len())
        } else {
            0
        };
        let length = match memchr::memrchr(b'\n', &rest[..most]) {
            Some(end) => end + 1,
            None => memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1),
        };
        let range = self.take(length)?;
        text(&self.bytes[range])
    }

    fn take(&mut self, length: usize) -> Result<std::ops::Range<usize>, Bad> {
        let range = self.next..self.next + length;
        self.next = range.end;
        self.offset += length as u64;
        if self.is_too_long {
            self.offset += self.dropped_bytes;
            let begin = String::from_utf8_lossy(&self.bytes[range]).into_owned();
            return Err(("the line is longer than allowed", begin));
        }
        Ok(range)
    }
}

fn text(bytes: &[u8]) -> Result<&str, Bad> {
    std::str::from_utf8(bytes).map_err(|_| {
        (
            "the text is no UTF-8",
            String::from_utf8_lossy(bytes).into_owned(),
        )
    })
}

/// Gives the blocks of one split.
pub(super) struct BlockReader {
    blocks: mpsc::Receiver<Result<Block>>,
}

impl BlockReader {
    /// Starts a thread that reads ahead, from a position or from the split's first line.
    pub(super) fn start(
        range: FileRange,
        position: Option<u64>,
        limits: Limits,
        io: &tokio::runtime::Handle,
    ) -> Self {
        let (sender, blocks) = mpsc::channel(READ_AHEAD);
        io.spawn_blocking(move || {
            let reading = Reading {
                range,
                limits,
                sender,
            };
            if let Err(error) = reading.run(position) {
                let _ = reading.sender.blocking_send(Err(error.into()));
            }
        });
        Self { blocks }
    }

    /// The next block; `None` at the end of the split.
    pub(super) async fn next(&mut self) -> Result<Option<Block>> {
        self.blocks.recv().await.transpose()
    }
}

/// Sizes in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) max_line_bytes: usize,
    pub(super) read_bytes: usize,
}

struct Reading {
    range: FileRange,
    limits: Limits,
    sender: mpsc::Sender<Result<Block>>,
}

impl Reading {
    fn run(&self, position: Option<u64>) -> Result<(), PermanentError> {
        let unreadable = |error| {
            let path = self.range.path.display();
            let message =
                format!("cannot read `{path}`; check that it exists, is whole, and may be read");
            PermanentError::with_source(message, error)
        };
        let file = File::open(&self.range.path).map_err(unreadable)?;
        check_open(&self.range, &file)?;
        let result = self.read(&file, position);
        check_open(&self.range, &file)?;
        result.map_err(unreadable)
    }

    fn read(&self, mut file: &File, position: Option<u64>) -> io::Result<()> {
        let start = position.unwrap_or(self.range.start);
        if self.range.is_gzip {
            let mut unpacked = MultiGzDecoder::new(BufReader::new(file));
            let skipped = io::copy(&mut unpacked.by_ref().take(start), &mut io::sink())?;
            if skipped < start {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            return self.read_blocks(&mut unpacked, start);
        }
        let first = if position.is_some() || start == 0 {
            start
        } else {
            // A line that begins at the split's very first byte is its own: the byte before tells.
            file.seek(SeekFrom::Start(start - 1))?;
            start - 1 + BufReader::new(file).skip_until(b'\n')? as u64
        };
        file.seek(SeekFrom::Start(first))?;
        self.read_blocks(&mut file, first)
    }

    /// Reads whole lines that begin before the split's end.
    fn read_blocks(&self, file: &mut impl Read, start: u64) -> io::Result<()> {
        let end = self.range.end.unwrap_or(u64::MAX);
        let mut offset = start;
        let mut rest = Rest::default();
        while offset < end {
            let Rest { mut bytes, scanned } = std::mem::take(&mut rest);
            bytes.reserve(self.limits.read_bytes);
            let most = self.limits.read_bytes as u64;
            let read = file.by_ref().take(most).read_to_end(&mut bytes)?;
            let is_over = (read as u64) < most;
            let length = match whole_lines(&bytes, scanned, end - offset) {
                Some(length) => length,
                None if is_over => bytes.len(),
                None if bytes.len() > self.limits.max_line_bytes => {
                    (offset, rest) = self.give_up_line(file, bytes, offset)?;
                    continue;
                }
                None => {
                    rest = Rest::without_line_end(bytes);
                    continue;
                }
            };
            let length = if is_over && last_line_is_own(&bytes, length, end - offset) {
                bytes.len()
            } else {
                length
            };
            rest = Rest::without_line_end(bytes.split_off(length));
            if !self.give(bytes, offset) || is_over {
                return Ok(());
            }
            offset += length as u64;
        }
        Ok(())
    }

    /// Sends a block, its too long lines apart; `false` once nobody wants more.
    fn give(&self, bytes: Vec<u8>, offset: u64) -> bool {
        if bytes.is_empty() {
            return true;
        }
        let is_long = bytes.len() > self.limits.max_line_bytes
            && bytes
                .split(|byte| *byte == b'\n')
                .any(|line| line.len() > self.limits.max_line_bytes);
        if !is_long {
            return self
                .sender
                .blocking_send(Ok(Block::new(bytes, offset)))
                .is_ok();
        }
        let mut offset = offset;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let is_too_long =
                line.strip_suffix(b"\n").unwrap_or(line).len() > self.limits.max_line_bytes;
            let mut block = Block::new(line.to_vec(), offset);
            block.is_too_long = is_too_long;
            if is_too_long {
                block.dropped_bytes = (line.len() - self.limits.max_line_bytes) as u64;
                block.bytes.truncate(self.limits.max_line_bytes);
            }
            offset += line.len() as u64;
            if self.sender.blocking_send(Ok(block)).is_err() {
                return false;
            }
        }
        true
    }

    /// Drops the rest of a line that is longer than a block; gives the offset after it, and what
    /// was read from there.
    fn give_up_line(
        &self,
        file: &mut impl Read,
        mut bytes: Vec<u8>,
        offset: u64,
    ) -> io::Result<(u64, Rest)> {
        let mut file = BufReader::new(file);
        let dropped = file.skip_until(b'\n')?;
        let line_bytes = (bytes.len() + dropped) as u64;
        bytes.truncate(self.limits.max_line_bytes);
        let mut block = Block::new(bytes, offset);
        block.is_too_long = true;
        block.dropped_bytes = line_bytes - block.bytes.len() as u64;
        // Where nobody wants it, the next block is told so too.
        let _ = self.sender.blocking_send(Ok(block));
        let rest = Rest {
            bytes: file.buffer().to_vec(),
            scanned: 0,
        };
        Ok((offset + line_bytes, rest))
    }
}

/// What was read and not given yet.
#[derive(Default)]
struct Rest {
    bytes: Vec<u8>,
    /// How many of these are known to hold no line end.
    scanned: usize,
}

impl Rest {
    fn without_line_end(bytes: Vec<u8>) -> Self {
        let scanned = bytes.len();
        Self { bytes, scanned }
    }
}

/// How many bytes are whole lines that begin before `end`; `None` where no line ends here. The
/// first `scanned` bytes are known to hold no line end.
fn whole_lines(bytes: &[u8], scanned: usize, end: u64) -> Option<usize> {
    let end = usize::try_from(end).unwrap_or(usize::MAX);
    if end <= bytes.len() {
        // The line that holds the last byte before the end is the last one.
        let from = end.saturating_sub(1);
        if let Some(found) = memchr::memchr(b'\n', &bytes[from..]) {
            return Some(from + found + 1);
        }
    }
    memchr::memrchr(b'\n', &bytes[scanned..]).map(|found| scanned + found + 1)
}

/// Whether what follows the whole lines, at the end of the file, is a line that begins before
/// `end`.
fn last_line_is_own(bytes: &[u8], length: usize, end: u64) -> bool {
    length < bytes.len() && (length as u64) < end
}
