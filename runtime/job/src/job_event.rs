//! What happens to a job, as told to people, programs and the job API's event stream.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{
    CheckpointKindView, CheckpointView, FailureView, Phase, PhaseView, ProgressView, ResultView,
};

/// Something that happened, or how far the job is. One JSON line of `--json`, one event of
/// `GET /v1/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    tag = "event",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum JobEvent {
    /// The process is set up.
    Started {
        /// The job's namespace.
        namespace: String,
        /// The job's name.
        name: String,
        /// Where its checkpoints lie.
        folder: String,
        /// How many subtasks each operator gets.
        parallelism: u32,
        /// Where the job API is served, if it is.
        address: Option<String>,
    },
    /// Something that the user should know about the job's guarantees.
    Warning {
        /// What, and what follows from it.
        message: String,
    },
    /// Something worth knowing that is nobody's fault.
    Notice {
        /// What, and what can be done.
        message: String,
    },
    /// The job is doing something else than before.
    PhaseChanged {
        /// What it is doing now.
        #[serde(flatten)]
        phase: PhaseView,
    },
    /// A checkpoint is complete.
    CheckpointCompleted {
        /// The checkpoint.
        checkpoint: CheckpointView,
    },
    /// A checkpoint failed; the job goes on.
    CheckpointFailed {
        /// Its number.
        id: u64,
        /// Why it was taken.
        kind: CheckpointKindView,
        /// Why it failed.
        reason: String,
        /// How many failed since the last one that completed.
        failure_count: u32,
    },
    /// The checkpoint log could not be asked; it is tried again and the job goes on.
    StoreUnavailable {
        /// What failed and why.
        reason: String,
        /// How often in a row.
        failure_count: u32,
    },
    /// An attempt failed.
    AttemptFailed {
        /// What failed.
        failure: FailureView,
    },
    /// How far the job is; told every second.
    Progress {
        /// How much was done.
        progress: ProgressView,
        /// The newest completed checkpoint.
        last_checkpoint: Option<CheckpointView>,
        /// Restarts so far in this process.
        restart_count: u32,
    },
    /// The job is over; nothing follows.
    Ended {
        /// How it ended.
        phase: Phase,
        /// Why, where there is more to say.
        reason: Option<String>,
        /// The kind of failure in one word, of a job that failed.
        category: Option<String>,
        /// The checkpoint or savepoint that it can go on from.
        checkpoint: Option<u64>,
        /// Where results lie.
        results: Vec<ResultView>,
        /// How much was done.
        progress: ProgressView,
        /// How long the process ran.
        duration_ms: u64,
    },
}

impl JobEvent {
    /// The event's name, as in its JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Started { .. } => "started",
            Self::Warning { .. } => "warning",
            Self::Notice { .. } => "notice",
            Self::PhaseChanged { .. } => "phaseChanged",
            Self::CheckpointCompleted { .. } => "checkpointCompleted",
            Self::CheckpointFailed { .. } => "checkpointFailed",
            Self::StoreUnavailable { .. } => "storeUnavailable",
            Self::AttemptFailed { .. } => "attemptFailed",
            Self::Progress { .. } => "progress",
            Self::Ended { .. } => "ended",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_the_tag_in_the_json() {
        let events = [
            JobEvent::Warning {
                message: String::new(),
            },
            JobEvent::StoreUnavailable {
                reason: String::new(),
                failure_count: 1,
            },
            JobEvent::Progress {
                progress: ProgressView::default(),
                last_checkpoint: None,
                restart_count: 0,
            },
        ];
        for event in events {
            let json = serde_json::to_value(&event).unwrap();
            assert_eq!(json["event"], event.name());
        }
    }
}
