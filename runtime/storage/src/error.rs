//! What can go wrong between the runtime and a store, said so that a person can act on it.
//!
//! A [`StorageError`] names the action and the whole place (path, or bucket and key); its [`Fault`]
//! says what is wrong there and what to check; the technical cause is the source.

use std::error::Error;
use std::fmt;
use std::io;

use tidegate_protocol::EntryError;

/// The technical cause of an error.
pub type Cause = Box<dyn Error + Send + Sync>;

/// The result of anything that touches a store.
pub type Result<T, E = StorageError> = std::result::Result<T, E>;

/// Why something in a store could not be done.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A storage URL that cannot be used.
    #[error("storage URL `{url}` is not valid: {problem}")]
    InvalidUrl {
        /// The URL as given, without any credentials in it.
        url: String,
        /// What is wrong with it and what is expected.
        problem: String,
    },
    /// A namespace or job name that cannot be a folder's name.
    #[error("{what} `{name}` is not valid: {problem}")]
    InvalidName {
        /// What was to be named.
        what: &'static str,
        /// The name as given.
        name: String,
        /// What is expected.
        problem: &'static str,
    },
    /// The store refused or failed an action.
    #[error("cannot {action} `{location}`: {fault}")]
    Failed {
        /// What was attempted, as a verb.
        action: &'static str,
        /// The whole path, or the bucket, key and endpoint.
        location: String,
        /// What is wrong and what to check.
        fault: Fault,
        /// The technical cause.
        #[source]
        source: Cause,
    },
    /// Something that a manifest or entry names is not there.
    #[error(
        "`{location}` is missing although it is needed: it was deleted by something other than \
         this job; restore it from a backup or start from another checkpoint"
    )]
    Missing {
        /// The whole path or key.
        location: String,
    },
    /// Bytes that are not what was written.
    #[error(
        "`{location}` is damaged: {problem}; restore it from a backup or start from another \
         checkpoint"
    )]
    Damaged {
        /// The whole path or key.
        location: String,
        /// What does not match.
        problem: String,
    },
    /// An entry of the checkpoint log that cannot be trusted.
    #[error("cannot use `{location}`")]
    Entry {
        /// The whole path or key.
        location: String,
        /// What is wrong with it.
        #[source]
        source: EntryError,
    },
    /// Written by a later major version.
    #[error(
        "`{location}` has format {found}, but this version reads only up to format {supported}; \
         use the version that wrote it or a later one"
    )]
    UnknownFormat {
        /// The whole path or key.
        location: String,
        /// The format found.
        found: u32,
        /// The newest format known.
        supported: u32,
    },
    /// The store does not keep what the checkpoint log relies on.
    #[error("store `{store}` cannot hold a checkpoint log: {problem}")]
    Unsuitable {
        /// The store's URL.
        store: String,
        /// What it did wrong in the self-test.
        problem: String,
    },
    /// A batch, schema or range that a state file cannot take: a defect of the caller.
    #[error("state file `{path}` cannot take this: {problem}")]
    InvalidState {
        /// The file.
        path: String,
        /// What is wrong with what was given.
        problem: String,
    },
}

impl StorageError {
    /// One word for metric labels, event reasons and conditions.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::InvalidUrl { .. } => "InvalidStorageUrl",
            Self::InvalidName { .. } => "InvalidName",
            Self::Failed { fault, .. } => fault.category(),
            Self::Missing { .. } => "StateMissing",
            Self::Entry {
                source: EntryError::Newer { .. },
                ..
            } => "UnknownFormat",
            Self::Damaged { .. } | Self::Entry { .. } => "StateDamaged",
            Self::UnknownFormat { .. } => "UnknownFormat",
            Self::Unsuitable { .. } => "UnsuitableStore",
            Self::InvalidState { .. } => "InvalidState",
        }
    }

    /// Whether the store itself says that its bucket does not exist, so that nothing in it can.
    pub fn is_bucket_gone(&self) -> bool {
        crate::object::is_bucket_gone(self)
    }

    /// The message with all its causes, for a line of text.
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    /// A failed system call on a local path.
    pub(crate) fn io(action: &'static str, path: impl fmt::Display, source: io::Error) -> Self {
        Self::Failed {
            action,
            location: path.to_string(),
            fault: Fault::of_io(&source),
            source: source.into(),
        }
    }

    /// Bytes at a place that do not say what they should.
    pub(crate) fn damaged(location: impl fmt::Display, problem: impl fmt::Display) -> Self {
        Self::Damaged {
            location: location.to_string(),
            problem: problem.to_string(),
        }
    }
}

/// What is wrong at a store, and with it what to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A file or folder is not there.
    NotFound,
    /// The file system denies access.
    AccessDenied,
    /// The disk or the quota is full.
    Full,
    /// The file system is mounted read-only.
    ReadOnly,
    /// A file stands where a folder is needed.
    NotAFolder,
    /// The file system cannot create a name only if it is absent.
    NoHardLinks,
    /// The device failed.
    Device,
    /// The process may not open more files.
    TooManyFiles,
    /// The bucket does not exist.
    MissingBucket,
    /// No credentials were found.
    NoCredentials,
    /// The credentials are not known to the store.
    WrongCredentials,
    /// The credentials are known, but do not allow this.
    Forbidden,
    /// The bucket is in another region.
    WrongRegion,
    /// The store's clock and this machine's are too far apart.
    ClockSkew,
    /// Nobody answers at the endpoint.
    Unreachable,
    /// The store's certificate is not trusted.
    Tls,
    /// The store did not answer in time.
    Timeout,
    /// The store answers, but cannot serve now.
    Unavailable,
    /// Anything else.
    Other,
}

