//! What the coordinator and its workers tell each other. Serialisable, since workers may be pods.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Attempt, CheckpointId, CheckpointKind, FailureCategory, KeyGroupRange, OperatorId, Parallelism,
    StateFile, SubtaskId, WorkerId,
};

/// What an operator of a subtask begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorRestore {
    /// The operator.
    pub operator: OperatorId,
    /// The key groups it owns now; empty for operators without keys.
    pub key_groups: KeyGroupRange,
    /// Files in the order in which they apply; only rows of `key_groups` within each file's own
    /// range are taken.
    pub files: Vec<StateFile>,
    /// Operator state. For a source: every split of the job with its position, the same list for
    /// each subtask, since splits are assigned anew. For a sink: the transactions it must commit.
    pub items: Vec<Value>,
    /// The watermark to go on from.
    pub watermark_ms: Option<i64>,
}

/// What a subtask begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubtaskDeployment {
    /// The subtask.
    pub subtask: SubtaskId,
    /// The worker that runs it.
    pub worker: WorkerId,
    /// One for each operator of the chain that keeps state, sources and sinks included.
    pub operators: Vec<OperatorRestore>,
}

/// A whole attempt: every subtask and where it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// The attempt.
    pub attempt: Attempt,
    /// Subtasks a chain.
    pub parallelism: Parallelism,
    /// The checkpoint restored, if any.
    pub restored: Option<CheckpointId>,
    /// Whether the restored checkpoint was taken after every source had ended.
    pub is_final: bool,
    /// Sorted by subtask, complete.
    pub subtasks: Vec<SubtaskDeployment>,
}

/// To a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    /// Start this attempt's subtasks. Earlier attempts' tasks are cancelled first.
    Deploy(Box<Deployment>),
    /// Inject this barrier at every source subtask here.
    TriggerCheckpoint {
        /// The attempt it belongs to.
        attempt: Attempt,
        /// The barrier's number.
        checkpoint: CheckpointId,
        /// Why it is taken.
        kind: CheckpointKind,
        /// Whether sources stop after the barrier, since the job stops with this checkpoint.
        is_last: bool,
        /// The newest completed checkpoint of this attempt, or the one it restored: what tells
        /// every subtask which earlier snapshots count and which were aborted, however late the
        /// news.
        last_completed: Option<CheckpointId>,
    },
    /// The manifest stands in the log: sinks commit what they pre-committed.
    CheckpointCompleted {
        /// The attempt it belongs to.
        attempt: Attempt,
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// The checkpoint will not complete; its changes belong to the next one.
    CheckpointAborted {
        /// The attempt it belongs to.
        attempt: Attempt,
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// Drop all tasks of this attempt and answer [`FromWorker::Cancelled`].
    Cancel {
        /// The attempt.
        attempt: Attempt,
    },
}

/// What one operator of a subtask contributes to a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorSnapshot {
    /// The operator.
    pub operator: OperatorId,
    /// The key groups it owned; empty for operators without keys.
    pub key_groups: KeyGroupRange,
    /// The whole chain of files, those of earlier checkpoints included, in order. Each lies in
    /// this checkpoint's own folder ([`StateFile::checkpoint_folder`]) or is named by the
    /// checkpoint that the barrier called the last to complete; a snapshot with any other file
    /// fails its checkpoint. Files of another job (whole URLs) were restored, but may be deleted
    /// by that job any time: the first snapshot after them holds everything anew.
    pub files: Vec<StateFile>,
    /// Operator state.
    pub items: Vec<Value>,
    /// The watermark reached.
    pub watermark_ms: Option<i64>,
}

/// A subtask's acknowledgement: every file it names is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubtaskSnapshot {
    /// One for each operator of the chain that is not stateless, should it keep nothing just now.
    pub operators: Vec<OperatorSnapshot>,
    /// Bytes written for this checkpoint alone.
    pub written_bytes: u64,
    /// How long the task stood still to freeze its state.
    pub freeze_micros: u64,
}

