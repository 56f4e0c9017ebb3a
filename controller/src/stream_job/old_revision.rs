//! What runs beside a new revision that is ready to take over, and whether it has stopped.

use tidegate_api::checkpoint::CheckpointKind;
use tidegate_api::spec::UpgradeMode;
use tidegate_api::status::Reason;

use super::standing::{SILENCE_MAX_MS, Standing, of_pod, standing};
use super::standstill::can_take_savepoint;
use crate::job_api::{Phase, StopMode};
use crate::observed::{Observed, RevisionFacts};

/// What else runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Old {
    /// These pods have to stop first, with what each one can take.
    Stops { asks: Vec<(String, StopMode)> },
    /// It has stopped after a savepoint.
    StoppedWithSavepoint,
    /// It has stopped.
    Stopped,
    /// It was not able to take a savepoint, for this reason.
    Unable { why: String },
}

/// Looks at all pods that are not the new revision's. Those that are being deleted take their last
/// checkpoint, and are waited for.
pub(super) fn old(observed: &Observed, new: &str, wants_savepoint: bool) -> Old {
    let mut asks = Vec::new();
    let mut is_waited_for = false;
    let mut stopped = None;
    for pod in observed
        .pods
        .iter()
        .filter(|pod| pod.revision != new && !pod.is_over)
    {
        match of_pod(pod) {
            Standing::Says(_, view) => match view.phase {
                Phase::Running | Phase::Starting | Phase::Restoring | Phase::BackingOff => {
                    is_waited_for = true;
                    if !pod.is_deleting {
                        let mode = match wants_savepoint && can_take_savepoint(view) {
                            true => StopMode::Savepoint,
                            false => StopMode::for_job(view),
                        };
                        asks.push((pod.name.clone(), mode));
                    }
                }
                Phase::Stopping | Phase::Unknown => is_waited_for = true,
                Phase::Stopped => {
                    let last = view.last_checkpoint.as_ref().map(|last| last.kind);
                    stopped = Some(match last {
                        Some(CheckpointKind::Savepoint) => Old::StoppedWithSavepoint,
                        Some(CheckpointKind::Checkpoint) | None => Old::Stopped,
                    });
                }
                Phase::Blocked
                | Phase::Holding
                | Phase::Finished
                | Phase::Fenced
                | Phase::Failed => {
                    let why = format!("the old revision was {:?}", view.phase);
                    stopped = stopped.or(Some(Old::Unable { why }));
                }
            },
            Standing::Silent {
                since_ms, error, ..
            } => {
                if observed.now_ms.saturating_sub(since_ms) <= SILENCE_MAX_MS {
                    is_waited_for = true;
                }
                let why = format!("the old revision did not answer: {error}");
                stopped = stopped.or(Some(Old::Unable { why }));
            }
            Standing::Troubled(_, trouble) => {
                let why = format!("the old revision did not run: {}", trouble.message);
                stopped = stopped.or(Some(Old::Unable { why }));
            }
            Standing::Coming(_) | Standing::Gone => {}
        }
    }
    match is_waited_for {
        true => Old::Stops { asks },
        false => stopped.unwrap_or_else(|| Old::Unable {
            why: "the old revision had no process".to_owned(),
        }),
    }
}

impl Old {
    /// The mode that is used, and why.
    pub(super) fn used_mode(&self, requested: UpgradeMode) -> (UpgradeMode, String) {
        if requested != UpgradeMode::Savepoint {
            return (requested, "as requested".to_owned());
        }
        match self {
            Self::StoppedWithSavepoint => (requested, "as requested".to_owned()),
            Self::Stopped => {
                let why = "the old revision had stopped without a savepoint";
                (UpgradeMode::LatestCheckpoint, why.to_owned())
            }
            Self::Stops { .. } => {
                let why = "the old revision took no savepoint within the checkpoint timeout";
                (UpgradeMode::LatestCheckpoint, why.to_owned())
            }
            Self::Unable { why } => {
                let why = format!("no savepoint was possible: {why}");
                (UpgradeMode::LatestCheckpoint, why)
            }
        }
    }
}

/// Whether a revision that was replaced is something to come back to. One that failed by itself is
/// not.
pub(super) fn is_worth_keeping(observed: &Observed, revision: &RevisionFacts) -> bool {
    match standing(observed, &revision.revision) {
        // A node that has no room is no fault of the revision's.
        Standing::Troubled(_, trouble) => trouble.reason == Reason::Unschedulable,
        Standing::Says(_, view) => !matches!(view.phase, Phase::Blocked | Phase::Failed),
        Standing::Gone | Standing::Coming(_) | Standing::Silent { .. } => true,
    }
}
