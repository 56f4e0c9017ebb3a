//! One pass over a job, or over its Checkpoint objects.
//!
//! ```text
//! observe ─▶ plan (pure) ─▶ apply ─▶ report
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_api::spec::DeletionPolicy;
use tidegate_api::{Checkpoint, StreamJob};
use tracing::Instrument;

use crate::apply::{ApplyError, carry_out, carry_out_checkpoints, is_guarded, set_finalizer};
use crate::checkpoints;
use crate::client::ApiError;
use crate::metrics::Subject;
use crate::observe::{observe, observe_checkpoints};
use crate::observed::Observed;
use crate::plan::{Decision, LookAgain, Plan};
use crate::queue::{JobKey, Outcome, Work};
use crate::report::report;
use crate::shared::Shared;

/// While revisions hand over, every moment is one without results.
const AT_ONCE: Duration = Duration::from_millis(500);
const SOON: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(15);
/// Whatever is missed is found by then.
const RESYNC: Duration = Duration::from_secs(300);

/// Goes through one piece of work.
pub async fn reconcile(shared: Arc<Shared>, work: Work) -> Outcome {
    let key = work.key().clone();
    if !shared.cluster.knows(&key.namespace) {
        // It is told again when all of its namespace is known.
        return Outcome::Done { again: None };
    }
    let subject = match work {
        Work::Job(_) => Subject::Job,
        Work::Checkpoints(_) => Subject::Checkpoints,
    };
    let span = tracing::info_span!(
        "reconcile",
        kind = subject.as_str(),
        job.namespace = key.namespace,
        job.name = key.name
    );
    let began = Instant::now();
    let result = async {
        let result = match subject {
            Subject::Job => reconcile_job(&shared, &key).await,
            Subject::Checkpoints => reconcile_checkpoints(&shared, &key).await,
        };
        result.inspect_err(log)
    };
    let result = result.instrument(span).await;
    shared
        .metrics
        .count_reconcile(subject, result.is_ok(), began.elapsed());
    match result {
        Ok(again) => Outcome::Done { again },
        Err(ApplyError::Api(error)) => Outcome::Failed {
            retry_after: error.retry_after(),
        },
        Err(_) => Outcome::Failed { retry_after: None },
    }
}

fn log(error: &ApplyError) {
    let source = std::error::Error::source(error).map(ToString::to_string);
    match error {
        // Somebody was faster; the next pass sees what is there.
        ApplyError::Api(ApiError::Conflict { .. } | ApiError::NotLeading { .. }) => {
            tracing::debug!(%error, source, "a pass was cut short");
        }
        // The message tells the cause.
        ApplyError::Ask { .. } => {
            tracing::info!(%error, "a job process did not do what was asked; it is asked again");
        }
        _ => tracing::warn!(%error, source, "a pass was cut short and is repeated"),
    }
}

async fn reconcile_job(shared: &Shared, key: &JobKey) -> Result<Option<Duration>, ApplyError> {
    let Some(job) = shared.cluster.jobs.get(&key.namespace, &key.name) else {
        shared.forget(key);
        return Ok(None);
    };
    let observed = observe(shared, key, job).await?;
    shared.peeks.follow(key, &observed);
    let plan = shared.plan(&observed);
    tracing::debug!(decision = ?plan.decision, "decided");
    match carry_out(shared, key, &observed, &plan).await {
        Ok(()) => {
            shared
                .memory
                .set_namespace_terminating(key, observed.is_namespace_terminating);
            if observed.refused_write.is_some() {
                shared.memory.set_refused_write(key, None);
                // The next pass reports without it.
                finish(shared, key, &observed, &plan).await?;
                return Ok(Some(Duration::ZERO));
            }
            finish(shared, key, &observed, &plan).await
        }
        Err(error @ ApplyError::Ask { .. }) => {
            report(shared, key, &observed, &plan).await?;
            Err(error)
        }
        Err(error) => {
            if let Some(message) = error.refusal() {
                report_refusal(shared, key, observed, (&error, message)).await?;
            }
            Err(error)
        }
    }
}

