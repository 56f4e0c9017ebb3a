//! Carries out what was decided about a job's Checkpoint objects.

use std::time::Duration;

use kube::ResourceExt;
use tidegate_api::spec::DeletionPolicy;
use tidegate_api::{Checkpoint, StreamJob};
use tokio::time::Instant;

use super::{ApplyError, change, children, release_pod, word};
use crate::budget::Grant;
use crate::checkpoints::{CheckpointsObserved, CheckpointsPlan, RefusedAsk, Told};
use crate::client::{JobApiError, JobPod};
use crate::cluster::Cluster;
use crate::events;
use crate::job_api::JobCommand;
use crate::plan::Ask;
use crate::queue::JobKey;
use crate::shared::Shared;

/// Writes and asks for what the plan says. Gives the time after which the budget allows what it
/// does not allow now.
///
/// # Errors
/// The first step that fails; those after it are left to the next pass.
pub async fn carry_out_checkpoints(
    shared: &Shared,
    key: &JobKey,
    observed: &CheckpointsObserved,
    plan: &CheckpointsPlan,
) -> Result<Option<Duration>, ApplyError> {
    for answer in &plan.answers {
        // The object may be gone after its change.
        let told = about(&shared.cluster, key, &plan.told, answer_uid(answer));
        change::write(shared, key, answer).await?;
        for (object, told) in told {
            let notes = std::slice::from_ref(&told.note);
            events::tell(
                &shared.writer,
                &shared.config.identity,
                object.as_ref(),
                notes,
            )
            .await;
        }
    }
    for order in &plan.cleanups {
        let pod = release_pod::release_pod(&key.namespace, order, &shared.config.settings);
        children::create(shared, key, &pod).await?;
    }
    let mut refused = None;
    for (checkpoint, ask) in &plan.asks {
        if let Err(error) = send(shared, key, checkpoint, ask).await {
            refused = Some(error);
        }
    }
    if let Some(error) = refused {
        return Err(error);
    }
    for name in &plan.delete {
        super::delete(shared, key, name).await?;
    }
    mirror(shared, key, observed, plan).await
}

async fn mirror(
    shared: &Shared,
    key: &JobKey,
    observed: &CheckpointsObserved,
    plan: &CheckpointsPlan,
) -> Result<Option<Duration>, ApplyError> {
    for entry in &plan.mirror {
        // To ask a process takes time, in which the job may have gone with its files.
        let job = shared.cluster.jobs.get(&key.namespace, &key.name);
        if goes_with_files(observed.job.as_deref(), job.as_deref()) {
            return Ok(Some(Duration::ZERO));
        }
        let cost = change::cost(shared, key, entry);
        if let Grant::After(wait) = shared.budget().ask(key, cost, Instant::now()) {
            return Ok(Some(wait));
        }
        change::write(shared, key, entry).await?;
    }
    Ok(None)
}

/// Whether the files of a job go, or went, since it was looked at.
fn goes_with_files(then: Option<&StreamJob>, now: Option<&StreamJob>) -> bool {
    let Some(then) = then else { return false };
    let now = now.filter(|now| now.metadata.uid == then.metadata.uid);
    let last = now.unwrap_or(then);
    let is_going = now.is_none_or(|now| now.metadata.deletion_timestamp.is_some());
    let was_going = then.metadata.deletion_timestamp.is_some();
    is_going && !was_going && last.spec.deletion_policy == DeletionPolicy::Delete
}

async fn send(
    shared: &Shared,
    key: &JobKey,
    checkpoint: &str,
    ask: &Ask,
) -> Result<(), ApplyError> {
    let pods = shared.cluster.pods.get(&key.namespace, &ask.pod);
    let Some(ip) = pods.and_then(|pod| pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()) else {
        return Ok(());
    };
    let pod = JobPod {
        job: key.clone(),
        ip,
    };
    let answer = shared.jobs.ask(&pod, &ask.command).await;
    shared.metrics.count_job_request(answer.is_ok());
    let what = word(&ask.command);
    match &answer {
        Ok(()) => {
            shared.memory.remove_refused_ask(key, checkpoint);
            tracing::info!(checkpoint, command = what, "a job process was asked");
        }
        Err(error) if error.is_refusal() => {
            // The next plan knows of it; nothing else has to wait.
            let refused = RefusedAsk {
                checkpoint: checkpoint.to_owned(),
                message: error.to_string(),
                is_gone: is_gone(&ask.command, error),
            };
            if shared.memory.add_refused_ask(key, &refused) {
                let message = refused.message;
                tracing::info!(checkpoint, command = what, message, "a job process refuses");
            }
            return Ok(());
        }
        Err(_) => {}
    }
    answer.map_err(|source| ApplyError::Ask {
        pod: ask.pod.clone(),
        what,
        source,
    })
}

