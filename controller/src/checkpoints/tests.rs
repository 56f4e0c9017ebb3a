use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;
use tidegate_api::StreamJob;
use tidegate_api::checkpoint::{Checkpoint, CheckpointKind, CheckpointState};
use tidegate_api::labels::FINALIZER_CHECKPOINT;

use super::*;
use crate::job_api::{CheckpointView, JobCommand, JobView, Phase};
use crate::observed::CleanupState;
use crate::plan::{ChildName, EventReason};

mod elsewhere;
mod refusals;
mod world;

const NOW_MS: i64 = 1_790_000_000_000;

fn settings() -> Settings {
    Settings {
        runtime_image: "tidegate:test".to_owned(),
        default_storage: None,
        own_namespace: "tidegate-system".to_owned(),
    }
}

fn job() -> Arc<StreamJob> {
    let job = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "StreamJob",
        "metadata": {"name": "orders", "namespace": "shop", "uid": "job-uid"},
        "spec": {
            "program": {"image": "orders:1"},
            "checkpoint": {"storage": {"url": "s3://bucket/x"}},
            "podTemplate": {"spec": {"serviceAccountName": "reader"}},
        },
    });
    Arc::new(serde_json::from_value(job).unwrap())
}

fn view(id: u64, name: Option<&str>) -> CheckpointView {
    CheckpointView {
        id,
        kind: if name.is_some() {
            CheckpointKind::Savepoint
        } else {
            CheckpointKind::Checkpoint
        },
        name: name.map(str::to_owned),
        completed_ms: NOW_MS - 1000,
        duration_ms: 24,
        size_bytes: 2048,
        parallelism: 2,
    }
}

fn telling(checkpoints: Vec<CheckpointView>) -> TellingJob {
    let view: JobView =
        serde_json::from_value(json!({"phase": "Running", "parallelism": 2, "startedMs": 0}))
            .unwrap();
    TellingJob {
        pod: "orders-pod".to_owned(),
        storage: None,
        view,
        checkpoints,
    }
}

fn observed() -> CheckpointsObserved {
    CheckpointsObserved {
        now_ms: NOW_MS,
        namespace: "shop".to_owned(),
        job_name: "orders".to_owned(),
        job: Some(job()),
        storage: None,
        objects: Vec::new(),
        telling: Some(telling(vec![view(6, None), view(7, None)])),
        has_pods: true,
        release_pods: Vec::new(),
        refused: Vec::new(),
        is_namespace_terminating: false,
    }
}

/// What a person creates.
fn request(name: &str) -> Checkpoint {
    let object = json!({
        "apiVersion": "tidegate.dev/v1alpha1", "kind": "Checkpoint",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}")},
        "spec": {"jobName": "orders"},
    });
    serde_json::from_value(object).unwrap()
}

/// The objects that the mirror makes of what `observed` tells, as the server gives them back.
fn mirrored(observed: &CheckpointsObserved) -> Vec<Checkpoint> {
    let created = plan(observed, &settings()).mirror.into_iter();
    created
        .filter_map(|change| match change {
            Change::Create(object) => Some(*object),
            Change::Record { .. } | Change::Free { .. } | Change::Drop { .. } => None,
        })
        .map(|mut object| {
            object.metadata.uid = Some(format!("uid-{}", identity(&object).0));
            object
        })
        .collect()
}

fn deleted(mut object: Checkpoint, ms_ago: i64) -> Arc<Checkpoint> {
    let at = Timestamp::from_millisecond(NOW_MS - ms_ago).unwrap();
    object.metadata.deletion_timestamp = Some(Time(at));
    Arc::new(object)
}

fn identity(object: &Checkpoint) -> (String, String) {
    super::order::identity(object)
}

fn names(changes: &[Change]) -> Vec<String> {
    let name = |change: &Change| match change {
        Change::Create(object) => format!("create {}", identity(object).0),
        Change::Record { name, status, .. } => format!("{name} is {:?}", status.state),
        Change::Free { name, .. } => format!("free {name}"),
        Change::Drop { name, .. } => format!("drop {name}"),
    };
    changes.iter().map(name).collect()
}

