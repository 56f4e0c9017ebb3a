//! The pod template of a revision: ours, the user's merged in, and what is not the user's put back.

mod unknown;

use k8s_openapi::api::core::v1::{
    Capabilities, PodSecurityContext, PodSpec, PodTemplateSpec, SeccompProfile, SecurityContext,
};
use serde_json::{Map, Value, json};
use tidegate_api::ValidJob;
use tidegate_api::job_config::JOB_CONFIG_ENV;
use tidegate_api::labels::{LABEL_MANAGED_BY, MANAGED_BY, RESERVED_ENV_PREFIX};
use tidegate_api::pod::{
    CERTIFICATE_FOLDER, CONFIG_FOLDER, CONFIG_PATH, JOB_API_PORT, JOB_API_PORT_NAME, JOB_CONTAINER,
    METRICS_PORT, METRICS_PORT_NAME, SCRATCH_FOLDER, STORAGE_CREDENTIALS_FOLDER,
    STORAGE_CREDENTIALS_FOLDER_ENV, SUPERVISE_ENV, revision_name,
};
use tidegate_api::spec::{EnvVar, SecretReference};
use tidegate_api::validate::Logic;

use super::merge::merge;
use super::metadata::revision_labels;
use unknown::first_lost;

const USER_ID: i64 = 65_532;
const CONFIG_VOLUME: &str = "tidegate-config";
const CERTIFICATE_VOLUME: &str = "tidegate-tls";
const STORAGE_VOLUME: &str = "tidegate-storage";
pub(super) const SCRATCH_VOLUME: &str = "tmp";

/// A pod that ends takes a last checkpoint, for which it gets this long at least and at most.
const GRACE_SECONDS_MIN: u64 = 30;
const GRACE_SECONDS_MAX: u64 = 300;
/// On top of the checkpoint's timeout, for the processes to end.
const GRACE_SECONDS_MARGIN: u64 = 10;

/// A pod template that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}; write it as in a Deployment's spec.template")]
pub struct TemplateError {
    /// The field, as in `spec.podTemplate.spec.tolerations`.
    pub path: String,
    /// What is wrong with it.
    pub problem: String,
}

/// The pods of one revision, which mount the Secret `certificate`.
///
/// # Errors
/// A user's pod template with a field that Kubernetes does not have, or one of another type.
pub fn pod_template(
    job: &ValidJob,
    revision: &str,
    certificate: &str,
) -> Result<PodTemplateSpec, TemplateError> {
    let owned = owned_container(job);
    let volumes = owned_volumes(job, revision, certificate);
    let mut template = ours(job, revision, (&owned, &volumes));
    if let Some(users) = &job.pod_template {
        merge(&mut template, without_reserved(users));
        merge(&mut template, put_back(job, revision, (&owned, &volumes)));
    }
    let typed = serde_json::from_value(template).map_err(|error| culprit(job, &error))?;
    match &job.pod_template {
        Some(users) => check_fields(job, users).map(|()| typed),
        None => Ok(typed),
    }
}

/// Reading an object passes over fields that its type does not have, so what a user has misspelt
/// is what does not come back. The template alone is read, since its lists are merged.
fn check_fields(job: &ValidJob, users: &Map<String, Value>) -> Result<(), TemplateError> {
    let given = without_nulls(users);
    let typed = serde_json::from_value::<PodTemplateSpec>(given.clone());
    let typed = typed.map_err(|error| culprit(job, &error))?;
    match first_lost(&given, &json!(typed), "spec.podTemplate") {
        None => Ok(()),
        Some(path) => Err(TemplateError {
            path,
            problem: "there is no such field in a pod template".to_owned(),
        }),
    }
}

/// The user's template without the nulls, which only remove what is ours.
fn without_nulls(users: &Map<String, Value>) -> Value {
    let mut given = json!({});
    merge(&mut given, Value::Object(users.clone()));
    given
}

