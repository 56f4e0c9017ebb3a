use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use rstest::rstest;
use serde_json::{Value, json};
use tidegate_api::status::Reason;

use super::trouble;
use crate::build::CleanupPod;
use crate::cluster::Tracked;
use crate::observed::PodTrouble;

/// 2026-11-24T12:00:00Z.
const NOON_MS: i64 = 1_795_521_600_000;

fn pod(status: Value) -> Pod {
    let limits = json!({"memory": "256Mi"});
    serde_json::from_value(json!({
        "metadata": {"name": "orders-1"},
        "spec": {"containers": [{"name": "job", "resources": {"limits": limits}}]},
        "status": status,
    }))
    .unwrap()
}

fn job_container(state: Value, last: Value) -> Pod {
    pod(json!({"containerStatuses": [{
        "name": "job", "image": "example/orders:2", "imageID": "", "ready": false,
        "restartCount": 3, "state": state, "lastState": last,
    }]}))
}

fn found(pod: &Pod) -> (Reason, String) {
    let found = trouble(pod, NOON_MS).expect("trouble is found");
    (found.reason, found.message)
}

#[test]
fn a_pod_that_runs_has_no_trouble() {
    let running = json!({"running": {"startedAt": "2026-11-24T11:00:00Z"}});
    let killed = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    let mut pod = job_container(running, killed);
    let status = pod.status.as_mut().unwrap();
    status.container_statuses.as_mut().unwrap()[0].ready = true;
    assert_eq!(trouble(&pod, NOON_MS), None);
    assert_eq!(trouble(&Pod::default(), NOON_MS), None);
}

#[test]
fn a_pod_without_a_node_repeats_what_the_scheduler_says() {
    let (reason, message) = found(&pod(json!({"conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/2 nodes are available: 2 Insufficient memory.",
    }]})));
    assert_eq!(reason, Reason::Unschedulable);
    assert!(message.contains("2 Insufficient memory"), "{message}");
}

#[rstest]
#[case("ErrImagePull", Reason::ImagePullFailed)]
#[case("ImagePullBackOff", Reason::ImagePullFailed)]
#[case("InvalidImageName", Reason::ImagePullFailed)]
#[case("CreateContainerConfigError", Reason::PodNotStarting)]
fn a_container_that_waits_tells_for_what(#[case] word: &str, #[case] expected: Reason) {
    let state = json!({"waiting": {"reason": word, "message": "what kubelet says"}});
    let (reason, message) = found(&job_container(state, json!({})));
    assert_eq!(reason, expected);
    assert!(message.contains("what kubelet says"), "{message}");
}

#[test]
fn a_container_without_memory_tells_its_limit_and_the_time() {
    let state = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let last = json!({"terminated": {
        "exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-11-24T11:59:00Z",
    }});
    let pod = job_container(state, last);
    let (reason, message) = found(&pod);
    assert_eq!(reason, Reason::OutOfMemory);
    let ended_ms = trouble(&pod, NOON_MS).unwrap().ended_ms;
    assert_eq!(ended_ms, Some(NOON_MS - 60_000));
    for part in [
        "256Mi",
        "2026-11-24T11:59:00Z",
        "3 times",
        "resources.limits.memory",
    ] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
}

#[test]
fn a_container_that_crashes_repeats_its_last_lines_only() {
    let long = "x".repeat(700);
    let words = format!("{long}\nError: no such topic\nstopped\n");
    let last = json!({"terminated": {"exitCode": 3, "message": words}});
    let state = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let (reason, message) = found(&job_container(state, last));
    assert_eq!(reason, Reason::CrashLoop);
    assert!(message.contains("exit code 3"), "{message}");
    assert!(
        message.ends_with("Error: no such topic | stopped"),
        "{message}"
    );
    assert!(!message.contains("xxx"), "{message}");
}

#[test]
fn a_job_that_ended_well_is_no_trouble() {
    let state = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
    assert_eq!(trouble(&job_container(state, json!({})), NOON_MS), None);
}

