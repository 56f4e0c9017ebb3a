//! The status: what is seen, put together.

use tidegate_api::job_config::job_folder;
use tidegate_api::status::{ConditionType, LatestCheckpoint, StreamJobStatus, UpgradeStatus};

use super::conditions::{checkpointing, condition};
use super::draft::Verdict;
use super::failure::last_failure;
use super::standing::{has_pods, live_pods, standing};
use crate::build::job_selector;
use crate::job_api::CheckpointView;
use crate::observed::{ApiFacts, Observed, RevisionFacts};
use crate::time::to_text;

/// What was decided about the status.
#[derive(Clone, Debug)]
pub(super) struct Told<'a> {
    /// The revision whose processes are looked at.
    pub(super) current: Option<&'a RevisionFacts>,
    /// The revision that owns the job from now on.
    pub(super) revision: Option<String>,
    pub(super) upgrade: Option<UpgradeStatus>,
    pub(super) ready: Verdict,
    pub(super) valid: Verdict,
    pub(super) up_to_date: Verdict,
}

/// The whole status.
pub(super) fn status(observed: &Observed, told: Told<'_>) -> StreamJobStatus {
    let before = observed.job.status.clone().unwrap_or_default();
    let name = observed.job.metadata.name.as_deref().unwrap_or_default();
    let is_same_revision = before.revision == told.revision;
    let (restarts, attempt) = match is_same_revision {
        true => restarts(observed, told.current, &before),
        false => (0, first_attempt(observed, &told)),
    };
    let checkpoints = checkpointing(observed, told.current, &told.ready);
    let conditions = vec![
        condition(ConditionType::Ready, told.ready, observed),
        condition(ConditionType::Valid, told.valid, observed),
        condition(ConditionType::Checkpointing, checkpoints, observed),
        condition(ConditionType::UpToDate, told.up_to_date, observed),
    ];
    StreamJobStatus {
        observed_generation: observed.job.metadata.generation,
        revision: told.revision,
        parallelism: Some(parallelism(observed, told.current, &before)),
        selector: Some(job_selector(name)),
        restarts: Some(restarts),
        attempt,
        last_failure: last_failure(observed, told.current, &before),
        latest_checkpoint: latest_checkpoint(observed, told.current).or(before.latest_checkpoint),
        upgrade: told.upgrade,
        conditions,
    }
}

/// What runs: 0 without pods, and what was seen last while none of them answers.
fn parallelism(
    observed: &Observed,
    current: Option<&RevisionFacts>,
    before: &StreamJobStatus,
) -> i32 {
    let Some(current) = current.filter(|current| has_pods(observed, current)) else {
        return 0;
    };
    match standing(observed, &current.revision).view() {
        Some(view) => i32::try_from(view.parallelism).unwrap_or(i32::MAX),
        None => before.parallelism.unwrap_or_default(),
    }
}

/// How often the job was started again, and its attempt. A new attempt is a restart, whatever its
/// cause; a container that never comes so far is counted by kubelet.
fn restarts(
    observed: &Observed,
    current: Option<&RevisionFacts>,
    before: &StreamJobStatus,
) -> (i32, Option<i64>) {
    let mut restarts = before.restarts.unwrap_or_default();
    let Some(current) = current else {
        return (restarts, before.attempt);
    };
    let attempt = attempt(observed, current);
    if let (Some(old), Some(new)) = (before.attempt, attempt)
        && new > old
    {
        restarts = restarts.saturating_add(1);
    }
    let containers = live_pods(observed, &current.revision)
        .map(|pod| pod.restart_count)
        .max();
    (
        restarts.max(containers.unwrap_or_default()),
        attempt.or(before.attempt),
    )
}

/// The attempt of a revision that owns the job from now on, if that is the one looked at.
fn first_attempt(observed: &Observed, told: &Told<'_>) -> Option<i64> {
    let current = told
        .current
        .filter(|current| Some(&current.revision) == told.revision.as_ref());
    attempt(observed, current?)
}

fn attempt(observed: &Observed, current: &RevisionFacts) -> Option<i64> {
    let view = standing(observed, &current.revision).view();
    view.and_then(|view| view.attempt)
        .and_then(|attempt| i64::try_from(attempt).ok())
}

/// The newest checkpoint that the current revision's process knows.
fn latest_checkpoint(
    observed: &Observed,
    current: Option<&RevisionFacts>,
) -> Option<LatestCheckpoint> {
    let current = current?;
    let config = current.config.as_ref()?;
    let mut newest: Option<&CheckpointView> = None;
    for pod in live_pods(observed, &current.revision) {
        if let ApiFacts::Answers { job, checkpoints } = &pod.api {
            let known = checkpoints.iter().chain(&job.last_checkpoint);
            newest = known.chain(newest).max_by_key(|checkpoint| checkpoint.id);
        }
    }
    let newest = newest?;
    let folder = job_folder(&config.storage.url, &config.namespace, &config.name);
    Some(LatestCheckpoint {
        id: i64::try_from(newest.id).ok()?,
        kind: newest.kind,
        completed_time: to_text(newest.completed_ms),
        location: format!("{folder}#{}", newest.id),
    })
}

/// Whether two statuses differ in nothing but the latest checkpoint.
pub(super) fn is_mirror_only(before: Option<&StreamJobStatus>, now: &StreamJobStatus) -> bool {
    before.is_some_and(|before| {
        let same = StreamJobStatus {
            latest_checkpoint: before.latest_checkpoint.clone(),
            ..now.clone()
        };
        before != now && *before == same
    })
}
