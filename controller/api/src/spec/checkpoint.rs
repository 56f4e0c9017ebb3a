//! When checkpoints are taken, where they are kept, and how many.

use serde::{Deserialize, Serialize};

#[cfg(feature = "crd")]
use crate::bounds;

const DEFAULT_INTERVAL_SECONDS: i32 = 10;
const DEFAULT_TIMEOUT_SECONDS: i32 = 600;
const DEFAULT_RETAINED_COUNT: i32 = 3;

/// When checkpoints are taken, where they are kept, and how many.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct Checkpoint {
    /// The time from one checkpoint's start to the next one's. With 0 only savepoints are taken. A
    /// change applies to the running job.
    #[serde(default = "default_interval_seconds")]
    #[cfg_attr(
        feature = "crd",
        schemars(range(min = bounds::INTERVAL_SECONDS.min, max = bounds::INTERVAL_SECONDS.max))
    )]
    pub interval_seconds: i32,
    /// The same below a second: when given, it takes the place of intervalSeconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "crd",
        schemars(range(
            min = bounds::INTERVAL_MILLISECONDS.min,
            max = bounds::INTERVAL_MILLISECONDS.max
        ))
    )]
    pub interval_milliseconds: Option<i32>,
    /// A checkpoint that takes longer has failed; the job goes on.
    #[serde(default = "default_timeout_seconds")]
    #[cfg_attr(
        feature = "crd",
        schemars(range(min = bounds::TIMEOUT_SECONDS.min, max = bounds::TIMEOUT_SECONDS.max))
    )]
    pub timeout_seconds: i32,
    /// The least time between one checkpoint's end and the next one's start, so that a slow store
    /// leaves time for work.
    #[serde(default)]
    #[cfg_attr(
        feature = "crd",
        schemars(range(min = bounds::MIN_PAUSE_SECONDS.min, max = bounds::MIN_PAUSE_SECONDS.max))
    )]
    pub min_pause_seconds: i32,
    /// How barriers pass operators with several inputs.
    #[serde(default)]
    pub mode: CheckpointMode,
    /// Where checkpoints are kept. On a cluster the installation's default when absent, on a laptop
    /// the folder tidegate-data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// How many checkpoints are kept.
    #[serde(default)]
    pub retention: Retention,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self {
            interval_seconds: default_interval_seconds(),
            interval_milliseconds: None,
            timeout_seconds: default_timeout_seconds(),
            min_pause_seconds: 0,
            mode: CheckpointMode::default(),
            storage: None,
            retention: Retention::default(),
        }
    }
}

/// How barriers pass operators with several inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum CheckpointMode {
    /// An input whose barrier has arrived waits for the others.
    #[default]
    Aligned,
}

/// Where checkpoints are kept. The job's own folder is url/namespace/name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct Storage {
    /// s3://bucket/prefix, file:///folder or a folder's absolute path.
    #[cfg_attr(feature = "crd", schemars(length(max = bounds::LINE_LENGTH)))]
    pub url: String,
    /// The S3 endpoint, as in https://minio.example:9000; Amazon's for the region when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(max = bounds::LINE_LENGTH)))]
    pub endpoint: Option<String>,
    /// The S3 region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "crd", schemars(length(max = bounds::REGION_LENGTH)))]
    pub region: Option<String>,
    /// The Secret with the storage's credentials, for S3 its entries AWS_ACCESS_KEY_ID and
    /// AWS_SECRET_ACCESS_KEY; it is mounted into the job's pods. Not needed where the pod's own
    /// identity suffices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretReference>,
}

/// A Secret in the job's namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct SecretReference {
    /// Its name.
    #[cfg_attr(feature = "crd", schemars(length(max = bounds::OBJECT_NAME_LENGTH)))]
    pub name: String,
}

/// How many checkpoints are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct Retention {
    /// How many of the newest checkpoints are kept; every savepoint is kept besides. A change
    /// applies to the running job.
    #[serde(default = "default_retained_count")]
    #[cfg_attr(
        feature = "crd",
        schemars(range(min = bounds::RETAINED_COUNT.min, max = bounds::RETAINED_COUNT.max))
    )]
    pub count: i32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            count: default_retained_count(),
        }
    }
}

fn default_interval_seconds() -> i32 {
    DEFAULT_INTERVAL_SECONDS
}

fn default_timeout_seconds() -> i32 {
    DEFAULT_TIMEOUT_SECONDS
}

fn default_retained_count() -> i32 {
    DEFAULT_RETAINED_COUNT
}
