//! What the controller reports about a `StreamJob`.
//!
//! Health is told by conditions, each with a reason from a closed list, and not by a phase.

use serde::{Deserialize, Serialize};

/// What the controller reports about a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct StreamJobStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The parallelism that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<i32>,
    /// The job's pods, as a label selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// How often the job was started again since its spec last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<i32>,
    /// The newest checkpoint that is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_checkpoint: Option<LastCheckpoint>,
    /// The job's health, one entry for each type.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(
        feature = "crd",
        schemars(length(max = 16)),
        schemars(extend(
            "x-kubernetes-list-type" = "map",
            "x-kubernetes-list-map-keys" = ["type"]
        ))
    )]
    pub conditions: Vec<Condition>,
}

/// The newest checkpoint that is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct LastCheckpoint {
    /// Its number.
    pub id: i64,
    /// When it was complete, in RFC 3339.
    pub completed_time: String,
}

/// One statement about the job's health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub type_: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why, in one word for programs.
    pub reason: Reason,
    /// Why, in a sentence for people, with what to do next.
    #[serde(default)]
    #[cfg_attr(feature = "crd", schemars(length(max = 1024)))]
    pub message: String,
    /// The generation of the spec that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When its status last changed, in RFC 3339.
    pub last_transition_time: String,
}

/// What a condition is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum ConditionType {
    /// Every subtask runs and checkpoints are recent.
    Ready,
    /// The spec can be run.
    Valid,
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum ConditionStatus {
    /// It does.
    True,
    /// It does not.
    False,
    /// It cannot be told.
    Unknown,
}

/// Why a condition has its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum Reason {
    /// Every subtask runs and checkpoints are recent.
    Running,
    /// The job starts, or starts again.
    Starting,
    /// All input was read, and its results are committed.
    Finished,
    /// The spec says so.
    Suspended,
    /// The spec contradicts itself; the message names each field.
    SpecInvalid,
    /// The spec can be run.
    SpecValid,
    /// The restart budget is spent.
    RestartsExhausted,
}

impl Reason {
    /// The word, as it stands in conditions, events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Starting => "Starting",
            Self::Finished => "Finished",
            Self::Suspended => "Suspended",
            Self::SpecInvalid => "SpecInvalid",
            Self::SpecValid => "SpecValid",
            Self::RestartsExhausted => "RestartsExhausted",
        }
    }
}
