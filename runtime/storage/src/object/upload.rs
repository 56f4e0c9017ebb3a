//! Writing a large object in parts: durable once closed, nothing before.

use std::time::Duration;

use bytes::Bytes;
use opendal::Writer;
use opendal::layers::RetryLayer;
use xxhash_rust::xxh3::Xxh3;

use super::store::{ATTEMPT_COUNT_MAX, BACKOFF_FIRST, BACKOFF_MAX, ObjectStore, timed_out};
use crate::{Result, StorageError};

/// The size of a part; stores want at least 5 MiB for all but the last, and at most 10,000 parts.
pub(crate) const PART_SIZE_BYTES: usize = 8 * 1024 * 1024;
/// Parts that are sent at the same time.
const CONCURRENT_PART_COUNT: usize = 2;
/// The longest time for one part with all its attempts, whatever the connection does.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(300);
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
        // Repeated below the writer's own buffer: above it, a part that failed would be lost.
        let retry = RetryLayer::new()
            .with_max_times(ATTEMPT_COUNT_MAX as usize - 1)
            .with_min_delay(BACKOFF_FIRST)
            .with_max_delay(BACKOFF_MAX)
            .with_jitter();
        let operator = store.operator()?.layer(retry);
        let writer = operator
            .writer_with(name)
            .concurrent(CONCURRENT_PART_COUNT)
            .await;
        Ok(Self {
            writer: writer.map_err(|error| store.error("create", name, &error))?,
            store: store.clone(),
            name: name.to_owned(),
        })
    }

    /// Sends a part of [`PART_SIZE_BYTES`] or more, or the last one.
    pub(crate) async fn write(&mut self, part: Bytes) -> Result<()> {
        let sending = tokio::time::timeout(UPLOAD_TIMEOUT, self.writer.write(part));
        let sent = sending.await.unwrap_or_else(|_| Err(timed_out()));
        sent.map_err(|error| self.store.error("write", &self.name, &error))
    }

    /// Completes the object; it has this length and checksum (xxh3-64) once this returns.
    pub(crate) async fn close(&mut self, size_bytes: u64, checksum: u64) -> Result<()> {
        let closing = tokio::time::timeout(UPLOAD_TIMEOUT, self.writer.close());
        let closed = closing.await.unwrap_or_else(|_| Err(timed_out()));
        let Err(error) = closed else { return Ok(()) };
        // An attempt whose answer was lost may have completed it; the next one finds no upload.
        match self.is_complete(size_bytes, checksum).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(self.store.error("write", &self.name, &error)),
        }
    }

    /// Has the store drop the parts sent so far.
    pub(crate) async fn abort(mut self) {
        let aborted = tokio::time::timeout(UPLOAD_TIMEOUT, self.writer.abort()).await;
        if let Err(error) = aborted.unwrap_or_else(|_| Err(timed_out())) {
            let error = self.store.error("abort the upload of", &self.name, &error);
            tracing::warn!(
                error = error.with_causes(),
                "parts of an upload stay behind until the bucket's own rule removes them"
            );
        }
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
