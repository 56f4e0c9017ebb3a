//! A job that is deleted always goes.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use rstest::rstest;
use serde_json::json;
use tidegate_api::labels::FINALIZER_JOB;
use tidegate_api::spec::DeletionPolicy;
use tidegate_api::status::{ConditionType, Reason};

use super::{carry_out, plan, reason, running, set_view, settings, words};
use crate::job_api::{CheckpointView, JobCommand, Phase, StopMode};
use crate::observed::{ApiFacts, CleanupFacts, CleanupState, Observed};
use crate::plan::{Child, Decision, EventReason};

/// A job that was deleted so long ago.
fn deleted(policy: DeletionPolicy, ago_ms: i64) -> Observed {
    let mut observed = running("good:1");
    let job = Arc::make_mut(&mut observed.job);
    job.spec.deletion_policy = policy;
    job.metadata.finalizers = Some(vec![FINALIZER_JOB.to_owned()]);
    let time = Timestamp::from_millisecond(observed.now_ms - ago_ms).unwrap();
    job.metadata.deletion_timestamp = Some(Time(time));
    observed
}

fn without_pods(ago_ms: i64) -> Observed {
    let mut observed = deleted(DeletionPolicy::Delete, ago_ms);
    observed.revisions.clear();
    observed.pods.clear();
    observed
}

fn purge(observed: &mut Observed, state: CleanupState, age_ms: i64) {
    observed.purge = Some(CleanupFacts {
        name: "orders-purge".to_owned(),
        created_ms: observed.now_ms - age_ms,
        state,
        may_be_slow: false,
    });
}

fn failed() -> CleanupState {
    let message = "denied".to_owned();
    CleanupState::Failed { message }
}

fn stuck() -> CleanupState {
    let message = "no image".to_owned();
    CleanupState::Stuck { message }
}

fn goes_at_once(observed: &Observed) -> bool {
    let plan = plan(observed, &settings());
    assert!(plan.apply.is_empty() && plan.delete.is_empty());
    plan.decision == Decision::LetGo && !plan.finalizer && plan.ask.is_empty()
}

#[test]
fn a_job_whose_files_stay_takes_a_last_checkpoint_and_is_mirrored_before_it_goes() {
    let mut observed = deleted(DeletionPolicy::Retain, 0);
    let asked = plan(&observed, &settings());
    assert_eq!(asked.ask[0].command, JobCommand::Stop(StopMode::Checkpoint));
    assert!(asked.finalizer && asked.apply.is_empty() && asked.delete.is_empty());

    set_view(&mut observed, 0, |view| view.phase = Phase::Stopping);
    assert!(
        plan(&observed, &settings()).ask.is_empty(),
        "it is asked once"
    );

    set_view(&mut observed, 0, |view| view.phase = Phase::Stopped);
    let last: CheckpointView = serde_json::from_value(json!({
        "id": 42, "kind": "Checkpoint", "completedMs": 0, "durationMs": 1, "sizeBytes": 1,
        "parallelism": 2,
    }))
    .unwrap();
    let ApiFacts::Answers { checkpoints, .. } = &mut observed.pods[0].api else {
        panic!("{:?}", observed.pods[0].api);
    };
    *checkpoints = vec![last];
    assert!(plan(&observed, &settings()).finalizer, "42 is not mirrored");

    let mirrored = json!({
        "metadata": {"name": "orders-42"}, "spec": {"jobName": "orders"},
        "status": {"state": "Completed", "id": 42},
    });
    observed.checkpoints = vec![Arc::new(serde_json::from_value(mirrored).unwrap())];
    assert!(goes_at_once(&observed));
}