/// Whether a job does not retain what it was asked to release. Its words tell, since one status has
/// many causes; older jobs say nothing else, either.
fn is_gone(command: &JobCommand, error: &JobApiError) -> bool {
    let is_release = matches!(command, JobCommand::Release { .. });
    let is_unknown = matches!(
        error,
        JobApiError::Refused { status: 404 | 409, message } if message.contains("not retained")
    );
    is_release && is_unknown
}

fn answer_uid(change: &crate::checkpoints::Change) -> Option<&str> {
    use crate::checkpoints::Change;
    match change {
        Change::Create(_) => None,
        Change::Record { uid, .. } | Change::Free { uid, .. } | Change::Drop { uid, .. } => {
            Some(uid)
        }
    }
}

/// The object of a unique id, with what is to be told about it.
fn about<'a>(
    cluster: &Cluster,
    key: &JobKey,
    told: &'a [Told],
    uid: Option<&str>,
) -> Vec<(std::sync::Arc<Checkpoint>, &'a Told)> {
    let mine = told.iter().filter(|told| Some(told.uid.as_str()) == uid);
    let with_object = mine.filter_map(|told| {
        let object = cluster.checkpoints.get(&key.namespace, &told.checkpoint)?;
        (object.uid().as_deref() == Some(told.uid.as_str())).then_some((object, told))
    });
    with_object.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_mirrored_late_is_not_made_of_files_that_are_gone() {
        let job = |uid: &str, policy: &str, deleted: Option<&str>| -> StreamJob {
            let object = json!({
                "metadata": {"name": "orders", "uid": uid, "deletionTimestamp": deleted},
                "spec": {"program": {"image": "good:1"}, "deletionPolicy": policy},
            });
            serde_json::from_value(object).unwrap()
        };
        let (lives, kept) = (job("1", "Delete", None), job("1", "Retain", None));
        let goes = job("1", "Delete", Some("2026-11-30T12:00:00Z"));
        let next = job("2", "Delete", None);
        assert!(!goes_with_files(None, None), "what is left without a job");
        assert!(!goes_with_files(Some(&lives), Some(&lives)));
        assert!(goes_with_files(Some(&lives), Some(&goes)));
        assert!(goes_with_files(Some(&lives), None));
        assert!(
            goes_with_files(Some(&lives), Some(&next)),
            "it is made again"
        );
        assert!(
            goes_with_files(Some(&kept), Some(&goes)),
            "the last word counts"
        );
        assert!(!goes_with_files(Some(&kept), None));
        assert!(
            !goes_with_files(Some(&goes), Some(&goes)),
            "that was planned for"
        );
    }

    #[test]
    fn a_job_that_does_not_retain_a_checkpoint_has_nothing_left_to_release() {
        let release = JobCommand::Release { id: 7 };
        let says = |command: &JobCommand, status, message: &str| {
            let message = message.to_owned();
            is_gone(command, &JobApiError::Refused { status, message })
        };
        let unknown = "checkpoint 7 is not retained; GET /v1/checkpoints lists those that are";
        assert!(says(&release, 404, unknown));
        assert!(says(&release, 409, "checkpoint 7 is not retained"));
        let newest = "checkpoint 7 is the one that the job goes on from; it can be released when \
                      a newer one is complete";
        assert!(!says(&release, 409, newest));
        let damaged =
            "checkpoint 7 may be in `entry-8` of the checkpoint log, which cannot be read";
        assert!(!says(&release, 409, damaged));
        assert!(!says(&release, 404, "the job answers 404 Not Found"));
        let savepoint = JobCommand::Savepoint {
            name: "now".to_owned(),
        };
        assert!(!says(&savepoint, 409, "checkpoint 7 is not retained"));
    }
}
