//! What a failed upgrade comes back to, and from which state.

use std::sync::Arc;

use rstest::rstest;
use tidegate_api::checkpoint::CheckpointKind;
use tidegate_api::job_config::StartPoint;
use tidegate_api::spec::{RollbackPolicy, UpgradeMode};
use tidegate_api::status::{ConditionType, Reason, UpgradePhase};

use super::upgrades::{checkpoint, handed_over, phase, step};
use super::{edit, message, reason, running, running_with, saying, set_view, view};
use crate::job_api::{JobCommand, JobView, Phase, StopMode};
use crate::observed::{Observed, RevisionFacts};
use crate::plan::{Decision, EventReason};
use crate::stream_job::fixtures::revision_of;

fn facts<'a>(observed: &'a Observed, name: &str) -> Option<&'a RevisionFacts> {
    let mut revisions = observed.revisions.iter();
    revisions.find(|facts| facts.revision == name)
}

fn failed(view: &mut JobView) {
    view.phase = Phase::Failed;
    view.reason = Some("index out of bounds".to_owned());
}

/// Revision 1 has stopped with checkpoint 9, and revision 2 took over and failed; the plan of the
/// rollback, and the name of revision 1.
fn rolled_back(edit_spec: impl FnOnce(&mut tidegate_api::StreamJobSpec)) -> (Observed, String) {
    rolled_back_of(running("good:1"), edit_spec)
}

fn rolled_back_of(
    mut observed: Observed,
    edit_spec: impl FnOnce(&mut tidegate_api::StreamJobSpec),
) -> (Observed, String) {
    let old = revision_of(&observed.job);
    edit(&mut observed, |spec| {
        spec.program.as_mut().unwrap().image = "good:2".to_owned();
        edit_spec(spec);
    });
    step(&mut observed);
    let new = revision_of(&observed.job);
    observed.pods.push(saying(&new, view(Phase::Holding)));
    step(&mut observed);
    set_view(&mut observed, 0, |view| {
        view.phase = Phase::Stopped;
        view.last_checkpoint = Some(checkpoint(CheckpointKind::Checkpoint));
    });
    step(&mut observed);
    observed.pods.remove(0);
    set_view(&mut observed, 0, |view| {
        failed(view);
        // Its own, of a state that the old revision never had.
        view.last_checkpoint = Some(checkpoint(CheckpointKind::Checkpoint));
        view.last_checkpoint.as_mut().unwrap().id = 10;
    });
    let back = step(&mut observed);
    assert_eq!(back.decision, Decision::RollBack);
    (observed, old)
}

/// The log goes on from what the new revision began with, so that "the latest" is that one's.
#[rstest]
#[case::stateless(UpgradeMode::Stateless, None)]
#[case::from_nothing(UpgradeMode::LatestCheckpoint, Some("Empty"))]
#[case::from_another_job(UpgradeMode::LatestCheckpoint, Some("s3://bucket/jobs/shop/other#3"))]
fn a_rollback_goes_on_from_the_stable_revisions_own_state(
    #[case] mode: UpgradeMode,
    #[case] start_from: Option<&str>,
) {
    let (observed, old) = rolled_back(|spec| {
        spec.upgrade.mode = mode;
        if let Some(start_from) = start_from {
            spec.start_from = start_from.to_owned();
        }
    });
    let upgrade = observed.job.status.as_ref().unwrap().upgrade.as_ref();
    assert_eq!(upgrade.unwrap().rollback_checkpoint, Some(9));
    let config = facts(&observed, &old).unwrap().config.as_ref().unwrap();
    let own = StartPoint::Checkpoint {
        folder: "s3://bucket/jobs/shop/orders".to_owned(),
        checkpoint_id: Some(9),
    };
    assert_eq!(config.start_from, own);
}

/// The new revision's own checkpoints push a checkpoint out of what is retained, a savepoint never.
#[rstest]
#[case(RollbackPolicy::LastStable, StopMode::Savepoint)]
#[case(RollbackPolicy::Never, StopMode::Checkpoint)]
fn what_a_rollback_needs_is_kept_as_a_savepoint(
    #[case] rollback: RollbackPolicy,
    #[case] expected: StopMode,
) {
    let mut observed = running("good:1");
    edit(&mut observed, |spec| {
        spec.upgrade.mode = UpgradeMode::Stateless;
        spec.upgrade.rollback = rollback;
        spec.program.as_mut().unwrap().image = "good:2".to_owned();
    });
    step(&mut observed);
    let new = revision_of(&observed.job);
    observed.pods.push(saying(&new, view(Phase::Holding)));
    let stopping = step(&mut observed);
    assert_eq!(stopping.ask[0].command, JobCommand::Stop(expected));
}

