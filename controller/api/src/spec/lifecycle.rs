//! How a job fails, changes and ends.

use serde::{Deserialize, Serialize};

#[cfg(feature = "crd")]
use crate::bounds;

const DEFAULT_INITIAL_DELAY_MILLISECONDS: i32 = 200;
const DEFAULT_MAX_DELAY_SECONDS: i32 = 60;
const DEFAULT_ATTEMPTS: i32 = 10;
const DEFAULT_RESET_AFTER_SECONDS: i32 = 600;
const DEFAULT_DEADLINE_SECONDS: i32 = 600;

/// How often, and after what delay, a failed job is started again from its newest checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct Restart {
    /// The delay before the first restart; it doubles with each further one.
    #[serde(default = "default_initial_delay_milliseconds")]
    #[cfg_attr(
        feature = "crd",
        schemars(range(
            min = bounds::INITIAL_DELAY_MILLISECONDS.min,
            max = bounds::INITIAL_DELAY_MILLISECONDS.max
        ))
    )]
    pub initial_delay_milliseconds: i32,
    /// The longest delay between restarts.
    #[serde(default = "default_max_delay_seconds")]
    #[cfg_attr(
        feature = "crd",
        schemars(range(min = bounds::MAX_DELAY_SECONDS.min, max = bounds::MAX_DELAY_SECONDS.max))
    )]
    pub max_delay_seconds: i32,
    /// How many restarts are tried before the job has failed; 0 means none.
    #[serde(default = "default_attempts")]
    #[cfg_attr(
        feature = "crd",
        schemars(range(min = bounds::ATTEMPTS.min, max = bounds::ATTEMPTS.max))
    )]
    pub attempts: i32,
    /// After this long without a failure, the delay and the count start anew.
    #[serde(default = "default_reset_after_seconds")]
    #[cfg_attr(
        feature = "crd",
        schemars(range(
            min = bounds::RESET_AFTER_SECONDS.min,
            max = bounds::RESET_AFTER_SECONDS.max
        ))
    )]
    pub reset_after_seconds: i32,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            initial_delay_milliseconds: default_initial_delay_milliseconds(),
            max_delay_seconds: default_max_delay_seconds(),
            attempts: default_attempts(),
            reset_after_seconds: default_reset_after_seconds(),
        }
    }
}

/// How a changed program, SQL text or pod template takes over the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct Upgrade {
    /// What the new version starts from.
    #[serde(default)]
    pub mode: UpgradeMode,
    /// A version that has not proven itself by then has failed.
    #[serde(default = "default_deadline_seconds")]
    #[cfg_attr(
        feature = "crd",
        schemars(range(min = bounds::DEADLINE_SECONDS.min, max = bounds::DEADLINE_SECONDS.max))
    )]
    pub deadline_seconds: i32,
    /// What happens to a version that has failed.
    #[serde(default)]
    pub rollback: RollbackPolicy,
}

impl Default for Upgrade {
    fn default() -> Self {
        Self {
            mode: UpgradeMode::default(),
            deadline_seconds: default_deadline_seconds(),
            rollback: RollbackPolicy::default(),
        }
    }
}

/// What a new version starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum UpgradeMode {
    /// The newest checkpoint; the old version is not asked for another.
    #[default]
    LatestCheckpoint,
    /// A savepoint that the old version takes.
    Savepoint,
    /// No state.
    Stateless,
}

/// What happens to a version that has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum RollbackPolicy {
    /// The last stable version and its checkpoint come back.
    #[default]
    LastStable,
    /// It stays, failed, until the spec changes.
    Never,
}

/// What becomes of the job's folder when the job is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum DeletionPolicy {
    /// It stays, and a job of the same name goes on from it.
    #[default]
    Retain,
    /// Everything in it is removed, savepoints too.
    Delete,
}

/// The lowest level that a job logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum LogLevel {
    /// A person is needed.
    Error,
    /// Something was tried again.
    Warn,
    /// A state changed.
    #[default]
    Info,
    /// Single steps.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The level as log filters spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

fn default_initial_delay_milliseconds() -> i32 {
    DEFAULT_INITIAL_DELAY_MILLISECONDS
}

fn default_max_delay_seconds() -> i32 {
    DEFAULT_MAX_DELAY_SECONDS
}

fn default_attempts() -> i32 {
    DEFAULT_ATTEMPTS
}

fn default_reset_after_seconds() -> i32 {
    DEFAULT_RESET_AFTER_SECONDS
}

fn default_deadline_seconds() -> i32 {
    DEFAULT_DEADLINE_SECONDS
}
