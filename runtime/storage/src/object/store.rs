//! An S3-compatible store: bounded retries, and answers that leave nothing open where that can be.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use opendal::{Buffer, Error, ErrorKind, Operator};

use super::connect::Target;
use super::credentials::{AccessKeys, Credentials};
use super::fault::{Answer, is_retryable};
use crate::random::random_u64;
use crate::store::Creation;
use crate::{Result, S3Url, StorageError, StoreOptions};

/// How often a request is made before its failure is told.
pub(super) const ATTEMPT_COUNT_MAX: u32 = 6;
/// The wait before the second attempt; it doubles with each further one.
pub(super) const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// The longest wait between two attempts.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(3);
/// The longest time for one attempt of a small request, unless the options say otherwise.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
/// No attempt begins later than this after the first one.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a folder of keys is looked at for new ones.
const KEYS_AGE_MAX: Duration = Duration::from_secs(30);

/// A prefix of a bucket. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct ObjectStore {
    target: Arc<Target>,
    client: Arc<Mutex<Client>>,
    attempt_timeout: Duration,
}

#[derive(Debug)]
struct Client {
    operator: Operator,
    keys: Option<AccessKeys>,
    checked: Instant,
}

impl ObjectStore {
    pub(crate) fn open(url: &S3Url, options: &StoreOptions) -> Result<Self> {
        let target = Target::new(url, options)?;
        let keys = target.keys()?;
        let client = Client {
            operator: target.operator(keys.as_ref())?,
            keys,
            checked: Instant::now(),
        };
        Ok(Self {
            target: Arc::new(target),
            client: Arc::new(Mutex::new(client)),
            attempt_timeout: options.request_timeout.unwrap_or(ATTEMPT_TIMEOUT),
        })
    }

    /// The same client with another patience.
    pub(super) fn with_attempt_timeout(&self, attempt_timeout: Duration) -> Self {
        Self {
            attempt_timeout,
            ..self.clone()
        }
    }

    /// A name's bucket, key and server, for people.
    pub(crate) fn location(&self, name: &str) -> String {
        let url = &self.target.url;
        let key = crate::location::join_key(&url.prefix, name);
        match &self.target.endpoint {
            Some(endpoint) => format!("s3://{}/{key} at {endpoint}", url.bucket),
            None => format!("s3://{}/{key}", url.bucket),
        }
    }

    /// Creates a name with this content only if it is absent.
    ///
    /// The request is conditional and whole, so each attempt creates or finds. What an earlier
    /// attempt that seemed to fail has created is known by its content.
    pub(crate) async fn create(&self, name: &str, content: Bytes) -> Creation {
        let put = self.retried("create", name, |operator| {
            let body = Buffer::from(content.clone());
            async move {
                match operator.write_with(name, body).if_not_exists(true).await {
                    Ok(_) => Ok(true),
                    Err(error) if error.kind() == ErrorKind::ConditionNotMatch => Ok(false),
                    Err(error) => Err(error),
                }
            }
        });
        let failure = match put.await {
            Ok(true) => return Creation::Created,
            Ok(false) => None,
            Err(error) => Some(error),
        };
        match (self.read(name).await, failure) {
            (Ok(Some(found)), _) if found == content => Creation::Created,
            (Ok(Some(_)), _) => Creation::Exists,
            // Whoever created it, a collector has freed it since: a later entry stands.
            (Ok(None), None) => Creation::Exists,
            (Ok(None), Some(error)) | (Err(_), Some(error)) | (Err(error), None) => {
                Creation::Unknown(error)
            }
        }
    }

    /// The content of a name, if it is there.
    pub(crate) async fn read(&self, name: &str) -> Result<Option<Bytes>> {
        self.retried("read", name, |operator| async move {
            found(operator.read(name).await)
        })
        .await
        .map(|content| content.map(|content| content.to_bytes()))
    }

    /// The length of a name's content, if it is there.
    pub(crate) async fn size(&self, name: &str) -> Result<Option<u64>> {
        let size = self.retried("read", name, |operator| async move {
            match operator.stat(name).await {
                Ok(metadata) => Ok(Some(metadata.content_length())),
                // The answer has no body that could say more.
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        });
        size.await
    }

    /// A part of a name's content; shorter content is damaged.
    pub(crate) async fn read_range(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let part = self.retried("read", name, |operator| {
            let range = range.clone();
            async move {
                let reading = operator.read_with(name).range(range);
                match found(reading.await) {
                    Err(error) if error.kind() == ErrorKind::RangeNotSatisfied => Ok(Some(None)),
                    other => other.map(|part| part.map(Some)),
                }
            }
        });
        match part.await? {
            None => Err(StorageError::Missing {
                location: self.location(name),
            }),
            Some(Some(part)) if part.len() as u64 == range.end - range.start => Ok(part.to_bytes()),
            Some(_) => {
                let problem = format!("it ends before byte {}", range.end);
                Err(StorageError::damaged(self.location(name), problem))
            }
        }
    }

    /// The names of all objects below a folder.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<String>> {
        let prefix = &format!("{folder}/");
        let listed = self.retried("list", prefix, |operator| async move {
            operator.list_with(prefix).recursive(true).await
        });
        let names = listed
            .await?
            .into_iter()
            .map(|entry| entry.path().to_owned());
        Ok(names.filter(|name| !name.ends_with('/')).collect())
    }

