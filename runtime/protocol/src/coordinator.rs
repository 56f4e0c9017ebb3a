//! The coordinator of one job: attempts, barriers, the checkpoint log, restarts and retention.
//!
//! A state machine without I/O: [`Coordinator::handle`](self) takes one [`Event`] with the time it
//! happened and returns [`Action`]s for the driver to carry out. The driver answers each action that
//! asks for something with the event named at it, in any order, late or never.

use serde::{Deserialize, Serialize};

use crate::{
    Attempt, CheckpointId, CheckpointKind, Entry, FromWorker, LogNumber, Manifest, Parallelism,
    ToWorker, WorkerId,
};

/// Where a job that starts takes its state from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartFrom {
    /// The newest retained checkpoint if there is one, else empty.
    Latest,
    /// Nothing, whatever the log holds; what it retains stays retained.
    Empty,
    /// A retained checkpoint of this job's own log.
    Checkpoint(CheckpointId),
    /// Another job's manifest, already read by the driver, its file paths made whole URLs.
    Foreign(Box<Manifest>),
}

/// How a failed job is restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartPolicy {
    /// The wait before the first restart.
    pub initial_backoff_ms: u64,
    /// The longest wait.
    pub max_backoff_ms: u64,
    /// Restarts allowed in a row; the job ends at one more. `None`: no bound.
    pub max_restarts: Option<u32>,
    /// After running this long, wait and budget begin anew.
    pub reset_after_ms: u64,
}

/// What a coordinator is told once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CoordinatorConfig {
    /// Subtasks a chain.
    pub parallelism: Parallelism,
    /// From one trigger to the next; `None`: only savepoints.
    pub checkpoint_interval_ms: Option<u64>,
    /// A checkpoint not complete after this long is aborted.
    pub checkpoint_timeout_ms: u64,
    /// The least time from the end of one checkpoint to the next trigger.
    pub min_pause_ms: u64,
    /// How many automatic checkpoints are retained; at least 1.
    pub retained_checkpoints: u32,
    /// How failures are met.
    pub restart: RestartPolicy,
    /// Where the first attempt takes its state from; later attempts take the latest.
    pub start_from: StartFrom,
    /// Names this process in fences, for people.
    pub writer: String,
    /// Seeds nonces; differs for every process.
    pub nonce_seed: u64,
}

/// What the store answered to an append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppendOutcome {
    /// The entry was created, or a retry found this very entry (by its nonce) already there.
    Created,
    /// Another entry has this number.
    Taken,
    /// Unknown: the store could not be asked to the end. The entry may exist, or appear later.
    Unknown {
        /// Why, for people.
        reason: String,
    },
}

/// What a user or the process's signals ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Take a savepoint. `request` names it in [`Action::CommandDone`].
    Savepoint {
        /// Chosen by the driver.
        request: u64,
    },
    /// Stop; with a savepoint first, unless `is_immediate`.
    Stop {
        /// Chosen by the driver.
        request: u64,
        /// Stop at once, without a savepoint.
        is_immediate: bool,
    },
    /// Change the parallelism: checkpoint, then a new attempt from it.
    Rescale {
        /// Chosen by the driver.
        request: u64,
        /// The new number of subtasks a chain.
        parallelism: Parallelism,
    },
    /// Release a retained checkpoint or savepoint.
    Release {
        /// Chosen by the driver.
        request: u64,
        /// Which one.
        checkpoint: CheckpointId,
    },
    /// Change interval or retention of the running job.
    Reconfigure {
        /// As in [`CoordinatorConfig`].
        checkpoint_interval_ms: Option<u64>,
        /// As in [`CoordinatorConfig`].
        retained_checkpoints: u32,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Begin. Sent once, first.
    Start,
    /// Time passed; sent at or after the time that [`Action::SetTimer`] asked for.
    Tick,
    /// A worker can take subtasks. In a job of one process: worker 1, right after `Start`.
    WorkerJoined {
        /// The worker.
        worker: WorkerId,
        /// How many subtasks of each chain it takes.
        slot_count: u32,
    },
    /// A worker is gone, with its tasks.
    WorkerLost {
        /// The worker.
        worker: WorkerId,
        /// Why, for people.
        reason: String,
    },
    /// A worker says something.
    Worker {
        /// The worker.
        worker: WorkerId,
        /// What it says.
        message: FromWorker,
    },
    /// Answers [`Action::ListLog`].
    LogListed {
        /// The action's number.
        request: u64,
        /// Every entry's number, ascending; or why the store could not be asked.
        numbers: Result<Vec<LogNumber>, String>,
    },
    /// Answers [`Action::ReadEntry`]; `None` where there is no such entry.
    EntryRead {
        /// The action's number.
        request: u64,
        /// The entry, or why it could not be read.
        entry: Result<Option<Box<Entry>>, String>,
    },
    /// Answers [`Action::Append`].
    Appended {
        /// The action's number.
        request: u64,
        /// What the store said.
        outcome: AppendOutcome,
    },
    /// Answers [`Action::CollectGarbage`].
    GarbageCollected {
        /// The action's number.
        request: u64,
        /// Files and entries deleted, or why not.
        result: Result<u64, String>,
    },
    /// Somebody asks for something.
    Command(Command),
}

/// What must be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// List the log's numbers; answer with [`Event::LogListed`].
    ListLog {
        /// Repeated in the answer.
        request: u64,
    },
    /// Read one entry; answer with [`Event::EntryRead`].
    ReadEntry {
        /// Repeated in the answer.
        request: u64,
        /// Which one.
        number: LogNumber,
    },
    /// Create this entry only if its number is free; answer with [`Event::Appended`].
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
    /// Send [`Event::Tick`] at this time; replaces any earlier wish.
    SetTimer {
        /// Milliseconds on the clock that `handle` is given.
        at_ms: i64,
    },
    /// Delete log entries, then state files; answer with [`Event::GarbageCollected`].
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
    },
    /// The state changed; for status, the job API and logs.
    Report(Box<JobState>),
    /// A checkpoint is complete; for status, the job API and logs.
    CheckpointCompleted {
        /// Its entry.
        entry: Box<Entry>,
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
        /// The savepoint taken, unless the stop was immediate.
        savepoint: Option<CheckpointId>,
    },
    /// Another attempt has taken over; this process must end and touch nothing more.
    Fenced {
        /// The entry that fenced it.
        by: LogNumber,
    },
    /// It cannot go on.
    Failed {
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
        /// Restarts so far in this process.
        restart_count: u32,
    },
    /// Taking the last checkpoint before it ends.
    Stopping {
        /// The attempt.
        attempt: Attempt,
    },
}
