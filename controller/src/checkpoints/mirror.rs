//! The mirror: objects for what the log retains, and none for what it does not.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::api::ObjectMeta;
use tidegate_api::StreamJob;
use tidegate_api::checkpoint::{Checkpoint, CheckpointKind, CheckpointSpec};
use tidegate_api::labels::{FINALIZER_CHECKPOINT, LABEL_JOB, LABEL_MANAGED_BY, MANAGED_BY};

use super::view::completed;
use super::{Change, CheckpointsObserved, CheckpointsPlan, TellingJob};
use crate::job_api::{CheckpointView, Phase};
use crate::settings::Settings;

/// Adds what the mirror lacks and drops what it has too much.
///
/// When the budget is short, the mirror has the newest checkpoint that it could write, and no more
/// than one that is not retained any more: an object that lies is worse than one that lacks. So
/// what is not retained goes first, but for the newest object, then comes the newest checkpoint,
/// and the others last. Savepoints, of which there are few, wait for no budget; nor does what a job
/// that is over tells, since nobody tells it again once its pods are gone.
pub(super) fn plan(
    observed: &CheckpointsObserved,
    settings: &Settings,
    plan: &mut CheckpointsPlan,
) {
    let (Some(job), Some(telling)) = (&observed.job, &observed.telling) else {
        return;
    };
    let is_last_word = matches!(telling.view.phase, Phase::Finished | Phase::Stopped);
    let ids = |object: &Checkpoint| object.status.as_ref().and_then(|status| status.id);
    let mirrored: BTreeSet<i64> = observed.objects.iter().filter_map(|o| ids(o)).collect();
    // A person's request becomes the object of its savepoint; see the module for savepoints.
    let asked: BTreeSet<&str> = observed.objects.iter().map(|o| name_of(o)).collect();
    let mut lacking: Vec<&CheckpointView> = (telling.checkpoints.iter())
        .filter(|view| i64::try_from(view.id).is_ok_and(|id| !mirrored.contains(&id)))
        .filter(|view| {
            view.name
                .as_deref()
                .is_none_or(|name| !asked.contains(name))
        })
        .collect();
    lacking.sort_by_key(|view| std::cmp::Reverse(view.id));
    let mut creates = Vec::new();
    for view in lacking {
        let object = object(observed, job, view, &asked, settings);
        let create = Change::Create(Box::new(object));
        if is_last_word || view.kind == CheckpointKind::Savepoint {
            plan.answers.push(create);
        } else {
            creates.push(create);
        }
    }
    let mut superfluous = superfluous(observed, telling);
    if is_last_word {
        let drops = superfluous.drain(..).map(|(_, drop)| drop);
        plan.answers.extend(drops);
    }
    let newest = mirrored.last();
    let is_newest = |(id, _): &(i64, Change)| newest == Some(id);
    let last = superfluous.pop_if(|last| is_newest(last));
    let mut creates = creates.into_iter();
    plan.mirror
        .extend(superfluous.into_iter().map(|(_, drop)| drop));
    plan.mirror.extend(creates.next());
    plan.mirror.extend(last.map(|(_, drop)| drop));
    plan.mirror.extend(creates);
}

/// Whether the objects are those of what is retained, no less and no more.
pub fn is_mirrored(objects: &[Arc<Checkpoint>], retained: &[CheckpointView]) -> bool {
    let live = objects
        .iter()
        .filter(|object| object.metadata.deletion_timestamp.is_none());
    let mirrored: BTreeSet<i64> = live.filter_map(|o| o.status.as_ref()?.id).collect();
    let retained = retained
        .iter()
        .filter_map(|view| i64::try_from(view.id).ok());
    mirrored == retained.collect()
}

/// The objects of what is not retained, with their numbers, oldest first.
fn superfluous(observed: &CheckpointsObserved, telling: &TellingJob) -> Vec<(i64, Change)> {
    let live = observed
        .objects
        .iter()
        .filter(|object| object.metadata.deletion_timestamp.is_none());
    let mut gone: Vec<(i64, Change)> = live
        .filter_map(|object| {
            let id = object.status.as_ref()?.id?;
            (!telling.retains(id)).then(|| (id, Change::drop(object)))
        })
        .collect();
    gone.sort_by_key(|(id, _)| *id);
    gone
}

fn object(
    observed: &CheckpointsObserved,
    job: &StreamJob,
    view: &CheckpointView,
    taken: &BTreeSet<&str>,
    settings: &Settings,
) -> Checkpoint {
    let job_name = &observed.job_name;
    let spec = CheckpointSpec {
        job_name: job_name.clone(),
    };
    let usual = format!("{job_name}-{}", view.id);
    let name = match &view.name {
        Some(name) => name.clone(),
        // A person may have given that name to a request of theirs.
        None if taken.contains(usual.as_str()) => format!("{usual}-log"),
        None => usual,
    };
    let mut object = Checkpoint::new(&name, spec);
    let labels = [
        (LABEL_JOB, job_name.as_str()),
        (LABEL_MANAGED_BY, MANAGED_BY),
    ];
    object.metadata = ObjectMeta {
        name: Some(name),
        namespace: Some(observed.namespace.clone()),
        labels: Some(labels.map(|(k, v)| (k.to_owned(), v.to_owned())).into()),
        finalizers: Some(vec![FINALIZER_CHECKPOINT.to_owned()]),
        ..ObjectMeta::default()
    };
    object.status = Some(completed(view, &observed.namespace, job, settings));
    object
}

fn name_of(object: &Checkpoint) -> &str {
    object.metadata.name.as_deref().unwrap_or_default()
}