#[test]
fn what_is_retained_is_mirrored_newest_first_within_the_budget() {
    let plan = plan(&observed(), &settings());
    assert_eq!(names(&plan.mirror), ["create orders-7", "create orders-6"]);
    assert_eq!(plan.answers, []);
    let Change::Create(object) = &plan.mirror[0] else {
        panic!("{:?}", plan.mirror[0]);
    };
    let status = object.status.as_ref().unwrap();
    assert_eq!(
        (status.state, status.id),
        (CheckpointState::Completed, Some(7))
    );
    assert_eq!(
        status.location.as_deref(),
        Some("s3://bucket/x/shop/orders#7")
    );
    assert_eq!(status.size.as_deref(), Some("2.0KiB"));
    let access = status.access.as_ref().unwrap();
    let template = json!({"spec": {"serviceAccountName": "reader"}});
    assert_eq!(access.pod_template.as_ref(), Some(&template));
    assert_eq!(
        object.metadata.finalizers,
        Some(vec![FINALIZER_CHECKPOINT.to_owned()])
    );
}

#[test]
fn a_mirror_that_is_complete_writes_nothing() {
    let mut observed = observed();
    observed.objects = mirrored(&observed).into_iter().map(Arc::new).collect();
    assert_eq!(plan(&observed, &settings()), CheckpointsPlan::default());
}

#[test]
fn an_object_whose_checkpoint_was_replaced_is_dropped() {
    let mut observed = observed();
    observed.objects = mirrored(&observed).into_iter().map(Arc::new).collect();
    observed.telling = Some(telling(vec![view(7, None), view(8, None)]));
    let plan = plan(&observed, &settings());
    assert_eq!(names(&plan.mirror), ["drop orders-6", "create orders-8"]);
}

#[test]
fn of_objects_that_lie_only_the_newest_waits_for_its_successor() {
    let mut observed = observed();
    observed.objects = mirrored(&observed).into_iter().map(Arc::new).collect();
    observed.telling = Some(telling(vec![
        view(10, None),
        view(11, None),
        view(12, None),
    ]));
    let plan = plan(&observed, &settings());
    let order = [
        "drop orders-6",
        "create orders-12",
        "drop orders-7",
        "create orders-11",
        "create orders-10",
    ];
    assert_eq!(names(&plan.mirror), order);
}

#[test]
fn without_a_job_that_tells_nothing_is_made_or_dropped() {
    let mut observed = observed();
    observed.objects = mirrored(&observed).into_iter().map(Arc::new).collect();
    observed.telling = None;
    assert_eq!(plan(&observed, &settings()), CheckpointsPlan::default());
    observed.job = None;
    assert_eq!(plan(&observed, &settings()), CheckpointsPlan::default());
}

#[test]
fn a_request_becomes_one_savepoint_of_its_name() {
    let mut observed = observed();
    observed.telling = Some(telling(Vec::new()));
    observed.objects = vec![Arc::new(request("before-upgrade"))];
    let asked = plan(&observed, &settings());
    assert_eq!(names(&asked.answers), ["before-upgrade is InProgress"]);
    let name = "before-upgrade".to_owned();
    assert_eq!(asked.asks[0].1.command, JobCommand::Savepoint { name });

    observed.telling = Some(telling(vec![view(9, Some("before-upgrade"))]));
    let done = plan(&observed, &settings());
    assert_eq!(names(&done.answers), ["before-upgrade is Completed"]);
    assert_eq!(done.told[0].note.reason, EventReason::SavepointTaken);
    assert!(done.asks.is_empty() && done.mirror.is_empty(), "{done:?}");
}

