//! Reads everything that a pass needs to know, and writes nothing.

mod checkpoints;
mod facts;
mod trouble;

use std::net::IpAddr;
use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, ResourceExt};
use tidegate_api::StreamJob;
use tidegate_api::labels::{ANNOTATION_APPLIED, LABEL_REVISION};
use tidegate_api::pod::revision_name;
use tidegate_api::start_from::StartFrom;

use crate::checkpoints::own_objects;
use crate::client::{ApiError, JobPod};
use crate::observed::{ApiFacts, Observed, PodFacts, RevisionFacts, Writers};
use crate::queue::JobKey;
use crate::shared::Shared;
use crate::stream_job::indispensable;

pub use checkpoints::observe_checkpoints;
pub use trouble::trouble;

/// Everything about one job.
///
/// # Errors
/// What must be asked of the API server itself cannot be asked.
pub async fn observe(
    shared: &Shared,
    key: &JobKey,
    job: Arc<StreamJob>,
) -> Result<Observed, ApiError> {
    let now_ms = Timestamp::now().as_millisecond();
    let all = shared.cluster.pods.of(key);
    let purge = all.iter().find(|pod| facts::is_purge(pod));
    let own = all
        .iter()
        .filter(|pod| pod.labels().contains_key(LABEL_REVISION));
    let pods = join_all(own.map(|pod| observe_pod(shared, key, pod, now_ms))).await;
    let deployments = deployments(shared, key, &job).await?;
    let mut revisions: Vec<_> = deployments
        .into_iter()
        .filter_map(|deployment| facts::revision(deployment, job.uid().as_deref()))
        .map(|revision| RevisionFacts {
            writers: writers(shared, key, &revision),
            ..revision
        })
        .collect();
    revisions.sort_by_key(|revision| revision.start_generation);
    let config_maps = shared.cluster.config_maps.of(key);
    let config_maps = config_maps
        .iter()
        .filter_map(|map| facts::config_map(&map.metadata, &key.name, job.uid().as_deref()))
        .collect();
    shared.memory.keep_silent(key, &pods);
    let is_namespace_terminating = is_namespace_terminating(shared, key, &job).await;
    let mut observed = Observed {
        now_ms,
        authority: shared.authority.id(),
        revisions,
        config_maps,
        purge: purge.map(|pod| facts::cleanup(pod, now_ms)),
        pods,
        checkpoints: shared.cluster.checkpoints.of(key),
        start_checkpoint: start_checkpoint(shared, key, &job),
        is_namespace_terminating,
        refused_write: shared.memory.refused_write(key),
        job,
    };
    // The others are nobody's to wait for.
    observed.checkpoints = own_objects(&observed);
    Ok(observed)
}

/// The job's Deployments. Whether one is gone that the job cannot do without is asked of the API
/// server itself: a list that is older than it may have taken it from what is watched.
async fn deployments(
    shared: &Shared,
    key: &JobKey,
    job: &StreamJob,
) -> Result<Vec<Arc<Deployment>>, ApiError> {
    let seen = shared.cluster.deployments.of(key);
    let is_seen = |revision: &str| {
        let mut seen = seen.iter();
        seen.any(|it| {
            it.labels()
                .get(LABEL_REVISION)
                .is_some_and(|it| it == revision)
        })
    };
    let status = job.status.as_ref();
    let owner = status.and_then(|status| status.revision.as_deref());
    let upgrade = status.and_then(|status| status.upgrade.as_ref());
    if indispensable(owner, upgrade).all(is_seen) {
        return Ok(seen);
    }
    shared.look_up_deployments(key).await?;
    Ok(shared.cluster.deployments.of(key))
}

/// What stands around a Deployment, which somebody may have changed since, or deleted.
fn writers(shared: &Shared, key: &JobKey, revision: &RevisionFacts) -> Option<Writers> {
    let cluster = &shared.cluster;
    let config_map = revision_name(&key.name, &revision.revision);
    let config_map = cluster.config_maps.get(&key.namespace, &config_map)?;
    let policies = cluster.network_policies.of(key);
    let budgets = cluster.disruption_budgets.of(key);
    let applied = config_map.annotations().get(ANNOTATION_APPLIED);
    Some(Writers {
        applied_config: applied.cloned(),
        config_map: config_map.managed_fields().to_vec(),
        policy: policies.first()?.managed_fields().to_vec(),
        budget: budgets.first()?.managed_fields().to_vec(),
    })
}

/// Where the job process of a pod can be asked, if it can.
pub fn job_pod(key: &JobKey, pod: &Pod) -> Option<JobPod> {
    let ip: IpAddr = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
    facts::runs(pod).then(|| JobPod {
        job: key.clone(),
        ip,
    })
}

async fn observe_pod(shared: &Shared, key: &JobKey, pod: &Pod, now_ms: i64) -> PodFacts {
    let api = match job_pod(key, pod) {
        None => ApiFacts::NotRunning,
        Some(address) => ask(shared, key, pod, &address).await,
    };
    facts::pod(pod, api, now_ms)
}

async fn ask(shared: &Shared, key: &JobKey, pod: &Pod, address: &JobPod) -> ApiFacts {
    let answer = async {
        let job = shared.jobs.job(address).await?;
        let checkpoints = shared.jobs.checkpoints(address).await?;
        Ok((job, checkpoints))
    };
    let answer: Result<_, crate::client::JobApiError> = answer.await;
    shared.metrics.count_job_request(answer.is_ok());
    match answer {
        Ok((job, checkpoints)) => ApiFacts::Answers {
            job: Box::new(job),
            checkpoints,
        },
        Err(error) => {
            let uid = pod.uid().unwrap_or_default();
            // Counted from here: a pass that took long is no silence of the job's.
            let failed_ms = Timestamp::now().as_millisecond();
            let since_ms = shared.memory.silent_since(key, &uid, failed_ms);
            ApiFacts::Silent {
                error: error.to_string(),
                since_ms,
            }
        }
    }
}

fn start_checkpoint(
    shared: &Shared,
    key: &JobKey,
    job: &StreamJob,
) -> Option<Arc<tidegate_api::Checkpoint>> {
    match StartFrom::parse(&job.spec.start_from).ok()? {
        StartFrom::Name(name) => shared.cluster.checkpoints.get(&key.namespace, &name),
        StartFrom::Latest | StartFrom::Empty | StartFrom::Url { .. } => None,
    }
}

/// Whether the namespace is being deleted: looked up only where it matters, since watching
/// namespaces needs rights over the whole cluster.
async fn is_namespace_terminating(shared: &Shared, key: &JobKey, job: &StreamJob) -> bool {
    let was_told = shared.memory.is_namespace_terminating(key);
    if !was_told && job.metadata.deletion_timestamp.is_none() {
        return false;
    }
    let namespaces: Api<Namespace> = Api::all(shared.writer.client().clone());
    match namespaces.get_opt(&key.namespace).await {
        Ok(namespace) => namespace.is_none_or(|n| n.metadata.deletion_timestamp.is_some()),
        Err(error) => {
            tracing::debug!(namespace = key.namespace, %error, "the namespace cannot be read");
            was_told
        }
    }
}
