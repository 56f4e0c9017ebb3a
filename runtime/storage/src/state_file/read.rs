//! Reading a state file's rows of some key groups, every byte checked before it is decoded.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::convert::try_schema_from_ipc_buffer;
use arrow_ipc::reader::read_footer_length;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use tidegate_protocol::{KeyGroupRange, StateFile};
use tokio::task::JoinHandle;
use xxhash_rust::xxh3::Xxh3;

use super::decode::Decode;
use super::index::{
    BatchIndex, FORMAT_KEY, FileIndex, INDEX_CHECKSUM_KEY, INDEX_KEY, checksum_text,
};
use super::{STATE_FORMAT_VERSION, schema_problem};
use crate::store::{blocking, joined};
use crate::{Result, StorageError, Store};

/// What is read first: enough for the footer of most files, and all of a small one.
const TAIL_SIZE_BYTES: u64 = 64 * 1024;
/// Batches are read together up to this size; a larger one is read alone.
const FETCH_SIZE_BYTES: u64 = 4 * 1024 * 1024;
/// The footer's length and the magic bytes at the file's end.
const TRAILER_SIZE_BYTES: usize = 10;
/// The magic bytes at the file's start, padded.
const MAGIC_SIZE_BYTES: usize = 8;

/// A state file being read, batch by batch.
///
/// Where all its rows are wanted, the last call also compares the whole file's checksum with the
/// manifest's; else each part that is read is compared with the index's.
#[derive(Debug)]
pub struct StateFileReader {
    source: Arc<Source>,
    index: Arc<FileIndex>,
    schema: SchemaRef,
    /// Rows of these key groups are returned.
    range: KeyGroupRange,
    fetches: VecDeque<Fetch>,
    /// The bytes of the first of the fetches, on their way.
    ahead: Option<JoinHandle<Result<Bytes>>>,
    decoded: VecDeque<RecordBatch>,
    whole: Option<Whole>,
}

/// What a file is read for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The rows of these key groups.
    Rows(KeyGroupRange),
    /// Every checksum; of the rows, those that the manifest names.
    EveryByte,
}

/// Batches that are read together.
#[derive(Debug)]
struct Fetch {
    bytes: Range<u64>,
    batches: Range<usize>,
}

/// The running check of a file that is read to its end.
struct Whole {
    hash: Xxh3,
    expected: String,
}

impl StateFileReader {
    pub(crate) async fn open(
        store: Store,
        name: String,
        file: &StateFile,
        wanted: Wanted,
    ) -> Result<Self> {
        let source = Source::open(store, name, file.size_bytes).await?;
        let index = source.read_index().await?;
        if let Some(problem) = mismatch(&index, &source.name, file) {
            return Err(source.damaged(problem));
        }
        let head = source.read(0..index.head.size_bytes).await?;
        if !index.head.matches(&head) {
            return Err(source.damaged("the checksum of its head does not match"));
        }
        let schema = parse_schema(&head).map_err(|problem| source.damaged(problem))?;

        let none = KeyGroupRange { start: 0, end: 0 };
        let range = match wanted {
            Wanted::Rows(range) => range.intersect(file.key_groups).unwrap_or(none),
            Wanted::EveryByte => file.key_groups,
        };
        let is_wanted =
            |batch: &BatchIndex| wanted == Wanted::EveryByte || batch.rows_in(range).1 > 0;
        let is_whole = index.batches.iter().all(is_wanted);
        let whole = is_whole.then(|| {
            let mut hash = Xxh3::new();
            hash.update(&head);
            Whole {
                hash,
                expected: file.checksum.clone(),
            }
        });
        Ok(Self {
            fetches: plan(&index.batches, is_wanted),
            index: Arc::new(index),
            source: Arc::new(source),
            ahead: None,
            schema,
            range,
            decoded: VecDeque::new(),
            whole,
        })
    }