#[test]
fn a_request_waits_for_a_job_that_runs_and_says_why() {
    let mut observed = observed();
    observed.objects = vec![Arc::new(request("now"))];
    observed.telling = None;
    let message = |observed: &CheckpointsObserved| match &plan(observed, &settings()).answers[..] {
        [Change::Record { status, .. }] => {
            assert_eq!(status.state, CheckpointState::Pending);
            status.message.clone().unwrap()
        }
        other => panic!("{other:?}"),
    };
    assert!(message(&observed).contains("does not run"));
    let mut suspended = (*job()).clone();
    suspended.spec.suspend = true;
    observed.job = Some(Arc::new(suspended));
    assert!(message(&observed).contains("is suspended"));
    let mut finished = serde_json::to_value(&*job()).unwrap();
    finished["status"] = json!({"conditions": [{
        "type": "Ready", "status": "False", "reason": "Finished", "message": "over",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
    }]});
    observed.job = Some(Arc::new(serde_json::from_value(finished).unwrap()));
    assert!(message(&observed).contains("has finished"));
    observed.job = None;
    assert!(message(&observed).contains("no StreamJob orders"));
}

#[test]
fn a_savepoint_that_the_job_refuses_fails_once_with_its_reason() {
    let mut observed = observed();
    observed.telling = Some(telling(Vec::new()));
    let mut object = request("now");
    observed.objects = vec![Arc::new(object.clone())];
    observed.refused = vec![RefusedAsk {
        checkpoint: "uid-now".to_owned(),
        message: "the bucket is full".to_owned(),
        is_gone: false,
    }];
    let failed = plan(&observed, &settings());
    let [Change::Record { status, .. }] = &failed.answers[..] else {
        panic!("{failed:?}");
    };
    assert_eq!(status.state, CheckpointState::Failed);
    assert!(
        status
            .message
            .as_ref()
            .unwrap()
            .contains("the bucket is full")
    );
    object.status = Some((**status).clone());
    observed.objects = vec![Arc::new(object)];
    observed.refused.clear();
    assert_eq!(plan(&observed, &settings()), CheckpointsPlan::default());
}

#[test]
fn what_was_refused_to_an_object_is_nothing_to_a_later_one_of_its_name() {
    let mut observed = observed();
    observed.telling = Some(telling(Vec::new()));
    observed.objects = vec![Arc::new(request("now"))];
    observed.refused = vec![RefusedAsk {
        checkpoint: "uid-of-an-older-one".to_owned(),
        message: "checkpoint 4 is not retained".to_owned(),
        is_gone: true,
    }];
    assert_eq!(
        names(&plan(&observed, &settings()).answers),
        ["now is InProgress"]
    );
}

#[test]
fn a_savepoint_and_the_last_word_of_a_job_wait_for_no_budget() {
    let mut observed = observed();
    let mut taken_at_a_stop = view(8, None);
    taken_at_a_stop.kind = CheckpointKind::Savepoint;
    let mut last = telling(vec![view(7, None), taken_at_a_stop]);
    observed.telling = Some(last.clone());
    let running = plan(&observed, &settings());
    assert_eq!(names(&running.answers), ["create orders-8"]);
    assert_eq!(names(&running.mirror), ["create orders-7"]);
    last.view.phase = Phase::Stopped;
    observed.telling = Some(last);
    let stopped = plan(&observed, &settings());
    assert_eq!(
        names(&stopped.answers),
        ["create orders-8", "create orders-7"]
    );
}

#[test]
fn a_running_job_releases_what_is_deleted_and_then_the_object_goes() {
    let mut observed = observed();
    let object = mirrored(&observed).remove(0);
    observed.objects = vec![deleted(object, 0)];
    let asked = plan(&observed, &settings());
    assert_eq!(names(&asked.answers), ["orders-7 is Releasing"]);
    assert_eq!(asked.asks[0].1.command, JobCommand::Release { id: 7 });
    assert!(asked.cleanups.is_empty());
    observed.telling = Some(telling(vec![view(6, None)]));
    assert_eq!(
        names(&plan(&observed, &settings()).answers),
        ["free orders-7"]
    );
}