/// The template without any wish of the user's.
fn ours(job: &ValidJob, revision: &str, (owned, volumes): (&Value, &[Value])) -> Value {
    let checkpoint_seconds = job.checkpoint.timeout_ms / 1000 + GRACE_SECONDS_MARGIN;
    let grace_seconds = checkpoint_seconds.clamp(GRACE_SECONDS_MIN, GRACE_SECONDS_MAX);
    let mut container = json!({
        "name": JOB_CONTAINER,
        "env": users_env(job),
        "resources": resources(job),
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "startupProbe": probe("/livez", 1, 120),
        "livenessProbe": probe("/livez", 10, 6),
        "readinessProbe": probe("/readyz", 2, 2),
    });
    merge(&mut container, owned.clone());
    let mut volumes = volumes.to_vec();
    if !has_own_scratch(job) {
        volumes.push(json!({"name": SCRATCH_VOLUME, "emptyDir": {}}));
    }
    json!({
        "metadata": {"labels": pod_labels(job, revision)},
        "spec": {
            "restartPolicy": "Always",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": grace_seconds,
            "securityContext": pod_security(),
            "containers": [container],
            "volumes": volumes,
        },
    })
}

/// Whether the user's template has the scratch volume be of another kind than ours, which ours must
/// not be merged with.
fn has_own_scratch(job: &ValidJob) -> bool {
    let volumes = job
        .pod_template
        .as_ref()
        .and_then(|users| users.get("spec")?.get("volumes")?.as_array());
    let mut scratch = volumes
        .into_iter()
        .flatten()
        .filter_map(Value::as_object)
        .filter(|volume| volume.get("name") == Some(&json!(SCRATCH_VOLUME)));
    scratch.any(|volume| {
        let mut kinds = volume
            .iter()
            .filter(|(name, value)| *name != "name" && !value.is_null());
        kinds.any(|(name, _)| name != "emptyDir")
    })
}

/// What the controller owns, whatever the user's template says.
fn put_back(job: &ValidJob, revision: &str, (owned, volumes): (&Value, &[Value])) -> Value {
    json!({
        "metadata": {"labels": pod_labels(job, revision)},
        "spec": {
            "restartPolicy": "Always",
            "containers": [owned],
            "volumes": volumes,
        },
    })
}

fn pod_labels(job: &ValidJob, revision: &str) -> Value {
    let mut labels = revision_labels(&job.name, revision);
    labels.insert(LABEL_MANAGED_BY.to_owned(), MANAGED_BY.to_owned());
    json!(labels)
}

/// The part of the job's container that makes the pod contract.
fn owned_container(job: &ValidJob) -> Value {
    let mut env = vec![
        json!({"name": JOB_CONFIG_ENV, "value": CONFIG_PATH}),
        json!({"name": SUPERVISE_ENV, "value": "1"}),
    ];
    let mut mounts = vec![
        mount(CONFIG_VOLUME, CONFIG_FOLDER, true),
        mount(CERTIFICATE_VOLUME, CERTIFICATE_FOLDER, true),
        mount(SCRATCH_VOLUME, SCRATCH_FOLDER, false),
    ];
    if let Some(secret) = &job.storage_secret {
        let credentials = Credentials::of(secret);
        env.push(credentials.env);
        mounts.push(credentials.mount);
    }
    let mut container = json!({
        "name": JOB_CONTAINER,
        "env": env,
        "ports": [
            {"name": JOB_API_PORT_NAME, "containerPort": JOB_API_PORT, "protocol": "TCP"},
            {"name": METRICS_PORT_NAME, "containerPort": METRICS_PORT, "protocol": "TCP"},
        ],
        "volumeMounts": mounts,
    });
    if let Logic::Program(program) = &job.logic {
        container["image"] = json!(program.image);
        if !program.command.is_empty() {
            container["command"] = json!(program.command);
        }
        if !program.args.is_empty() {
            container["args"] = json!(program.args);
        }
    }
    container
}

fn mount(volume: &str, folder: &str, is_read_only: bool) -> Value {
    json!({"name": volume, "mountPath": folder, "readOnly": is_read_only})
}

fn owned_volumes(job: &ValidJob, revision: &str, certificate: &str) -> Vec<Value> {
    let config_map = revision_name(&job.name, revision);
    let mut volumes = vec![
        json!({"name": CONFIG_VOLUME, "configMap": {"name": config_map}}),
        json!({"name": CERTIFICATE_VOLUME, "secret": {"secretName": certificate}}),
    ];
    if let Some(secret) = &job.storage_secret {
        volumes.push(Credentials::of(secret).volume);
    }
    volumes
}

