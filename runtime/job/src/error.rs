//! Why a job could not start, and what the process's exit code says about its end.

use std::process::ExitCode;

use tidegate_api::job_config::JobConfigError;
use tidegate_engine::BoxError;
use tidegate_protocol::{CheckpointId, FailureCategory, IdError, JobOutcome, RestoreError};
use tidegate_storage::StorageError;

use crate::arguments::ArgumentError;

/// Why a job could not start, or not tell what came of it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The command line cannot be used.
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    /// The file with the job's settings cannot be read.
    #[error("cannot read the job's settings from `{path}`, which TIDEGATE_JOB_CONFIG names")]
    ReadConfig {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The job's settings cannot be used.
    #[error("cannot use the job's settings in `{path}`")]
    Config {
        /// The file.
        path: String,
        /// The cause.
        #[source]
        source: JobConfigError,
    },
    /// A number in the settings that no job can have.
    #[error("cannot use the job's settings")]
    Number(#[from] IdError),
    /// The program's own code that builds the pipeline failed.
    #[error("the program cannot build its pipeline")]
    Build(#[source] BoxError),
    /// The pipeline that the program built is not valid.
    #[error("the pipeline is not valid")]
    Graph(#[source] BoxError),
    /// The store of checkpoints cannot be used.
    #[error("checkpoints cannot be kept in `{url}`")]
    Storage {
        /// The store or the job's folder.
        url: String,
        /// The cause.
        #[source]
        source: StorageError,
    },
    /// There is no checkpoint to start from.
    #[error("cannot start from {wanted}: {problem}")]
    StartFrom {
        /// What was asked for.
        wanted: String,
        /// Why it cannot be had, and what there is.
        problem: String,
    },
    /// The checkpoint to start from may be there, but its entry in the log cannot be read.
    #[error("cannot start from {wanted}: {problem}")]
    StartFromUnreadable {
        /// What was asked for.
        wanted: String,
        /// The entry, what is wrong with it, and what to do.
        problem: String,
    },
    /// The state found does not fit the job.
    #[error("cannot go on from checkpoint {checkpoint}")]
    State {
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The cause.
        #[source]
        source: RestoreError,
    },
    /// The certificates that the job API needs cannot be used.
    #[error("cannot serve the job API by TLS")]
    Certificates(#[source] BoxError),
    /// The job API cannot be served.
    #[error("cannot serve the job API on `{address}`; choose another address with `--listen`")]
    Listen {
        /// The address.
        address: String,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The operating system refused threads or the like.
    #[error("cannot start {what}")]
    System {
        /// What was to start.
        what: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The job is over as it should be, but programs that read its events miss some.
    #[error(
        "the job is over and its results are safe, but not all that happened could be written to \
         standard output; make room where that leads to"
    )]
    Output(#[source] std::io::Error),
}

impl StartError {
    /// The kind of error, for programs.
    pub const fn category(&self) -> &'static str {
        match self {
            Self::Arguments(_) => "InvalidArguments",
            Self::ReadConfig { .. } | Self::Config { .. } | Self::Number(_) => "InvalidConfig",
            Self::Build(_) => "BuildFailed",
            Self::Graph(_) => "InvalidPipeline",
            Self::Storage {
                source:
                    StorageError::Damaged { .. }
                    | StorageError::Missing { .. }
                    | StorageError::Entry { .. }
                    | StorageError::UnknownFormat { .. },
                ..
            }
            | Self::StartFromUnreadable { .. } => FailureCategory::CheckpointUnreadable.as_str(),
            Self::Storage { source, .. } => source.category(),
            Self::StartFrom { .. } => FailureCategory::CheckpointMissing.as_str(),
            Self::State { .. } => FailureCategory::StateIncompatible.as_str(),
            Self::Certificates(_) => "CertificatesInvalid",
            Self::Listen { .. } => "ListenFailed",
            Self::System { .. } => "SystemFailed",
            Self::Output(_) => "OutputFailed",
        }
    }

    /// Whether the same process may succeed later, since the cause lies outside of it.
    pub const fn may_heal(&self) -> bool {
        matches!(
            self,
            Self::Storage { .. }
                | Self::StartFrom { .. }
                | Self::StartFromUnreadable { .. }
                | Self::State { .. }
        )
    }
}

/// The exit codes of a job process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The job finished, or stopped as asked with everything safe.
    Done = 0,
    /// The job cannot go on, or what it needs is not to be had.
    Failed = 1,
    /// Arguments, settings or pipeline are wrong: starting again changes nothing.
    Invalid = 2,
    /// Another process has taken the job over.
    Fenced = 3,
    /// A second interrupt ended it at once; the next start goes on from the last checkpoint.
    Interrupted = 130,
}

impl Exit {
    /// How a job's end is told to whoever started the process.
    pub const fn of_outcome(outcome: &JobOutcome) -> Self {
        match outcome {
            JobOutcome::Finished { .. } | JobOutcome::Stopped { .. } => Self::Done,
            JobOutcome::Fenced { .. } => Self::Fenced,
            JobOutcome::Failed { .. } => Self::Failed,
        }
    }

    /// How a failed start is told.
    pub const fn of_error(error: &StartError) -> Self {
        match error {
            StartError::Arguments(_)
            | StartError::ReadConfig { .. }
            | StartError::Config { .. }
            | StartError::Number(_)
            | StartError::Build(_)
            | StartError::Graph(_)
            | StartError::StartFrom { .. }
            | StartError::Listen { .. }
            | StartError::Storage {
                source: StorageError::InvalidUrl { .. } | StorageError::InvalidName { .. },
                ..
            } => Self::Invalid,
            StartError::Storage { .. }
            | StartError::StartFromUnreadable { .. }
            | StartError::State { .. }
            | StartError::Certificates(_)
            | StartError::System { .. }
            | StartError::Output(_) => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_storage::StorageUrl;

    use super::*;

    #[test]
    fn a_storage_whose_url_or_name_is_wrong_is_told_as_a_wrong_setting() {
        let exit = |source| {
            let url = "x".to_owned();
            Exit::of_error(&StartError::Storage { url, source })
        };
        let wrong_url = StorageUrl::parse("gs://bucket").unwrap_err();
        assert_eq!(exit(wrong_url), Exit::Invalid);
        let wrong_name = StorageError::InvalidName {
            what: "job",
            name: "A b".to_owned(),
            problem: "give lower-case letters",
        };
        assert_eq!(exit(wrong_name), Exit::Invalid);
        let location = "x/log".to_owned();
        assert_eq!(exit(StorageError::Missing { location }), Exit::Failed);
    }
}
