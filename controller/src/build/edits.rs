//! Whether a revision's objects still are what they were made as, and what puts them back.
//!
//! Of a pod template the values are compared. The API server fills in what a template leaves out,
//! drops what is empty, and writes quantities in its own way; none of that is an edit. Nor are
//! labels and annotations that were added, such as the one of `kubectl rollout restart`. Of other
//! objects only the metadata is known, which tells who has written which field last.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tidegate_api::labels::{ANNOTATION_POD_TEMPLATE, FIELD_MANAGER};
use tidegate_api::spec::Quantity;

use crate::merge_patch::replacing;

/// Members below `spec` that the API server gives to no template: where ours has none, somebody
/// else's are. Some are set by admission, but on pods alone; `serviceAccount` it copies.
const NEVER_DEFAULTED: &[&str] = &[
    "command",
    "args",
    "env",
    "envFrom",
    "lifecycle",
    "limits",
    "requests",
    "privileged",
    "initContainers",
    "serviceAccountName",
    "nodeSelector",
    "affinity",
    "tolerations",
    "priorityClassName",
    "hostNetwork",
    "hostPID",
    "hostIPC",
];
/// Members that the API server keeps though they are false or 0, since absent ones mean something
/// else: where ours are gone, somebody has taken them away.
const KEPT_AS_GIVEN: &[&str] = &[
    "automountServiceAccountToken",
    "enableServiceLinks",
    "shareProcessNamespace",
    "allowPrivilegeEscalation",
    "privileged",
    "readOnlyRootFilesystem",
    "runAsNonRoot",
    "runAsUser",
    "runAsGroup",
    "fsGroup",
    "terminationGracePeriodSeconds",
    "tolerationSeconds",
    "defaultMode",
    "mode",
];
/// Elsewhere, names of members are whatever somebody has chosen, as those of labels.
const SPEC_PATH: &str = "template.spec";
/// Members whose values are quantities.
const QUANTITIES: &[&str] = &["limits", "requests", "sizeLimit", "divisor"];

/// The template that a Deployment was made with, as its annotation keeps it. None in one of an
/// earlier version of the controller.
pub fn made_template(deployment: &Deployment) -> Option<PodTemplateSpec> {
    let annotations = deployment.metadata.annotations.as_ref()?;
    serde_json::from_str(annotations.get(ANNOTATION_POD_TEMPLATE)?).ok()
}

/// The first field of a template that is not as it was made.
pub fn first_edit(made: &PodTemplateSpec, standing: &PodTemplateSpec) -> Option<String> {
    differing(&json!(made), &json!(standing), "template", false)
}

/// A merge patch that makes the standing template as it was made. Lists are replaced as a whole,
/// and what is not ours is left to the API server's defaults.
pub fn restoring_patch(made: &PodTemplateSpec, standing: &PodTemplateSpec) -> Value {
    let mut patch = json!(made);
    if let Some(spec) = &made.spec {
        patch["spec"] = replacing(standing.spec.as_ref(), spec);
    }
    patch
}

/// The members with the content of objects of which only the metadata is known.
pub const CONTENT: [&str; 2] = ["data", "spec"];

/// A field of ours that somebody else has written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenField {
    /// Where it is in the object, as `data.config.json`.
    pub path: String,
    /// Who has it now: the name that the client gave itself, such as `kubectl-edit`.
    pub by: String,
}

/// The first field of an object's content that was applied and that the API server has on record
/// as another's, or nobody's, since. What others have added is theirs to keep. Where nothing of
/// ours is on record, nothing is known.
pub fn taken_field<K: Serialize>(object: &K, writers: &[ManagedFieldsEntry]) -> Option<TakenField> {
    let is_ours = |writer: &&ManagedFieldsEntry| {
        writer.manager.as_deref() == Some(FIELD_MANAGER)
            && writer.operation.as_deref() == Some("Apply")
    };
    let ours = writers.iter().find(is_ours)?;
    let object = json!(object);
    CONTENT.into_iter().find_map(|content| {
        let fields = object.get(content)?.as_object()?;
        let mut names = fields.keys();
        let lost = names.find(|field| !has_written(ours, content, field))?;
        let mut writers = writers.iter();
        let other = writers.find(|writer| has_written(writer, content, lost));
        let by = other.and_then(|other| other.manager.clone());
        Some(TakenField {
            path: format!("{content}.{lost}"),
            by: by.unwrap_or_else(|| "somebody".to_owned()),
        })
    })
}

