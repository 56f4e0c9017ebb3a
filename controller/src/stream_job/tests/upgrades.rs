//! One revision takes over from another, step by step.

use std::sync::Arc;

use rstest::rstest;
use tidegate_api::checkpoint::CheckpointKind;
use tidegate_api::job_config::StartPoint;
use tidegate_api::pod::revision_name;
use tidegate_api::spec::{LogLevel, RollbackPolicy, UpgradeMode};
use tidegate_api::status::{ConditionType, Reason, UpgradePhase};

use super::{
    carry_out, edit, message, plan, reason, running, saying, set_view, settings, view, words,
};
use crate::job_api::{CheckpointView, JobCommand, Phase, StopMode};
use crate::observed::{ApiFacts, Observed, PodTrouble};
use crate::plan::{ChildName, Decision, EventReason, Plan};
use crate::stream_job::fixtures::{job, observed, pod, revision_of};

pub(super) fn step(observed: &mut Observed) -> Plan {
    let plan = plan(observed, &settings());
    carry_out(observed, &plan);
    observed.now_ms += 1000;
    plan
}

pub(super) fn checkpoint(kind: CheckpointKind) -> CheckpointView {
    CheckpointView {
        id: 9,
        kind,
        name: None,
        completed_ms: 0,
        duration_ms: 1,
        size_bytes: 1,
        parallelism: 2,
    }
}

pub(super) fn phase(plan: &Plan) -> UpgradePhase {
    plan.status.upgrade.as_ref().unwrap().phase
}

/// Revision 1 runs and revision 2 was made beside it, in this phase. Gives the names of both.
pub(super) fn upgrading(mode: UpgradeMode, new: Phase) -> (Observed, String, String) {
    let mut observed = running("good:1");
    let old_name = revision_of(&observed.job);
    edit(&mut observed, |spec| {
        spec.program.as_mut().unwrap().image = "good:2".to_owned();
        spec.upgrade.mode = mode;
    });
    let begun = step(&mut observed);
    assert_eq!(begun.decision, Decision::PrepareUpgrade);
    assert_eq!(phase(&begun), UpgradePhase::Preparing);
    let new_name = revision_of(&observed.job);
    observed.pods.push(saying(&new_name, view(new)));
    (observed, old_name, new_name)
}

/// The same, after revision 2 was let go.
pub(super) fn handed_over(new: Phase) -> (Observed, String, String) {
    let (mut observed, old, name) = upgrading(UpgradeMode::LatestCheckpoint, Phase::Holding);
    step(&mut observed);
    set_view(&mut observed, 0, |view| view.phase = Phase::Stopped);
    step(&mut observed);
    observed.pods.remove(0);
    set_view(&mut observed, 0, |view| view.phase = new);
    (observed, old, name)
}

#[test]
fn the_new_revision_is_held_beside_the_old_one() {
    let (observed, old, new) = upgrading(UpgradeMode::LatestCheckpoint, Phase::Starting);
    let [first, second] = &observed.revisions[..] else {
        panic!("{:?}", observed.revisions);
    };
    assert_eq!((&first.revision, first.replicas), (&old, 1));
    assert_eq!((&second.revision, second.replicas), (&new, 1));
    assert!(second.config.as_ref().unwrap().hold);
    assert!(second.start_generation > first.start_generation);
    assert_eq!(observed.job.status.as_ref().unwrap().revision, Some(old));
}

/// The report that it was let go was lost, and it completed its checkpoints meanwhile.
#[test]
fn an_upgrade_that_is_seen_only_at_its_end_names_its_checkpoint() {
    let (mut observed, _, _) = upgrading(UpgradeMode::LatestCheckpoint, Phase::Holding);
    step(&mut observed);
    set_view(&mut observed, 0, |view| view.phase = Phase::Stopped);
    let reported = observed.job.status.clone();
    step(&mut observed);
    Arc::make_mut(&mut observed.job).status = reported;
    observed.pods.remove(0);
    set_view(&mut observed, 0, |view| {
        view.phase = Phase::Running;
        view.restored_checkpoint = Some(41);
        view.completed_checkpoint_count = 2;
    });
    let complete = step(&mut observed);
    let upgrade = complete.status.upgrade.as_ref().unwrap();
    assert_eq!(upgrade.phase, UpgradePhase::Complete);
    assert_eq!(upgrade.from_checkpoint, Some(41));
}

