//! What conditions say.

use rstest::rstest;
use tidegate_api::status::{ConditionStatus, ConditionType, Reason};

use super::{carry_out, edit, message, plan, reason, running, set_view, settings};
use crate::job_api::{FailedCheckpointView, FailureView, Phase};
use crate::observed::{ApiFacts, PodTrouble};

fn failure(message: &str) -> FailureView {
    FailureView {
        time_ms: 0,
        operator: Some("count".to_owned()),
        message: message.to_owned(),
    }
}

#[rstest]
#[case(Phase::Starting, None, Reason::Starting)]
#[case(Phase::Restoring, None, Reason::Starting)]
#[case(Phase::BackingOff, None, Reason::Restarting)]
#[case(Phase::Blocked, Some("BucketMissing"), Reason::BucketMissing)]
#[case(Phase::Blocked, Some("CredentialsWrong"), Reason::StorageDenied)]
#[case(Phase::Blocked, Some("StoreTimeout"), Reason::StorageUnavailable)]
#[case(Phase::Blocked, Some("StateIncompatible"), Reason::StateIncompatible)]
#[case(Phase::Failed, Some("RestartsExhausted"), Reason::RestartsExhausted)]
#[case(Phase::Failed, Some("SomethingNew"), Reason::ProgramFailed)]
#[case(Phase::Finished, None, Reason::Finished)]
fn a_process_that_does_not_run_makes_the_job_not_ready(
    #[case] phase: Phase,
    #[case] category: Option<&str>,
    #[case] expected: Reason,
) {
    let mut observed = running("good:1");
    set_view(&mut observed, 0, |view| {
        view.phase = phase;
        view.category = category.map(str::to_owned);
        view.reason = Some("what happened".to_owned());
    });
    let plan = plan(&observed, &settings());
    let ready = plan.status.condition(ConditionType::Ready).unwrap();
    assert_eq!(ready.reason, expected);
    assert_eq!(ready.status, ConditionStatus::False);
}

#[test]
fn a_restart_tells_the_operator_and_its_failure() {
    let mut observed = running("good:1");
    set_view(&mut observed, 0, |view| {
        view.phase = Phase::BackingOff;
        view.last_failure = Some(failure("index out of bounds"));
    });
    let plan = plan(&observed, &settings());
    let message = message(&plan, ConditionType::Ready);
    assert!(
        message.contains("operator count: index out of bounds"),
        "{message}"
    );
}

#[test]
fn the_trouble_of_a_pod_is_the_reason() {
    let mut observed = running("good:1");
    observed.pods[0].api = ApiFacts::NotRunning;
    observed.pods[0].trouble = Some(PodTrouble::new(Reason::OutOfMemory, "killed at 256Mi"));
    let plan = plan(&observed, &settings());
    assert_eq!(reason(&plan, ConditionType::Ready), Reason::OutOfMemory);
    assert!(plan.events.iter().any(|event| event.is_warning));
}

#[test]
fn one_late_answer_makes_no_job_unready_but_silence_does() {
    let mut observed = running("good:1");
    observed.pods[0].api = ApiFacts::Silent {
        error: "timed out".to_owned(),
        since_ms: observed.now_ms,
    };
    assert_eq!(
        reason(&plan(&observed, &settings()), ConditionType::Ready),
        Reason::Running
    );
    observed.now_ms += 10_001;
    let silent = plan(&observed, &settings());
    let ready = silent.status.condition(ConditionType::Ready).unwrap();
    assert_eq!(
        (ready.status, ready.reason),
        (ConditionStatus::Unknown, Reason::Unreachable)
    );
}

#[test]
fn an_old_checkpoint_makes_a_running_job_unready() {
    let mut observed = running("good:1");
    observed.now_ms += 61_000;
    assert_eq!(
        reason(&plan(&observed, &settings()), ConditionType::Ready),
        Reason::Running
    );
    observed.now_ms += 1;
    let late = plan(&observed, &settings());
    assert_eq!(
        reason(&late, ConditionType::Ready),
        Reason::CheckpointOverdue
    );
    assert_eq!(
        reason(&late, ConditionType::Checkpointing),
        Reason::CheckpointOverdue
    );
}

