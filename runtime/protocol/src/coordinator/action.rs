//! What the coordinator decides: things for the driver to do, and reports for people.

use serde::{Deserialize, Serialize};

use crate::{
    Attempt, CheckpointId, CheckpointKind, Entry, FailureCategory, LogNumber, ToWorker, WorkerId,
};

/// What must be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// List the log's numbers; answer with [`crate::Event::LogListed`].
    ListLog {
        /// Repeated in the answer.
        request: u64,
    },
    /// Read one entry; answer with [`crate::Event::EntryRead`].
    ReadEntry {
        /// Repeated in the answer.
        request: u64,
        /// Which one.
        number: LogNumber,
    },
    /// Create this entry only if its number is free; answer with [`crate::Event::Appended`].
    Append {
        /// Repeated in the answer.
        request: u64,
        /// The entry, its number included.
        entry: Box<Entry>,
    },
    /// Send this to a worker.
    Send {
        /// The worker.
        worker: WorkerId,
        /// What to tell it.
        message: ToWorker,
    },
    /// Send [`crate::Event::Tick`] at this time; replaces any earlier wish.
    SetTimer {
        /// Milliseconds on the clock that `handle` is given.
        at_ms: i64,
    },
    /// Delete log entries, then state files; answer with [`crate::Event::GarbageCollected`].
    CollectGarbage {
        /// Repeated in the answer.
        request: u64,
        /// Log entries to free (rule 3).
        entries: Vec<LogNumber>,
        /// The paths that named manifests refer to: they stay. Every other file of this job goes
        /// (rule 4) if its attempt, as its path `state/<attempt>/<checkpoint>/…` tells, is at most
        /// `attempt`.
        keep_files: Vec<String>,
        /// The first checkpoint of the own attempt that is not settled yet, if only to come: files
        /// under `state/<attempt>/<checkpoint>/` from this one on stay, whatever `keep_files`
        /// says. So a collection that sleeps cannot harm a checkpoint triggered after it began.
        keep_from: CheckpointId,
        /// The collector's own attempt.
        attempt: Attempt,
        /// Files of attempts before this one stay, whatever `keep_files` says: an entry that is
        /// named but cannot be read may name them.
        keep_before: Attempt,
    },
    /// The state changed; for status, the job API and logs.
    Report(Box<JobState>),
    /// A checkpoint is complete; for status, the job API and logs.
    CheckpointCompleted {
        /// Its entry.
        entry: Box<Entry>,
    },
    /// Checkpoints were released and none was added; for status and the job API. It comes before
    /// the answers to those who asked.
    CheckpointsReleased {
        /// The entries that the log retains now, ascending.
        retained: Vec<LogNumber>,
    },
    /// A checkpoint failed; for status, the job API and logs.
    CheckpointFailed {
        /// Which one.
        checkpoint: CheckpointId,
        /// Its kind.
        kind: CheckpointKind,
        /// Why, for people.
        reason: String,
        /// How many failed since the last one that completed, this one included.
        failure_count: u32,
    },
    /// The log could not be asked; it is tried again and the job runs on. For status, the job API
    /// and logs.
    LogUnavailable {
        /// What failed and why, for people.
        reason: String,
        /// How often in a row.
        failure_count: u32,
    },
    /// A command ended.
    CommandDone {
        /// The command's number.
        request: u64,
        /// The checkpoint it led to, if any, or why it failed.
        result: Result<Option<CheckpointId>, String>,
    },
    /// The job is over; nothing follows.
    Finish(JobOutcome),
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobOutcome {
    /// Every source was read to its end and everything is committed.
    Finished {
        /// The final checkpoint.
        checkpoint: Option<CheckpointId>,
    },
    /// Stopped as asked.
    Stopped {
        /// The savepoint or checkpoint taken, unless the stop was immediate.
        savepoint: Option<CheckpointId>,
    },
    /// Another attempt has taken over; this process must end and touch nothing more.
    Fenced {
        /// The entry that fenced it.
        by: LogNumber,
    },
    /// It cannot go on.
    Failed {
        /// The kind of failure; it tells whether the same job may succeed later.
        category: FailureCategory,
        /// The reason, with what to do, for people.
        reason: String,
    },
}

/// What the job is doing, for status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum JobState {
    /// Reading the log, appending the fence.
    Starting,
    /// Subtasks are restoring their state.
    Restoring {
        /// The attempt.
        attempt: Attempt,
        /// From which checkpoint, if any.
        checkpoint: Option<CheckpointId>,
    },
    /// Every subtask runs.
    Running {
        /// The attempt.
        attempt: Attempt,
        /// From which checkpoint it went on, if any.
        restored: Option<CheckpointId>,
    },
    /// Waiting to restart after a failure.
    BackingOff {
        /// When it starts again, milliseconds on the clock that `handle` is given.
        until_ms: i64,
        /// What failed.
        reason: String,
        /// The kind of failure.
        category: FailureCategory,
        /// Restarts so far in this process.
        restart_count: u32,
    },
    /// Taking the last checkpoint before it ends.
    Stopping {
        /// The attempt.
        attempt: Attempt,
    },
}