#[test]
fn an_upgrade_goes_from_preparing_to_complete() {
    let (mut observed, old, new) = upgrading(UpgradeMode::LatestCheckpoint, Phase::Holding);
    let stopping = step(&mut observed);
    assert_eq!(stopping.decision, Decision::HandOver);
    assert_eq!(stopping.ask.len(), 1);
    assert_eq!(
        stopping.ask[0].command,
        JobCommand::Stop(StopMode::Checkpoint)
    );

    set_view(&mut observed, 0, |view| view.phase = Phase::Stopped);
    let let_go = step(&mut observed);
    assert_eq!(let_go.ask[0].command, JobCommand::Start);
    assert_eq!(let_go.ask[0].pod, observed.pods[1].name);
    assert_eq!(let_go.status.revision.as_ref(), Some(&new));
    assert_eq!(phase(&let_go), UpgradePhase::Proving);
    assert_eq!(
        observed.revisions[0].replicas, 0,
        "the old one is kept for a rollback"
    );

    observed.pods.remove(0);
    set_view(&mut observed, 0, |view| view.restored_checkpoint = Some(40));
    let still_held = step(&mut observed);
    let from = still_held.status.upgrade.unwrap().from_checkpoint;
    assert_eq!(from, None, "the old one may have taken another since");
    set_view(&mut observed, 0, |view| {
        view.phase = Phase::Running;
        view.restored_checkpoint = Some(41);
        view.completed_checkpoint_count = 1;
    });
    let proving = step(&mut observed);
    assert_eq!(proving.decision, Decision::Prove);
    assert_eq!(
        reason(&proving, ConditionType::UpToDate),
        Reason::UpgradeProving
    );
    assert!(!observed.revisions[1].config.as_ref().unwrap().hold);

    set_view(&mut observed, 0, |view| view.completed_checkpoint_count = 2);
    let complete = step(&mut observed);
    let upgrade = complete.status.upgrade.as_ref().unwrap();
    assert_eq!(upgrade.phase, UpgradePhase::Complete);
    assert_eq!(upgrade.from_checkpoint, Some(41));
    assert_eq!(upgrade.used_mode, Some(UpgradeMode::LatestCheckpoint));
    assert_eq!(upgrade.from_revision, old);
    assert_eq!(observed.revisions.len(), 1, "the old one is gone");
    let after = plan(&observed, &settings());
    assert_eq!(after.decision, Decision::Steady);
    assert_eq!(reason(&after, ConditionType::UpToDate), Reason::Stable);
}

/// A list of Deployments that lags may show them as they were before an upgrade.
#[rstest]
#[case(false)]
#[case(true)]
fn an_upgrade_stays_complete_when_only_the_old_deployment_is_seen(#[case] is_suspended: bool) {
    let (mut observed, old, new) = handed_over(Phase::Running);
    set_view(&mut observed, 0, |view| {
        view.completed_checkpoint_count = 2;
    });
    let before = observed.revisions.clone();
    step(&mut observed);
    let complete = step(&mut observed);
    assert_eq!(phase(&complete), UpgradePhase::Complete);
    observed.revisions = before;
    observed.revisions.retain(|seen| seen.revision == old);
    edit(&mut observed, |spec| spec.suspend = is_suspended);

    let plan = plan(&observed, &settings());
    assert_eq!(plan.status.upgrade, complete.status.upgrade);
    assert_eq!(plan.status.revision, Some(new));
    let old_name = revision_name("orders", &old);
    assert_eq!(plan.delete, [ChildName::Deployment(old_name)]);
}

#[rstest]
#[case(UpgradeMode::LatestCheckpoint, StartPoint::Latest)]
#[case(UpgradeMode::Savepoint, StartPoint::Latest)]
#[case(UpgradeMode::Stateless, StartPoint::Empty)]
fn the_mode_says_what_the_new_revision_starts_from(
    #[case] mode: UpgradeMode,
    #[case] expected: StartPoint,
) {
    let (observed, ..) = upgrading(mode, Phase::Starting);
    assert_eq!(
        observed.revisions[1].config.as_ref().unwrap().start_from,
        expected
    );
}