/// Tells the user what the API server refused, by the status of a plan that knows of it.
async fn report_refusal(
    shared: &Shared,
    key: &JobKey,
    mut observed: Observed,
    (error, message): (&ApplyError, String),
) -> Result<(), ApplyError> {
    let is_terminating = matches!(
        error,
        ApplyError::Api(ApiError::NamespaceTerminating { .. })
    );
    shared.memory.set_namespace_terminating(key, is_terminating);
    shared.memory.set_refused_write(key, Some(message.clone()));
    observed.refused_write = Some(message);
    observed.is_namespace_terminating |= is_terminating;
    let mut plan = shared.plan(&observed);
    // What was to be made was not.
    plan.events.retain(|event| !event.reason.is_of_write());
    report(shared, key, &observed, &plan).await?;
    Ok(())
}

async fn finish(
    shared: &Shared,
    key: &JobKey,
    observed: &Observed,
    plan: &Plan,
) -> Result<Option<Duration>, ApplyError> {
    let goes = !plan.finalizer && is_guarded(&observed.job);
    if goes && outlived(shared, key, &observed.job) {
        // How it ended is told once it goes.
        shared.queue.add(Work::Checkpoints(key.clone()));
        return Ok(Some(AT_ONCE));
    }
    let granted = report(shared, key, observed, plan).await?;
    if goes {
        // What was written in this pass changed the job's version.
        let job = shared.cluster.jobs.get(&key.namespace, &key.name);
        let job = job.unwrap_or_else(|| observed.job.clone());
        set_finalizer(shared, key, &job, false).await?;
        if shared.cluster.jobs.get(&key.namespace, &key.name).is_none() {
            // What is kept of it goes at once, and its checkpoints are looked at without it.
            shared.queue.add_job(key);
            return Ok(None);
        }
    }
    let again = delay(plan.look_again, plan.decision);
    Ok(Some(granted.map_or(again, |granted| granted.min(again))))
}

/// Whether Checkpoint objects would outlive the job with whose files theirs went: once it is gone,
/// nothing tells that they have to go, too.
fn outlived(shared: &Shared, key: &JobKey, job: &StreamJob) -> bool {
    let goes = job.metadata.deletion_timestamp.is_some()
        && job.spec.deletion_policy == DeletionPolicy::Delete;
    // What others guard is theirs to let go.
    let is_left = |object: &Arc<Checkpoint>| {
        object.metadata.deletion_timestamp.is_none() || checkpoints::is_guarded(object)
    };
    goes && shared.cluster.checkpoints.of(key).iter().any(is_left)
}

async fn reconcile_checkpoints(
    shared: &Shared,
    key: &JobKey,
) -> Result<Option<Duration>, ApplyError> {
    let observed = observe_checkpoints(shared, key).await?;
    let is_nothing =
        observed.job.is_none() && observed.objects.is_empty() && observed.release_pods.is_empty();
    if is_nothing {
        // Whatever this kind of pass has kept goes, too.
        shared.forget(key);
        return Ok(None);
    }
    let plan = crate::checkpoints::plan(&observed, &shared.config.settings);
    let granted = match carry_out_checkpoints(shared, key, &observed, &plan).await {
        // The next look knows that nothing can be created any more.
        Err(ApplyError::Api(ApiError::NamespaceTerminating { .. })) => {
            shared.memory.set_namespace_terminating(key, true);
            return Ok(Some(AT_ONCE));
        }
        carried => carried?,
    };
    let again = match plan.look_again {
        LookAgain::Soon => SOON,
        LookAgain::Later => LATER,
        LookAgain::OnChange => RESYNC,
    };
    Ok(Some(granted.map_or(again, |granted| granted.min(again))))
}

const fn delay(look_again: LookAgain, decision: Decision) -> Duration {
    match (look_again, decision) {
        (LookAgain::Soon, Decision::HandOver) => AT_ONCE,
        (LookAgain::Soon, _) => SOON,
        (LookAgain::Later, _) => LATER,
        (LookAgain::OnChange, _) => RESYNC,
    }
}
