//! What the job API tells, as JSON. Times are milliseconds since the epoch.

mod process;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_engine::NodeDescription;
use tidegate_protocol::{CheckpointKind, LogNumber, Manifest, OperatorKind};

pub(crate) use process::SettingsChange;
pub use process::{LastExitView, LogLevelView, SettingsView};

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Reads the checkpoint log and takes over from earlier attempts.
    Starting,
    /// Cannot start; it tries again by itself.
    Blocked,
    /// Could start, and waits to be let go.
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
}

impl Phase {
    /// Every phase.
    pub(crate) const ALL: [Self; 11] = [
        Self::Starting,
        Self::Blocked,
        Self::Holding,
        Self::Restoring,
        Self::Running,
        Self::BackingOff,
        Self::Stopping,
        Self::Finished,
        Self::Stopped,
        Self::Fenced,
        Self::Failed,
    ];
}

/// What a job is doing, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PhaseDetail")]
pub struct PhaseView {
    /// What it is doing.
    pub phase: Phase,
    /// Why, where there is more to say.
    pub reason: Option<String>,
    /// The kind of trouble in one word, of a job that is blocked, waits after a failure or failed.
    pub category: Option<String>,
    /// Its running attempt.
    pub attempt: Option<u64>,
    /// The checkpoint from which that attempt goes on, or would go on while it is held.
    pub restored_checkpoint: Option<u64>,
    /// When it starts again, while it waits.
    pub restart_ms: Option<i64>,
    /// How often this process has started the job again after a failure.
    pub restart_count: u32,
}

impl PhaseView {
    /// A phase about which there is nothing more to say.
    pub(crate) const fn new(phase: Phase, restart_count: u32) -> Self {
        Self {
            phase,
            reason: None,
            category: None,
            attempt: None,
            restored_checkpoint: None,
            restart_ms: None,
            restart_count,
        }
    }
}

/// Why a checkpoint was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CheckpointKind")]
pub enum CheckpointKindView {
    /// Taken by the job, kept until newer ones replace it.
    Checkpoint,
    /// Asked for by the user, kept until the user releases it.
    Savepoint,
}

impl From<CheckpointKind> for CheckpointKindView {
    fn from(kind: CheckpointKind) -> Self {
        match kind {
            CheckpointKind::Checkpoint => Self::Checkpoint,
            CheckpointKind::Savepoint => Self::Savepoint,
        }
    }
}

/// A completed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Checkpoint")]
pub struct CheckpointView {
    /// Its number.
    pub id: u64,
    /// Its entry's number in the checkpoint log.
    pub log_number: u64,
    /// Why it was taken.
    pub kind: CheckpointKindView,
    /// The name that a savepoint was asked for with.
    pub name: Option<String>,
    /// The attempt that took it.
    pub attempt: u64,
    /// When its barriers were injected.
    pub triggered_ms: i64,
    /// When it was complete.
    pub completed_ms: i64,
    /// From the barriers to completion.
    pub duration_ms: u64,
    /// The bytes of all files that it needs.
    pub size_bytes: u64,
    /// The bytes of those files that were written for it alone.
    pub written_bytes: u64,
    /// The parallelism it was taken at.
    pub parallelism: u32,
    /// Whether every source had been read to its end.
    pub is_final: bool,
}

impl CheckpointView {
    pub(crate) fn new(number: LogNumber, manifest: &Manifest) -> Self {
        let folder = format!("state/{}/{}/", manifest.attempt, manifest.checkpoint);
        let own = manifest
            .files()
            .filter(|file| file.path.starts_with(&folder));
        let duration_ms = manifest.completed_ms - manifest.triggered_ms;
        Self {
            id: manifest.checkpoint.get(),
            log_number: number.get(),
            kind: manifest.kind.into(),
            name: manifest.name.clone(),
            attempt: manifest.attempt.get(),
            triggered_ms: manifest.triggered_ms,
            completed_ms: manifest.completed_ms,
            duration_ms: u64::try_from(duration_ms).unwrap_or(0),
            size_bytes: manifest.size_bytes(),
            written_bytes: own.map(|file| file.size_bytes).sum(),
            parallelism: manifest.parallelism.get(),
            is_final: manifest.is_final,
        }
    }
}

