//! Why a job failed, in one word of a closed set: for conditions, events and metric labels.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FailureCategory {
    /// The job failed again and again until its restarts were spent.
    RestartsExhausted,
    /// An error or a panic of an operator, a source or a sink.
    ProgramFailed,
    /// A checkpoint's files are damaged, gone or of a later version.
    CheckpointUnreadable,
    /// The checkpoint to start from is not retained.
    CheckpointMissing,
    /// The checkpoint's state does not fit the job.
    StateIncompatible,
    /// The checkpoint log could not be asked, or a state file not be read.
    StorageUnavailable,
    /// The tasks of an attempt did not end when they were told to.
    TasksHung,
}

impl FailureCategory {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RestartsExhausted => "RestartsExhausted",
            Self::ProgramFailed => "ProgramFailed",
            Self::CheckpointUnreadable => "CheckpointUnreadable",
            Self::CheckpointMissing => "CheckpointMissing",
            Self::StateIncompatible => "StateIncompatible",
            Self::StorageUnavailable => "StorageUnavailable",
            Self::TasksHung => "TasksHung",
        }
    }

    /// Whether the same job may succeed later without anybody changing it, since the cause lies
    /// outside of its program and settings. A new process is needed where tasks hang.
    pub const fn may_heal(self) -> bool {
        match self {
            Self::CheckpointUnreadable
            | Self::CheckpointMissing
            | Self::StateIncompatible
            | Self::StorageUnavailable
            | Self::TasksHung => true,
            Self::RestartsExhausted | Self::ProgramFailed => false,
        }
    }
}

impl fmt::Display for FailureCategory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_the_one_in_json() {
        for category in [
            FailureCategory::RestartsExhausted,
            FailureCategory::CheckpointUnreadable,
            FailureCategory::TasksHung,
        ] {
            let json = serde_json::to_value(category).unwrap();
            assert_eq!(json, category.as_str());
        }
    }
}
