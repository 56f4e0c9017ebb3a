//! The fields of a `StreamJob`.

use serde::{Deserialize, Serialize};

/// How barriers pass operators with several inputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum CheckpointMode {
    /// An input whose barrier has arrived waits for the others.
    #[default]
    Aligned,
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
