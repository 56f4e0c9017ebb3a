//! Facts from the objects of the cluster.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;
use tidegate_api::labels::{
    ANNOTATION_APPLIED, ANNOTATION_JOB_CONFIG, ANNOTATION_START_FROM, ANNOTATION_START_GENERATION,
    CHECKPOINT_KIND, LABEL_REVISION,
};
use tidegate_api::pod::{JOB_CONTAINER, revision_name};
use tidegate_api::spec::DEFAULT_START_FROM;

use super::trouble::trouble;
use crate::observed::{ApiFacts, CleanupFacts, CleanupState, PodFacts, RevisionFacts};

/// A revision's Deployment; none if it is not one of ours. One that belongs to a job of this name
/// that was deleted goes with it.
pub(super) fn revision(
    deployment: Arc<Deployment>,
    job_uid: Option<&str>,
) -> Option<RevisionFacts> {
    let revision = deployment.labels().get(LABEL_REVISION)?.clone();
    let annotation = |name: &str| deployment.annotations().get(name).cloned();
    let generation = annotation(ANNOTATION_START_GENERATION).and_then(|text| text.parse().ok());
    let config = annotation(ANNOTATION_JOB_CONFIG);
    let spec = deployment.spec.as_ref();
    Some(RevisionFacts {
        revision,
        start_generation: generation.unwrap_or_default(),
        start_from: annotation(ANNOTATION_START_FROM)
            .unwrap_or_else(|| DEFAULT_START_FROM.to_owned()),
        config: config
            .and_then(|text| serde_json::from_str(&text).ok())
            .map(Box::new),
        // The API server's default.
        replicas: spec.and_then(|spec| spec.replicas).unwrap_or(1),
        applied: annotation(ANNOTATION_APPLIED),
        is_deleting: deployment.metadata.deletion_timestamp.is_some()
            || is_anothers(&deployment.metadata, job_uid),
        refused: refused(&deployment),
        writers: None,
        deployment,
    })
}

/// The revision whose settings a ConfigMap has; none if it is not one of ours, or goes already.
pub(super) fn config_map(map: &ObjectMeta, job: &str, job_uid: Option<&str>) -> Option<String> {
    let revision = map.labels.as_ref()?.get(LABEL_REVISION)?;
    let is_named = map.name.as_deref() == Some(&*revision_name(job, revision));
    let goes = map.deletion_timestamp.is_some() || is_anothers(map, job_uid);
    (is_named && !goes).then(|| revision.clone())
}

fn is_anothers(object: &ObjectMeta, job_uid: Option<&str>) -> bool {
    let mut owners = object.owner_references.iter().flatten();
    let owner = owners.find(|owner| owner.controller == Some(true));
    owner.is_some_and(|owner| Some(&*owner.uid) != job_uid)
}

/// Why the ReplicaSet could not create pods, as the Deployment repeats it.
fn refused(deployment: &Deployment) -> Option<String> {
    let conditions = deployment.status.as_ref()?.conditions.iter().flatten();
    let mut failures = conditions.filter(|c| c.type_ == "ReplicaFailure" && c.status == "True");
    failures.next()?.message.clone()
}

/// One pod of the job.
pub(super) fn pod(pod: &Pod, api: ApiFacts, now_ms: i64) -> PodFacts {
    let phase = phase(pod);
    PodFacts {
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        revision: pod
            .labels()
            .get(LABEL_REVISION)
            .cloned()
            .unwrap_or_default(),
        ip: pod.status.as_ref().and_then(|status| status.pod_ip.clone()),
        created_ms: created_ms(pod),
        is_deleting: pod.metadata.deletion_timestamp.is_some(),
        is_over: phase == "Succeeded" || phase == "Failed",
        restart_count: job_container(pod).map_or(0, |container| container.restart_count),
        trouble: trouble(pod, now_ms),
        api,
    }
}

/// Whether its job container runs.
pub(super) fn runs(pod: &Pod) -> bool {
    let state = job_container(pod).and_then(|container| container.state.as_ref());
    state.is_some_and(|state| state.running.is_some())
}

fn job_container(pod: &Pod) -> Option<&ContainerStatus> {
    let mut containers = pod.status.as_ref()?.container_statuses.iter().flatten();
    containers.find(|container| container.name == JOB_CONTAINER)
}

/// Whether the pod removes the files of a whole job.
pub(super) fn is_purge(pod: &Pod) -> bool {
    !pod.labels().contains_key(LABEL_REVISION) && checkpoint_uid(pod).is_none()
}

/// The unique id of the Checkpoint object that a pod removes files for.
pub(super) fn checkpoint_uid(pod: &Pod) -> Option<String> {
    let owners = pod.owner_references();
    let owner = owners.iter().find(|owner| owner.kind == CHECKPOINT_KIND)?;
    Some(owner.uid.clone())
}

/// A pod that removes files.
pub(super) fn cleanup(pod: &Pod, now_ms: i64) -> CleanupFacts {
    CleanupFacts {
        name: pod.name_any(),
        created_ms: created_ms(pod),
        state: cleanup_state(pod, now_ms),
        may_be_slow: trouble(pod, now_ms).is_some_and(|trouble| trouble.may_be_slow),
    }
}

pub(super) fn cleanup_state(pod: &Pod, now_ms: i64) -> CleanupState {
    match phase(pod) {
        "Succeeded" => CleanupState::Succeeded,
        "Failed" => CleanupState::Failed {
            message: last_words(pod),
        },
        _ => match trouble(pod, now_ms) {
            Some(trouble) => CleanupState::Stuck {
                message: trouble.message,
            },
            None => CleanupState::Working,
        },
    }
}

