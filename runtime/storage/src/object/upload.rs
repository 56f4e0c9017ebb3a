//! Writing a large object in parts: durable once closed, nothing before.

use bytes::Bytes;
use opendal::{Buffer, Error, Writer};
use xxhash_rust::xxh3::Xxh3;

use super::fault::is_retryable;
use super::store::{ATTEMPT_COUNT_MAX, ATTEMPT_TIMEOUT, ObjectStore, timed_out};
use crate::{Result, StorageError};

/// The size of a part; stores want at least 5 MiB for all but the last, and at most 10,000 parts.
pub(crate) const PART_SIZE_BYTES: usize = 8 * 1024 * 1024;
/// Parts that are sent at the same time.
const CONCURRENT_PART_COUNT: usize = 2;
/// What is read at once to see whether an upload has been completed.
const CHECK_SIZE_BYTES: u64 = 4 * 1024 * 1024;

/// An object being written. An object of one part is put whole; a larger one in parts, which the
/// store drops unless [`Upload::close`] is reached and [`Upload::abort`] is.
pub(crate) struct Upload {
    store: ObjectStore,
    name: String,
    writer: Writer,
}

impl Upload {
    pub(crate) async fn begin(store: &ObjectStore, name: &str) -> Result<Self> {
        let writer = store
            .retried("create", name, |operator| async move {
                operator
                    .writer_with(name)
                    .concurrent(CONCURRENT_PART_COUNT)
                    .await
            })
            .await?;
        Ok(Self {
            store: store.clone(),
            name: name.to_owned(),
            writer,
        })
    }

    /// Sends a part of [`PART_SIZE_BYTES`] or more, or the last one.
    pub(crate) async fn write(&mut self, part: Bytes) -> Result<()> {
        let part = Buffer::from(part);
        let mut attempt = 1;
        loop {
            let sending = self.writer.write(part.clone());
            let error = match tokio::time::timeout(ATTEMPT_TIMEOUT, sending).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => timed_out(),
            };
            attempt = self.next_attempt(attempt, &error).await?;
        }
    }

    /// Completes the object; it has this length and checksum (xxh3-64) once this returns.
    pub(crate) async fn close(&mut self, size_bytes: u64, checksum: u64) -> Result<()> {
        let mut attempt = 1;
        loop {
            let error = match tokio::time::timeout(ATTEMPT_TIMEOUT, self.writer.close()).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => timed_out(),
            };
            let failure = match self.next_attempt(attempt, &error).await {
                Ok(next) => {
                    attempt = next;
                    continue;
                }
                Err(failure) => failure,
            };
            // An earlier attempt whose answer was lost may have completed it, and a store knows no
            // upload that is complete.
            let is_complete = attempt > 1 && self.is_complete(size_bytes, checksum).await?;
            return if is_complete { Ok(()) } else { Err(failure) };
        }
    }

    /// Has the store drop the parts sent so far.
    pub(crate) async fn abort(mut self) {
        let aborted = tokio::time::timeout(ATTEMPT_TIMEOUT, self.writer.abort()).await;
        if let Err(error) = aborted.unwrap_or_else(|_| Err(timed_out())) {
            let error = self.store.error("abort the upload of", &self.name, &error);
            tracing::warn!(
                error = error.with_causes(),
                "parts of an upload stay behind until the bucket's own rule removes them"
            );
        }
    }

    async fn next_attempt(&self, attempt: u32, error: &Error) -> Result<u32> {
        if attempt == ATTEMPT_COUNT_MAX || !is_retryable(error) {
            return Err(self.store.error("write", &self.name, error));
        }
        self.store.back_off(attempt, error).await;
        Ok(attempt + 1)
    }

    /// Whether the object is there with just this content.
    async fn is_complete(&self, size_bytes: u64, checksum: u64) -> Result<bool, StorageError> {
        if self.store.size(&self.name).await? != Some(size_bytes) {
            return Ok(false);
        }
        let mut hash = Xxh3::new();
        let mut start = 0;
        while start < size_bytes {
            let end = size_bytes.min(start + CHECK_SIZE_BYTES);
            hash.update(&self.store.read_range(&self.name, start..end).await?);
            start = end;
        }
        Ok(hash.digest() == checksum)
    }
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