#[test]
fn a_job_whose_files_stay_is_not_waited_for_in_vain() {
    assert!(!goes_at_once(&deleted(DeletionPolicy::Retain, 15_000)));
    assert!(goes_at_once(&deleted(DeletionPolicy::Retain, 15_001)));

    let mut failing = deleted(DeletionPolicy::Retain, 0);
    set_view(&mut failing, 0, |view| view.phase = Phase::BackingOff);
    assert!(goes_at_once(&failing));

    let mut silent = deleted(DeletionPolicy::Retain, 15_000);
    silent.pods[0].api = ApiFacts::Silent {
        error: "timed out".to_owned(),
        since_ms: silent.now_ms,
    };
    assert!(!goes_at_once(&silent), "it may answer the next time");

    let mut in_going_namespace = deleted(DeletionPolicy::Retain, 0);
    in_going_namespace.is_namespace_terminating = true;
    assert!(goes_at_once(&in_going_namespace));

    let mut without_pods = deleted(DeletionPolicy::Retain, 0);
    without_pods.pods.clear();
    assert!(goes_at_once(&without_pods));
}

#[test]
fn pods_that_shall_stay_are_left_alone() {
    let mut observed = deleted(DeletionPolicy::Retain, 0);
    let job = Arc::make_mut(&mut observed.job);
    let finalizers = job.metadata.finalizers.get_or_insert_default();
    finalizers.push("orphan".to_owned());
    assert!(goes_at_once(&observed));
}

#[test]
fn pods_go_before_files() {
    let mut observed = deleted(DeletionPolicy::Delete, 1000);
    let stopping = plan(&observed, &settings());
    assert_eq!(stopping.decision, Decision::StopForDeletion);
    let [Child::Scale { replicas: 0, .. }] = &stopping.apply[..] else {
        panic!("{:?}", words(&stopping));
    };
    assert!(stopping.finalizer && stopping.delete.is_empty());
    assert_eq!(reason(&stopping, ConditionType::Ready), Reason::Deleting);

    carry_out(&mut observed, &stopping);
    let waiting = plan(&observed, &settings());
    assert_eq!(waiting.decision, Decision::StopForDeletion);
    assert!(waiting.apply.is_empty(), "the pod still ends");

    observed.pods.clear();
    assert_eq!(plan(&observed, &settings()).decision, Decision::Purge);
    assert_eq!(purged(&observed)[2], "s3://bucket/jobs/shop/orders");
}

/// What the pod is told that removes the files.
fn purged(observed: &Observed) -> Vec<String> {
    let plan = plan(observed, &settings());
    let [Child::CleanupPod(pod)] = &plan.apply[..] else {
        panic!("{:?}", words(&plan));
    };
    let containers = &pod.spec.as_ref().unwrap().containers;
    containers[0].args.clone().unwrap()
}

#[test]
fn the_files_of_the_revision_that_ran_go_whatever_the_spec_asks_for_since() {
    let mut observed = deleted(DeletionPolicy::Delete, 1000);
    let asked_for = json!({"url": "s3://elsewhere", "secretRef": {"name": "elsewhere"}});
    let job = Arc::make_mut(&mut observed.job);
    job.spec.checkpoint.storage = Some(serde_json::from_value(asked_for).unwrap());
    let stopping = plan(&observed, &settings());
    carry_out(&mut observed, &stopping);
    observed.pods.clear();
    let expected = [
        "checkpoints",
        "purge",
        "s3://bucket/jobs/shop/orders",
        "--endpoint",
        "https://minio.example:9000",
        "--region",
        "us-east-1",
    ];
    assert_eq!(purged(&observed), expected);
    let Child::CleanupPod(pod) = &plan(&observed, &settings()).apply[0] else {
        panic!("it is no pod");
    };
    let volumes = pod.spec.as_ref().unwrap().volumes.iter().flatten();
    let mut secrets = volumes.filter_map(|volume| volume.secret.as_ref()?.secret_name.clone());
    assert_eq!(secrets.next().as_deref(), Some("storage"));
}

#[test]
fn files_that_stay_are_told_with_the_whole_command_that_removes_them() {
    let mut observed = without_pods(2000);
    purge(&mut observed, failed(), 1000);
    let plan = plan(&observed, &settings());
    let mut events = plan.events.iter();
    let told = events.find(|event| event.reason == EventReason::FilesLeft);
    let expected = "files were left at s3://bucket/jobs/shop/orders: denied; remove them with \
                    `tidegate checkpoints purge s3://bucket/jobs/shop/orders --endpoint \
                    https://minio.example:9000 --region us-east-1`";
    assert_eq!(told.unwrap().message, expected);
}

