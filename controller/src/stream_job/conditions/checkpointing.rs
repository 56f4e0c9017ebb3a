//! Checkpointing: checkpoints complete, and the newest is recent.

use tidegate_api::status::{ConditionType, Reason};

use super::{failing, is_overdue, reported};
use crate::job_api::{JobView, Phase};
use crate::observed::{Observed, RevisionFacts};
use crate::stream_job::draft::Verdict;
use crate::stream_job::standing::standing;

/// So many failures in a row are told.
const FAILING_TOLD: u32 = 2;

/// What the condition says. While nothing runs that could tell, it says what it said.
pub(in crate::stream_job) fn checkpointing(
    observed: &Observed,
    current: Option<&RevisionFacts>,
    ready: &Verdict,
) -> Verdict {
    let still = match ready.reason {
        Reason::Suspended => Some("no checkpoints are taken while the job is suspended"),
        Reason::Finished => Some("the job is over; its last checkpoint stays"),
        _ => None,
    };
    if let Some(message) = still {
        return Verdict::unknown(ready.reason, message);
    }
    let view = current.and_then(|current| {
        let view = standing(observed, &current.revision).view()?;
        (view.phase == Phase::Running).then_some((current, view))
    });
    match view {
        Some((current, view)) => running(observed, current, view),
        None => {
            let before = reported(observed.job.status.as_ref(), ConditionType::Checkpointing);
            let is_still =
                |verdict: &Verdict| matches!(verdict.reason, Reason::Suspended | Reason::Finished);
            before
                .filter(|verdict| !is_still(verdict))
                .unwrap_or_else(none_yet)
        }
    }
}

fn none_yet() -> Verdict {
    Verdict::unknown(Reason::NoCheckpointYet, "no checkpoint was complete yet")
}

fn running(observed: &Observed, current: &RevisionFacts, view: &JobView) -> Verdict {
    let checkpoint = current.config.as_ref().map(|config| &config.checkpoint);
    if view.failing_checkpoint_count >= FAILING_TOLD {
        return failing(observed, (ConditionType::Checkpointing, ""), view);
    }
    if checkpoint.is_some_and(|checkpoint| checkpoint.interval_ms.is_none()) {
        let message = "spec.checkpoint.intervalSeconds is 0: only savepoints are taken";
        return Verdict::yes(Reason::CheckpointsPeriodicOff, message);
    }
    if is_overdue(observed, current, view) {
        let message = "the newest checkpoint is older than interval, minimal pause and timeout \
                       together; look at the pod's log for what holds up the barriers";
        return Verdict::no(Reason::CheckpointOverdue, message);
    }
    if view.last_checkpoint.is_none() {
        return none_yet();
    }
    let interval_ms = checkpoint.and_then(|checkpoint| checkpoint.interval_ms);
    let pace = interval_ms.map_or(String::new(), |ms| format!(", one every {ms} ms"));
    Verdict::yes(
        Reason::CheckpointsRecent,
        format!("checkpoints complete{pace}"),
    )
}