#[rstest]
#[case("2026-11-24T11:59:55Z", false)]
#[case("2026-11-24T11:59:50Z", true)]
fn a_container_that_is_not_created_is_trouble_after_a_while(
    #[case] scheduled: &str,
    #[case] expected: bool,
) {
    let waiting = json!({"waiting": {"reason": "ContainerCreating"}});
    let mut pod = job_container(waiting, json!({}));
    pod.status.as_mut().unwrap().conditions = serde_json::from_value(json!([{
        "type": "PodScheduled", "status": "True", "lastTransitionTime": scheduled,
    }]))
    .unwrap();
    pod.spec.as_mut().unwrap().volumes = serde_json::from_value(json!([
        {"name": "a", "secret": {"secretName": "storage"}}, {"name": "b", "emptyDir": {}},
    ]))
    .unwrap();
    let found = trouble(&pod, NOON_MS);
    if let Some(PodTrouble { message, .. }) = &found {
        assert!(message.contains("missing (Secret storage)"), "{message}");
        assert!(message.contains("image is still pulled"), "{message}");
    }
    let reason = found.map(|trouble| trouble.reason);
    assert_eq!(reason, expected.then_some(Reason::PodNotStarting));
}

#[test]
fn a_job_s_pod_whose_volumes_are_there_waits_for_its_image_alone() {
    let waiting = json!({"waiting": {"reason": "ContainerCreating"}});
    let mut pod = job_container(waiting, json!({}));
    let conditions = json!([
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-24T11:59:50Z"},
        {"type": "PodReadyToStartContainers", "status": "True"},
    ]);
    pod.status.as_mut().unwrap().conditions = serde_json::from_value(conditions).unwrap();
    let (_, message) = found(&pod);
    assert!(message.ends_with("its image is still pulled"), "{message}");
}

/// What removes a job's files, as kubelet tells of it ten seconds after it was given a node.
fn cleanup_pod(ready_to_start: &str) -> Pod {
    let access = serde_json::from_value(json!({"storage": {
        "url": "s3://bucket/jobs", "secretRef": {"name": "credentials"},
    }}));
    let mut pod = crate::build::cleanup_pod(&CleanupPod {
        namespace: "shop",
        name: "orders-purge",
        labels: vec![("tidegate.dev/job", "orders")],
        image: "example/tidegate:1",
        args: vec!["checkpoints".to_owned(), "purge".to_owned()],
        access: &access.unwrap(),
        owner: OwnerReference::default(),
    });
    let container = pod.spec.as_ref().unwrap().containers[0].name.clone();
    let status = json!({
        "phase": "Pending",
        "conditions": [
            {"type": "PodScheduled", "status": "True",
             "lastTransitionTime": "2026-11-24T11:59:50Z"},
            {"type": "PodReadyToStartContainers", "status": ready_to_start},
        ],
        "containerStatuses": [{
            "name": container, "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": "ContainerCreating"}},
        }],
    });
    pod.status = serde_json::from_value(status).unwrap();
    pod.trim();
    pod
}

#[test]
fn a_pod_that_removes_files_names_the_secret_that_it_waits_for() {
    let waiting = cleanup_pod("False");
    let (reason, message) = found(&waiting);
    assert_eq!(reason, Reason::PodNotStarting);
    assert!(message.contains("Secret credentials"), "{message}");
    assert!(message.contains("image is still pulled"), "{message}");
    let is_slow = trouble(&waiting, NOON_MS).is_some_and(|trouble| trouble.may_be_slow);
    assert!(is_slow, "its image may be large");
    assert_eq!(
        trouble(&cleanup_pod("True"), NOON_MS),
        None,
        "it only waits for its image"
    );
}

#[test]
fn a_pod_that_its_node_ended_tells_why() {
    let (reason, message) = found(&pod(json!({
        "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory.",
    })));
    assert_eq!(reason, Reason::PodNotStarting);
    assert!(message.contains("low on resource"), "{message}");
}