#[test]
fn a_rollback_goes_on_from_what_the_new_revision_made_of_the_state() {
    let (observed, old) = rolled_back(|_| ());
    let upgrade = observed.job.status.as_ref().unwrap().upgrade.as_ref();
    assert_eq!(upgrade.unwrap().rollback_checkpoint, None);
    let config = facts(&observed, &old).unwrap().config.as_ref().unwrap();
    assert_eq!(config.start_from, StartPoint::Latest);
}

/// Both revisions name the state that the first one has begun with, long ago.
#[test]
fn a_rollback_between_revisions_of_one_start_point_goes_on_as_well() {
    let running = running_with("good:1", |spec| {
        spec.start_from = "s3://bucket/jobs/shop/other#3".to_owned();
    });
    let begun = running.revisions[0].config.clone().unwrap();
    let (observed, old) = rolled_back_of(running, |_| ());
    let upgrade = observed.job.status.as_ref().unwrap().upgrade.as_ref();
    assert_eq!(upgrade.unwrap().rollback_checkpoint, None);
    let config = facts(&observed, &old).unwrap().config.as_ref().unwrap();
    assert_eq!(config.start_from, begun.start_from);
    assert_eq!(config.start_from_generation, begun.start_generation);
}

/// Revision 2 took over from 1 and has not proven itself, and a third is asked for.
fn third_asked_for() -> (Observed, String, String) {
    let (mut observed, stable, unproven) = handed_over(Phase::Running);
    edit(&mut observed, |spec| {
        spec.program.as_mut().unwrap().image = "good:3".to_owned();
    });
    let prepared = step(&mut observed);
    let upgrade = prepared.status.upgrade.as_ref().unwrap();
    assert_eq!(upgrade.from_revision, stable);
    assert_eq!(phase(&prepared), UpgradePhase::Preparing);
    (observed, stable, unproven)
}

#[test]
fn the_stable_revision_comes_back_while_a_third_is_prepared() {
    let (mut observed, stable, unproven) = third_asked_for();
    set_view(&mut observed, 0, failed);
    let back = step(&mut observed);
    assert_eq!(back.decision, Decision::RollBack);
    assert_eq!(back.status.revision.as_ref(), Some(&stable));
    let told = |event: &crate::plan::EventNote| {
        event.reason == EventReason::Upgrade && event.message.contains("index out of bounds")
    };
    assert!(back.events.iter().any(told), "{:?}", back.events);
    assert_eq!(facts(&observed, &stable).unwrap().replicas, 1);
    assert!(facts(&observed, &unproven).is_none());

    observed.pods = vec![saying(&stable, view(Phase::Running))];
    let again = step(&mut observed);
    let upgrade = again.status.upgrade.as_ref().unwrap();
    assert_eq!(
        (phase(&again), &upgrade.from_revision),
        (UpgradePhase::Preparing, &stable)
    );
    let third = facts(&observed, &revision_of(&observed.job)).unwrap();
    assert!(third.start_generation > facts(&observed, &stable).unwrap().start_generation);
    assert!(third.config.as_ref().unwrap().hold);
}

#[test]
fn the_stable_revision_comes_back_after_a_third_was_refused() {
    let (mut observed, stable, _) = third_asked_for();
    observed.now_ms += 601_000;
    let mut running = view(Phase::Running);
    running.completed_checkpoint_count = 1;
    set_view(&mut observed, 0, |view| *view = running);
    // What is late is judged, too; here the unproven one is not late yet.
    let upgrade = std::sync::Arc::make_mut(&mut observed.job).status.as_mut();
    let upgrade = upgrade.unwrap().upgrade.as_mut().unwrap();
    upgrade.phase_time = Some(crate::time::to_text(observed.now_ms));
    let refused = step(&mut observed);
    assert_eq!(phase(&refused), UpgradePhase::Refused);
    assert!(
        facts(&observed, &stable).is_some(),
        "it is still to come back to"
    );

    set_view(&mut observed, 0, failed);
    let back = step(&mut observed);
    assert_eq!(back.status.revision.as_ref(), Some(&stable));
    assert_eq!(phase(&back), UpgradePhase::Refused);
    observed.pods = vec![saying(&stable, view(Phase::Running))];
    let after = step(&mut observed);
    assert_eq!(
        reason(&after, ConditionType::UpToDate),
        Reason::UpgradeRefused
    );
    assert!(message(&after, ConditionType::UpToDate).contains(&stable));
    assert_eq!(after.decision, Decision::Steady);
}