/// From a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromWorker {
    /// All subtasks of this worker have restored their state and run.
    Running {
        /// The attempt.
        attempt: Attempt,
    },
    /// A subtask's snapshot is durable.
    Acknowledged {
        /// The attempt.
        attempt: Attempt,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The subtask.
        subtask: SubtaskId,
        /// Its contribution.
        snapshot: Box<SubtaskSnapshot>,
    },
    /// A subtask could not make its snapshot durable; the subtask itself lives on.
    SnapshotFailed {
        /// The attempt.
        attempt: Attempt,
        /// The checkpoint.
        checkpoint: CheckpointId,
        /// The subtask.
        subtask: SubtaskId,
        /// Why, for people.
        reason: String,
    },
    /// A subtask has ended its input and sent everything on; it still answers barriers.
    Ended {
        /// The attempt.
        attempt: Attempt,
        /// The subtask.
        subtask: SubtaskId,
    },
    /// Every sink of this worker has committed what this checkpoint held. The coordinator waits for
    /// it after the job's last checkpoint.
    Committed {
        /// The attempt.
        attempt: Attempt,
        /// The checkpoint.
        checkpoint: CheckpointId,
    },
    /// A subtask failed: an error or a panic in an operator.
    Failed {
        /// The attempt.
        attempt: Attempt,
        /// The subtask, where one is to blame.
        subtask: Option<SubtaskId>,
        /// The operator's name, where one is to blame.
        operator: Option<String>,
        /// The error or panic message.
        message: String,
        /// Whether trying again cannot help: bad configuration, an incompatible state.
        is_permanent: bool,
        /// What kind of failure it is.
        category: FailureCategory,
    },
    /// All tasks of the attempt are gone from this worker.
    Cancelled {
        /// The attempt.
        attempt: Attempt,
    },
}

impl FromWorker {
    /// The attempt that it is about; one that has been replaced may still be heard of.
    pub const fn attempt(&self) -> Attempt {
        match self {
            Self::Running { attempt }
            | Self::Acknowledged { attempt, .. }
            | Self::SnapshotFailed { attempt, .. }
            | Self::Ended { attempt, .. }
            | Self::Committed { attempt, .. }
            | Self::Failed { attempt, .. }
            | Self::Cancelled { attempt } => *attempt,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChainId, FileKind, SubtaskIndex};

    /// Workers may be pods: what is said must come through as JSON.
    fn comes_through<T>(said: &T)
    where
        T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let text = serde_json::to_string(said).unwrap();
        assert_eq!(serde_json::from_str::<T>(&text).unwrap(), *said, "{text}");
    }

    #[test]
    fn a_deployment_and_an_acknowledgement_come_through_as_json() {
        let subtask = SubtaskId {
            chain: ChainId(1),
            index: SubtaskIndex(2),
        };
        let key_groups = KeyGroupRange { start: 3, end: 9 };
        let files = vec![StateFile {
            path: "state/1/2/count-2.arrow".to_owned(),
            kind: FileKind::Base,
            size_bytes: u64::MAX,
            checksum: "0123456789abcdef".to_owned(),
            key_groups,
            row_count: 7,
        }];
        let items = vec![serde_json::json!({ "split": "a", "offset": 1 })];
        let operator = OperatorId::new("count").unwrap();
        comes_through(&ToWorker::Deploy(Box::new(Deployment {
            attempt: Attempt::FIRST,
            parallelism: Parallelism::new(3).unwrap(),
            restored: Some(CheckpointId::FIRST),
            is_final: false,
            subtasks: vec![SubtaskDeployment {
                subtask,
                worker: WorkerId::FIRST,
                operators: vec![OperatorRestore {
                    operator: operator.clone(),
                    key_groups,
                    files: files.clone(),
                    items: items.clone(),
                    watermark_ms: Some(-1),
                }],
            }],
        })));
        comes_through(&FromWorker::Acknowledged {
            attempt: Attempt::FIRST,
            checkpoint: CheckpointId::FIRST,
            subtask,
            snapshot: Box::new(SubtaskSnapshot {
                operators: vec![OperatorSnapshot {
                    operator,
                    key_groups,
                    files,
                    items,
                    watermark_ms: None,
                }],
                written_bytes: 12,
                freeze_micros: 34,
            }),
        });
    }
}
