//! One revision takes over from another: brought up beside it, let go when the old one has stopped.

use tidegate_api::job_config::StartPoint;
use tidegate_api::spec::{RollbackPolicy, UpgradeMode};
use tidegate_api::status::{Reason, UpgradePhase, UpgradeStatus};

use super::draft::{Draft, Verdict, start_of};
use super::live::{replace, run, was_finished};
use super::old_revision::{Old, is_worth_keeping, old};
use super::prove::{
    MESSAGE_BYTES_MAX, Proof, TRY_AGAIN, begin_proof_anew, come_back, proof, rolled_back,
};
use super::roles::Roles;
use super::standing::{SILENCE_MAX_MS, Standing, has_pods, of_pod};
use super::standstill::suspend;
use super::wanted::start_point;
use crate::build::Start;
use crate::job_api::{JobCommand, Phase};
use crate::observed::{PodFacts, RevisionFacts};
use crate::plan::{Decision, EventNote, EventReason, LookAgain};
use crate::text::bounded;
use crate::time::{age_ms, from_text, to_text};

/// The old revision is waited for so long when it is to take no savepoint.
const STOP_WAIT_MS: i64 = 30_000;
/// A new revision that is lost while the old one has stopped already is waited for so long.
const LOST_CANDIDATE_MS: i64 = 30_000;

/// Another revision than the one that the spec asks for owns the job.
pub(super) fn take(draft: &mut Draft<'_>, current: &RevisionFacts, roles: &Roles<'_>) {
    draft.revision = Some(current.revision.clone());
    let wanted = &*draft.wanted.revision;
    // What was about a spec that nobody wants any more; what was stable stays so.
    draft.upgrade = draft
        .upgrade
        .take()
        .filter(|upgrade| upgrade.to_revision == wanted || keeps_spare(upgrade, current, roles));
    if is_given_up(draft, current, roles) {
        stay(draft, current, roles);
    } else if draft.wanted.job.is_suspended {
        if let Some(candidate) = roles.candidate {
            draft.remove(candidate);
        }
        draft.upgrade = draft
            .upgrade
            .take()
            .filter(|upgrade| keeps_spare(upgrade, current, roles));
        if is_handing_over(draft) {
            enter(draft, UpgradePhase::Preparing);
        }
        suspend(draft, current);
        let message = "the new revision starts when the job goes on";
        draft.up_to_date = Verdict::no(Reason::Suspended, message);
    } else {
        bring_up(draft, current, roles);
    }
}

/// Whether the revision that runs has not proven itself, so that the one before it is still the one
/// to come back to.
fn keeps_spare(upgrade: &UpgradeStatus, current: &RevisionFacts, roles: &Roles<'_>) -> bool {
    upgrade.from_revision != current.revision && roles.spare.is_some()
}

/// Whether this spec was tried and failed. A rollback that was begun but not reported is seen by
/// the start generation that the old revision got for it.
fn is_given_up(draft: &mut Draft<'_>, current: &RevisionFacts, roles: &Roles<'_>) -> bool {
    let wanted = &*draft.wanted.revision;
    let Some(upgrade) = draft
        .upgrade
        .as_ref()
        .filter(|upgrade| upgrade.to_revision == wanted)
    else {
        return false;
    };
    match upgrade.phase {
        UpgradePhase::Refused | UpgradePhase::RolledBack => true,
        UpgradePhase::Proving => {
            let is_newer =
                |candidate: &RevisionFacts| current.start_generation > candidate.start_generation;
            let is_begun =
                upgrade.from_revision == current.revision && roles.candidate.is_some_and(is_newer);
            if is_begun {
                rolled_back(draft, current, "it did not prove itself");
            }
            is_begun
        }
        UpgradePhase::Preparing | UpgradePhase::HandingOver | UpgradePhase::Complete => false,
    }
}

/// The spec was tried and failed: the old revision runs on until the spec changes.
fn stay(draft: &mut Draft<'_>, current: &RevisionFacts, roles: &Roles<'_>) {
    if let Some(candidate) = roles.candidate {
        draft.scale(candidate, 0);
    }
    let mut owner = current;
    if draft.wanted.job.is_suspended {
        suspend(draft, current);
    } else if current.replicas == 0 && roles.spare.is_some() {
        begin_proof_anew(draft);
        run(draft, current);
    } else if comes_back(draft, current, roles) {
        owner = roles.spare.unwrap_or(current);
    } else {
        run(draft, current);
    }
    let Some(upgrade) = &draft.upgrade else {
        return;
    };
    let (from, to, why) = (
        &upgrade.from_revision,
        &upgrade.to_revision,
        &upgrade.message,
    );
    draft.up_to_date = match upgrade.phase {
        UpgradePhase::RolledBack => Verdict::no(
            Reason::RolledBack,
            format!("revision {to} failed, and {from} runs again: {why}; {TRY_AGAIN}"),
        ),
        _ => Verdict::no(
            Reason::UpgradeRefused,
            format!(
                "revision {to} could not take over, and {} runs on: {why}; {TRY_AGAIN}",
                owner.revision
            ),
        ),
    };
}