/// Whether it came to begin is for the log to say: the revision's Deployment does not tell.
#[test]
fn a_start_point_is_handed_on_to_the_revision_that_corrects_the_one_before() {
    let mut observed = observed(job("misspelt:1"));
    edit(&mut observed, |spec| {
        spec.start_from = "s3://bucket/jobs/shop/other#7".to_owned();
    });
    step(&mut observed);
    let first = observed.revisions[0].config.clone().unwrap();
    assert_eq!(first.start_from_generation, None, "it is the first to ask");
    for (round, image) in [(1, "misspelt:2"), (2, "good:1")] {
        observed.now_ms += 60_000;
        edit(&mut observed, |spec| {
            spec.program.as_mut().unwrap().image = image.to_owned();
        });
        step(&mut observed);
        let newest = observed.revisions.last().unwrap().config.clone().unwrap();
        assert!(newest.start_generation > first.start_generation);
        assert_eq!(newest.start_from, first.start_from, "round {round}");
        assert_eq!(newest.start_from_generation, first.start_generation);
    }
    edit(&mut observed, |spec| spec.log_level = LogLevel::Debug);
    step(&mut observed);
    let newest = observed.revisions.last().unwrap().config.clone().unwrap();
    assert_eq!(newest.log_level, LogLevel::Debug);
    assert_eq!(newest.start_from_generation, first.start_generation);
}

#[test]
fn a_revision_after_one_that_began_without_state_goes_on_from_the_newest_checkpoint() {
    let mut observed = running("good:1");
    let current = observed.revisions[0].config.as_mut().unwrap();
    current.start_from = StartPoint::Empty;
    edit(&mut observed, |spec| {
        spec.program.as_mut().unwrap().image = "good:2".to_owned();
    });
    step(&mut observed);
    let newest = observed.revisions[1].config.as_ref().unwrap();
    assert_eq!(newest.start_from, StartPoint::Latest);
    assert_eq!(newest.start_from_generation, None);
}

#[test]
fn a_changed_start_point_counts_more_than_the_mode() {
    let mut observed = running("good:1");
    edit(&mut observed, |spec| {
        spec.start_from = "s3://bucket/jobs/shop/other#7".to_owned();
    });
    step(&mut observed);
    let expected = StartPoint::Checkpoint {
        folder: "s3://bucket/jobs/shop/other".to_owned(),
        checkpoint_id: Some(7),
    };
    assert_eq!(
        observed.revisions[1].config.as_ref().unwrap().start_from,
        expected
    );
}

#[rstest]
#[case(Phase::Running, 0, StopMode::Savepoint)]
#[case::checkpoints_fail(Phase::Running, 1, StopMode::Immediate)]
#[case(Phase::Restoring, 0, StopMode::Immediate)]
fn in_mode_savepoint_a_running_revision_takes_one(
    #[case] old: Phase,
    #[case] failing_count: u32,
    #[case] expected: StopMode,
) {
    let (mut observed, ..) = upgrading(UpgradeMode::Savepoint, Phase::Holding);
    set_view(&mut observed, 0, |view| {
        view.phase = old;
        view.failing_checkpoint_count = failing_count;
    });
    let stopping = step(&mut observed);
    assert_eq!(stopping.ask[0].command, JobCommand::Stop(expected));
}

#[rstest]
#[case(1, 5, StopMode::Immediate)]
#[case(0, 10_001, StopMode::Immediate)]
#[case(0, 10_000, StopMode::Checkpoint)]
fn an_old_revision_takes_a_last_checkpoint_if_that_is_quick(
    #[case] failing_count: u32,
    #[case] duration_ms: u64,
    #[case] expected: StopMode,
) {
    let (mut observed, ..) = upgrading(UpgradeMode::LatestCheckpoint, Phase::Holding);
    set_view(&mut observed, 0, |view| {
        view.failing_checkpoint_count = failing_count;
        view.last_checkpoint = Some(CheckpointView {
            duration_ms,
            ..checkpoint(CheckpointKind::Checkpoint)
        });
    });
    let stopping = step(&mut observed);
    assert_eq!(stopping.ask[0].command, JobCommand::Stop(expected));
}

