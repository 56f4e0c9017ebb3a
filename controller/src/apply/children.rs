//! Makes the objects that belong to a job.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use tidegate_api::labels::{
    ANNOTATION_APPLIED, LABEL_JOB, LABEL_MANAGED_BY, LABEL_REVISION, MANAGED_BY,
};
use tidegate_api::pod::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};

use super::ApplyError;
use crate::build::{applied_hash, taken_field};
use crate::client::{ApiError, Kind};
use crate::cluster::{Held, Meta};
use crate::observed::Observed;
use crate::plan::Child;
use crate::queue::JobKey;
use crate::shared::Shared;

/// Makes one child as it should be, unless it is so already.
pub(super) async fn apply(shared: &Shared, key: &JobKey, child: &Child) -> Result<(), ApplyError> {
    match child {
        Child::ConfigMap(object) => apply_tracked(shared, key, object.as_ref()).await?,
        Child::NetworkPolicy(object) => apply_tracked(shared, key, object.as_ref()).await?,
        Child::PodDisruptionBudget(object) => apply_tracked(shared, key, object.as_ref()).await?,
        Child::Certificate { name, config_map } => {
            create_certificate(shared, key, (name, config_map)).await?;
        }
        Child::Deployment(object) => apply_deployment(shared, key, object).await?,
        Child::Scale {
            name,
            replicas,
            annotations,
        } => {
            scale(shared, key, name, (*replicas, annotations)).await?;
        }
        Child::Template {
            name,
            template,
            annotations,
        } => restore(shared, key, name, (template, annotations)).await?,
        Child::CleanupPod(pod) => create(shared, key, pod.as_ref()).await?,
    }
    Ok(())
}

