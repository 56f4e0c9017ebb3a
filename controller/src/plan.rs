//! What one reconcile of a stream job decides: everything to write, to ask and to report.
//!
//! A plan is carried out in the order of its members. Each step may fail or be cut short; the next
//! reconcile then finds what is there and plans again, so every step can be repeated.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use tidegate_api::status::{Reason, StreamJobStatus};

use crate::job_api::JobCommand;

/// What one reconcile decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// What was decided, in a word, for logs, metrics and tests.
    pub decision: Decision,
    /// Whether the job must carry the finalizer that guards its files.
    pub finalizer: bool,
    /// Objects to make or change, in this order. Those that already are so are left out.
    pub apply: Vec<Child>,
    /// What to ask of job processes, after the objects.
    pub ask: Vec<Ask>,
    /// Objects to delete, last.
    pub delete: Vec<ChildName>,
    /// What to report.
    pub status: StreamJobStatus,
    /// Whether nothing but the latest checkpoint differs from the status that was reported last, so
    /// that the write can wait for the budget.
    pub status_is_mirror_only: bool,
    /// What happened, told once.
    pub events: Vec<EventNote>,
    /// When to look again if nothing changes before.
    pub look_again: LookAgain,
}

/// What was decided, and matched without a wildcard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// The spec cannot be run; what runs stays.
    RefuseSpec,
    /// The first revision is made.
    Deploy,
    /// The revision starts, or starts again.
    AwaitStart,
    /// All is as the spec wants it.
    Steady,
    /// A live setting or the parallelism of the running job is changed.
    ChangeLive,
    /// A new revision is brought up beside the running one.
    PrepareUpgrade,
    /// The old revision stops and the new one is let go.
    HandOver,
    /// The new revision must complete checkpoints.
    Prove,
    /// The last stable revision comes back.
    RollBack,
    /// The job takes a savepoint and its pods go.
    Suspend,
    /// The job stands still.
    StaySuspended,
    /// The job is over.
    StayFinished,
    /// A process that was fenced by nobody who still runs is replaced.
    ReplaceFenced,
    /// The job is deleted; its pods go.
    StopForDeletion,
    /// The job is deleted; its files are removed.
    Purge,
    /// The job is deleted; nothing of it is left to do.
    LetGo,
}

/// An object that belongs to the job.
#[derive(Clone, Debug, PartialEq)]
pub enum Child {
    /// A revision's settings.
    ConfigMap(Box<ConfigMap>),
    /// The job's certificate for a revision. The private key is made when it is created, and one
    /// that exists is never read or changed.
    Certificate {
        /// The Secret's name.
        name: String,
        /// The revision's ConfigMap, applied just before. It owns the Secret, which nobody but the
        /// garbage collector can delete, so that both go with their revision.
        config_map: String,
    },
    /// A revision's pods.
    Deployment(Box<Deployment>),
    /// A Deployment whose spec is not at hand any more: a merge patch of these fields alone.
    Scale {
        /// Its name.
        name: String,
        /// How many pods it asks for.
        replicas: i32,
        /// Annotations that change.
        annotations: BTreeMap<String, String>,
    },
    /// The pod template of a Deployment that somebody has changed: a merge patch of it alone.
    Template {
        /// The Deployment's name.
        name: String,
        /// The template, with null for what is to go.
        template: serde_json::Value,
        /// Annotations that change.
        annotations: BTreeMap<String, String>,
    },
    /// Who may talk to the pods.
    NetworkPolicy(Box<NetworkPolicy>),
    /// How many pods a drain may take.
    PodDisruptionBudget(Box<PodDisruptionBudget>),
    /// A pod that removes files: created once, never changed.
    CleanupPod(Box<Pod>),
}

/// An object to delete. One that is gone already is no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChildName {
    /// A revision's settings.
    ConfigMap(String),
    /// A revision's pods.
    Deployment(String),
    /// A pod, such as a fenced one or a finished clean-up pod.
    Pod {
        /// Its name.
        name: String,
        /// Its unique id: another pod of that name stays.
        uid: String,
    },
}

/// Something to ask of one pod's job process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The pod's name.
    pub pod: String,
    /// What.
    pub command: JobCommand,
}

/// Something that happened, for `kubectl describe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventNote {
    /// Whether a person should look.
    pub is_warning: bool,
    /// One word of the closed list.
    pub reason: EventReason,
    /// A sentence.
    pub message: String,
}

/// Why an event was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventReason {
    /// A condition changed its reason; the word is the condition's.
    Condition(Reason),
    /// A revision was made.
    RevisionCreated,
    /// An upgrade went one step on.
    Upgrade,
    /// Parallelism or a live setting was changed.
    Changed,
    /// Files were left behind because their deadline had passed.
    FilesLeft,
    /// The job's files were removed.
    FilesRemoved,
    /// A savepoint that was asked for is complete.
    SavepointTaken,
    /// A savepoint that was asked for could not be taken.
    SavepointFailed,
}

impl EventReason {
    /// Whether it tells of children that were written, which no later pass repeats.
    pub const fn is_of_write(self) -> bool {
        matches!(self, Self::RevisionCreated | Self::Changed)
    }
}

/// When to look again if nothing changes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookAgain {
    /// Something is under way.
    Soon,
    /// All is well.
    Later,
    /// Only a change can help.
    OnChange,
}