#[test]
fn a_savepoint_that_was_taken_is_the_used_mode() {
    let (mut observed, ..) = upgrading(UpgradeMode::Savepoint, Phase::Holding);
    step(&mut observed);
    set_view(&mut observed, 0, |view| {
        view.phase = Phase::Stopped;
        view.last_checkpoint = Some(checkpoint(CheckpointKind::Savepoint));
    });
    let let_go = step(&mut observed);
    let upgrade = let_go.status.upgrade.unwrap();
    assert_eq!(upgrade.used_mode, Some(UpgradeMode::Savepoint));
}

#[test]
fn a_failed_revision_is_replaced_without_a_savepoint_and_is_said_so() {
    let (mut observed, old, _) = upgrading(UpgradeMode::Savepoint, Phase::Holding);
    set_view(&mut observed, 0, |view| view.phase = Phase::Failed);
    let let_go = step(&mut observed);
    assert_eq!(let_go.ask.len(), 1);
    assert_eq!(let_go.ask[0].command, JobCommand::Start);
    let upgrade = let_go.status.upgrade.unwrap();
    assert_eq!(upgrade.used_mode, Some(UpgradeMode::LatestCheckpoint));
    assert!(
        upgrade.message.contains("no savepoint was possible"),
        "{}",
        upgrade.message
    );
    let is_kept = observed
        .revisions
        .iter()
        .any(|revision| revision.revision == old);
    assert!(!is_kept, "it is nothing to come back to");
}

#[test]
fn a_silent_revision_is_waited_for_but_not_for_long() {
    let (mut observed, ..) = upgrading(UpgradeMode::LatestCheckpoint, Phase::Holding);
    observed.pods[0].api = ApiFacts::Silent {
        error: "timed out".to_owned(),
        since_ms: observed.now_ms,
    };
    assert!(step(&mut observed).ask.is_empty());
    observed.now_ms += 10_000;
    assert_eq!(step(&mut observed).ask[0].command, JobCommand::Start);
}

#[test]
fn a_revision_that_does_not_stop_is_fenced_in_the_end() {
    let (mut observed, ..) = upgrading(UpgradeMode::LatestCheckpoint, Phase::Holding);
    step(&mut observed);
    set_view(&mut observed, 0, |view| view.phase = Phase::Stopping);
    assert!(step(&mut observed).ask.is_empty());
    observed.now_ms += 31_000;
    assert_eq!(step(&mut observed).ask[0].command, JobCommand::Start);
}

#[test]
fn an_incompatible_revision_never_stops_the_running_one() {
    let (mut observed, old, new) = upgrading(UpgradeMode::LatestCheckpoint, Phase::Blocked);
    set_view(&mut observed, 1, |view| {
        view.category = Some("StateIncompatible".to_owned());
        view.reason = Some("operator count needs state that is not there".to_owned());
    });
    let blocked = step(&mut observed);
    assert!(blocked.ask.is_empty() && blocked.delete.is_empty() && blocked.apply.is_empty());
    assert_eq!(
        reason(&blocked, ConditionType::UpToDate),
        Reason::UpgradeRefused
    );
    assert!(message(&blocked, ConditionType::UpToDate).contains("operator count"));
    let upgrade = blocked.status.upgrade.as_ref().unwrap();
    assert!(upgrade.message.contains("operator count"), "{upgrade:?}");
    assert_eq!(reason(&blocked, ConditionType::Ready), Reason::Running);

    observed.now_ms += 601_000;
    let refused = step(&mut observed);
    assert_eq!(phase(&refused), UpgradePhase::Refused);
    let of = |observed: &Observed, name: &str| {
        observed
            .revisions
            .iter()
            .find(|r| r.revision == name)
            .unwrap()
            .replicas
    };
    assert_eq!((of(&observed, &old), of(&observed, &new)), (1, 0));
    observed.pods.pop();
    let still = step(&mut observed);
    assert!(still.apply.is_empty(), "it is not tried again");
    assert_eq!(
        reason(&still, ConditionType::UpToDate),
        Reason::UpgradeRefused
    );

    edit(&mut observed, |spec| {
        spec.program.as_mut().unwrap().image = "good:1".to_owned()
    });
    let reverted = step(&mut observed);
    assert_eq!(reverted.status.upgrade, None);
    assert_eq!(reason(&reverted, ConditionType::UpToDate), Reason::Stable);
    assert_eq!(observed.revisions.len(), 1);
}

