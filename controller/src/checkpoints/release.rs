//! A Checkpoint object that is being deleted: its checkpoint is released and its files removed.
//!
//! A job that runs does it itself. Otherwise a short-lived pod does, with the job's own
//! credentials. Whatever stands in the way, the object goes when its deadline has passed, and an
//! event tells where files were left: a deletion never hangs.

use tidegate_api::StreamJob;
use tidegate_api::checkpoint::{Access, Checkpoint, CheckpointState, CheckpointStatus};
use tidegate_api::job_config::job_folder;

use super::order::identity;
use super::view::{MESSAGE_BYTES_MAX, access};
use super::{
    Change, CheckpointsObserved, CheckpointsPlan, CleanupOrder, Told, goes_with_its_job, is_guarded,
};
use crate::job_api::JobCommand;
use crate::observed::CleanupState;
use crate::plan::{Ask, ChildName, EventNote, EventReason, LookAgain};
use crate::settings::Settings;
use crate::text::bounded;

/// How long a deletion may take before files are left behind.
const DEADLINE_MS: i64 = 120_000;
/// How long a job that starts, or starts again, may take until it can release the checkpoint
/// itself; a clean-up pod would throw it back once more.
const JOB_GRACE_MS: i64 = 30_000;

pub(super) fn plan(
    observed: &CheckpointsObserved,
    settings: &Settings,
    object: &Checkpoint,
    plan: &mut CheckpointsPlan,
) {
    if !is_guarded(object) {
        return;
    }
    let Some(id) = id_of(observed, object) else {
        // Nothing was taken for it.
        plan.answers.push(Change::free(object));
        return;
    };
    if goes_with_its_job(observed) {
        plan.answers.push(Change::free(object));
        return;
    }
    if let Some(telling) = &observed.telling
        && !telling.retains(id)
    {
        freed(observed, object, plan);
        return;
    }
    let age_ms = observed.now_ms - deleted_ms(object).unwrap_or(observed.now_ms);
    let access = access_of(observed, settings, object);
    let why_not = if observed.is_namespace_terminating {
        Some("the namespace is being deleted".to_owned())
    } else if access.is_none() {
        Some("nothing tells which storage it lies in".to_owned())
    } else if age_ms >= DEADLINE_MS {
        Some(obstacle(observed, object))
    } else {
        None
    };
    if let (Some(access), None) = (access, &why_not) {
        plan.look_again = LookAgain::Soon;
        release(observed, object, (id, access, age_ms), plan);
    } else {
        leave(object, &why_not.unwrap_or_default(), plan);
        drop_pod(observed, object, plan);
    }
}

/// Clean-up pods whose object does not wait for them are done with: nobody would read what they
/// did.
pub(super) fn drop_idle_pods(observed: &CheckpointsObserved, plan: &mut CheckpointsPlan) {
    let awaits = |object: &&std::sync::Arc<Checkpoint>| {
        object.metadata.deletion_timestamp.is_some() && is_guarded(object)
    };
    let waiting: Vec<String> = observed
        .objects
        .iter()
        .filter(awaits)
        .map(|object| identity(object).1)
        .collect();
    for pod in &observed.release_pods {
        if !waiting.contains(&pod.checkpoint_uid) {
            plan.delete.push(pod_name(pod));
        }
    }
}

fn release(
    observed: &CheckpointsObserved,
    object: &Checkpoint,
    (id, access, age_ms): (i64, Access, i64),
    plan: &mut CheckpointsPlan,
) {
    let (name, uid) = identity(object);
    if let (Some(telling), Ok(number)) = (&observed.telling, u64::try_from(id)) {
        report(object, format!("{} releases it", observed.job_name), plan);
        let command = JobCommand::Release { id: number };
        let pod = telling.pod.clone();
        plan.asks.push((uid, Ask { pod, command }));
        return;
    }
    let Some(pod) = observed
        .release_pods
        .iter()
        .find(|pod| pod.checkpoint_uid == uid)
    else {
        if observed.has_pods && age_ms < JOB_GRACE_MS {
            let message = format!("waits for {} to be able to release it", observed.job_name);
            report(object, message, plan);
            return;
        }
        report(object, "a pod removes its files".to_owned(), plan);
        let folder = job_folder(&access.storage.url, &observed.namespace, &observed.job_name);
        plan.cleanups.push(CleanupOrder {
            pod: format!("{name}-release"),
            checkpoint: name,
            uid,
            job: observed.job_name.clone(),
            folder,
            id,
            access,
        });
        return;
    };
    match &pod.state {
        CleanupState::Working => {}
        CleanupState::Succeeded => freed(observed, object, plan),
        CleanupState::Stuck { message } => {
            report(
                object,
                format!("pod {} cannot start: {message}", pod.name),
                plan,
            );
        }
        // The next look makes a new one, until the deadline.
        CleanupState::Failed { message } => {
            report(object, format!("pod {} failed: {message}", pod.name), plan);
            plan.delete.push(pod_name(pod));
        }
    }
}