/// Creates an object that is never changed; one that is there already is as good.
pub(super) async fn create<K: Kind + Held>(
    shared: &Shared,
    key: &JobKey,
    object: &K,
) -> Result<(), ApiError> {
    match shared.writer.create(&key.namespace, object).await {
        Ok(object) => {
            shared.cluster.note(object);
            Ok(())
        }
        Err(ApiError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Applies an object of which only the metadata is watched.
async fn apply_tracked<K>(shared: &Shared, key: &JobKey, object: &K) -> Result<(), ApiError>
where
    K: Kind,
    Meta<K>: Held + Resource<Scope = NamespaceResourceScope>,
{
    let hash = applied_hash(&[object]);
    let name = object.meta().name.clone().unwrap_or_default();
    let known = Meta::<K>::store(&shared.cluster).get(&key.namespace, &name);
    let applied = known
        .as_ref()
        .and_then(|known| known.annotations().get(ANNOTATION_APPLIED));
    let writers = known.as_ref().map(|known| known.managed_fields());
    let is_taken = taken_field(object, writers.unwrap_or_default()).is_some();
    if applied == Some(&hash) && !is_taken {
        return Ok(());
    }
    let mut wanted = rendered(object);
    wanted["metadata"]["annotations"][ANNOTATION_APPLIED] = json!(hash);
    let written: K = shared.writer.apply(&key.namespace, &name, &wanted).await?;
    let metadata = written.meta().clone();
    shared.cluster.note(Meta::<K> {
        types: None,
        metadata,
        _phantom: std::marker::PhantomData,
    });
    Ok(())
}

async fn apply_deployment(
    shared: &Shared,
    key: &JobKey,
    object: &Deployment,
) -> Result<(), ApiError> {
    let name = object.name_any();
    let known = shared.cluster.deployments.get(&key.namespace, &name);
    let replicas = |d: &Deployment| d.spec.as_ref().and_then(|spec| spec.replicas);
    let applied = |d: &Deployment| d.annotations().get(ANNOTATION_APPLIED).cloned();
    if let Some(known) = &known
        && applied(object).is_some()
        && applied(known) == applied(object)
        && replicas(known) == replicas(object)
    {
        return Ok(());
    }
    let wanted = rendered(object);
    let written: Deployment = shared.writer.apply(&key.namespace, &name, &wanted).await?;
    shared.cluster.note(written);
    Ok(())
}

/// Before anything of a revision is made that was not seen: a watch that lags may not have told of
/// its Deployment yet, and a plan that was made without it must overwrite neither that nor what its
/// pods read.
pub(super) async fn look_for_unseen(
    shared: &Shared,
    key: &JobKey,
    observed: &Observed,
    object: &Deployment,
) -> Result<(), ApiError> {
    let name = object.name_any();
    let mut seen = observed.revisions.iter();
    if seen.any(|revision| revision.deployment.name_any() == name) {
        return Ok(());
    }
    let is_known = || {
        let known = shared.cluster.deployments.of(key);
        let mut revisions = known
            .iter()
            .filter(|it| it.labels().contains_key(LABEL_REVISION));
        revisions.any(|it| it.name_any() == name)
    };
    // It may have been told of since.
    if !is_known() {
        shared.look_up_deployments(key).await?;
    }
    if is_known() {
        let action = format!("make Deployment {name}");
        return Err(ApiError::Conflict { action });
    }
    Ok(())
}

async fn scale(
    shared: &Shared,
    key: &JobKey,
    name: &str,
    (replicas, annotations): (i32, &BTreeMap<String, String>),
) -> Result<(), ApiError> {
    let Some(known) = shared.cluster.deployments.get(&key.namespace, name) else {
        return Ok(());
    };
    let has = |(key, value): (&String, &String)| known.annotations().get(key) == Some(value);
    let current = known.spec.as_ref().and_then(|spec| spec.replicas);
    if current == Some(replicas) && annotations.iter().all(has) {
        return Ok(());
    }
    let spec = json!({"replicas": replicas});
    merge(shared, key, &known, (annotations, spec)).await
}

/// Puts back what somebody has changed in a Deployment's pod template, by a patch that also takes
/// away what others own: an apply would leave it.
async fn restore(
    shared: &Shared,
    key: &JobKey,
    name: &str,
    (template, annotations): (&Value, &BTreeMap<String, String>),
) -> Result<(), ApiError> {
    let Some(known) = shared.cluster.deployments.get(&key.namespace, name) else {
        return Ok(());
    };
    let spec = json!({"template": template});
    merge(shared, key, &known, (annotations, spec)).await
}

/// Merges a change into a Deployment that still is as it was seen; one that is gone needs none.
async fn merge(
    shared: &Shared,
    key: &JobKey,
    known: &Deployment,
    (annotations, spec): (&BTreeMap<String, String>, Value),
) -> Result<(), ApiError> {
    let change = json!({
        "metadata": {"resourceVersion": known.resource_version(), "annotations": annotations},
        "spec": spec,
    });
    let (writer, name) = (&shared.writer, known.name_any());
    let written = writer
        .merge::<Deployment>(&key.namespace, &name, &change)
        .await;
    match written {
        Ok(written) => {
            shared.cluster.note(written);
            Ok(())
        }
        Err(ApiError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Creates the Secret with a revision's certificate. It is owned by the revision's ConfigMap, so
/// that both go together; the controller itself can neither read, change nor delete Secrets.
async fn create_certificate(
    shared: &Shared,
    key: &JobKey,
    (name, config_map): (&str, &str),
) -> Result<(), ApplyError> {
    let owner = shared.cluster.config_maps.get(&key.namespace, config_map);
    let Some(uid) = owner.and_then(|owner| owner.uid()) else {
        // A list that is older than it has taken it away again: the next pass applies it anew.
        let action = format!("create Secret {name}");
        return Err(ApiError::Conflict { action }.into());
    };
    let owner = OwnerReference {
        api_version: ConfigMap::api_version(&()).into_owned(),
        kind: ConfigMap::kind(&()).into_owned(),
        name: config_map.to_owned(),
        uid,
        ..OwnerReference::default()
    };
    let issued = shared
        .authority
        .issue_job(&key.namespace, &key.name, Timestamp::now())?;
    let entries = [
        (CA_FILE, shared.authority.certificate()),
        (CERTIFICATE_FILE, issued.certificate.as_str()),
        (KEY_FILE, issued.key.as_str()),
    ];
    let data = entries.map(|(file, text)| (file.to_owned(), ByteString(text.as_bytes().to_vec())));
    let labels = [
        (LABEL_JOB, key.name.as_str()),
        (LABEL_MANAGED_BY, MANAGED_BY),
    ];
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.into()),
        immutable: Some(true),
        ..Secret::default()
    };
    match shared.writer.create(&key.namespace, &secret).await {
        Ok(_) | Err(ApiError::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// An object as the API server takes it.
fn rendered<K: Kind>(object: &K) -> Value {
    serde_json::to_value(object).expect("objects of Kubernetes always serialize")
}
