//! A prefix of a bucket for what is no state: files that a sink writes and others read.

use std::time::Duration;

use bytes::Bytes;
use opendal::{Buffer, ErrorKind};

use super::fault::Answer;
use super::store::ObjectStore;
use crate::{Result, S3Url, StoreOptions};

/// The longest time for one attempt to put or copy an object, unless the options say otherwise.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(120);

/// Objects below a prefix of a bucket, by names relative to it. Requests are repeated a bounded
/// number of times, and errors name the bucket, the key and what to check. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ObjectFolder {
    store: ObjectStore,
    /// For requests that move contents.
    transfers: ObjectStore,
}

impl ObjectFolder {
    /// Makes a client; nothing is asked yet.
    ///
    /// # Errors
    /// A URL that cannot be used, or credentials that cannot be read.
    pub fn open(url: &S3Url, options: &StoreOptions) -> Result<Self> {
        let store = ObjectStore::open(url, options)?;
        let timeout = options.request_timeout.unwrap_or(TRANSFER_TIMEOUT);
        Ok(Self {
            transfers: store.with_attempt_timeout(timeout),
            store,
        })
    }

    /// A name's bucket, key and server, for people.
    pub fn location(&self, name: &str) -> String {
        self.store.location(name)
    }

    /// Puts an object whole, over one of that name. Whoever reads it sees all of it or nothing.
    ///
    /// # Errors
    /// The store refused or failed it, so far as that could be found out.
    pub async fn put(&self, name: &str, content: Bytes) -> Result<()> {
        let put = self.transfers.retried("write", name, |operator| {
            let body = Buffer::from(content.clone());
            async move { operator.write(name, body).await.map(drop) }
        });
        put.await
    }

    /// Has the store copy an object of this length, whole, over one of the other name; `false`:
    /// there is none to copy.
    ///
    /// # Errors
    /// The store refused or failed it, so far as that could be found out.
    pub async fn copy(&self, from: &str, to: &str, size_bytes: u64) -> Result<bool> {
        let copy = self.transfers.retried("write", to, |operator| async move {
            // With its length given the store need not be asked for it.
            let copying = operator
                .copy_with(from, to)
                .source_content_length_hint(size_bytes);
            match copying.await {
                Ok(_) => Ok(true),
                Err(error) if Answer::of(&error).is_absence(ErrorKind::NotFound) => Ok(false),
                Err(error) => Err(error),
            }
        });
        copy.await
    }

    /// The content of an object, if it is there.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn read(&self, name: &str) -> Result<Option<Bytes>> {
        self.transfers.read(name).await
    }

    /// The length of an object, if it is there.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn size(&self, name: &str) -> Result<Option<u64>> {
        self.store.size(name).await
    }

    /// The names of all objects below a folder, at any depth; an empty one stands for all.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>> {
        self.store.list(folder).await
    }

    /// Deletes objects; those that are gone already count as deleted.
    ///
    /// # Errors
    /// Some may be left.
    pub async fn delete(&self, names: Vec<String>) -> Result<()> {
        self.store.delete(names).await.map(drop)
    }
}
