//! How one revision takes over from another.

use serde::{Deserialize, Serialize};

#[cfg(feature = "crd")]
use crate::bounds;
use crate::spec::UpgradeMode;

/// The upgrade under way, or the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub struct UpgradeStatus {
    /// How far it is.
    pub phase: UpgradePhase,
    /// The mode that the spec asks for.
    pub requested_mode: UpgradeMode,
    /// The mode that was used, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_mode: Option<UpgradeMode>,
    /// Why it was used, and what happened, in a sentence.
    #[serde(default)]
    #[cfg_attr(feature = "crd", schemars(length(max = bounds::LINE_LENGTH)))]
    pub message: String,
    /// The checkpoint that the new revision went on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_checkpoint: Option<i64>,
    /// The old revision's last checkpoint, where the new one starts from something else: a rollback
    /// goes on from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback_checkpoint: Option<i64>,
    /// The revision that ran before.
    pub from_revision: String,
    /// The revision that takes over.
    pub to_revision: String,
    /// When it began, in RFC 3339.
    pub started_time: String,
    /// When it reached its phase, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase_time: Option<String>,
    /// When the new revision was let go, in RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handed_over_time: Option<String>,
}

/// How far an upgrade is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
pub enum UpgradePhase {
    /// The new revision is brought up; the old one runs.
    Preparing,
    /// The old revision stops.
    HandingOver,
    /// The new revision runs and must complete checkpoints.
    Proving,
    /// The new revision is kept.
    Complete,
    /// The new revision cannot take over; the old one runs on.
    Refused,
    /// The new revision failed, and the old one runs again.
    RolledBack,
}
