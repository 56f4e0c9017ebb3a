//! The `Checkpoint` resource: one for each checkpoint or savepoint that a job retains.
//!
//! It mirrors an entry of the job's checkpoint log, which stays the truth. A person who creates one
//! asks for a savepoint; deleting one releases the checkpoint, and a finalizer keeps the object
//! until its files are removed. It has no status subresource, so that mirroring a checkpoint takes
//! one write instead of two.

// kube's derive repeats each type inside a function, where nothing can be reached from outside, and
// clippy takes the arguments of one column for repetitions of another's.
#![cfg_attr(feature = "crd", allow(unreachable_pub, clippy::duplicated_attributes))]

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(feature = "crd")]
use crate::bounds;
use crate::spec::Storage;

/// What a checkpoint belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(
    feature = "crd",
    derive(kube::CustomResource, schemars::JsonSchema),
    kube(
        group = "tidegate.dev",
        version = "v1alpha1",
        kind = "Checkpoint",
        plural = "checkpoints",
        shortname = "ckpt",
        category = "tidegate",
        namespaced,
        doc = "A checkpoint or savepoint of a stream job. Creating one takes a savepoint; deleting \
               one removes its files.",
        derive = "PartialEq",
        status = "CheckpointStatus",
        printcolumn(name = "Job", type_ = "string", json_path = ".spec.jobName"),
        printcolumn(name = "ID", type_ = "integer", json_path = ".status.id"),
        printcolumn(name = "Kind", type_ = "string", json_path = ".status.kind"),
        printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
        printcolumn(name = "Size", type_ = "string", json_path = ".status.size"),
        printcolumn(name = "Duration", type_ = "string", json_path = ".status.duration"),
        printcolumn(name = "Age", type_ = "date", json_path = ".status.completedTime"),
        printcolumn(
            name = "Parallelism",
            type_ = "integer",
            json_path = ".status.parallelism",
            priority = 1
        ),
        printcolumn(
            name = "Location",
            type_ = "string",
            json_path = ".status.location",
            priority = 1
        ),
        printcolumn(
            name = "Message",
            type_ = "string",
            json_path = ".status.message",
            priority = 1
        )
    )
)]
pub struct CheckpointSpec {
    /// The stream job, in the same namespace, whose checkpoint it is.
    #[cfg_attr(feature = "crd", schemars(length(max = bounds::JOB_NAME_LENGTH)))]
    pub job_name: String,
}

#[cfg(feature = "crd")]
fn open_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "nullable": true,
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

/// How the files of a checkpoint can be reached once the job itself is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct Access {
    /// The storage that holds the job's folder.
    pub storage: Storage,
    /// What a pod needs besides, from the job's podTemplate: service account, node selection,
    /// security context, and the environment and volumes of the job's container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(schema_with = "open_object"))]
    pub pod_template: Option<Value>,
}

/// What is known about a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct CheckpointStatus {
    /// How far it is.
    pub state: CheckpointState,
    /// Its number in the job's log; absent until it is complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// Why it was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<CheckpointKind>,
    /// When it was complete, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_time: Option<String>,
    /// From its barriers to completion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_milliseconds: Option<i64>,
    /// The same for people, as in 24ms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(max = 32)))]
    pub duration: Option<String>,
    /// The bytes of all files that it needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
    /// The same for people, as in 1.2MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(max = 32)))]
    pub size: Option<String>,
    /// The parallelism that it was taken at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<i32>,
    /// The job's folder with the checkpoint's number after a hash sign, as startFrom takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(max = bounds::LOCATION_LENGTH)))]
    pub location: Option<String>,
    /// Why it is in its state, in a sentence, with what to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(max = bounds::LINE_LENGTH)))]
    pub message: Option<String>,
    /// How its files can be reached once the job itself is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
}

/// Why a checkpoint was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum CheckpointKind {
    /// By the job, kept until newer ones replace it.
    Checkpoint,
    /// By a person's request or a planned stop, kept until somebody deletes it.
    Savepoint,
}

/// How far a checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum CheckpointState {
    /// Asked for; the job cannot take it yet.
    Pending,
    /// The job takes it.
    InProgress,
    /// It can be restored.
    Completed,
    /// It could not be taken; the message says why. Nothing is left of it.
    Failed,
    /// It is deleted, and its files are being removed.
    Releasing,
}
