//! The state that a job is in, without what differs from run to run.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tidegate_api::labels::LABEL_JOB;
use tidegate_api::status::ConditionType;
use tidegate_api::{Checkpoint, StreamJob};

/// The objects of the job, and what its status says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary(pub(crate) Value);

impl Summary {
    pub(crate) async fn of(client: &Client, namespace: &str) -> kube::Result<Self> {
        let mut objects: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        objects.insert("configMaps", names::<ConfigMap>(client, namespace).await?);
        // The id of its authority ends a Secret's name, and each world has one of its own.
        let secrets = names::<Secret>(client, namespace).await?.into_iter();
        let stems = secrets.map(|name| match name.rsplit_once("-tls-") {
            Some((revision, _)) => format!("{revision}-tls"),
            None => name,
        });
        objects.insert("secrets", stems.collect());
        objects.insert(
            "networkPolicies",
            names::<NetworkPolicy>(client, namespace).await?,
        );
        objects.insert(
            "budgets",
            names::<PodDisruptionBudget>(client, namespace).await?,
        );
        let deployments = list::<Deployment>(client, namespace).await?;
        let deployments = deployments.iter().map(|deployment| {
            let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
            format!("{} {replicas:?}", deployment.name_any())
        });
        objects.insert("deployments", deployments.collect());
        let pods = list::<Pod>(client, namespace).await?;
        objects.insert("pods", vec![pods.len().to_string()]);
        let jobs = list::<StreamJob>(client, namespace).await?;
        let jobs: Vec<Value> = jobs.iter().map(job).collect();
        // The mirror of what the job takes by itself is behind or not.
        let savepoints = list::<Checkpoint>(client, namespace).await?.into_iter();
        let savepoints = savepoints.filter_map(|object| {
            let status = object.status.as_ref()?;
            let name = object.name_any();
            Some(json!([name, status.state, object.finalizers()])).filter(|_| name == "mine")
        });
        let savepoints: Vec<Value> = savepoints.collect();
        let all = json!({"objects": objects, "jobs": jobs, "savepoints": savepoints});
        Ok(Self(all))
    }
}

fn job(job: &StreamJob) -> Value {
    let status = job.status.clone().unwrap_or_default();
    let reasons = [
        ConditionType::Ready,
        ConditionType::Valid,
        ConditionType::UpToDate,
    ];
    let reasons = reasons.map(|type_| {
        let condition = status.condition(type_)?;
        Some(json!([
            condition.status,
            condition.reason,
            condition.observed_generation
        ]))
    });
    let upgrade = status.upgrade.as_ref().map(|upgrade| {
        let upgrade = (
            upgrade.phase,
            upgrade.requested_mode,
            upgrade.used_mode,
            &upgrade.from_revision,
            &upgrade.to_revision,
        );
        json!(upgrade)
    });
    json!({
        "finalizers": job.finalizers(), "revision": status.revision,
        "parallelism": status.parallelism, "reasons": reasons, "upgrade": upgrade,
    })
}

async fn list<K>(client: &Client, namespace: &str) -> kube::Result<Vec<K>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    Ok(api.list(&ListParams::default()).await?.items)
}

async fn names<K>(client: &Client, namespace: &str) -> kube::Result<Vec<String>>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let objects = list::<K>(client, namespace).await?.into_iter();
    let own = objects.filter(|object| object.labels().contains_key(LABEL_JOB));
    Ok(own.map(|object| object.name_any()).collect())
}
