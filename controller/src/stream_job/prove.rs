//! A new revision proves itself by completing checkpoints, or the last stable one comes back.

use tidegate_api::job_config::StartPoint;
use tidegate_api::spec::RollbackPolicy;
use tidegate_api::status::{Reason, UpgradePhase};

use super::draft::{Draft, Verdict, start_of};
use super::failure::{end_count, failure_since, is_unsound, recent_failure};
use super::live::restart;
use super::standing::{SILENCE_MAX_MS, Standing, category_reason, phase_since_ms, reason_text};
use super::wanted::start_state;
use crate::build::{Start, StartState};
use crate::job_api::{JobView, Phase};
use crate::observed::{PodFacts, RevisionFacts};
use crate::plan::Decision;
use crate::text::bounded;
use crate::time::{age_ms, from_text, to_text};

/// So many checkpoints of the new revision make it stable.
const PROOF_CHECKPOINTS: u64 = 2;
/// Without periodic checkpoints, it runs for so long without failure.
const PROOF_RUNNING_MS: i64 = 30_000;
/// A process or a container that was restarted so often, and still is in trouble, will not come
/// right.
const RESTARTS_MAX: u32 = 3;
/// An upgrade's message has so many bytes at most.
pub(super) const MESSAGE_BYTES_MAX: usize = 300;
/// What helps once a spec was tried and has failed.
pub(super) const TRY_AGAIN: &str =
    "to try again, change what is run, or go back to the spec before and then to this one";
/// Of a failure, so much stands beside how the revision is.
const FAILURE_BYTES_MAX: usize = 160;

/// Whether a new revision is worth keeping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// It is.
    Given,
    /// That is not known yet.
    Awaited,
    /// It is not, for this reason.
    Refuted(String),
}

/// A revision comes back from a standstill, and its time to prove itself begins anew.
pub(super) fn begin_proof_anew(draft: &mut Draft<'_>) {
    let now = to_text(draft.observed.now_ms);
    if let Some(upgrade) = &mut draft.upgrade {
        upgrade.phase_time = Some(now);
    }
}

/// Looks at a revision that was let go.
pub(super) fn proof(draft: &Draft<'_>, current: &RevisionFacts) -> Proof {
    let standing = draft.standing(&current.revision);
    if let Standing::Says(pod, view) = standing
        && is_stable(draft, pod, view)
    {
        return Proof::Given;
    }
    if draft.wanted.job.upgrade.rollback == RollbackPolicy::Never {
        return Proof::Awaited;
    }
    if let Some(why) = fatal(draft, current, standing) {
        return Proof::Refuted(why);
    }
    let upgrade = draft.upgrade.as_ref();
    let age = age_ms(
        draft.observed.now_ms,
        upgrade.and_then(|upgrade| upgrade.phase_time.as_deref()),
    );
    match age > deadline_ms(draft) {
        true => Proof::Refuted(late(draft, current, standing)),
        false => Proof::Awaited,
    }
}

fn is_stable(draft: &Draft<'_>, pod: &PodFacts, view: &JobView) -> bool {
    if view.phase == Phase::Finished {
        return true;
    }
    if view.phase != Phase::Running || is_unsound(pod, view, draft.observed.now_ms) {
        return false;
    }
    if draft.wanted.job.checkpoint.interval_ms.is_some() {
        return view.completed_checkpoint_count >= PROOF_CHECKPOINTS;
    }
    let failed_ms = view
        .last_failure
        .as_ref()
        .map_or(0, |failure| failure.time_ms);
    let since_ms = phase_since_ms(view).max(failed_ms);
    draft.observed.now_ms.saturating_sub(since_ms) >= PROOF_RUNNING_MS
}

/// The time that a revision has: the deadline, and what its own interval makes it wait.
fn deadline_ms(draft: &Draft<'_>) -> i64 {
    let job = &draft.wanted.job;
    let pace_ms = job.checkpoint.interval_ms.unwrap_or(0) + job.checkpoint.min_pause_ms;
    let waits_ms = i64::try_from(pace_ms.saturating_mul(PROOF_CHECKPOINTS)).unwrap_or(i64::MAX);
    let deadline_ms = i64::from(job.upgrade.deadline_seconds) * 1000;
    deadline_ms.saturating_add(waits_ms)
}

fn late(draft: &Draft<'_>, current: &RevisionFacts, standing: Standing<'_>) -> String {
    let seconds = draft.wanted.job.upgrade.deadline_seconds;
    let state = match standing {
        Standing::Gone => "it has no pod".to_owned(),
        Standing::Coming(_) => "its pod does not run".to_owned(),
        Standing::Troubled(_, trouble) => trouble.message.clone(),
        Standing::Silent { error, .. } => format!("it does not answer: {error}"),
        Standing::Says(_, view) => match view.phase {
            Phase::Running => "it runs, but completes no checkpoints".to_owned(),
            phase => format!("it is {phase:?}: {}", reason_text(view)),
        },
    };
    let failure = since_let_go(draft).and_then(|ms| failure_since(draft.observed, current, ms));
    match failure {
        Some(failure) if !state.contains(&failure.message) => format!(
            "not stable within {seconds} s, and it failed: {}; now {state}",
            bounded(&failure.message, FAILURE_BYTES_MAX)
        ),
        _ => format!("not stable within {seconds} s: {state}"),
    }
}

