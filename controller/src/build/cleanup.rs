//! A pod that removes files with the job's own credentials, since the controller has none.

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Map, Value, json};
use tidegate_api::checkpoint::Access;
use tidegate_api::labels::{LABEL_MANAGED_BY, LABEL_ROLE, MANAGED_BY};
use tidegate_api::pod::{JOB_CONTAINER, SCRATCH_FOLDER};
use tidegate_api::spec::StreamJobSpec;

use super::merge::merge;
use super::metadata::{PodRole, to_map};
use super::template::{
    Credentials, SCRATCH_VOLUME, container_security, pod_security, program_env, without_reserved,
};

/// Kubelet ends a clean-up that takes longer; the files that it did not reach stay.
const DEADLINE_SECONDS: i64 = 600;
const CONTAINER: &str = "cleanup";

/// What of a job's pod decides where a pod may run, as whom, and what it reaches.
const POD_FIELDS: [&str; 12] = [
    "affinity",
    "dnsConfig",
    "dnsPolicy",
    "hostAliases",
    "imagePullSecrets",
    "nodeSelector",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "securityContext",
    "serviceAccountName",
    "tolerations",
];
/// The same of the job's container.
const CONTAINER_FIELDS: [&str; 4] = ["env", "envFrom", "securityContext", "volumeMounts"];

/// What a clean-up pod is made from.
#[derive(Clone, Debug)]
pub struct CleanupPod<'a> {
    /// The namespace of the job.
    pub namespace: &'a str,
    /// The pod's name.
    pub name: &'a str,
    /// Labels besides those that every clean-up pod has, such as the job or the checkpoint.
    pub labels: Vec<(&'a str, &'a str)>,
    /// The image with the `tidegate` command.
    pub image: &'a str,
    /// What the command does, such as `checkpoints purge s3://bucket/default/job`. The storage's
    /// endpoint and region are added.
    pub args: Vec<String>,
    /// With what the folder is reached.
    pub access: &'a Access,
    /// What the pod goes with.
    pub owner: OwnerReference,
}

/// The pod: created once, never changed.
pub fn cleanup_pod(cleanup: &CleanupPod<'_>) -> Pod {
    let mut labels = to_map(&cleanup.labels);
    let role = PodRole::Cleanup.as_str();
    labels.extend(to_map(&[
        (LABEL_MANAGED_BY, MANAGED_BY),
        (LABEL_ROLE, role),
    ]));
    Pod {
        metadata: ObjectMeta {
            name: Some(cleanup.name.to_owned()),
            namespace: Some(cleanup.namespace.to_owned()),
            labels: Some(labels),
            owner_references: Some(vec![cleanup.owner.clone()]),
            ..ObjectMeta::default()
        },
        spec: Some(pod_spec(cleanup)),
        status: None,
    }
}

/// What a clean-up pod takes over from a job, as a pod template with its container; none if there
/// is nothing. The spec need not be valid.
pub fn cleanup_template(spec: &StreamJobSpec) -> Option<Value> {
    let users = spec
        .pod_template
        .as_ref()
        .and_then(|template| template.get("spec"));
    let entries = |list: &str| {
        let entries = users.and_then(|users| users.get(list)?.as_array());
        entries.into_iter().flatten()
    };
    let job = entries("containers").find(|container| container["name"] == JOB_CONTAINER);
    let program = spec.program.as_ref();
    let mut container = match program.map(|program| program_env(&program.env)) {
        Some(env) if !env.is_empty() => json!({"env": env}),
        _ => json!({}),
    };
    merge(
        &mut container,
        Value::Object(excerpt(job, &CONTAINER_FIELDS)),
    );
    let is_mounted = |volume: &&Value| {
        let mounts = container["volumeMounts"].as_array();
        let mut mounts = mounts.into_iter().flatten();
        mounts.any(|mount| mount.get("name").is_some() && mount.get("name") == volume.get("name"))
    };
    let volumes: Vec<&Value> = entries("volumes").filter(is_mounted).collect();
    let mut pod = excerpt(users, &POD_FIELDS);
    if !volumes.is_empty() {
        pod.insert("volumes".to_owned(), json!(volumes));
    }
    if container != json!({}) {
        container["name"] = json!(CONTAINER);
        pod.insert("containers".to_owned(), json!([container]));
    }
    (!pod.is_empty()).then(|| json!({"spec": pod}))
}

fn excerpt(object: Option<&Value>, fields: &[&str]) -> Map<String, Value> {
    let members = object.and_then(Value::as_object).into_iter().flatten();
    let kept = members.filter(|(name, _)| fields.contains(&name.as_str()));
    kept.map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn pod_spec(cleanup: &CleanupPod<'_>) -> PodSpec {
    let ours = ours(cleanup);
    let merged = |users: &Map<String, Value>| {
        let mut template = json!({"spec": ours});
        merge(&mut template, without_reserved(users));
        merge(&mut template, json!({"spec": owned(cleanup)}));
        // A template that is none would keep the pod from being made at all.
        serde_json::from_value(template["spec"].take()).ok()
    };
    let users = cleanup
        .access
        .pod_template
        .as_ref()
        .and_then(Value::as_object);
    let merged: Option<PodSpec> = users.and_then(merged);
    merged.unwrap_or_else(|| serde_json::from_value(ours).expect("a pod's spec of our own"))
}

/// The pod without anything from the job.
fn ours(cleanup: &CleanupPod<'_>) -> Value {
    let mut spec = json!({
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": pod_security(),
        "containers": [{
            "name": CONTAINER,
            "resources": {
                "requests": {"cpu": "10m", "memory": "64Mi"},
                "limits": {"cpu": "1", "memory": "256Mi"},
            },
            "securityContext": container_security(),
            "terminationMessagePolicy": "FallbackToLogsOnError",
        }],
    });
    merge(&mut spec, owned(cleanup));
    spec
}

/// What stays as it is, whatever the job's pods have.
fn owned(cleanup: &CleanupPod<'_>) -> Value {
    let storage = &cleanup.access.storage;
    let mut args = cleanup.args.clone();
    let options = [
        ("--endpoint", &storage.endpoint),
        ("--region", &storage.region),
    ];
    for (option, value) in options {
        if let Some(value) = value {
            args.extend([option.to_owned(), value.clone()]);
        }
    }
    let mut volumes = vec![json!({"name": SCRATCH_VOLUME, "emptyDir": {}})];
    let mut mounts = vec![json!({"name": SCRATCH_VOLUME, "mountPath": SCRATCH_FOLDER})];
    let mut env = Vec::new();
    if let Some(secret) = &storage.secret_ref {
        let credentials = Credentials::of(secret);
        volumes.push(credentials.volume);
        mounts.push(credentials.mount);
        env.push(credentials.env);
    }
    json!({
        "restartPolicy": "Never",
        "activeDeadlineSeconds": DEADLINE_SECONDS,
        "containers": [{
            "name": CONTAINER,
            "image": cleanup.image,
            "command": ["tidegate"],
            "args": args,
            "env": env,
            "volumeMounts": mounts,
        }],
        "volumes": volumes,
    })
}
