//! What one look at a job's Checkpoint objects knows.

use std::sync::Arc;

use tidegate_api::checkpoint::Access;
use tidegate_api::job_config::job_folder;
use tidegate_api::spec::Storage;
use tidegate_api::{Checkpoint, StreamJob};

use super::folder::{folder_of, is_same};
use super::storage::{access, job_storage, storage_of, written_storage};
use crate::job_api::{CheckpointView, JobView, Phase};
use crate::observed::{ApiFacts, CleanupState, Observed};
use crate::settings::Settings;

/// Everything that was read about one job's checkpoints.
#[derive(Clone, Debug)]
pub struct CheckpointsObserved {
    /// Milliseconds since the epoch.
    pub now_ms: i64,
    /// The job's namespace.
    pub namespace: String,
    /// The job's name: the `jobName` of all objects here.
    pub job_name: String,
    /// The job, unless there is none (any more).
    pub job: Option<Arc<StreamJob>>,
    /// What the job's current revision keeps its files in, if it has one.
    pub storage: Option<Storage>,
    /// The Checkpoint objects that name the job.
    pub objects: Vec<Arc<Checkpoint>>,
    /// The process of the job that can tell what is retained, if one answers.
    pub telling: Option<TellingJob>,
    /// Whether the job has a pod at all.
    pub has_pods: bool,
    /// The pods that remove files of single checkpoints.
    pub release_pods: Vec<ReleasePod>,
    /// What the job refused lately.
    pub refused: Vec<RefusedAsk>,
    /// Whether the namespace is being deleted, so that nothing can be created in it.
    pub is_namespace_terminating: bool,
}

/// A job process that knows what its log retains.
#[derive(Clone, Debug, PartialEq)]
pub struct TellingJob {
    /// Its pod.
    pub pod: String,
    /// Where it keeps that log, as far as it is known.
    pub storage: Option<Storage>,
    /// What it says of itself.
    pub view: JobView,
    /// What its log retains.
    pub checkpoints: Vec<CheckpointView>,
}

/// A pod that removes the files of one checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleasePod {
    /// The unique id of the Checkpoint object that it works for; its owner.
    pub checkpoint_uid: String,
    /// Its name.
    pub name: String,
    /// Its unique id.
    pub uid: String,
    /// How it stands.
    pub state: CleanupState,
}

/// Something that was asked of the job for a Checkpoint object, and what it answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedAsk {
    /// The unique id of the Checkpoint object: a later one of its name asks anew.
    pub checkpoint: String,
    /// Why not, in the job's words.
    pub message: String,
    /// Whether there is nothing left to do: the job does not retain what it was to release.
    pub is_gone: bool,
}

impl CheckpointsObserved {
    /// With what the job's files are reached, if there is the job.
    pub(super) fn access(&self, settings: &Settings) -> Option<Access> {
        access(self.job.as_deref()?, self.written(), settings)
    }

    /// Whether an object's checkpoint is known to lie in another folder than the job's: the job's
    /// log says nothing about it.
    pub(super) fn is_elsewhere(&self, object: &Checkpoint, settings: &Settings) -> bool {
        let folder = || {
            let storage = job_storage(self.job.as_deref()?, self.written(), settings)?;
            Some(job_folder(&storage.url, &self.namespace, &self.job_name))
        };
        recorded_folder(object)
            .zip(folder())
            .is_some_and(|(recorded, own)| !is_same(recorded, &own))
    }

    /// The folder of whoever tells comes first: only its log is known.
    fn written(&self) -> Option<&Storage> {
        let told = self.telling.as_ref();
        let told = told.and_then(|telling| telling.storage.as_ref());
        told.or(self.storage.as_ref())
    }
}

/// The folder that an object's checkpoint lies in.
pub(super) fn recorded_folder(object: &Checkpoint) -> Option<&str> {
    let location = object.status.as_ref()?.location.as_deref()?;
    Some(folder_of(location))
}

/// The job's Checkpoint objects without those whose checkpoints are known to lie in another folder
/// than the one whose log the job tells of.
pub fn own_objects(observed: &Observed) -> Vec<Arc<Checkpoint>> {
    let metadata = &observed.job.metadata;
    let own = TellingJob::of(observed).and_then(|telling| {
        let url = &telling.storage.as_ref()?.url;
        let (namespace, name) = (metadata.namespace.as_ref()?, metadata.name.as_ref()?);
        Some(job_folder(url, namespace, name))
    });
    let is_own = |object: &&Arc<Checkpoint>| {
        let both = recorded_folder(object).zip(own.as_ref());
        both.is_none_or(|(recorded, own)| is_same(recorded, own))
    };
    observed
        .checkpoints
        .iter()
        .filter(is_own)
        .cloned()
        .collect()
}

impl TellingJob {
    /// Among the job's pods, the process that can tell: one that has read its log and was not
    /// fenced since. A process that starts knows nothing yet, and one that was fenced no more. Of
    /// several, the one that was started last tells: attempts are numbered by each log for itself.
    pub fn of(observed: &Observed) -> Option<Self> {
        let tells = |phase| {
            matches!(
                phase,
                Phase::Running | Phase::Stopping | Phase::Stopped | Phase::Finished
            )
        };
        let pods = observed.pods.iter().filter_map(|pod| match &pod.api {
            ApiFacts::Answers { job, checkpoints } if tells(job.phase) => {
                Some((pod, job, checkpoints))
            }
            _ => None,
        });
        let started = |job: &JobView| Some((job.start_generation, job.attempt?));
        let newest = pods.max_by_key(|(_, job, _)| started(job));
        let storage = |revision: &str| {
            let mut revisions = observed.revisions.iter();
            let own = revisions.find(|it| it.revision == revision);
            own.and_then(storage_of)
                .or_else(|| written_storage(observed))
        };
        newest.map(|(pod, job, checkpoints)| Self {
            pod: pod.name.clone(),
            storage: storage(&pod.revision),
            view: (**job).clone(),
            checkpoints: checkpoints.clone(),
        })
    }

    pub(super) fn retains(&self, id: i64) -> bool {
        self.checkpoints
            .iter()
            .any(|view| i64::try_from(view.id) == Ok(id))
    }

    /// Whether its log may retain it: it says so, or has entries that nobody can read.
    pub(super) fn may_retain(&self, id: i64) -> bool {
        let below = self.view.damaged_below;
        let is_below = below.is_none_or(|below| u64::try_from(id).is_ok_and(|id| id < below));
        self.retains(id) || is_below && !self.view.damaged_entries.is_empty()
    }

    pub(super) fn named(&self, name: &str) -> Option<&CheckpointView> {
        let mut checkpoints = self.checkpoints.iter();
        checkpoints.find(|view| view.name.as_deref() == Some(name))
    }
}