/// Brings the new revision up, and hands over when it is ready.
fn bring_up(draft: &mut Draft<'_>, current: &RevisionFacts, roles: &Roles<'_>) {
    let wanted = &*draft.wanted.revision;
    if !is_handing_over(draft) && comes_back(draft, current, roles) {
        // Its start generation is now before that of the one that runs.
        if let Some(candidate) = roles.candidate {
            draft.remove(candidate);
        }
        draft.upgrade = None;
        let message = format!("revision {wanted} waits until the stable one runs again");
        draft.up_to_date = Verdict::no(Reason::UpgradeInProgress, message);
        return;
    }
    let is_going = draft
        .observed
        .revisions
        .iter()
        .any(|revision| revision.is_deleting && revision.revision == wanted);
    let Some(start) = candidate_start(draft, current, roles.candidate) else {
        keep_current(draft, current);
        draft.look_again = LookAgain::Later;
        return;
    };
    begin(draft, (current, wanted), start.generation);
    draft.up_to_date = Verdict::no(
        Reason::UpgradeInProgress,
        format!(
            "revision {wanted} is brought up beside {}",
            current.revision
        ),
    );
    if is_going {
        keep_current(draft, current);
        draft.soon();
        return;
    }
    let deadline_ms = i64::from(draft.wanted.job.upgrade.deadline_seconds) * 1000;
    let started_ms = i64::try_from(start.generation).unwrap_or(i64::MAX);
    let started_ms = match roles.candidate {
        Some(_) => started_ms,
        None => refused_since(draft).unwrap_or(started_ms),
    };
    let is_late = draft.observed.now_ms.saturating_sub(started_ms) > deadline_ms;
    let standing = draft.standing(wanted);
    let is_holding = standing.phase() == Some(Phase::Holding);
    if is_late && !is_holding && !is_briefly_silent(draft, standing) && !is_handing_over(draft) {
        refuse(draft, current, roles, start);
        return;
    }
    draft.ensure(roles.candidate, start, 1);
    draft.decision = Decision::PrepareUpgrade;
    draft.soon();
    match standing {
        Standing::Says(pod, _) if is_holding => hand_over(draft, current, roles, &pod.name),
        _ if is_handing_over(draft) => await_candidate(draft, current),
        _ => {
            keep_current(draft, current);
            draft.decision = Decision::PrepareUpgrade;
            tell_trouble(draft, current, roles);
        }
    }
}

/// Why the new revision's pods, or it itself, cannot be made.
fn refused(draft: &Draft<'_>, roles: &Roles<'_>) -> Option<String> {
    match roles.candidate {
        Some(candidate) => candidate.refused.clone(),
        None => draft.observed.refused_write.clone(),
    }
}

/// Since when a revision is to be made that the API server refuses.
fn refused_since(draft: &Draft<'_>) -> Option<i64> {
    draft.observed.refused_write.as_ref()?;
    from_text(&draft.upgrade.as_ref()?.started_time)
}

/// One answer that is late proves nothing.
fn is_briefly_silent(draft: &Draft<'_>, standing: Standing<'_>) -> bool {
    let now_ms = draft.observed.now_ms;
    matches!(
        standing,
        Standing::Silent { since_ms, .. } if now_ms.saturating_sub(since_ms) <= SILENCE_MAX_MS
    )
}

/// What keeps the new revision from being ready is told while the old one runs on.
fn tell_trouble(draft: &mut Draft<'_>, current: &RevisionFacts, roles: &Roles<'_>) {
    let wanted = &*draft.wanted.revision;
    let refused = refused(draft, roles);
    let trouble = draft.standing(wanted).trouble();
    let trouble = trouble.or(refused.map(|message| (Reason::PodRefused, message)));
    if let Some((_, message)) = trouble {
        let message = format!(
            "revision {wanted} cannot take over, and {} runs on: {message}",
            current.revision
        );
        draft.up_to_date = Verdict::no(Reason::UpgradeRefused, message);
    }
    if let Some(upgrade) = &mut draft.upgrade {
        upgrade.message = bounded(&draft.up_to_date.message, MESSAGE_BYTES_MAX);
    }
}