#[test]
fn a_failing_revision_is_rolled_back_and_not_tried_again() {
    let (mut observed, old, new) = handed_over(Phase::Failed);
    set_view(&mut observed, 0, |view| {
        view.reason = Some("index out of bounds".to_owned())
    });
    let back = step(&mut observed);
    assert_eq!(back.decision, Decision::RollBack);
    assert_eq!(phase(&back), UpgradePhase::RolledBack);
    assert_eq!(back.status.revision.as_ref(), Some(&old));
    assert!(
        back.events
            .iter()
            .any(|e| e.is_warning && e.reason == EventReason::Upgrade)
    );
    let [failed, stable] = &observed.revisions[..] else {
        panic!("{:?}", observed.revisions);
    };
    assert_eq!((&failed.revision, failed.replicas), (&new, 0));
    assert_eq!((&stable.revision, stable.replicas), (&old, 1));
    assert!(stable.start_generation > failed.start_generation);
    assert_eq!(
        stable.config.as_ref().unwrap().start_from,
        StartPoint::Latest
    );

    observed.pods = vec![saying(&old, view(Phase::Running))];
    let still = step(&mut observed);
    assert!(still.apply.is_empty() && still.delete.is_empty());
    assert_eq!(reason(&still, ConditionType::UpToDate), Reason::RolledBack);
    assert!(message(&still, ConditionType::UpToDate).contains("index out of bounds"));
    assert_eq!(reason(&still, ConditionType::Ready), Reason::Running);
}

#[test]
fn a_rollback_that_was_cut_short_is_finished() {
    let (mut observed, old, _) = handed_over(Phase::Failed);
    let status = observed.job.status.clone();
    let back = plan(&observed, &settings());
    carry_out(&mut observed, &back);
    std::sync::Arc::make_mut(&mut observed.job).status = status;
    let generation = observed.revisions[1].start_generation;
    let again = step(&mut observed);
    assert_eq!(phase(&again), UpgradePhase::RolledBack);
    assert_eq!(again.status.revision, Some(old));
    assert_eq!(observed.revisions[1].start_generation, generation);
}

#[test]
fn without_rollback_a_failing_revision_stays() {
    let (mut observed, _, new) = handed_over(Phase::Failed);
    edit(&mut observed, |spec| {
        spec.upgrade.rollback = RollbackPolicy::Never
    });
    observed.now_ms += 3_600_000;
    let stays = step(&mut observed);
    assert_eq!(stays.status.revision, Some(new));
    assert_eq!(phase(&stays), UpgradePhase::Proving);
}

#[test]
fn a_revision_that_completes_no_checkpoints_is_rolled_back_at_its_deadline() {
    let (mut observed, old, _) = handed_over(Phase::Running);
    assert_eq!(step(&mut observed).decision, Decision::Prove);
    observed.now_ms += 603_000;
    let back = step(&mut observed);
    assert_eq!(back.status.revision, Some(old));
    assert!(
        back.status
            .upgrade
            .unwrap()
            .message
            .contains("not stable within 600 s")
    );
}

#[test]
fn an_edit_while_an_upgrade_is_prepared_replaces_the_candidate() {
    let (mut observed, old, abandoned) = upgrading(UpgradeMode::LatestCheckpoint, Phase::Starting);
    edit(&mut observed, |spec| {
        spec.program.as_mut().unwrap().image = "good:3".to_owned()
    });
    let plan = step(&mut observed);
    assert_eq!(
        plan.status.upgrade.unwrap().to_revision,
        revision_of(&observed.job)
    );
    let names: Vec<_> = observed
        .revisions
        .iter()
        .map(|r| r.revision.clone())
        .collect();
    assert!(names.contains(&old) && !names.contains(&abandoned));
}

