//! What the controller reports about a `StreamJob`.
//!
//! Health is told by conditions, each with a reason from a closed list, and not by a phase. The
//! status mirrors what can be observed; only [`StreamJobStatus::revision`] and
//! [`StreamJobStatus::upgrade`] are remembered, and a controller that finds them gone goes on from
//! the job's Deployments.

mod condition;
mod reason;
mod upgrade;

use serde::{Deserialize, Serialize};

#[cfg(feature = "crd")]
use crate::bounds;

pub use condition::{Condition, ConditionStatus, ConditionType};
pub use reason::Reason;
pub use upgrade::{UpgradePhase, UpgradeStatus};

/// What the controller reports about a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct StreamJobStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The revision that runs, or ran last: 8 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The parallelism that runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<i32>,
    /// The job's pods, as a label selector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// How often the job was started again since its revision last changed, whatever the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<i32>,
    /// The attempt that was seen last; restarts are counted by its changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i64>,
    /// The newest checkpoint that is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_checkpoint: Option<LatestCheckpoint>,
    /// What went wrong last, whether or not the job has survived it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,
    /// The upgrade under way, or the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradeStatus>,
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
pub struct LatestCheckpoint {
    /// Its number.
    pub id: i64,
    /// Whether it is a savepoint.
    pub kind: crate::checkpoint::CheckpointKind,
    /// When it was complete, in RFC 3339.
    pub completed_time: String,
    /// The job's folder with the checkpoint's number after a hash sign, as `startFrom` takes it.
    #[cfg_attr(feature = "crd", schemars(length(max = bounds::LOCATION_LENGTH)))]
    pub location: String,
}

/// What went wrong last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct LastFailure {
    /// When, in RFC 3339.
    pub time: String,
    /// What kind, in one word for programs.
    pub reason: Reason,
    /// What, in a sentence for people, with the last lines of a process's error.
    #[cfg_attr(feature = "crd", schemars(length(max = 1024)))]
    pub message: String,
}

impl StreamJobStatus {
    /// The condition of a type, if it was reported.
    pub fn condition(&self, type_: ConditionType) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.type_ == type_)
    }
}