    /// The schema of its batches; its metadata is what the writer gave.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next rows; `None` at the end, when everything has been checked. Rows that were returned
    /// before an error must not be used either.
    ///
    /// # Errors
    /// A damaged file, or a store that cannot be read.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.decoded.pop_front() {
                return Ok(Some(batch));
            }
            match self.fetches.pop_front() {
                Some(fetch) => self.fetch(fetch).await?,
                None => {
                    self.check_whole().await?;
                    return Ok(None);
                }
            }
        }
    }

    async fn fetch(&mut self, fetch: Fetch) -> Result<()> {
        let bytes = match self.ahead.take() {
            Some(ahead) => joined(ahead.await)?,
            None => self.source.read(fetch.bytes.clone()).await?,
        };
        // The next bytes come while these are decoded.
        self.ahead = self.fetches.front().map(|next| {
            let (source, bytes) = (self.source.clone(), next.bytes.clone());
            tokio::spawn(async move { source.read(bytes).await })
        });
        if let Some(whole) = &mut self.whole {
            whole.hash.update(&bytes);
        }
        let decode = Decode {
            index: self.index.clone(),
            schema: self.schema.clone(),
            range: self.range,
        };
        let location = self.source.location();
        self.decoded = blocking(move || {
            let mut decoded = VecDeque::with_capacity(fetch.batches.len());
            for batch in fetch.batches {
                let rows = decode
                    .batch(batch, &bytes, fetch.bytes.start)
                    .map_err(|problem| StorageError::damaged(&location, problem))?;
                decoded.push_back(rows);
            }
            Ok(decoded)
        })
        .await?;
        Ok(())
    }

    async fn check_whole(&mut self) -> Result<()> {
        let Some(mut whole) = self.whole.take() else {
            return Ok(());
        };
        let end = self
            .index
            .batches
            .last()
            .map_or(&self.index.head, |batch| &batch.block)
            .end();
        whole
            .hash
            .update(&self.source.read(end..self.source.size_bytes).await?);
        if checksum_text(whole.hash.digest()) != whole.expected {
            return Err(self
                .source
                .damaged("its checksum does not match the manifest's"));
        }
        Ok(())
    }
}

impl Drop for StateFileReader {
    fn drop(&mut self) {
        if let Some(ahead) = &self.ahead {
            ahead.abort();
        }
    }
}

/// The file's bytes, of which the last ones are at hand.
#[derive(Debug)]
struct Source {
    store: Store,
    name: String,
    size_bytes: u64,
    tail: Bytes,
}

impl Source {
    async fn open(store: Store, name: String, size_bytes: u64) -> Result<Self> {
        let location = store.location(&name);
        match store.size(&name).await? {
            None => return Err(StorageError::Missing { location }),
            Some(found) if found != size_bytes => {
                let problem = format!("it has {found} bytes, but the manifest says {size_bytes}");
                return Err(StorageError::damaged(location, problem));
            }
            Some(_) => {}
        }
        let start = size_bytes.saturating_sub(TAIL_SIZE_BYTES);
        let tail = store.read_range(&name, start..size_bytes).await?;
        Ok(Self {
            store,
            name,
            size_bytes,
            tail,
        })
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let tail_start = self.size_bytes - self.tail.len() as u64;
        if range.start >= tail_start && range.end <= self.size_bytes && range.start <= range.end {
            // Both lie within the tail, which is in memory.
            let from = (range.start - tail_start) as usize;
            return Ok(self
                .tail
                .slice(from..from + (range.end - range.start) as usize));
        }
        let expected = range.end - range.start;
        let bytes = self.store.read_range(&self.name, range).await?;
        if bytes.len() as u64 != expected {
            return Err(self.damaged("it ends too early"));
        }
        Ok(bytes)
    }

    /// Reads the index from the footer.
    async fn read_index(&self) -> Result<FileIndex> {
        let size_bytes = self.size_bytes;
        let footer_size = footer_size(&self.tail).map_err(|problem| self.damaged(problem))?;
        let end = size_bytes - TRAILER_SIZE_BYTES as u64;
        let Some(start) = end.checked_sub(footer_size as u64) else {
            return Err(self.damaged("its footer is longer than the file"));
        };
        let footer = self.read(start..end).await?;
        let parsed = catch_unwind(AssertUnwindSafe(|| parse_footer(&footer, size_bytes)))
            .unwrap_or_else(|_| Err(Footer::Damaged("its footer is malformed".into())));
        parsed.map_err(|error| match error {
            Footer::Damaged(problem) => self.damaged(problem),
            Footer::Newer(found) => StorageError::UnknownFormat {
                location: self.location(),
                found,
                supported: STATE_FORMAT_VERSION,
            },
        })
    }

    fn location(&self) -> String {
        self.store.location(&self.name)
    }