fn has_written(writer: &ManagedFieldsEntry, content: &str, field: &str) -> bool {
    let fields = writer.fields_v1.as_ref();
    let content = fields.and_then(|FieldsV1(fields)| fields.get(format!("f:{content}")));
    content.is_some_and(|content| content.get(format!("f:{field}")).is_some())
}

fn differing(made: &Value, standing: &Value, path: &str, is_quantity: bool) -> Option<String> {
    match (made, standing) {
        (Value::Object(made), Value::Object(standing)) => {
            differing_member(made, standing, path, is_quantity)
        }
        (Value::Array(made), Value::Array(standing)) if made.len() == standing.len() => {
            let mut pairs = made.iter().zip(standing).enumerate();
            pairs.find_map(|(index, (made, standing))| {
                differing(made, standing, &format!("{path}[{index}]"), is_quantity)
            })
        }
        (Value::String(made), Value::String(standing)) if is_quantity => {
            let is_same = made == standing || amount(made) == amount(standing);
            (!is_same).then(|| path.to_owned())
        }
        _ => (made != standing).then(|| path.to_owned()),
    }
}

fn differing_member(
    made: &Map<String, Value>,
    standing: &Map<String, Value>,
    path: &str,
    is_quantity: bool,
) -> Option<String> {
    let path_of = |name: &str| format!("{path}.{name}");
    let changed = made.iter().find_map(|(name, made)| {
        let is_quantity = is_quantity || QUANTITIES.contains(&name.as_str());
        match standing.get(name) {
            Some(standing) => differing(made, standing, &path_of(name), is_quantity),
            None => is_missed(name, made).then(|| path_of(name)),
        }
    });
    if !path.starts_with(SPEC_PATH) {
        return changed;
    }
    changed.or_else(|| {
        let added = |name: &&str| {
            standing.get(*name).is_some_and(|it| !is_empty(it)) && !made.contains_key(*name)
        };
        NEVER_DEFAULTED
            .iter()
            .find(|name| added(name))
            .map(|name| path_of(name))
    })
}

/// Whether a member was taken away: the API server itself would keep something of it.
fn is_missed(name: &str, made: &Value) -> bool {
    match made {
        Value::Bool(_) | Value::Number(_) if KEPT_AS_GIVEN.contains(&name) => true,
        Value::Object(members) => members.iter().any(|(name, it)| is_missed(name, it)),
        _ => !is_empty(made),
    }
}

/// Whether the API server keeps nothing of a value.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(entries) => entries.is_empty(),
        Value::Object(members) => members.values().all(is_empty),
    }
}