/// Since when the revision has to prove itself.
fn since_let_go(draft: &Draft<'_>) -> Option<i64> {
    let upgrade = draft.upgrade.as_ref()?;
    upgrade.phase_time.as_deref().and_then(from_text)
}

/// What more time cannot help.
fn fatal(draft: &Draft<'_>, current: &RevisionFacts, standing: Standing<'_>) -> Option<String> {
    match standing {
        Standing::Says(pod, view) => match (view.phase, category_reason(view)) {
            (Phase::Failed, _)
            | (Phase::Blocked, Reason::StateIncompatible | Reason::CheckpointUnreadable) => {
                Some(reason_text(view))
            }
            (Phase::Starting | Phase::Restoring | Phase::Running | Phase::BackingOff, _)
                if is_unsound(pod, view, draft.observed.now_ms) =>
            {
                let count = end_count(pod, view);
                let failure = recent_failure(draft.observed, current, pod);
                failure
                    .filter(|_| count >= RESTARTS_MAX)
                    .map(|failure| format!("its process ended {count} times; {}", failure.message))
            }
            _ => None,
        },
        Standing::Troubled(pod, trouble) => {
            let is_lasting = match trouble.reason {
                Reason::CrashLoop => true,
                Reason::OutOfMemory => {
                    u32::try_from(pod.restart_count).is_ok_and(|count| count >= RESTARTS_MAX)
                }
                _ => false,
            };
            is_lasting.then(|| trouble.message.clone())
        }
        // One answer that is late proves nothing.
        Standing::Silent { pod, since_ms, .. }
            if draft.observed.now_ms.saturating_sub(since_ms) > SILENCE_MAX_MS =>
        {
            dies_unasked(draft, current, pod)
        }
        Standing::Silent { .. } => None,
        Standing::Gone | Standing::Coming(_) => None,
    }
}

/// What a process fails of that dies, again and again, before it can be asked.
fn dies_unasked(draft: &Draft<'_>, current: &RevisionFacts, pod: &PodFacts) -> Option<String> {
    let status = draft.reported().filter(|status| {
        let restarts = status.restarts.and_then(|count| u32::try_from(count).ok());
        status.revision.as_ref() == Some(&current.revision)
            && restarts.is_some_and(|count| count >= RESTARTS_MAX)
    });
    let failure = status.and_then(|_| recent_failure(draft.observed, current, pod));
    let failure = failure.filter(|failure| failure.reason == Reason::OutOfMemory);
    failure.map(|failure| failure.message)
}

/// The last stable revision comes back, and the new one goes.
pub(super) fn roll_back(
    draft: &mut Draft<'_>,
    current: &RevisionFacts,
    spare: &RevisionFacts,
    why: &str,
) {
    let start = Start {
        hold: false,
        ..start_of(current)
    };
    draft.ensure(Some(current), start, 0);
    come_back(draft, spare);
    rolled_back(draft, spare, why);
    draft.decision = Decision::RollBack;
}

/// The last stable revision starts: from the newest checkpoint, whoever took it, or from its own
/// last one if what came after began with something else. If none of them ever began, it does so
/// where it was to.
pub(super) fn come_back(draft: &mut Draft<'_>, spare: &RevisionFacts) {
    let upgrade = draft.upgrade.as_ref();
    let own = upgrade.and_then(|upgrade| upgrade.rollback_checkpoint);
    let own = own.and_then(|id| u64::try_from(id).ok());
    let from = match (own, &spare.config) {
        (Some(id), Some(config)) => StartState::new(StartPoint::Checkpoint {
            folder: config.job_folder(),
            checkpoint_id: Some(id),
        }),
        _ => start_state(spare),
    };
    let generation = draft.next_generation();
    restart(draft, spare, generation, from);
}

/// Reports that a revision has come back.
pub(super) fn rolled_back(draft: &mut Draft<'_>, spare: &RevisionFacts, why: &str) {
    let now = to_text(draft.observed.now_ms);
    draft.revision = Some(spare.revision.clone());
    if let Some(upgrade) = &mut draft.upgrade {
        upgrade.phase = UpgradePhase::RolledBack;
        upgrade.phase_time = Some(now);
        upgrade.message = bounded(why, MESSAGE_BYTES_MAX);
        let (from, to) = (&upgrade.from_revision, &upgrade.to_revision);
        let message = format!("revision {to} failed, and {from} runs again: {why}; {TRY_AGAIN}");
        draft.up_to_date = Verdict::no(Reason::RolledBack, message);
    }
    draft.soon();
}