    fn damaged(&self, problem: impl std::fmt::Display) -> StorageError {
        StorageError::damaged(self.location(), problem)
    }
}

/// Why a footer cannot be used.
enum Footer {
    Damaged(String),
    Newer(u32),
}

fn footer_size(tail: &[u8]) -> Result<usize, String> {
    let trailer = tail
        .last_chunk::<TRAILER_SIZE_BYTES>()
        .ok_or("it is too short")?;
    read_footer_length(*trailer).map_err(|_| "it does not end as an Arrow file does".to_owned())
}

fn parse_footer(footer: &[u8], size_bytes: u64) -> Result<FileIndex, Footer> {
    let damaged = |problem: &str| Footer::Damaged(problem.to_owned());
    let footer =
        arrow_ipc::root_as_footer(footer).map_err(|_| damaged("its footer is malformed"))?;
    let (mut format, mut text, mut checksum) = (None, None, None);
    for pair in footer.custom_metadata().into_iter().flatten() {
        match pair.key() {
            Some(FORMAT_KEY) => format = pair.value(),
            Some(INDEX_KEY) => text = pair.value(),
            Some(INDEX_CHECKSUM_KEY) => checksum = pair.value(),
            _ => {}
        }
    }
    let format = format.and_then(|format| format.parse::<u32>().ok());
    match format {
        None | Some(0) => return Err(damaged("its footer names no format: it is no state file")),
        Some(format) if format > STATE_FORMAT_VERSION => return Err(Footer::Newer(format)),
        Some(_) => {}
    }
    let (Some(text), Some(checksum)) = (text, checksum) else {
        return Err(damaged("its footer has no index"));
    };
    FileIndex::parse(text, checksum, size_bytes).map_err(Footer::Damaged)
}

fn parse_schema(head: &[u8]) -> Result<SchemaRef, String> {
    let message = head
        .get(MAGIC_SIZE_BYTES..)
        .ok_or("its head is too short")?;
    let schema = catch_unwind(|| try_schema_from_ipc_buffer(message))
        .map_err(|_| "its schema is malformed".to_owned())?
        .map_err(|error| format!("its schema is malformed: {error}"))?;
    match schema_problem(&schema) {
        Some(problem) => Err(format!("it has no state file's schema: {problem}")),
        None => Ok(Arc::new(schema)),
    }
}

/// What the file says of itself and the manifest does not say of it, if anything.
fn mismatch(index: &FileIndex, name: &str, file: &StateFile) -> Option<String> {
    // The name lies below a store's URL, the path that it was written under in a job's folder.
    let is_own_path = name == index.path || name.ends_with(&format!("/{}", index.path));
    if !is_own_path {
        return Some(format!("it was written as `{}`", index.path));
    }
    if index.kind != file.kind {
        return Some(format!(
            "it is of kind {:?}, the manifest says {:?}",
            index.kind, file.kind
        ));
    }
    if index.row_count != file.row_count {
        let (found, expected) = (index.row_count, file.row_count);
        return Some(format!(
            "it has {found} rows, but the manifest says {expected}"
        ));
    }
    let (own, named) = (index.key_groups, file.key_groups);
    let is_within = named.is_empty() || (own.start <= named.start && named.end <= own.end);
    (!is_within).then(|| {
        format!(
            "it holds key groups {}..{}, but the manifest says {}..{}",
            own.start, own.end, named.start, named.end
        )
    })
}

/// Puts neighbouring batches that are wanted into reads of a good size.
fn plan(batches: &[BatchIndex], is_wanted: impl Fn(&BatchIndex) -> bool) -> VecDeque<Fetch> {
    let mut fetches: VecDeque<Fetch> = VecDeque::new();
    for (index, batch) in batches
        .iter()
        .enumerate()
        .filter(|(_, batch)| is_wanted(batch))
    {
        let (start, end) = (batch.block.offset, batch.block.end());
        match fetches.back_mut() {
            Some(last)
                if last.batches.end == index && end - last.bytes.start <= FETCH_SIZE_BYTES =>
            {
                last.bytes.end = end;
                last.batches.end = index + 1;
            }
            _ => fetches.push_back(Fetch {
                bytes: start..end,
                batches: index..index + 1,
            }),
        }
    }
    fetches
}

impl std::fmt::Debug for Whole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Whole")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}
