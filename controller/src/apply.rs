//! Carries out what was decided, in its order; the only place that writes children.
//!
//! ```text
//! finalizer ─▶ children ─▶ asks of job processes ─▶ deletions ─▶ report
//! ```

mod change;
mod checkpoints;
mod children;
mod release_pod;

use kube::ResourceExt;
use serde_json::json;
use tidegate_api::StreamJob;
use tidegate_api::labels::FINALIZER_JOB;

use crate::client::{ApiError, JobApiError, JobPod};
use crate::job_api::JobCommand;
use crate::observed::Observed;
use crate::plan::{Ask, Child, ChildName, Plan};
use crate::queue::JobKey;
use crate::shared::Shared;

pub use checkpoints::carry_out_checkpoints;

/// Why a plan was not carried out to its end.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The API server did not do its part.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A certificate could not be made.
    #[error(transparent)]
    Certificate(#[from] crate::certificates::CertificateError),
    /// A job process did not do its part.
    #[error("pod {pod} was asked to {what}: {source}")]
    Ask {
        /// The pod.
        pod: String,
        /// What was asked.
        what: &'static str,
        /// Why not.
        source: JobApiError,
    },
}

impl ApplyError {
    /// What only a person can help with, in a sentence: what the API server refuses.
    pub fn refusal(&self) -> Option<String> {
        match self {
            Self::Api(
                error @ (ApiError::Refused { .. }
                | ApiError::NamespaceTerminating { .. }
                | ApiError::Forbidden { .. }),
            ) => Some(error.to_string()),
            _ => None,
        }
    }
}

/// Writes and asks for what the plan says, status and the finalizer's end aside. Where the API
/// server refuses a child, which only a person can help with, what runs is looked after all the
/// same.
///
/// # Errors
/// The first step that fails; those after it are left to the next pass.
pub async fn carry_out(
    shared: &Shared,
    key: &JobKey,
    observed: &Observed,
    plan: &Plan,
) -> Result<(), ApplyError> {
    let job = &observed.job;
    if plan.finalizer && !is_guarded(job) {
        set_finalizer(shared, key, job, true).await?;
    }
    let applied = apply_children(shared, key, observed, plan).await;
    let is_refused = match &applied {
        Err(error) if error.refusal().is_none() => return applied,
        Err(_) => true,
        Ok(()) => false,
    };
    let mut unheard = None;
    for ask in &plan.ask {
        if let Err(error) = send(shared, key, observed, ask).await {
            unheard = Some(error);
        }
    }
    if let Some(error) = unheard {
        return applied.and(Err(error));
    }
    for name in &plan.delete {
        // A new pod is made of what there is.
        if !is_refused || matches!(name, ChildName::Pod { .. }) {
            delete(shared, key, name).await?;
        }
    }
    applied
}

async fn apply_children(
    shared: &Shared,
    key: &JobKey,
    observed: &Observed,
    plan: &Plan,
) -> Result<(), ApplyError> {
    for child in &plan.apply {
        if let Child::Deployment(object) = child {
            children::look_for_unseen(shared, key, observed, object).await?;
        }
    }
    for child in &plan.apply {
        children::apply(shared, key, child).await?;
    }
    Ok(())
}

/// Whether the job carries the finalizer.
pub fn is_guarded(job: &StreamJob) -> bool {
    job.finalizers().iter().any(|name| name == FINALIZER_JOB)
}

/// Puts the finalizer on, or takes it off: if the job still is as it was seen.
///
/// # Errors
/// As [`ApiError`] has them.
pub async fn set_finalizer(
    shared: &Shared,
    key: &JobKey,
    job: &StreamJob,
    is_wanted: bool,
) -> Result<(), ApiError> {
    let mut finalizers: Vec<String> = job.finalizers().to_vec();
    finalizers.retain(|name| name != FINALIZER_JOB);
    if is_wanted {
        finalizers.push(FINALIZER_JOB.to_owned());
    }
    let version = job.resource_version();
    let change = json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
    let written = shared
        .writer
        .merge::<StreamJob>(&key.namespace, &key.name, &change)
        .await;
    match written {
        Ok(job) => {
            shared.cluster.note(job);
            Ok(())
        }
        // Nothing is left to guard.
        Err(ApiError::NotFound { .. }) if !is_wanted => Ok(()),
        Err(error) => Err(error),
    }
}

async fn send(
    shared: &Shared,
    key: &JobKey,
    observed: &Observed,
    ask: &Ask,
) -> Result<(), ApplyError> {
    let pod = observed.pods.iter().find(|pod| pod.name == ask.pod);
    let ip = pod.and_then(|pod| pod.ip.as_ref()?.parse().ok());
    let Some(ip) = ip else {
        return Ok(());
    };
    let pod = JobPod {
        job: key.clone(),
        ip,
    };
    let answer = shared.jobs.ask(&pod, &ask.command).await;
    shared.metrics.count_job_request(answer.is_ok());
    let what = word(&ask.command);
    if answer.is_ok() {
        tracing::info!(pod = ask.pod, command = what, "a job process was asked");
    }
    answer.map_err(|source| ApplyError::Ask {
        pod: ask.pod.clone(),
        what,
        source,
    })
}

const fn word(command: &JobCommand) -> &'static str {
    match command {
        JobCommand::Start => "start",
        JobCommand::Stop(_) => "stop",
        JobCommand::Rescale { .. } => "rescale",
        JobCommand::Settings { .. } => "change its settings",
        JobCommand::Savepoint { .. } => "take a savepoint",
        JobCommand::Release { .. } => "release a checkpoint",
    }
}

/// Deletes a child, by the unique id that it is known under.
pub(crate) async fn delete(
    shared: &Shared,
    key: &JobKey,
    name: &ChildName,
) -> Result<(), ApiError> {
    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::core::v1::{ConfigMap, Pod};

    let (cluster, writer, namespace) = (&shared.cluster, &shared.writer, &key.namespace);
    match name {
        ChildName::Pod { name, uid } => writer.delete::<Pod>(namespace, name, uid).await,
        ChildName::Deployment(name) => match uid(cluster.deployments.get(namespace, name)) {
            Some(uid) => writer.delete::<Deployment>(namespace, name, &uid).await,
            None => Ok(()),
        },
        ChildName::ConfigMap(name) => match uid(cluster.config_maps.get(namespace, name)) {
            Some(uid) => writer.delete::<ConfigMap>(namespace, name, &uid).await,
            None => Ok(()),
        },
    }
}

/// The unique id of an object that is there and not being deleted already.
fn uid<K: ResourceExt>(object: Option<std::sync::Arc<K>>) -> Option<String> {
    object
        .filter(|object| object.meta().deletion_timestamp.is_none())?
        .uid()
}

#[cfg(test)]
mod tests;
