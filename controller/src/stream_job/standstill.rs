//! Suspend: the job takes a savepoint, and then its pods go.

use std::collections::BTreeMap;

use tidegate_api::pod::revision_name;
use tidegate_api::status::{ConditionStatus, ConditionType, Reason};

use super::draft::{Draft, Verdict};
use super::live::{removal, was_finished};
use super::standing::{Standing, has_pods, standing};
use crate::checkpoints::is_mirrored;
use crate::job_api::{JobCommand, JobView, Phase, StopMode};
use crate::observed::{ApiFacts, Observed, RevisionFacts};
use crate::plan::{Child, Decision, LookAgain, Plan};
use crate::time::age_ms;

/// A process that can take no savepoint for so long is not waited for any more.
const PATIENCE_MS: i64 = 30_000;
/// By when after the last checkpoint its mirror is given up.
const MIRROR_PATIENCE_MS: i64 = 15_000;

/// Has the current revision stand still.
pub(super) fn suspend(draft: &mut Draft<'_>, current: &RevisionFacts) {
    let standing = draft.standing(&current.revision);
    if standing.phase() == Some(Phase::Finished)
        || current.replicas == 0 && was_finished(draft, &current.revision)
    {
        super::live::run(draft, current);
        return;
    }
    if current.replicas == 0 {
        draft.ensure_current(current, 0);
        suspended(draft, has_pods(draft.observed, current));
        return;
    }
    draft.decision = Decision::Suspend;
    let message = match standing {
        Standing::Says(pod, view) if can_take_savepoint(view) => {
            draft.ask(&pod.name, JobCommand::Stop(StopMode::Savepoint));
            "a savepoint is taken, then the pod goes"
        }
        standing if is_waited_for(draft, standing) => {
            "a savepoint is waited for, which the job cannot take yet, then the pod goes"
        }
        standing if awaits_mirror(draft, standing) => {
            "the Checkpoint objects take over what the log retains, then the pod goes"
        }
        standing => {
            draft.ensure_current(current, 0);
            match standing.phase() {
                Some(Phase::Running) => {
                    "the newest checkpoint failed, so that no savepoint is waited for: the pod goes"
                }
                _ => "the pod goes",
            }
        }
    };
    draft.ready = Some(Verdict::no(Reason::Suspending, message));
    draft.soon();
}

/// A process that has stopped for a spec that is not valid any more: a new one goes on, or its pod
/// goes, whatever else the spec says.
pub(super) fn go_on(observed: &Observed, current: &RevisionFacts, plan: &mut Plan) {
    let Standing::Says(pod, view) = standing(observed, &current.revision) else {
        return;
    };
    if view.phase != Phase::Stopped || current.replicas == 0 {
        return;
    }
    if observed.job.spec.suspend {
        let job = observed.job.metadata.name.as_deref().unwrap_or_default();
        plan.apply.push(Child::Scale {
            name: revision_name(job, &current.revision),
            replicas: 0,
            annotations: BTreeMap::new(),
        });
    } else {
        plan.delete.push(removal(pod));
    }
    plan.look_again = LookAgain::Soon;
}

/// Whether a process that is over shall stay a moment longer: what its log retains is mirrored from
/// what it tells, and nobody tells it once its pod is gone.
pub(super) fn awaits_mirror(draft: &Draft<'_>, standing: Standing<'_>) -> bool {
    let Standing::Says(pod, view) = standing else {
        return false;
    };
    let (ApiFacts::Answers { checkpoints, .. }, Some(last)) = (&pod.api, &view.last_checkpoint)
    else {
        return false;
    };
    matches!(view.phase, Phase::Finished | Phase::Stopped)
        && draft.observed.now_ms.saturating_sub(last.completed_ms) < MIRROR_PATIENCE_MS
        && !is_mirrored(&draft.observed.checkpoints, checkpoints)
}

/// Whether the job is worth asking. One whose newest checkpoint failed would fail at the savepoint,
/// too, and start again from its latest checkpoint instead of standing still.
pub(super) fn can_take_savepoint(view: &JobView) -> bool {
    view.phase == Phase::Running && view.failing_checkpoint_count == 0
}

/// Whether a savepoint may still come of it.
fn is_waited_for(draft: &Draft<'_>, standing: Standing<'_>) -> bool {
    let now_ms = draft.observed.now_ms;
    match standing {
        Standing::Gone | Standing::Troubled(..) => false,
        Standing::Coming(_) => not_ready_ms(draft) < PATIENCE_MS,
        Standing::Silent { since_ms, .. } => now_ms.saturating_sub(since_ms) < PATIENCE_MS,
        Standing::Says(_, view) => match view.phase {
            Phase::Stopping => true,
            Phase::Running => can_take_savepoint(view),
            // However its phases follow each other.
            Phase::Starting
            | Phase::Restoring
            | Phase::Blocked
            | Phase::BackingOff
            | Phase::Unknown => not_ready_ms(draft) < PATIENCE_MS,
            Phase::Holding | Phase::Finished | Phase::Stopped | Phase::Fenced | Phase::Failed => {
                false
            }
        },
    }
}

fn not_ready_ms(draft: &Draft<'_>) -> i64 {
    let ready = draft
        .reported()
        .and_then(|status| status.condition(ConditionType::Ready));
    match ready {
        Some(ready) if ready.status != ConditionStatus::True => {
            age_ms(draft.observed.now_ms, Some(&ready.last_transition_time))
        }
        Some(_) | None => 0,
    }
}

/// The job stands still.
pub(super) fn suspended(draft: &mut Draft<'_>, has_pods: bool) {
    draft.decision = Decision::StaySuspended;
    let (reason, message) = match has_pods {
        true => (Reason::Suspending, "the pod ends"),
        false => (
            Reason::Suspended,
            "spec.suspend is true; set it to false to go on",
        ),
    };
    draft.ready = Some(Verdict::no(reason, message));
    match has_pods {
        true => draft.soon(),
        // What is to be applied asks for a look by itself.
        false if draft.apply.is_empty() && draft.delete.is_empty() => {
            draft.look_again = LookAgain::OnChange;
        }
        false => draft.soon(),
    }
}
