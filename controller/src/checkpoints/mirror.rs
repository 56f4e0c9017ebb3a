//! The mirror: objects for what the log retains, and none for what it does not.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::api::ObjectMeta;
use tidegate_api::checkpoint::{Checkpoint, CheckpointKind, CheckpointSpec};
use tidegate_api::labels::{FINALIZER_CHECKPOINT, LABEL_JOB, LABEL_MANAGED_BY, MANAGED_BY};

use super::folder::{folder_of, short_hash};
use super::view::completed;
use super::{Change, CheckpointsObserved, CheckpointsPlan, TellingJob};
use crate::job_api::{CheckpointView, Phase};
use crate::settings::Settings;

/// What a checkpoint's name may have.
const NAME_LENGTH_MAX: usize = 63;

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
    let (Some(_), Some(telling)) = (&observed.job, &observed.telling) else {
        return;
    };
    let is_last_word = matches!(telling.view.phase, Phase::Finished | Phase::Stopped);
    let objects = observed.objects.iter();
    // What lies elsewhere mirrors nothing of this log, but for its name, which is taken.
    let (elsewhere, own): (Vec<&Checkpoint>, Vec<&Checkpoint>) = objects
        .map(Arc::as_ref)
        .partition(|object| observed.is_elsewhere(object, settings));
    let mirrored: BTreeSet<i64> = own.iter().filter_map(|object| id_of(object)).collect();
    let names = Names {
        own: own.iter().map(|object| name_of(object)).collect(),
        elsewhere: elsewhere.iter().map(|object| name_of(object)).collect(),
    };
    let mut creates = Vec::new();
    for view in lacking(telling, &mirrored, &names) {
        let object = object(observed, view, &names, settings);
        let create = Change::Create(Box::new(object));
        if is_last_word || view.kind == CheckpointKind::Savepoint {
            plan.answers.push(create);
        } else {
            creates.push(create);
        }
    }
    let mut superfluous = superfluous(&own, telling);
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

/// The names that are taken.
struct Names<'a> {
    /// By objects of the job's own folder, and by requests, whose savepoints will lie in it.
    own: BTreeSet<&'a str>,
    /// By objects of other folders.
    elsewhere: BTreeSet<&'a str>,
}

impl Names<'_> {
    fn has(&self, name: &str) -> bool {
        self.own.contains(name) || self.elsewhere.contains(name)
    }

    /// The name of a new object: the usual one, unless that is taken.
    fn for_checkpoint(&self, job_name: &str, view: &CheckpointView, folder: &str) -> String {
        let (head, tail) = match &view.name {
            Some(name) => (name.as_str(), String::new()),
            None => (job_name, format!("-{}", view.id)),
        };
        let usual = format!("{head}{tail}");
        // A person may have given that name to a request of theirs.
        let from_log = match self.elsewhere.contains(&*usual) {
            true => None,
            false => Some(format!("{usual}-log")),
        };
        let of_folder = cut(head, &format!("{tail}-{}", short_hash(folder)));
        let mut names = [Some(usual), from_log].into_iter().flatten();
        names.find(|name| !self.has(name)).unwrap_or(of_folder)
    }
}

/// A name in two parts, the first cut so that both fit.
fn cut(head: &str, tail: &str) -> String {
    let length_max = NAME_LENGTH_MAX.saturating_sub(tail.len());
    let kept = head.get(..length_max).unwrap_or(head);
    format!("{}{tail}", kept.trim_end_matches(['-', '.']))
}

/// What has no object, newest first. A person's request becomes the object of its savepoint; see
/// the module for savepoints.
fn lacking<'a>(
    telling: &'a TellingJob,
    mirrored: &BTreeSet<i64>,
    names: &Names<'_>,
) -> Vec<&'a CheckpointView> {
    let has_request = |view: &CheckpointView| {
        let name = view.name.as_deref();
        name.is_some_and(|name| names.own.contains(name))
    };
    let mut lacking: Vec<&CheckpointView> = (telling.checkpoints.iter())
        .filter(|view| i64::try_from(view.id).is_ok_and(|id| !mirrored.contains(&id)))
        .filter(|view| !has_request(view))
        .collect();
    lacking.sort_by_key(|view| std::cmp::Reverse(view.id));
    lacking
}

/// Whether the objects, which are of the folder that tells, are those of what is retained, no less
/// and no more.
pub fn is_mirrored(objects: &[Arc<Checkpoint>], retained: &[CheckpointView]) -> bool {
    let live = objects
        .iter()
        .filter(|object| object.metadata.deletion_timestamp.is_none());
    let mirrored: BTreeSet<i64> = live.filter_map(|object| id_of(object)).collect();
    let retained = retained
        .iter()
        .filter_map(|view| i64::try_from(view.id).ok());
    mirrored == retained.collect()
}

/// The objects of what is surely not retained, with their numbers, oldest first.
fn superfluous(own: &[&Checkpoint], telling: &TellingJob) -> Vec<(i64, Change)> {
    let live = own
        .iter()
        .filter(|object| object.metadata.deletion_timestamp.is_none());
    let mut gone: Vec<(i64, Change)> = live
        .filter_map(|object| {
            let id = id_of(object)?;
            (!telling.may_retain(id)).then(|| (id, Change::drop(object)))
        })
        .collect();
    gone.sort_by_key(|(id, _)| *id);
    gone
}

fn object(
    observed: &CheckpointsObserved,
    view: &CheckpointView,
    names: &Names<'_>,
    settings: &Settings,
) -> Checkpoint {
    let job_name = &observed.job_name;
    let spec = CheckpointSpec {
        job_name: job_name.clone(),
    };
    let status = completed(view, observed, settings);
    let folder = status.location.as_deref().map(folder_of);
    let name = names.for_checkpoint(job_name, view, folder.unwrap_or_default());
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
    object.status = Some(status);
    object
}

fn id_of(object: &Checkpoint) -> Option<i64> {
    object.status.as_ref()?.id
}

fn name_of(object: &Checkpoint) -> &str {
    object.metadata.name.as_deref().unwrap_or_default()
}