/// How the new revision starts: as it was made, or from now on if it was not, or belongs to an
/// earlier life.
fn candidate_start(
    draft: &mut Draft<'_>,
    current: &RevisionFacts,
    candidate: Option<&RevisionFacts>,
) -> Option<Start> {
    if let Some(facts) = candidate
        && facts.start_generation > current.start_generation
    {
        return Some(start_of(facts));
    }
    match start_point(draft.observed, draft.wanted, Some(current)) {
        Ok(from) => Some(Start {
            generation: draft.next_generation(),
            from,
            hold: has_pods(draft.observed, current) || current.replicas > 0,
        }),
        Err(message) => {
            draft.up_to_date = Verdict::no(Reason::CheckpointMissing, message);
            None
        }
    }
}

/// Reports an upgrade that begins, or goes on as it was reported.
pub(super) fn begin(
    draft: &mut Draft<'_>,
    (current, wanted): (&RevisionFacts, &str),
    generation: u64,
) {
    let is_reported = draft.upgrade.as_ref().is_some_and(|upgrade| {
        let phase = upgrade.phase;
        upgrade.to_revision == wanted
            && matches!(phase, UpgradePhase::Preparing | UpgradePhase::HandingOver)
    });
    if is_reported {
        return;
    }
    let started_ms = i64::try_from(generation).unwrap_or(i64::MAX);
    // One that has not proven itself is nothing to come back to.
    let before = draft.upgrade.take();
    let rollback_checkpoint = before.as_ref().and_then(|it| it.rollback_checkpoint);
    let stable = before.map(|upgrade| upgrade.from_revision);
    draft.upgrade = Some(UpgradeStatus {
        phase: UpgradePhase::Preparing,
        requested_mode: draft.wanted.job.upgrade.mode,
        used_mode: None,
        message: String::new(),
        from_checkpoint: None,
        rollback_checkpoint,
        from_revision: stable.unwrap_or_else(|| current.revision.clone()),
        to_revision: wanted.to_owned(),
        started_time: to_text(started_ms),
        phase_time: Some(to_text(started_ms)),
        handed_over_time: None,
    });
}

fn is_handing_over(draft: &Draft<'_>) -> bool {
    let upgrade = draft.upgrade.as_ref();
    upgrade.is_some_and(|upgrade| upgrade.phase == UpgradePhase::HandingOver)
}

fn enter(draft: &mut Draft<'_>, phase: UpgradePhase) {
    let now = to_text(draft.observed.now_ms);
    if let Some(upgrade) = &mut draft.upgrade
        && upgrade.phase != phase
    {
        upgrade.phase = phase;
        upgrade.phase_time = Some(now);
    }
}

/// The current revision goes on, if it runs at all.
fn keep_current(draft: &mut Draft<'_>, current: &RevisionFacts) {
    let is_down = current.replicas == 0 || was_finished(draft, &current.revision);
    if is_down {
        draft.ready = Some(Verdict::no(
            Reason::Starting,
            format!("revision {} is brought up", draft.wanted.revision),
        ));
    } else {
        run(draft, current);
    }
}

/// Nothing but this revision is left to come back to.
fn upgrade_is_from(draft: &mut Draft<'_>, current: &RevisionFacts) {
    if let Some(upgrade) = &mut draft.upgrade
        && upgrade.from_revision != current.revision
    {
        upgrade.from_revision.clone_from(&current.revision);
        upgrade.rollback_checkpoint = None;
    }
}

/// A revision that has not proven itself still has to while another is prepared or was refused.
/// True if it has failed, and the stable one comes back.
fn comes_back(draft: &mut Draft<'_>, current: &RevisionFacts, roles: &Roles<'_>) -> bool {
    let Some(spare) = roles.spare else {
        // It was proven, or it is all there is; the report of it may have been lost.
        upgrade_is_from(draft, current);
        return false;
    };
    if current.replicas == 0 {
        return false;
    }
    match proof(draft, current) {
        Proof::Given => {
            upgrade_is_from(draft, current);
            draft.remove(spare);
            false
        }
        Proof::Awaited => {
            draft.scale(spare, 0);
            false
        }
        Proof::Refuted(why) => {
            draft.remove(current);
            come_back(draft, spare);
            let (failed, stable) = (&current.revision, &spare.revision);
            let message = format!("revision {failed} failed, and {stable} runs again: {why}");
            draft.events.push(EventNote {
                is_warning: true,
                reason: EventReason::Upgrade,
                message: bounded(&message, MESSAGE_BYTES_MAX),
            });
            draft.ready = Some(Verdict::no(Reason::Starting, message));
            draft.revision = Some(spare.revision.clone());
            if let Some(upgrade) = &mut draft.upgrade {
                upgrade.rollback_checkpoint = None;
            }
            draft.decision = Decision::RollBack;
            draft.soon();
            true
        }
    }
}