fn last_words(pod: &Pod) -> String {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let ended = containers.into_iter().flatten().filter_map(|container| {
        let ended = container.state.as_ref()?.terminated.as_ref()?;
        let words = ended
            .message
            .as_deref()
            .unwrap_or_default()
            .trim()
            .to_owned();
        let code = ended.exit_code;
        Some(if words.is_empty() {
            format!("it ended with exit code {code}")
        } else {
            words
        })
    });
    let words: Vec<String> = ended.collect();
    let reason = status.and_then(|status| status.message.clone());
    if words.is_empty() {
        reason.unwrap_or_else(|| "it left no message".to_owned())
    } else {
        words.join("; ")
    }
}

fn phase(pod: &Pod) -> &str {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase.unwrap_or_default()
}

fn created_ms(pod: &Pod) -> i64 {
    let created: Option<&Time> = pod.metadata.creation_timestamp.as_ref();
    created.map_or(0, |time| time.0.as_millisecond())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parse<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_deployment_tells_its_revision_and_why_it_has_no_pods() {
        let deployment: Deployment = parse(json!({
            "metadata": {
                "name": "orders-0a1b2c3d",
                "labels": {"tidegate.dev/revision": "0a1b2c3d"},
                "annotations": {
                    "tidegate.dev/start-generation": "1795521600000",
                    "tidegate.dev/start-from": "Empty",
                    "tidegate.dev/applied": "abc",
                },
            },
            "spec": {"replicas": 0, "selector": {}, "template": {}},
            "status": {"conditions": [{
                "type": "ReplicaFailure", "status": "True", "message": "exceeded quota",
            }]},
        }));
        let facts = revision(Arc::new(deployment), None).unwrap();
        assert_eq!(facts.start_generation, 1_795_521_600_000);
        assert_eq!((facts.replicas, facts.start_from.as_str()), (0, "Empty"));
        assert_eq!(facts.applied.as_deref(), Some("abc"));
        assert_eq!(facts.refused.as_deref(), Some("exceeded quota"));
        assert_eq!(revision(Arc::default(), None), None, "it is not ours");
    }

    fn owned_by(uid: &str) -> Value {
        json!({
            "apiVersion": "tidegate.dev/v1alpha1", "kind": "StreamJob", "name": "orders",
            "uid": uid, "controller": true,
        })
    }

    /// Its controller's garbage collector comes a moment after a job that was made again.
    #[test]
    fn a_deployment_of_a_job_that_was_deleted_goes() {
        let owned = |uid: &str| -> Deployment {
            parse(json!({"metadata": {
                "labels": {"tidegate.dev/revision": "0a1b2c3d"},
                "ownerReferences": [owned_by(uid)],
            }}))
        };
        let facts = |deployment| revision(Arc::new(deployment), Some("2")).unwrap();
        let goes = |deployment| facts(deployment).is_deleting;
        assert!(goes(owned("1")));
        assert!(!goes(owned("2")));
        let orphan = json!({"metadata": {"labels": {"tidegate.dev/revision": "0a1b2c3d"}}});
        assert!(!goes(parse(orphan)), "it is taken over");
    }

    #[test]
    fn a_config_map_belongs_to_the_revision_whose_name_it_has() {
        let map = |name: &str, owner: &str, deleted: Option<&str>| -> ObjectMeta {
            parse(json!({
                "name": name, "labels": {"tidegate.dev/revision": "0a1b2c3d"},
                "deletionTimestamp": deleted,
                "ownerReferences": [owned_by(owner)],
            }))
        };
        let found = |map: ObjectMeta| config_map(&map, "orders", Some("2"));
        let ours = found(map("orders-0a1b2c3d", "2", None));
        assert_eq!(ours.as_deref(), Some("0a1b2c3d"));
        assert_eq!(found(map("a-copy", "2", None)), None);
        assert_eq!(found(map("orders-0a1b2c3d", "1", None)), None);
        let deleted = Some("2026-11-24T12:00:00Z");
        assert_eq!(found(map("orders-0a1b2c3d", "2", deleted)), None);
        assert_eq!(found(parse(json!({"name": "orders-0a1b2c3d"}))), None);
    }

    fn cleanup_pod(status: Value) -> CleanupState {
        cleanup_state(
            &parse(json!({"metadata": {"name": "a"}, "status": status})),
            0,
        )
    }

    #[test]
    fn a_pod_that_removes_files_tells_how_it_stands() {
        assert_eq!(
            cleanup_pod(json!({"phase": "Pending"})),
            CleanupState::Working
        );
        assert_eq!(
            cleanup_pod(json!({"phase": "Succeeded"})),
            CleanupState::Succeeded
        );
        let ended = json!({"terminated": {"exitCode": 1, "message": "no such bucket\n"}});
        let container = json!({
            "name": "remove", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": ended,
        });
        let failed = json!({"phase": "Failed", "containerStatuses": [container]});
        let message = "no such bucket".to_owned();
        assert_eq!(cleanup_pod(failed), CleanupState::Failed { message });
        let unscheduled = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "message": "no node"},
        ]});
        assert!(matches!(
            cleanup_pod(unscheduled),
            CleanupState::Stuck { .. }
        ));
    }

    #[test]
    fn pods_are_told_apart() {
        let job: Pod = parse(json!({"metadata": {"labels": {"tidegate.dev/revision": "1"}}}));
        let owner = json!({"kind": "Checkpoint", "uid": "7", "name": "a", "apiVersion": "b"});
        let release: Pod = parse(json!({"metadata": {"ownerReferences": [owner]}}));
        assert!(!is_purge(&job) && !is_purge(&release) && is_purge(&Pod::default()));
        assert_eq!(checkpoint_uid(&release).as_deref(), Some("7"));
    }
}
