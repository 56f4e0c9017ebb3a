//! What to do about a job that lives and whose spec makes sense.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tidegate_api::change;
use tidegate_api::job_config::StartPoint;
use tidegate_api::spec::{DEFAULT_START_FROM, StreamJobSpec};
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
use crate::plan::{Decision, EventNote, EventReason, LookAgain};
use crate::time::to_text;

/// The `startFrom` of a job that begins without state.
const EMPTY: &str = "Empty";

/// Decides, from the parts that the job's revisions play.
pub(super) fn decide(draft: &mut Draft<'_>) {
    let wanted = &*draft.wanted.revision;
    let roles = Roles::of(draft.observed, Some(wanted));
    for revision in &roles.rest {
        draft.remove(revision);
    }
    if let (Some(current), Some(spare)) = (roles.current, roles.spare) {
        note_lost_report(draft, current, spare);
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
            if !has_run && from.asked.is_some() {
                tell_doubt(draft);
            }
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
/// and with it what that one was to start from.
///
/// If the revision was seen to begin, it goes on from what it did, whatever any clock says. One
/// that asks for another start and differs in nothing else means it. Of any other one, the log
/// knows whether the job ever began: a `startFrom` that was honoured long ago stays in many specs,
/// and must not throw a job back whose image is changed.
fn first_state(draft: &Draft<'_>, has_run: bool) -> Result<StartState, String> {
    let state = start_point(draft.observed, draft.wanted, None);
    let Some(last) = draft.revision.as_deref() else {
        return state;
    };
    if has_run && has_begun(draft) {
        return Ok(StartState::new(StartPoint::Latest));
    }
    if !has_run && is_new_start(draft, last) {
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
        state => state,
    }
}

fn has_begun(draft: &Draft<'_>) -> bool {
    let status = draft.reported();
    status.is_some_and(|it| it.attempt.is_some() || it.latest_checkpoint.is_some())
}

/// Whether the spec is the one of that revision but for its `startFrom`.
fn is_new_start(draft: &Draft<'_>, revision: &str) -> bool {
    let spec = &draft.job().spec;
    let checkpoints = draft.observed.checkpoints.iter();
    let names = checkpoints.filter_map(|checkpoint| checkpoint.metadata.name.as_deref());
    let mut before = [DEFAULT_START_FROM, EMPTY].into_iter().chain(names);
    before.any(|before| {
        let spec = StreamJobSpec {
            start_from: before.to_owned(),
            ..spec.clone()
        };
        before != draft.job().spec.start_from && change::revision(&spec) == revision
    })
}

/// Whether `startFrom` is new cannot be told; what is done is told, so that a person can say it.
fn tell_doubt(draft: &mut Draft<'_>) {
    let message = "the Deployment of the job's last revision is gone, and with it what that one \
                   started from: if the job ever began, it goes on from its latest checkpoint; to \
                   have it start from spec.startFrom, change that once more";
    draft.events.push(EventNote {
        is_warning: true,
        reason: EventReason::Changed,
        message: message.to_owned(),
    });
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

/// A revision has taken over from the one that was reported last, in a pass whose report was lost.
fn note_lost_report(draft: &mut Draft<'_>, current: &RevisionFacts, spare: &RevisionFacts) {
    let phase = draft.upgrade.as_ref().map(|upgrade| upgrade.phase);
    let is_over = matches!(
        phase,
        None | Some(UpgradePhase::Complete | UpgradePhase::RolledBack)
    );
    if !is_over || draft.revision.as_ref() != Some(&spare.revision) {
        return;
    }
    draft.upgrade = None;
    upgrade::begin(draft, (spare, &current.revision), current.start_generation);
    upgrade::prove_from_now(draft, current);
}

/// Brings the upgrade's status up to what is seen: the revision was let go, or nobody wants the
/// other one any more.
fn note_hand_over(draft: &mut Draft<'_>, current: &RevisionFacts) {
    let now = to_text(draft.observed.now_ms);
    let Some(upgrade) = &mut draft.upgrade else {
        return;
    };
    let is_target = upgrade.to_revision == current.revision;
    let old = upgrade.from_revision.clone();
    match upgrade.phase {
        UpgradePhase::Complete => {}
        UpgradePhase::Proving if is_target => note_restored(draft, current),
        UpgradePhase::Preparing | UpgradePhase::HandingOver | UpgradePhase::Refused
            if is_target =>
        {
            upgrade::prove_from_now(draft, current);
            // This may be the last look before it is proven.
            note_restored(draft, current);
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

/// Takes note of the checkpoint that an upgrade came from.
fn note_restored(draft: &mut Draft<'_>, new: &RevisionFacts) {
    // While it is held, it names what was the newest when it came.
    let view = draft.standing(&new.revision).view();
    let restored = view.filter(|view| proves_let_go(view));
    let restored = restored.and_then(|view| view.restored_checkpoint);
    if let Some(upgrade) = &mut draft.upgrade
        && upgrade.from_checkpoint.is_none()
    {
        upgrade.from_checkpoint = restored.and_then(|id| i64::try_from(id).ok());
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
