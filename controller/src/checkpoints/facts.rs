//! What one look at a job's Checkpoint objects knows.

use std::sync::Arc;

use tidegate_api::{Checkpoint, StreamJob};

use crate::job_api::{CheckpointView, JobView, Phase};
use crate::observed::{CleanupState, Observed};

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
}

impl TellingJob {
    /// Among the job's pods, the process that can tell: one that has read its log and was not
    /// fenced since. A process that starts knows nothing yet, and one that was fenced no more.
    pub fn of(observed: &Observed) -> Option<Self> {
        let tells = |phase| {
            matches!(
                phase,
                Phase::Running | Phase::Stopping | Phase::Stopped | Phase::Finished
            )
        };
        let pods = observed.pods.iter().filter_map(|pod| match &pod.api {
            crate::observed::ApiFacts::Answers { job, checkpoints } if tells(job.phase) => {
                Some((pod, job, checkpoints))
            }
            _ => None,
        });
        let newest = pods.max_by_key(|(_, job, _)| job.attempt);
        newest.map(|(pod, job, checkpoints)| Self {
            pod: pod.name.clone(),
            view: (**job).clone(),
            checkpoints: checkpoints.clone(),
        })
    }

    pub(super) fn retains(&self, id: i64) -> bool {
        self.checkpoints
            .iter()
            .any(|view| i64::try_from(view.id) == Ok(id))
    }

    pub(super) fn named(&self, name: &str) -> Option<&CheckpointView> {
        let mut checkpoints = self.checkpoints.iter();
        checkpoints.find(|view| view.name.as_deref() == Some(name))
    }
}