    /// Deletes objects; a name that is gone already counts too, since no server tells.
    pub(crate) async fn delete(&self, names: Vec<String>) -> Result<u64> {
        let count = names.len() as u64;
        let Some(first) = names.first() else {
            return Ok(0);
        };
        let names = &names;
        self.retried("delete", first, |operator| async move {
            let deleted = operator.delete_iter(names.iter().map(String::as_str)).await;
            // Some servers say so where somebody else deletes at the same moment: asked again, they
            // delete the others too.
            deleted.map_err(|error| match Answer::of(&error).names_missing_key() {
                true => error.set_temporary(),
                false => error,
            })
        })
        .await?;
        Ok(count)
    }

    /// The client to use now; a new one where a mounted secret has changed.
    pub(super) fn operator(&self) -> Result<Operator> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let is_mounted = matches!(self.target.credentials, Credentials::Folder(_));
        if is_mounted && client.checked.elapsed() > KEYS_AGE_MAX {
            client.checked = Instant::now();
            let keys = self.target.keys()?;
            if keys != client.keys {
                client.operator = self.target.operator(keys.as_ref())?;
                client.keys = keys;
            }
        }
        Ok(client.operator.clone())
    }

    /// Asks until the store answers, a bounded number of times.
    pub(super) async fn retried<T, F>(
        &self,
        action: &'static str,
        name: &str,
        request: impl Fn(Operator) -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let started = Instant::now();
        let mut attempt = 1;
        loop {
            let answer = tokio::time::timeout(self.attempt_timeout, request(self.operator()?));
            let error = match answer.await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => timed_out(),
            };
            let is_last = attempt == ATTEMPT_COUNT_MAX || started.elapsed() > RETRY_TIMEOUT;
            if is_last || !is_retryable(&error) {
                return Err(self.error(action, name, &error));
            }
            self.back_off(attempt, &error).await;
            attempt += 1;
        }
    }

    /// Waits before the next attempt.
    async fn back_off(&self, attempt: u32, error: &Error) {
        let longest = BACKOFF_MAX.min(BACKOFF_FIRST * 2_u32.saturating_pow(attempt - 1));
        // From half of it to all of it, so that clients that failed together part.
        let share = 0.5 + 0.5 * (random_u64() >> 32) as f64 / f64::from(u32::MAX);
        tracing::debug!(attempt, error = %Answer::of(error), "a request is repeated");
        tokio::time::sleep(longest.mul_f64(share)).await;
    }

    /// What a person is told of a failed request.
    pub(super) fn error(&self, action: &'static str, name: &str, error: &Error) -> StorageError {
        let answer = Answer::of(error);
        StorageError::Failed {
            action,
            location: self.location(name),
            fault: answer.fault(error.kind()),
            source: answer.into(),
        }
    }
}

pub(super) fn timed_out() -> Error {
    Error::new(ErrorKind::Unexpected, "the request timed out").set_temporary()
}

fn found<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if Answer::of(&error).is_absence(error.kind()) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StorageUrl;

    #[tokio::test]
    async fn a_changed_secret_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let write = |secret: &str| {
            std::fs::write(folder.path().join("AWS_ACCESS_KEY_ID"), "key").unwrap();
            std::fs::write(folder.path().join("AWS_SECRET_ACCESS_KEY"), secret).unwrap();
        };
        write("old");
        let url = StorageUrl::parse("s3://bucket/a?endpoint=http://127.0.0.1:9").unwrap();
        let StorageUrl::S3(url) = url else {
            panic!("it is an S3 URL")
        };
        let options = StoreOptions {
            credentials: Credentials::Folder(folder.path().to_owned()),
            ..StoreOptions::default()
        };
        let store = ObjectStore::open(&url, &options).unwrap();
        let secret = |store: &ObjectStore| {
            store.operator().unwrap();
            store
                .client
                .lock()
                .unwrap()
                .keys
                .clone()
                .unwrap()
                .secret_access_key
        };
        write("new");
        assert_eq!(secret(&store), "old", "files are not read for each request");
        let long_ago = Instant::now().checked_sub(2 * KEYS_AGE_MAX).unwrap();
        store.client.lock().unwrap().checked = long_ago;
        assert_eq!(secret(&store), "new");
    }
}
