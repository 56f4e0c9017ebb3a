//! What to do about a job that lives and whose spec makes sense.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tidegate_api::job_config::StartPoint;
use tidegate_api::status::{Reason, UpgradePhase};

use super::draft::{Draft, Verdict};
use super::live::{run, was_finished};
use super::prove::{Proof, begin_proof_anew, proof, roll_back};
use super::roles::Roles;
use super::standing::proves_let_go;
use super::standstill::{suspend, suspended};
use super::upgrade;
use super::wanted::start_point;
use crate::build::{Start, StartState};
use crate::observed::RevisionFacts;
use crate::plan::{Decision, LookAgain};
use crate::time::to_text;

/// Decides, from the parts that the job's revisions play.
pub(super) fn decide(draft: &mut Draft<'_>) {
    let wanted = &*draft.wanted.revision;
    let roles = Roles::of(draft.observed, Some(wanted));
    for revision in &roles.rest {
        draft.remove(revision);
    }
    match roles.current {
        None => first(draft),
        Some(current) if current.revision == wanted => keep(draft, current, &roles),
        Some(current) => upgrade::take(draft, current, &roles),
    }
}

/// There is no revision: the first one is made, or one again whose Deployment somebody deleted.
fn first(draft: &mut Draft<'_>) {
    let wanted = draft.wanted;
    let has_run = draft.revision.as_ref() == Some(&wanted.revision);
    let message = "the job has not run yet";
    draft.up_to_date = Verdict::unknown(Reason::Starting, message);
    if wanted.job.is_suspended {
        suspended(draft, false);
        return;
    }
    if was_finished(draft, &wanted.revision) {
        draft.decision = Decision::StayFinished;
        let message = "all input was read, and its results are committed";
        draft.ready = Some(Verdict::no(Reason::Finished, message));
        return;
    }
    draft.decision = Decision::Deploy;
    draft.soon();
    if draft
        .observed
        .revisions
        .iter()
        .any(|revision| revision.revision == wanted.revision)
    {
        draft.ready = Some(Verdict::no(
            Reason::Starting,
            "a Deployment that was deleted goes",
        ));
        return;
    }
    match first_state(draft, has_run) {
        Ok(from) => {
            let start = Start {
                generation: draft.next_generation(),
                from,
                hold: false,
            };
            draft.ensure(None, start, 1);
        }
        Err(message) => {
            draft.decision = Decision::AwaitStart;
            draft.ready = Some(Verdict::no(Reason::CheckpointMissing, message));
            draft.look_again = LookAgain::Later;
        }
    }
}

/// What a job starts from that has no revision. If it ever had one, that one's Deployment is gone,
/// and the log knows whether it began.
fn first_state(draft: &Draft<'_>, has_run: bool) -> Result<StartState, String> {
    let state = start_point(draft.observed, draft.wanted, None);
    if draft.revision.is_none() {
        return state;
    }
    match state {
        Ok(StartState { point, asked: None }) if point != StartPoint::Latest => {
            let created = draft.observed.job.metadata.creation_timestamp.as_ref();
            let created = created.map(|Time(created)| created.as_millisecond());
            Ok(StartState {
                point,
                asked: created.and_then(|ms| u64::try_from(ms).ok()),
            })
        }
        // What it went on from long ago may be gone.
        Err(_) if has_run && has_state(draft) => Ok(StartState::new(StartPoint::Latest)),
        state => state,
    }
}

fn has_state(draft: &Draft<'_>) -> bool {
    let status = draft.reported();
    status.is_some_and(|status| status.latest_checkpoint.is_some())
}