/// A completed checkpoint with what each operator keeps in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckpointDetail {
    /// The checkpoint.
    #[serde(flatten)]
    pub checkpoint: CheckpointView,
    /// The number of key groups.
    pub max_parallelism: u32,
    /// A fingerprint of the plan that ran.
    pub plan_fingerprint: String,
    /// Operators that keep something.
    pub operators: Vec<OperatorStateView>,
}

/// What one operator keeps in a checkpoint, over all its subtasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OperatorState")]
pub struct OperatorStateView {
    /// Its stable id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// How many subtasks it had.
    pub subtask_count: usize,
    /// How many state files there are.
    pub file_count: usize,
    /// Their bytes.
    pub size_bytes: u64,
    /// Their rows, deletions and older versions included.
    pub row_count: u64,
    /// How many splits or open transactions it keeps.
    pub item_count: usize,
}

impl CheckpointDetail {
    pub(crate) fn new(number: LogNumber, manifest: &Manifest) -> Self {
        let operators = manifest.operators.iter().map(|operator| {
            let files = operator.subtasks.iter().flat_map(|subtask| &subtask.files);
            OperatorStateView {
                id: operator.operator.to_string(),
                name: operator.name.clone(),
                subtask_count: operator.subtasks.len(),
                file_count: files.clone().count(),
                size_bytes: files.clone().map(|file| file.size_bytes).sum(),
                row_count: files.map(|file| file.row_count).sum(),
                item_count: operator
                    .subtasks
                    .iter()
                    .map(|subtask| subtask.items.len())
                    .sum(),
            }
        });
        Self {
            checkpoint: CheckpointView::new(number, manifest),
            max_parallelism: manifest.max_parallelism.get(),
            plan_fingerprint: manifest.plan_fingerprint.clone(),
            operators: operators.collect(),
        }
    }
}

/// A failure of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Failure")]
pub struct FailureView {
    /// When it was noticed.
    pub time_ms: i64,
    /// The operator to blame, where one is.
    pub operator: Option<String>,
    /// Its subtask, where one is to blame, as chain and index.
    pub subtask: Option<String>,
    /// The error's or panic's message.
    pub message: String,
    /// Whether trying again cannot help.
    pub is_permanent: bool,
    /// The kind of failure in one word.
    pub category: String,
}

/// A checkpoint that failed while the job went on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "FailedCheckpoint")]
pub struct FailedCheckpointView {
    /// When it was noticed.
    pub time_ms: i64,
    /// The checkpoint's number.
    pub id: u64,
    /// Why it failed.
    pub reason: String,
}

/// How much was done, over all subtasks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Progress")]
pub struct ProgressView {
    /// Records that sources gave in this process, those read again after a failure included.
    pub records_read: u64,
    /// The same a second, lately.
    pub records_read_per_second: f64,
    /// Records that sinks took in this process.
    pub records_written: u64,
    /// Bad records that were skipped.
    pub skipped_records: u64,
    /// Bad records that were written to a dead-letter output.
    pub dead_letter_records: u64,
    /// Records behind the watermark.
    pub late_records: u64,
    /// Keys that have state.
    pub state_keys: u64,
    /// Bytes of state in memory, about.
    pub state_bytes: u64,
}

/// Where a sink's result lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SinkResult")]
pub struct ResultView {
    /// The sink's name.
    pub sink: String,
    /// The place, as a person would name it.
    pub location: String,
}

