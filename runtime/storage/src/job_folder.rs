//! A job's folder: `<storage URL>/<namespace>/<name>/`, with `log/` and `state/` in it.
//!
//! ```text
//! log/00000000000000000042.json              an entry of the checkpoint log
//! state/<attempt>/<checkpoint>/<operator>-<subtask>.arrow   a file of keyed state
//! self-test/…                                for an instant, at start
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use tidegate_protocol::{KeyGroupRange, Manifest, StateFile};

use crate::location::join_key;
use crate::state_file::{StateFileReader, StateFileWriter, Wanted, WriteOptions};
use crate::{Result, StorageError, StorageUrl, Store};

/// The folder of log entries.
pub(crate) const LOG_FOLDER: &str = "log";
/// How much of a job's name its id tells.
const ID_NAME_LENGTH_MAX: usize = 40;
/// The folder of state files.
pub(crate) const STATE_FOLDER: &str = "state";

/// A job's folder in a store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct JobFolder {
    store: Store,
    /// Below the store's URL; empty where the URL is the folder itself.
    prefix: String,
    /// Stores of other jobs' folders, by URL, so that their connections are shared.
    foreign: Arc<Mutex<HashMap<StorageUrl, Store>>>,
}

impl JobFolder {
    /// The folder of a job in a store that many jobs share.
    ///
    /// # Errors
    /// A namespace or name that is no DNS label or subdomain, as Kubernetes wants them.
    pub fn new(store: Store, namespace: &str, name: &str) -> Result<Self> {
        check_name("namespace", namespace)?;
        check_name("job name", name)?;
        Ok(Self {
            prefix: format!("{namespace}/{name}"),
            ..Self::at(store)
        })
    }

    /// The folder that the store's URL itself names.
    pub fn at(store: Store) -> Self {
        Self {
            store,
            prefix: String::new(),
            foreign: Arc::default(),
        }
    }

    /// The folder's URL.
    pub fn url(&self) -> StorageUrl {
        match self.prefix.as_str() {
            "" => self.store.url().clone(),
            prefix => self.store.url().join(prefix),
        }
    }

    /// A name that no other job's folder has and that stays while the folder does not move, fit
    /// for a part of a path: the begin of the job's name, and a hash of where its folder is.
    pub fn id(&self) -> String {
        let place = match absolute(self.url()) {
            // However its server was named: by the URL or by the options.
            StorageUrl::S3(url) => {
                let endpoint = self.store.sibling_options().endpoint.unwrap_or_default();
                format!("{endpoint}/{}/{}", url.bucket, url.prefix)
            }
            local => local.to_string(),
        };
        let hash = xxhash_rust::xxh3::xxh3_64(place.as_bytes());
        let name = self.prefix.rsplit('/').next().unwrap_or_default();
        let name = name.get(..ID_NAME_LENGTH_MAX).unwrap_or(name);
        format!("{name}-{hash:016x}")
    }

    /// The store that holds the folder.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Where something in the folder lies, as a person would name it.
    pub fn location(&self, path: &str) -> String {
        self.store.location(&self.name(path))
    }

    /// Begins a state file; its rows' schema begins as [`crate::state_schema`] makes it. It has
    /// this path, relative to the folder, once [`StateFileWriter::finish`] returns; dropped before,
    /// it leaves nothing.
    ///
    /// # Errors
    /// A path outside `state/<attempt>/<checkpoint>/`, a schema that state files cannot have, or a
    /// store that cannot be written.
    pub async fn create_state_file(
        &self,
        path: &str,
        schema: SchemaRef,
        options: WriteOptions,
    ) -> Result<StateFileWriter> {
        if StatePath::parse(path).is_none() {
            return Err(StorageError::InvalidState {
                path: path.to_owned(),
                problem: "its path must be `state/<attempt>/<checkpoint>/<file name>`".into(),
            });
        }
        StateFileWriter::create(&self.store, &self.name(path), path, schema, options).await
    }

    /// Opens a state file for reading its rows of some key groups, batch by batch.
    ///
    /// # Errors
    /// A missing, damaged or foreign-format file, or a store that cannot be read.
    pub async fn open_state_file(
        &self,
        file: &StateFile,
        key_groups: KeyGroupRange,
    ) -> Result<StateFileReader> {
        let (store, name) = self.resolve(&file.path).await?;
        StateFileReader::open(store, name, file, Wanted::Rows(key_groups)).await
    }

    /// Reads a state file's rows of some key groups: those that both the range given and the file's
    /// own (as the manifest tells it) hold, ascending by key group.
    ///
    /// # Errors
    /// As [`JobFolder::open_state_file`].
    pub async fn read_state_file(
        &self,
        file: &StateFile,
        key_groups: KeyGroupRange,
    ) -> Result<Vec<RecordBatch>> {
        let mut reader = self.open_state_file(file, key_groups).await?;
        let mut batches = Vec::new();
        while let Some(batch) = reader.next().await? {
            batches.push(batch);
        }
        Ok(batches)
    }