/// Its time to prove itself begins anew when it goes on, and not at each look.
#[test]
fn an_unproven_revision_that_stands_still_after_a_third_was_refused_is_left_alone() {
    let (mut observed, stable, unproven) = third_asked_for();
    observed.now_ms += 601_000;
    let upgrade = std::sync::Arc::make_mut(&mut observed.job).status.as_mut();
    let upgrade = upgrade.unwrap().upgrade.as_mut().unwrap();
    upgrade.phase_time = Some(crate::time::to_text(observed.now_ms));
    assert_eq!(phase(&step(&mut observed)), UpgradePhase::Refused);
    edit(&mut observed, |spec| spec.suspend = true);
    set_view(&mut observed, 0, |view| view.phase = Phase::Stopped);
    step(&mut observed);
    observed.pods.clear();
    let still = step(&mut observed);
    let later = step(&mut observed);
    assert_eq!(later.status, still.status);
    assert!(facts(&observed, &stable).is_some());

    edit(&mut observed, |spec| spec.suspend = false);
    observed.now_ms += 3_600_000;
    let resumed = step(&mut observed);
    assert_eq!(resumed.status.revision.as_ref(), Some(&unproven));
    observed.pods = vec![saying(&unproven, view(Phase::Running))];
    let proving = step(&mut observed);
    assert_eq!(
        proving.status.revision,
        Some(unproven),
        "its time is not over"
    );
}

#[test]
fn a_revision_that_proves_itself_while_a_third_is_prepared_is_the_stable_one() {
    let (mut observed, stable, proven) = third_asked_for();
    set_view(&mut observed, 0, |view| view.completed_checkpoint_count = 2);
    let kept = step(&mut observed);
    assert_eq!(kept.status.upgrade.as_ref().unwrap().from_revision, proven);
    assert!(facts(&observed, &stable).is_none());
}

/// The one before it was removed, and the report of that was lost.
#[test]
fn a_revision_that_is_all_there_is_to_come_back_to_is_what_an_upgrade_is_from() {
    let (mut observed, stable, proven) = third_asked_for();
    set_view(&mut observed, 0, |view| view.completed_checkpoint_count = 2);
    let reported = observed.job.status.clone();
    step(&mut observed);
    Arc::make_mut(&mut observed.job).status = reported;
    assert!(observed.config_maps.contains(&stable));
    let next = step(&mut observed);
    assert_eq!(next.status.upgrade.unwrap().from_revision, proven);
    assert!(
        !observed.config_maps.contains(&stable),
        "nothing of it is left"
    );
}

#[test]
fn a_fourth_revision_does_not_forget_the_stable_one() {
    let (mut observed, stable, _) = third_asked_for();
    edit(&mut observed, |spec| {
        spec.program.as_mut().unwrap().image = "good:4".to_owned();
    });
    let next = step(&mut observed);
    assert_eq!(next.status.upgrade.unwrap().from_revision, stable);
    assert!(facts(&observed, &stable).is_some());
}

#[test]
fn back_at_an_unproven_revision_it_still_has_to_prove_itself() {
    let (mut observed, stable, unproven) = third_asked_for();
    edit(&mut observed, |spec| {
        spec.program.as_mut().unwrap().image = "good:2".to_owned();
    });
    let back = step(&mut observed);
    assert_eq!(phase(&back), UpgradePhase::Proving);
    let upgrade = back.status.upgrade.as_ref().unwrap();
    assert_eq!(
        (&upgrade.from_revision, &upgrade.to_revision),
        (&stable, &unproven)
    );
    set_view(&mut observed, 0, failed);
    assert_eq!(step(&mut observed).status.revision, Some(stable));
}
