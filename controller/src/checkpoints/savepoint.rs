//! A Checkpoint object that a person created: a savepoint is taken, once, under its name.
//!
//! The job keeps the name in the savepoint's manifest, so asking again after a crash of the
//! controller or of the job finds the savepoint that was taken, and never takes a second one.

use tidegate_api::StreamJob;
use tidegate_api::checkpoint::{Checkpoint, CheckpointState};
use tidegate_api::status::{ConditionType, Reason};

use super::order::identity;
use super::view::{asked, completed};
use super::{Change, CheckpointsObserved, CheckpointsPlan, Told, is_guarded};
use crate::job_api::{JobCommand, Phase};
use crate::plan::{Ask, EventNote, EventReason, LookAgain};
use crate::settings::Settings;

pub(super) fn plan(
    observed: &CheckpointsObserved,
    settings: &Settings,
    object: &Checkpoint,
    plan: &mut CheckpointsPlan,
) {
    let (name, uid) = identity(object);
    let state = object.status.as_ref().map(|status| status.state);
    if let (Some(_), Some(telling)) = (&observed.job, &observed.telling)
        && let Some(view) = telling.named(&name)
    {
        let status = completed(view, observed, settings);
        let message = format!("savepoint {} of {} is complete", view.id, observed.job_name);
        plan.answers.push(Change::record(object, true, status));
        plan.told
            .push(told(name, uid, EventReason::SavepointTaken, message));
        return;
    }
    // It failed for good; a second try is a second object.
    if state == Some(CheckpointState::Failed) {
        return;
    }
    if let Some(refused) = observed.refused.iter().find(|r| r.checkpoint == uid) {
        let message = format!(
            "the savepoint was not taken: {}; mend that, then delete this Checkpoint and create \
             another one",
            refused.message
        );
        report(object, CheckpointState::Failed, message.clone(), plan);
        plan.told
            .push(told(name, uid, EventReason::SavepointFailed, message));
        return;
    }
    plan.look_again = LookAgain::Soon;
    let running = observed
        .telling
        .as_ref()
        .filter(|telling| telling.view.phase == Phase::Running);
    match running {
        Some(telling) => {
            let message = format!("{} takes the savepoint", observed.job_name);
            report(object, CheckpointState::InProgress, message, plan);
            let ask = Ask {
                pod: telling.pod.clone(),
                command: JobCommand::Savepoint { name },
            };
            plan.asks.push((uid, ask));
        }
        None => report(object, CheckpointState::Pending, waiting(observed), plan),
    }
}

/// Why no savepoint can be taken now.
fn waiting(observed: &CheckpointsObserved) -> String {
    let job_name = &observed.job_name;
    match &observed.job {
        None => format!(
            "there is no StreamJob {job_name} in this namespace: create it, or delete this \
             Checkpoint"
        ),
        Some(job) if job.spec.suspend => format!(
            "{job_name} is suspended: the savepoint is taken once spec.suspend is false again"
        ),
        Some(job) if has_finished(job) => format!(
            "{job_name} has finished, and its last checkpoint holds all of its state: use that \
             one and delete this Checkpoint, or change the spec so that it runs again, and the \
             savepoint is taken then"
        ),
        Some(_) => format!(
            "{job_name} does not run at the moment: the savepoint is taken as soon as it does; \
             `kubectl describe streamjob {job_name}` tells why it does not"
        ),
    }
}

fn has_finished(job: &StreamJob) -> bool {
    let ready = job.status.as_ref();
    let ready = ready.and_then(|status| status.condition(ConditionType::Ready));
    ready.is_some_and(|ready| ready.reason == Reason::Finished)
}

fn report(
    object: &Checkpoint,
    state: CheckpointState,
    message: String,
    plan: &mut CheckpointsPlan,
) {
    let status = asked(state, message);
    if object.status.as_ref() != Some(&status) {
        plan.answers
            .push(Change::record(object, is_guarded(object), status));
    }
}

fn told(checkpoint: String, uid: String, reason: EventReason, message: String) -> Told {
    let note = EventNote {
        is_warning: reason == EventReason::SavepointFailed,
        reason,
        message,
    };
    Told {
        checkpoint,
        uid,
        note,
    }
}
