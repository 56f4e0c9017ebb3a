//! Reports how a job is: one status write, skipped when nothing is new, and the events.

use std::time::Duration;

use kube::ResourceExt;
use serde_json::json;
use tidegate_api::StreamJob;
use tokio::time::Instant;

use crate::budget::Grant;
use crate::client::ApiError;
use crate::events;
use crate::merge_patch::replacing;
use crate::observed::Observed;
use crate::plan::{EventNote, Plan};
use crate::queue::JobKey;
use crate::shared::Shared;

/// Writes the status if it is new, and tells the events. Gives the time after which the budget
/// allows a status that only mirrors checkpoints.
///
/// Most events are told once the status is written: they come again with the next pass. Those of
/// children that were written do not, so they are told whatever becomes of the status.
///
/// # Errors
/// As [`ApiError`] has them.
pub async fn report(
    shared: &Shared,
    key: &JobKey,
    observed: &Observed,
    plan: &Plan,
) -> Result<Option<Duration>, ApiError> {
    let written = report_status(shared, key, observed, plan).await;
    let is_told = |event: &&EventNote| written.is_ok() || event.reason.is_of_write();
    let events: Vec<EventNote> = plan.events.iter().filter(is_told).cloned().collect();
    let (writer, identity) = (&shared.writer, &shared.config.identity);
    events::tell(writer, identity, observed.job.as_ref(), &events).await;
    written
}

async fn report_status(
    shared: &Shared,
    key: &JobKey,
    observed: &Observed,
    plan: &Plan,
) -> Result<Option<Duration>, ApiError> {
    // What was written in this pass changed the job's version.
    let job = shared.cluster.jobs.get(&key.namespace, &key.name);
    let job = job.unwrap_or_else(|| observed.job.clone());
    let is_known = job.status.as_ref() == Some(&plan.status)
        || shared
            .memory
            .was_reported(key, &plan.status, job.status.as_ref());
    if !is_known {
        if plan.status_is_mirror_only
            && let Grant::After(wait) = shared.budget().ask(key, 1, Instant::now())
        {
            return Ok(Some(wait));
        }
        match write(shared, key, &job, plan).await {
            Err(ApiError::NotFound { .. }) => {}
            written => written?,
        }
    }
    Ok(None)
}

async fn write(
    shared: &Shared,
    key: &JobKey,
    job: &StreamJob,
    plan: &Plan,
) -> Result<(), ApiError> {
    let change = json!({
        // What others have written has to be known to be taken back; and another job of this name
        // has another status.
        "metadata": {"resourceVersion": job.resource_version()},
        "status": replacing(job.status.as_ref(), &plan.status),
    });
    let written: StreamJob = shared
        .writer
        .merge_status(&key.namespace, &key.name, &change)
        .await?;
    shared
        .memory
        .set_reported(key, plan.status.clone(), written.status.clone());
    shared.cluster.note(written);
    Ok(())
}