fn amount(text: &str) -> Option<i128> {
    Quantity(text.to_owned()).billionths()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn made() -> Value {
        json!({
            "metadata": {"labels": {"a": "b"}},
            "spec": {
                "terminationGracePeriodSeconds": 70,
                "automountServiceAccountToken": false, "hostNetwork": false,
                "containers": [{
                    "name": "job", "image": "a:1",
                    "securityContext": {"allowPrivilegeEscalation": false},
                    "env": [{"name": "X", "value": ""}],
                    "resources": {"limits": {"memory": "1024Mi", "cpu": "0.5"}},
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp", "readOnly": false}],
                }],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            },
        })
    }

    /// The same as an API server gives it back.
    fn standing() -> Value {
        json!({
            "metadata": {
                "labels": {"a": "b", "env": "test"},
                "annotations": {"kubectl.kubernetes.io/restartedAt": "now", "args": "some"},
            },
            "spec": {
                "terminationGracePeriodSeconds": 70,
                "automountServiceAccountToken": false,
                "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
                "securityContext": {},
                "containers": [{
                    "name": "job", "image": "a:1", "imagePullPolicy": "IfNotPresent",
                    "securityContext": {"allowPrivilegeEscalation": false},
                    "env": [{"name": "X"}],
                    "resources": {"limits": {"memory": "1Gi", "cpu": "500m"}},
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                }],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            },
        })
    }

    /// As the API server has it on record after these wrote these fields of `data`.
    fn written(by: &[(&str, &str)]) -> Vec<ManagedFieldsEntry> {
        let entry = |(manager, names): &(&str, &str)| {
            let names = names.split_whitespace();
            let fields: Value = names.map(|name| (format!("f:{name}"), json!({}))).collect();
            let operation = match *manager {
                FIELD_MANAGER => "Apply",
                _ => "Update",
            };
            let entry = json!({
                "manager": manager, "operation": operation, "fieldsType": "FieldsV1",
                "fieldsV1": {"f:data": fields},
            });
            serde_json::from_value(entry).unwrap()
        };
        by.iter().map(entry).collect()
    }

    #[rstest]
    #[case::untouched(&[(FIELD_MANAGER, "a b")], None)]
    #[case::added(&[(FIELD_MANAGER, "a b"), ("kubectl-edit", "c")], None)]
    #[case::changed(
        &[(FIELD_MANAGER, "a"), ("argo", "c"), ("kubectl-edit", "b")],
        Some("data.b by kubectl-edit")
    )]
    #[case::removed(&[(FIELD_MANAGER, "b")], Some("data.a by somebody"))]
    #[case::removed_all(&[(FIELD_MANAGER, "")], Some("data.a by somebody"))]
    #[case::unknown(&[("kubectl-edit", "a")], None)]
    fn a_field_that_another_has_written_is_named(
        #[case] by: &[(&str, &str)],
        #[case] expected: Option<&str>,
    ) {
        let object = json!({"metadata": {"name": "x"}, "data": {"a": "1", "b": "2"}});
        let taken = taken_field(&object, &written(by));
        let taken = taken.map(|taken| format!("{} by {}", taken.path, taken.by));
        assert_eq!(taken.as_deref(), expected);
    }

    fn typed(value: Value) -> PodTemplateSpec {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn what_the_api_server_makes_of_a_template_is_no_edit() {
        assert_eq!(first_edit(&typed(made()), &typed(standing())), None);
    }

    #[rstest]
    #[case("/spec/containers/0/image", json!("b:1"), "template.spec.containers[0].image")]
    #[case("/spec/containers/0/env", json!([{"name": "X"}, {"name": "RUST_LOG", "value": "trace"}]),
        "template.spec.containers[0].env")]
    #[case("/spec/containers/0/command", json!(["sh"]), "template.spec.containers[0].command")]
    #[case("/spec/containers/0/resources/limits/memory", json!("2Gi"),
        "template.spec.containers[0].resources.limits.memory")]
    #[case("/spec/nodeSelector", json!({"disk": "ssd"}), "template.spec.nodeSelector")]
    #[case("/spec/serviceAccountName", json!("admin"), "template.spec.serviceAccountName")]
    #[case("/spec/tolerations", json!([{"operator": "Exists"}]), "template.spec.tolerations")]
    #[case("/spec/hostIPC", json!(true), "template.spec.hostIPC")]
    #[case(
        "/spec/automountServiceAccountToken",
        Value::Null,
        "template.spec.automountServiceAccountToken"
    )]
    #[case("/spec/containers/0/securityContext", json!({}),
        "template.spec.containers[0].securityContext.allowPrivilegeEscalation")]
    #[case(
        "/spec/containers/0/securityContext",
        Value::Null,
        "template.spec.containers[0].securityContext"
    )]
    #[case("/spec/containers/0/securityContext/privileged", json!(true),
        "template.spec.containers[0].securityContext.privileged")]
    fn an_edit_is_found_and_put_back(
        #[case] pointer: &str,
        #[case] value: Value,
        #[case] path: &str,
    ) {
        let mut edited = standing();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        edited.pointer_mut(parent).unwrap()[name] = value;
        let (made, edited) = (typed(made()), typed(edited));
        assert_eq!(first_edit(&made, &edited).as_deref(), Some(path));
        let patch = restoring_patch(&made, &edited);
        assert_eq!(first_edit(&made, &typed(patch.clone())), None);
        assert_eq!(patch["spec"]["dnsPolicy"], Value::Null);
        assert_eq!(patch["metadata"].get("annotations"), None);
    }
}
