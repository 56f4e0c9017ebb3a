//! Every child object as YAML: `UPDATE_GOLDEN=1` writes the files anew.

use std::path::Path;

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Serialize;
use serde_json::{Value, json};
use tidegate_api::checkpoint::Access;
use tidegate_api::job_config::{JobConfig, StartPoint, StorageConfig};
use tidegate_api::spec::StreamJobSpec;
use tidegate_api::{Metadata, StreamJob, ValidJob, validate};

use super::*;
use crate::stream_job::fixtures;

const CERTIFICATE: &str = "orders-0a1b2c3d-tls-5ca1ab1e";

fn golden(name: &str, object: &impl Serialize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    let yaml = yaml_serde::to_string(object).unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &yaml).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        yaml,
        expected,
        "{}: UPDATE_GOLDEN=1 writes it anew",
        path.display()
    );
}

/// A job that uses what can be used.
fn rich() -> StreamJob {
    let mut job = fixtures::job("registry.example/team/orders:1.2");
    job.metadata.labels = Some(
        [
            ("team", "checkout"),
            ("app.kubernetes.io/instance", "prod"),
            ("tidegate.dev/job", "x"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
    );
    let spec = json!({
        "program": {
            "image": "registry.example/team/orders:1.2",
            "command": ["/bin/orders"],
            "args": ["--topic", "orders"],
            "env": [{"name": "REGION", "value": "eu"}, {"name": "MODE", "value": "fast"}],
        },
        "resources": {"requests": {"cpu": "500m"}, "limits": {"memory": "2Gi"}},
        "checkpoint": {
            "timeoutSeconds": 120,
            "storage": {"url": "s3://bucket/jobs", "secretRef": {"name": "storage"}},
        },
        "podTemplate": users_template(),
    });
    job.spec = serde_json::from_value(spec).unwrap();
    job
}

/// What a user may say about pods.
fn users_template() -> Value {
    json!({
        "metadata": {
            "labels": {"team": "checkout"},
            "annotations": {"example.com/scrape": "yes"},
        },
        "spec": {
            "serviceAccountName": "orders",
            "nodeSelector": {"disk": "ssd"},
            "securityContext": {"fsGroup": 1000},
            "terminationGracePeriodSeconds": 45,
            "volumes": [
                {"name": "tmp", "emptyDir": {"medium": "Memory"}},
                {"name": "lookup", "configMap": {"name": "lookup"}},
            ],
            "containers": [
                {
                    "name": "job",
                    "env": [
                        {"name": "MODE", "value": "careful"},
                        {
                            "name": "PASSWORD",
                            "valueFrom": {"secretKeyRef": {"name": "s", "key": "p"}},
                        },
                    ],
                    "volumeMounts": [
                        {"name": "lookup", "mountPath": "/lookup", "readOnly": true},
                    ],
                    "livenessProbe": {"failureThreshold": 30},
                },
                {"name": "proxy", "image": "registry.example/proxy:1"},
            ],
        },
    })
}

/// What is not the user's to say, as a spec stored under an older definition may hold it.
fn hostile_template() -> Value {
    json!({
        "metadata": {"labels": {"tidegate.dev/revision": "mine"}},
        "spec": {
            "restartPolicy": "Never",
            "volumes": [{"name": "tidegate-tls", "secret": {"secretName": "mine"}}],
            "containers": [{
                "name": "job",
                "image": "mine",
                "env": [
                    {"name": "TIDEGATE_SUPERVISE", "value": "0"},
                    {"name": "TIDEGATE_JOB_CONFIG", "valueFrom": {"fieldRef": {"fieldPath": "x"}}},
                ],
                "ports": [{"name": "mine", "containerPort": 8443}],
                "volumeMounts": [{"name": "mine", "mountPath": "/etc/tidegate/tls"}],
            }],
        },
    })
}

fn valid(job: &StreamJob) -> ValidJob {
    let metadata = Metadata {
        name: "orders".to_owned(),
        namespace: "shop".to_owned(),
        ..Metadata::default()
    };
    validate(&metadata, &job.spec).unwrap()
}

fn config(job: &ValidJob) -> JobConfig {
    let storage = StorageConfig {
        url: "s3://bucket/jobs".to_owned(),
        endpoint: None,
        region: None,
    };
    let start = Start {
        generation: 1_790_000_000_000,
        from: StartState::new(StartPoint::Latest),
        hold: true,
    };
    job_config(job, storage, start)
}

fn deployment_of(job: &StreamJob) -> k8s_openapi::api::apps::v1::Deployment {
    let valid = valid(job);
    deployment(Revision {
        job,
        name: "0a1b2c3d",
        config: &config(&valid),
        replicas: 1,
        template: pod_template(&valid, "0a1b2c3d", CERTIFICATE).unwrap(),
    })
}

#[test]
fn a_plain_jobs_deployment() {
    golden(
        "deployment.yaml",
        &deployment_of(&fixtures::job("registry.example/orders:1")),
    );
}

#[test]
fn a_deployment_with_the_users_template_merged_in() {
    golden("deployment-merged.yaml", &deployment_of(&rich()));
}

#[test]
fn a_config_map() {
    let job = rich();
    golden(
        "configmap.yaml",
        &config_map(&job, "0a1b2c3d", &config(&valid(&job))),
    );
}

#[test]
fn a_network_policy() {
    golden(
        "networkpolicy.yaml",
        &network_policy(&rich(), "tidegate-system"),
    );
}

#[test]
fn a_disruption_budget() {
    golden("poddisruptionbudget.yaml", &disruption_budget(&rich()));
}

fn purge_of(spec: &StreamJobSpec) -> Pod {
    let access = Access {
        storage: spec.checkpoint.storage.clone().unwrap(),
        pod_template: cleanup_template(spec),
    };
    let args = ["checkpoints", "purge", "s3://bucket/jobs/shop/orders"];
    cleanup_pod(&CleanupPod {
        namespace: "shop",
        name: "orders-purge",
        labels: vec![("tidegate.dev/job", "orders")],
        image: "registry.example/tidegate:0.1.0",
        args: args.map(str::to_owned).to_vec(),
        access: &access,
        owner: OwnerReference {
            name: "orders".to_owned(),
            ..owner_of_job(&rich())
        },
    })
}

#[test]
fn a_clean_up_pod() {
    golden("cleanup-pod.yaml", &purge_of(&fixtures::job("a:1").spec));
}

#[test]
fn a_clean_up_pod_reaches_what_the_jobs_pods_reach() {
    let mut spec = fixtures::job("a:1").spec;
    spec.program.as_mut().unwrap().env = serde_json::from_value(json!([
        {"name": "SSL_CERT_FILE", "value": "/ca/ca.crt"},
    ]))
    .unwrap();
    spec.pod_template = Some(json!({"spec": {
        "serviceAccountName": "orders",
        "nodeSelector": {"disk": "ssd"},
        "terminationGracePeriodSeconds": 7,
        "securityContext": {"runAsUser": 1000},
        "containers": [
            {"name": "sidecar", "image": "b:1", "volumeMounts": [
                {"name": "its-own", "mountPath": "/its"},
            ]},
            {"name": "job", "resources": {"limits": {"memory": "9Gi"}}, "volumeMounts": [
                {"name": "ca", "mountPath": "/ca"},
                {"name": "data", "mountPath": "/data"},
            ]},
        ],
        "volumes": [
            {"name": "its-own", "emptyDir": {}},
            {"name": "ca", "configMap": {"name": "ca"}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "jobs"}},
        ],
    }}));
    golden("cleanup-pod-merged.yaml", &purge_of(&spec));
}

#[test]
fn a_job_without_wishes_leaves_a_clean_up_pod_alone() {
    assert_eq!(cleanup_template(&fixtures::job("a:1").spec), None);
}

#[test]
fn a_template_that_is_none_does_not_keep_files_from_being_removed() {
    let mut spec = fixtures::job("a:1").spec;
    let expected = purge_of(&spec);
    spec.pod_template = Some(json!({"spec": {"nodeSelector": "ssd", "volumes": 3}}));
    assert_eq!(purge_of(&spec), expected);
}

#[test]
fn the_container_that_cleans_up_is_not_the_jobs_to_decide() {
    let mut spec = fixtures::job("a:1").spec;
    let expected = purge_of(&spec);
    spec.pod_template = Some(json!({"spec": {
        "restartPolicy": "Always",
        "containers": [{
            "name": "job", "image": "evil:1", "command": ["evil"], "args": ["evil"],
            "env": [{"name": "TIDEGATE_STORAGE_CREDENTIALS_FOLDER", "value": "/evil"}],
        }],
    }}));
    assert_eq!(purge_of(&spec), expected);
}

#[test]
fn the_standing_template_tells_which_certificate_it_mounts() {
    let template = pod_template(&valid(&rich()), "0a1b2c3d", CERTIFICATE).unwrap();
    assert_eq!(mounted_certificate(&template), Some(CERTIFICATE));
    assert_eq!(mounted_certificate(&PodTemplateSpec::default()), None);
}

#[test]
fn the_pod_contract_survives_the_users_template() {
    let mut job = valid(&fixtures::job("registry.example/orders:1"));
    let expected = pod_template(&job, "0a1b2c3d", CERTIFICATE).unwrap();
    job.pod_template = hostile_template().as_object().cloned();
    assert_eq!(
        pod_template(&job, "0a1b2c3d", CERTIFICATE).unwrap(),
        expected
    );
}

#[test]
fn a_template_of_the_wrong_form_is_refused_with_its_field() {
    let job = fixtures::job("a:1");
    let mut job = valid(&job);
    job.pod_template = json!({"spec": {"nodeSelector": "ssd"}})
        .as_object()
        .cloned();
    let error = pod_template(&job, "0a1b2c3d", CERTIFICATE).unwrap_err();
    assert_eq!(error.path, "spec.podTemplate.spec.nodeSelector");
}

#[test]
fn a_live_change_leaves_the_pod_template_as_it_is() {
    let mut job = rich();
    let before = deployment_of(&job);
    job.spec.checkpoint.interval_seconds = 7;
    job.spec.parallelism = 9;
    job.metadata.labels = None;
    let after = deployment_of(&job);
    assert_ne!(before, after);
    assert_eq!(before.spec, after.spec);
}