#[rstest]
#[case(1, Reason::Running, Reason::NoCheckpointYet)]
#[case(2, Reason::Running, Reason::CheckpointFailing)]
#[case(3, Reason::CheckpointFailing, Reason::CheckpointFailing)]
fn checkpoints_that_fail_in_a_row_are_told(
    #[case] count: u32,
    #[case] ready: Reason,
    #[case] checkpointing: Reason,
) {
    let mut observed = running("good:1");
    set_view(&mut observed, 0, |view| {
        view.failing_checkpoint_count = count
    });
    let plan = plan(&observed, &settings());
    assert_eq!(reason(&plan, ConditionType::Ready), ready);
    assert_eq!(reason(&plan, ConditionType::Checkpointing), checkpointing);
}

#[test]
fn why_checkpoints_fail_is_told_and_told_again_only_when_it_differs() {
    let mut observed = running("good:1");
    let mut told = |count: u32, why: &str| {
        let reason = why.to_owned();
        set_view(&mut observed, 0, |view| {
            view.failing_checkpoint_count = count;
            view.last_failed_checkpoint = Some(FailedCheckpointView { reason });
        });
        let plan = plan(&observed, &settings());
        carry_out(&mut observed, &plan);
        let ready = message(&plan, ConditionType::Ready).to_owned();
        (
            ready,
            message(&plan, ConditionType::Checkpointing).to_owned(),
        )
    };
    let first = told(3, "cannot write `s3://b/7.json`: the bucket does not exist");
    let expected = "at least 3 checkpoints in a row have failed; the last one: cannot write \
                    `s3://b/7.json`: the bucket does not exist";
    assert_eq!(
        first,
        (format!("the job runs, but {expected}"), expected.to_owned())
    );
    assert_eq!(
        told(4, "cannot write `s3://b/8.json`: the bucket does not exist"),
        first
    );
    let (ready, _) = told(
        10,
        "cannot write `s3://b/8.json`: the bucket does not exist",
    );
    assert!(ready.contains("at least 10"), "{ready}");
    let (ready, _) = told(11, "cannot write `s3://b/9.json`: access denied");
    assert!(ready.ends_with("access denied"), "{ready}");
}

#[test]
fn a_job_without_periodic_checkpoints_says_so() {
    let mut observed = running("good:1");
    edit(&mut observed, |spec| spec.checkpoint.interval_seconds = 0);
    let changed = plan(&observed, &settings());
    carry_out(&mut observed, &changed);
    observed.now_ms += 3_600_000;
    let plan = plan(&observed, &settings());
    assert_eq!(reason(&plan, ConditionType::Ready), Reason::Running);
    assert_eq!(
        reason(&plan, ConditionType::Checkpointing),
        Reason::CheckpointsPeriodicOff
    );
}

#[test]
fn the_time_of_a_condition_is_that_of_its_last_flip() {
    let mut observed = running("good:1");
    let since = |plan: &crate::plan::Plan| {
        plan.status
            .condition(ConditionType::Ready)
            .unwrap()
            .last_transition_time
            .clone()
    };
    let first = since(&plan(&observed, &settings()));
    observed.now_ms += 5000;
    assert_eq!(since(&plan(&observed, &settings())), first);
    set_view(&mut observed, 0, |view| view.phase = Phase::BackingOff);
    let down = plan(&observed, &settings());
    assert_ne!(since(&down), first);
    carry_out(&mut observed, &down);
    observed.now_ms += 5000;
    set_view(&mut observed, 0, |view| view.phase = Phase::Restoring);
    assert_eq!(
        since(&plan(&observed, &settings())),
        since(&down),
        "it is still not ready"
    );
}

#[test]
fn restarts_are_new_attempts_of_one_revision() {
    let mut observed = running("good:1");
    assert_eq!(observed.job.status.as_ref().unwrap().restarts, Some(0));
    for attempt in [9, 17, 17] {
        set_view(&mut observed, 0, |view| view.attempt = Some(attempt));
        let seen = plan(&observed, &settings());
        carry_out(&mut observed, &seen);
    }
    let status = observed.job.status.as_ref().unwrap();
    assert_eq!((status.restarts, status.attempt), (Some(2), Some(17)));
}

#[test]
fn a_status_stays_small_whatever_is_said() {
    let mut observed = running("good:1");
    let long = "\u{1F30A}\"tide\n".repeat(2000);
    set_view(&mut observed, 0, |view| {
        view.phase = Phase::Failed;
        view.failing_checkpoint_count = 7;
        view.last_failure = Some(failure(&long));
        view.reason = Some(long.clone());
    });
    edit(&mut observed, |spec| spec.parallelism = 0);
    let plan = plan(&observed, &settings());
    let size = serde_json::to_string(&plan.status).unwrap().len();
    assert!(size < 4096, "{size} bytes");
    for condition in &plan.status.conditions {
        assert!(condition.message.chars().count() <= 1024);
    }
}
