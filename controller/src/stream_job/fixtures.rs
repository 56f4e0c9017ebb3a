//! Jobs and facts for tests.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;
use tidegate_api::labels::{
    ANNOTATION_APPLIED, ANNOTATION_JOB_CONFIG, ANNOTATION_START_FROM, ANNOTATION_START_GENERATION,
    FINALIZER_JOB, LABEL_REVISION,
};
use tidegate_api::spec::{Storage, StreamJobSpec};
use tidegate_api::{StreamJob, change};

use crate::job_api::{JobView, Phase};
use crate::observed::{ApiFacts, Observed, PodFacts, RevisionFacts, Writers};
use crate::plan::{Child, ChildName, Plan};
use crate::settings::Settings;

/// Some day in 2026, milliseconds since the epoch.
pub(crate) const NOON_MS: i64 = 1_790_000_000_000;

/// The id of the authority that certificates come from.
pub(crate) const AUTHORITY: &str = "5ca1ab1e";

pub(crate) fn settings() -> Settings {
    Settings {
        runtime_image: "registry.example/tidegate/tidegate:0.1.0".to_owned(),
        default_storage: Some(Storage {
            url: "s3://default/jobs".to_owned(),
            endpoint: None,
            region: None,
            secret_ref: None,
        }),
        own_namespace: "tidegate-system".to_owned(),
    }
}

/// A job whose program is told apart by its image.
pub(crate) fn job(image: &str) -> StreamJob {
    let spec: StreamJobSpec = serde_json::from_value(json!({
        "program": {"image": image, "args": ["--rate", "5"]},
        "parallelism": 2,
        "checkpoint": {
            "intervalSeconds": 1,
            "timeoutSeconds": 60,
            "storage": {
                "url": "s3://bucket/jobs",
                "endpoint": "https://minio.example:9000",
                "region": "us-east-1",
                "secretRef": {"name": "storage"},
            },
        },
    }))
    .unwrap();
    let mut job = StreamJob::new("orders", spec);
    job.metadata.namespace = Some("shop".to_owned());
    job.metadata.uid = Some("11111111-2222-3333-4444-555555555555".to_owned());
    job.metadata.generation = Some(1);
    job
}

pub(crate) fn observed(job: StreamJob) -> Observed {
    Observed {
        job: Arc::new(job),
        now_ms: NOON_MS,
        authority: AUTHORITY.to_owned(),
        revisions: Vec::new(),
        config_maps: Vec::new(),
        pods: Vec::new(),
        checkpoints: Vec::new(),
        start_checkpoint: None,
        purge: None,
        is_namespace_terminating: false,
        refused_write: None,
    }
}

pub(crate) fn revision_of(job: &StreamJob) -> String {
    change::revision(&job.spec)
}

/// What a Deployment tells, as the cluster would give it back.
pub(crate) fn facts_of(deployment: &Deployment) -> RevisionFacts {
    let annotations = deployment.metadata.annotations.clone().unwrap_or_default();
    let labels = deployment.metadata.labels.clone().unwrap_or_default();
    RevisionFacts {
        revision: labels[LABEL_REVISION].clone(),
        start_generation: annotations[ANNOTATION_START_GENERATION].parse().unwrap(),
        start_from: annotations[ANNOTATION_START_FROM].clone(),
        config: serde_json::from_str(&annotations[ANNOTATION_JOB_CONFIG])
            .ok()
            .map(Box::new),
        replicas: deployment.spec.as_ref().unwrap().replicas.unwrap(),
        applied: annotations.get(ANNOTATION_APPLIED).cloned(),
        is_deleting: false,
        refused: None,
        writers: Some(Writers::default()),
        deployment: Arc::new(deployment.clone()),
    }
}

/// Carries a plan's objects out on the facts, as an API server would at once.
pub(crate) fn carry_out(observed: &mut Observed, plan: &Plan) {
    for child in &plan.apply {
        match child {
            Child::Deployment(deployment) => {
                let facts = facts_of(deployment);
                observed
                    .revisions
                    .retain(|old| old.revision != facts.revision);
                observed.revisions.push(facts);
            }
            Child::Scale {
                name,
                replicas,
                annotations,
            } => {
                let revision = observed
                    .revisions
                    .iter_mut()
                    .find(|revision| name.ends_with(&revision.revision))
                    .unwrap();
                revision.replicas = *replicas;
                if let Some(config) = annotations.get(ANNOTATION_JOB_CONFIG) {
                    revision.config = serde_json::from_str(config).ok();
                    revision.start_generation =
                        annotations[ANNOTATION_START_GENERATION].parse().unwrap();
                }
                if let Some(applied) = annotations.get(ANNOTATION_APPLIED) {
                    revision.applied = Some(applied.clone());
                }
            }
            Child::Template {
                name,
                template,
                annotations,
            } => {
                let revision = observed
                    .revisions
                    .iter_mut()
                    .find(|revision| name.ends_with(&revision.revision))
                    .unwrap();
                let mut deployment = revision.deployment.as_ref().clone();
                let spec = deployment.spec.as_mut().unwrap();
                spec.template = serde_json::from_value(template.clone()).unwrap();
                let own = deployment.metadata.annotations.as_mut().unwrap();
                own.extend(annotations.clone());
                *revision = facts_of(&deployment);
            }
            Child::ConfigMap(map) => {
                let revision = &map.metadata.labels.as_ref().unwrap()[LABEL_REVISION];
                if !observed.config_maps.contains(revision) {
                    observed.config_maps.push(revision.clone());
                }
            }
            Child::Certificate { .. }
            | Child::NetworkPolicy(_)
            | Child::PodDisruptionBudget(_)
            | Child::CleanupPod(_) => {}
        }
    }
    for name in &plan.delete {
        match name {
            ChildName::ConfigMap(name) => observed
                .config_maps
                .retain(|revision| !name.ends_with(revision)),
            ChildName::Deployment(name) => observed
                .revisions
                .retain(|revision| !name.ends_with(&revision.revision)),
            ChildName::Pod { name, .. } => observed.pods.retain(|pod| pod.name != *name),
        }
    }
    observed
        .revisions
        .sort_by_key(|revision| revision.start_generation);
    let job = Arc::make_mut(&mut observed.job);
    job.status = Some(plan.status.clone());
    job.metadata.finalizers = plan.finalizer.then(|| vec![FINALIZER_JOB.to_owned()]);
}

/// What a process in a phase says, at two subtasks, since noon.
pub(crate) fn view(phase: Phase) -> JobView {
    let bare = json!({"phase": "Starting", "parallelism": 2, "startedMs": NOON_MS});
    let mut view: JobView = serde_json::from_value(bare).unwrap();
    view.phase = phase;
    view.phase_since_ms = Some(NOON_MS);
    view
}

pub(crate) fn pod(revision: &str, api: ApiFacts) -> PodFacts {
    PodFacts {
        name: format!("orders-{revision}-x"),
        uid: format!("uid-{revision}"),
        revision: revision.to_owned(),
        ip: Some("10.0.0.7".to_owned()),
        created_ms: NOON_MS,
        is_deleting: false,
        is_over: false,
        restart_count: 0,
        trouble: None,
        api,
    }
}

pub(crate) fn saying(revision: &str, view: JobView) -> PodFacts {
    let checkpoints = Vec::new();
    let job = Box::new(view);
    pod(revision, ApiFacts::Answers { job, checkpoints })
}