#[test]
fn a_pod_that_does_not_end_holds_up_the_files_for_a_minute_only() {
    let mut observed = deleted(DeletionPolicy::Delete, 61_000);
    observed.revisions.clear();
    assert_eq!(words(&plan(&observed, &settings())), ["CleanupPod"]);
}

#[rstest]
#[case(CleanupState::Working, 5000, None)]
#[case(CleanupState::Succeeded, 5000, Some(EventReason::FilesRemoved))]
#[case(failed(), 1, Some(EventReason::FilesLeft))]
#[case(stuck(), 5000, None)]
#[case(stuck(), 31_000, Some(EventReason::FilesLeft))]
fn the_clean_up_decides_when_the_job_goes(
    #[case] state: CleanupState,
    #[case] age_ms: i64,
    #[case] expected: Option<EventReason>,
) {
    let mut observed = without_pods(age_ms + 1000);
    purge(&mut observed, state, age_ms);
    let plan = plan(&observed, &settings());
    assert_eq!(plan.finalizer, expected.is_none());
    let told = plan.events.iter().map(|event| event.reason);
    let of_files: Vec<_> = told
        .filter(|r| !matches!(r, EventReason::Condition(_)))
        .collect();
    assert_eq!(of_files, expected.into_iter().collect::<Vec<_>>());
    for event in plan
        .events
        .iter()
        .filter(|event| event.reason == EventReason::FilesLeft)
    {
        assert!(event.is_warning);
        assert!(
            event.message.contains("s3://bucket/jobs/shop/orders"),
            "{}",
            event.message
        );
    }
}

/// The first pull of its image may take longer than a Secret that is missing is waited for.
#[test]
fn a_clean_up_that_may_only_be_slow_has_until_the_deadline() {
    let mut observed = without_pods(100_000);
    purge(&mut observed, stuck(), 90_000);
    observed.purge.as_mut().unwrap().may_be_slow = true;
    let waiting = plan(&observed, &settings());
    assert!(waiting.finalizer, "{:?}", waiting.events);
    let ready = waiting.status.condition(ConditionType::Ready).unwrap();
    assert!(ready.message.contains("no image"), "{ready:?}");

    let mut late = without_pods(121_000);
    purge(&mut late, stuck(), 111_000);
    late.purge.as_mut().unwrap().may_be_slow = true;
    let gone = plan(&late, &settings());
    assert!(!gone.finalizer);
    assert_eq!(gone.events[0].reason, EventReason::FilesLeft);
    assert!(gone.events[0].message.contains("no image"));
}

#[test]
fn past_its_deadline_a_job_goes_whatever_is_left() {
    let mut late = without_pods(121_000);
    purge(&mut late, CleanupState::Working, 100_000);
    let mut dying = without_pods(1000);
    dying.is_namespace_terminating = true;
    for observed in [late, dying] {
        let plan = plan(&observed, &settings());
        assert_eq!(plan.decision, Decision::LetGo);
        assert!(!plan.finalizer);
        assert!(
            plan.events
                .iter()
                .any(|event| event.reason == EventReason::FilesLeft)
        );
    }
}

#[test]
fn a_deleted_job_without_a_storage_goes() {
    let mut observed = without_pods(1000);
    Arc::make_mut(&mut observed.job).spec.checkpoint.storage = None;
    let mut settings = settings();
    settings.default_storage = None;
    assert!(!plan(&observed, &settings).finalizer);
}

#[test]
fn a_policy_that_changes_while_the_job_is_deleted_counts() {
    let mut observed = without_pods(1000);
    purge(&mut observed, CleanupState::Working, 500);
    Arc::make_mut(&mut observed.job).spec.deletion_policy = DeletionPolicy::Retain;
    assert!(!plan(&observed, &settings()).finalizer);
}
