//! What one reconcile of a stream job knows: facts, without a client or a clock.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use tidegate_api::job_config::JobConfig;
use tidegate_api::{Checkpoint, StreamJob};

use crate::job_api::{CheckpointView, JobView};

/// Everything that was read for one job.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The job itself.
    pub job: Arc<StreamJob>,
    /// Milliseconds since the epoch.
    pub now_ms: i64,
    /// The id of the authority that the certificates of jobs come from.
    pub authority: String,
    /// Its revisions that have a Deployment, by start generation, oldest first.
    pub revisions: Vec<RevisionFacts>,
    /// Its revisions that have a ConfigMap.
    pub config_maps: Vec<String>,
    /// Its pods, clean-up pods aside.
    pub pods: Vec<PodFacts>,
    /// The Checkpoint objects of its namespace whose `jobName` is its name, without those known to
    /// lie in another folder than the telling process's.
    pub checkpoints: Vec<Arc<Checkpoint>>,
    /// The Checkpoint object that `startFrom` names, if it names one and there is one.
    pub start_checkpoint: Option<Arc<Checkpoint>>,
    /// The pod that removes the job's files, if there is one.
    pub purge: Option<CleanupFacts>,
    /// Whether the namespace is being deleted, so that nothing can be created in it.
    pub is_namespace_terminating: bool,
    /// What the last attempts to write children met, such as a quota; one sentence.
    pub refused_write: Option<String>,
}

/// One revision's Deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct RevisionFacts {
    /// The revision: 8 hexadecimal digits.
    pub revision: String,
    /// Orders revisions; milliseconds of its creation.
    pub start_generation: u64,
    /// The `startFrom` of the spec that it was made from.
    pub start_from: String,
    /// What its processes are told, as its Deployment's annotation repeats the ConfigMap.
    pub config: Option<Box<JobConfig>>,
    /// How many pods it asks for: 0 or 1.
    pub replicas: i32,
    /// The hash of what was applied last: the Deployment, and what is applied before it.
    pub applied: Option<String>,
    /// The Deployment itself.
    pub deployment: Arc<Deployment>,
    /// Whether it is being deleted.
    pub is_deleting: bool,
    /// Why its pods cannot be created, as its conditions or its ReplicaSet's events tell it.
    pub refused: Option<String>,
    /// Who has written what stands around it; none if something of that is missing.
    pub writers: Option<Writers>,
}

/// Who has written which content of the objects around a Deployment, as the API server has it on
/// record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Writers {
    /// The hash of its ConfigMap as it was applied last, if that is on record.
    pub applied_config: Option<String>,
    /// Of its ConfigMap.
    pub config_map: Vec<ManagedFieldsEntry>,
    /// Of the job's NetworkPolicy.
    pub policy: Vec<ManagedFieldsEntry>,
    /// Of the job's PodDisruptionBudget.
    pub budget: Vec<ManagedFieldsEntry>,
}

/// One pod of the job.
#[derive(Clone, Debug, PartialEq)]
pub struct PodFacts {
    /// Its name.
    pub name: String,
    /// Its unique id.
    pub uid: String,
    /// The revision that it runs.
    pub revision: String,
    /// Its address, once it has one.
    pub ip: Option<String>,
    /// When it was created, milliseconds since the epoch.
    pub created_ms: i64,
    /// Whether it is being deleted.
    pub is_deleting: bool,
    /// Whether it has ended for good (phase Succeeded or Failed).
    pub is_over: bool,
    /// How often kubelet has restarted its job container.
    pub restart_count: i32,
    /// What keeps it from running, as its status tells it.
    pub trouble: Option<PodTrouble>,
    /// What its job process says.
    pub api: ApiFacts,
}

/// What keeps a pod from running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodTrouble {
    /// What kind of trouble, as a condition's reason.
    pub reason: tidegate_api::status::Reason,
    /// A sentence with the figures, the last lines of an error included.
    pub message: String,
    /// When the container ended that it tells of, milliseconds since the epoch. Kubelet keeps the
    /// last end for ever.
    pub ended_ms: Option<i64>,
    /// Whether it may be no trouble at all but an image that is large, so that more time helps.
    pub may_be_slow: bool,
}

/// What a pod's job process says.
#[derive(Clone, Debug, PartialEq)]
pub enum ApiFacts {
    /// It was not asked: the pod has no address or its container does not run.
    NotRunning,
    /// It does not answer.
    Silent {
        /// Why, in a sentence.
        error: String,
        /// Since when, as far as this controller knows, milliseconds since the epoch.
        since_ms: i64,
    },
    /// It answers.
    Answers {
        /// The job.
        job: Box<JobView>,
        /// Its retained checkpoints, by id.
        checkpoints: Vec<CheckpointView>,
    },
}

/// A pod that removes files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CleanupFacts {
    /// Its name.
    pub name: String,
    /// When it was created, milliseconds since the epoch.
    pub created_ms: i64,
    /// How it stands.
    pub state: CleanupState,
    /// Whether a stuck one may only be slow.
    pub may_be_slow: bool,
}

/// How a pod that removes files stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CleanupState {
    /// It starts or works.
    Working,
    /// It cannot start, for this reason.
    Stuck {
        /// A sentence.
        message: String,
    },
    /// The files are gone.
    Succeeded,
    /// It gave up.
    Failed {
        /// Its last lines.
        message: String,
    },
}

impl PodTrouble {
    /// A trouble that stands, and that no container's end is the cause of.
    pub fn new(reason: tidegate_api::status::Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            ended_ms: None,
            may_be_slow: false,
        }
    }
}

impl PodFacts {
    /// What its job process says, if it answers.
    pub fn view(&self) -> Option<&JobView> {
        match &self.api {
            ApiFacts::Answers { job, .. } => Some(job),
            ApiFacts::NotRunning | ApiFacts::Silent { .. } => None,
        }
    }
}
