//! Everything about one job's Checkpoint objects.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::{facts, observe};
use crate::checkpoints::{CheckpointsObserved, ReleasePod, TellingJob, written_storage};
use crate::client::ApiError;
use crate::queue::JobKey;
use crate::shared::Shared;

/// Everything about one job's Checkpoint objects, whether or not there is the job.
///
/// # Errors
/// As [`observe`] has them.
pub async fn observe_checkpoints(
    shared: &Shared,
    key: &JobKey,
) -> Result<CheckpointsObserved, ApiError> {
    let job = shared.cluster.jobs.get(&key.namespace, &key.name);
    let observed = match &job {
        Some(job) => Some(observe(shared, key, job.clone()).await?),
        None => None,
    };
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let pods = shared.cluster.pods.of(key);
    Ok(CheckpointsObserved {
        now_ms,
        namespace: key.namespace.clone(),
        job_name: key.name.clone(),
        storage: observed.as_ref().and_then(written_storage),
        objects: shared.cluster.checkpoints.of(key),
        telling: observed.as_ref().and_then(TellingJob::of),
        has_pods: observed
            .as_ref()
            .is_some_and(|o| o.pods.iter().any(|pod| !pod.is_over)),
        release_pods: pods
            .iter()
            .filter_map(|pod| release_pod(pod, now_ms))
            .collect(),
        refused: shared.memory.refused_asks(key),
        is_namespace_terminating: match &observed {
            Some(observed) => observed.is_namespace_terminating,
            None => shared.memory.is_namespace_terminating(key),
        },
        job,
    })
}

fn release_pod(pod: &Pod, now_ms: i64) -> Option<ReleasePod> {
    Some(ReleasePod {
        checkpoint_uid: facts::checkpoint_uid(pod)?,
        name: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        state: facts::cleanup_state(pod, now_ms),
    })
}
