//! Why a condition has its status: a closed list, the same words in events and metrics.

use serde::{Deserialize, Serialize};

/// Why a condition has its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Reason {
    /// Every subtask runs and checkpoints are recent.
    Running,
    /// The job starts, or starts again.
    Starting,
    /// The job failed and starts again from its latest checkpoint; the message tells the failure.
    Restarting,
    /// All input was read, and its results are committed.
    Finished,
    /// The job takes a savepoint and its pods go.
    Suspending,
    /// The spec says so.
    Suspended,
    /// The job is being deleted.
    Deleting,
    /// The spec contradicts itself; the message names each field.
    SpecInvalid,
    /// The spec can be run.
    SpecValid,
    /// The restart budget is spent.
    RestartsExhausted,
    /// The program reports an error that trying again cannot help.
    ProgramFailed,
    /// The store cannot be reached, or answers with errors.
    StorageUnavailable,
    /// The store has no such bucket.
    BucketMissing,
    /// The store refuses the credentials.
    StorageDenied,
    /// The store does not keep its promises: two writers may create one name.
    StorageUnsuitable,
    /// The checkpoint that startFrom names is not there.
    CheckpointMissing,
    /// The checkpoint to restore is damaged.
    CheckpointUnreadable,
    /// The program does not fit the state that it would restore.
    StateIncompatible,
    /// A container image cannot be pulled.
    ImagePullFailed,
    /// No node takes a pod.
    Unschedulable,
    /// The API server refuses the pod: quota, policy or a missing reference.
    PodRefused,
    /// A pod cannot be set up on its node, such as for a missing Secret.
    PodNotStarting,
    /// A container was killed at its memory limit.
    OutOfMemory,
    /// The program ends right after its start, again and again.
    CrashLoop,
    /// The pod runs but its job API does not answer.
    Unreachable,
    /// Another process has taken the job over.
    Fenced,
    /// The newest checkpoint is as recent as the interval asks for.
    CheckpointsRecent,
    /// Only savepoints are taken, as the spec says.
    CheckpointsPeriodicOff,
    /// The last checkpoints failed.
    CheckpointFailing,
    /// The newest checkpoint is too old.
    CheckpointOverdue,
    /// No checkpoint was complete yet.
    NoCheckpointYet,
    /// A new revision is brought up beside the one that runs.
    UpgradeInProgress,
    /// The new revision runs and must complete checkpoints to be kept.
    UpgradeProving,
    /// The new revision cannot take over; the one before it runs on.
    UpgradeRefused,
    /// The new revision failed; the last stable one runs again.
    RolledBack,
    /// The revision has proven itself.
    Stable,
}

impl Reason {
    /// All reasons, in their order.
    pub const ALL: [Self; 36] = [
        Self::Running,
        Self::Starting,
        Self::Restarting,
        Self::Finished,
        Self::Suspending,
        Self::Suspended,
        Self::Deleting,
        Self::SpecInvalid,
        Self::SpecValid,
        Self::RestartsExhausted,
        Self::ProgramFailed,
        Self::StorageUnavailable,
        Self::BucketMissing,
        Self::StorageDenied,
        Self::StorageUnsuitable,
        Self::CheckpointMissing,
        Self::CheckpointUnreadable,
        Self::StateIncompatible,
        Self::ImagePullFailed,
        Self::Unschedulable,
        Self::PodRefused,
        Self::PodNotStarting,
        Self::OutOfMemory,
        Self::CrashLoop,
        Self::Unreachable,
        Self::Fenced,
        Self::CheckpointsRecent,
        Self::CheckpointsPeriodicOff,
        Self::CheckpointFailing,
        Self::CheckpointOverdue,
        Self::NoCheckpointYet,
        Self::UpgradeInProgress,
        Self::UpgradeProving,
        Self::UpgradeRefused,
        Self::RolledBack,
        Self::Stable,
    ];

    /// The word, as it stands in conditions, events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Starting => "Starting",
            Self::Restarting => "Restarting",
            Self::Finished => "Finished",
            Self::Suspending => "Suspending",
            Self::Suspended => "Suspended",
            Self::Deleting => "Deleting",
            Self::SpecInvalid => "SpecInvalid",
            Self::SpecValid => "SpecValid",
            Self::RestartsExhausted => "RestartsExhausted",
            Self::ProgramFailed => "ProgramFailed",
            Self::StorageUnavailable => "StorageUnavailable",
            Self::BucketMissing => "BucketMissing",
            Self::StorageDenied => "StorageDenied",
            Self::StorageUnsuitable => "StorageUnsuitable",
            Self::CheckpointMissing => "CheckpointMissing",
            Self::CheckpointUnreadable => "CheckpointUnreadable",
            Self::StateIncompatible => "StateIncompatible",
            Self::ImagePullFailed => "ImagePullFailed",
            Self::Unschedulable => "Unschedulable",
            Self::PodRefused => "PodRefused",
            Self::PodNotStarting => "PodNotStarting",
            Self::OutOfMemory => "OutOfMemory",
            Self::CrashLoop => "CrashLoop",
            Self::Unreachable => "Unreachable",
            Self::Fenced => "Fenced",
            Self::CheckpointsRecent => "CheckpointsRecent",
            Self::CheckpointsPeriodicOff => "CheckpointsPeriodicOff",
            Self::CheckpointFailing => "CheckpointFailing",
            Self::CheckpointOverdue => "CheckpointOverdue",
            Self::NoCheckpointYet => "NoCheckpointYet",
            Self::UpgradeInProgress => "UpgradeInProgress",
            Self::UpgradeProving => "UpgradeProving",
            Self::UpgradeRefused => "UpgradeRefused",
            Self::RolledBack => "RolledBack",
            Self::Stable => "Stable",
        }
    }
}