/// The revision that the spec asks for owns the job.
fn keep(draft: &mut Draft<'_>, current: &RevisionFacts, roles: &Roles<'_>) {
    draft.revision = Some(current.revision.clone());
    note_hand_over(draft, current);
    if draft.wanted.job.is_suspended {
        rest(draft, roles);
        suspend(draft, current);
    } else if is_proving(draft) {
        prove(draft, current, roles);
    } else {
        run(draft, current);
        if let Some(spare) = roles.spare {
            draft.remove(spare);
        }
    }
    if is_proving(draft) {
        let message = match draft.wanted.job.checkpoint.interval_ms {
            Some(_) => "the new revision runs and must complete checkpoints to be kept",
            None => "the new revision must run without failure for a while to be kept",
        };
        draft.up_to_date = Verdict::no(Reason::UpgradeProving, message);
    }
}

/// The revision to come back to has no pods meanwhile.
fn rest(draft: &mut Draft<'_>, roles: &Roles<'_>) {
    if let Some(spare) = roles.spare {
        draft.scale(spare, 0);
    }
}

fn is_proving(draft: &Draft<'_>) -> bool {
    let upgrade = draft.upgrade.as_ref();
    upgrade.is_some_and(|upgrade| upgrade.phase == UpgradePhase::Proving)
}

/// Brings the upgrade's status up to what is seen: the revision was let go, or nobody wants the
/// other one any more.
fn note_hand_over(draft: &mut Draft<'_>, current: &RevisionFacts) {
    let now = to_text(draft.observed.now_ms);
    let view = draft.standing(&current.revision).view();
    let Some(upgrade) = &mut draft.upgrade else {
        return;
    };
    let is_target = upgrade.to_revision == current.revision;
    let old = upgrade.from_revision.clone();
    match upgrade.phase {
        UpgradePhase::Complete => {}
        UpgradePhase::Proving if is_target => {
            // While it is held, it names what was the newest when it came.
            let restored = view.filter(|view| proves_let_go(view));
            let restored = restored.and_then(|view| view.restored_checkpoint);
            if upgrade.from_checkpoint.is_none() {
                upgrade.from_checkpoint = restored.and_then(|id| i64::try_from(id).ok());
            }
        }
        UpgradePhase::Preparing | UpgradePhase::HandingOver | UpgradePhase::Refused
            if is_target =>
        {
            upgrade.phase = UpgradePhase::Proving;
            upgrade.used_mode.get_or_insert(upgrade.requested_mode);
            upgrade.handed_over_time = Some(now.clone());
            upgrade.phase_time = Some(now);
            upgrade::note_rollback_checkpoint(draft, &old, current);
        }
        UpgradePhase::RolledBack if is_target => upgrade.phase = UpgradePhase::Complete,
        // The one that was to take over from it is not wanted any more, and it has not proven
        // itself yet.
        UpgradePhase::Preparing | UpgradePhase::HandingOver | UpgradePhase::Refused
            if old != current.revision =>
        {
            upgrade.phase = UpgradePhase::Proving;
            upgrade.to_revision.clone_from(&current.revision);
            upgrade.phase_time = Some(now);
        }
        UpgradePhase::Preparing
        | UpgradePhase::HandingOver
        | UpgradePhase::Proving
        | UpgradePhase::Refused
        | UpgradePhase::RolledBack => draft.upgrade = None,
    }
}

/// The new revision has to prove itself.
fn prove(draft: &mut Draft<'_>, current: &RevisionFacts, roles: &Roles<'_>) {
    if current.replicas == 0 {
        begin_proof_anew(draft);
        rest(draft, roles);
        run(draft, current);
        return;
    }
    match (proof(draft, current), roles.spare) {
        (Proof::Given, spare) => {
            run(draft, current);
            if let Some(spare) = spare {
                draft.remove(spare);
            }
            let now = to_text(draft.observed.now_ms);
            if let Some(upgrade) = &mut draft.upgrade {
                upgrade.phase = UpgradePhase::Complete;
                upgrade.phase_time = Some(now);
            }
        }
        (Proof::Refuted(why), Some(spare)) => roll_back(draft, current, spare, &why),
        (Proof::Awaited | Proof::Refuted(_), _) => {
            rest(draft, roles);
            run(draft, current);
            if draft.decision == Decision::Steady {
                draft.decision = Decision::Prove;
            }
            draft.soon();
        }
    }
}
