//! The fields of a `StreamJob`, as they stand in its YAML.
//!
//! These types take what the API server has stored, so they are tolerant: what has a meaning only
//! together with other fields is held by [`crate::validate`], and unknown fields are ignored, since
//! a newer definition may have them. Durations are integers with their unit in the name.

// kube's derive repeats each type inside a function, where nothing can be reached from outside, and
// clippy takes the arguments of one column for repetitions of another's.
#![cfg_attr(feature = "crd", allow(unreachable_pub, clippy::duplicated_attributes))]

mod checkpoint;
mod lifecycle;
#[cfg(feature = "crd")]
mod pod_template;
mod program;
mod quantity;

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[cfg(feature = "crd")]
use crate::bounds;

pub use checkpoint::{Checkpoint, CheckpointMode, Retention, SecretReference, Storage};
pub use lifecycle::{DeletionPolicy, LogLevel, Restart, RollbackPolicy, Upgrade, UpgradeMode};
pub use program::{EnvVar, Program};
pub use quantity::{Quantity, QuantityError, Resources};

/// The parallelism when none is given.
pub const DEFAULT_PARALLELISM: i32 = 1;
/// The number of key groups when none is given.
pub const DEFAULT_MAX_PARALLELISM: i32 = 128;
/// `startFrom` when none is given.
pub const DEFAULT_START_FROM: &str = "Latest";

/// What a stream job runs, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(
    feature = "crd",
    derive(kube::CustomResource, schemars::JsonSchema),
    kube(
        group = "tidegate.dev",
        version = "v1alpha1",
        kind = "StreamJob",
        plural = "streamjobs",
        shortname = "sj",
        category = "tidegate",
        namespaced,
        doc = "A stateful stream-processing job with exactly-once results.",
        derive = "PartialEq",
        status = "crate::status::StreamJobStatus",
        scale(
            spec_replicas_path = ".spec.parallelism",
            status_replicas_path = ".status.parallelism",
            label_selector_path = ".status.selector"
        ),
        printcolumn(
            name = "Ready",
            type_ = "string",
            json_path = r#".status.conditions[?(@.type=="Ready")].status"#
        ),
        printcolumn(
            name = "Status",
            type_ = "string",
            json_path = r#".status.conditions[?(@.type=="Ready")].reason"#
        ),
        printcolumn(
            name = "Parallelism",
            type_ = "integer",
            json_path = ".status.parallelism"
        ),
        printcolumn(
            name = "Checkpoint",
            type_ = "integer",
            json_path = ".status.latestCheckpoint.id"
        ),
        printcolumn(
            name = "Checkpoint age",
            type_ = "date",
            json_path = ".status.latestCheckpoint.completedTime"
        ),
        printcolumn(name = "Restarts", type_ = "integer", json_path = ".status.restarts"),
        printcolumn(
            name = "Age",
            type_ = "date",
            json_path = ".metadata.creationTimestamp"
        ),
        printcolumn(
            name = "Revision",
            type_ = "string",
            json_path = ".status.revision",
            priority = 1
        ),
        printcolumn(
            name = "Upgrade",
            type_ = "string",
            json_path = ".status.upgrade.phase",
            priority = 1
        ),
        printcolumn(
            name = "Message",
            type_ = "string",
            json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
            priority = 1
        )
    )
)]
pub struct StreamJobSpec {
    /// The job as SQL. Exactly one of sql and program is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(max = bounds::SQL_LENGTH)))]
    pub sql: Option<String>,
    /// The job as a program that is built with Tidegate's Rust API. Exactly one of sql and program
    /// is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Program>,
    /// How many subtasks each operator runs in. A change rescales the running job.
    #[serde(default = "default_parallelism")]
    #[cfg_attr(
        feature = "crd",
        schemars(range(min = bounds::PARALLELISM.min, max = bounds::PARALLELISM.max))
    )]
    pub parallelism: i32,
    /// How many key groups the state is divided into: the highest parallelism that the job can
    /// ever have. Fixed once the job exists.
    #[serde(default = "default_max_parallelism")]
    #[cfg_attr(
        feature = "crd",
        schemars(range(min = bounds::PARALLELISM.min, max = bounds::PARALLELISM.max))
    )]
    pub max_parallelism: i32,
    /// When checkpoints are taken, where they are kept, and how many.
    #[serde(default)]
    pub checkpoint: Checkpoint,
    /// How a changed program, SQL text or pod template takes over the state.
    #[serde(default)]
    pub upgrade: Upgrade,
    /// What state the job starts from when it is created: Latest (the newest checkpoint in its own
    /// folder, or none), Empty, the name of a checkpoint, or the URL of a job's folder with the
    /// checkpoint's number after a hash sign, as in s3://bucket/prefix/namespace/job#42.
    #[serde(default = "default_start_from")]
    #[cfg_attr(feature = "crd", schemars(length(max = bounds::LOCATION_LENGTH)))]
    pub start_from: String,
    /// What becomes of the job's folder when the job is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// Whether the job stands still: it takes a savepoint and its pods go. Setting it back to false
    /// goes on from there.
    #[serde(default)]
    pub suspend: bool,
    /// How often, and after what delay, a failed job is started again.
    #[serde(default)]
    pub restart: Restart,
    /// The lowest level that the job logs. A change applies to the running job.
    #[serde(default)]
    pub log_level: LogLevel,
    /// What each pod of the job asks of its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Merged into each pod of the job, lists by name; the job's container is named job. Any field
    /// of a pod template's spec may stand here, but for what the controller owns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(schema_with = "pod_template::schema"))]
    pub pod_template: Option<Value>,
}

impl Default for StreamJobSpec {
    fn default() -> Self {
        Self {
            sql: None,
            program: None,
            parallelism: default_parallelism(),
            max_parallelism: default_max_parallelism(),
            checkpoint: Checkpoint::default(),
            upgrade: Upgrade::default(),
            start_from: default_start_from(),
            deletion_policy: DeletionPolicy::default(),
            suspend: false,
            restart: Restart::default(),
            log_level: LogLevel::default(),
            resources: None,
            pod_template: None,
        }
    }
}

fn default_parallelism() -> i32 {
    DEFAULT_PARALLELISM
}

fn default_max_parallelism() -> i32 {
    DEFAULT_MAX_PARALLELISM
}

fn default_start_from() -> String {
    DEFAULT_START_FROM.to_owned()
}
