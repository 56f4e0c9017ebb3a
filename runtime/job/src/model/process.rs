//! What the job API tells about the process and its settings.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use tidegate_api::job_config::JobConfig;
use tidegate_api::spec::LogLevel;

/// The lowest level that is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "LogLevel")]
pub enum LogLevelView {
    /// What needs a person.
    Error,
    /// What was tried again.
    Warn,
    /// What changed.
    Info,
    /// What explains it.
    Debug,
    /// Everything.
    Trace,
}

impl From<LogLevel> for LogLevelView {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::Error,
            LogLevel::Warn => Self::Warn,
            LogLevel::Info => Self::Info,
            LogLevel::Debug => Self::Debug,
            LogLevel::Trace => Self::Trace,
        }
    }
}

/// What can be changed while the job runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Settings")]
pub struct SettingsView {
    /// From one checkpoint's start to the next one's; null where only savepoints are taken.
    pub checkpoint_interval_ms: Option<u64>,
    /// How many of the newest checkpoints are kept; savepoints are kept besides.
    pub retained_checkpoints: u32,
    /// The lowest level that is logged.
    pub log_level: LogLevelView,
}

impl SettingsView {
    pub(crate) fn new(config: &JobConfig) -> Self {
        Self {
            checkpoint_interval_ms: config.checkpoint.interval_ms,
            retained_checkpoints: config.checkpoint.retained_count,
            log_level: config.log_level.into(),
        }
    }
}

/// What to change of the settings; what is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "SettingsRequest")]
pub(crate) struct SettingsChange {
    /// From one checkpoint's start to the next one's; null to take savepoints only.
    #[serde(
        default,
        deserialize_with = "given",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(with = "Option<u64>", range(min = 1))]
    pub(crate) checkpoint_interval_ms: Option<Option<u64>>,
    /// How many of the newest checkpoints are kept; at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub(crate) retained_checkpoints: Option<u32>,
    /// The lowest level that is logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) log_level: Option<LogLevelView>,
}

/// Tells null from absent.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::deserialize(from).map(Some)
}

impl SettingsChange {
    pub(crate) fn apply(&self, settings: &mut SettingsView) {
        if let Some(interval_ms) = self.checkpoint_interval_ms {
            settings.checkpoint_interval_ms = interval_ms;
        }
        if let Some(count) = self.retained_checkpoints {
            settings.retained_checkpoints = count;
        }
        if let Some(level) = self.log_level {
            settings.log_level = level;
        }
    }
}

/// How the process before this one ended, in the same container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LastExit")]
pub struct LastExitView {
    /// When.
    pub time_ms: i64,
    /// Its exit code, unless a signal ended it.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The same for people.
    pub description: String,
    /// `OutOfMemory` where the container's memory limit was the cause.
    #[serde(default)]
    pub category: Option<String>,
    /// The last lines of its standard error, oldest first.
    pub last_lines: Vec<String>,
}
