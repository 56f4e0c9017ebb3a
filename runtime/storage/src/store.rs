//! A store: named immutable files below one URL, whatever keeps them.
//!
//! Names are relative to the URL, with slashes. Everything here is asynchronous; blocking system
//! calls run on the runtime's blocking threads.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinError;

use crate::local::{LocalStore, TEMPORARY_AGE};
use crate::object::{Credentials, ObjectStore};
use crate::{Result, StorageError, StorageUrl};

/// What a store is opened with, besides its URL.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    /// The S3 server where the URL names none; the environment's where absent.
    pub endpoint: Option<String>,
    /// The region where the URL names none; the environment's where absent.
    pub region: Option<String>,
    /// Where an object store's keys come from.
    pub credentials: Credentials,
    /// The longest wait for an object store's answer to one small request; 20 s where absent. A
    /// request is repeated a few times.
    pub request_timeout: Option<Duration>,
}

/// Named immutable files below one URL. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    url: StorageUrl,
    options: StoreOptions,
    backend: Backend,
}

#[derive(Debug, Clone)]
pub(crate) enum Backend {
    Local(Arc<LocalStore>),
    Object(ObjectStore),
}

/// What became of a name that was to be created.
#[derive(Debug)]
pub(crate) enum Creation {
    /// It holds the content given: created now, or by an earlier try that seemed to fail.
    Created,
    /// It holds something else.
    Exists,
    /// The store could not be asked to the end.
    Unknown(StorageError),
}

impl Store {
    /// Opens a store. Nothing is read or created yet.
    ///
    /// # Errors
    /// A URL that cannot be used, or credentials that cannot be read.
    pub async fn open(url: &StorageUrl, options: StoreOptions) -> Result<Self> {
        let backend = match url {
            StorageUrl::Local(root) => Backend::Local(Arc::new(LocalStore::new(root.clone()))),
            StorageUrl::S3(url) => Backend::Object(ObjectStore::open(url, &options)?),
        };
        let inner = Inner {
            url: url.clone(),
            options,
            backend,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The URL it was opened by.
    pub fn url(&self) -> &StorageUrl {
        &self.inner.url
    }

    /// The options it was opened with.
    pub fn options(&self) -> &StoreOptions {
        &self.inner.options
    }

    /// The options by which another bucket or prefix of the same server is opened.
    pub fn sibling_options(&self) -> StoreOptions {
        let options = &self.inner.options;
        match &self.inner.url {
            StorageUrl::S3(url) => StoreOptions {
                endpoint: url.endpoint.clone().or_else(|| options.endpoint.clone()),
                region: url.region.clone().or_else(|| options.region.clone()),
                ..options.clone()
            },
            StorageUrl::Local(_) => options.clone(),
        }
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.inner.backend
    }

    /// The whole path or key of a name, for people.
    pub(crate) fn location(&self, name: &str) -> String {
        match &self.inner.backend {
            Backend::Local(store) => store.path(name).display().to_string(),
            Backend::Object(store) => store.location(name),
        }
    }

    /// Creates a name with this content only if it is absent.
    pub(crate) async fn create(&self, name: &str, content: Bytes) -> Creation {
        match self.inner.backend.clone() {
            Backend::Local(store) => {
                let name = name.to_owned();
                let created = blocking(move || {
                    if store.create(&name, &content)? {
                        return Ok(Creation::Created);
                    }
                    // `link` over a network file system can report its own success as a conflict.
                    let is_own = store.read(&name)?.is_some_and(|found| found == content);
                    Ok(if is_own {
                        Creation::Created
                    } else {
                        Creation::Exists
                    })
                });
                created.await.unwrap_or_else(Creation::Unknown)
            }
            Backend::Object(store) => store.create(name, content).await,
        }
    }

    /// The content of a name, if it is there.
    pub(crate) async fn read(&self, name: &str) -> Result<Option<Bytes>> {
        match self.inner.backend.clone() {
            Backend::Local(store) => {
                let name = name.to_owned();
                blocking(move || store.read(&name)).await
            }
            Backend::Object(store) => store.read(name).await,
        }
    }

    /// The length of a name's content, if it is there.
    pub(crate) async fn size(&self, name: &str) -> Result<Option<u64>> {
        match self.inner.backend.clone() {
            Backend::Local(store) => {
                let name = name.to_owned();
                blocking(move || store.size(&name)).await
            }
            Backend::Object(store) => store.size(name).await,
        }
    }

    /// A part of a name's content; shorter content is damaged.
    pub(crate) async fn read_range(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        match self.inner.backend.clone() {
            Backend::Local(store) => {
                let name = name.to_owned();
                blocking(move || store.read_range(&name, range)).await
            }
            Backend::Object(store) => store.read_range(name, range).await,
        }
    }

    /// All names below a folder, at any depth, in no order.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<String>> {
        match self.inner.backend.clone() {
            Backend::Local(store) => {
                let folder = folder.to_owned();
                blocking(move || store.list(&folder)).await
            }
            Backend::Object(store) => store.list(folder).await,
        }
    }

    /// Deletes names that lie below a folder; tells how many were still there, as far as the store
    /// says so. Temporary files that dead processes left directly in the folder go too.
    pub(crate) async fn delete(&self, names: Vec<String>, folder: &str) -> Result<u64> {
        match self.inner.backend.clone() {
            Backend::Local(store) => {
                let folder = folder.to_owned();
                blocking(move || {
                    let mut deleted_count = 0;
                    for name in names {
                        deleted_count += u64::from(store.delete(&name)?);
                    }
                    store.remove_left_overs(&folder, TEMPORARY_AGE)?;
                    store.sync(&folder)?;
                    Ok(deleted_count)
                })
                .await
            }
            Backend::Object(store) => store.delete(names).await,
        }
    }

    /// Removes a folder if it is there and empty, where the store has folders.
    pub(crate) async fn remove_empty_folder(&self, folder: &str) -> Result<()> {
        match self.inner.backend.clone() {
            Backend::Local(store) => {
                let folder = folder.to_owned();
                blocking(move || store.remove_if_empty(&folder)).await
            }
            Backend::Object(_) => Ok(()),
        }
    }

    /// Removes empty folders `<folder>/<outer>/<inner>` that `is_removable` says so of, and their
    /// parents where that leaves them empty; where the store has folders.
    pub(crate) async fn remove_empty_folders(
        &self,
        folder: &str,
        is_removable: impl Fn(&str, &str) -> bool + Send + 'static,
    ) -> Result<()> {
        match self.inner.backend.clone() {
            Backend::Local(store) => {
                let folder = folder.to_owned();
                blocking(move || store.remove_empty_folders(&folder, is_removable)).await
            }
            Backend::Object(_) => Ok(()),
        }
    }
}

/// Runs blocking system calls on the runtime's threads for them.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    joined(tokio::task::spawn_blocking(work).await)
}

/// What a task ended with; its panic goes on here.
pub(crate) fn joined<T>(ended: std::result::Result<Result<T>, JoinError>) -> Result<T> {
    match ended.map_err(JoinError::try_into_panic) {
        Ok(result) => result,
        Err(Ok(panic)) => std::panic::resume_unwind(panic),
        Err(Err(error)) => Err(StorageError::Failed {
            action: "finish work on",
            location: "the store".into(),
            fault: crate::Fault::Other,
            source: error.into(),
        }),
    }
}