/// The new revision is ready: the old one stops, and once it has, the new one is let go.
fn hand_over(draft: &mut Draft<'_>, current: &RevisionFacts, roles: &Roles<'_>, pod: &str) {
    let waited_ms = match is_handing_over(draft) {
        true => age_ms(draft.observed.now_ms, phase_time(draft)),
        false => 0,
    };
    let wants_savepoint = draft.wanted.job.upgrade.mode == UpgradeMode::Savepoint
        || roles
            .candidate
            .is_some_and(|candidate| leaves_state(draft, candidate));
    let limit_ms = match wants_savepoint {
        true => i64::try_from(draft.wanted.job.checkpoint.timeout_ms).unwrap_or(i64::MAX),
        false => STOP_WAIT_MS,
    };
    let old = old(draft.observed, &draft.wanted.revision, wants_savepoint);
    enter(draft, UpgradePhase::HandingOver);
    draft.decision = Decision::HandOver;
    draft.soon();
    match old {
        Old::Stops { asks } if waited_ms <= limit_ms => {
            for (pod, mode) in asks {
                draft.ask(&pod, JobCommand::Stop(mode));
            }
            let message = format!(
                "revision {} stops and the new one takes over",
                current.revision
            );
            draft.ready = Some(Verdict::no(Reason::UpgradeInProgress, message));
        }
        _ if is_unfenced(draft, current) => {
            draft.scale(current, 0);
            let message = format!(
                "another storage is asked for, whose log cannot fence revision {}: the new one \
                 waits until its pods have ended",
                current.revision
            );
            draft.ready = Some(Verdict::no(Reason::UpgradeInProgress, message));
        }
        old => let_go(draft, (current, roles), &old, pod),
    }
}

/// Whether the old revision may still work, and another log than the new one's would have to tell
/// it that it must not.
fn is_unfenced(draft: &Draft<'_>, current: &RevisionFacts) -> bool {
    let new = &draft.wanted.storage;
    let is_moved = current.config.as_ref().is_some_and(|config| {
        let old = &config.storage;
        (&old.url, &old.endpoint) != (&new.url, &new.endpoint)
    });
    let may_work = |pod: &PodFacts| match of_pod(pod) {
        Standing::Says(_, view) => matches!(
            view.phase,
            Phase::Starting
                | Phase::Restoring
                | Phase::Running
                | Phase::BackingOff
                | Phase::Stopping
                | Phase::Unknown
        ),
        Standing::Silent { .. } => true,
        Standing::Coming(_) | Standing::Troubled(..) | Standing::Gone => false,
    };
    is_moved
        && draft
            .observed
            .pods
            .iter()
            .any(|pod| pod.revision != draft.wanted.revision && !pod.is_over && may_work(pod))
}

fn phase_time<'d>(draft: &'d Draft<'_>) -> Option<&'d str> {
    draft
        .upgrade
        .as_ref()
        .and_then(|upgrade| upgrade.phase_time.as_deref())
}