/// The whole job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Job")]
pub struct JobView {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Where its checkpoints lie.
    pub folder: String,
    /// What it is doing.
    #[serde(flatten)]
    pub phase: PhaseView,
    /// Since when it is doing that.
    pub phase_since_ms: i64,
    /// How many subtasks each operator has.
    pub parallelism: u32,
    /// How many key groups the state has.
    pub max_parallelism: u32,
    /// When this process started.
    pub started_ms: i64,
    /// The start generation that it was started with, where its starter gave one.
    pub start_generation: Option<u64>,
    /// The version of Tidegate that the program was built with.
    pub version: String,
    /// What can be changed while the job runs.
    pub settings: SettingsView,
    /// How the process before this one ended, in the same container.
    pub last_exit: Option<LastExitView>,
    /// How often a process of the job was started again in this container.
    pub process_restart_count: u32,
    /// The newest failure in this process.
    pub last_failure: Option<FailureView>,
    /// The newest completed checkpoint.
    pub last_checkpoint: Option<CheckpointView>,
    /// The numbers of retained entries of the checkpoint log that cannot be read, ascending: what
    /// they hold is kept, but not listed.
    #[serde(default)]
    pub damaged_entries: Vec<u64>,
    /// Checkpoints from this number on are in none of them, if it is known.
    #[serde(default)]
    pub damaged_below: Option<u64>,
    /// How many checkpoints this process completed.
    pub completed_checkpoint_count: u64,
    /// How many checkpoints failed in this process.
    pub failed_checkpoint_count: u64,
    /// How many checkpoints failed in a row.
    pub failing_checkpoint_count: u32,
    /// The newest checkpoint that failed in this process.
    pub last_failed_checkpoint: Option<FailedCheckpointView>,
    /// How much was done.
    pub progress: ProgressView,
    /// Where results lie.
    pub results: Vec<ResultView>,
    /// What the user should know about this job's guarantees.
    pub warnings: Vec<String>,
}

/// What an operator is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "OperatorKind")]
pub enum OperatorKindView {
    /// Reads.
    Source,
    /// Keeps nothing.
    Stateless,
    /// Keeps state by key.
    Keyed,
    /// Writes.
    Sink,
}

impl From<OperatorKind> for OperatorKindView {
    fn from(kind: OperatorKind) -> Self {
        match kind {
            OperatorKind::Source => Self::Source,
            OperatorKind::Stateless => Self::Stateless,
            OperatorKind::Keyed => Self::Keyed,
            OperatorKind::Sink => Self::Sink,
        }
    }
}

/// One operator of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Operator")]
pub struct OperatorView {
    /// Its stable id.
    pub id: String,
    /// What it is.
    pub kind: OperatorKindView,
    /// The chain that it runs in, from 0.
    pub chain: u32,
    /// What it takes its records from.
    pub inputs: Vec<InputView>,
}

/// What an operator takes records from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Input")]
pub struct InputView {
    /// The operator that gives them.
    pub operator: String,
    /// How they come: `forward`, within the same task, or `hash`, by key.
    pub exchange: String,
}

impl OperatorView {
    pub(crate) fn new(node: &NodeDescription) -> Self {
        let inputs = node.inputs.iter().map(|(operator, exchange)| InputView {
            operator: operator.to_string(),
            exchange: (*exchange).to_owned(),
        });
        Self {
            id: node.id.to_string(),
            kind: node.kind.into(),
            chain: node.chain.0,
            inputs: inputs.collect(),
        }
    }
}

/// The dataflow graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Graph")]
pub struct GraphView {
    /// In topological order.
    pub operators: Vec<OperatorView>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifest() -> Manifest {
        let file = |path: &str, size: u64| {
            json!({
                "path": path, "kind": "Base", "sizeBytes": size, "checksum": "0", "rowCount": 2,
                "keyGroups": {"start": 0, "end": 128},
            })
        };
        let value = json!({
            "checkpoint": 7, "kind": "Savepoint", "attempt": 3, "triggeredMs": 1000,
            "completedMs": 1024, "parallelism": 1, "maxParallelism": 128,
            "planFingerprint": "f", "isFinal": false,
            "operators": [{"operator": "count", "name": "Count", "subtasks": [{
                "subtask": 0, "keyGroups": {"start": 0, "end": 128},
                "files": [file("state/3/6/count-0.arrow", 100), file("state/3/7/count-0.arrow", 5)],
                "items": [1],
            }]}],
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_checkpoint_tells_what_it_needs_and_what_was_written_for_it_alone() {
        let detail = CheckpointDetail::new(LogNumber::new(9).unwrap(), &manifest());
        let checkpoint = &detail.checkpoint;
        assert_eq!((checkpoint.id, checkpoint.log_number), (7, 9));
        assert_eq!((checkpoint.size_bytes, checkpoint.written_bytes), (105, 5));
        assert_eq!(checkpoint.duration_ms, 24);
        let operator = &detail.operators[0];
        assert_eq!(
            (operator.file_count, operator.row_count, operator.item_count),
            (2, 4, 1)
        );
    }
}