impl Fault {
    /// One word for metric labels, event reasons and conditions.
    pub const fn category(self) -> &'static str {
        match self {
            Self::NotFound => "NotFound",
            Self::AccessDenied | Self::Forbidden => "AccessDenied",
            Self::Full => "StorageFull",
            Self::ReadOnly => "StorageReadOnly",
            Self::NotAFolder => "NotAFolder",
            Self::NoHardLinks => "UnsuitableStore",
            Self::Device => "DeviceFailed",
            Self::TooManyFiles => "TooManyFiles",
            Self::MissingBucket => "BucketMissing",
            Self::NoCredentials => "CredentialsMissing",
            Self::WrongCredentials => "CredentialsWrong",
            Self::WrongRegion => "RegionWrong",
            Self::ClockSkew => "ClockSkew",
            Self::Unreachable => "StoreUnreachable",
            Self::Tls => "TlsFailed",
            Self::Timeout => "StoreTimeout",
            Self::Unavailable => "StoreUnavailable",
            Self::Other => "StorageFailed",
        }
    }

    /// What a failed system call means.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        // Linux's EIO and EMFILE/ENFILE have no stable kind of their own.
        const EIO: i32 = 5;
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        match error.kind() {
            Kind::NotFound => Self::NotFound,
            Kind::PermissionDenied => Self::AccessDenied,
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Self::Full,
            Kind::ReadOnlyFilesystem => Self::ReadOnly,
            // A link that leads nowhere is no folder either, and stands in the way of one.
            Kind::NotADirectory | Kind::IsADirectory | Kind::AlreadyExists => Self::NotAFolder,
            Kind::TimedOut | Kind::StaleNetworkFileHandle => Self::Unavailable,
            _ => match error.raw_os_error() {
                Some(EIO) => Self::Device,
                Some(EMFILE | ENFILE) => Self::TooManyFiles,
                _ => Self::Other,
            },
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => {
                "it does not exist; check that the storage URL is right and its volume mounted"
            }
            Self::AccessDenied => {
                "access is denied; give the user that runs the job read and write access to it"
            }
            Self::Full => {
                "the disk or quota is full; free space, enlarge the volume, or retain fewer \
                 checkpoints"
            }
            Self::ReadOnly => {
                "the file system is read-only; mount it writable or choose another storage URL"
            }
            Self::NotAFolder => {
                "a file, or a link that leads nowhere, stands where a folder is needed, or a \
                 folder where a file is; remove it or choose another storage URL"
            }
            Self::NoHardLinks => {
                "this file system has no hard links, which the checkpoint log needs; choose a \
                 storage URL on another file system or an S3-compatible store"
            }
            Self::Device => "the device failed; check the disk and the kernel's log",
            Self::TooManyFiles => {
                "too many files are open; raise the process's limit (`ulimit -n`)"
            }
            Self::MissingBucket => {
                "the bucket does not exist; create it, or check its name, the endpoint and the \
                 region"
            }
            Self::NoCredentials => {
                "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name \
                 a profile by AWS_PROFILE, or mount a secret with both"
            }
            Self::WrongCredentials => {
                "the store does not accept the credentials; check the access key, the secret key \
                 and, where one is used, the session token"
            }
            Self::Forbidden => {
                "the credentials do not allow this; grant them list, get, put and delete on the \
                 bucket and prefix"
            }
            Self::WrongRegion => {
                "the bucket is in another region; set the right one by `?region=` in the storage \
                 URL or AWS_REGION"
            }
            Self::ClockSkew => {
                "the store's clock and this machine's differ too much; synchronise the clocks"
            }
            Self::Unreachable => {
                "the endpoint cannot be reached; check its address, its port, DNS and network \
                 policies, and that the store runs"
            }
            Self::Tls => {
                "no trusted TLS connection is possible; check that the endpoint speaks https and \
                 that its certificate is valid and its authority trusted here"
            }
            Self::Timeout => "the store did not answer in time; check its load and the network",
            Self::Unavailable => "the store cannot serve requests now; check its health and load",
            Self::Other => "the store failed",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_with_its_path_and_what_to_do() {
        let error = StorageError::io("write", "/data/x", io::Error::from_raw_os_error(28));
        assert_eq!(error.category(), "StorageFull");
        // EFBIG and EDQUOT: a limit on files or users is met like a full disk.
        for code in [27, 122] {
            let error = StorageError::io("write", "/x", io::Error::from_raw_os_error(code));
            assert_eq!(error.category(), "StorageFull");
        }
        let text = error.with_causes();
        assert!(text.starts_with("cannot write `/data/x`: the disk or quota is full; free space"));
        assert!(
            text.ends_with("No space left on device (os error 28)"),
            "{text}"
        );
    }
}
