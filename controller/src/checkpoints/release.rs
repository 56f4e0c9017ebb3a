//! A Checkpoint object that is being deleted: its checkpoint is released and its files removed.
//!
//! A job that runs does it itself. Otherwise a short-lived pod does, with the job's own
//! credentials; so it does where the checkpoint lies in another folder than the job's. Whatever
//! stands in the way, the object goes when its deadline has passed, and an event tells where files
//! were left: a deletion never hangs.

use kube::api::ObjectMeta;
use tidegate_api::checkpoint::{Access, Checkpoint, CheckpointKind, CheckpointState};
use tidegate_api::job_config::job_folder;

use super::facts::recorded_folder;
use super::order::identity;
use super::view::MESSAGE_BYTES_MAX;
use super::{
    Change, CheckpointsObserved, CheckpointsPlan, CleanupOrder, RefusedAsk, ReleasePod, TellingJob,
    Told, command_line, files_left, goes_with_its_job, is_guarded,
};
use crate::job_api::{JobCommand, Phase};
use crate::observed::CleanupState;
use crate::plan::{Ask, ChildName, EventNote, EventReason, LookAgain};
use crate::settings::Settings;
use crate::text::bounded;

/// How long a deletion may take before files are left behind.
const DEADLINE_MS: i64 = 120_000;
/// How long a job that starts, or starts again, may take until it can release the checkpoint
/// itself; a clean-up pod would throw it back once more.
const JOB_GRACE_MS: i64 = 30_000;
/// How long a job that is deleted together with its folder may be held up by what lies elsewhere.
const HOLD_UP_MS: i64 = 30_000;
const NO_STORAGE: &str = "nothing tells with what its storage is reached";

pub(super) fn plan(
    observed: &CheckpointsObserved,
    settings: &Settings,
    object: &Checkpoint,
    plan: &mut CheckpointsPlan,
) {
    if !is_guarded(object) {
        return;
    }
    let Some(release) = Release::of(observed, settings, object) else {
        // Nothing was taken for it.
        plan.answers.push(Change::free(object));
        return;
    };
    if goes_with_its_job(observed) && !release.is_elsewhere {
        plan.answers.push(Change::free(object));
    } else if release.is_done() {
        release.freed(plan);
    } else {
        match (release.obstacle(), &release.access) {
            (None, Some(access)) => {
                plan.look_again = LookAgain::Soon;
                release.go_on(access, plan);
            }
            (why, _) => {
                let why = why.unwrap_or_else(|| NO_STORAGE.to_owned());
                plan.answers.push(Change::free(object));
                plan.told.push(release.left(&why));
                release.drop_pod(plan);
            }
        }
    }
}