/// The files are gone: the object may go.
fn freed(observed: &CheckpointsObserved, object: &Checkpoint, plan: &mut CheckpointsPlan) {
    plan.answers.push(Change::free(object));
    drop_pod(observed, object, plan);
}

fn drop_pod(observed: &CheckpointsObserved, object: &Checkpoint, plan: &mut CheckpointsPlan) {
    let (_, uid) = identity(object);
    let pods = observed
        .release_pods
        .iter()
        .filter(|pod| pod.checkpoint_uid == uid);
    plan.delete.extend(pods.map(pod_name));
}

/// Lets the object go though its files stay, and says where they are.
fn leave(object: &Checkpoint, why: &str, plan: &mut CheckpointsPlan) {
    let (name, uid) = identity(object);
    let location = object
        .status
        .as_ref()
        .and_then(|status| status.location.as_deref());
    let location = location.unwrap_or("the job's folder");
    let message = format!(
        "files were left at {location}: {why}; remove them with `tidegate checkpoints release`"
    );
    let message = bounded(&message, MESSAGE_BYTES_MAX);
    plan.answers.push(Change::free(object));
    plan.told.push(Told {
        checkpoint: name,
        uid,
        note: EventNote {
            is_warning: true,
            reason: EventReason::FilesLeft,
            message,
        },
    });
}

/// What stood in the way until the deadline.
fn obstacle(observed: &CheckpointsObserved, object: &Checkpoint) -> String {
    let (_, uid) = identity(object);
    let limit = DEADLINE_MS / 1000;
    let refused = observed
        .refused
        .iter()
        .find(|refused| refused.checkpoint == uid);
    let told = object
        .status
        .as_ref()
        .and_then(|status| status.message.clone());
    let what = refused.map(|refused| refused.message.clone()).or(told);
    format!(
        "within {limit} s: {}",
        what.unwrap_or_else(|| "no reason is known".to_owned())
    )
}

fn report(object: &Checkpoint, message: String, plan: &mut CheckpointsPlan) {
    let Some(status) = &object.status else {
        return;
    };
    let wanted = CheckpointStatus {
        state: CheckpointState::Releasing,
        message: Some(bounded(&message, MESSAGE_BYTES_MAX)),
        ..status.clone()
    };
    if *status != wanted {
        plan.answers.push(Change::record(object, true, wanted));
    }
}

/// The checkpoint's number; of a request whose savepoint was taken unnoticed, the job tells it.
fn id_of(observed: &CheckpointsObserved, object: &Checkpoint) -> Option<i64> {
    let known = object.status.as_ref().and_then(|status| status.id);
    let (name, _) = identity(object);
    let taken = || {
        observed
            .telling
            .as_ref()
            .and_then(|telling| telling.named(&name))
    };
    known.or_else(|| taken().and_then(|view| i64::try_from(view.id).ok()))
}

fn access_of(
    observed: &CheckpointsObserved,
    settings: &Settings,
    object: &Checkpoint,
) -> Option<Access> {
    let recorded = object
        .status
        .as_ref()
        .and_then(|status| status.access.clone());
    let job: Option<&StreamJob> = observed.job.as_deref();
    recorded.or_else(|| access(job?, settings))
}

fn deleted_ms(object: &Checkpoint) -> Option<i64> {
    let time = object.metadata.deletion_timestamp.as_ref()?;
    Some(time.0.as_millisecond())
}

fn pod_name(pod: &super::ReleasePod) -> ChildName {
    ChildName::Pod {
        name: pod.name.clone(),
        uid: pod.uid.clone(),
    }
}