#[test]
fn without_pods_a_clean_up_pod_releases_it() {
    let mut observed = observed();
    let object = mirrored(&observed).remove(0);
    observed.objects = vec![deleted(object, 0)];
    (observed.telling, observed.has_pods, observed.job) = (None, false, None);
    let ordered = plan(&observed, &settings());
    let [order] = &ordered.cleanups[..] else {
        panic!("{ordered:?}");
    };
    assert_eq!(
        (order.folder.as_str(), order.id),
        ("s3://bucket/x/shop/orders", 7)
    );

    let pod = |state| ReleasePod {
        checkpoint_uid: "uid-orders-7".to_owned(),
        name: "orders-7-release".to_owned(),
        uid: "pod-uid".to_owned(),
        state,
    };
    observed.release_pods = vec![pod(CleanupState::Succeeded)];
    let done = plan(&observed, &settings());
    assert_eq!(names(&done.answers), ["free orders-7"]);
    assert!(matches!(&done.delete[..], [ChildName::Pod { .. }]));

    let message = "bucket: access denied".to_owned();
    observed.release_pods = vec![pod(CleanupState::Failed { message })];
    let retried = plan(&observed, &settings());
    assert_eq!(names(&retried.answers), ["orders-7 is Releasing"]);
    assert!(matches!(&retried.delete[..], [ChildName::Pod { .. }]));
}

#[test]
fn a_job_that_starts_again_gets_a_while_before_a_pod_does_its_work() {
    let mut observed = observed();
    let object = mirrored(&observed).remove(0);
    observed.telling = None;
    observed.objects = vec![deleted(object.clone(), 29_000)];
    assert!(plan(&observed, &settings()).cleanups.is_empty());
    observed.objects = vec![deleted(object, 31_000)];
    assert_eq!(plan(&observed, &settings()).cleanups.len(), 1);
}

#[test]
fn past_its_deadline_or_in_a_dying_namespace_the_object_goes_and_says_what_stays() {
    let mut observed = observed();
    let object = mirrored(&observed).remove(0);
    (observed.telling, observed.has_pods) = (None, false);
    let left = |observed: &CheckpointsObserved| {
        let plan = plan(observed, &settings());
        assert_eq!(names(&plan.answers), ["free orders-7"]);
        assert_eq!(plan.told[0].note.reason, EventReason::FilesLeft);
        plan.told[0].note.message.clone()
    };
    observed.objects = vec![deleted(object.clone(), 120_000)];
    let message = left(&observed);
    assert!(message.contains("s3://bucket/x/shop/orders#7"), "{message}");
    observed.objects = vec![deleted(object, 0)];
    observed.is_namespace_terminating = true;
    assert!(left(&observed).contains("namespace is being deleted"));
}

#[test]
fn with_the_policy_delete_all_objects_go_with_the_job_and_nothing_is_mirrored() {
    let mut observed = observed();
    let objects = mirrored(&observed);
    let mut job = (*job()).clone();
    job.spec.deletion_policy = DeletionPolicy::Delete;
    job.metadata.deletion_timestamp = Some(Time(Timestamp::from_millisecond(NOW_MS).unwrap()));
    observed.job = Some(Arc::new(job));
    observed.objects = vec![Arc::new(objects[0].clone()), deleted(objects[1].clone(), 0)];
    let plan = plan(&observed, &settings());
    assert_eq!(names(&plan.answers), ["drop orders-7", "free orders-6"]);
    assert!(plan.mirror.is_empty() && plan.asks.is_empty() && plan.cleanups.is_empty());
}

#[test]
fn a_persons_object_of_the_usual_name_does_not_hide_a_checkpoint() {
    let mut observed = observed();
    observed.objects = vec![Arc::new(request("orders-7"))];
    let names = names(&plan(&observed, &settings()).mirror);
    assert_eq!(names, ["create orders-7-log", "create orders-6"]);
}