/// An object whose job is deleted together with its folder. What lies elsewhere stays, and is told.
pub(super) fn drop_with_its_job(
    observed: &CheckpointsObserved,
    settings: &Settings,
    object: &Checkpoint,
    plan: &mut CheckpointsPlan,
) {
    plan.answers.push(Change::drop(object));
    let release = Release::of(observed, settings, object);
    if let Some(release) = release.filter(|release| release.is_elsewhere) {
        let why = format!("the folder that goes with {} is another", observed.job_name);
        plan.told.push(release.left(&why));
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

/// A checkpoint that is given up.
struct Release<'a> {
    observed: &'a CheckpointsObserved,
    object: &'a Checkpoint,
    uid: String,
    id: i64,
    /// Whether it lies in another folder than the job's, whose log and process then know nothing
    /// of it.
    is_elsewhere: bool,
    access: Option<Access>,
    /// The folder that it lies in, as it was recorded.
    folder: Option<String>,
}

impl<'a> Release<'a> {
    /// Nothing if there is no checkpoint.
    fn of(
        observed: &'a CheckpointsObserved,
        settings: &Settings,
        object: &'a Checkpoint,
    ) -> Option<Self> {
        let id = id_of(observed, object)?;
        let is_elsewhere = observed.is_elsewhere(object, settings);
        let status = object.status.as_ref();
        let recorded = status.and_then(|status| status.access.clone());
        let access = match is_elsewhere {
            true => recorded,
            false => recorded.or_else(|| observed.access(settings)),
        };
        let by_storage = |access: &Access| {
            let (namespace, job_name) = (&observed.namespace, &observed.job_name);
            job_folder(&access.storage.url, namespace, job_name)
        };
        let folder = recorded_folder(object).map(str::to_owned);
        Some(Self {
            observed,
            object,
            uid: identity(object).1,
            id,
            is_elsewhere,
            folder: folder.or_else(|| access.as_ref().map(by_storage)),
            access,
        })
    }

    /// The process that can release it.
    fn telling(&self) -> Option<&'a TellingJob> {
        let telling = self.observed.telling.as_ref();
        telling.filter(|_| !self.is_elsewhere)
    }

    fn pods(&self) -> impl Iterator<Item = &'a ReleasePod> {
        let pods = self.observed.release_pods.iter();
        pods.filter(|pod| pod.checkpoint_uid == self.uid)
    }

    fn refused(&self) -> Option<&'a RefusedAsk> {
        let mut refused = self.observed.refused.iter();
        refused.find(|refused| refused.checkpoint == self.uid)
    }

    /// Whether the job's log does not name it any more, as the job tells or has answered.
    fn is_done(&self) -> bool {
        let is_told = |telling: &TellingJob| !telling.may_retain(self.id);
        let is_answered = !self.is_elsewhere && self.refused().is_some_and(|it| it.is_gone);
        is_answered || self.telling().is_some_and(is_told)
    }

    /// Why its files cannot be removed, or not any more.
    fn obstacle(&self) -> Option<String> {
        if self.observed.is_namespace_terminating {
            return Some("the namespace is being deleted".to_owned());
        }
        let job = self.observed.job.as_deref();
        let job = job.filter(|_| goes_with_its_job(self.observed));
        let limit_ms = if self.deleted_ms(&self.object.metadata) >= DEADLINE_MS {
            DEADLINE_MS
        } else if job.is_some_and(|job| self.deleted_ms(&job.metadata) >= HOLD_UP_MS) {
            HOLD_UP_MS
        } else {
            return None;
        };
        let refused = self.refused().map(|refused| refused.message.as_str());
        let status = self.object.status.as_ref();
        let told = status.and_then(|status| status.message.as_deref());
        let what = refused.or(told).unwrap_or("no reason is known");
        let limit = limit_ms / 1000;
        Some(format!("they were not removed within {limit} s: {what}"))
    }

    /// How long ago an object was deleted.
    fn deleted_ms(&self, metadata: &ObjectMeta) -> i64 {
        let deleted = metadata.deletion_timestamp.as_ref();
        deleted.map_or(0, |time| self.observed.now_ms - time.0.as_millisecond())
    }

    fn go_on(&self, access: &Access, plan: &mut CheckpointsPlan) {
        if let (Some(telling), Ok(id)) = (self.telling(), u64::try_from(self.id)) {
            let message = match self.refused() {
                Some(refused) => format!("deletion waits: {}", refused.message),
                None => format!("{} releases it", self.observed.job_name),
            };
            self.report(&message, plan);
            let (pod, command) = (telling.pod.clone(), JobCommand::Release { id });
            plan.asks.push((self.uid.clone(), Ask { pod, command }));
            return;
        }
        let Some(pod) = self.pods().next() else {
            self.send_pod(access, plan);
            return;
        };
        match &pod.state {
            CleanupState::Working => {}
            CleanupState::Succeeded => self.freed(plan),
            CleanupState::Stuck { message } => {
                self.report(&format!("pod {} cannot start: {message}", pod.name), plan);
            }
            // The next look makes a new one, until the deadline.
            CleanupState::Failed { message } => {
                self.report(&format!("pod {} failed: {message}", pod.name), plan);
                plan.delete.push(pod_name(pod));
            }
        }
    }

    fn send_pod(&self, access: &Access, plan: &mut CheckpointsPlan) {
        let observed = self.observed;
        let may_do_it = observed.has_pods && !self.is_elsewhere;
        if may_do_it && self.deleted_ms(&self.object.metadata) < JOB_GRACE_MS {
            let message = format!("waits for {} to be able to release it", observed.job_name);
            self.report(&message, plan);
            return;
        }
        self.report("a pod removes its files", plan);
        let (name, uid) = identity(self.object);
        plan.cleanups.push(CleanupOrder {
            pod: format!("{name}-release"),
            checkpoint: name,
            uid,
            job: observed.job_name.clone(),
            folder: self.folder.clone().unwrap_or_default(),
            id: self.id,
            access: access.clone(),
        });
    }

    /// The files are gone: the object may go.
    fn freed(&self, plan: &mut CheckpointsPlan) {
        plan.answers.push(Change::free(self.object));
        self.drop_pod(plan);
    }

    fn drop_pod(&self, plan: &mut CheckpointsPlan) {
        plan.delete.extend(self.pods().map(pod_name));
    }

    fn report(&self, message: &str, plan: &mut CheckpointsPlan) {
        let Some(status) = &self.object.status else {
            return;
        };
        let mut wanted = status.clone();
        wanted.state = CheckpointState::Releasing;
        wanted.message = Some(bounded(message, MESSAGE_BYTES_MAX));
        if *status != wanted {
            plan.answers.push(Change::record(self.object, true, wanted));
        }
    }

    /// Says that the object goes though its files stay, where they are, and what becomes of them.
    fn left(&self, why: &str) -> Told {
        let status = self.object.status.as_ref();
        let location = status.and_then(|status| status.location.as_deref());
        let place = location.or(self.folder.as_deref());
        let message = files_left(place.unwrap_or("the job's folder"), why, &self.advice());
        let (checkpoint, uid) = identity(self.object);
        Told {
            checkpoint,
            uid,
            note: EventNote {
                is_warning: true,
                reason: EventReason::FilesLeft,
                message,
            },
        }
    }

    /// The same where the checkpoint may be in an entry that nobody can read.
    fn damaged_advice(&self) -> Option<String> {
        let telling = self.telling().filter(|telling| !telling.retains(self.id))?;
        let entry = telling.view.damaged_entries.last()?;
        let storage = self.access.as_ref().map(|access| &access.storage);
        let (folder, entry) = (self.folder.as_ref()?, format!("entry-{entry}"));
        let command = command_line(&["checkpoints", "release", folder, &entry], storage);
        let job_name = &self.observed.job_name;
        Some(format!(
            "suspend {job_name} and remove them with `{command}`"
        ))
    }

    /// What a person can do. A command beside a job that runs would throw it back.
    fn advice(&self) -> String {
        let observed = self.observed;
        let job_name = &observed.job_name;
        let phase = self.telling().map(|telling| telling.view.phase);
        let is_over = matches!(phase, Some(Phase::Finished | Phase::Stopped));
        if phase.is_some() && !is_over && !observed.is_namespace_terminating {
            if let Some(advice) = self.damaged_advice() {
                return advice;
            }
            let status = self.object.status.as_ref();
            let what_then = match status.and_then(|status| status.kind) {
                Some(CheckpointKind::Savepoint) => {
                    "delete that one when the job can release the savepoint"
                }
                Some(CheckpointKind::Checkpoint) | None => {
                    "both go when newer checkpoints have pushed it out of retention"
                }
            };
            return format!("{job_name} keeps it, and an object for it comes back: {what_then}");
        }
        let Some(folder) = &self.folder else {
            let namespace = &observed.namespace;
            return format!("look for {namespace}/{job_name} in the storage that the job had");
        };
        let storage = self.access.as_ref().map(|access| &access.storage);
        let id = self.id.to_string();
        let command = command_line(&["checkpoints", "release", folder, &id], storage);
        let may_run = self.is_elsewhere || observed.has_pods && !is_over;
        let when = if may_run {
            " while no job runs there"
        } else {
            ""
        };
        format!("remove them with `{command}`{when}")
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

fn pod_name(pod: &ReleasePod) -> ChildName {
    ChildName::Pod {
        name: pod.name.clone(),
        uid: pod.uid.clone(),
    }
}