fn users_env(job: &ValidJob) -> Vec<Value> {
    let Logic::Program(program) = &job.logic else {
        return Vec::new();
    };
    program_env(&program.env)
}

/// Variables of a program as a container has them.
pub(super) fn program_env(variables: &[EnvVar]) -> Vec<Value> {
    let entries = variables.iter();
    entries
        .map(|variable| json!({"name": variable.name, "value": variable.value}))
        .collect()
}

/// What brings the storage's credentials into a pod.
pub(super) struct Credentials {
    pub(super) volume: Value,
    pub(super) mount: Value,
    pub(super) env: Value,
}

impl Credentials {
    pub(super) fn of(secret: &SecretReference) -> Self {
        let folder = STORAGE_CREDENTIALS_FOLDER;
        Self {
            volume: json!({"name": STORAGE_VOLUME, "secret": {"secretName": secret.name}}),
            mount: mount(STORAGE_VOLUME, folder, true),
            env: json!({"name": STORAGE_CREDENTIALS_FOLDER_ENV, "value": folder}),
        }
    }
}

fn resources(job: &ValidJob) -> Value {
    let mut resources = Map::new();
    let kinds = [
        ("requests", &job.resources.requests),
        ("limits", &job.resources.limits),
    ];
    for (kind, amounts) in kinds {
        if !amounts.is_empty() {
            resources.insert(kind.to_owned(), json!(amounts));
        }
    }
    Value::Object(resources)
}

fn probe(path: &str, period_seconds: i32, failure_count: i32) -> Value {
    json!({
        "httpGet": {"path": path, "port": METRICS_PORT_NAME},
        "periodSeconds": period_seconds,
        "timeoutSeconds": 5,
        "failureThreshold": failure_count,
    })
}

/// The user's template without environment variables that belong to the runtime, from whatever
/// source: ours would be merged into them, or they would stand beside ours.
pub(super) fn without_reserved(users: &Map<String, Value>) -> Value {
    let mut users = Value::Object(users.clone());
    let containers = users
        .pointer_mut("/spec/containers")
        .and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        if let Some(env) = container.get_mut("env").and_then(Value::as_array_mut) {
            env.retain(|variable| !is_reserved(variable, "name"));
        }
        if let Some(sources) = container.get_mut("envFrom").and_then(Value::as_array_mut) {
            sources.retain(|source| !is_reserved(source, "prefix"));
        }
    }
    users
}

fn is_reserved(entry: &Value, member: &str) -> bool {
    let text = entry.get(member).and_then(Value::as_str);
    text.is_some_and(|text| text.starts_with(RESERVED_ENV_PREFIX))
}

/// The first field of the user's template that Kubernetes does not take.
fn culprit(job: &ValidJob, error: &serde_json::Error) -> TemplateError {
    let refused = |path: String, error: &serde_json::Error| TemplateError {
        path,
        problem: error.to_string(),
    };
    let users = job.pod_template.as_ref().map(without_nulls);
    let spec = users.as_ref().and_then(|users| users["spec"].as_object());
    for (name, value) in spec.into_iter().flatten() {
        let mut alone = json!({"containers": []});
        alone[name.as_str()] = value.clone();
        if let Err(error) = serde_json::from_value::<PodSpec>(alone) {
            return refused(format!("spec.podTemplate.spec.{name}"), &error);
        }
    }
    refused("spec.podTemplate".to_owned(), error)
}

/// The Secret with certificates that pods of a template mount.
pub fn mounted_certificate(template: &PodTemplateSpec) -> Option<&str> {
    let volumes = template.spec.as_ref()?.volumes.as_ref()?;
    let volume = volumes
        .iter()
        .find(|volume| volume.name == CERTIFICATE_VOLUME)?;
    volume.secret.as_ref()?.secret_name.as_deref()
}

/// What the Pod Security level `restricted` asks of a pod.
pub(super) fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER_ID),
        run_as_group: Some(USER_ID),
        fs_group: Some(USER_ID),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..PodSecurityContext::default()
    }
}

/// What it asks of a container, and a root file system that cannot be written.
pub(super) fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            add: None,
            drop: Some(vec!["ALL".to_owned()]),
        }),
        read_only_root_filesystem: Some(true),
        ..SecurityContext::default()
    }
}

#[cfg(test)]
mod tests;
