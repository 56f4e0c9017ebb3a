//! What a job process tells and is asked, over its job API.
//!
//! The controller reads tolerantly: a job may run an older or a newer version of the runtime, so
//! unknown members are ignored and unknown words are kept as such.

use serde::Deserialize;

/// A checkpoint that took no longer is worth the wait before a job stops.
const QUICK_CHECKPOINT_MS: u64 = 10_000;

/// What a job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Phase {
    /// Reads the checkpoint log and takes over from earlier attempts.
    Starting,
    /// Cannot start; tries again by itself.
    Blocked,
    /// Could start; waits to be let go.
    Holding,
    /// Subtasks restore their state.
    Restoring,
    /// Every subtask runs.
    Running,
    /// Waits before it starts again after a failure.
    BackingOff,
    /// Takes the last checkpoint before it ends.
    Stopping,
    /// Every source was read to its end and every result is committed.
    Finished,
    /// Ended as asked.
    Stopped,
    /// Another process has taken the job over.
    Fenced,
    /// Ended because it cannot go on.
    Failed,
    /// A word that this controller does not know.
    #[serde(other)]
    Unknown,
}

/// `GET /v1/job`, as far as the controller looks at it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobView {
    /// What it is doing.
    pub phase: Phase,
    /// Why, where there is more to say.
    #[serde(default)]
    pub reason: Option<String>,
    /// The same in one PascalCase word, of Blocked and Failed.
    #[serde(default)]
    pub category: Option<String>,
    /// Its running attempt.
    #[serde(default)]
    pub attempt: Option<u64>,
    /// The checkpoint from which that attempt goes on, or would go on while it is held.
    #[serde(default)]
    pub restored_checkpoint: Option<u64>,
    /// How often this process has started the job again after a failure.
    #[serde(default)]
    pub restart_count: u32,
    /// How many subtasks each operator has.
    pub parallelism: u32,
    /// When this process started, milliseconds since the epoch.
    pub started_ms: i64,
    /// Since when it is in its phase, milliseconds since the epoch.
    #[serde(default)]
    pub phase_since_ms: Option<i64>,
    /// The newest failure in this process.
    #[serde(default)]
    pub last_failure: Option<FailureView>,
    /// How the process before this one, in the same container, ended.
    #[serde(default)]
    pub last_exit: Option<ExitView>,
    /// How often a process of this container ended and was started again in place.
    #[serde(default)]
    pub process_restart_count: u32,
    /// The newest completed checkpoint.
    #[serde(default)]
    pub last_checkpoint: Option<CheckpointView>,
    /// The numbers of retained entries of its log that cannot be read: what they hold is unlisted.
    #[serde(default)]
    pub damaged_entries: Vec<u64>,
    /// Checkpoints from this number on are in none of them.
    #[serde(default)]
    pub damaged_below: Option<u64>,
    /// How many checkpoints this process completed.
    #[serde(default)]
    pub completed_checkpoint_count: u64,
    /// How many checkpoints failed in a row.
    #[serde(default)]
    pub failing_checkpoint_count: u32,
    /// The newest checkpoint that failed in this process.
    #[serde(default)]
    pub last_failed_checkpoint: Option<FailedCheckpointView>,
    /// What can be changed while it runs.
    #[serde(default)]
    pub settings: Option<SettingsView>,
    /// The start generation that it was started with.
    #[serde(default)]
    pub start_generation: Option<u64>,
}

/// A checkpoint that failed while the job went on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailedCheckpointView {
    /// Why it failed.
    pub reason: String,
}

/// A failure of an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureView {
    /// When it was noticed, milliseconds since the epoch.
    pub time_ms: i64,
    /// The operator to blame, where one is.
    #[serde(default)]
    pub operator: Option<String>,
    /// The error's or panic's message.
    pub message: String,
}

/// How a job process ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitView {
    /// When, milliseconds since the epoch.
    pub time_ms: i64,
    /// How, in words: `killed by signal 9`, or at which memory limit.
    pub description: String,
    /// `OutOfMemory` where the container's memory limit was the cause.
    #[serde(default)]
    pub category: Option<String>,
    /// The last lines of its standard error.
    #[serde(default)]
    pub last_lines: Vec<String>,
}

/// One of `GET /v1/checkpoints`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointView {
    /// Its number.
    pub id: u64,
    /// `Checkpoint` or `Savepoint`.
    pub kind: tidegate_api::checkpoint::CheckpointKind,
    /// The name that a savepoint was asked for with.
    #[serde(default)]
    pub name: Option<String>,
    /// When it was complete, milliseconds since the epoch.
    pub completed_ms: i64,
    /// From the barriers to completion.
    pub duration_ms: u64,
    /// The bytes of all files that it needs.
    pub size_bytes: u64,
    /// The parallelism it was taken at.
    pub parallelism: u32,
}

/// What can be changed while a job runs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettingsView {
    /// From one checkpoint's start to the next one's; absent when only savepoints are taken.
    #[serde(default)]
    pub checkpoint_interval_ms: Option<u64>,
    /// How many of the newest checkpoints are kept.
    pub retained_checkpoints: u32,
    /// The lowest level that is logged.
    pub log_level: tidegate_api::spec::LogLevel,
}

/// What a job takes before it stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// A savepoint.
    Savepoint,
    /// An ordinary checkpoint, so that nothing has to be computed again.
    Checkpoint,
    /// Nothing.
    Immediate,
}

impl StopMode {
    /// Beside a savepoint, what is best for a job in this state. One that does not run, or whose
    /// checkpoints fail, would be waited for in vain; where they take long, to compute again what
    /// came since the last one is no worse than to stand still for another.
    pub fn for_job(view: &JobView) -> Self {
        let last = view.last_checkpoint.as_ref();
        let is_quick = last.is_none_or(|last| last.duration_ms <= QUICK_CHECKPOINT_MS);
        match view.phase {
            Phase::Running if is_quick && view.failing_checkpoint_count == 0 => Self::Checkpoint,
            _ => Self::Immediate,
        }
    }
}

/// Something that the controller asks of one pod's job process. Each may be asked again: the second
/// time nothing changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobCommand {
    /// `POST /v1/start`: a held job goes on.
    Start,
    /// `POST /v1/stop`.
    Stop(StopMode),
    /// `POST /v1/rescale`.
    Rescale {
        /// How many subtasks each operator gets.
        parallelism: u32,
    },
    /// `PATCH /v1/settings`.
    Settings {
        /// From one checkpoint's start to the next one's.
        checkpoint_interval_ms: Option<u64>,
        /// How many of the newest checkpoints are kept.
        retained_checkpoints: u32,
        /// The lowest level that is logged.
        log_level: tidegate_api::spec::LogLevel,
    },
    /// `POST /v1/savepoints`; the same name gives the same savepoint.
    Savepoint {
        /// The name of the Checkpoint object that asks.
        name: String,
    },
    /// `DELETE /v1/checkpoints/{id}`.
    Release {
        /// The checkpoint's number.
        id: u64,
    },
}