/// The old revision has stopped, or was waited for long enough: from here the log fences it.
fn let_go(
    draft: &mut Draft<'_>,
    (current, roles): (&RevisionFacts, &Roles<'_>),
    old: &Old,
    pod: &str,
) {
    let is_kept = draft
        .upgrade
        .as_ref()
        .is_none_or(|u| u.from_revision == current.revision)
        && is_worth_keeping(draft.observed, current);
    match is_kept {
        true => draft.scale(current, 0),
        false => draft.remove(current),
    }
    if let Some(spare) = roles.spare {
        draft.scale(spare, 0);
    }
    draft.ask(pod, JobCommand::Start);
    enter(draft, UpgradePhase::Proving);
    if let Some(candidate) = roles.candidate {
        note_rollback_checkpoint(draft, &current.revision, candidate);
    }
    let now = to_text(draft.observed.now_ms);
    let requested = draft.wanted.job.upgrade.mode;
    let is_from_spec = current.start_from != draft.observed.job.spec.start_from;
    let start_from = &draft.observed.job.spec.start_from;
    let (used, why) = old.used_mode(requested);
    if let Some(upgrade) = &mut draft.upgrade {
        upgrade.handed_over_time = Some(now);
        upgrade.used_mode = Some(used);
        upgrade.message = match is_from_spec {
            true => bounded(
                &format!("it starts from {start_from}, as the spec says"),
                300,
            ),
            false => bounded(&why, MESSAGE_BYTES_MAX),
        };
    }
    draft.revision = Some(draft.wanted.revision.clone());
    let message = "the new revision runs and must prove itself to be kept";
    draft.up_to_date = Verdict::no(Reason::UpgradeProving, message);
    draft.ready = Some(Verdict::no(Reason::Starting, "the new revision is let go"));
}

/// Reports that the new revision was let go, and has to prove itself.
pub(super) fn prove_from_now(draft: &mut Draft<'_>, new: &RevisionFacts) {
    let now = to_text(draft.observed.now_ms);
    let Some(upgrade) = &mut draft.upgrade else {
        return;
    };
    upgrade.phase = UpgradePhase::Proving;
    upgrade.used_mode.get_or_insert(upgrade.requested_mode);
    upgrade.handed_over_time = Some(now.clone());
    upgrade.phase_time = Some(now);
    let old = upgrade.from_revision.clone();
    note_rollback_checkpoint(draft, &old, new);
}

/// Whether a rollback would need what the old revision leaves, while the new one fills the log with
/// checkpoints of its own: only a savepoint outlives those.
fn leaves_state(draft: &Draft<'_>, new: &RevisionFacts) -> bool {
    draft.wanted.job.upgrade.rollback != RollbackPolicy::Never && !goes_on(new)
}

/// Whether a revision starts from what the one before it has left.
fn goes_on(new: &RevisionFacts) -> bool {
    new.config.as_deref().is_none_or(|config| {
        config.start_from == StartPoint::Latest
            || config.start_from_generation < config.start_generation
                && config.start_from_generation.is_some()
    })
}

/// Takes note of what a rollback goes on from, if the new revision starts from something else than
/// what the old one has left: the log goes on from there then.
fn note_rollback_checkpoint(draft: &mut Draft<'_>, old: &str, new: &RevisionFacts) {
    if goes_on(new) {
        return;
    }
    let view = draft.standing(old).view();
    let told = view.and_then(|view| view.last_checkpoint.as_ref());
    let told = told.and_then(|checkpoint| i64::try_from(checkpoint.id).ok());
    let reported = draft
        .reported()
        .filter(|status| status.revision.as_deref() == Some(old))
        .and_then(|status| status.latest_checkpoint.as_ref())
        .map(|checkpoint| checkpoint.id);
    if let Some(upgrade) = &mut draft.upgrade
        && upgrade.rollback_checkpoint.is_none()
    {
        upgrade.rollback_checkpoint = told.max(reported);
    }
}

/// The old revision may have stopped, and the new one is not there any more. It is waited for, but
/// not for ever: then the old one goes on, and the new one may come again.
fn await_candidate(draft: &mut Draft<'_>, current: &RevisionFacts) {
    let waited_ms = age_ms(draft.observed.now_ms, phase_time(draft));
    if waited_ms <= LOST_CANDIDATE_MS {
        draft.decision = Decision::HandOver;
        let message = "the new revision was lost while it took over, and is waited for";
        draft.ready = Some(Verdict::no(Reason::UpgradeInProgress, message));
        return;
    }
    enter(draft, UpgradePhase::Preparing);
    if let Standing::Says(pod, view) = draft.standing(&current.revision)
        && view.phase == Phase::Stopped
    {
        replace(draft, pod);
    }
    keep_current(draft, current);
    draft.decision = Decision::PrepareUpgrade;
}

/// The new revision had its time: its pods go, and the old one runs on.
fn refuse(draft: &mut Draft<'_>, current: &RevisionFacts, roles: &Roles<'_>, start: Start) {
    let wanted = &*draft.wanted.revision;
    let why = match draft.standing(wanted) {
        Standing::Gone => refused(draft, roles).unwrap_or_else(|| "it has no pod".to_owned()),
        Standing::Coming(_) => "its pod does not run".to_owned(),
        Standing::Silent { error, .. } => format!("it does not answer: {error}"),
        standing @ (Standing::Troubled(..) | Standing::Says(..)) => {
            let trouble = standing.trouble().map(|(_, message)| message);
            trouble.unwrap_or_else(|| format!("it is {:?}", standing.phase()))
        }
    };
    let seconds = draft.wanted.job.upgrade.deadline_seconds;
    let why = format!("not ready within {seconds} s: {why}");
    enter(draft, UpgradePhase::Refused);
    if let Some(upgrade) = &mut draft.upgrade {
        upgrade.message = bounded(&why, MESSAGE_BYTES_MAX);
    }
    if let Some(candidate) = roles.candidate {
        draft.ensure(Some(candidate), start, 0);
    }
    stay(draft, current, roles);
}