    /// The manifest with its files' paths made whole URLs, as another job needs them.
    #[must_use]
    pub fn with_whole_urls(&self, mut manifest: Manifest) -> Manifest {
        let url = self.url();
        let subtasks = manifest
            .operators
            .iter_mut()
            .flat_map(|operator| &mut operator.subtasks);
        for file in subtasks.flat_map(|subtask| &mut subtask.files) {
            if !is_whole_url(&file.path) {
                file.path = absolute(url.join(&file.path)).to_string();
            }
        }
        manifest
    }

    /// The name of something in the folder, below the store's URL.
    pub(crate) fn name(&self, path: &str) -> String {
        join_key(&self.prefix, path)
    }

    /// The store and name that a manifest's path means.
    pub(crate) async fn resolve(&self, path: &str) -> Result<(Store, String)> {
        if !is_whole_url(path) {
            return Ok((self.store.clone(), self.name(path)));
        }
        let (url, name) = split_foreign(path)?;
        if let Some(store) = self.lock_foreign().get(&url) {
            return Ok((store.clone(), name));
        }
        let store = Store::open(&url, self.store.options().clone()).await?;
        self.lock_foreign().insert(url, store.clone());
        Ok((store, name))
    }

    fn lock_foreign(&self) -> std::sync::MutexGuard<'_, HashMap<StorageUrl, Store>> {
        // A map of stores is whole whatever panicked beside it.
        self.foreign.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a manifest's path belongs to another job.
pub(crate) fn is_whole_url(path: &str) -> bool {
    path.contains("://")
}

/// Splits a whole URL of a state file at its `state` folder.
fn split_foreign(path: &str) -> Result<(StorageUrl, String)> {
    let invalid = || StorageError::InvalidUrl {
        url: path.to_owned(),
        problem: "it names no state file: `<job folder>/state/<attempt>/<checkpoint>/<file>`"
            .into(),
    };
    let marker = format!("/{STATE_FOLDER}/");
    match StorageUrl::parse(path)? {
        StorageUrl::Local(whole) => {
            let whole = whole.to_str().ok_or_else(invalid)?;
            let at = whole.rfind(&marker).ok_or_else(invalid)?;
            Ok((
                StorageUrl::Local(whole[..at].into()),
                whole[at + 1..].to_owned(),
            ))
        }
        StorageUrl::S3(mut url) => {
            let whole = format!("/{}", url.prefix);
            let at = whole.rfind(&marker).ok_or_else(invalid)?;
            url.prefix = whole[..at].trim_start_matches('/').to_owned();
            Ok((StorageUrl::S3(url), whole[at + 1..].to_owned()))
        }
    }
}

/// A URL that means the same in any process of this machine.
fn absolute(url: StorageUrl) -> StorageUrl {
    match url {
        StorageUrl::Local(path) => StorageUrl::Local(std::path::absolute(&path).unwrap_or(path)),
        other => other,
    }
}

/// The parts of a state file's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StatePath {
    pub(crate) attempt: u64,
    pub(crate) checkpoint: u64,
}

impl StatePath {
    /// Reads `state/<attempt>/<checkpoint>/<file>`; anything else is `None`.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let mut parts = path.split('/');
        if parts.next() != Some(STATE_FOLDER) {
            return None;
        }
        let mut number = || parts.next()?.parse().ok().filter(|number| *number > 0);
        let (attempt, checkpoint) = (number()?, number()?);
        let file = parts
            .next()
            .filter(|file| !file.is_empty() && *file != "." && *file != "..");
        (file.is_some() && parts.next().is_none()).then_some(Self {
            attempt,
            checkpoint,
        })
    }
}

fn check_name(what: &'static str, name: &str) -> Result<()> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    let is_edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_valid = name.len() <= 253
        && name.chars().all(is_allowed)
        && is_edge(name.chars().next())
        && is_edge(name.chars().last());
    if is_valid {
        return Ok(());
    }
    Err(StorageError::InvalidName {
        what,
        name: name.to_owned(),
        problem: "it must be 1 to 253 lower-case letters, digits, dashes or dots, with a letter or \
                  digit at both ends",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Credentials, StoreOptions};

    async fn id(url: &str, endpoint: Option<&str>, namespace: &str, name: &str) -> String {
        let options = StoreOptions {
            endpoint: endpoint.map(str::to_owned),
            region: Some("eu".into()),
            credentials: Credentials::Environment,
            ..StoreOptions::default()
        };
        let url = StorageUrl::parse(url).unwrap();
        let store = Store::open(&url, options).await.unwrap();
        JobFolder::new(store, namespace, name).unwrap().id()
    }

    #[tokio::test]
    async fn a_job_s_id_stays_and_is_no_other_job_s() {
        let own = id("s3://bucket/jobs", Some("http://a:1"), "default", "words").await;
        assert!(own.starts_with("words-"), "{own}");
        let url = "s3://bucket/jobs?endpoint=http://a:1";
        assert_eq!(id(url, None, "default", "words").await, own);
        let others = [
            id("s3://bucket/jobs", Some("http://a:1"), "other", "words").await,
            id("s3://bucket/jobs", Some("http://b:1"), "default", "words").await,
            id("s3://bucket/jobs-2", Some("http://a:1"), "default", "words").await,
            id("jobs", None, "default", "words").await,
        ];
        assert!(!others.contains(&own), "{others:?}");
        let long = "w".repeat(200);
        assert!(id("jobs", None, "default", &long).await.len() < 64);
    }
}