#[test]
fn a_hand_over_that_the_controller_forgot_is_seen_in_the_processes() {
    let (mut observed, _, new) = upgrading(UpgradeMode::LatestCheckpoint, Phase::Running);
    set_view(&mut observed, 0, |view| view.phase = Phase::Fenced);
    let plan = step(&mut observed);
    assert_eq!(plan.status.revision, Some(new));
    assert_eq!(phase(&plan), UpgradePhase::Proving);
    assert!(plan.ask.is_empty());
    assert!(words(&plan).contains(&"Scale"), "the old one's pod goes");
}

#[test]
fn a_candidate_that_is_lost_after_the_old_one_stopped_is_not_waited_for_for_ever() {
    let (mut observed, ..) = upgrading(UpgradeMode::LatestCheckpoint, Phase::Holding);
    step(&mut observed);
    set_view(&mut observed, 0, |view| view.phase = Phase::Stopped);
    observed.pods.pop();
    let waiting = step(&mut observed);
    assert!(waiting.delete.is_empty());
    observed.now_ms += 31_000;
    let back = step(&mut observed);
    assert_eq!(phase(&back), UpgradePhase::Preparing);
    assert!(!back.delete.is_empty(), "the old one's process is replaced");
}

#[test]
fn a_spec_that_changed_while_suspended_is_deployed_on_resume() {
    let mut observed = running("good:1");
    edit(&mut observed, |spec| spec.suspend = true);
    set_view(&mut observed, 0, |view| view.phase = Phase::Stopped);
    step(&mut observed);
    observed.pods.clear();
    edit(&mut observed, |spec| {
        spec.program.as_mut().unwrap().image = "good:2".to_owned()
    });
    let still = step(&mut observed);
    assert!(still.apply.is_empty());
    assert_eq!(reason(&still, ConditionType::UpToDate), Reason::Suspended);

    edit(&mut observed, |spec| spec.suspend = false);
    step(&mut observed);
    let new = observed.revisions.last().unwrap();
    assert_eq!(new.revision, revision_of(&observed.job));
    assert!(!new.config.as_ref().unwrap().hold);
}

/// The pass that brings the new one up is cut short before its report.
#[test]
fn a_revision_that_came_with_the_resume_can_be_rolled_back_though_its_report_was_lost() {
    let mut observed = running("good:1");
    let old = revision_of(&observed.job);
    edit(&mut observed, |spec| spec.suspend = true);
    set_view(&mut observed, 0, |view| view.phase = Phase::Stopped);
    step(&mut observed);
    observed.pods.clear();
    let reported = step(&mut observed).status;
    edit(&mut observed, |spec| {
        spec.suspend = false;
        spec.program.as_mut().unwrap().image = "good:2".to_owned();
    });
    step(&mut observed);
    std::sync::Arc::make_mut(&mut observed.job).status = Some(reported);

    let new = revision_of(&observed.job);
    let mut failed = view(Phase::Failed);
    failed.reason = Some("index out of bounds".to_owned());
    observed.pods = vec![saying(&new, failed)];
    let back = step(&mut observed);
    assert_eq!(back.decision, Decision::RollBack);
    assert_eq!(back.status.revision.as_ref(), Some(&old));
    let upgrade = back.status.upgrade.as_ref().unwrap();
    assert_eq!((&upgrade.from_revision, &upgrade.to_revision), (&old, &new));
}

#[test]
fn the_trouble_of_a_candidates_pod_is_told_while_the_old_one_runs() {
    let (mut observed, _, new) = upgrading(UpgradeMode::LatestCheckpoint, Phase::Starting);
    let mut broken = pod(&new, ApiFacts::NotRunning);
    broken.trouble = Some(PodTrouble::new(
        Reason::ImagePullFailed,
        "image good:2 is not there",
    ));
    observed.pods[1] = broken;
    let plan = step(&mut observed);
    assert_eq!(
        reason(&plan, ConditionType::UpToDate),
        Reason::UpgradeRefused
    );
    assert!(message(&plan, ConditionType::UpToDate).contains("good:2 is not there"));
    assert_eq!(reason(&plan, ConditionType::Ready), Reason::Running);
}
