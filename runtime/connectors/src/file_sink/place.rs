//! Where a sink's files appear: a folder, or a prefix of a bucket.

use std::path::PathBuf;

use tidegate_engine::{PermanentError, Result};
use tidegate_storage::{S3Url, StorageUrl};

/// A folder, or a prefix of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Folder(PathBuf),
    Bucket(S3Url),
}

impl Place {
    pub(super) fn parse(text: &str) -> Result<Self> {
        match StorageUrl::parse(text) {
            Ok(StorageUrl::Local(folder)) => Ok(Self::Folder(folder)),
            Ok(StorageUrl::S3(url)) => Ok(Self::Bucket(url)),
            Err(error) => {
                let message = "the file sink's place cannot be used";
                Err(PermanentError::with_source(message, error).into())
            }
        }
    }

    /// A path as the user gave it, which may be a URL.
    pub(super) fn of_path(path: PathBuf) -> Result<Self> {
        match path.to_str() {
            Some(text) => Self::parse(text),
            None => Ok(Self::Folder(path)),
        }
    }

    /// The sink's own URL of this bucket and prefix, if it is its own.
    pub(super) fn same_bucket(&self, url: &S3Url) -> Option<&S3Url> {
        match self {
            Self::Bucket(own) if (&own.bucket, &own.prefix) == (&url.bucket, &url.prefix) => {
                Some(own)
            }
            _ => None,
        }
    }
}
